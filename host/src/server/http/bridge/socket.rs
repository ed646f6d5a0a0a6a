//! `GET /api/mcp/ws/{session}`: a ticket becomes a socket.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::json;

use super::session::{self, Opened};
use super::{Http, refusal, said};
use crate::server::access::TokenDigest;

pub(super) async fn open(
    State(http): State<Arc<Http>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let Some(bridge) = http.bridge.clone() else { return super::super::nowhere().await };
    let (mut parts, _) = request.into_parts();
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await else {
        let body = json!({ "detail": "Not Found" });
        return refusal::json(StatusCode::NOT_FOUND, body.to_string());
    };
    // The same words for whatever is wrong: a guess learns nothing.
    let unknown = || said(StatusCode::FORBIDDEN, "Unknown or expired session");
    let Ok(token) = token_of(parts.uri.query()) else { return unknown() };
    let caller = match (&token, parts.headers.contains_key(header::AUTHORIZATION)) {
        (None, true) => bridge.admit(&http, &parts.headers).await.ok().map(|visit| visit.caller),
        _ => None,
    };
    let Ok(place) = Arc::clone(&bridge.places).try_acquire_owned() else {
        return said(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many sessions are open; try again later",
        );
    };
    let ticket = bridge.tickets.take(&id, |known, ticket| match (&token, &caller) {
        (Some(token), _) => known.is_same(&TokenDigest::of(token)),
        (None, Some(caller)) => ticket.caller.identity() == caller.identity(),
        (None, None) => false,
    });
    let Some(ticket) = ticket else { return unknown() };
    // Counted from here on, so that whoever stops waits for its end.
    let counted = http.workers.token();
    let most = bridge.settings.max_frame;
    upgrade.max_frame_size(most).max_message_size(most).on_upgrade(move |socket| async move {
        let _counted = counted;
        session::run(socket, Opened { http, bridge, id, ticket, _place: place }).await;
    })
}

/// The token in the query. Nothing else may stand there: parameters of a server least of all.
fn token_of(query: Option<&str>) -> Result<Option<String>, ()> {
    match query.filter(|query| !query.is_empty()) {
        None => Ok(None),
        Some(query) => match query.strip_prefix("token=") {
            Some(token) if token.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(Some(token.to_owned()))
            }
            _ => Err(()),
        },
    }
}
