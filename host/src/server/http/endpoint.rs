//! `/mcp`: streamable HTTP, in both eras of the protocol on one address.
//!
//! From 2026-07-28 on each POST stands alone, and whoever closes its response cancels it. Before,
//! `initialize` makes a session, messages go back and forth in it, and a response that broke off can
//! be taken up again. A POST of neither kind, with no handshake before it, is answered as well.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use rmcp::transport::common::http_header::{HEADER_LAST_EVENT_ID, HEADER_SESSION_ID};
use serde_json::json;
use tokio::sync::mpsc;

use super::events::{EventLog, Overflow};
use super::media::{self, Accepts};
use super::reply::{self, Style};
use super::sessions::{AllBusy, STANDALONE, Session};
use super::work::{Asked, Work};
use super::{Http, Visit, body, refusal, standard_headers};
use crate::server::mcp::lifecycle;
use crate::server::mcp::request::{Exchange, Params, Peer};
use crate::server::mcp::wire::{self, Incoming, Read, RpcError};
use crate::upstream::said_in_call;

/// The revision from which on a client can come back to a stream before its first message.
const PRIMED_REVISION: &str = "2025-11-25";

pub(super) async fn mcp(
    State(http): State<Arc<Http>>,
    profile: Option<Path<String>>,
    request: Request,
) -> Response {
    let profile = profile.map(|Path(name)| name);
    let (parts, body) = request.into_parts();
    let answered = async {
        let visit = http.admit(&parts.headers, profile.as_deref()).await?;
        answer(&http, &visit, &parts, body).await
    };
    answered.await.unwrap_or_else(|refusal: Response| refusal)
}

async fn answer(
    http: &Arc<Http>,
    visit: &Visit,
    parts: &Parts,
    body: Body,
) -> Result<Response, Response> {
    match parts.method {
        Method::POST => post(http, visit, &parts.headers, body).await,
        Method::GET => get(http, visit, &parts.headers),
        Method::DELETE => delete(http, visit, &parts.headers),
        _ => Err(refusal::method("GET, POST, DELETE")),
    }
}

async fn post(
    http: &Arc<Http>,
    visit: &Visit,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    media::check_content_type(headers)?;
    let settings = http.facade.settings();
    let text = body::read(body, settings.max_body_bytes, settings.request_timeout).await?;
    let post = Post { http, visit, headers, accepts: Accepts::of(headers) };
    match wire::read(&text) {
        Read::One(Incoming::Request { id, method, params }) => {
            post.request(Asked { id, method, params }).await
        }
        Read::One(Incoming::Notification { method, params }) => {
            if let Some(session) = post.session(None)? {
                session.facade.take_notification(&method, params.as_deref(), &session.peer);
            }
            Ok(StatusCode::ACCEPTED.into_response())
        }
        Read::One(Incoming::Answer { id, outcome }) => {
            let session = post.session(None)?;
            let words = "only a session is asked something; this answer is to nothing";
            let session = session.ok_or_else(|| refusal::words(StatusCode::BAD_REQUEST, words))?;
            session.peer.take_answer(&id, outcome);
            Ok(StatusCode::ACCEPTED.into_response())
        }
        Read::One(Incoming::Unusable { id, error }) => {
            Err(refusal::rpc(StatusCode::BAD_REQUEST, id.as_deref(), &error))
        }
        Read::Batch(all) => post.batch(all).await,
    }
}

/// One POST.
struct Post<'a> {
    http: &'a Arc<Http>,
    visit: &'a Visit,
    headers: &'a HeaderMap,
    accepts: Accepts,
}

impl Post<'_> {
    async fn request(&self, asked: Asked) -> Result<Response, Response> {
        let params = Params::read(asked.params.as_deref());
        let modern =
            params.as_ref().is_ok_and(|params| lifecycle::is_modern(&asked.method, params));
        if asked.method == "initialize" && !modern {
            return self.initialize(asked).await;
        }
        let refuse = |error: RpcError| {
            let status = match reply::modern_status(error.code) {
                StatusCode::OK => StatusCode::BAD_REQUEST,
                status => status,
            };
            refusal::rpc(status, Some(&asked.id), &error)
        };
        let params = params.map_err(refuse)?;
        let revision = standard_headers::revision(self.headers).map_err(refuse)?;
        let named_outside = revision.is_some_and(|named| lifecycle::MODERN.contains(&named));
        if named_outside || modern {
            self.check_modern(&asked.method, &params).map_err(refuse)?;
            if asked.method == "tools/call" {
                self.check_arguments(&params).await.map_err(refuse)?;
            }
            return self.answer_alone(vec![asked], reply::modern_status).await;
        }
        if let Some(revision) = revision.filter(|named| !lifecycle::LEGACY.contains(named)) {
            return Err(refuse(unsupported(revision)));
        }
        match self.session(Some(&asked))? {
            Some(session) => self.answer_in(&session, vec![asked], false).await,
            None => self.answer_alone(vec![asked], reply::legacy_status).await,
        }
    }

    /// What has to be right before a request of the modern era is worked on at all.
    fn check_modern(&self, method: &str, params: &Params) -> Result<(), RpcError> {
        lifecycle::check_revision_is_named(params)?;
        standard_headers::check_revision(self.headers, params)?;
        lifecycle::client_of(&alone(), method, params)?;
        standard_headers::check_target(self.headers, method, params)
    }

    /// Which arguments have to be in headers too, only the tool's schema tells.
    async fn check_arguments(&self, params: &Params) -> Result<(), RpcError> {
        let Ok(Some(tool)) = params.get::<String>("name") else { return Ok(()) };
        let Some(arguments) = params.raw("arguments") else { return Ok(()) };
        let Visit { facade, caller, .. } = self.visit;
        match facade.input_schema(&tool, caller).await {
            Some(schema) => {
                let said = said_in_call(&schema, arguments);
                standard_headers::check_arguments(self.headers, &said)
            }
            None => Ok(()),
        }
    }

    /// Makes a session. It can be found once the client knows its id.
    async fn initialize(&self, asked: Asked) -> Result<Response, Response> {
        let Visit { facade, caller, owner } = self.visit;
        let (workers, overflow) = (&self.http.workers, Overflow::DropOldest);
        let session = Session::new(owner.clone(), facade.clone(), overflow, workers);
        let exchange = Exchange::new(Arc::clone(&session.peer), session.peer.outbox.clone());
        let Asked { id, method, params } = asked;
        let answering = facade.answer(&id, method, params, caller.clone(), exchange);
        let outcome =
            answering.await.unwrap_or_else(|| Err(RpcError::new(RpcError::INTERNAL, "cancelled")));
        let begun = outcome.is_ok();
        let log = EventLog::new(STANDALONE, Overflow::Wait, false);
        log.end([wire::answer(&id, &outcome)]);
        let (accepts, status) = (self.accepts, reply::legacy_status);
        let mut response =
            reply::to_requests(log.read(None), accepts, Style::PLAIN, false, status).await;
        if !begun {
            session.end();
            return Ok(response);
        }
        if let Err(AllBusy) = self.http.sessions.insert(&session) {
            session.end();
            return Err(refusal::busy(Some(&id), "all sessions are at work; come again"));
        }
        let name = HeaderValue::from_str(&session.id).expect("an id is hexadecimal");
        response.headers_mut().insert(HEADER_SESSION_ID, name);
        Ok(response)
    }

    /// The session that the request names.
    fn session(&self, asked: Option<&Asked>) -> Result<Option<Arc<Session>>, Response> {
        let Some(id) = self.headers.get(HEADER_SESSION_ID) else { return Ok(None) };
        let found = id.to_str().ok().and_then(|id| self.http.sessions.find(id, &self.visit.owner));
        let missing = || refusal::no_session(asked.map(|asked| &*asked.id));
        found.map(Some).ok_or_else(missing)
    }

    /// Answers requests that belong to nothing else: closing the response cancels them.
    async fn answer_alone(
        &self,
        asked: Vec<Asked>,
        status: fn(i64) -> StatusCode,
    ) -> Result<Response, Response> {
        let log = EventLog::new(STANDALONE, Overflow::Wait, false);
        let reader = log.read(None);
        let peer = alone();
        let work = Work {
            facade: self.visit.facade.clone(),
            caller: self.visit.caller.clone(),
            asked,
            log,
            // Whoever takes nothing but the answer misses the rest.
            elsewhere: (!self.accepts.events).then(|| peer.outbox.clone()),
            peer: Arc::clone(&peer),
        };
        let stop = self.http.stop.clone();
        self.http.workers.spawn(async move {
            let _ends = peer.gone.clone().drop_guard();
            let ending = async {
                stop.cancelled().await;
                peer.gone.cancel();
                std::future::pending().await
            };
            tokio::select! {
                () = work.run() => {}
                () = ending => {}
            }
        });
        Ok(reply::to_requests(reader, self.accepts, Style::PLAIN, false, status).await)
    }

    /// Answers requests in their session.
    async fn answer_in(
        &self,
        session: &Arc<Session>,
        asked: Vec<Asked>,
        batch: bool,
    ) -> Result<Response, Response> {
        let Some(log) = session.open_stream() else {
            let error = RpcError::new(
                RpcError::BUSY,
                "too many requests of this session are worked on; wait for some",
            );
            let id = asked.first().map(|asked| &*asked.id);
            return Err(refusal::rpc(StatusCode::OK, id, &error));
        };
        let reader = log.read(None);
        let work = Work {
            facade: session.facade.clone(),
            peer: Arc::clone(&session.peer),
            caller: self.visit.caller.clone(),
            asked,
            log: Arc::clone(&log),
            elsewhere: (!self.accepts.events).then(|| session.peer.outbox.clone()),
        };
        let in_session = Arc::clone(session);
        self.http.workers.spawn(async move {
            work.run().await;
            tokio::select! {
                () = log.settled() => {}
                () = in_session.peer.gone.cancelled() => {}
            }
            in_session.close_stream(log.number);
        });
        let (style, status) = (style_of(session), reply::legacy_status);
        Ok(reply::to_requests(reader, self.accepts, style, batch, status).await)
    }

    /// Several messages at once, as revision 2025-03-26 has it.
    async fn batch(&self, all: Vec<Incoming>) -> Result<Response, Response> {
        let session = self.session(None)?;
        let mut asked = Vec::new();
        for incoming in all {
            match (incoming, &session) {
                (Incoming::Request { id, method, params }, _) => {
                    let request = Asked { id, method, params };
                    check_batched(&request)?;
                    asked.push(request);
                }
                (Incoming::Notification { method, params }, Some(session)) => {
                    session.facade.take_notification(&method, params.as_deref(), &session.peer);
                }
                (Incoming::Answer { id, outcome }, Some(session)) => {
                    session.peer.take_answer(&id, outcome);
                }
                (Incoming::Unusable { id, error }, _) => {
                    return Err(refusal::rpc(StatusCode::BAD_REQUEST, id.as_deref(), &error));
                }
                (Incoming::Notification { .. } | Incoming::Answer { .. }, None) => {}
            }
        }
        match session {
            _ if asked.is_empty() => Ok(StatusCode::ACCEPTED.into_response()),
            Some(session) => self.answer_in(&session, asked, true).await,
            None => {
                let words = "a batch needs a session";
                Err(refusal::words(StatusCode::BAD_REQUEST, words))
            }
        }
    }
}

/// A batch is of the legacy era, and begins nothing.
fn check_batched(asked: &Asked) -> Result<(), Response> {
    let params = Params::read(asked.params.as_deref());
    let modern = params.is_ok_and(|params| lifecycle::is_modern(&asked.method, &params));
    if !modern && asked.method != "initialize" {
        return Ok(());
    }
    let error = RpcError::new(RpcError::INVALID_REQUEST, "this request cannot be in a batch");
    Err(refusal::rpc(StatusCode::BAD_REQUEST, Some(&asked.id), &error))
}

/// The peer of a request that stands alone: nothing can be said to it besides.
fn alone() -> Arc<Peer> {
    Peer::new(mpsc::channel(1).0)
}

fn unsupported(revision: &str) -> RpcError {
    let shown: String = revision.chars().take(40).collect();
    let words = format!("revision {shown:?} of the protocol is not spoken here");
    let all: Vec<&str> = lifecycle::MODERN.into_iter().chain(lifecycle::LEGACY).collect();
    RpcError::new(RpcError::UNSUPPORTED_REVISION, words)
        .with_data(&json!({ "supported": all, "requested": shown }))
}

fn style_of(session: &Session) -> Style {
    let client = session.peer.client();
    let primed = client.is_some_and(|client| client.revision == PRIMED_REVISION);
    Style { primed, named: false }
}

/// The session of a GET or a DELETE. The modern era has neither.
fn named_session(
    http: &Http,
    visit: &Visit,
    headers: &HeaderMap,
) -> Result<Arc<Session>, Response> {
    let revision = standard_headers::revision(headers).ok().flatten();
    let id = headers.get(HEADER_SESSION_ID);
    let modern = revision.is_some_and(|revision| lifecycle::MODERN.contains(&revision));
    let Some(id) = id.filter(|_| !modern) else { return Err(refusal::method("POST")) };
    let found = id.to_str().ok().and_then(|id| http.sessions.find(id, &visit.owner));
    found.ok_or_else(|| refusal::no_session(None))
}

/// Opens the stream for what belongs to no request, or takes up a stream that broke off.
fn get(http: &Http, visit: &Visit, headers: &HeaderMap) -> Result<Response, Response> {
    let session = named_session(http, visit, headers)?;
    let last = headers.get(HEADER_LAST_EVENT_ID).and_then(|last| last.to_str().ok());
    let last = last.and_then(|last| {
        let (stream, event) = last.split_once('-')?;
        Some((session.stream(stream.parse().ok()?)?, event.parse().ok()?))
    });
    let style = style_of(&session);
    Ok(match last {
        Some((log, event)) => reply::events(log.read(Some(event)), Style::PLAIN, Vec::new()),
        None => reply::events(session.standalone.read(None), style, Vec::new()),
    })
}

/// Ends a session.
fn delete(http: &Http, visit: &Visit, headers: &HeaderMap) -> Result<Response, Response> {
    let session = named_session(http, visit, headers)?;
    http.sessions.remove(&session.id);
    Ok(StatusCode::NO_CONTENT.into_response())
}
