//! Bringing a plugin to a registry, and a signature beside it.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderValue;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use oci_wasm::{ToConfig, WASM_MANIFEST_MEDIA_TYPE, WasmConfig};
use serde_json::json;

use super::referrers::signature_tag;
use super::wire::{Action, Entry, Wire, digest_of};
use super::{
    About, MANIFEST_ANNOTATION, MAX_WASM_BYTES, PluginReference, Registry, RegistryError, artifact,
};
use crate::plugins::signature::{
    CLAIM_MEDIA_TYPE, SIGNATURE_ANNOTATION, SigningKey, sign_blob, write_claim,
};

/// What the config of an image is called, and that of a signature.
const IMAGE_CONFIG_MEDIA_TYPE: &str = "application/vnd.oci.image.config.v1+json";

/// What is published.
#[derive(Clone, Debug)]
pub struct Package<'a> {
    /// The component, or the core module that carries our WIT.
    pub wasm: &'a [u8],
    /// The text of its `plugin.toml`.
    pub manifest: Option<&'a str>,
    /// What other clients show of it.
    pub about: About,
}

/// What lies in the registry now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its digest. The same package has the same one wherever, and however often, it is pushed.
    pub digest: String,
}

impl Registry {
    /// Brings a plugin to a registry, in the layout of `wkg` and oci-wasm. The tag names it last, so
    /// that nobody sees half of it. Cancel-safe in that sense: blobs may be left without a name.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn push(
        &self,
        reference: &PluginReference,
        package: &Package<'_>,
    ) -> Result<Pushed, RegistryError> {
        if reference.digest().is_some() {
            return Err(RegistryError::PushToDigest { reference: reference.to_string() });
        }
        let (layer, manifest) = self.layout(reference, package)?;
        self.bounded(reference, async {
            let wire = self.wire(reference).await?;
            let client = self.client(&wire, reference).await?;
            let name = reference.as_oci();
            let upload = async |bytes: Bytes, digest: &str| {
                client.push_blob(name, bytes, digest).await.map_err(|error| refused(&wire, error))
            };
            upload(layer, &manifest.layers[0].digest).await?;
            upload(manifest.config_bytes, &manifest.config.digest).await?;
            let bytes = manifest.bytes;
            put(&wire, &client, name, bytes).await.map(|digest| Pushed { digest })
        })
        .await
    }

    /// Adds a signature to what has this digest in the repository, in the older form of cosign's,
    /// which all its versions verify.
    ///
    /// # Errors
    /// See [`RegistryError`]; [`RegistryError::NotFound`] when nothing has the digest.
    pub async fn sign(
        &self,
        reference: &PluginReference,
        digest: &str,
        key: &SigningKey,
    ) -> Result<(), RegistryError> {
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        let claim = write_claim(&repository, digest);
        let unsignable = |error| RegistryError::Unpublishable(format!("{error}"));
        let signature = sign_blob(key, &claim).map_err(unsignable)?;
        let tag = signature_tag(digest);
        self.bounded(reference, async {
            let wire = self.wire(reference).await?;
            let signed = artifact::fetch(&wire, reference, digest).await?;
            signed.ok_or_else(|| wire.not_found())?;
            let earlier = artifact::fetch(&wire, reference, &tag).await?;
            let mut layers = earlier.map(|fetched| fetched.manifest.layers).unwrap_or_default();
            let client = self.client(&wire, reference).await?;
            let name = reference.tagged(&tag);
            let refused = |error| refused(&wire, error);
            let claim_digest = digest_of(&claim);
            layers.push(OciDescriptor {
                media_type: CLAIM_MEDIA_TYPE.to_owned(),
                digest: claim_digest.clone(),
                size: claim.len() as i64,
                annotations: Some([(SIGNATURE_ANNOTATION.to_owned(), signature)].into()),
                ..OciDescriptor::default()
            });
            client.push_blob(&name, claim, &claim_digest).await.map_err(refused)?;
            let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
            let config = json!({
                "architecture": "",
                "os": "",
                "config": {},
                "rootfs": { "type": "layers", "diff_ids": diff_ids },
            });
            let config = config.to_string().into_bytes();
            let manifest = OciImageManifest {
                media_type: Some(WASM_MANIFEST_MEDIA_TYPE.to_owned()),
                config: descriptor(IMAGE_CONFIG_MEDIA_TYPE, &config),
                layers,
                ..OciImageManifest::default()
            };
            client.push_blob(&name, config, &manifest.config.digest).await.map_err(refused)?;
            put(&wire, &client, &name, written(&manifest)?).await.map(drop)
        })
        .await
    }

    fn layout(
        &self,
        reference: &PluginReference,
        package: &Package<'_>,
    ) -> Result<(Bytes, Layout), RegistryError> {
        if package.wasm.len() as u64 > MAX_WASM_BYTES {
            return Err(RegistryError::wasm_too_large(reference, MAX_WASM_BYTES));
        }
        let unpublishable = |error: String| RegistryError::Unpublishable(error);
        let raw = package.wasm.to_vec();
        // Bytes 4 to 8 are the version, and the layer that tells a component from a module.
        let read = match package.wasm.get(..8) {
            Some(b"\0asm\x01\0\0\0") => WasmConfig::from_raw_module(raw, None),
            _ => WasmConfig::from_raw_component(raw, None),
        };
        let (mut config, layer) = read.map_err(|error| unpublishable(format!("{error:#}")))?;
        // A time of publishing would make each push another artifact.
        config.created = Default::default();
        let config = config.to_config().map_err(|error| unpublishable(format!("{error:#}")))?;
        let mut annotations = package.about.annotations();
        if let Some(manifest) = package.manifest {
            annotations.insert(MANIFEST_ANNOTATION.to_owned(), manifest.to_owned());
        }
        let manifest = build(&layer, &config, annotations);
        // What we would not pull is not pushed.
        artifact::plugin_manifest(&manifest, reference)?;
        let bytes = written(&manifest)?;
        let OciImageManifest { config: described, layers, .. } = manifest;
        let layout = Layout { config: described, layers, config_bytes: config.data, bytes };
        Ok((layer.data, layout))
    }

    /// oci-client's client, already let in: it would log the token that it gets.
    async fn client(
        &self,
        wire: &Wire<'_>,
        reference: &PluginReference,
    ) -> Result<Client, RegistryError> {
        let entry = wire.enter(None, Action::Push).await?;
        let auth = match (entry, &self.credentials) {
            (Entry::Bearer(token), _) => RegistryAuth::Bearer(token),
            (Entry::Basic, Some(credentials)) => credentials.as_oci(),
            _ => RegistryAuth::Anonymous,
        };
        let client = Client::try_from(ClientConfig {
            protocol: if wire.is_plain() { ClientProtocol::Http } else { ClientProtocol::Https },
            connect_timeout: Some(self.deadlines.connect),
            read_timeout: Some(self.deadlines.silence),
            user_agent: concat!("toolcell/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        });
        let client = client.map_err(|error| refused(wire, error))?;
        client.store_auth_if_needed(reference.registry(), &auth).await;
        Ok(client)
    }
}

/// A manifest as it will be written, and what it describes.
struct Layout {
    config: OciDescriptor,
    layers: Vec<OciDescriptor>,
    config_bytes: Bytes,
    bytes: Vec<u8>,
}

fn build(
    layer: &oci_client::client::ImageLayer,
    config: &oci_client::client::Config,
    annotations: BTreeMap<String, String>,
) -> OciImageManifest {
    let annotations = (!annotations.is_empty()).then_some(annotations);
    let mut manifest = OciImageManifest::build(std::slice::from_ref(layer), config, annotations);
    manifest.media_type = Some(WASM_MANIFEST_MEDIA_TYPE.to_owned());
    manifest
}

fn descriptor(media_type: &str, bytes: &[u8]) -> OciDescriptor {
    OciDescriptor {
        media_type: media_type.to_owned(),
        digest: digest_of(bytes),
        size: bytes.len() as i64,
        ..OciDescriptor::default()
    }
}

fn written(manifest: &OciImageManifest) -> Result<Vec<u8>, RegistryError> {
    serde_json::to_vec(manifest).map_err(|error| RegistryError::Unpublishable(error.to_string()))
}

async fn put(
    wire: &Wire<'_>,
    client: &Client,
    name: &Reference,
    manifest: Vec<u8>,
) -> Result<String, RegistryError> {
    let digest = digest_of(&manifest);
    let kind = HeaderValue::from_static(WASM_MANIFEST_MEDIA_TYPE);
    let pushed = client.push_manifest_raw(name, manifest, kind).await;
    pushed.map(|_| digest).map_err(|error| refused(wire, error))
}

/// oci-client's error in our words: its own hold URLs, and whole answers.
fn refused(wire: &Wire<'_>, error: OciDistributionError) -> RegistryError {
    use OciDistributionError as E;
    let refused = |status: u16, message: &str| match status {
        401 | 403 => wire.needs_login(),
        _ => wire.refused(status, message),
    };
    match error {
        E::UnauthorizedError { .. } | E::AuthenticationFailure(_) => wire.needs_login(),
        E::RequestError(error) => wire.broken(error),
        E::ServerError { code, message, .. } => refused(code, &message),
        E::RegistryError { envelope, .. } => match envelope.errors.into_iter().next() {
            Some(error)
                if [OciErrorCode::Unauthorized, OciErrorCode::Denied].contains(&error.code) =>
            {
                wire.needs_login()
            }
            error => refused(400, &error.map(|error| error.message).unwrap_or_default()),
        },
        other => wire.protocol(wire.shown(&other.to_string())),
    }
}
