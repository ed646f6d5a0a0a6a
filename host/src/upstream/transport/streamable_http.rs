//! MCP over streamable HTTP: each message is a POST, and its answer comes as JSON or as a stream of
//! events that ends with it.
//!
//! Each request owns its HTTP exchange. So nothing can wait for an answer that was dropped
//! elsewhere, and dropping a request closes its stream, which is how the 2026-07-28 revision
//! cancels. Older revisions have MCP sessions: a server that forgot ours says so by 404, or
//! against the specification by 400 and an error without an id; both end this link, and the next
//! one begins with a new handshake.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, header};
use reqwest::Response;
use rmcp::transport::common::http_header::{
    EVENT_STREAM_MIME_TYPE, HEADER_LAST_EVENT_ID, HEADER_MCP_METHOD, HEADER_MCP_PROTOCOL_VERSION,
    HEADER_SESSION_ID, JSON_MIME_TYPE,
};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use crate::tool::Json;
use crate::upstream::auth::Provider;
use crate::upstream::client::ClientCapabilities;
use crate::upstream::error::Cause;
use crate::upstream::inbox::{Inbox, Watch};
use crate::upstream::message::{self, AnswerFault, Incoming};
use crate::upstream::redact::Redactor;
use crate::upstream::settings::{HttpSettings, UpstreamSettings};
use crate::upstream::transport::event_stream::{Event, EventReader};
use crate::upstream::transport::http::body::{media_type, read_answer};
use crate::upstream::transport::http::{
    Asked, Endpoint, Outgoing, SIDE_MESSAGE_TIME, aside, broken, name,
};
use crate::upstream::transport::{Request, Transport, TransportError};

/// Ends of a stream without news after which it is taken up again, and the pauses between them.
const RESUME_ATTEMPTS: u32 = 5;
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// For an older server to take the stream on which it asks its questions.
const LISTENER_TIME: Duration = Duration::from_secs(1);

/// For the goodbye to an MCP session.
const GOODBYE_TIME: Duration = Duration::from_secs(2);

/// A link to an HTTP endpoint.
pub(in crate::upstream) struct StreamableHttp {
    shared: Arc<Shared>,
    next_id: AtomicU64,
    /// Hears what an older server says unasked.
    listener: Mutex<Option<AbortOnDropHandle<()>>>,
}

struct Shared {
    endpoint: Endpoint,
    revision: Mutex<Revision>,
    session: Mutex<Option<HeaderValue>>,
    lost: AtomicBool,
    says_goodbye: bool,
    inbox: Arc<Inbox>,
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
    /// The settings cannot be used.
    pub(in crate::upstream) fn new(
        settings: &UpstreamSettings,
        http: &HttpSettings,
        inbox: Arc<Inbox>,
        redactor: Arc<Redactor>,
        tokens: Option<Arc<Provider>>,
    ) -> Result<Self, Cause> {
        let shared = Shared {
            endpoint: Endpoint::new(settings, http, redactor, tokens)?,
            revision: Mutex::new(Revision::Unsettled),
            session: Mutex::default(),
            says_goodbye: http.says_goodbye,
            lost: AtomicBool::new(false),
            inbox,
        };
        Ok(Self {
            shared: Arc::new(shared),
            next_id: AtomicU64::new(1),
            listener: Mutex::default(),
        })
    }
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
        if method == "notifications/initialized" {
            self.start_listener().await;
        }
        Ok(())
    }

    fn settle(&self, version: &str, modern: bool) {
        let Ok(value) = HeaderValue::from_str(version) else { return };
        let revision = if modern { Revision::Modern(value) } else { Revision::Legacy(value) };
        *self.shared.revision() = revision;
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
        if shared.says_goodbye && shared.session().is_some() {
            let goodbye = shared.with_state(shared.endpoint.delete());
            let _ = tokio::time::timeout(GOODBYE_TIME, shared.endpoint.send(&goodbye)).await;
        }
    }
}

impl StreamableHttp {
    /// Begins to hear what an older server says unasked. What such a server asks before it has the
    /// stream is lost, so with a client that can be asked the stream is waited for.
    async fn start_listener(&self) {
        let (taken, is_taken) = oneshot::channel();
        let worker = tokio::spawn(listen(Arc::clone(&self.shared), taken));
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(AbortOnDropHandle::new(worker));
        if self.shared.inbox.capabilities() != ClientCapabilities::default() {
            let _ = tokio::time::timeout(LISTENER_TIME, is_taken).await;
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
        let (shared, body) = (Arc::clone(self.shared), message::cancelled(self.id));
        aside(async move { shared.post_aside(body).await });
    }
}

impl Shared {
    fn revision(&self) -> MutexGuard<'_, Revision> {
        self.revision.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> Option<HeaderValue> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds the revision and the MCP session.
    fn with_state(&self, mut outgoing: Outgoing) -> Outgoing {
        if let Revision::Legacy(version) | Revision::Modern(version) = &*self.revision() {
            outgoing = outgoing.header(name(HEADER_MCP_PROTOCOL_VERSION), version.clone());
        }
        match self.session() {
            Some(session) => outgoing.header(name(HEADER_SESSION_ID), session),
            None => outgoing,
        }
    }

    async fn post(
        &self,
        body: Vec<u8>,
        more: &[(HeaderName, HeaderValue)],
    ) -> Result<Response, TransportError> {
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        let outgoing = self.endpoint.post(self.endpoint.url(), body);
        let mut outgoing = self.with_state(outgoing).header(header::ACCEPT, accept);
        for (name, value) in more {
            outgoing = outgoing.header(name.clone(), value.clone());
        }
        self.endpoint.send(&outgoing).await
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
        let in_session = self.session().is_some();
        let response = self.post(body, &headers).await?;
        if let Some(watch) = request.watch {
            watch.touch();
        }
        if !response.status().is_success() {
            return Err(self.endpoint.refusal(Asked { id, in_session }, response).await);
        }
        if request.method == "initialize" {
            let session = response.headers().get(HEADER_SESSION_ID).cloned();
            *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
        }
        match media_type(&response).as_str() {
            EVENT_STREAM_MIME_TYPE => self.read_events(id, response, request.watch).await,
            JSON_MIME_TYPE => self.read_json(id, response, request.watch).await,
            _ => Err(self.endpoint.not_mcp("JSON", response).await),
        }
    }

    async fn read_json(
        self: &Arc<Self>,
        id: u64,
        response: Response,
        watch: Option<&Arc<Watch>>,
    ) -> Result<Json, TransportError> {
        let body = read_answer(response, watch).await?;
        let messages = message::read(&body).map_err(|_| self.not_json(&body))?;
        self.find_answer(id, messages, watch)
            .unwrap_or_else(|| Err(malformed("it answers another request than was sent")))
    }

    fn not_json(&self, body: &[u8]) -> TransportError {
        malformed(&format!("it is not JSON-RPC{}", self.endpoint.excerpt(body)))
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
            let mut found = Vec::new();
            events.push(&chunk, |event| found.push(event));
            for event in found {
                if let Some(answer) = self.take_event(id, event, watch)? {
                    return Ok(Some(answer));
                }
            }
            if events.is_too_long() {
                return Err(TransportError::Answer(AnswerFault::TooLarge));
            }
        }
    }

    fn take_event(
        self: &Arc<Self>,
        id: u64,
        event: Event,
        watch: Option<&Arc<Watch>>,
    ) -> Result<Option<Result<Json, TransportError>>, TransportError> {
        match event {
            Event::TooLong { .. } => Err(TransportError::Answer(AnswerFault::TooLarge)),
            Event::Whole { kind, .. } if kind == "endpoint" => {
                let text = "it answers with the stream of events of HTTP+SSE (revision 2024-11-05)";
                Err(TransportError::NoEndpoint(Cause::new(text)))
            }
            // An event without data only carries an id.
            Event::Whole { data, .. } => Ok(message::read(&data)
                .ok()
                .and_then(|messages| self.find_answer(id, messages, watch))),
        }
    }

    /// Handles what is no answer; what the server asks is answered by a message of its own.
    fn take_unasked(self: &Arc<Self>, message: Incoming, watch: Option<&Arc<Watch>>) {
        let link = Arc::clone(self);
        self.inbox.take(message, watch, |answer| async move { link.post_aside(answer).await });
    }

    async fn get(&self, last_id: Option<&str>) -> Result<Response, TransportError> {
        let mut outgoing = self.with_state(self.endpoint.get());
        if let Some(id) = last_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            outgoing = outgoing.header(name(HEADER_LAST_EVENT_ID), id);
        }
        self.endpoint.send(&outgoing).await
    }
}

/// Hears what an older server says unasked, over a GET stream of its own, if it has one. Ends with
/// the link, with the MCP session, or when the server is not interested. `taken` is dropped when the
/// server has answered for the first time.
async fn listen(shared: Arc<Shared>, taken: oneshot::Sender<()>) {
    let mut events = EventReader::default();
    let mut attempt = 0;
    let mut first = Some(taken);
    while attempt < RESUME_ATTEMPTS {
        if first.is_none() {
            tokio::time::sleep(pause(attempt, events.retry).min(Duration::from_secs(10))).await;
        }
        attempt += 1;
        let response = shared.get(events.last_id.as_deref()).await;
        drop(first.take());
        let Ok(mut response) = response else { continue };
        if !response.status().is_success() || media_type(&response) != EVENT_STREAM_MIME_TYPE {
            return;
        }
        while let Ok(Some(chunk)) = response.chunk().await {
            let mut found = Vec::new();
            events.push(&chunk, |event| found.push(event));
            for event in found {
                let Event::Whole { data, .. } = event else { continue };
                attempt = 0;
                for message in message::read(&data).unwrap_or_default() {
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

fn malformed(why: &str) -> TransportError {
    TransportError::Answer(AnswerFault::Malformed(why.to_owned()))
}
