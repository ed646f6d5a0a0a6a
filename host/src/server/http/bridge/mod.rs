//! The bridge for web clients: a browser's page has a session with one MCP server, over a WebSocket, in
//! the frames of AutoGen Studio's own bridge. What a session may reach is a profile, and its calls take
//! the road of all others.
//!
//! - `connect` takes what server a client wants (`params`), decides whether it may have it
//!   (`admission`), and gives out a ticket (`tickets`), which opens one socket once (`socket`).
//! - `session` is what goes on over a socket: `operations` and JSON-RPC (`rpc`) ask its `target`, which
//!   is a server or toolcell itself; `dump` gives answers the form that such clients know.
//! - `outlet` carries frames (`frames`) to the client, `asking` has it answer what servers ask, `ear`
//!   hears what they say unasked.
//! - `table` are the sessions as `status` tells of them; `rate` bounds how fast they begin.
//!
//! A page's origin is looked at before any of this, as for all of the listener. It is not enough: a
//! browser that an agent steers has our own machine's origins. So whoever connects shows a token too, and
//! names no program or address that the operator has not written down.

mod admission;
mod asking;
mod connect;
mod dump;
mod ear;
mod frames;
mod operations;
mod outlet;
mod params;
mod rate;
mod rpc;
mod session;
mod settings;
mod socket;
mod status;
mod table;
mod target;
mod tickets;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::any;
use serde_json::json;
use tokio::sync::Semaphore;

use super::connections::PeerAddress;
use super::{Http, Visit, refusal};
use crate::server::access::TokenDigest;
use crate::upstream::Caller;
pub use settings::{AllowedCommand, AllowedServer, AllowedUrl, BridgeSettings, Glob};

use rate::Rate;
use table::Table;
use tickets::Tickets;

/// What all sessions share.
pub(super) struct Bridge {
    settings: BridgeSettings,
    tickets: Tickets,
    table: Table,
    connects: Rate,
    places: Arc<Semaphore>,
}

impl Bridge {
    pub(super) fn new(settings: BridgeSettings) -> Self {
        let most = settings.max_sessions.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            tickets: Tickets::new(most, settings.ticket_lifetime),
            table: Table::default(),
            connects: Rate::new(settings.connects_per_minute),
            places: Arc::new(Semaphore::new(most)),
            settings,
        }
    }

    /// Lets somebody in: with the listener's credentials, or where it asks for none with our own token.
    async fn admit(&self, http: &Http, headers: &HeaderMap) -> Result<Visit, Response> {
        if !http.facade.doorkeeper().asks_for_credentials() {
            self.check_own_token(headers)?;
        }
        http.admit(headers, self.settings.profile.as_deref()).await.map_err(as_ours)
    }

    fn check_own_token(&self, headers: &HeaderMap) -> Result<(), Response> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let shown = values.next().and_then(|value| value.to_str().ok()?.split_once(' '));
        let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let own = self.settings.own_token.as_ref();
        let fits = shown.zip(own).is_some_and(|((_, token), own)| {
            own.is_same(&TokenDigest::of(token.trim_matches(' '))) && values.next().is_none()
        });
        if fits {
            return Ok(());
        }
        let words = "a token is needed: send `Authorization: Bearer TOKEN` with the token that \
                     `toolcell serve` printed at its start";
        let mut response = said(StatusCode::UNAUTHORIZED, words);
        let challenge = header::HeaderValue::from_static("Bearer realm=\"toolcell\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        Err(response)
    }
}

/// The routes, where there is a bridge.
pub(super) fn routes(router: Router<Arc<Http>>) -> Router<Arc<Http>> {
    router
        .route("/api/mcp/ws/connect", any(connect::connect))
        .route("/api/mcp/ws/status/{session}", any(status::status))
        .route("/api/mcp/ws/{session}", any(socket::open))
}

/// What is not done here, in the original's words.
fn not_allowed(allowed: &'static str) -> Response {
    let body = json!({ "detail": "Method Not Allowed" });
    let mut response = refusal::json(StatusCode::METHOD_NOT_ALLOWED, body.to_string());
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
    response
}

/// Whether a path is one of the bridge's.
pub(super) fn is_its(path: &str) -> bool {
    path.starts_with("/api/mcp/")
}

/// An answer that is no session, as the original gives it: whether it went well, and words.
pub(super) fn said(status: StatusCode, words: &str) -> Response {
    let body = json!({ "status": false, "message": words, "detail": words });
    refusal::json(status, body.to_string())
}

/// What a refusal of the listener's says, in our form.
fn as_ours(response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    let words = match parts.status {
        StatusCode::UNAUTHORIZED => "a token is needed: send `Authorization: Bearer TOKEN`",
        StatusCode::SERVICE_UNAVAILABLE => "credentials cannot be checked just now",
        _ => "this is not open to you",
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, said(StatusCode::OK, words).into_body())
}

/// Whose requests are counted together: a caller's, or where nobody is known an address's.
fn client_of(caller: &Caller, request: &Request) -> String {
    let address = request.extensions().get::<PeerAddress>().map(|peer| peer.0);
    match (&caller.id, address) {
        (Some(id), _) => format!("caller {id}"),
        (None, Some(IpAddr::V6(address))) => {
            // Whoever has one address of a network mostly has all of them.
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
        (None, address) => address.map_or_else(String::new, |address| address.to_string()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
