//! Keys: ECDSA on P-256, in PEM.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};

/// No key in PEM is larger, RSA's included.
const MAX_PEM_BYTES: usize = 64 * 1024;

/// How the DER of a public key on P-256 begins: the algorithm, the curve, and the head of the bit
/// string that holds the point (RFC 5480).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// An uncompressed point: 4, x and y.
const POINT_BYTES: usize = 65;

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM, or something else in it.
    #[error("this is no {wanted} in PEM form: it should begin with -----BEGIN {label}-----")]
    NotPem {
        /// What was looked for.
        wanted: &'static str,
        /// The label of its PEM.
        label: &'static str,
    },
    /// A private key, where the public one belongs.
    #[error(
        "this is a private key: give away the public one only, which `toolcell plugin keygen` or \
             `cosign public-key` writes"
    )]
    Private,
    /// cosign's own container of private keys.
    #[error(
        "this private key is encrypted, as cosign keeps its own: sign with cosign, or with a key that \
             `toolcell plugin keygen` makes"
    )]
    Encrypted,
    /// Another kind of PEM for the same thing.
    #[error(
        "this private key is in SEC 1 form: `openssl pkcs8 -topk8 -nocrypt -in KEY` writes it as PKCS#8"
    )]
    Sec1,
    /// RSA, Ed25519, another curve.
    #[error("this is a key of another kind than ECDSA on P-256, which cosign and toolcell use")]
    OtherKind,
    /// The machine has no randomness.
    #[error("this machine has no randomness to sign with")]
    NoRandomness,
}

/// The public half: whoever has it can see that something was signed.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    point: [u8; POINT_BYTES],
    sha256: String,
}

impl PublicKey {
    /// Reads the PEM that `cosign generate-key-pair`, `toolcell plugin keygen` or openssl wrote.
    ///
    /// # Errors
    /// It is something else.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        let not_pem = KeyError::NotPem { wanted: "public key", label: "PUBLIC KEY" };
        let der = pem(text, "PUBLIC KEY").ok_or(not_pem)?;
        let point = der.strip_prefix(&P256_PREFIX).ok_or(KeyError::OtherKind)?;
        let point: [u8; POINT_BYTES] = point.try_into().map_err(|_| KeyError::OtherKind)?;
        if point[0] != 4 {
            return Err(KeyError::OtherKind);
        }
        Ok(Self::of_point(point))
    }

    fn of_point(point: [u8; POINT_BYTES]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, &der_of(&point));
        let sha256 = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        Self { point, sha256 }
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        write_pem("PUBLIC KEY", &der_of(&self.point))
    }

    /// The SHA-256 of its DER in hexadecimal digits: for the lock.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The first 16 digits of that, for people.
    pub fn fingerprint(&self) -> &str {
        self.sha256.get(..16).unwrap_or(&self.sha256)
    }

    /// What a bundle calls it.
    pub(crate) fn hint(&self) -> String {
        STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, &der_of(&self.point)))
    }

    /// Whether this is a signature, in DER, of these bytes.
    pub(crate) fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point);
        key.verify(bytes, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.fingerprint()).finish()
    }
}

/// The private half. Cannot be printed.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl SigningKey {
    /// Makes a new one, and the PEM in which it is kept: whoever reads that can sign.
    ///
    /// # Errors
    /// The machine has no randomness.
    pub fn generate() -> Result<(Self, String), KeyError> {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
        let der = der.map_err(|_| KeyError::NoRandomness)?;
        let pem = write_pem("PRIVATE KEY", der.as_ref());
        Ok((Self::from_pem(&pem)?, pem))
    }

    /// Reads an unencrypted key in PKCS#8.
    ///
    /// # Errors
    /// It is something else.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.contains("ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        if text.contains("-----BEGIN EC PRIVATE KEY-----") {
            return Err(KeyError::Sec1);
        }
        let not_pem = KeyError::NotPem { wanted: "private key", label: "PRIVATE KEY" };
        let der = pem(text, "PRIVATE KEY").ok_or(not_pem)?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &random);
        Ok(Self { pair: pair.map_err(|_| KeyError::OtherKind)?, random })
    }

    /// The half that can be given away.
    ///
    /// # Panics
    /// Never: a point on P-256 has one length.
    pub fn public(&self) -> PublicKey {
        let point = self.pair.public_key().as_ref();
        PublicKey::of_point(point.try_into().expect("a point on P-256 has 65 bytes"))
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&self.random, bytes);
        Ok(signature.map_err(|_| KeyError::NoRandomness)?.as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([redacted])")
    }
}

fn der_of(point: &[u8; POINT_BYTES]) -> Vec<u8> {
    [P256_PREFIX.as_slice(), point.as_slice()].concat()
}

/// The bytes of the first block with this label.
fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_PEM_BYTES {
        return None;
    }
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.split_whitespace().collect();
    STANDARD.decode(body).ok()
}

fn write_pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
