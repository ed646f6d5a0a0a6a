//! JSON-RPC as clients write it, and as we answer.
//!
//! Messages are taken apart at their first level only: arguments and results pass as the text that
//! they are. Ids are kept as they came, number or text, and sent back letter for letter.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::tool::Json;
use crate::upstream::write_message;

/// The most messages in one batch (revision 2025-03-26 has batches).
const MAX_BATCH: usize = 100;

/// How long an id may be.
const MAX_ID_BYTES: usize = 256;

/// An error object of JSON-RPC.
#[derive(Clone, Debug, Serialize)]
pub(in crate::server) struct RpcError {
    pub(in crate::server) code: i64,
    pub(in crate::server) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::server) data: Option<Json>,
}

impl RpcError {
    pub(in crate::server) const PARSE: i64 = -32700;
    pub(in crate::server) const INVALID_REQUEST: i64 = -32600;
    pub(in crate::server) const METHOD_NOT_FOUND: i64 = -32601;
    pub(in crate::server) const INVALID_PARAMS: i64 = -32602;
    pub(in crate::server) const INTERNAL: i64 = -32603;
    /// A resource that is not there, in revisions before 2026-07-28.
    pub(in crate::server) const RESOURCE_NOT_FOUND: i64 = -32002;
    /// Header and body disagree (2026-07-28).
    pub(in crate::server) const HEADER_MISMATCH: i64 = -32020;
    /// The client would have to be able to do something that it cannot (2026-07-28).
    pub(in crate::server) const MISSING_CAPABILITY: i64 = -32021;
    /// A revision of the protocol that is not spoken here (2026-07-28).
    pub(in crate::server) const UNSUPPORTED_REVISION: i64 = -32022;
    /// Ours: the server has too much to do. Outside of what JSON-RPC and MCP keep for themselves.
    pub(in crate::server) const BUSY: i64 = -31001;

    pub(in crate::server) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(in crate::server) fn with_data(mut self, data: &Value) -> Self {
        self.data = to_raw_value(data).ok();
        self
    }

    pub(in crate::server) fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(Self::INVALID_PARAMS, message)
    }

    pub(in crate::server) fn no_method(method: &str) -> Self {
        let shown: String = method.chars().take(100).collect();
        Self::new(Self::METHOD_NOT_FOUND, format!("there is no method {shown:?} here"))
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// One message of a client.
#[derive(Debug)]
pub(in crate::server) enum Incoming {
    Request {
        id: Json,
        method: String,
        params: Option<Json>,
    },
    Notification {
        method: String,
        params: Option<Json>,
    },
    /// The answer to a question of ours.
    Answer {
        id: Json,
        outcome: Result<Json, RpcError>,
    },
    /// Something else; what to say to it, and to which request.
    Unusable {
        id: Option<Json>,
        error: RpcError,
    },
}

/// What one text holds.
#[derive(Debug)]
pub(in crate::server) enum Read {
    One(Incoming),
    Batch(Vec<Incoming>),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Reads what a client sent. Nothing of it can make us fail: what is no message is told as one.
pub(in crate::server) fn read(text: &[u8]) -> Read {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii();
    let Ok(text) = std::str::from_utf8(text) else {
        return Read::One(unusable(None, RpcError::PARSE, "the message is not UTF-8"));
    };
    if !text.starts_with('[') {
        return Read::One(read_one(text));
    }
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(parts) if parts.is_empty() => {
            Read::One(unusable(None, RpcError::INVALID_REQUEST, "the batch is empty"))
        }
        Ok(parts) if parts.len() > MAX_BATCH => Read::One(unusable(
            None,
            RpcError::INVALID_REQUEST,
            &format!("a batch may have {MAX_BATCH} messages"),
        )),
        Ok(parts) => Read::Batch(parts.into_iter().map(|part| read_one(part.get())).collect()),
        Err(error) => Read::One(not_json(&error)),
    }
}

fn read_one(text: &str) -> Incoming {
    let envelope: Envelope<'_> = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => {
            return unusable(None, RpcError::INVALID_REQUEST, &format!("no message: {error}"));
        }
        Err(error) => return not_json(&error),
    };
    let id = envelope.id.filter(|id| id.get() != "null").map(ToOwned::to_owned);
    if envelope.jsonrpc.as_deref() != Some("2.0") {
        return unusable(id, RpcError::INVALID_REQUEST, "`jsonrpc` has to be \"2.0\"");
    }
    if let Some(id) = &id
        && !is_id(id.get())
    {
        return unusable(None, RpcError::INVALID_REQUEST, "`id` has to be a text or a number");
    }
    let params = envelope.params.map(ToOwned::to_owned);
    match (envelope.method, id) {
        (Some(method), Some(id)) => Incoming::Request { id, method: method.into_owned(), params },
        (Some(method), None) => Incoming::Notification { method: method.into_owned(), params },
        (None, Some(id)) => match (envelope.result, envelope.error) {
            (Some(result), None) => Incoming::Answer { id, outcome: Ok(result.to_owned()) },
            (_, Some(error)) => Incoming::Answer { id, outcome: Err(read_error(error)) },
            (None, None) => {
                let what = "the message has neither a method nor a result nor an error";
                unusable(Some(id), RpcError::INVALID_REQUEST, what)
            }
        },
        (None, None) => {
            unusable(None, RpcError::INVALID_REQUEST, "the message has neither method nor id")
        }
    }
}

fn read_error(error: &RawValue) -> RpcError {
    #[derive(Deserialize)]
    struct Written {
        #[serde(default)]
        code: i64,
        #[serde(default)]
        message: String,
        data: Option<Json>,
    }
    let written: Result<Written, _> = serde_json::from_str(error.get());
    match written {
        Ok(Written { code, message, data }) => RpcError { code, message, data },
        Err(_) => RpcError::new(RpcError::INTERNAL, "an error object that cannot be read"),
    }
}

fn is_id(raw: &str) -> bool {
    raw.len() <= MAX_ID_BYTES
        && raw.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

fn unusable(id: Option<Json>, code: i64, message: &str) -> Incoming {
    Incoming::Unusable { id, error: RpcError::new(code, message) }
}

fn not_json(error: &serde_json::Error) -> Incoming {
    unusable(None, RpcError::PARSE, &format!("the message is not JSON: {error}"))
}

/// Writes the answer to a request.
pub(in crate::server) fn answer(id: &RawValue, outcome: &Result<Json, RpcError>) -> Vec<u8> {
    match outcome {
        Ok(result) => {
            #[derive(Serialize)]
            struct Answer<'a> {
                jsonrpc: &'a str,
                id: &'a RawValue,
                result: &'a RawValue,
            }
            write_message(&Answer { jsonrpc: "2.0", id, result })
        }
        Err(error) => refusal(Some(id), error),
    }
}

/// Writes an error, to a request or to what could not be read as one.
pub(in crate::server) fn refusal(id: Option<&RawValue>, error: &RpcError) -> Vec<u8> {
    #[derive(Serialize)]
    struct Refusal<'a> {
        jsonrpc: &'a str,
        id: Option<&'a RawValue>,
        error: &'a RpcError,
    }
    write_message(&Refusal { jsonrpc: "2.0", id, error })
}

/// Writes a notification.
pub(in crate::server) fn notification(method: &str, params: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Notification<'a, P> {
        jsonrpc: &'a str,
        method: &'a str,
        params: &'a P,
    }
    write_message(&Notification { jsonrpc: "2.0", method, params })
}

/// Writes a question to the client.
pub(in crate::server) fn question(id: u64, method: &str, params: Option<&RawValue>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Question<'a> {
        jsonrpc: &'a str,
        id: u64,
        method: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        params: Option<&'a RawValue>,
    }
    write_message(&Question { jsonrpc: "2.0", id, method, params })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Incoming {
        match read(text.as_bytes()) {
            Read::One(incoming) => incoming,
            Read::Batch(_) => panic!("a batch"),
        }
    }

    #[test]
    fn ids_come_back_letter_for_letter() {
        for id in ["1", "\"a b\"", "1.5e3", "-7", "123456789012345678901234567890"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            let Incoming::Request { id: read, .. } = one(&text) else { panic!("{text}") };
            let result = RawValue::from_string("{\"n\":1e400}".to_owned()).unwrap();
            let written = String::from_utf8(answer(&read, &Ok(result))).unwrap();
            assert_eq!(written, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"n":1e400}}}}"#));
        }
    }

    #[test]
    fn what_is_no_message_is_told_as_what_it_is() {
        #[track_caller]
        fn check(text: &str, code: i64) {
            match one(text) {
                Incoming::Unusable { error, .. } => assert_eq!(error.code, code, "{error}"),
                other => panic!("{other:?}"),
            }
        }
        check("", RpcError::PARSE);
        check("hello", RpcError::PARSE);
        check("{\"jsonrpc\":\"2.0\",\"id\":1", RpcError::PARSE);
        check("[]", RpcError::INVALID_REQUEST);
        check("5", RpcError::INVALID_REQUEST);
        check("{}", RpcError::INVALID_REQUEST);
        check(r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#, RpcError::INVALID_REQUEST);
        check(r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#, RpcError::INVALID_REQUEST);
        check(r#"{"jsonrpc":"2.0","id":1}"#, RpcError::INVALID_REQUEST);
        check(r#"{"jsonrpc":"2.0","id":1,"method":7}"#, RpcError::INVALID_REQUEST);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_as_something(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
