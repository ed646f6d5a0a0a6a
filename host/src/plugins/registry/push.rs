//! Bringing a plugin to a registry, and a signature beside it.

use std::collections::BTreeMap;

use bytes::Bytes;
use oci_client::Client;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_wasm::{
    ToConfig, WASM_LAYER_MEDIA_TYPE, WASM_MANIFEST_CONFIG_MEDIA_TYPE, WASM_MANIFEST_MEDIA_TYPE,
    WasmConfig,
};
use serde_json::{Value, json};

use super::artifact::fetch_bytes;
use super::referrers::{EMPTY_MEDIA_TYPE, referrers_tag, signature_tag};
use super::wire::{Action, Entry, Wire, digest_of};
use super::{
    About, MANIFEST_ANNOTATION, MAX_WASM_BYTES, PluginReference, Registry, RegistryError, artifact,
};
use crate::plugins::signature::{
    CLAIM_MEDIA_TYPE, SIGNATURE_ANNOTATION, SigningKey, WRITTEN_MEDIA_TYPE, annotations, sign_blob,
    write_bundle, write_claim,
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
        let (layer, layout) = self.layout(reference, package)?;
        self.bounded(reference, async {
            let wire = self.wire(reference).await?;
            let client = self.client(&wire, reference).await?;
            let upload = Upload { wire: &wire, client: &client, reference };
            upload.blob(WASM_LAYER_MEDIA_TYPE, layer).await?;
            upload.blob(WASM_MANIFEST_CONFIG_MEDIA_TYPE, layout.config).await?;
            let digest = digest_of(&layout.manifest);
            let (target, manifest) = (reference.target(), layout.manifest);
            wire.put_manifest(target, WASM_MANIFEST_MEDIA_TYPE, manifest).await?;
            Ok(Pushed { digest })
        })
        .await
    }

    /// Adds a signature to what has this digest in the repository, in both forms of cosign's: its
    /// version 2 verifies the older one, its version 3 the newer.
    ///
    /// # Errors
    /// See [`RegistryError`]; [`RegistryError::NotFound`] when nothing has the digest.
    pub async fn sign(
        &self,
        reference: &PluginReference,
        digest: &str,
        key: &SigningKey,
    ) -> Result<(), RegistryError> {
        let unsignable = |error| RegistryError::Unpublishable(format!("{error}"));
        let repository = format!("{}/{}", reference.registry(), reference.repository());
        let claim = write_claim(&repository, digest);
        let signature = sign_blob(key, &claim).map_err(unsignable)?;
        let bundle = write_bundle(key, digest).map_err(unsignable)?;
        self.bounded(reference, async {
            let wire = self.wire(reference).await?;
            let Some((signed, _)) = fetch_bytes(&wire, digest).await? else {
                return Err(wire.not_found());
            };
            let client = self.client(&wire, reference).await?;
            let upload = Upload { wire: &wire, client: &client, reference };
            upload.claim(digest, claim, signature).await?;
            upload.bundle(digest, &signed, bundle).await
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
        Ok((layer.data, Layout { config: config.data, manifest: bytes }))
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

/// A manifest and its config, as they will be written.
struct Layout {
    config: Bytes,
    manifest: Vec<u8>,
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

/// A conversation in which we may push.
struct Upload<'a> {
    wire: &'a Wire<'a>,
    client: &'a Client,
    reference: &'a PluginReference,
}

impl Upload<'_> {
    async fn blob(
        &self,
        kind: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<OciDescriptor, RegistryError> {
        let bytes = bytes.into();
        let descriptor = descriptor(kind, &bytes);
        let pushed = self.client.push_blob(self.reference.as_oci(), bytes, &descriptor.digest);
        pushed.await.map_err(|error| refused(self.wire, error))?;
        Ok(descriptor)
    }

    /// The older form: one more layer of what the digest's tag names.
    async fn claim(
        &self,
        digest: &str,
        claim: Vec<u8>,
        signature: String,
    ) -> Result<(), RegistryError> {
        let tag = signature_tag(digest);
        let earlier = artifact::fetch(self.wire, self.reference, &tag).await?;
        let mut layers = earlier.map(|fetched| fetched.manifest.layers).unwrap_or_default();
        let mut layer = self.blob(CLAIM_MEDIA_TYPE, claim).await?;
        layer.annotations = Some([(SIGNATURE_ANNOTATION.to_owned(), signature)].into());
        layers.push(layer);
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let config = json!({
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.blob(IMAGE_CONFIG_MEDIA_TYPE, config.to_string()).await?;
        let media_type = Some(WASM_MANIFEST_MEDIA_TYPE.to_owned());
        let manifest =
            OciImageManifest { media_type, config, layers, ..OciImageManifest::default() };
        let bytes = written(&manifest)?;
        self.wire.put_manifest(&tag, WASM_MANIFEST_MEDIA_TYPE, bytes).await.map(drop)
    }

    /// The newer form: an artifact that refers to the one that is signed. A registry that does not list
    /// those itself has them listed under a tag.
    async fn bundle(
        &self,
        digest: &str,
        signed: &[u8],
        bundle: Vec<u8>,
    ) -> Result<(), RegistryError> {
        let config = self.blob(EMPTY_MEDIA_TYPE, "{}").await?;
        let layer = self.blob(WRITTEN_MEDIA_TYPE, bundle).await?;
        let manifest = OciImageManifest {
            media_type: Some(WASM_MANIFEST_MEDIA_TYPE.to_owned()),
            artifact_type: Some(WRITTEN_MEDIA_TYPE.to_owned()),
            config,
            layers: vec![layer],
            subject: Some(descriptor(WASM_MANIFEST_MEDIA_TYPE, signed)),
            annotations: Some(annotations()),
            ..OciImageManifest::default()
        };
        let bytes = written(&manifest)?;
        let entry = json!({
            "mediaType": WASM_MANIFEST_MEDIA_TYPE,
            "digest": digest_of(&bytes),
            "size": bytes.len(),
            "artifactType": WRITTEN_MEDIA_TYPE,
        });
        let target = digest_of(&bytes);
        if self.wire.put_manifest(&target, WASM_MANIFEST_MEDIA_TYPE, bytes).await? {
            return Ok(());
        }
        let tag = referrers_tag(digest);
        let listed = fetch_bytes(self.wire, &tag).await?;
        let listed = listed.and_then(|(bytes, _)| serde_json::from_slice::<Value>(&bytes).ok());
        let mut entries = match listed.as_ref().and_then(|index| index["manifests"].as_array()) {
            Some(entries) => entries.clone(),
            None => Vec::new(),
        };
        entries.push(entry);
        let index = json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE,
            "manifests": entries,
        });
        let bytes = index.to_string().into_bytes();
        self.wire.put_manifest(&tag, OCI_IMAGE_INDEX_MEDIA_TYPE, bytes).await.map(drop)
    }
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
