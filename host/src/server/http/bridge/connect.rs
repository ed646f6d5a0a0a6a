//! `POST /api/mcp/ws/connect`: a client says which server it wants, and gets the URL of a socket. Nothing
//! is connected yet.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::json;

use super::super::{body, media};
use super::tickets::{Ticket, TooMany};
use super::{Bridge, Http, admission, client_of, frames, not_allowed, params, refusal, said};

/// Bytes of a request: it names one server.
const MAX_BODY_BYTES: usize = 256 << 10;

pub(super) async fn connect(State(http): State<Arc<Http>>, request: Request) -> Response {
    if request.method() != Method::POST {
        return not_allowed("POST");
    }
    let Some(bridge) = &http.bridge else { return super::super::nowhere().await };
    let connected = answer(&http, bridge, request).await;
    connected.unwrap_or_else(|refused: Response| refused)
}

async fn answer(http: &Http, bridge: &Bridge, request: Request) -> Result<Response, Response> {
    let visit = bridge.admit(http, request.headers()).await?;
    let client = client_of(&visit.caller, &request);
    bridge.connects.take(&client, Instant::now()).map_err(|wait| {
        let words = "too many sessions were begun within this minute; try again later";
        let mut response = said(StatusCode::TOO_MANY_REQUESTS, words);
        let seconds = HeaderValue::from(wait.as_secs() + 1);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
        response
    })?;
    let (parts, body) = request.into_parts();
    let has_name = parts.headers.contains_key(header::CONTENT_TYPE);
    let is_json = has_name && media::check_content_type(&parts.headers).is_ok();
    let settings = http.facade.settings();
    let most = settings.max_body_bytes.min(MAX_BODY_BYTES);
    let text = body::read(body, most, settings.request_timeout).await?;
    if is_json && std::str::from_utf8(&text).is_err() {
        let body = json!({ "detail": "There was an error parsing the body" });
        return Err(refusal::json(StatusCode::BAD_REQUEST, body.to_string()));
    }
    let wanted = params::read(&text, is_json).map_err(|detail| {
        let body = json!({ "detail": detail });
        refusal::json(StatusCode::UNPROCESSABLE_ENTITY, body.to_string())
    })?;
    let plan = admission::decide(&visit.facade, &bridge.settings, &wanted);
    let plan = plan.map_err(|refused| {
        tracing::warn!(target: "toolcell::audit", caller = %visit.caller, "{refused}");
        said(StatusCode::FORBIDDEN, admission::NOT_ADMITTED)
    })?;
    let ticket = Ticket { plan, facade: visit.facade, caller: visit.caller };
    let (id, token) = bridge.tickets.issue(ticket).map_err(|TooMany| {
        said(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many sessions are about to begin; try again later",
        )
    })?;
    let body = json!({
        "status": true,
        "message": "WebSocket connection URL created",
        "session_id": id,
        "websocket_url": format!("/api/mcp/ws/{id}?token={token}"),
        "timestamp": frames::now(),
    });
    let mut response = refusal::json(StatusCode::OK, body.to_string());
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}
