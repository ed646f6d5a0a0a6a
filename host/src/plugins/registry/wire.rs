//! HTTP with one registry: who we are, where we may be sent, and how much of an answer is read.

use std::time::Duration;

use oci_client::errors::OciEnvelope;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, WWW_AUTHENTICATE,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use ring::digest::{Context, SHA256};
use tokio::sync::Mutex;

use super::reference::is_loopback_host;
use super::token::{Challenge, TokenAnswer};
use super::{PluginReference, Registry, RegistryError};
use crate::upstream::{find_cause, one_line};

/// A registry's storage is often elsewhere; a chain of places is not.
const MAX_REDIRECTS: usize = 3;

/// Of a token server's answer, and of what a registry says when it refuses.
const MAX_WORDS_BYTES: u64 = 64 * 1024;

/// Of what a registry says, this much is shown.
const MAX_SHOWN_CHARS: usize = 200;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Pull,
    Push,
}

/// How we were let in. Holds a credential: has no `Debug`.
#[derive(Clone)]
pub(super) enum Entry {
    /// Nobody asked.
    Open,
    /// User and password with each request.
    Basic,
    /// A token.
    Bearer(String),
}

/// A conversation with a registry about one repository.
pub(super) struct Wire<'a> {
    client: Client,
    registry: &'a Registry,
    reference: &'a PluginReference,
    is_plain: bool,
    entry: Mutex<Option<Entry>>,
}

/// A part of an artifact that is read whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// What it is, for people.
    pub(super) what: &'static str,
    /// It may not be larger.
    pub(super) max_bytes: u64,
    /// How large it was announced to be, where that is known.
    pub(super) size: Option<u64>,
    /// Its digest, where that is known.
    pub(super) digest: Option<&'a str>,
}

/// The digest of some bytes, as OCI writes it.
pub fn digest_of(bytes: &[u8]) -> String {
    written(ring::digest::digest(&SHA256, bytes).as_ref())
}

fn written(sha256: &[u8]) -> String {
    use std::fmt::Write as _;
    sha256.iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl<'a> Wire<'a> {
    /// Sends nothing yet.
    pub(super) fn new(
        registry: &'a Registry,
        reference: &'a PluginReference,
    ) -> Result<Self, RegistryError> {
        let is_loopback = reference.is_loopback();
        // TLS by ring, unless an embedder has chosen something else before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .connect_timeout(registry.deadlines.connect)
            .read_timeout(registry.deadlines.silence)
            // Each is looked at before it is followed: see `follow`.
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("toolcell/", env!("CARGO_PKG_VERSION")));
        if is_loopback {
            // A proxy's loopback is another machine's.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| RegistryError::Unreachable {
            registry: reference.registry().to_owned(),
            cause: format!("the HTTP client cannot be made: {}", chain(&error)),
        })?;
        let entry = Mutex::default();
        Ok(Self { client, registry, reference, is_plain: registry.plain_http, entry })
    }

    /// Finds out whether the registry speaks TLS, where it may do without.
    pub(super) async fn settle(&mut self) {
        if self.registry.plain_http || !self.reference.is_loopback() {
            return;
        }
        // On this machine most registries speak plain HTTP, some TLS: whoever answers, is asked so.
        let base = format!("https://{}/v2/", self.reference.registry());
        self.is_plain = match self.client.get(base).send().await {
            Ok(_) => false,
            // TLS, that we do not trust: said by whatever is asked next.
            Err(error) => !is_bad_certificate(&error),
        };
    }

    /// Whether it is spoken with without TLS.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }

    fn url(&self, path: &str) -> String {
        let scheme = if self.is_plain { "http" } else { "https" };
        let (host, repository) = (self.reference.registry(), self.reference.repository());
        format!("{scheme}://{host}/v2/{repository}/{path}")
    }

    /// Asks for `/v2/REPOSITORY/PATH`, says who we are if that is asked, and goes where the registry
    /// keeps it. `None` when there is no such thing.
    pub(super) async fn get(
        &self,
        path: &str,
        accept: &'static str,
    ) -> Result<Option<Response>, RegistryError> {
        let url = self.url(path);
        let ask = || self.client.get(&url).header(ACCEPT, accept);
        let mut answer = self.send(self.entered(ask()).await).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            self.enter(Some(&answer), Action::Pull).await?;
            answer = self.send(self.entered(ask()).await).await?;
        }
        let answer = self.follow(answer, accept).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(answer)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(answer).await),
        }
    }

    /// Puts an OCI manifest under a tag or its digest, after [`Wire::enter`]. Whether the registry will
    /// list it among what refers to its subject.
    pub(super) async fn put_manifest(
        &self,
        target: &str,
        kind: &'static str,
        bytes: Vec<u8>,
    ) -> Result<bool, RegistryError> {
        let put = self.client.put(self.url(&format!("manifests/{target}")));
        let put = put.header(CONTENT_TYPE, kind).body(bytes);
        let answer = self.send(self.entered(put).await).await?;
        match answer.status() {
            status if status.is_success() => Ok(answer.headers().contains_key("oci-subject")),
            _ => Err(self.refusal(answer).await),
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, RegistryError> {
        request.send().await.map_err(|error| self.broken(error))
    }

    async fn entered(&self, request: RequestBuilder) -> RequestBuilder {
        match (self.entry.lock().await.as_ref(), &self.registry.credentials) {
            (Some(Entry::Bearer(token)), _) => authorized(request, &format!("Bearer {token}")),
            (Some(Entry::Basic), Some(credentials)) => credentials.apply(request),
            _ => request,
        }
    }

    /// Is let in for pulling or pushing. What the registry asks for is in `answer`, or is asked.
    pub(super) async fn enter(
        &self,
        answer: Option<&Response>,
        action: Action,
    ) -> Result<Entry, RegistryError> {
        let asked;
        let answer = match answer {
            Some(answer) => answer,
            None => {
                let scheme = if self.is_plain { "http" } else { "https" };
                let url = format!("{scheme}://{}/v2/", self.reference.registry());
                asked = self.send(self.client.get(url)).await?;
                &asked
            }
        };
        let entry = if answer.status() == StatusCode::UNAUTHORIZED {
            let values = answer.headers().get_all(WWW_AUTHENTICATE).iter();
            match Challenge::find(values.filter_map(|value| value.to_str().ok())) {
                Some(Challenge::Basic) if self.registry.credentials.is_some() => Entry::Basic,
                Some(Challenge::Bearer { realm, service, .. }) => {
                    Entry::Bearer(self.token(&realm, service.as_deref(), action).await?)
                }
                _ => return Err(self.needs_login()),
            }
        } else {
            Entry::Open
        };
        *self.entry.lock().await = Some(entry.clone());
        Ok(entry)
    }

    /// Fetches a token for this repository. The token server learns our credentials: it has to be
    /// spoken with as safely as the registry.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        action: Action,
    ) -> Result<String, RegistryError> {
        let broken = || self.protocol("it names a token server that is no URL".to_owned());
        let mut url = Url::parse(realm).map_err(|_| broken())?;
        self.permit(&url)?;
        let actions = match action {
            Action::Pull => "pull",
            Action::Push => "pull,push",
        };
        let scope = format!("repository:{}:{actions}", self.reference.repository());
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", service);
        }
        url.query_pairs_mut().append_pair("scope", &scope);
        let mut request = self.client.get(url);
        if let Some(credentials) = &self.registry.credentials {
            request = credentials.apply(request);
        }
        let answer = self.send(request).await?;
        if !answer.status().is_success() {
            return Err(self.refusal(answer).await);
        }
        let wanted =
            Wanted { what: "the token", max_bytes: MAX_WORDS_BYTES, size: None, digest: None };
        let body = self.read(answer, wanted, |_| ()).await?;
        // serde's error may quote what it read.
        let token = serde_json::from_slice::<TokenAnswer>(&body).ok().and_then(TokenAnswer::token);
        let token = token.filter(|token| HeaderValue::from_str(&format!("Bearer {token}")).is_ok());
        token.ok_or_else(|| self.protocol("its token server answers without a token".to_owned()))
    }

    /// Goes where an answer sends us, without what tells who we are.
    async fn follow(
        &self,
        mut answer: Response,
        accept: &'static str,
    ) -> Result<Response, RegistryError> {
        for _ in 0..MAX_REDIRECTS {
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let url = location.and_then(|location| answer.url().join(location).ok());
            let url = url
                .ok_or_else(|| self.protocol("it redirects to something that is no URL".into()))?;
            self.permit(&url)?;
            answer = self.send(self.client.get(url).header(ACCEPT, accept)).await?;
        }
        if answer.status().is_redirection() {
            let what = format!("it redirects more than {MAX_REDIRECTS} times");
            return Err(self.protocol(what));
        }
        Ok(answer)
    }

    /// Whether a registry may send us there. A registry on the net knows nothing of what is on this
    /// machine or behind its firewall, and TLS is not taken off on the way.
    fn permit(&self, url: &Url) -> Result<(), RegistryError> {
        let refuse = |why| {
            let to = match url.host_str() {
                Some(_) => url.origin().ascii_serialization(),
                None => format!("{}:", url.scheme()),
            };
            let registry = self.reference.registry().to_owned();
            Err(RegistryError::Redirect { registry, to, why })
        };
        match (url.scheme(), self.is_plain) {
            ("https", _) | ("http", true) => {}
            ("http", false) => return refuse("it is not over TLS, as the registry is"),
            _ => return refuse("only http and https are spoken"),
        }
        let host = url.host_str().unwrap_or_default();
        if !self.reference.is_loopback() && is_inside(host) {
            return refuse("it is inside of this machine or its network, and the registry is not");
        }
        Ok(())
    }

    /// Reads a body of bounded size whole, and compares it with what was announced.
    pub(super) async fn read(
        &self,
        mut answer: Response,
        wanted: Wanted<'_>,
        received: impl Fn(u64),
    ) -> Result<Vec<u8>, RegistryError> {
        let Wanted { what, max_bytes, size, digest } = wanted;
        let reference = || self.reference.to_string();
        let too_large = || RegistryError::TooLarge { reference: reference(), what, max_bytes };
        let announced = size.or(answer.content_length());
        if announced.is_some_and(|bytes| bytes > max_bytes) {
            return Err(too_large());
        }
        // Not more than was announced either: a registry may lie in both places.
        let most = size.unwrap_or(max_bytes);
        let mut body = Vec::new();
        let mut context = Context::new(&SHA256);
        let cut_off = |received_bytes| RegistryError::Truncated {
            reference: reference(),
            what,
            received_bytes,
            total_bytes: announced.unwrap_or(received_bytes),
        };
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    if (body.len() + chunk.len()) as u64 > most {
                        let longer = "more bytes come than were announced for the ";
                        return Err(match size {
                            Some(_) => self
                                .protocol(format!("{longer}{}", what.trim_start_matches("the "))),
                            None => too_large(),
                        });
                    }
                    context.update(&chunk);
                    body.extend_from_slice(&chunk);
                    received(body.len() as u64);
                }
                Ok(None) => break,
                Err(error) if error.is_timeout() => return Err(self.broken(error)),
                Err(_) => return Err(cut_off(body.len() as u64)),
            }
        }
        if announced.is_some_and(|bytes| bytes > body.len() as u64) {
            return Err(cut_off(body.len() as u64));
        }
        let found = written(context.finish().as_ref());
        match digest {
            Some(expected) if expected != found => Err(RegistryError::WrongDigest {
                reference: reference(),
                what,
                expected: expected.to_owned(),
                found,
            }),
            _ => Ok(body),
        }
    }

    /// Why an answer is no success, as far as one line can tell.
    async fn refusal(&self, answer: Response) -> RegistryError {
        let status = answer.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return self.needs_login();
        }
        let wanted =
            Wanted { what: "the answer", max_bytes: MAX_WORDS_BYTES, size: None, digest: None };
        let body = self.read(answer, wanted, |_| ()).await.unwrap_or_default();
        self.refused(status.as_u16(), &String::from_utf8_lossy(&body))
    }

    /// A refusal with its body: OCI's list of errors, or whatever stands in the way.
    pub(super) fn refused(&self, status: u16, body: &str) -> RegistryError {
        let envelope = serde_json::from_str::<OciEnvelope>(body).ok();
        let first = envelope.and_then(|envelope| envelope.errors.into_iter().next());
        let message = first.map_or_else(|| body.to_owned(), |error| error.message);
        let registry = self.reference.registry().to_owned();
        RegistryError::Refused { registry, status, message: self.shown(&message) }
    }

    /// A piece of what a registry said, for people: one short line, without our password.
    pub(super) fn shown(&self, said: &str) -> String {
        let short: String = one_line(said).chars().take(MAX_SHOWN_CHARS).collect();
        match &self.registry.credentials {
            Some(credentials) => credentials.erase(&short),
            None => short,
        }
    }

    pub(super) fn needs_login(&self) -> RegistryError {
        RegistryError::NeedsLogin {
            registry: self.reference.registry().to_owned(),
            repository: self.reference.repository().to_owned(),
            as_somebody: self.registry.credentials.is_some(),
        }
    }

    pub(super) fn protocol(&self, what: String) -> RegistryError {
        RegistryError::Protocol { registry: self.reference.registry().to_owned(), what }
    }

    pub(super) fn not_found(&self) -> RegistryError {
        RegistryError::NotFound { reference: self.reference.to_string() }
    }

    /// No answer, or not all of one.
    pub(super) fn broken(&self, error: reqwest::Error) -> RegistryError {
        let registry = self.reference.registry().to_owned();
        if error.is_timeout() {
            let after: Duration = match error.is_connect() {
                true => self.registry.deadlines.connect,
                false => self.registry.deadlines.silence,
            };
            return RegistryError::Silent { registry, after };
        }
        if !self.is_plain && is_plain_answer(&error) {
            return RegistryError::PlainHttp { registry };
        }
        // A URL may hold a token.
        RegistryError::Unreachable { registry, cause: chain(&error.without_url()) }
    }
}

fn authorized(request: RequestBuilder, value: &str) -> RequestBuilder {
    match HeaderValue::from_str(value) {
        Ok(mut value) => {
            value.set_sensitive(true);
            request.header(AUTHORIZATION, value)
        }
        Err(_) => request,
    }
}

/// An address of this machine or of the network that it is in, where it is written as one.
fn is_inside(host: &str) -> bool {
    use std::net::IpAddr;
    is_loopback_host(host)
        || match host.trim_matches(['[', ']']).parse() {
            Ok(IpAddr::V4(ip)) => ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
            Ok(IpAddr::V6(ip)) => {
                ip.is_unique_local()
                    || ip.is_unicast_link_local()
                    || ip.is_unspecified()
                    || ip.to_ipv4_mapped().is_some()
            }
            Err(_) => false,
        }
}

fn is_bad_certificate(error: &reqwest::Error) -> bool {
    matches!(find_cause(error), Some(rustls::Error::InvalidCertificate(_)))
}

/// Something that is no TLS came where TLS was spoken.
fn is_plain_answer(error: &reqwest::Error) -> bool {
    matches!(find_cause(error), Some(rustls::Error::InvalidMessage(_)))
}

/// An error and its causes, outermost first.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
