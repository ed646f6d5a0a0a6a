//! What happens in a run while it goes on, for whoever watches it.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::ids::{CallId, ToolName};

/// Which of a run's output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One thing that happened. Events of one run come in the order in which they happened.
#[derive(Clone, Debug)]
pub enum RunEvent {
    /// The run printed. Pieces need not end at a character's boundary.
    Printed {
        /// Where.
        to: Stream,
        /// What.
        bytes: Bytes,
    },
    /// A call passed the broker and goes out.
    CallStarted {
        /// Its number.
        id: CallId,
        /// The tool.
        tool: ToolName,
    },
    /// A call that had gone out came to its end.
    CallEnded {
        /// Its number.
        id: CallId,
        /// The tool.
        tool: ToolName,
        /// The error's kind as in the WIT, `tool` for the tool's own failure, nothing for success.
        error: Option<&'static str>,
        /// How long it took.
        elapsed: Duration,
    },
}
