//! JSON-RPC over a session's socket, for clients that speak MCP themselves: a frame with `jsonrpc` is a
//! message, and its answer has the same id.

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::target::{Target, Welcome, World};
use crate::server::mcp::lifecycle::LEGACY;
use crate::server::mcp::request::{Outcome, Params};
use crate::server::mcp::wire;

/// Answers one request.
pub(super) async fn answer(
    target: &Target,
    welcome: &Welcome,
    id: &RawValue,
    method: &str,
    params: Params,
    world: &World,
) -> String {
    let outcome = match method {
        "initialize" => initialize(welcome, &params),
        _ => target.ask(method, params, world).await.map_err(|fault| fault.error),
    };
    text(wire::answer(id, &outcome))
}

/// The session was opened already, so this only says with whom.
fn initialize(welcome: &Welcome, params: &Params) -> Outcome {
    let wanted: String = params.get("protocolVersion")?.unwrap_or_default();
    let agreed = LEGACY.into_iter().find(|revision| *revision == wanted).unwrap_or(LEGACY[0]);
    let Welcome { capabilities, name, version, instructions } = welcome;
    let mut result = json!({
        "protocolVersion": agreed,
        "capabilities": capabilities,
        "serverInfo": {
            "name": name.as_deref().unwrap_or("toolcell"),
            "version": version.as_deref().unwrap_or_default(),
        },
    });
    if let Some(instructions) = instructions {
        result["instructions"] = json!(instructions);
    }
    Ok(to_raw_value(&result).unwrap_or_default())
}

pub(super) fn text(message: Vec<u8>) -> String {
    String::from_utf8(message).unwrap_or_default()
}
