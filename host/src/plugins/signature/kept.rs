//! A signature as it is kept beside an installed component, so that it can be checked again each time
//! that the component is loaded.
//!
//! A signature of a file is kept as it is. One from a registry is of an OCI manifest's digest, and the
//! manifest has the component's digest: it is kept together with that manifest, in a JSON text of ours.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{DigestProof, PublicKey, SignatureError, verify_blob};
use crate::plugins::lock::sha256;

/// No kept signature is larger: an OCI manifest has at most 4 MiB, and a third more in Base64.
pub const MAX_KEPT_BYTES: u64 = 8 << 20;

/// How our own form calls itself.
const MEDIA_TYPE: &str = "application/vnd.toolcell.plugin.signature.v1+json";

/// Of an artifact. All parts are in Base64.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OfArtifact {
    media_type: String,
    /// The OCI manifest, byte by byte.
    manifest: String,
    /// cosign's older form: what was signed, and the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<Claim>,
    /// The newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bundle: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Claim {
    payload: String,
    signature: String,
}

/// As much of an OCI manifest as tells which bytes belong to it.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    digest: String,
}

/// The text that keeps the signature of an artifact with this OCI manifest.
pub(crate) fn keep(manifest: &[u8], proof: &DigestProof) -> String {
    let mut kept = OfArtifact {
        media_type: MEDIA_TYPE.to_owned(),
        manifest: STANDARD.encode(manifest),
        claim: None,
        bundle: None,
    };
    match proof {
        DigestProof::Claim { claim, signature } => {
            let (payload, signature) = (STANDARD.encode(claim), signature.clone());
            kept.claim = Some(Claim { payload, signature });
        }
        DigestProof::Bundle(text) => kept.bundle = Some(STANDARD.encode(text)),
    }
    // Texts alone: every part of it is one that JSON can say.
    serde_json::to_string(&kept).unwrap_or_default() + "\n"
}

/// Checks a kept signature: ours of an artifact, or a file's as [`verify_blob`] takes it.
///
/// # Errors
/// It is no signature, or none of this component by this key.
pub fn verify_kept(key: &PublicKey, component: &[u8], text: &str) -> Result<(), SignatureError> {
    let Some(kept) = OfArtifact::read(text) else { return verify_blob(key, component, text) };
    let manifest = decode(&kept.manifest)?;
    let proof = match (kept.claim, kept.bundle) {
        (Some(Claim { payload, signature }), None) => {
            DigestProof::Claim { claim: decode(&payload)?, signature }
        }
        (None, Some(bundle)) => DigestProof::Bundle(decode(&bundle)?),
        _ => return Err(SignatureError::Malformed("it holds no signature, or two")),
    };
    let signed = proof.digests(key)?;
    among(key, signed, format!("sha256:{}", sha256(&manifest)))?;
    // Only what is signed is believed, and only now.
    let manifest: Manifest = serde_json::from_slice(&manifest)
        .map_err(|_| SignatureError::Malformed("what is signed is no OCI manifest"))?;
    let layers = manifest.layers.into_iter().map(|layer| layer.digest).collect();
    among(key, layers, format!("sha256:{}", sha256(component)))
}

fn among(key: &PublicKey, signed: Vec<String>, expected: String) -> Result<(), SignatureError> {
    if signed.contains(&expected) {
        return Ok(());
    }
    let found = signed.into_iter().next().unwrap_or_else(|| "nothing".to_owned());
    Err(SignatureError::OtherContent { key: key.fingerprint().to_owned(), found, expected })
}

impl OfArtifact {
    fn read(text: &str) -> Option<Self> {
        let kept: Self = serde_json::from_str(text).ok()?;
        (kept.media_type == MEDIA_TYPE).then_some(kept)
    }
}

fn decode(text: &str) -> Result<Vec<u8>, SignatureError> {
    STANDARD.decode(text).map_err(|_| SignatureError::Malformed("a part of it is not in Base64"))
}
