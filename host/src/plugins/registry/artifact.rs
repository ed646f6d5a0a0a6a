//! What lies under a name: an OCI manifest, read with the suspicion that its author deserves.

use std::collections::BTreeMap;

use oci_client::manifest::{OciDescriptor, OciImageManifest};
use oci_wasm::WASM_LAYER_MEDIA_TYPE;
use serde::Deserialize;

use super::reference::is_digest;
use super::wire::{Wanted, Wire, digest_of};
use super::{About, MANIFEST_ANNOTATION, PluginReference, RegistryError};

/// What registries themselves accept at most.
pub(super) const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// Of our manifest, and of each other annotation that is kept.
const MAX_ANNOTATION_BYTES: usize = 64 * 1024;

/// What a layer of WebAssembly is called: by everybody today, and by older clients and `cosign upload
/// wasm`.
const WASM_LAYERS: [&str; 2] = [WASM_LAYER_MEDIA_TYPE, oci_client::manifest::WASM_LAYER_MEDIA_TYPE];

/// The kinds of manifests that we can read, or name.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// An OCI manifest that came with the digest that its bytes have.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) manifest: OciImageManifest,
    pub(super) bytes: Vec<u8>,
    pub(super) digest: String,
}

/// As much of a manifest as tells which kind it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    schema_version: i64,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
}

/// The bytes behind `/manifests/TARGET` and their digest, which is the target's if that is one. `None`
/// when there are none.
pub(super) async fn fetch_bytes(
    wire: &Wire<'_>,
    target: &str,
) -> Result<Option<(Vec<u8>, String)>, RegistryError> {
    let Some(answer) = wire.get(&format!("manifests/{target}"), ACCEPTED).await? else {
        return Ok(None);
    };
    let announced = answer.headers().get("docker-content-digest");
    let announced = announced.and_then(|value| value.to_str().ok()).map(str::to_owned);
    // What was asked for counts; without, the registry has to agree with itself.
    let expected = is_digest(target).then_some(target);
    let expected = expected.or(announced.as_deref().filter(|digest| is_digest(digest)));
    let wanted = Wanted {
        what: "the OCI manifest",
        max_bytes: MAX_MANIFEST_BYTES,
        size: None,
        digest: expected,
    };
    let bytes = wire.read(answer, wanted, |_| ()).await?;
    let digest = digest_of(&bytes);
    Ok(Some((bytes, digest)))
}

/// The manifest of an image (an artifact is one) behind a tag or digest.
pub(super) async fn fetch(
    wire: &Wire<'_>,
    reference: &PluginReference,
    target: &str,
) -> Result<Option<Fetched>, RegistryError> {
    let Some((bytes, digest)) = fetch_bytes(wire, target).await? else { return Ok(None) };
    let not_wasm = |what: &str| RegistryError::NotWasm {
        reference: reference.to_string(),
        what: what.to_owned(),
    };
    let kind: Kind = serde_json::from_slice(&bytes)
        .map_err(|_| wire.protocol("its OCI manifest is no JSON object of that kind".to_owned()))?;
    if kind.schema_version != 2 {
        return Err(not_wasm("it is an image in Docker's first format"));
    }
    if kind.manifests.is_some() {
        return Err(not_wasm(
            "it is an index of images for several platforms, as container images are",
        ));
    }
    let manifest = serde_json::from_slice(&bytes).map_err(|error| {
        wire.protocol(format!("its OCI manifest is broken at line {}", error.line()))
    })?;
    Ok(Some(Fetched { manifest, bytes, digest }))
}

/// The one layer that is WebAssembly, of bounded size.
pub(super) fn wasm_layer<'a>(
    manifest: &'a OciImageManifest,
    reference: &PluginReference,
    max_bytes: u64,
) -> Result<(&'a OciDescriptor, u64), RegistryError> {
    let not_wasm = |what: String| RegistryError::NotWasm { reference: reference.to_string(), what };
    let wasm = |layer: &&OciDescriptor| WASM_LAYERS.contains(&layer.media_type.as_str());
    let mut layers = manifest.layers.iter().filter(wasm);
    let layer = match (layers.next(), layers.next()) {
        (Some(layer), None) => layer,
        (Some(_), Some(_)) => {
            return Err(not_wasm("it has several layers of WebAssembly".to_owned()));
        }
        (None, _) => return Err(not_wasm(what_it_is(manifest))),
    };
    if !is_digest(&layer.digest) {
        let what = "the digest of its layer is not a sha256 of 64 hexadecimal digits";
        return Err(not_wasm(what.to_owned()));
    }
    let size = u64::try_from(layer.size)
        .map_err(|_| not_wasm("its layer has a negative size".to_owned()))?;
    if size > max_bytes {
        return Err(RegistryError::wasm_too_large(reference, max_bytes));
    }
    Ok((layer, size))
}

fn what_it_is(manifest: &OciImageManifest) -> String {
    let types = manifest.layers.iter().map(|layer| layer.media_type.as_str());
    let is_image = |kind: &str| kind.contains("image.layer") || kind.contains("image.rootfs");
    if types.clone().any(is_image) {
        return "it is a container image".to_owned();
    }
    let config = one_line(&manifest.config.media_type);
    let types: Vec<String> = types.take(3).map(one_line).collect();
    match types.as_slice() {
        [] => format!("it has no layers, and a config of {config}"),
        types => format!("its layers are of {}", types.join(", ")),
    }
}

fn one_line(kind: &str) -> String {
    crate::upstream::one_line(kind).chars().take(80).collect()
}

/// Our own manifest, if it has one.
pub(super) fn plugin_manifest(
    manifest: &OciImageManifest,
    reference: &PluginReference,
) -> Result<Option<String>, RegistryError> {
    let text = manifest.annotations.as_ref().and_then(|all| all.get(MANIFEST_ANNOTATION));
    match text {
        Some(text) if text.len() > MAX_ANNOTATION_BYTES => Err(RegistryError::TooLarge {
            reference: reference.to_string(),
            what: "the plugin.toml",
            max_bytes: MAX_ANNOTATION_BYTES as u64,
        }),
        text => Ok(text.cloned()),
    }
}

impl About {
    const TITLE: &str = "org.opencontainers.image.title";
    const VERSION: &str = "org.opencontainers.image.version";
    const DESCRIPTION: &str = "org.opencontainers.image.description";
    const SOURCE: &str = "org.opencontainers.image.source";

    pub(super) fn of(manifest: &OciImageManifest) -> Self {
        let text = |key: &str| {
            let value = manifest.annotations.as_ref()?.get(key)?;
            Some(crate::upstream::one_line(value).to_string())
        };
        Self {
            title: text(Self::TITLE),
            version: text(Self::VERSION),
            description: text(Self::DESCRIPTION),
            source: text(Self::SOURCE),
        }
    }

    pub(super) fn annotations(&self) -> BTreeMap<String, String> {
        let pairs = [
            (Self::TITLE, &self.title),
            (Self::VERSION, &self.version),
            (Self::DESCRIPTION, &self.description),
            (Self::SOURCE, &self.source),
        ];
        let set = pairs.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        set.map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
