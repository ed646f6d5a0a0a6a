//! cosign's older form, "simple signing": a JSON text that names the digest, signed as it stands.

use serde::Deserialize;
use serde_json::json;

use super::SignatureError;

/// The media type of the layer that is the claim.
pub(crate) const CLAIM_MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The annotation of that layer that holds the signature, in Base64.
pub(crate) const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// What the claim has to call itself.
const CLAIM_TYPE: &str = "cosign container image signature";

#[derive(Deserialize)]
struct Claim {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// The digest that a claim is about. Its `critical.identity` tells the repository that it was signed
/// for; a copy in a mirror has the same, so that it decides nothing, as with cosign.
pub(crate) fn digest_claimed(claim: &[u8]) -> Result<String, SignatureError> {
    let claim: Claim = serde_json::from_slice(claim)
        .map_err(|_| SignatureError::Malformed("what is signed is no claim as cosign writes it"))?;
    if claim.critical.kind != CLAIM_TYPE {
        return Err(SignatureError::Malformed("what is signed calls itself something else"));
    }
    Ok(claim.critical.image.docker_manifest_digest)
}

/// The claim that an artifact with this digest lies in this repository.
pub(crate) fn write_claim(repository: &str, digest: &str) -> Vec<u8> {
    let critical = json!({
        "identity": { "docker-reference": repository },
        "image": { "docker-manifest-digest": digest },
        "type": CLAIM_TYPE,
    });
    json!({ "critical": critical, "optional": null }).to_string().into_bytes()
}
