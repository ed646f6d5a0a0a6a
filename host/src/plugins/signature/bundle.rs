//! sigstore's newer form: a bundle, in JSON. What it holds beside the signature (a transparency log's
//! entries, timestamps) is not looked at.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::{KeyError, PublicKey, SignatureError, SigningKey};

/// The media type of a bundle, and of the artifact that holds one. The version is at the end.
pub(crate) const BUNDLE_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle";

/// The version that is written.
pub(crate) const WRITTEN_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The payload that says which digest is signed.
const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";

/// More signatures of one envelope, and subjects of one statement, are not looked at.
const MAX_PARTS: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    #[serde(default)]
    dsse_envelope: Option<Envelope>,
    #[serde(default)]
    message_signature: Option<MessageSignature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
struct MessageSignature {
    signature: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    #[serde(default)]
    sha256: Option<String>,
}

/// cosign's words for "I signed this"; other predicates (a vulnerability report, say) claim less.
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

/// A bundle that says that a digest was signed.
pub(crate) struct DigestClaim {
    payload: Vec<u8>,
    signed: Vec<u8>,
    signatures: Vec<Vec<u8>>,
}

impl DigestClaim {
    /// Reads a bundle.
    pub(crate) fn read(text: &[u8]) -> Result<Self, SignatureError> {
        let bundle: Bundle = serde_json::from_slice(text)
            .map_err(|_| SignatureError::Malformed("it is no bundle as sigstore writes it"))?;
        let envelope = bundle
            .dsse_envelope
            .ok_or(SignatureError::Malformed("its bundle is of a file, not of an artifact"))?;
        if envelope.payload_type != STATEMENT_TYPE {
            return Err(SignatureError::Malformed("its bundle holds no in-toto statement"));
        }
        let payload = decode(&envelope.payload)?;
        let signatures = envelope.signatures.iter().take(MAX_PARTS).map(|s| decode(&s.sig));
        let signatures = signatures.collect::<Result<_, _>>()?;
        let signed = pre_authentication(&envelope.payload_type, &payload);
        Ok(Self { payload, signed, signatures })
    }

    /// Whether this key signed it.
    pub(crate) fn is_by(&self, key: &PublicKey) -> bool {
        self.signatures.iter().any(|signature| key.verifies(&self.signed, signature))
    }

    /// The digests that it is about. To be asked after [`DigestClaim::is_by`].
    pub(crate) fn digests(&self) -> Result<Vec<String>, SignatureError> {
        let statement: Statement = serde_json::from_slice(&self.payload)
            .map_err(|_| SignatureError::Malformed("its statement is none as in-toto has them"))?;
        if statement.predicate_type != SIGNED {
            return Err(SignatureError::Malformed(
                "its statement says something else than `signed`",
            ));
        }
        let subjects = statement.subject.into_iter().take(MAX_PARTS);
        let digests = subjects.filter_map(|subject| subject.digest.sha256);
        Ok(digests.map(|hex| format!("sha256:{hex}")).collect())
    }
}

/// A bundle that says that this digest, `sha256:…`, was signed.
pub(crate) fn write_bundle(key: &SigningKey, digest: &str) -> Result<Vec<u8>, KeyError> {
    let hex = digest.trim_start_matches("sha256:");
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": hex }, "annotations": {} }],
        "predicateType": SIGNED,
        "predicate": {},
    });
    let payload = statement.to_string().into_bytes();
    let signature = key.sign(&pre_authentication(STATEMENT_TYPE, &payload))?;
    let bundle = json!({
        "mediaType": WRITTEN_MEDIA_TYPE,
        "verificationMaterial": { "publicKey": { "hint": key.public().hint() } },
        "dsseEnvelope": {
            "payload": STANDARD.encode(&payload),
            "payloadType": STATEMENT_TYPE,
            "signatures": [{ "sig": STANDARD.encode(signature) }],
        },
    });
    Ok(bundle.to_string().into_bytes())
}

/// The annotations of an artifact that holds such a bundle, as cosign writes them.
pub(crate) fn annotations() -> BTreeMap<String, String> {
    [("content", "dsse-envelope"), ("predicateType", SIGNED)]
        .map(|(key, value)| (format!("dev.sigstore.bundle.{key}"), value.to_owned()))
        .into()
}

/// The signature of a file, of a bundle.
pub(super) fn blob_signature(text: &str) -> Result<Vec<u8>, SignatureError> {
    let bundle: Bundle = serde_json::from_str(text)
        .map_err(|_| SignatureError::Malformed("it is no bundle as sigstore writes it"))?;
    let message = bundle
        .message_signature
        .ok_or(SignatureError::Malformed("its bundle is of an artifact, not of a file"))?;
    decode(&message.signature)
}

fn decode(text: &str) -> Result<Vec<u8>, SignatureError> {
    STANDARD.decode(text).map_err(|_| SignatureError::Malformed("a part of it is not in Base64"))
}

/// DSSE signs this, so that a payload of one type cannot pass for one of another.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}
