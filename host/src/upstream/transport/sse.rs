//! MCP over HTTP+SSE, the way of revision 2024-11-05: the client GETs one stream of events, whose
//! first event names the endpoint for messages; each message is a POST there, and everything that
//! the server has to say comes on the stream.
//!
//! The stream is the connection. It is opened by the worker that reads it; requests wait for the
//! endpoint within their own deadlines. When the stream ends, whoever waits for an answer is told
//! that it may have been done, and whoever comes later that nothing was sent. Its silence is no
//! error: the deadlines of the requests say how long is too long.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::{HeaderValue, header};
use reqwest::{Response, Url};
use rmcp::transport::common::http_header::{
    EVENT_STREAM_MIME_TYPE, HEADER_MCP_PROTOCOL_VERSION, JSON_MIME_TYPE,
};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::event_stream::{Event, EventReader};
use super::http::body::{media_type, read_beginning};
use super::http::{Asked, Endpoint, SIDE_MESSAGE_TIME, aside, broken, name, resolve};
use super::waiting::{Outcome, Waiting};
use super::{Request, Transport, TransportError};
use crate::upstream::auth::Provider;
use crate::upstream::error::Cause;
use crate::upstream::inbox::Inbox;
use crate::upstream::message::{self, AnswerFault, Incoming};
use crate::upstream::redact::Redactor;
use crate::upstream::settings::{HttpSettings, UpstreamSettings};

/// A link to a server of revision 2024-11-05.
pub(in crate::upstream) struct Sse {
    shared: Arc<Shared>,
    next_id: AtomicU64,
    /// Dropped, it ends the stream.
    reader: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// What the reader and the callers share.
struct Shared {
    endpoint: Endpoint,
    stage: watch::Sender<Stage>,
    waiting: Waiting,
    /// The server knows our stream no more, although it may still be open.
    forgotten: AtomicBool,
    revision: Mutex<Option<HeaderValue>>,
    inbox: Arc<Inbox>,
}

/// How far the stream is.
#[derive(Clone)]
enum Stage {
    /// There is no answer to the GET.
    Asked,
    /// The stream is open; the endpoint is not known.
    Open,
    /// Messages go there.
    Ready(Url),
    /// [`Waiting`] knows why.
    Ended,
}

impl Sse {
    /// Opens the stream in a worker.
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
        let shared = Arc::new(Shared {
            endpoint: Endpoint::new(settings, http, redactor, tokens)?,
            stage: watch::Sender::new(Stage::Asked),
            waiting: Waiting::default(),
            forgotten: AtomicBool::new(false),
            revision: Mutex::default(),
            inbox,
        });
        let reader = tokio::spawn(read(Arc::clone(&shared)));
        Ok(Self {
            shared,
            next_id: AtomicU64::new(1),
            reader: Mutex::new(Some(AbortOnDropHandle::new(reader))),
        })
    }
}

#[async_trait]
impl Transport for Sse {
    async fn request(&self, request: Request<'_>) -> Outcome {
        let shared = &self.shared;
        if shared.forgotten.load(Ordering::Acquire) {
            let cause = Cause::new("the server forgot our stream of events");
            return Err(TransportError::SessionLost(cause));
        }
        let to = shared.messages_url().await?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut answer = shared.waiting.expect(id, request.watch)?;
        let mut ticket = Ticket { shared, id, tell_server: request.cancellable };
        let body = message::request(id, request.method, request.params);
        let outcome = {
            // In a worker, because the answer may come before the POST is over, and ends it not.
            let shared = Arc::clone(shared);
            let posting = tokio::spawn(async move { shared.deliver(id, &to, body).await });
            let mut posting = AbortOnDropHandle::new(posting);
            tokio::select! {
                biased;
                outcome = &mut answer => {
                    tokio::spawn(tokio::time::timeout(SIDE_MESSAGE_TIME, posting));
                    outcome
                }
                posted = &mut posting => match posted {
                    Ok(Ok(())) => {
                        if let Some(watch) = request.watch {
                            watch.touch();
                        }
                        answer.await
                    }
                    Ok(Err(error)) => Ok(Err(error)),
                    Err(_ended) => Ok(Err(TransportError::Closed)),
                },
            }
        };
        ticket.tell_server = false;
        outcome.unwrap_or(Err(TransportError::Closed))
    }

    async fn notify(&self, method: &str) -> Result<(), TransportError> {
        let to = self.shared.messages_url().await?;
        let body = message::notification(method, &serde_json::Value::Null);
        let response = self.shared.post(&to, body).await?;
        if !response.status().is_success() {
            // Some servers find fault with notifications and work all the same.
            tracing::debug!(status = %response.status(), method, "a notification was refused");
        }
        Ok(())
    }

    fn settle(&self, version: &str, _modern: bool) {
        let mut revision = self.shared.revision.lock().unwrap_or_else(PoisonError::into_inner);
        *revision = HeaderValue::from_str(version).ok();
    }

    fn is_lost(&self) -> bool {
        self.shared.forgotten.load(Ordering::Acquire) || self.shared.waiting.loss().is_some()
    }

    fn hint(&self) -> Option<String> {
        let hint = match *self.shared.stage.borrow() {
            Stage::Asked => "it did not answer the GET for its stream of events",
            Stage::Open => {
                "it opened a stream of events, and did not name the endpoint for messages on it"
            }
            Stage::Ready(_) | Stage::Ended => return None,
        };
        Some(hint.to_owned())
    }

    fn abandon(&self) {
        drop(self.reader.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.shared.end(TransportError::Closed);
    }

    async fn close(&self) {
        // There is no goodbye: the end of the stream is one.
        self.abandon();
    }
}

/// One request under way. Dropped early, it forgets the request and tells the server.
struct Ticket<'a> {
    shared: &'a Arc<Shared>,
    id: u64,
    tell_server: bool,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.shared.waiting.forget(self.id);
        if !self.tell_server {
            return;
        }
        let (shared, body) = (Arc::clone(self.shared), message::cancelled(self.id));
        aside(async move { shared.post_aside(body).await });
    }
}

impl Shared {
    /// Where messages go, as soon as the server said so.
    async fn messages_url(&self) -> Result<Url, TransportError> {
        let mut stage = self.stage.subscribe();
        let known = stage.wait_for(|stage| matches!(stage, Stage::Ready(_) | Stage::Ended)).await;
        match known.as_deref() {
            Ok(Stage::Ready(url)) => Ok(url.clone()),
            _ => Err(self.waiting.loss_before_sending().unwrap_or(TransportError::Closed)),
        }
    }

    async fn post(&self, to: &Url, body: Vec<u8>) -> Result<Response, TransportError> {
        let accept = HeaderValue::from_static(JSON_MIME_TYPE);
        let mut outgoing = self.endpoint.post(to, body).header(header::ACCEPT, accept);
        let revision = self.revision.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(revision) = revision {
            outgoing = outgoing.header(name(HEADER_MCP_PROTOCOL_VERSION), revision);
        }
        self.endpoint.send(&outgoing).await
    }

    /// Posts a request, and makes sure that the server took it.
    async fn deliver(&self, id: u64, to: &Url, body: Vec<u8>) -> Result<(), TransportError> {
        let response = self.post(to, body).await?;
        if response.status().is_success() {
            // Read to its end, so that the connection can be used again.
            read_beginning(response).await;
            return Ok(());
        }
        let error = self.endpoint.refusal(Asked { id, in_session: true }, response).await;
        if let TransportError::SessionLost(_) = &error {
            // Others may still get their answers, but nobody should come any more.
            self.forgotten.store(true, Ordering::Release);
        }
        Err(error)
    }

    /// Sends what nobody waits for.
    async fn post_aside(&self, body: Vec<u8>) {
        let post = async { self.post(&self.messages_url().await?, body).await };
        let _ = tokio::time::timeout(SIDE_MESSAGE_TIME, post).await;
    }

    fn end(&self, why: TransportError) {
        self.waiting.lose(why);
        self.stage.send_replace(Stage::Ended);
    }

    async fn open(&self) -> Result<Response, TransportError> {
        let response = self.endpoint.send(&self.endpoint.get()).await?;
        if !response.status().is_success() {
            return Err(self.endpoint.refusal(Asked::STREAM, response).await);
        }
        if media_type(&response) != EVENT_STREAM_MIME_TYPE {
            return Err(self.endpoint.not_mcp("a stream of events", response).await);
        }
        self.stage.send_replace(Stage::Open);
        Ok(response)
    }

    /// Reads the stream, and says how it ended.
    async fn read_to_end(self: &Arc<Self>) -> Result<std::convert::Infallible, TransportError> {
        let mut response = self.open().await?;
        let mut events = EventReader::default();
        let mut found = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            self.waiting.touch();
            events.push(&chunk, |event| found.push(event));
            for event in found.drain(..) {
                self.take_event(event)?;
            }
        }
        Err(TransportError::Lost(Cause::new("the server ended its stream of events")))
    }

    fn take_event(self: &Arc<Self>, event: Event) -> Result<(), TransportError> {
        match event {
            Event::Whole { kind, data } if kind == "endpoint" => self.take_endpoint(&data),
            Event::Whole { data, .. } => {
                for message in message::read(&data).unwrap_or_default() {
                    self.take_message(message);
                }
                Ok(())
            }
            Event::TooLong { head, tail } => {
                match message::find_id(&head, &tail) {
                    Some(id) => {
                        let fault = TransportError::Answer(AnswerFault::TooLarge);
                        self.waiting.answer(id, Err(fault));
                    }
                    None => self.waiting.answer_everyone(&AnswerFault::TooLarge),
                }
                Ok(())
            }
        }
    }

    /// Messages carry our credentials, so a server cannot send them to somebody else.
    fn take_endpoint(&self, data: &[u8]) -> Result<(), TransportError> {
        if !matches!(*self.stage.borrow(), Stage::Open) {
            return Ok(());
        }
        let reference = String::from_utf8_lossy(data);
        let Some(url) = resolve(self.endpoint.url(), reference.trim()) else {
            let shown = self.endpoint.excerpt(data);
            let cause = Cause::new(format!(
                "it wants messages at another origin than its own{shown}; that is refused, because \
                 they carry our credentials"
            ));
            return Err(TransportError::Http(cause.permanent()));
        };
        self.stage.send_replace(Stage::Ready(url));
        Ok(())
    }

    fn take_message(self: &Arc<Self>, message: Incoming) {
        if let Incoming::Answer { id, outcome } = message {
            self.waiting.answer(id, outcome.map_err(TransportError::Answer));
            return;
        }
        let link = Arc::clone(self);
        self.inbox.take(message, None, |answer| async move { link.post_aside(answer).await });
    }
}

/// Reads the stream as long as there is one.
async fn read(shared: Arc<Shared>) {
    let Err(why) = shared.read_to_end().await;
    shared.end(why);
}
