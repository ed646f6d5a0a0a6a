//! MCP over streamable HTTP: each message is a POST, and its answer comes as JSON or as a stream of
//! events that ends with it.
//!
//! Each request owns its HTTP exchange. So nothing can wait for an answer that was dropped
//! elsewhere, and dropping a request closes its stream, which is how the 2026-07-28 revision
//! cancels. Older revisions have MCP sessions: a server that forgot ours says so by 404, or
//! against the specification by 400 and an error without an id; both end this link, and the next
//! one begins with a new handshake.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::{Client, Response, Url, redirect};
use rmcp::transport::common::http_header::{
    EVENT_STREAM_MIME_TYPE, HEADER_LAST_EVENT_ID, HEADER_MCP_METHOD, HEADER_MCP_PROTOCOL_VERSION,
    HEADER_SESSION_ID, JSON_MIME_TYPE,
};
use tokio_util::task::AbortOnDropHandle;

use crate::tool::Json;
use crate::upstream::error::Cause;
use crate::upstream::inbox::{Inbox, Watch};
use crate::upstream::message::{self, AnswerFault, Incoming, MAX_MESSAGE_BYTES};
use crate::upstream::redact::Redactor;
use crate::upstream::settings::{HttpSettings, Secret, Timeouts};
use crate::upstream::transport::event_stream::EventReader;
use crate::upstream::transport::{Request, Transport, TransportError};

/// The most that is read of the body of an HTTP error.
const MAX_ERROR_BODY_BYTES: usize = 64 << 10;

/// How much of it is shown.
const EXCERPT_CHARS: usize = 300;

/// Redirects to the same origin; others are refused.
const MAX_REDIRECTS: usize = 4;

/// For messages that nobody waits for: notifications, refusals, the end of an MCP session.
const SIDE_MESSAGE_TIME: Duration = Duration::from_secs(5);

/// Ends of a stream without news after which it is taken up again, and the pauses between them.
const RESUME_ATTEMPTS: u32 = 5;
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A link to an HTTP endpoint.
pub(in crate::upstream) struct StreamableHttp {
    shared: Arc<Shared>,
    next_id: AtomicU64,
    /// Hears what an older server says unasked.
    listener: Mutex<Option<AbortOnDropHandle<()>>>,
}

struct Shared {
    client: Client,
    url: Url,
    headers: HeaderMap,
    revision: Mutex<Revision>,
    session: Mutex<Option<HeaderValue>>,
    lost: AtomicBool,
    inbox: Arc<Inbox>,
    redactor: Arc<Redactor>,
}

/// What the server speaks.
#[derive(Clone, PartialEq)]
enum Revision {
    Unsettled,
    Legacy(HeaderValue),
    Modern(HeaderValue),
}

impl StreamableHttp {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// The URL or a header cannot be used.
    pub(in crate::upstream) fn new(
        settings: &HttpSettings,
        timeouts: &Timeouts,
        inbox: Arc<Inbox>,
        redactor: Arc<Redactor>,
    ) -> Result<Self, Cause> {
        let url =
            Url::parse(&settings.url).map_err(|error| Cause::new(format!("its URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(Cause::new("its URL has to begin with http:// or https://"));
        }
        let shared = Shared {
            client: client(&url, timeouts.connect)?,
            headers: header_map(&settings.headers)?,
            url,
            revision: Mutex::new(Revision::Unsettled),
            session: Mutex::default(),
            lost: AtomicBool::new(false),
            inbox,
            redactor,
        };
        Ok(Self {
            shared: Arc::new(shared),
            next_id: AtomicU64::new(1),
            listener: Mutex::default(),
        })
    }
}

/// A client with a pool of its own, so that headers and cookies of one upstream can never reach
/// another.
fn client(url: &Url, connect_timeout: Duration) -> Result<Client, Cause> {
    install_crypto();
    let origin = url.origin();
    let stay = redirect::Policy::custom(move |attempt| {
        if attempt.url().origin() != origin {
            // The headers hold credentials for this origin. Not followed: the caller sees the 3xx.
            attempt.stop()
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else if matches!(attempt.status().as_u16(), 307 | 308) {
            attempt.follow()
        } else {
            // Any other redirect would turn the POST into a GET.
            attempt.stop()
        }
    });
    let mut builder = Client::builder()
        .connect_timeout(connect_timeout)
        .redirect(stay)
        .pool_idle_timeout(Duration::from_secs(60))
        .tcp_nodelay(true)
        .referer(false)
        .user_agent(concat!("toolcell/", env!("CARGO_PKG_VERSION")));
    if is_loopback(url) {
        // A proxy's loopback is another machine's.
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| {
        Cause::with_source(format!("the HTTP client cannot be made: {}", chain(&error)), error)
    })
}

/// TLS by ring, for the whole process, unless an embedder has chosen something else before.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    address.map_or_else(
        |_| host == "localhost" || host.ends_with(".localhost"),
        |address| address.is_loopback(),
    )
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

#[async_trait]
impl Transport for StreamableHttp {
    async fn request(&self, request: Request<'_>) -> Result<Json, TransportError> {
        if self.is_lost() {
            let cause = Cause::new("the server forgot our MCP session");
            return Err(TransportError::SessionLost(cause));
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        // Older servers are told; newer ones see the stream close.
        let tells = request.cancellable && matches!(*self.shared.revision(), Revision::Legacy(_));
        let mut ticket = Ticket { shared: &self.shared, id, tell_server: tells };
        let outcome = self.shared.exchange(id, &request).await;
        ticket.tell_server = false;
        if let Err(TransportError::SessionLost(_)) = &outcome {
            self.shared.lost.store(true, Ordering::Release);
        }
        outcome
    }

    async fn notify(&self, method: &str) -> Result<(), TransportError> {
        let body = message::notification(method, &serde_json::Value::Null);
        let response = self.shared.post(body, &[]).await?;
        if !response.status().is_success() {
            // Some servers find fault with notifications and work all the same.
            tracing::debug!(status = %response.status(), method, "a notification was refused");
        }
        Ok(())
    }

    fn settle(&self, version: &str, modern: bool) {
        let Ok(value) = HeaderValue::from_str(version) else { return };
        let revision = if modern { Revision::Modern(value) } else { Revision::Legacy(value) };
        *self.shared.revision() = revision;
        if !modern {
            let worker = tokio::spawn(listen(Arc::clone(&self.shared)));
            let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
            *listener = Some(AbortOnDropHandle::new(worker));
        }
    }

    fn is_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Acquire)
    }

    fn hint(&self) -> Option<String> {
        None
    }

    fn abandon(&self) {
        drop(self.listener.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    async fn close(&self) {
        self.abandon();
        self.shared.lost.store(true, Ordering::Release);
        let shared = &self.shared;
        if shared.session().is_some() {
            let request = shared.client.delete(shared.url.clone()).headers(shared.common_headers());
            let _ = tokio::time::timeout(Duration::from_secs(2), request.send()).await;
        }
    }
}

/// One request under way. Dropped early, it tells an older server.
struct Ticket<'a> {
    shared: &'a Arc<Shared>,
    id: u64,
    tell_server: bool,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.tell_server {
            return;
        }
        // Dropped outside of a runtime there is nothing that could send.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (shared, body) = (Arc::clone(self.shared), message::cancelled(self.id));
            // A worker of its own, ended by its time.
            runtime.spawn(async move { shared.post_aside(body).await });
        }
    }
}

impl Shared {
    fn revision(&self) -> MutexGuard<'_, Revision> {
        self.revision.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> Option<HeaderValue> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The configured headers, the revision and the MCP session.
    fn common_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Revision::Legacy(version) | Revision::Modern(version) = &*self.revision() {
            headers.insert(name(HEADER_MCP_PROTOCOL_VERSION), version.clone());
        }
        if let Some(session) = self.session() {
            headers.insert(name(HEADER_SESSION_ID), session);
        }
        headers
    }

    async fn post(
        &self,
        body: Vec<u8>,
        more: &[(HeaderName, HeaderValue)],
    ) -> Result<Response, TransportError> {
        let mut headers = self.common_headers();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON_MIME_TYPE));
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        for (name, value) in more {
            // Instead of a header of the same name, not beside it.
            headers.insert(name, value.clone());
        }
        let request = self.client.post(self.url.clone()).headers(headers).body(body);
        request.send().await.map_err(|error| self.unreachable(error))
    }

    /// Sends what nobody waits for.
    async fn post_aside(&self, body: Vec<u8>) {
        let _ = tokio::time::timeout(SIDE_MESSAGE_TIME, self.post(body, &[])).await;
    }

    /// Sends a request and reads its answer.
    async fn exchange(
        self: &Arc<Self>,
        id: u64,
        request: &Request<'_>,
    ) -> Result<Json, TransportError> {
        let mut headers = request.headers.to_vec();
        // The question about the era is itself a modern request.
        let asks_era = request.method == "server/discover";
        if asks_era || matches!(*self.revision(), Revision::Modern(_)) {
            headers
                .push((name(HEADER_MCP_PROTOCOL_VERSION), HeaderValue::from_static("2026-07-28")));
            if let Ok(method) = HeaderValue::from_str(request.method) {
                headers.push((name(HEADER_MCP_METHOD), method));
            }
        }
        let body = message::request(id, request.method, request.params);
        let response = self.post(body, &headers).await?;
        if !response.status().is_success() {
            return Err(self.refusal(id, response).await);
        }
        if request.method == "initialize" {
            let session = response.headers().get(HEADER_SESSION_ID).cloned();
            *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
        }
        match media_type(&response).as_str() {
            EVENT_STREAM_MIME_TYPE => self.read_events(id, response, request.watch).await,
            JSON_MIME_TYPE => self.read_json(id, response, request.watch).await,
            other => {
                let status = response.status();
                let body = read_body(response, MAX_ERROR_BODY_BYTES).await.unwrap_or_default();
                let text = format!(
                    "it answered HTTP {status} with {} instead of JSON{}; is this an MCP endpoint?",
                    if other.is_empty() { "no content type" } else { other },
                    self.excerpt(&body)
                );
                Err(TransportError::Http(Cause::new(text)))
            }
        }
    }

    async fn read_json(
        self: &Arc<Self>,
        id: u64,
        response: Response,
        watch: Option<&Arc<Watch>>,
    ) -> Result<Json, TransportError> {
        let body = read_body(response, MAX_MESSAGE_BYTES).await.map_err(|error| match error {
            BodyError::TooLong => TransportError::Answer(AnswerFault::TooLarge),
            BodyError::Broken(error) => broken(error),
        })?;
        let messages = message::read(&body).map_err(|_| self.not_json(&body))?;
        self.find_answer(id, messages, watch)
            .unwrap_or_else(|| Err(malformed("it answers another request than was sent")))
    }

    fn not_json(&self, body: &[u8]) -> TransportError {
        malformed(&format!("it is not JSON-RPC{}", self.excerpt(body)))
    }

    /// Picks out the answer, and handles the rest.
    fn find_answer(
        self: &Arc<Self>,
        id: u64,
        messages: Vec<Incoming>,
        watch: Option<&Arc<Watch>>,
    ) -> Option<Result<Json, TransportError>> {
        let mut found = None;
        for message in messages {
            match message {
                Incoming::Answer { id: answered, outcome } if answered == id => {
                    found = Some(outcome.map_err(TransportError::Answer));
                }
                // It came in this request's own exchange, so it can mean nothing else.
                Incoming::ErrorWithoutId(error) => {
                    found = Some(Err(TransportError::Answer(AnswerFault::Rejected(error))));
                }
                other => self.take_unasked(other, watch),
            }
        }
        found
    }

    /// Reads events until the answer. If the stream ends before, an older server may offer to go on
    /// with it.
    async fn read_events(
        self: &Arc<Self>,
        id: u64,
        mut response: Response,
        watch: Option<&Arc<Watch>>,
    ) -> Result<Json, TransportError> {
        let mut events = EventReader::default();
        for attempt in 0..RESUME_ATTEMPTS {
            if let Some(answer) = self.read_stream(id, response, &mut events, watch).await? {
                return answer;
            }
            let Some(last_id) = events.last_id.clone() else { break };
            tokio::time::sleep(pause(attempt, events.retry)).await;
            response = self.get(Some(&last_id)).await?;
            if !response.status().is_success() {
                break;
            }
        }
        Err(TransportError::Lost(Cause::new("the stream of events ended before the answer")))
    }

    /// Reads one stream to the answer (`Some`) or to its end.
    async fn read_stream(
        self: &Arc<Self>,
        id: u64,
        mut response: Response,
        events: &mut EventReader,
        watch: Option<&Arc<Watch>>,
    ) -> Result<Option<Result<Json, TransportError>>, TransportError> {
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(None),
                // With an id there is a way to go on; without, the cause is worth telling.
                Err(_) if events.last_id.is_some() => return Ok(None),
                Err(error) => return Err(broken(error)),
            };
            if let Some(watch) = watch {
                watch.touch();
            }
            let mut data = Vec::new();
            events
                .push(&chunk, |event| data.push(event.data))
                .map_err(|_| TransportError::Answer(AnswerFault::TooLarge))?;
            for data in data {
                if let Some(answer) = self.take_event(id, &data, watch) {
                    return Ok(Some(answer));
                }
            }
        }
    }

    fn take_event(
        self: &Arc<Self>,
        id: u64,
        data: &str,
        watch: Option<&Arc<Watch>>,
    ) -> Option<Result<Json, TransportError>> {
        // An event without data only carries an id.
        self.find_answer(id, message::read(data.as_bytes()).ok()?, watch)
    }

    /// Handles what is no answer; what the server asks is answered by a message of its own.
    fn take_unasked(self: &Arc<Self>, message: Incoming, watch: Option<&Arc<Watch>>) {
        let link = Arc::clone(self);
        self.inbox.take(message, watch, |answer| async move { link.post_aside(answer).await });
    }

    async fn get(&self, last_id: Option<&str>) -> Result<Response, TransportError> {
        let mut headers = self.common_headers();
        headers.insert(header::ACCEPT, HeaderValue::from_static(EVENT_STREAM_MIME_TYPE));
        if let Some(id) = last_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(name(HEADER_LAST_EVENT_ID), id);
        }
        let request = self.client.get(self.url.clone()).headers(headers);
        request.send().await.map_err(|error| self.unreachable(error))
    }

    /// Reads an answer that is an HTTP error.
    async fn refusal(&self, id: u64, response: Response) -> TransportError {
        let status = response.status();
        let retry_after = response.headers().get(header::RETRY_AFTER).cloned();
        let location = response.headers().get(header::LOCATION).cloned();
        let body = read_body(response, MAX_ERROR_BODY_BYTES).await.unwrap_or_default();
        let mut unnamed = None;
        for message in message::read(&body).unwrap_or_default() {
            match message {
                Incoming::Answer { id: answered, outcome: Err(fault) }
                    if answered == id && !self.is_session_loss(status, false) =>
                {
                    return TransportError::Answer(fault);
                }
                Incoming::ErrorWithoutId(error) => unnamed = Some(error),
                _ => {}
            }
        }
        let excerpt = self.excerpt(&body);
        if self.is_session_loss(status, unnamed.is_some()) {
            let text = format!("the server forgot our MCP session (HTTP {status}{excerpt})");
            return TransportError::SessionLost(Cause::new(text));
        }
        let text = |advice: &str| Cause::new(format!("it answered HTTP {status}{excerpt}{advice}"));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                TransportError::Unauthorized(text("; check the credentials in its headers"))
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let retry_after = retry_after.as_ref().and_then(read_retry_after);
                let advice = match retry_after {
                    Some(after) => format!("; try again after {} s", after.as_secs()),
                    None => "; try again later".to_owned(),
                };
                TransportError::Busy { cause: text(&advice), retry_after }
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                TransportError::Http(text("; is its URL the MCP endpoint?"))
            }
            _ if status.is_redirection() => {
                let to =
                    location.and_then(|to| Some(format!("; it points to {}", to.to_str().ok()?)));
                let to = to.unwrap_or_default();
                let to: String = self.redactor.clean(&to).chars().take(200).collect();
                TransportError::Http(text(&to))
            }
            _ => TransportError::Http(text("")),
        }
    }

    /// By the specification 404 says that a session is unknown; the TypeScript SDK's examples say
    /// 400 with an error that names no request.
    fn is_session_loss(&self, status: StatusCode, unnamed_error: bool) -> bool {
        let has_session = self.session().is_some();
        has_session
            && (status == StatusCode::NOT_FOUND
                || (status == StatusCode::BAD_REQUEST && unnamed_error))
    }

    /// A short piece of a body, for people.
    fn excerpt(&self, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        let text = self.redactor.clean(&text);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = text.chars().take(EXCERPT_CHARS).collect();
        let more = if short.len() < text.len() { "…" } else { "" };
        if short.is_empty() { String::new() } else { format!(": {short}{more}") }
    }

    /// Says why no answer came at all.
    fn unreachable(&self, error: reqwest::Error) -> TransportError {
        let error = error.without_url();
        let authority = match (self.url.host_str(), self.url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let text = self.redactor.clean(&explain(&error, &authority)).into_owned();
        if error.is_connect() {
            TransportError::Unreachable(Cause::with_source(text, error))
        } else {
            TransportError::Lost(Cause::with_source(text, error))
        }
    }
}

/// Hears what an older server says unasked, over a GET stream of its own, if it has one. Ends with
/// the link, with the MCP session, or when the server is not interested.
async fn listen(shared: Arc<Shared>) {
    let mut events = EventReader::default();
    let mut attempt = 0;
    while attempt < RESUME_ATTEMPTS {
        // The handshake's last message is on its way; a stream before it might be refused.
        tokio::time::sleep(pause(attempt, events.retry).min(Duration::from_secs(10))).await;
        attempt += 1;
        let Ok(mut response) = shared.get(events.last_id.as_deref()).await else { continue };
        if !response.status().is_success() || media_type(&response) != EVENT_STREAM_MIME_TYPE {
            return;
        }
        while let Ok(Some(chunk)) = response.chunk().await {
            let mut data = Vec::new();
            if events.push(&chunk, |event| data.push(event.data)).is_err() {
                return;
            }
            for data in data {
                attempt = 0;
                for message in message::read(data.as_bytes()).unwrap_or_default() {
                    shared.take_unasked(message, None);
                }
            }
        }
    }
}

/// Longer and longer, unless the server has a wish.
fn pause(attempt: u32, wish: Option<Duration>) -> Duration {
    let own = MIN_PAUSE.saturating_mul(1 << attempt.min(8));
    wish.unwrap_or(own).clamp(Duration::from_millis(10), MAX_PAUSE)
}

fn name(name: &'static str) -> HeaderName {
    name.parse().unwrap_or_else(|_| unreachable!("{name} is a header name"))
}

fn malformed(why: &str) -> TransportError {
    TransportError::Answer(AnswerFault::Malformed(why.to_owned()))
}

/// How long a server wishes to be left alone: seconds, or a date (RFC 9110 §10.2.3).
fn read_retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

/// The content type without its parameters.
fn media_type(response: &Response) -> String {
    let value = response.headers().get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// An answer that ended in the middle.
fn broken(error: reqwest::Error) -> TransportError {
    // The URL may carry a credential.
    let error = error.without_url();
    let text = format!("the connection broke before the answer was complete: {}", chain(&error));
    TransportError::Lost(Cause::with_source(text, error))
}

enum BodyError {
    TooLong,
    Broken(reqwest::Error),
}

/// A body of at most `limit` bytes, whatever its head promises.
async fn read_body(mut response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Broken)? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error and its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// The common reasons why a connection fails, in words that tell them apart.
fn explain(error: &reqwest::Error, authority: &str) -> String {
    let whole = chain(error);
    let kind = find::<std::io::Error>(error).map(std::io::Error::kind);
    if kind == Some(std::io::ErrorKind::ConnectionRefused) {
        return format!(
            "connection refused: nothing listens at {authority}; is the server running?"
        );
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return explain_tls(tls, authority);
    }
    if whole.contains("dns error") || whole.contains("failed to lookup") {
        return format!("the name in {authority} cannot be resolved (DNS); is it spelled right?");
    }
    if error.is_timeout() {
        return format!("{authority} did not accept a connection in time");
    }
    if error.is_connect() && whole.contains("tls handshake") {
        return format!("TLS with {authority} failed: the server ended the handshake");
    }
    if error.is_connect() {
        return format!("no connection to {authority}: {whole}");
    }
    format!("the connection to {authority} was lost before an answer came: {whole}")
}

/// The first error of a type in a chain of causes. An I/O error hides what it wraps from the chain.
fn find<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped as _),
            None => cause.source(),
        };
    }
    None
}

fn explain_tls(error: &rustls::Error, authority: &str) -> String {
    match error {
        rustls::Error::InvalidCertificate(_) => {
            format!("the TLS certificate of {authority} is not trusted: {error}")
        }
        rustls::Error::InvalidMessage(_) => {
            format!("{authority} does not speak TLS; is its URL http:// rather than https://?")
        }
        _ => format!("TLS with {authority} failed: {error}"),
    }
}
