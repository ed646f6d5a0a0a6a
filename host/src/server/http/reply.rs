//! The response to a POST or a GET: one JSON text, or a stream of events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use futures::stream;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::events::{Beginning, Event, Reader};
use super::media::Accepts;
use super::refusal;
use crate::server::mcp::wire::RpcError;

/// How long a response may be silent before it becomes a stream: clients and what is between give
/// up on a response that does not begin.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often a silent stream says that it is alive. Who is gone is noticed by that, too.
const PING: Duration = Duration::from_secs(15);

/// What a stream's events look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// Whether the first event is one without a message, so that a client that loses its connection
    /// before the first message can come back (revision 2025-11-25).
    pub(super) primed: bool,
    /// Whether each event says that it is a message, as the transport of 2024-11-05 has it.
    pub(super) named: bool,
}

impl Style {
    pub(super) const PLAIN: Self = Self { primed: false, named: false };
}

/// The response to requests: their answers as JSON if nothing was said before them.
pub(super) async fn to_requests(
    mut reader: Reader,
    accepts: Accepts,
    style: Style,
    batch: bool,
    status: fn(i64) -> StatusCode,
) -> Response {
    if accepts.json {
        let patience = accepts.events.then_some(PATIENCE);
        if let Beginning::Answers(answers) = reader.beginning(accepts.events, patience).await {
            return of_answers(&answers, batch, status);
        }
    }
    events(reader, style, Vec::new())
}

/// The answers as JSON. Nobody waits for the answer to what was cancelled, so there may be none.
fn of_answers(answers: &[Bytes], batch: bool, status: fn(i64) -> StatusCode) -> Response {
    match answers {
        [] => StatusCode::ACCEPTED.into_response(),
        [answer] if !batch => {
            let status = error_code(answer).map_or(StatusCode::OK, status);
            refusal::json(status, answer.clone())
        }
        answers => {
            let mut text = BytesMut::from(&b"["[..]);
            for (nth, answer) in answers.iter().enumerate() {
                text.extend_from_slice(if nth == 0 { b"" } else { b"," });
                text.extend_from_slice(answer);
            }
            text.extend_from_slice(b"]");
            refusal::json(StatusCode::OK, text.freeze())
        }
    }
}

/// The code of an answer that is an error.
fn error_code(answer: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Code {
        code: i64,
    }
    let answer: Answer<'_> = serde_json::from_slice(answer).ok()?;
    Some(serde_json::from_str::<Code>(answer.error?.get()).ok()?.code)
}

/// The HTTP status of an error in the era of 2026-07-28.
pub(super) fn modern_status(code: i64) -> StatusCode {
    match code {
        RpcError::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        RpcError::HEADER_MISMATCH
        | RpcError::MISSING_CAPABILITY
        | RpcError::UNSUPPORTED_REVISION
        | RpcError::PARSE
        | RpcError::INVALID_REQUEST => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// The same before it: an answer is an answer.
pub(super) fn legacy_status(_: i64) -> StatusCode {
    StatusCode::OK
}

/// A stream of events, after what has to come first.
pub(super) fn events(reader: Reader, style: Style, mut before: Vec<u8>) -> Response {
    if style.primed && reader.log().is_resumable() {
        reader.is_primed();
        before.extend_from_slice(format!("id: {}-0\ndata: \n\n", reader.log().number).as_bytes());
    }
    let before = (!before.is_empty()).then(|| Bytes::from(before));
    let chunks = stream::unfold((reader, before), move |(mut reader, before)| async move {
        let chunk = match before {
            Some(before) => before,
            None => next_chunk(&mut reader, style).await?,
        };
        Some((Ok::<_, Infallible>(chunk), (reader, None)))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
        // Proxies that gather output before they pass it on make a stream useless.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

async fn next_chunk(reader: &mut Reader, style: Style) -> Option<Bytes> {
    match tokio::time::timeout(PING, reader.next()).await {
        Ok(event) => Some(frame(reader, &event?, style)),
        Err(_) => Some(Bytes::from_static(b": still here\n\n")),
    }
}

/// One event. A message has no line ends, so its data is one line.
fn frame(reader: &Reader, event: &Event, style: Style) -> Bytes {
    let mut text = BytesMut::with_capacity(event.message.len() + 64);
    if style.named {
        text.extend_from_slice(b"event: message\n");
    }
    if reader.log().is_resumable() {
        let id = format!("id: {}-{}\n", reader.log().number, event.number);
        text.extend_from_slice(id.as_bytes());
    }
    text.extend_from_slice(b"data: ");
    text.extend_from_slice(&event.message);
    text.extend_from_slice(b"\n\n");
    text.freeze()
}
