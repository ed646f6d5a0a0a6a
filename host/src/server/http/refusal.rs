//! Answers of HTTP that are no result: JSON-RPC errors with the status that belongs to them.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::value::RawValue;

use crate::server::access::Refused;
use crate::server::mcp::wire::{self, RpcError};

/// A JSON-RPC error. Whoever writes it knows the request's id, or there is none.
pub(super) fn rpc(status: StatusCode, id: Option<&RawValue>, error: &RpcError) -> Response {
    json(status, wire::refusal(id, error))
}

/// An error about what was asked for, before or beside JSON-RPC.
pub(super) fn words(status: StatusCode, words: impl Into<String>) -> Response {
    rpc(status, None, &RpcError::new(RpcError::INVALID_REQUEST, words))
}

/// For whoever the doorkeeper does not let in.
pub(super) fn not_admitted(refused: Refused) -> Response {
    let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::FORBIDDEN);
    let mut response = words(status, refused.message);
    let challenge = refused.challenge.and_then(|text| HeaderValue::from_str(&text).ok());
    if let Some(challenge) = challenge {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// 404 for a session that is not there, or not this caller's: which one is nobody's business.
pub(super) fn no_session(id: Option<&RawValue>) -> Response {
    let error = RpcError::new(
        RpcError::INVALID_REQUEST,
        "there is no such session (any more); begin anew with `initialize`",
    );
    rpc(StatusCode::NOT_FOUND, id, &error)
}

/// 503: come again.
pub(super) fn busy(id: Option<&RawValue>, words: &str) -> Response {
    let error = RpcError::new(RpcError::BUSY, words);
    let mut response = rpc(StatusCode::SERVICE_UNAVAILABLE, id, &error);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// 405, with what is allowed.
pub(super) fn method(allowed: &'static str) -> Response {
    let mut response =
        words(StatusCode::METHOD_NOT_ALLOWED, format!("this address takes {allowed} only"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Ends the connection after this answer.
pub(super) fn closes(response: &mut Response) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// A JSON body.
pub(super) fn json(status: StatusCode, text: impl Into<Body>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (status, content_type, text.into()).into_response()
}
