//! The transport of revision 2024-11-05, for clients that know nothing newer: one stream of events
//! for everything that we say, opened by a GET of `/sse`, and POSTs to the address that its first
//! event names. The session lives as long as the stream.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::events::Overflow;
use super::reply::{self, Style};
use super::sessions::{AllBusy, Session};
use super::work::{Asked, in_good_order};
use super::{Http, Visit, body, media, refusal};
use crate::server::mcp::request::Exchange;
use crate::server::mcp::wire::{self, Incoming, Read, RpcError};
use crate::upstream::Caller;

/// Requests of one session that are worked on at once.
const MAX_UNDER_WAY: usize = 100;

/// The query's one parameter, before the session's id.
const PARAMETER: &str = "session_id=";

/// `/sse`
pub(super) async fn stream(
    State(http): State<Arc<Http>>,
    profile: Option<Path<String>>,
    request: Request,
) -> Response {
    if request.method() != Method::GET {
        return refusal::method("GET");
    }
    let profile = profile.map(|Path(name)| name);
    match http.admit(request.headers(), profile.as_deref()).await {
        Ok(visit) => open(&http, visit, profile.as_deref()),
        Err(refusal) => refusal,
    }
}

fn open(http: &Arc<Http>, visit: Visit, profile: Option<&str>) -> Response {
    let session = Session::new(visit.owner, visit.facade, Overflow::Wait, &http.workers);
    if let Err(AllBusy) = http.sessions.insert(&session) {
        session.end();
        return refusal::busy(None, "all sessions are at work; come again");
    }
    let reader = session.standalone.read(None);
    let shared = Arc::clone(http);
    let (id, log) = (Arc::clone(&session.id), Arc::clone(&session.standalone));
    http.workers.spawn(async move {
        log.settled().await;
        shared.sessions.remove(&id);
    });
    // What can name a profile needs no escapes in an address.
    let place = profile.map(|profile| format!("/{profile}")).unwrap_or_default();
    let address = format!("/messages{place}?{PARAMETER}{}", session.id);
    let first = format!("event: endpoint\ndata: {address}\n\n");
    reply::events(reader, Style { primed: false, named: true }, first.into_bytes())
}

/// `/messages`
pub(super) async fn messages(
    State(http): State<Arc<Http>>,
    profile: Option<Path<String>>,
    request: Request,
) -> Response {
    if request.method() != Method::POST {
        return refusal::method("POST");
    }
    let profile = profile.map(|Path(name)| name);
    let (parts, body) = request.into_parts();
    let taken = async {
        let visit = http.admit(&parts.headers, profile.as_deref()).await?;
        take(&http, &visit, &parts, body).await
    };
    match taken.await {
        Ok(()) => (StatusCode::ACCEPTED, "Accepted").into_response(),
        Err(refusal) => refusal,
    }
}

async fn take(http: &Http, visit: &Visit, parts: &Parts, body: Body) -> Result<(), Response> {
    let query = parts.uri.query().unwrap_or_default();
    let id = query.split('&').find_map(|pair| pair.strip_prefix(PARAMETER));
    let session = id.and_then(|id| http.sessions.find(id, &visit.owner));
    let session = session.ok_or_else(|| refusal::no_session(None))?;
    media::check_content_type(&parts.headers)?;
    let settings = http.facade.settings();
    let text = body::read(body, settings.max_body_bytes, settings.request_timeout).await?;
    let all = match wire::read(&text) {
        Read::One(incoming) => vec![incoming],
        Read::Batch(all) => all,
    };
    for incoming in all {
        match incoming {
            Incoming::Request { id, method, params } => {
                let asked = Asked { id, method, params };
                take_request(http, &session, visit.caller.clone(), asked).await?;
            }
            Incoming::Notification { method, params } => {
                session.facade.take_notification(&method, params.as_deref(), &session.peer);
            }
            Incoming::Answer { id, outcome } => session.peer.take_answer(&id, outcome),
            Incoming::Unusable { id, error } => {
                return Err(refusal::rpc(StatusCode::BAD_REQUEST, id.as_deref(), &error));
            }
        }
    }
    Ok(())
}

async fn take_request(
    http: &Http,
    session: &Arc<Session>,
    caller: Caller,
    asked: Asked,
) -> Result<(), Response> {
    let Asked { id, method, params } = asked;
    if session.peer.under_way() >= MAX_UNDER_WAY {
        let words = format!("{MAX_UNDER_WAY} requests are worked on; wait for some");
        let error = RpcError::new(RpcError::BUSY, words);
        return Err(refusal::rpc(StatusCode::SERVICE_UNAVAILABLE, Some(&id), &error));
    }
    let begins = method == "initialize";
    let session = Arc::clone(session);
    let answering = async move {
        let outbox = session.peer.outbox.clone();
        let exchange = Exchange::new(Arc::clone(&session.peer), outbox.clone());
        let answering = session.facade.answer(&id, method, params, caller, exchange);
        let outcome = in_good_order(answering, session.peer.gone.cancelled()).await;
        // Nobody waits for the answer to what was cancelled.
        if let Some(Some(outcome)) = outcome {
            let _ = outbox.send(wire::answer(&id, &outcome)).await;
        }
    };
    // What comes after it depends on it.
    if begins {
        answering.await;
    } else {
        http.workers.spawn(answering);
    }
    Ok(())
}
