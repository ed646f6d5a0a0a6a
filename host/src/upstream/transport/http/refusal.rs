//! What an HTTP error means.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::Response;

use super::Endpoint;
use super::body::{media_type, read_beginning};
use crate::upstream::error::Cause;
use crate::upstream::message::{self, AnswerFault, Incoming, METHOD_NOT_FOUND};
use crate::upstream::transport::TransportError;

/// How much of a body is shown.
const EXCERPT_CHARS: usize = 300;

/// The ways out where HTTP answers and MCP does not.
const ENDPOINT_ADVICE: &str = "; is its URL the MCP endpoint?";
const PROTOCOL_ADVICE: &str = "; is this an MCP endpoint?";

/// Why both of MCP's ways over HTTP failed, with one way out.
pub(in crate::upstream) fn neither(streamable: &Cause, sse: &Cause) -> Cause {
    let first = streamable.to_string();
    let first = first.trim_end_matches(ENDPOINT_ADVICE).trim_end_matches(PROTOCOL_ADVICE);
    Cause::new(format!("tried as streamable HTTP: {first}; tried as HTTP+SSE: {sse}"))
}

/// What was asked.
#[derive(Clone, Copy)]
pub(in crate::upstream::transport) struct Asked {
    pub(in crate::upstream::transport) id: u64,
    /// Within an MCP session, which the server may have forgotten.
    pub(in crate::upstream::transport) in_session: bool,
}

impl Asked {
    /// Not by a message: their ids begin with 1.
    pub(in crate::upstream::transport) const STREAM: Self = Self { id: 0, in_session: false };
}

impl Endpoint {
    /// Reads an answer that is an HTTP error.
    pub(in crate::upstream::transport) async fn refusal(
        &self,
        asked: Asked,
        response: Response,
    ) -> TransportError {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_beginning(response).await;
        let own = own_error(asked.id, &body);
        let excerpt = self.excerpt(&body);
        if asked.in_session && is_session_loss(status, own.as_ref()) {
            let text = format!("the server forgot our MCP session (HTTP {status}{excerpt})");
            return TransportError::SessionLost(Cause::new(text));
        }
        match own {
            Some(fault) => TransportError::Answer(fault),
            None => self.judge(status, &headers, &excerpt),
        }
    }

    fn judge(&self, status: StatusCode, headers: &HeaderMap, excerpt: &str) -> TransportError {
        let text = |advice: &str| Cause::new(format!("it answered HTTP {status}{excerpt}{advice}"));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                TransportError::Unauthorized(text("; check the credentials in its headers"))
            }
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                TransportError::Unauthorized(text("; check the credentials in its proxy"))
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let retry_after = headers.get(header::RETRY_AFTER).and_then(read_retry_after);
                let advice = match retry_after {
                    Some(after) => format!("; try again after {} s", after.as_secs()),
                    None => "; try again later".to_owned(),
                };
                TransportError::Busy(text(&advice).not_before(retry_after))
            }
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                TransportError::NoEndpoint(text(ENDPOINT_ADVICE))
            }
            _ if status.is_redirection() => {
                let to = headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
                let to = to.map(|to| format!("; it points to {to}")).unwrap_or_default();
                let to: String = self.redactor.clean(&to).chars().take(200).collect();
                TransportError::Http(text(&to))
            }
            _ => TransportError::Http(text("")),
        }
    }

    /// An answer that is no HTTP error, and no MCP either.
    pub(in crate::upstream::transport) async fn not_mcp(
        &self,
        wanted: &str,
        response: Response,
    ) -> TransportError {
        let (status, kind) = (response.status(), media_type(&response));
        let kind = if kind.is_empty() { "no content type" } else { &kind };
        let excerpt = self.excerpt(&read_beginning(response).await);
        TransportError::NoEndpoint(Cause::new(format!(
            "it answered HTTP {status} with {kind} instead of {wanted}{excerpt}{PROTOCOL_ADVICE}"
        )))
    }

    /// A short piece of a body, for people.
    pub(in crate::upstream::transport) fn excerpt(&self, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        let text = self.redactor.clean(&text);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = text.chars().take(EXCERPT_CHARS).collect();
        let more = if short.len() < text.len() { "…" } else { "" };
        if short.is_empty() { String::new() } else { format!(": {short}{more}") }
    }
}

/// The JSON-RPC error in a body, if it names our request.
fn own_error(id: u64, body: &[u8]) -> Option<AnswerFault> {
    message::read(body).unwrap_or_default().into_iter().find_map(|message| match message {
        Incoming::Answer { id: answered, outcome: Err(fault) } if answered == id => Some(fault),
        _ => None,
    })
}

/// By the specification 404 says that a session is unknown. The TypeScript SDK's examples say 400
/// with an error that names no request, others do so in plain text, or name the request all the
/// same. None of them looked at the request, so it can be repeated in a new session. An error that
/// names the request and does not speak of sessions is its answer: what came of it is not repeated.
fn is_session_loss(status: StatusCode, own: Option<&AnswerFault>) -> bool {
    let speaks_of_session = |fault: &AnswerFault| match fault {
        AnswerFault::Rejected(error) => error.message.to_ascii_lowercase().contains("session"),
        _ => false,
    };
    let no_such_method = |fault: &AnswerFault| match fault {
        AnswerFault::Rejected(error) => error.code == METHOD_NOT_FOUND,
        _ => false,
    };
    match status {
        StatusCode::NOT_FOUND => !own.is_some_and(no_such_method),
        StatusCode::BAD_REQUEST => own.is_none_or(speaks_of_session),
        _ => false,
    }
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
