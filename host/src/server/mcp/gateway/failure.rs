//! What a client hears of a call that failed. About a tool's call it is a result with words in it,
//! since most clients show a model nothing of the protocol's errors; for what has no such results it
//! is an error of the protocol.

use serde_json::{Value, json};

use crate::ids::ToolName;
use crate::server::mcp::lifecycle::raw_of;
use crate::server::mcp::request::{Client, Outcome};
use crate::server::mcp::wire::RpcError;
use crate::tool::CallError;
use crate::upstream::UpstreamError;

/// JSON-RPC code for "first the user has to visit a URL" (2025-11-25): the client itself acts on it.
const URL_ELICITATION: i64 = -32042;

/// How much of a text from outside is quoted.
const SHOWN_CHARACTERS: usize = 100;

/// A tool's call that failed.
pub(super) fn of_tool(tool: &ToolName, error: &CallError) -> Outcome {
    // These are for the client itself, and a model could do nothing about them.
    if let CallError::Rejected { code: URL_ELICITATION | RpcError::MISSING_CAPABILITY, .. } = error
    {
        return Err(of_other(error));
    }
    let hint = what_to_do(error);
    let mut text = format!("Error ({}): {}", error.kind(), error.message());
    if let Some(hint) = hint {
        text.push_str("\nWhat to do: ");
        text.push_str(hint);
    }
    Ok(raw_of(&json!({
        "content": [{ "type": "text", "text": text }],
        "structuredContent": { "error": described(tool, error, hint) },
        "isError": true,
    })))
}

fn described(tool: &ToolName, error: &CallError, hint: Option<&str>) -> Value {
    let mut described = json!({
        "kind": error.kind(),
        "server": tool.upstream,
        "tool": tool.tool,
        "message": error.message(),
        "hint": hint,
        "retryable": is_retryable(error),
    });
    if let CallError::Rejected { code, data, .. } = error {
        described["code"] = json!(code);
        described["data"] = json!(data);
    }
    described
}

/// A tool that nobody has.
pub(super) fn no_tool(name: &str, near: &[String], missing: &[String]) -> Outcome {
    let shown: String = name.chars().take(SHOWN_CHARACTERS).collect();
    let mut text = format!("Error (unknown-tool): there is no tool {shown:?} here");
    if !near.is_empty() {
        text.push_str(&format!("; nearest: {}", near.join(", ")));
    }
    for missing in missing {
        text.push_str(&format!("\n{missing}"));
    }
    let error = json!({
        "kind": "unknown-tool", "server": null, "tool": shown, "message": text,
        "hint": "list the tools again", "retryable": !missing.is_empty(),
    });
    Ok(raw_of(&json!({
        "content": [{ "type": "text", "text": text }],
        "structuredContent": { "error": error },
        "isError": true,
    })))
}

/// A read, a prompt or another question that failed. A server's own error passes.
pub(in crate::server) fn of_other(error: &CallError) -> RpcError {
    match error {
        CallError::Rejected { code, message, data } => {
            RpcError { code: *code, message: message.clone(), data: data.clone() }
        }
        CallError::UnknownTool(message) | CallError::Denied(message) => {
            RpcError::invalid_params(message.clone())
        }
        CallError::InvalidArguments { message, .. } => RpcError::invalid_params(message.clone()),
        other => {
            let data = json!({ "kind": other.kind(), "retryable": is_retryable(other) });
            RpcError::new(RpcError::INTERNAL, other.message()).with_data(&data)
        }
    }
}

/// A question that did not go by the road of calls.
pub(super) fn of_upstream(error: UpstreamError) -> RpcError {
    match error {
        UpstreamError::Rejected { code, message, data, .. } => RpcError { code, message, data },
        error => RpcError::new(RpcError::INTERNAL, error.to_string()),
    }
}

/// A resource that nobody has.
pub(super) fn no_resource(client: &Client, uri: &str) -> RpcError {
    let code = match client.is_modern() {
        true => RpcError::INVALID_PARAMS,
        false => RpcError::RESOURCE_NOT_FOUND,
    };
    let shown: String = uri.chars().take(SHOWN_CHARACTERS).collect();
    RpcError::new(code, format!("there is no resource {shown:?} here"))
        .with_data(&json!({ "uri": shown }))
}

/// The client does not want the answer any more; it is not sent.
pub(super) fn cancelled() -> RpcError {
    RpcError::new(RpcError::INTERNAL, CallError::Cancelled.message())
}

/// Whether the same call may succeed a while later.
fn is_retryable(error: &CallError) -> bool {
    matches!(error, CallError::Unavailable(_) | CallError::TimedOut { .. })
}

fn what_to_do(error: &CallError) -> Option<&'static str> {
    Some(match error {
        CallError::Unavailable(_) => {
            "the server cannot be used now, whatever the arguments; go on without it or try later"
        }
        CallError::TimedOut { .. } => "ask for less at once, or try again later",
        CallError::UnknownTool(_) => "list the tools again",
        CallError::InvalidArguments { .. } => "look at the tool's inputSchema and call it again",
        CallError::Denied(_) => "the operator's rules decide this; other arguments may be allowed",
        CallError::Exhausted { .. } => "send or ask for less at once",
        CallError::Interrupted(_) => "find out whether the call took effect before you repeat it",
        CallError::Rejected { .. } | CallError::Cancelled => return None,
    })
}
