//! Headers that repeat what a request's body says, so that what stands between client and server can
//! route without reading it (revision 2026-07-28). Where the two disagree, somebody in between was
//! led astray, and the request is refused.
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports>

use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rmcp::transport::common::http_header::{
    BASE64_HEADER_PREFIX, BASE64_HEADER_SUFFIX, HEADER_MCP_METHOD, HEADER_MCP_NAME,
    HEADER_MCP_PROTOCOL_VERSION,
};

use crate::server::mcp::request::{Meta, Params};
use crate::server::mcp::wire::RpcError;

/// The revision that a client names outside of a body. Nothing if it names none.
///
/// # Errors
/// The header cannot be read.
pub(super) fn revision(headers: &HeaderMap) -> Result<Option<&str>, RpcError> {
    only(headers, HEADER_MCP_PROTOCOL_VERSION)
}

/// Checks that the revision of the header is that of the body.
///
/// # Errors
/// They differ, or the header is missing.
pub(super) fn check_revision(headers: &HeaderMap, params: &Params) -> Result<(), RpcError> {
    let said: String = params.meta.get(Meta::PROTOCOL_VERSION).unwrap_or_default();
    check(HEADER_MCP_PROTOCOL_VERSION, revision(headers)?, &said)
}

/// Checks that the headers name the method and its object as the body does.
///
/// # Errors
/// They differ, or one is missing.
pub(super) fn check_target(
    headers: &HeaderMap,
    method: &str,
    params: &Params,
) -> Result<(), RpcError> {
    check(HEADER_MCP_METHOD, only(headers, HEADER_MCP_METHOD)?, method)?;
    let member = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return Ok(()),
    };
    // What is no text is refused by whoever needs it.
    let Ok(Some(said)) = params.get::<String>(member) else { return Ok(()) };
    check(HEADER_MCP_NAME, decoded(headers, HEADER_MCP_NAME)?.as_deref(), &said)
}

/// Checks the headers that a tool asks for to be routed by, `Mcp-Param-…`, against its arguments.
///
/// # Errors
/// They differ, or one is missing, or is there and the argument is not.
pub(super) fn check_arguments(
    headers: &HeaderMap,
    said: &[(HeaderName, Option<String>)],
) -> Result<(), RpcError> {
    for (name, said) in said {
        let header = decoded(headers, name.as_str())?;
        match said {
            Some(said) => check(name.as_str(), header.as_deref(), said)?,
            None if header.is_none() => {}
            None => {
                let words = format!("the header {name} is there, and its argument is not");
                return Err(mismatch(words));
            }
        }
    }
    Ok(())
}

fn check(name: &str, header: Option<&str>, said: &str) -> Result<(), RpcError> {
    match header {
        Some(header) if header == said => Ok(()),
        Some(header) => Err(mismatch(format!(
            "the header {name} says {:?} and the body {:?}",
            shown(header),
            shown(said)
        ))),
        None => {
            Err(mismatch(format!("the header {name} is missing; the body says {:?}", shown(said))))
        }
    }
}

/// The only value of a header. Two of them would be read differently by different parties.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, RpcError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(mismatch(format!("the header {name} is there twice")));
    }
    let text = value.to_str().map(str::trim).map(Some);
    text.map_err(|_| mismatch(format!("the header {name} has letters that a header cannot have")))
}

/// The text of a header, if it is there.
fn decoded(headers: &HeaderMap, name: &str) -> Result<Option<String>, RpcError> {
    let decoded = only(headers, name)?.map(|value| {
        decode(value).ok_or_else(|| mismatch(format!("the header {name} is no valid base 64")))
    });
    decoded.transpose()
}

/// A header's text, which may be in base 64 with a mark.
fn decode(value: &str) -> Option<String> {
    let coded = value
        .strip_prefix(BASE64_HEADER_PREFIX)
        .and_then(|rest| rest.strip_suffix(BASE64_HEADER_SUFFIX));
    match coded {
        Some(coded) => String::from_utf8(BASE64_STANDARD.decode(coded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

fn mismatch(words: String) -> RpcError {
    RpcError::new(RpcError::HEADER_MISMATCH, words)
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::{Value, json};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    fn params(params: &Value) -> Params {
        let raw = serde_json::value::to_raw_value(params).expect("JSON");
        Params::read(Some(&raw)).expect("params")
    }

    #[test]
    fn header_and_body_have_to_agree() {
        #[track_caller]
        fn check(pairs: &[(&str, &str)], method: &str, body: &Value, agree: bool) {
            let checked = check_target(&headers(pairs), method, &params(body));
            assert_eq!(checked.is_ok(), agree, "{checked:?}");
            if let Err(error) = checked {
                assert_eq!(error.code, RpcError::HEADER_MISMATCH);
            }
        }
        let call = json!({ "name": "grüße" });
        let coded = "=?base64?Z3LDvMOfZQ==?=";
        let named = [("mcp-method", "tools/call"), ("mcp-name", coded)];
        check(&named, "tools/call", &call, true);
        check(&[("mcp-method", "tools/list")], "tools/list", &json!({}), true);
        check(&[("mcp-method", " tools/list ")], "tools/list", &json!({}), true);
        check(&[], "tools/list", &json!({}), false);
        check(&[("mcp-method", "Tools/List")], "tools/list", &json!({}), false);
        check(&[("mcp-method", "tools/call")], "tools/call", &call, false);
        let twice = [named[0], named[1], named[1]];
        check(&twice, "tools/call", &call, false);
        let broken = [("mcp-method", "tools/call"), ("mcp-name", "=?base64?%%?=")];
        check(&broken, "tools/call", &call, false);
        let other = [("mcp-method", "tools/call"), ("mcp-name", "other")];
        check(&other, "tools/call", &call, false);
        let read = [("mcp-method", "resources/read"), ("mcp-name", "test://a")];
        check(&read, "resources/read", &json!({ "uri": "test://a" }), true);
    }

    #[test]
    fn arguments_are_repeated_as_they_are() {
        #[track_caller]
        fn check(pairs: &[(&str, &str)], said: Option<&str>, agree: bool) {
            let said = [("mcp-param-region".parse().expect("a name"), said.map(str::to_owned))];
            let checked = check_arguments(&headers(pairs), &said);
            assert_eq!(checked.is_ok(), agree, "{checked:?}");
        }
        let region = |value| [("mcp-param-region", value)];
        check(&region("Hello"), Some("Hello"), true);
        check(&region("=?base64?SGVsbG8=?="), Some("Hello"), true);
        check(&region("=?base64?SGVsbG8=?="), Some("=?base64?SGVsbG8=?="), false);
        check(&region("SGVsbG8="), Some("SGVsbG8="), true);
        check(&region("=?base64?SGVsbG8?="), Some("Hello"), false);
        check(&region("=?base64?SGVs!!!bG8=?="), Some("Hello"), false);
        check(&region("hello"), Some("Hello"), false);
        check(&[], Some("Hello"), false);
        check(&region("Hello"), None, false);
        check(&[], None, true);
    }

    #[test]
    fn the_revision_is_said_twice_and_alike() {
        let body = params(&json!({ "_meta": { (Meta::PROTOCOL_VERSION): "2026-07-28" } }));
        let checked = |pairs: &[(&str, &str)]| check_revision(&headers(pairs), &body).is_ok();
        assert!(checked(&[("mcp-protocol-version", "2026-07-28")]));
        assert!(!checked(&[("mcp-protocol-version", "2025-11-25")]));
        assert!(!checked(&[]));
    }
}
