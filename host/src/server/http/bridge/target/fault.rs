//! Why something that was asked has no result: a JSON-RPC error for those who speak it, and for the others
//! a text that begins with the kind of error, as Python's exceptions are shown.

use serde_json::Value;

use crate::ids::UpstreamName;
use crate::server::mcp::of_other;
use crate::server::mcp::wire::RpcError;
use crate::tool::CallError;
use crate::upstream::UpstreamError;

/// Why there is no result.
pub(in crate::server::http::bridge) struct Fault {
    kind: &'static str,
    pub(in crate::server::http::bridge) error: RpcError,
}

impl Fault {
    pub(in crate::server::http::bridge) fn new(kind: &'static str, error: RpcError) -> Self {
        Self { kind, error }
    }

    /// A JSON-RPC error, as MCP's Python client shows it.
    pub(in crate::server::http::bridge) fn mcp(error: RpcError) -> Self {
        Self::new("McpError", error)
    }

    /// Without what the server's process wrote. The operator reads it in the log.
    pub(super) fn for_page(mut self, server: &UpstreamName) -> Self {
        let words = for_page(&self.error.message);
        if words.len() < self.error.message.len() {
            tracing::warn!(%server, error = %self.error.message, "a web client's request failed");
            self.error.message = words;
        }
        self
    }

    /// In words, the kind first.
    pub(in crate::server::http::bridge) fn words(&self) -> String {
        format!("{}: {}", self.kind, self.error.message)
    }

    /// Of a call that took the broker's road. What is not there and what is not granted sound the same.
    pub(super) fn of_call(server: &UpstreamName, what: &str, error: &CallError) -> Self {
        let mut rpc = of_other(error);
        let kind = match error {
            CallError::UnknownTool(_) => {
                rpc = RpcError::invalid_params(what.to_owned());
                "McpError"
            }
            CallError::Rejected { code, message, .. } => {
                rpc.message = own_words(server, *code, message);
                "McpError"
            }
            CallError::InvalidArguments { .. } => "McpError",
            CallError::Denied(_) => "PermissionError",
            CallError::TimedOut { .. } => "TimeoutError",
            CallError::Unavailable(_) | CallError::Interrupted(_) => "ConnectionError",
            CallError::Exhausted { .. } => "LimitError",
            CallError::Cancelled => "CancelledError",
        };
        Self::new(kind, rpc)
    }

    /// Of a question that went to the server directly.
    pub(super) fn of_upstream(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Rejected { code, message, data, .. } => {
                Self::mcp(RpcError { code, message, data })
            }
            error => {
                let kind = match &error {
                    UpstreamError::TimedOut { .. } => "TimeoutError",
                    _ => "ConnectionError",
                };
                let data = serde_json::json!({ "retryable": true });
                Self::new(
                    kind,
                    RpcError::new(RpcError::INTERNAL, error.to_string()).with_data(&data),
                )
            }
        }
    }
}

/// What the server itself said, and what the operator adds to it, without our words around it.
fn own_words(server: &UpstreamName, code: i64, message: &str) -> String {
    let before = format!("server {server} rejected the request: ");
    let after = format!(" (JSON-RPC error {code})");
    let Some(rest) = message.strip_prefix(&before) else { return message.to_owned() };
    match rest.rfind(&after) {
        Some(at) => format!("{}{}", &rest[..at], &rest[at + after.len()..]),
        None => rest.to_owned(),
    }
}

/// Words for something that failed before a session began.
pub(in crate::server::http::bridge) fn cause(error: &UpstreamError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    source.unwrap_or_else(|| error.to_string())
}

/// An error's words as a page may read them: without what the server's process wrote, which is for the
/// operator's eyes.
pub(in crate::server::http::bridge) fn for_page(words: &str) -> String {
    const QUOTES: [&str; 3] = [
        "; its stderr ends with:\n",
        "; its stdout has text that is not MCP, starting with ",
        ", with nothing on stderr",
    ];
    let end = QUOTES.iter().filter_map(|quote| words.find(quote)).min();
    end.map_or(words, |end| &words[..end]).to_owned()
}

/// The result of a tool that was refused, in words for whoever reads it.
pub(super) fn refused(words: &str) -> Value {
    serde_json::json!({ "content": [{ "type": "text", "text": words }], "isError": true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_does_not_read_what_a_process_wrote() {
        let words = "server x is not available: the process failed; its stdout has text that is not MCP, \
                     starting with \"pw\"; its stderr ends with:\npw";
        assert_eq!(for_page(words), "server x is not available: the process failed");
        assert_eq!(for_page("plain"), "plain");
    }

    #[test]
    fn a_servers_error_is_told_in_its_own_words() {
        let server = UpstreamName::try_new("db").unwrap();
        let error = UpstreamError::Rejected {
            server: server.clone(),
            code: -32602,
            message: "no (JSON-RPC error -32602) such row".to_owned(),
            data: None,
        };
        let call = CallError::Rejected {
            code: -32602,
            message: format!("{error}; ask for less"),
            data: None,
        };
        let told = Fault::of_call(&server, "", &call).words();
        assert_eq!(told, "McpError: no (JSON-RPC error -32602) such row; ask for less");
        let unknown = CallError::UnknownTool("no tool; there are secret.a, secret.b".to_owned());
        assert_eq!(
            Fault::of_call(&server, "Unknown tool: x", &unknown).words(),
            "McpError: Unknown tool: x"
        );
    }
}
