//! What happens in a run while it goes on, for whoever watches it.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::ids::{CallId, ToolName};
use crate::tool::{CallMethod, Json};

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
        /// What kind of call it is.
        method: CallMethod,
        /// The tool; for a read, the server and the URI; for a prompt, the server and its name.
        tool: ToolName,
    },
    /// How far something has come.
    Progress {
        /// The call that its server works on; nothing if it is the script that says so.
        call: Option<CallId>,
        /// How far. Grows as long as it goes on.
        progress: f64,
        /// How far it will go, if that is known.
        total: Option<f64>,
        /// In words.
        message: Option<String>,
        /// What the server sent, everything that we do not know included.
        params: Option<Json>,
    },
    /// An entry for a log.
    Log {
        /// The call during which its server wrote it; nothing if it is the script that did.
        call: Option<CallId>,
        /// How grave it is, in the words of syslog: `debug`, `info`, `warning`, `error` and so on.
        level: String,
        /// Which part of the server wrote it.
        logger: Option<String>,
        /// What it says: any JSON.
        data: Json,
        /// What the server sent, everything that we do not know included.
        params: Option<Json>,
    },
    /// A call that had gone out came to its end.
    CallEnded {
        /// Its number.
        id: CallId,
        /// What kind of call it is.
        method: CallMethod,
        /// The tool, as above.
        tool: ToolName,
        /// The error's kind as in the WIT, `tool` for the tool's own failure, nothing for success.
        error: Option<&'static str>,
        /// How long it took.
        elapsed: Duration,
    },
}
