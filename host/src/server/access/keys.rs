//! The public keys of an authorization server: found, fetched, kept, and fetched again when a token
//! names one that is not known, since issuers replace their keys.
//!
//! Whoever sends tokens with invented key names must not make us a storm on the issuer: one request
//! is under way at a time, everybody who wants the same waits for it, and there are few per minute.

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Client, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::challenge::Fault;
use super::settings::JwtSettings;

/// How long all of it may take, metadata included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer that is read.
const MAX_BYTES: usize = 256 << 10;

/// Keys of one issuer that are kept.
const MAX_KEYS: usize = 100;

/// How long keys are used before they are fetched anew: one that was withdrawn is good no longer.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// How long keys are used if they cannot be fetched anew.
const MAX_STALENESS: Duration = Duration::from_secs(24 * 60 * 60);

/// How often the keys are fetched at most.
const MAX_FETCHES: usize = 5;
const PER: Duration = Duration::from_secs(60);

/// One key.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    /// The algorithms that it is for.
    algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

/// What was fetched, and when.
#[derive(Clone)]
struct Fetched {
    keys: Arc<[Key]>,
    at: Instant,
}

/// How often the issuer was asked lately.
#[derive(Default)]
struct Attempts {
    begun: VecDeque<Instant>,
    last_end: Option<Instant>,
}

impl Attempts {
    /// Whether there may be another one now; then it counts.
    fn begin(&mut self) -> bool {
        while self.begun.front().is_some_and(|at| at.elapsed() > PER) {
            self.begun.pop_front();
        }
        if self.begun.len() >= MAX_FETCHES {
            return false;
        }
        self.begun.push_back(Instant::now());
        true
    }
}

/// The keys of one issuer.
pub(super) struct KeySet {
    issuer: String,
    jwks_url: Option<String>,
    fetched: RwLock<Option<Fetched>>,
    /// Held while the keys are asked for.
    attempts: Mutex<Attempts>,
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySet").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl KeySet {
    pub(super) fn new(settings: &JwtSettings) -> Self {
        Self {
            issuer: settings.issuer.clone(),
            jwks_url: settings.jwks_url.clone(),
            fetched: RwLock::default(),
            attempts: Mutex::default(),
        }
    }

    /// The keys that a token may be signed with. Cancel-safe.
    pub(super) async fn for_token(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<Key>, Fault> {
        let began = Instant::now();
        let mut known = self.fetched();
        let is_young = |fetched: &Fetched| fetched.at.elapsed() < MAX_AGE;
        let fits = |fetched: &Fetched| !fitting(&fetched.keys, id, algorithm).is_empty();
        if !known.as_ref().is_some_and(|fetched| is_young(fetched) && fits(fetched)) {
            self.fetch_unless_tried_since(began).await;
            known = self.fetched().filter(|known| known.at.elapsed() < MAX_STALENESS);
        }
        let Some(known) = known else {
            let words = "the keys of the token's issuer cannot be had just now";
            return Err(Fault::Unavailable(words.to_owned()));
        };
        let keys = fitting(&known.keys, id, algorithm);
        match keys.is_empty() {
            true => Err(Fault::invalid("the key that it names is not known to its issuer")),
            false => Ok(keys),
        }
    }

    fn fetched(&self) -> Option<Fetched> {
        self.fetched.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches, unless somebody else tried meanwhile: whoever waited for that has its outcome. What
    /// was known stays known when it fails.
    async fn fetch_unless_tried_since(&self, began: Instant) {
        let mut attempts = self.attempts.lock().await;
        if attempts.last_end.is_some_and(|end| end >= began) {
            return;
        }
        let outcome = match attempts.begin() {
            true => tokio::time::timeout(TIMEOUT, self.fetch()).await.unwrap_or_else(|_| {
                Err(format!("they did not come within {} s", TIMEOUT.as_secs()))
            }),
            false => Err("they were asked for often enough within this minute".to_owned()),
        };
        let end = Instant::now();
        attempts.last_end = Some(end);
        match outcome {
            Ok(keys) => {
                let mut place = self.fetched.write().unwrap_or_else(PoisonError::into_inner);
                *place = Some(Fetched { keys: keys.into(), at: end });
            }
            Err(error) => {
                tracing::warn!(issuer = %self.issuer, %error, "the issuer's keys were not fetched");
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let client = client()?;
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover(&client).await?,
        };
        let set: WrittenKeys = get(&client, &url).await?;
        let keys = set.keys.into_iter().take(MAX_KEYS).filter_map(usable).collect::<Vec<_>>();
        match keys.is_empty() {
            true => Err(format!("{url} lists no key that can be used")),
            false => Ok(keys),
        }
    }

    /// Asks the issuer's metadata where its keys are: OpenID Connect's, or that of RFC 8414.
    async fn discover(&self, client: &Client) -> Result<String, String> {
        let mut failures = Vec::new();
        for url in metadata_urls(&self.issuer)? {
            match get::<Metadata>(client, &url).await {
                // Or anyone could speak for this issuer (RFC 8414, section 3.3).
                Ok(metadata) if metadata.issuer != self.issuer => {
                    failures.push(format!("{url} is about another issuer"));
                }
                Ok(metadata) if is_downgrade(&self.issuer, &metadata.jwks_uri) => {
                    failures.push(format!("{url} names keys that are not protected by https"));
                }
                Ok(metadata) => return Ok(metadata.jwks_uri),
                Err(error) => failures.push(error),
            }
        }
        Err(failures.join("; "))
    }
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct WrittenKeys {
    /// One by one, so that a kind that we do not know costs none of the others.
    keys: Vec<Value>,
}

/// Where an issuer may have its metadata.
fn metadata_urls(issuer: &str) -> Result<[String; 3], String> {
    let url = Url::parse(issuer).map_err(|_| "the issuer is no URL; set `jwks_url`".to_owned())?;
    let origin = url.origin().ascii_serialization();
    let path = url.path().trim_end_matches('/');
    Ok([
        format!("{origin}{path}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}/.well-known/openid-configuration{path}"),
    ])
}

fn is_downgrade(issuer: &str, keys: &str) -> bool {
    issuer.starts_with("https://") && !keys.starts_with("https://")
}

/// A key for signatures of ours, with the algorithms that it may be used with.
fn usable(written: Value) -> Option<Key> {
    let key: Jwk = serde_json::from_value(written).ok()?;
    let purpose = key.common.public_key_use.as_ref();
    if purpose.is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(&key).ok()?;
    let mut algorithms = algorithms_of(&key);
    if let Some(only) = &key.common.key_algorithm {
        let only = Algorithm::from_str(&only.to_string()).ok();
        algorithms.retain(|algorithm| Some(*algorithm) == only);
    }
    (!algorithms.is_empty()).then_some(Key { id: key.common.key_id, algorithms, key: decoding })
}

/// By the kind of key alone: no public key is ever the secret of a symmetric algorithm.
fn algorithms_of(key: &Jwk) -> Vec<Algorithm> {
    use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};

    match &key.algorithm {
        AlgorithmParameters::RSA(_) => vec![
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => Vec::new(),
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        AlgorithmParameters::OctetKeyPair(_) | AlgorithmParameters::OctetKey(_) => Vec::new(),
    }
}

/// Of a token that names no key, every key of its algorithm may be the one.
fn fitting(keys: &[Key], id: Option<&str>, algorithm: Algorithm) -> Vec<Key> {
    let is_it = |key: &&Key| id.is_none_or(|id| key.id.as_deref() == Some(id));
    let fits = |key: &&Key| key.algorithms.contains(&algorithm);
    keys.iter().filter(is_it).filter(fits).cloned().collect()
}

/// Rarely needed, so it keeps no connections.
fn client() -> Result<Client, String> {
    // By ring, unless somebody has chosen something else before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .timeout(TIMEOUT)
        // Who speaks for an issuer is named by the operator alone.
        .redirect(redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("toolcell/", env!("CARGO_PKG_VERSION")))
        .pool_max_idle_per_host(0)
        .build()
        .map_err(|error| format!("the HTTP client cannot be made: {}", chain(&error)))
}

async fn get<T: DeserializeOwned>(client: &Client, url: &str) -> Result<T, String> {
    let failed =
        |error: reqwest::Error| format!("{url} cannot be read: {}", chain(&error.without_url()));
    let mut response = client.get(url).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(format!("{url} answers with HTTP status {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(format!("{url} answers with more than {MAX_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|error| format!("{url} answers something else: {error}"))
}

/// An error and its causes, outermost first.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
