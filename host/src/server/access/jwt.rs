//! Tokens of an authorization server: signed by it, for us, and good now.
//!
//! The algorithm is ours to choose, not the token's: a token names one of those that the operator
//! accepts, all of which need a private key, and the key that it names has to be one for that
//! algorithm. Keys and addresses that a token brings along (`jwk`, `jku`, `x5u`) are not looked at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::challenge::Fault;
use super::keys::{Key, KeySet};
use super::settings::JwtSettings;
use super::{MAX_CALLER_CHARS, Visitor};
use crate::upstream::Caller;

/// Scopes and profiles of one token that are looked at.
const MAX_WORDS: usize = 1_000;

/// Keys that are tried for a token that names none.
const MAX_TRIED_KEYS: usize = 8;

type Claims = Map<String, Value>;

/// Checks the tokens of one authorization server.
#[derive(Debug)]
pub(super) struct JwtChecks {
    settings: JwtSettings,
    keys: KeySet,
}

/// What is read of a token's header before anything of it is believed.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// Extensions that have to be understood. We understand none.
    crit: Option<Value>,
}

/// Whether a text may be a signed JWT at all.
pub(super) fn has_shape(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl JwtChecks {
    pub(super) fn new(settings: JwtSettings) -> Self {
        let keys = KeySet::new(&settings);
        Self { settings, keys }
    }

    /// Whose token it is. `endpoint` is the public URL that the client called: for whom a token has to
    /// be if the operator named no audience.
    pub(super) async fn check(
        &self,
        token: &str,
        endpoint: Option<&str>,
    ) -> Result<Visitor, Fault> {
        let head = head(token)?;
        let algorithm = self.algorithm(&head)?;
        let keys = self.keys.for_token(head.kid.as_deref(), algorithm).await?;
        let claims = self.verify(token, &keys, algorithm, endpoint)?;
        self.check_scopes(&claims)?;
        self.visitor(&claims)
    }

    fn algorithm(&self, head: &Head) -> Result<Algorithm, Fault> {
        let accepted = &self.settings.algorithms;
        let known = accepted.contains(&head.alg).then(|| head.alg.parse().ok()).flatten();
        known.ok_or_else(|| {
            let shown: String =
                head.alg.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
            Fault::Invalid(format!(
                "its algorithm {shown} is not accepted; accepted are {}",
                accepted.join(", ")
            ))
        })
    }

    fn verify(
        &self,
        token: &str,
        keys: &[Key],
        algorithm: Algorithm,
        endpoint: Option<&str>,
    ) -> Result<Claims, Fault> {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.settings.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.settings.issuer]);
        match &self.settings.audiences[..] {
            // Without one of the two there is no token that could be for us.
            [] => validation.set_audience(endpoint.as_slice()),
            named => validation.set_audience(named),
        }
        let mut fault = Fault::invalid("no key of its issuer is one for its algorithm");
        for key in keys.iter().take(MAX_TRIED_KEYS) {
            match decode::<Claims>(token, &key.key, &validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) => fault = Fault::Invalid(words(error.kind())),
            }
            // Only a signature can be another key's.
            if fault != Fault::Invalid(words(&ErrorKind::InvalidSignature)) {
                break;
            }
        }
        Err(fault)
    }

    fn check_scopes(&self, claims: &Claims) -> Result<(), Fault> {
        let wanted = &self.settings.scopes;
        // Some issuers call it otherwise.
        let granted = listed(claims.get("scope").or_else(|| claims.get("scp")));
        if wanted.iter().all(|scope| granted.iter().any(|granted| granted == scope)) {
            return Ok(());
        }
        Err(Fault::Scope(wanted.join(" ")))
    }

    fn visitor(&self, claims: &Claims) -> Result<Visitor, Fault> {
        let claim = &self.settings.caller_claim;
        let id = match claims.get(claim) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(Fault::Invalid(format!("its claim `{claim}` names no caller"))),
        };
        if !is_caller(&id) {
            let words = "is no name of a caller: 1 to 200 characters without spaces";
            return Err(Fault::Invalid(format!("its claim `{claim}` {words}")));
        }
        let profiles = self.settings.profiles_claim.as_ref();
        let profiles = profiles.map(|claim| listed(claims.get(claim)));
        Ok(Visitor { caller: Caller { id: Some(id.into()), token: None }, profiles })
    }
}

/// Whether a text can be a caller's name: it stands in logs and in headers.
pub(crate) fn is_caller(text: &str) -> bool {
    let plain = |c: char| !c.is_control() && !c.is_whitespace();
    (1..=MAX_CALLER_CHARS).contains(&text.chars().count()) && text.chars().all(plain)
}

/// The words of a claim: a list, or one text with spaces.
fn listed(claim: Option<&Value>) -> Vec<String> {
    match claim {
        Some(Value::String(text)) => {
            text.split_ascii_whitespace().take(MAX_WORDS).map(str::to_owned).collect()
        }
        Some(Value::Array(values)) => {
            let words = values.iter().take(MAX_WORDS).filter_map(Value::as_str);
            words.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

fn head(token: &str) -> Result<Head, Fault> {
    let unreadable = || Fault::invalid("its header cannot be read");
    let text = token.split('.').next().unwrap_or_default();
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| unreadable())?;
    let head: Head = serde_json::from_slice(&json).map_err(|_| unreadable())?;
    match head.crit {
        None => Ok(head),
        Some(_) => Err(Fault::invalid("it wants extensions that are not known here (`crit`)")),
    }
}

fn words(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::ExpiredSignature => "it has expired".to_owned(),
        ErrorKind::ImmatureSignature => "it is not valid yet".to_owned(),
        ErrorKind::InvalidAudience => "it is not for this audience".to_owned(),
        ErrorKind::InvalidIssuer => "it is from another issuer".to_owned(),
        ErrorKind::InvalidSignature => "its signature is not that of its issuer".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) => format!("its claim `{claim}` is missing"),
        ErrorKind::InvalidAlgorithm => "the key that it names is for another algorithm".to_owned(),
        _ => "it cannot be read".to_owned(),
    }
}
