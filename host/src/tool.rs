//! What a tool is, what it answers, and why a call may have no answer. Pure values that the
//! sandbox, the broker and the upstreams share; none of them knows wasm or a connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::ids::ToolName;
use crate::limits::LimitReached;

/// A JSON text that is known to be well-formed. It is passed on as it came, not decoded.
pub type Json = Box<RawValue>;

/// A tool as its server describes it.
#[derive(Clone, Debug)]
pub struct ToolDescription {
    /// The full name, `server.tool`.
    pub name: ToolName,
    /// A name for people.
    pub title: Option<String>,
    /// What the tool does, in the server's words: text from a stranger.
    pub description: Option<String>,
    /// JSON Schema of the arguments: an object schema.
    pub input_schema: Arc<serde_json::Value>,
    /// JSON Schema of the structured content.
    pub output_schema: Option<Arc<serde_json::Value>>,
    /// The server's claims about the tool.
    pub hints: ToolHints,
    /// The tool as its server listed it, with everything that we do not know; nothing for tools of
    /// this process.
    pub raw: Option<Arc<RawValue>>,
}

/// What a server claims about a tool (MCP's `ToolAnnotations`): hints, never guarantees. The
/// defaults are the specification's for a tool that claims nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolHints {
    /// `readOnlyHint`: the tool changes nothing.
    pub read_only: bool,
    /// `idempotentHint`: calling it twice with the same arguments is calling it once.
    pub idempotent: bool,
    /// `destructiveHint`: the tool may delete or overwrite.
    pub destructive: bool,
}

impl Default for ToolHints {
    fn default() -> Self {
        Self { read_only: false, idempotent: false, destructive: true }
    }
}

/// One block of a tool's answer.
#[derive(Clone, Debug)]
pub enum ContentBlock {
    /// Text.
    Text(String),
    /// An image, decoded.
    Image {
        /// The image's bytes.
        data: Bytes,
        /// Its media type.
        mime_type: String,
    },
    /// Audio, decoded.
    Audio {
        /// The sound's bytes.
        data: Bytes,
        /// Its media type.
        mime_type: String,
    },
    /// A resource link or an embedded resource, as MCP's JSON object.
    Resource(Json),
    /// A block of a type that we do not know, as it came.
    Other(Json),
}

impl ContentBlock {
    /// The bytes that this block occupies, for [`crate::limits::Limits::answer_bytes`].
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Image { data, .. } | Self::Audio { data, .. } => data.len(),
            Self::Resource(json) | Self::Other(json) => json.get().len(),
        }
    }
}

/// A tool's answer to one call.
#[derive(Clone, Debug, Default)]
pub struct ToolOutput {
    /// The blocks, in the server's order.
    pub content: Vec<ContentBlock>,
    /// `structuredContent`, as it came.
    pub structured: Option<Json>,
    /// The tool's own word that it failed. The call itself succeeded.
    pub is_error: bool,
    /// The whole result as the server sent it, `_meta` and what we do not know included; nothing
    /// where the answer was made in this process.
    pub raw: Option<Arc<Json>>,
}

impl ToolOutput {
    /// An answer of one text block.
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: vec![ContentBlock::Text(text.into())], ..Self::default() }
    }

    /// A failure in the tool's own words.
    pub fn error(text: impl Into<String>) -> Self {
        Self { is_error: true, ..Self::text(text) }
    }

    /// The first text block, or nothing.
    pub fn first_text(&self) -> &str {
        let text = self.content.iter().find_map(|block| match block {
            ContentBlock::Text(text) => Some(text.as_str()),
            _ => None,
        });
        text.unwrap_or_default()
    }

    /// The bytes that this answer occupies, for [`crate::limits::Limits::answer_bytes`].
    pub fn size_bytes(&self) -> usize {
        let structured = self.structured.as_ref().map_or(0, |json| json.get().len());
        structured + self.content.iter().map(ContentBlock::size_bytes).sum::<usize>()
    }
}

/// What a call was waiting for when its time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Starting the process, or opening the connection.
    Connect,
    /// `server/discover` or `initialize`.
    Handshake,
    /// `tools/list`.
    List,
    /// A free place among the run's concurrent calls.
    Queue,
    /// A free connection to the server.
    Pool,
    /// Sending the request.
    Write,
    /// A sign of the server while it works on the call.
    Read,
    /// The call itself.
    Call,
    /// An answer to the question whether the server is there.
    Probe,
}

impl Phase {
    /// The name in reports and in the WIT.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::List => "list",
            Self::Queue => "queue",
            Self::Pool => "pool",
            Self::Write => "write",
            Self::Read => "read",
            Self::Call => "call",
            Self::Probe => "probe",
        }
    }
}

/// Why a call has no answer. Each text is complete: it names the tool or server, the cause, and
/// what to do next, in words that help a model.
#[derive(Clone, Debug)]
pub enum CallError {
    /// A rule of the operator refuses this call with these arguments.
    Denied(String),
    /// No such tool is granted. Whether it exists makes no difference to the text.
    UnknownTool(String),
    /// The arguments do not fit the tool's schema; nothing was sent.
    InvalidArguments {
        /// JSON Pointer of the offending value; empty for the arguments as a whole.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// The server cannot be reached, or its connection was lost.
    Unavailable(String),
    /// The time is over.
    TimedOut {
        /// How long was waited.
        after: Duration,
        /// For what.
        phase: Phase,
        /// The whole story.
        message: String,
    },
    /// A JSON-RPC error object from the server.
    Rejected {
        /// Its code.
        code: i64,
        /// Its message.
        message: String,
        /// Its data.
        data: Option<Json>,
    },
    /// A limit of the run.
    Exhausted {
        /// Which one, with the numbers.
        reached: LimitReached,
        /// What to do about it.
        message: String,
    },
    /// The run or the caller cancelled the call.
    Cancelled,
    /// The host died while the call was out; whether it took effect is unknown.
    Interrupted(String),
}

impl CallError {
    /// The kind's name, as in the WIT and in reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::UnknownTool(_) => "unknown-tool",
            Self::InvalidArguments { .. } => "invalid-arguments",
            Self::Unavailable(_) => "unavailable",
            Self::TimedOut { .. } => "timed-out",
            Self::Rejected { .. } => "rejected",
            Self::Exhausted { .. } => "exhausted",
            Self::Cancelled => "cancelled",
            Self::Interrupted(_) => "interrupted",
        }
    }

    /// Whether the call failed because its server could not be used, and not because of what was
    /// asked: what the script has then lacks something that a well server would have given.
    pub fn is_of_connection(&self) -> bool {
        /// JSON-RPC's "internal error".
        const INTERNAL_ERROR: i64 = -32603;
        match self {
            Self::Unavailable(_) | Self::Interrupted(_) => true,
            // Waiting for a place among the run's own calls is no server's doing.
            Self::TimedOut { phase, .. } => *phase != Phase::Queue,
            Self::Rejected { code, .. } => *code == INTERNAL_ERROR,
            Self::Denied(_)
            | Self::UnknownTool(_)
            | Self::InvalidArguments { .. }
            | Self::Exhausted { .. }
            | Self::Cancelled => false,
        }
    }

    /// The complete text.
    pub fn message(&self) -> &str {
        match self {
            Self::Denied(message)
            | Self::UnknownTool(message)
            | Self::Unavailable(message)
            | Self::Interrupted(message)
            | Self::InvalidArguments { message, .. }
            | Self::TimedOut { message, .. }
            | Self::Rejected { message, .. }
            | Self::Exhausted { message, .. } => message,
            Self::Cancelled => "the call was cancelled",
        }
    }

    /// The same, to add to it.
    pub(crate) fn message_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Denied(message)
            | Self::UnknownTool(message)
            | Self::Unavailable(message)
            | Self::Interrupted(message)
            | Self::InvalidArguments { message, .. }
            | Self::TimedOut { message, .. }
            | Self::Rejected { message, .. }
            | Self::Exhausted { message, .. } => Some(message),
            Self::Cancelled => None,
        }
    }
}

/// What a call asks for. Reads and prompts count, are limited and are recorded as calls of tools
/// are; their answer is the result as its server sent it, as structured content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub enum CallMethod {
    /// A tool is called.
    #[default]
    #[serde(rename = "tools/call")]
    Tool,
    /// A resource is read.
    #[serde(rename = "resources/read")]
    Resource,
    /// A prompt is filled in.
    #[serde(rename = "prompts/get")]
    Prompt,
}

impl CallMethod {
    /// MCP's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tool => "tools/call",
            Self::Resource => "resources/read",
            Self::Prompt => "prompts/get",
        }
    }

    /// What is called, in reports and records: `server.tool`, `server:URI`, `server.prompt`.
    pub fn label(self, name: &ToolName) -> String {
        match self {
            Self::Resource => format!("{}:{}", name.upstream, name.tool),
            Self::Tool | Self::Prompt => name.to_string(),
        }
    }

    /// Whether it is a tool's call.
    pub fn is_tool(&self) -> bool {
        *self == Self::Tool
    }
}

/// What a call came to.
pub type CallAnswer = Result<ToolOutput, CallError>;
