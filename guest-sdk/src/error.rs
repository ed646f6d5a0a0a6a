//! Why a call has no answer that can be used.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::Output;

/// Why a call has no answer that can be used.
///
/// Every message is complete: it names the tool, the cause and the way out. It is what [`Display`]
/// writes, so a tool may hand an error on as it is, with `?`.
///
/// [`Display`]: fmt::Display
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CallError {
    /// A rule of the operator refuses this call with these arguments.
    Denied(String),
    /// No such tool is granted. One that exists but is not granted gives the same.
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
    /// The host waited for an answer and gave up, or [`timeout`](crate::timeout) did.
    TimedOut {
        /// How long was waited.
        after: Duration,
        /// What was waited for: `connect`, `handshake`, `list`, `queue`, `pool`, `write`, `read`,
        /// `call`, or `branch` for a limit that the plugin set itself.
        phase: String,
        /// The same in a sentence.
        message: String,
    },
    /// The server answered with a JSON-RPC error.
    Rejected {
        /// JSON-RPC's code.
        code: i64,
        /// The server's words.
        message: String,
        /// What the server sent along.
        data: Option<Value>,
    },
    /// The call would have exceeded a limit of the run; nothing was sent, or the answer was dropped.
    Exhausted {
        /// The limit's name, for example `tool_calls`.
        limit_name: String,
        /// Its value.
        limit: u64,
        /// What was used, or would have been.
        used: u64,
        /// The same in a sentence.
        message: String,
    },
    /// The run is being cancelled.
    Cancelled,
    /// The host died while the call was out; whether it took effect is unknown.
    Interrupted(String),
    /// The tool ran and says itself that it failed.
    Failed(Box<Failed>),
    /// An answer came, and it is not what was expected: the type that it was read as does not fit.
    Unexpected(String),
}

/// A tool's own word that it failed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Failed {
    /// The tool, `server.tool`.
    pub tool: String,
    /// What it answered; its [`text`](Output::text) says why.
    pub output: Output,
}

impl CallError {
    /// The error's name, as scripts and the journal have it: `denied`, `unknown-tool`, … A tool's own
    /// failure is `tool`.
    ///
    /// ```
    /// # use toolcell_guest as toolcell;
    /// let error = toolcell::CallError::Unavailable("search cannot be reached".to_owned());
    /// assert_eq!(error.kind(), "unavailable");
    /// ```
    #[must_use]
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
            Self::Failed(_) => "tool",
            Self::Unexpected(_) => "unexpected",
        }
    }

    /// Whether another server, or the same one later, may do better: it was unreachable, too slow, or
    /// lost. All else is the same next time.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut { .. } | Self::Interrupted(_))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(message)
            | Self::UnknownTool(message)
            | Self::Unavailable(message)
            | Self::TimedOut { message, .. }
            | Self::Rejected { message, .. }
            | Self::Exhausted { message, .. }
            | Self::Interrupted(message)
            | Self::Unexpected(message) => f.write_str(message),
            Self::InvalidArguments { path, message } if path.is_empty() => f.write_str(message),
            Self::InvalidArguments { path, message } => write!(f, "{path}: {message}"),
            Self::Cancelled => f.write_str("the call was cancelled"),
            Self::Failed(failed) => {
                let said = failed.output.text();
                write!(
                    f,
                    "{} failed: {}",
                    failed.tool,
                    if said.is_empty() { "no reason" } else { &said }
                )
            }
        }
    }
}

impl std::error::Error for CallError {}
