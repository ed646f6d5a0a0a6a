//! What MCP's two ways over HTTP have in common: the [`Endpoint`] through which every request goes.
//!
//! - `client` decides how connections are made: TLS, proxy, caps.
//! - `upload` writes a body within its time, `body` reads one in bounded memory.
//! - `refusal` says what an HTTP error means, `unreachable` why no answer came at all.

pub(super) mod body;
pub(in crate::upstream) mod client;
mod refusal;
mod unreachable;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::{Client, Response, Url};
use rmcp::transport::common::http_header::{EVENT_STREAM_MIME_TYPE, JSON_MIME_TYPE};

pub(super) use refusal::Asked;
pub(in crate::upstream) use refusal::neither;
pub(super) use unreachable::broken;
pub(crate) use unreachable::find_cause;

use crate::upstream::auth::{Bearer, Challenge, Provider};
use crate::upstream::error::Cause;
use crate::upstream::redact::Redactor;
use crate::upstream::settings::{HttpSettings, Secret, UpstreamSettings};
use crate::upstream::transport::TransportError;

/// Redirects to the same origin; others are refused.
const MAX_REDIRECTS: usize = 4;

/// For messages that nobody waits for: notifications, refusals, the end of an MCP session.
pub(super) const SIDE_MESSAGE_TIME: Duration = Duration::from_secs(5);

/// Does what nobody waits for, in a worker of its own that its own time ends. Outside of a runtime
/// there is nothing that could send.
pub(super) fn aside(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(work);
    }
}

/// Where a server is, and how it is reached.
pub(super) struct Endpoint {
    client: Client,
    url: Url,
    /// Through what, for people.
    proxy: Option<String>,
    /// The configured headers.
    headers: HeaderMap,
    connect_timeout: Duration,
    write_timeout: Duration,
    redactor: Arc<Redactor>,
    /// Where tokens come from, unless the headers say how we are authorized.
    tokens: Option<Arc<Provider>>,
}

/// One HTTP request.
pub(super) struct Outgoing {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

impl Outgoing {
    /// Instead of a header of the same name, not beside it.
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

impl Endpoint {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// The URL, a header, the proxy or the authorities cannot be used.
    pub(super) fn new(
        settings: &UpstreamSettings,
        http: &HttpSettings,
        redactor: Arc<Redactor>,
        tokens: Option<Arc<Provider>>,
    ) -> Result<Self, Cause> {
        let url = Url::parse(&http.url).map_err(|error| Cause::new(format!("its URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(Cause::new("its URL has to begin with http:// or https://"));
        }
        let (client, proxy) = client::build(settings, http, &url)?;
        let headers = header_map(&http.headers)?;
        let (connect_timeout, write_timeout) = (settings.timeouts.connect, settings.timeouts.write);
        Ok(Self { client, url, proxy, headers, connect_timeout, write_timeout, redactor, tokens })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// A message to the server.
    pub(super) fn post(&self, url: &Url, body: Vec<u8>) -> Outgoing {
        self.outgoing(Method::POST, url, body.into())
            .header(header::CONTENT_TYPE, HeaderValue::from_static(JSON_MIME_TYPE))
    }

    /// A wish for a stream of events.
    pub(super) fn get(&self) -> Outgoing {
        self.outgoing(Method::GET, &self.url, Bytes::new())
            .header(header::ACCEPT, HeaderValue::from_static(EVENT_STREAM_MIME_TYPE))
    }

    pub(super) fn delete(&self) -> Outgoing {
        self.outgoing(Method::DELETE, &self.url, Bytes::new())
    }

    fn outgoing(&self, method: Method, url: &Url, body: Bytes) -> Outgoing {
        Outgoing { method, url: url.clone(), headers: HeaderMap::new(), body }
    }

    /// Sends a request, to where the server points if that is at the same origin. Gives whatever
    /// the server answers, HTTP errors included.
    pub(super) async fn send(&self, outgoing: &Outgoing) -> Result<Response, TransportError> {
        let mut url = outgoing.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send_authorized(outgoing, &url).await?;
            match same_origin_redirect(&url, &response) {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }
        Err(TransportError::Http(Cause::new("it redirects from one place to the next without end")))
    }

    /// Sends a request with the token that we have, and again with a better one if the server wants
    /// that: a server that refuses did nothing. Each refusal is taken for an answer the second time.
    async fn send_authorized(
        &self,
        outgoing: &Outgoing,
        url: &Url,
    ) -> Result<Response, TransportError> {
        let Some(tokens) = &self.tokens else { return self.send_once(outgoing, url, None).await };
        let mut refusals = Vec::new();
        loop {
            let bearer = tokens.bearer().await;
            let response = self.send_once(outgoing, url, bearer.as_ref()).await?;
            let Some(challenge) = Challenge::of(&response) else { return Ok(response) };
            let status = challenge.status;
            let outcome = if refusals.contains(&status) {
                Err(Cause::new("the token is new, so its authorization server gave a useless one"))
            } else {
                refusals.push(status);
                tokens.renew(bearer.as_ref(), challenge).await
            };
            if let Err(cause) = outcome {
                let excerpt = self.excerpt(&body::read_beginning(response).await);
                let cause = self.redactor.clean(&cause.to_string()).into_owned();
                let text = format!("it answered HTTP {status}{excerpt}; {cause}");
                return Err(TransportError::Unauthorized(Cause::new(text)));
            }
        }
    }

    /// One exchange. Every request's headers are put together here, and every response's status is
    /// first seen here.
    async fn send_once(
        &self,
        outgoing: &Outgoing,
        url: &Url,
        bearer: Option<&Bearer>,
    ) -> Result<Response, TransportError> {
        let mut headers = self.headers.clone();
        if let Some(bearer) = bearer {
            headers.insert(header::AUTHORIZATION, bearer.header.clone());
        }
        for (name, value) in &outgoing.headers {
            headers.insert(name, value.clone());
        }
        let mut request =
            self.client.request(outgoing.method.clone(), url.clone()).headers(headers);
        let (body, progress) = upload::body(outgoing.body.clone());
        if !outgoing.body.is_empty() {
            request = request.body(body);
        }
        tokio::select! {
            biased;
            response = request.send() => response.map_err(|error| self.unreachable(error)),
            () = progress.stuck(self.write_timeout) => {
                Err(TransportError::WriteTimedOut(self.write_timeout))
            }
        }
    }
}

/// Where a response points to, if the same message may be sent there: any other redirect would turn
/// a POST into a GET, or carry this origin's credentials elsewhere.
fn same_origin_redirect(from: &Url, response: &Response) -> Option<Url> {
    if !matches!(response.status().as_u16(), 307 | 308) {
        return None;
    }
    let to = response.headers().get(header::LOCATION)?.to_str().ok()?;
    resolve(from, to)
}

/// A reference in the answer of a server, as long as it stays at the same origin.
pub(super) fn resolve(base: &Url, reference: &str) -> Option<Url> {
    let mut url = base.join(reference).ok().filter(|url| url.origin() == base.origin())?;
    if url.username().is_empty() && url.password().is_none() {
        // Both fail only for URLs that cannot have a user.
        let _ = url.set_username(base.username());
        let _ = url.set_password(base.password());
    }
    Some(url)
}

fn header_map(headers: &BTreeMap<String, Secret>) -> Result<HeaderMap, Cause> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let bad =
            |what: &str| Cause::new(format!("the header {name:?} has a {what} that HTTP forbids"));
        let key: HeaderName = name.parse().map_err(|_| bad("name"))?;
        let mut value = HeaderValue::from_str(&value.expose()).map_err(|_| bad("value"))?;
        value.set_sensitive(true);
        map.append(key, value);
    }
    Ok(map)
}

/// A header's name that is known to be one.
pub(super) fn name(name: &'static str) -> HeaderName {
    name.parse().unwrap_or_else(|_| unreachable!("{name} is a header name"))
}
