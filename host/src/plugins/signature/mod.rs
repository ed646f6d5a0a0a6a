//! Who signed a plugin: signatures with a key of their own, as cosign makes and checks them.
//!
//! Keys are ECDSA on P-256, in PEM. A signature says one of three things, each of them with SHA-256:
//!
//! - *these bytes*, beside a file: `cosign sign-blob` writes it in Base64, or as a bundle.
//! - *this digest*, in a registry, in cosign's older form (`claim`): a small JSON text that names the
//!   digest, and an annotation with the signature over that text.
//! - the same in the newer form (`bundle`): an in-toto statement in a DSSE envelope, which cosign
//!   writes by default since its version 3.
//!
//! A key says who; neither certificates nor transparency logs are asked. What a bundle holds of them
//! is passed over: the key alone decides.

mod bundle;
mod claim;
mod kept;
mod key;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use bundle::DigestClaim;
pub(crate) use bundle::{BUNDLE_MEDIA_TYPE, WRITTEN_MEDIA_TYPE, annotations, write_bundle};
use claim::digest_claimed;
pub(crate) use claim::{CLAIM_MEDIA_TYPE, SIGNATURE_ANNOTATION, write_claim};
pub(crate) use kept::keep;
pub use kept::{MAX_KEPT_BYTES, verify_kept};
pub use key::{KeyError, PublicKey, SigningKey};

/// No signature, claim or bundle is larger.
pub const MAX_SIGNATURE_BYTES: u64 = 1024 * 1024;

/// A plugin is not signed as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error(
        "it is not signed: its author signs with `cosign sign --key` or `toolcell plugin push --key`"
    )]
    Unsigned,
    /// There are some, by others.
    #[error("none of its {count} signatures is by the key {key}")]
    OtherKey {
        /// How many there are.
        count: usize,
        /// The fingerprint of the key that was asked for.
        key: String,
    },
    /// Signed by the right key, for something else.
    #[error("the key {key} signed something else: {found}, where {expected} lies")]
    OtherContent {
        /// The fingerprint of the key.
        key: String,
        /// The digest that was signed.
        found: String,
        /// The digest that is to be used.
        expected: String,
    },
    /// It cannot be read.
    #[error("the signature cannot be read: {0}")]
    Malformed(&'static str),
}

/// A text that says which digests a key signed.
pub(crate) enum DigestProof {
    /// In cosign's older form: what is signed, and the signature in Base64.
    Claim { claim: Vec<u8>, signature: String },
    /// In its newer form.
    Bundle(Vec<u8>),
}

impl DigestProof {
    /// The digests, if this key signed them.
    pub(crate) fn digests(&self, key: &PublicKey) -> Result<Vec<String>, SignatureError> {
        match self {
            Self::Claim { claim, signature } => {
                verify_blob(key, claim, signature)?;
                Ok(vec![digest_claimed(claim)?])
            }
            Self::Bundle(text) => {
                let claim = DigestClaim::read(text)?;
                if !claim.is_by(key) {
                    let key = key.fingerprint().to_owned();
                    return Err(SignatureError::OtherKey { count: 1, key });
                }
                claim.digests()
            }
        }
    }
}

/// Checks a signature of bytes: what `cosign sign-blob --key` prints, or its `--bundle`.
///
/// # Errors
/// It is no signature, or none of these bytes by this key.
pub fn verify_blob(key: &PublicKey, bytes: &[u8], signature: &str) -> Result<(), SignatureError> {
    if signature.len() as u64 > MAX_SIGNATURE_BYTES {
        return Err(SignatureError::Malformed("it is too large to be one"));
    }
    let text = signature.trim();
    let der = match text.starts_with('{') {
        true => bundle::blob_signature(text)?,
        false => STANDARD
            .decode(text)
            .map_err(|_| SignatureError::Malformed("it is neither Base64 nor a JSON bundle"))?,
    };
    if key.verifies(bytes, &der) {
        Ok(())
    } else {
        Err(SignatureError::OtherKey { count: 1, key: key.fingerprint().to_owned() })
    }
}

/// Signs bytes, as `cosign sign-blob --key` does.
///
/// # Errors
/// The machine has no randomness.
pub fn sign_blob(key: &SigningKey, bytes: &[u8]) -> Result<String, KeyError> {
    Ok(STANDARD.encode(key.sign(bytes)?))
}

#[cfg(test)]
mod tests;
