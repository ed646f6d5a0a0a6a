//! JSON-RPC as it stands on the wire: what is written, and what may be read.
//!
//! Messages are taken apart at their first level only. Arguments and results stay the text that
//! they came as, so a server's answer reaches the caller unchanged and unknown fields survive; and
//! a message that is nested too deeply, too long or broken is still matched to its request by
//! [`find_id`], so that the caller gets an error and does not wait for its deadline.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::tool::Json;
use crate::upstream::client::Refusal;

/// The longest message that we read from a server. A server chooses the length of its answers;
/// without a ceiling it would choose how much memory we have left.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// The deepest nesting in a message. `serde_json` gives up one level later, and everything behind
/// us reads values with it.
pub(super) const MAX_DEPTH: usize = 127;

/// The most messages in one batch (revision 2025-03-26 has batches).
const MAX_BATCH: usize = 1000;

/// The server's error object.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RpcError {
    #[serde(default)]
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) data: Option<Json>,
}

/// "No such method", for whatever a server asks of us.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;

/// One message from the server.
pub(super) enum Incoming {
    /// The answer to a request of ours. `Err(Ok(..))` is the server's error object, `Err(Err(..))`
    /// says why the answer cannot be used.
    Answer { id: u64, outcome: Result<Json, AnswerFault> },
    /// An error that names no request: the server could not read one of ours, or knows no session.
    ErrorWithoutId(RpcError),
    /// A request of the server's own. The id is its JSON text.
    Request { id: Json, method: String, params: Option<Json> },
    /// A notification.
    Notification { method: String, params: Option<Json> },
}

/// Why an answer that arrived is no result.
#[derive(Clone, Debug)]
pub(super) enum AnswerFault {
    /// The server's error object.
    Rejected(RpcError),
    /// The answer is longer than [`MAX_MESSAGE_BYTES`].
    TooLarge,
    /// The answer breaks JSON-RPC or JSON, or cannot be handled; the text says how.
    Malformed(String),
}

#[derive(Deserialize)]
struct Envelope<'a> {
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

/// Why a text is no message at all.
#[derive(Debug)]
pub(super) struct NotAMessage;

/// Reads one message, or the messages of a batch.
///
/// # Errors
/// The text is not JSON-RPC and names no request that it could be the answer to.
pub(super) fn read(text: &[u8]) -> Result<Vec<Incoming>, NotAMessage> {
    // A byte-order mark is not JSON, but some servers on Windows write one.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii();
    let decoded = String::from_utf8_lossy(text);
    match text.first() {
        Some(b'{') => read_one(&decoded).map(|message| vec![message]),
        Some(b'[') => read_batch(&decoded),
        _ => Err(NotAMessage),
    }
}

fn read_batch(text: &str) -> Result<Vec<Incoming>, NotAMessage> {
    let parts: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| NotAMessage)?;
    if parts.len() > MAX_BATCH {
        return Err(NotAMessage);
    }
    let messages: Vec<_> = parts.into_iter().filter_map(|part| read_one(part.get()).ok()).collect();
    if messages.is_empty() { Err(NotAMessage) } else { Ok(messages) }
}

fn read_one(text: &str) -> Result<Incoming, NotAMessage> {
    match serde_json::from_str::<Envelope<'_>>(text) {
        Ok(envelope) => sort(envelope).ok_or(NotAMessage),
        Err(error) => {
            // Python writes NaN, a dying server writes half a line: whoever waits for it must know.
            let id = find_id(text.as_bytes(), text.as_bytes()).ok_or(NotAMessage)?;
            let why = AnswerFault::Malformed(format!("it is not valid JSON: {error}"));
            Ok(Incoming::Answer { id, outcome: Err(why) })
        }
    }
}

fn sort(envelope: Envelope<'_>) -> Option<Incoming> {
    if let Some(method) = envelope.method {
        let method = method.into_owned();
        let params = envelope.params.filter(|params| !too_deep(params.get()));
        let params = params.map(ToOwned::to_owned);
        return Some(match envelope.id.filter(|id| id.get() != "null") {
            Some(id) => Incoming::Request { id: id.to_owned(), method, params },
            None => Incoming::Notification { method, params },
        });
    }
    let Some(id) = envelope.id.and_then(|id| read_id(id.get())) else {
        return Some(Incoming::ErrorWithoutId(read_error(envelope.error?)));
    };
    Some(Incoming::Answer { id, outcome: read_outcome(&envelope) })
}

fn read_outcome(envelope: &Envelope<'_>) -> Result<Json, AnswerFault> {
    if let Some(error) = envelope.error {
        return Err(AnswerFault::Rejected(read_error(error)));
    }
    let result = envelope
        .result
        .ok_or_else(|| AnswerFault::Malformed("it has neither a result nor an error".to_owned()))?;
    // However deep: one tool's schema must not spoil a whole list. Who reads it asks `too_deep`.
    Ok(result.to_owned())
}

/// An error object; whatever is wrong with it, it stays an error.
fn read_error(error: &RawValue) -> RpcError {
    let raw = error.get();
    if too_deep(raw) {
        return RpcError { code: 0, message: "(an error nested too deeply)".into(), data: None };
    }
    serde_json::from_str(raw).unwrap_or_else(|_| {
        let message = raw.chars().take(400).collect();
        RpcError { code: 0, message, data: None }
    })
}

/// Our ids are numbers. Some servers send them back as text or with a decimal point.
fn read_id(raw: &str) -> Option<u64> {
    let digits = raw.trim_matches('"');
    let digits = digits.strip_suffix(".0").unwrap_or(digits);
    digits.parse().ok()
}

/// Whether a JSON text nests deeper than [`MAX_DEPTH`]. Iterative: a hostile depth must not be able
/// to use up our stack.
pub(super) fn too_deep(json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Finds the request that a message answers when the message itself cannot be read: the id stands
/// before the result (Python, Rust) or is the last member (TypeScript). `head` and `tail` are the
/// message's first and last bytes.
pub(super) fn find_id(head: &[u8], tail: &[u8]) -> Option<u64> {
    static FIRST: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*"?([0-9]{1,19})"?\s*,"#)
            .expect("the pattern is constant")
    });
    static LAST: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r#"[\}\]",]\s*,?\s*"id"\s*:\s*"?([0-9]{1,19})"?\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$"#,
        )
        .expect("the pattern is constant")
    });
    let head = &head[..head.len().min(256)];
    let tail = &tail[tail.len().saturating_sub(256)..];
    let found = FIRST.captures(head).or_else(|| LAST.captures(tail))?;
    std::str::from_utf8(&found[1]).ok()?.parse().ok()
}

/// Writes a request.
pub(super) fn request(id: u64, method: &str, params: &RawValue) -> Vec<u8> {
    #[derive(Serialize)]
    struct Request<'a> {
        jsonrpc: &'a str,
        id: u64,
        method: &'a str,
        params: &'a RawValue,
    }
    write(&Request { jsonrpc: "2.0", id, method, params })
}

/// Writes a notification.
pub(super) fn notification(method: &str, params: &serde_json::Value) -> Vec<u8> {
    if params.is_null() {
        return write(&serde_json::json!({ "jsonrpc": "2.0", "method": method }));
    }
    write(&serde_json::json!({ "jsonrpc": "2.0", "method": method, "params": params }))
}

/// The notification that a request of ours is no longer wanted.
pub(super) fn cancelled(id: u64) -> Vec<u8> {
    let params = serde_json::json!({ "requestId": id, "reason": "the caller no longer waits" });
    notification("notifications/cancelled", &params)
}

/// Our answer to a server's own request: the JSON text of a result.
pub(super) fn answer_to_server(id: &RawValue, result: &RawValue) -> Vec<u8> {
    #[derive(Serialize)]
    struct Answer<'a> {
        jsonrpc: &'a str,
        id: &'a RawValue,
        result: &'a RawValue,
    }
    write(&Answer { jsonrpc: "2.0", id, result })
}

/// Our refusal of a server's own request.
pub(super) fn refusal_to_server(id: &RawValue, refusal: &Refusal) -> Vec<u8> {
    let error = serde_json::json!({ "code": refusal.code, "message": refusal.message });
    write(&serde_json::json!({ "jsonrpc": "2.0", "id": id, "error": error }))
}

/// Writes a message of ours, in one line.
pub(crate) fn write(message: &impl Serialize) -> Vec<u8> {
    let mut text =
        serde_json::to_vec(message).expect("our messages have text keys and finite numbers");
    // A caller's raw arguments may be spread over lines; on stdio a newline ends the message. Outside
    // of strings it is blank space, and inside of them JSON does not allow it.
    for byte in &mut text {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Incoming {
        let mut messages = read(text.as_bytes()).expect("a message");
        assert_eq!(messages.len(), 1);
        messages.remove(0)
    }

    #[test]
    fn ids_come_back_in_many_shapes() {
        for id in ["7", "\"7\"", "7.0"] {
            let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"a":1}}}}"#);
            let Incoming::Answer { id: 7, outcome: Ok(result) } = only(&message) else {
                panic!("{message}")
            };
            assert_eq!(result.get(), r#"{"a":1}"#);
        }
    }

    #[test]
    fn a_deep_answer_reaches_its_request_as_it_came() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let message = format!(r#"{{"jsonrpc":"2.0","id":3,"result":{deep}}}"#);
        let Incoming::Answer { id: 3, outcome: Ok(result) } = only(&message) else {
            panic!("not matched")
        };
        assert!(result.get() == deep && too_deep(&deep));
    }

    #[test]
    fn a_broken_answer_is_an_error_of_its_request() {
        let Incoming::Answer { id: 4, outcome: Err(AnswerFault::Malformed(_)) } =
            only(r#"{"jsonrpc":"2.0","id":4,"result":{"x":NaN}}"#)
        else {
            panic!("not matched")
        };
        assert!(read(b"Server listening on stdio").is_err());
        assert!(read(b"{'python': 'dict'}").is_err());
    }

    #[test]
    fn the_id_of_an_unreadable_message_is_found_at_either_end() {
        #[track_caller]
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(find_id(text.as_bytes(), text.as_bytes()), expected, "{text}");
        }
        check(r#"{"jsonrpc":"2.0","id":12,"result":{"#, Some(12));
        check(r#"{"id":"12","result":{"#, Some(12));
        check(r#"{"result":{"content":[]},"jsonrpc":"2.0","id":12}"#, Some(12));
        check(r#"{"result":{"id":12}}"#, None);
        check(r#"{"result":{"text":"\"id\":12}"#, None);
        check(r#"{"method":"x"}"#, None);
    }

    #[test]
    fn errors_without_an_id_and_requests_of_the_server_are_told_apart() {
        let text = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"no session"},"id":null}"#;
        assert!(matches!(only(text), Incoming::ErrorWithoutId(RpcError { code: -32000, .. })));
        let text = r#"{"jsonrpc":"2.0","id":"a","method":"roots/list"}"#;
        let Incoming::Request { id, method, params: None } = only(text) else { panic!("{text}") };
        assert_eq!(method, "roots/list");
        let roots = RawValue::from_string(r#"{"roots":[]}"#.to_owned()).unwrap();
        let answer = String::from_utf8(answer_to_server(&id, &roots)).unwrap();
        assert_eq!(answer, r#"{"jsonrpc":"2.0","id":"a","result":{"roots":[]}}"#);
    }

    #[test]
    fn a_request_never_contains_a_newline() {
        let params = RawValue::from_string("{\n \"a\": \"b\\n\"\r\n}".to_owned()).unwrap();
        let text = String::from_utf8(request(1, "tools/call", &params)).unwrap();
        assert!(!text.contains(['\n', '\r']), "{text}");
        assert!(text.contains(r#""b\n""#), "{text}");
    }
}
