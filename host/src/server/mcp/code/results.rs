//! What clients make of a result differs: some show only the first block, some only the structured
//! content, some drop `isError`. So the first block is text that says everything by itself, an
//! error included, and the structured content has the same for programs.

use serde::Serialize;
use serde_json::{Value, json};

use super::cut::Rest;

/// The result of `tools/call`: first a block of text, and the same for programs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::server::mcp) struct ToolResult {
    content: Vec<Block>,
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<Value>,
    is_error: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    #[serde(rename_all = "camelCase")]
    ResourceLink {
        uri: String,
        name: String,
        mime_type: &'static str,
        size: usize,
    },
}

impl ToolResult {
    pub(super) fn new(text: String, structured_content: Option<Value>, is_error: bool) -> Self {
        Self { content: vec![Block::Text { text }], structured_content, is_error }
    }

    /// Adds links to what was cut, for clients that can take them. Only those of the newer protocol
    /// are known to: among the clients of the older one, autogen-ext makes an error of a
    /// `resource_link`, semantic-kernel raises on one whose URI is not http, and smolagents on any.
    /// They have the links in the text, and `read_more`.
    pub(super) fn with_links(mut self, rest: &[Rest]) -> Self {
        self.content.extend(rest.iter().filter_map(|rest| {
            Some(Block::ResourceLink {
                uri: rest.link.as_ref()?.to_string(),
                name: rest.part.to_owned(),
                mime_type: "text/plain",
                size: rest.bytes,
            })
        }));
        self
    }
}

/// A call that could not be made: what is wrong, and what to do.
pub(super) fn refusal(words: &str) -> ToolResult {
    let error = json!({ "error": { "kind": "refused", "message": words } });
    ToolResult::new(format!("Error: {words}"), Some(error), true)
}
