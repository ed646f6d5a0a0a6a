//! How a conversation begins, in either era of the protocol, and what an answer has to look like in
//! each. Up to revision 2025-11-25 a client begins with `initialize`; from 2026-07-28 on nothing is
//! agreed beforehand and each request says in `_meta` what its client is.
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/lifecycle>

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::request::{Client, Meta, Params, Peer};
use super::wire::RpcError;
use crate::tool::Json;
use crate::upstream::{ClientCapabilities, Era};

/// The revisions that begin with `initialize`, the newest first.
pub(in crate::server) const LEGACY: [&str; 4] =
    ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// The revisions in which each request stands alone.
pub(in crate::server) const MODERN: [&str; 1] = ["2026-07-28"];

/// Methods that the modern era no longer has.
const ONLY_LEGACY: [&str; 5] =
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];

/// Methods that the legacy era does not have yet.
const ONLY_MODERN: [&str; 2] = ["server/discover", "subscriptions/listen"];

/// Results that may be kept for a while, so they have to say for how long.
const CACHEABLE: [&str; 6] = [
    "server/discover",
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "prompts/list",
    "resources/read",
];

/// How long a client may keep a list, in milliseconds. What it has, depends on who it is and on what
/// the operator changes meanwhile, so it is not for others and not for long.
const LIST_MILLISECONDS: u64 = 5_000;

/// Finds out who sends a request, and whether such a one may send it.
pub(in crate::server) fn client_of(
    peer: &Peer,
    method: &str,
    params: &Params,
) -> Result<Arc<Client>, RpcError> {
    if is_modern(method, params) {
        let client = modern(params)?;
        if ONLY_LEGACY.contains(&method) {
            return Err(RpcError::no_method(method));
        }
        return Ok(Arc::new(client));
    }
    if method == "initialize" {
        return Ok(Arc::new(initializing(params)?));
    }
    Ok(peer.client().unwrap_or_else(|| Arc::new(Client::unknown())))
}

/// Whether a request is one of the modern era. `initialize` asks which revision is spoken, so it is
/// one only if it says in the modern way that it is of a modern revision.
pub(in crate::server) fn is_modern(method: &str, params: &Params) -> bool {
    let meta = &params.meta;
    if method == "initialize" {
        let named: Option<String> = meta.get(Meta::PROTOCOL_VERSION);
        return named.is_some_and(|revision| MODERN.contains(&&*revision));
    }
    meta.raw(Meta::PROTOCOL_VERSION).is_some() || ONLY_MODERN.contains(&method)
}

/// Checks that a request of the modern era says of which revision it is.
///
/// # Errors
/// It does not.
pub(in crate::server) fn check_revision_is_named(params: &Params) -> Result<(), RpcError> {
    match params.meta.get::<String>(Meta::PROTOCOL_VERSION) {
        Some(_) => Ok(()),
        None => modern(params).map(drop),
    }
}

fn modern(params: &Params) -> Result<Client, RpcError> {
    let meta = &params.meta;
    let missing: Vec<&str> = [Meta::PROTOCOL_VERSION, Meta::CAPABILITIES]
        .into_iter()
        .filter(|name| match *name {
            Meta::CAPABILITIES => meta.get::<serde_json::Map<String, Value>>(name).is_none(),
            name => meta.get::<String>(name).is_none(),
        })
        .collect();
    if !missing.is_empty() {
        return Err(RpcError::invalid_params(format!(
            "the request's `_meta` lacks, or has in a wrong form: {}",
            missing.join(", ")
        )));
    }
    let revision: String = meta.get(Meta::PROTOCOL_VERSION).unwrap_or_default();
    if !MODERN.contains(&&*revision) {
        let shown: String = revision.chars().take(40).collect();
        let error = RpcError::new(
            RpcError::UNSUPPORTED_REVISION,
            format!("revision {shown:?} of the protocol is not spoken here"),
        );
        return Err(error.with_data(&json!({ "supported": MODERN, "requested": shown })));
    }
    Ok(Client {
        era: Era::Modern,
        revision,
        capabilities: ClientCapabilities::from_json(
            &meta.get(Meta::CAPABILITIES).unwrap_or(Value::Null),
        ),
        name: meta.get(Meta::CLIENT).as_ref().and_then(name_of),
    })
}

/// A client that begins in the legacy way. The newest revision is agreed on if it names one that we
/// do not know; it may go away then.
fn initializing(params: &Params) -> Result<Client, RpcError> {
    let wanted: String = params.need("protocolVersion")?;
    let agreed = LEGACY.into_iter().find(|revision| *revision == wanted).unwrap_or(LEGACY[0]);
    let capabilities: Option<Value> = params.get("capabilities")?;
    let client: Option<Value> = params.get("clientInfo")?;
    Ok(Client {
        era: Era::Legacy,
        revision: agreed.to_owned(),
        capabilities: ClientCapabilities::from_json(&capabilities.unwrap_or(Value::Null)),
        name: client.as_ref().and_then(name_of),
    })
}

/// `name version`, cut to what fits into a log line.
fn name_of(client: &Value) -> Option<String> {
    let text = |member: &str| client.get(member).and_then(Value::as_str).unwrap_or_default();
    let name = format!("{} {}", text("name"), text("version"));
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(100).collect();
    (!name.is_empty()).then_some(name)
}

/// Who we are.
pub(super) fn server_info() -> Value {
    json!({
        "name": "toolcell",
        "title": "toolcell",
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// The result of `initialize`.
pub(super) fn initialized(client: &Client, capabilities: &Value, instructions: &str) -> Value {
    json!({
        "protocolVersion": client.revision,
        "capabilities": capabilities,
        "serverInfo": server_info(),
        "instructions": instructions,
    })
}

/// The result of `server/discover`. Revisions that begin with `initialize` are not among those that
/// can be discovered.
pub(super) fn discovered(capabilities: &Value, instructions: &str) -> Value {
    json!({
        "supportedVersions": MODERN,
        "capabilities": capabilities,
        "serverInfo": server_info(),
        "instructions": instructions,
    })
}

/// Gives a result the form that its client's era asks for. What we do not know of it stays.
pub(super) fn finish(client: &Client, method: &str, result: Json) -> Json {
    let Ok(mut members) = serde_json::from_str::<IndexMap<String, Json>>(result.get()) else {
        return result;
    };
    let raw = |value: &Value| to_raw_value(value).unwrap_or_default();
    if client.is_modern() {
        members.entry("resultType".to_owned()).or_insert_with(|| raw(&json!("complete")));
        let mut meta: IndexMap<String, Json> = members
            .get("_meta")
            .and_then(|meta| serde_json::from_str(meta.get()).ok())
            .unwrap_or_default();
        meta.insert(Meta::SERVER.to_owned(), raw(&server_info()));
        members.insert("_meta".to_owned(), to_raw_value(&meta).unwrap_or_default());
        let is_answer = members.get("resultType").is_some_and(|it| it.get() == "\"complete\"");
        if is_answer && CACHEABLE.contains(&method) {
            // Whatever a server behind us said was said to us, and not to this client.
            members.insert("ttlMs".to_owned(), raw(&json!(LIST_MILLISECONDS)));
            members.insert("cacheScope".to_owned(), raw(&json!("private")));
        }
    } else {
        let before = members.len();
        for modern in ["resultType", "ttlMs", "cacheScope"] {
            members.shift_remove(modern);
        }
        if members.len() == before {
            return result;
        }
    }
    to_raw_value(&members).unwrap_or(result)
}

/// Reads what may be one of our own constants.
pub(super) fn raw_of(value: &impl serde::Serialize) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Arc<Peer> {
        Peer::new(tokio::sync::mpsc::channel(1).0)
    }

    fn params(json: &Value) -> Params {
        Params::read(Some(&to_raw_value(json).unwrap())).unwrap()
    }

    fn meta(revision: &Value, capabilities: &Value) -> Params {
        params(&json!({ "_meta": {
            (Meta::PROTOCOL_VERSION): revision, (Meta::CAPABILITIES): capabilities,
        }}))
    }

    #[test]
    fn the_revision_is_what_both_know_or_our_newest() {
        for (wanted, agreed) in [
            ("2024-11-05", "2024-11-05"),
            ("2025-06-18", "2025-06-18"),
            ("2026-07-28", "2025-11-25"),
            ("1999-01-01", "2025-11-25"),
        ] {
            let params = params(&json!({ "protocolVersion": wanted, "capabilities": {} }));
            let client = client_of(&peer(), "initialize", &params).unwrap();
            assert_eq!(client.revision, agreed);
            assert!(!client.is_modern());
        }
    }

    #[test]
    fn a_modern_request_says_all_that_it_has_to() {
        #[track_caller]
        fn check(method: &str, params: &Params, code: i64) {
            assert_eq!(client_of(&peer(), method, params).unwrap_err().code, code);
        }
        let well = meta(&json!("2026-07-28"), &json!({ "elicitation": {} }));
        let client = client_of(&peer(), "tools/list", &well).unwrap();
        assert!(client.is_modern() && client.capabilities.elicitation);
        check(
            "tools/list",
            &meta(&json!("2099-01-01"), &json!({})),
            RpcError::UNSUPPORTED_REVISION,
        );
        check("tools/list", &meta(&json!("2026-07-28"), &json!(7)), RpcError::INVALID_PARAMS);
        check("server/discover", &Params::default(), RpcError::INVALID_PARAMS);
        check("ping", &well, RpcError::METHOD_NOT_FOUND);
        check("initialize", &well, RpcError::METHOD_NOT_FOUND);
        check("logging/setLevel", &well, RpcError::METHOD_NOT_FOUND);
    }

    #[test]
    fn a_result_has_what_its_era_knows_and_keeps_what_nobody_knows() {
        let result = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let odd =
            r#"{"tools":[],"odd":1e400,"ttlMs":1,"cacheScope":"public","resultType":"complete"}"#;
        let legacy = finish(&Client::unknown(), "tools/list", result(odd));
        assert_eq!(legacy.get(), r#"{"tools":[],"odd":1e400}"#);
        let modern = Client { era: Era::Modern, ..Client::unknown() };
        let text = finish(&modern, "tools/list", result(odd));
        assert!(text.get().contains("1e400") && text.get().contains("\"private\""), "{text}");
        let asked = r#"{"resultType":"input_required","inputRequests":{}}"#;
        assert!(finish(&modern, "tools/call", result(asked)).get().contains("input_required"));
    }
}
