//! The signatures of an artifact, where cosign puts them: under the tag `sha256-DIGEST.sig` in its
//! older form; in the newer one, bundles that refer to the artifact, listed by the registry or, where
//! it cannot do that, under the tag `sha256-DIGEST`.

use std::collections::BTreeSet;

use oci_client::manifest::{OciDescriptor, OciImageIndex};

use super::artifact::{self, MAX_MANIFEST_BYTES, fetch_bytes};
use super::reference::is_digest;
use super::wire::{Wanted, Wire};
use super::{PluginReference, RegistryError};
use crate::plugins::signature::{
    BUNDLE_MEDIA_TYPE, CLAIM_MEDIA_TYPE, DigestProof, MAX_SIGNATURE_BYTES, PublicKey,
    SIGNATURE_ANNOTATION, SignatureError,
};

/// More signatures than this are not looked at: whoever fills a registry with them gains nothing.
const MAX_SIGNATURES: usize = 64;

/// The type of a config that says nothing.
pub(super) const EMPTY_MEDIA_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// The tag of the older form.
pub(super) fn signature_tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

/// The tag under which what refers to an artifact is listed, where the registry does not.
pub(super) fn referrers_tag(digest: &str) -> String {
    digest.replace(':', "-")
}

/// Succeeds when one of the signatures of `digest` is by `key`, and gives that one.
pub(super) async fn verify(
    wire: &Wire<'_>,
    reference: &PluginReference,
    digest: &str,
    key: &PublicKey,
) -> Result<DigestProof, RegistryError> {
    let mut search = Search { wire, reference, digest, key, seen: 0, instead: None };
    if let Some(proof) = search.claims().await? {
        return Ok(proof);
    }
    if let Some(proof) = search.bundles().await? {
        return Ok(proof);
    }
    let key = key.fingerprint().to_owned();
    let source = match (search.seen, search.instead) {
        (0, _) => SignatureError::Unsigned,
        (_, Some(found)) => {
            SignatureError::OtherContent { key, found, expected: digest.to_owned() }
        }
        (count, None) => SignatureError::OtherKey { count, key },
    };
    Err(RegistryError::Signature { reference: reference.to_string(), source })
}

/// Among all that claims to be a signature, by whomever.
struct Search<'a> {
    wire: &'a Wire<'a>,
    reference: &'a PluginReference,
    digest: &'a str,
    key: &'a PublicKey,
    /// How many were looked at.
    seen: usize,
    /// What our key signed instead.
    instead: Option<String>,
}

impl Search<'_> {
    /// The older form.
    async fn claims(&mut self) -> Result<Option<DigestProof>, RegistryError> {
        let tag = signature_tag(self.digest);
        let Some(fetched) = artifact::fetch(self.wire, self.reference, &tag).await? else {
            return Ok(None);
        };
        let is_claim = |layer: &&OciDescriptor| layer.media_type == CLAIM_MEDIA_TYPE;
        let layers = fetched.manifest.layers.iter().filter(is_claim);
        for layer in layers.take(MAX_SIGNATURES) {
            self.seen += 1;
            let annotations = layer.annotations.as_ref();
            let signature = annotations.and_then(|all| all.get(SIGNATURE_ANNOTATION));
            let Some(claim) = self.blob(layer).await? else { continue };
            let signature = signature.cloned().unwrap_or_default();
            let proof = DigestProof::Claim { claim, signature };
            if self.is_ours(&proof) {
                return Ok(Some(proof));
            }
        }
        Ok(None)
    }

    /// Whether it says that our key signed the digest.
    fn is_ours(&mut self, proof: &DigestProof) -> bool {
        let digests = proof.digests(self.key).unwrap_or_default();
        if digests.iter().any(|digest| digest == self.digest) {
            return true;
        }
        self.instead = digests.into_iter().next().or(self.instead.take());
        false
    }

    /// The newer form.
    async fn bundles(&mut self) -> Result<Option<DigestProof>, RegistryError> {
        let mut looked_at = BTreeSet::new();
        for digest in self.referrers().await? {
            if looked_at.len() >= MAX_SIGNATURES || !looked_at.insert(digest.clone()) {
                continue;
            }
            let fetched = artifact::fetch(self.wire, self.reference, &digest).await?;
            let Some(fetched) = fetched else { continue };
            let is_bundle =
                |layer: &&OciDescriptor| layer.media_type.starts_with(BUNDLE_MEDIA_TYPE);
            let Some(layer) = fetched.manifest.layers.iter().find(is_bundle) else { continue };
            self.seen += 1;
            let Some(text) = self.blob(layer).await? else { continue };
            let proof = DigestProof::Bundle(text);
            if self.is_ours(&proof) {
                return Ok(Some(proof));
            }
        }
        Ok(None)
    }

    /// The digests of the bundles that refer to the artifact.
    async fn referrers(&self) -> Result<Vec<String>, RegistryError> {
        let path = format!("referrers/{}", self.digest);
        let listed = self.wire.get(&path, "application/vnd.oci.image.index.v1+json").await;
        let bytes = match listed {
            Ok(Some(answer)) => {
                let wanted = Wanted {
                    what: "the list of signatures",
                    max_bytes: MAX_MANIFEST_BYTES,
                    size: None,
                    digest: None,
                };
                Some(self.wire.read(answer, wanted, |_| ()).await?)
            }
            // Older registries know no such list, and say so in several ways.
            Ok(None) | Err(RegistryError::Refused { .. }) => {
                fetch_bytes(self.wire, &referrers_tag(self.digest)).await?.map(|(bytes, _)| bytes)
            }
            Err(error) => return Err(error),
        };
        let index = bytes.and_then(|bytes| serde_json::from_slice::<OciImageIndex>(&bytes).ok());
        let entries = index.map(|index| index.manifests).unwrap_or_default();
        // cosign itself lists its bundles under the type of their empty config.
        let is_bundle = |kind: &Option<String>| {
            let kinds = [BUNDLE_MEDIA_TYPE, EMPTY_MEDIA_TYPE];
            kind.as_ref().is_none_or(|kind| kinds.iter().any(|known| kind.starts_with(known)))
        };
        let entries = entries.into_iter().filter(|entry| is_bundle(&entry.artifact_type));
        Ok(entries.map(|entry| entry.digest).filter(|digest| is_digest(digest)).collect())
    }

    async fn blob(&self, layer: &OciDescriptor) -> Result<Option<Vec<u8>>, RegistryError> {
        let Ok(size) = u64::try_from(layer.size) else { return Ok(None) };
        if !is_digest(&layer.digest) || size > MAX_SIGNATURE_BYTES {
            return Ok(None);
        }
        let path = format!("blobs/{}", layer.digest);
        let Some(answer) = self.wire.get(&path, "*/*").await? else { return Ok(None) };
        let wanted = Wanted {
            what: "a signature",
            max_bytes: MAX_SIGNATURE_BYTES,
            size: Some(size),
            digest: Some(&layer.digest),
        };
        self.wire.read(answer, wanted, |_| ()).await.map(Some)
    }
}
