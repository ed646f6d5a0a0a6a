//! One line of a run's record.

use std::sync::Arc;
use std::time::SystemTime;

use crate::ids::{CallId, RunId, UpstreamName};
use crate::tool::{CallAnswer, CallMethod};

/// One line: when, and what. The time is for people; nothing is decided by it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Real time at which it was recorded.
    pub at: SystemTime,
    /// What happened.
    pub kind: EntryKind,
}

/// What can happen in a run.
#[derive(Clone, Debug)]
pub enum EntryKind {
    /// The run begins. With these values and the entries that follow it can be run again.
    Started {
        /// The language of the source.
        language: &'static str,
        /// The name that tracebacks show.
        name: String,
        /// The source text.
        source: Arc<str>,
        /// The run's input, as JSON.
        input: Option<String>,
        /// Where its randomness comes from.
        seed: u64,
        /// The profile that it runs under.
        profile: String,
        /// Who asked for it, if that is known.
        caller: Option<Arc<str>>,
        /// By which program, as it calls itself.
        client: Option<Arc<str>>,
        /// For the call of a plugin: what was called, and by whom. `name` is the tool then, `input` its
        /// arguments, and there is no source.
        plugin: Option<Box<PluginOrigin>>,
    },
    /// The guest asked for a call and the broker let it pass.
    Requested {
        /// The call's number.
        call: CallId,
        /// What kind of call it is.
        method: CallMethod,
        /// The tool, `server.tool`; or `server:URI`, or `server.prompt`.
        tool: String,
        /// The arguments as JSON.
        arguments: Arc<str>,
        /// For whom it is made, if that is known.
        caller: Option<Arc<str>>,
    },
    /// The broker refused a call; nothing went out.
    Refused {
        /// The call's number.
        call: CallId,
        /// The tool as the guest named it.
        tool: String,
        /// The error's kind, as in the WIT.
        kind: &'static str,
    },
    /// The guest saw a call's answer. It sees refusals too.
    Completed {
        /// The call's number.
        call: CallId,
        /// What it saw.
        answer: Arc<CallAnswer>,
    },
    /// The guest cancelled a call.
    Cancelled {
        /// The call's number.
        call: CallId,
    },
    /// The run is over.
    Ended {
        /// `ok`, or the error's kind as in the report.
        outcome: String,
    },
}

/// Where the run of a plugin comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginOrigin {
    /// The run that called it.
    pub parent: RunId,
    /// By which of its calls.
    pub call: CallId,
    /// The plugin's installed name.
    pub plugin: UpstreamName,
    /// Its version, as its author calls it.
    pub version: Option<String>,
    /// SHA-256 of its component, in hexadecimal digits.
    pub digest: Option<Arc<str>>,
}

impl Entry {
    /// An entry of now.
    pub fn now(kind: EntryKind) -> Self {
        Self { at: SystemTime::now(), kind }
    }

    /// About how many bytes it keeps in memory.
    pub fn size_bytes(&self) -> usize {
        let payload = match &self.kind {
            EntryKind::Started { name, source, input, .. } => {
                name.len() + source.len() + input.as_ref().map_or(0, String::len)
            }
            EntryKind::Requested { tool, arguments, .. } => tool.len() + arguments.len(),
            EntryKind::Refused { tool, .. } => tool.len(),
            EntryKind::Completed { answer, .. } => match answer.as_ref() {
                // The result as its server sent it is kept beside what was read of it.
                Ok(output) => {
                    let raw = output.raw.as_ref().map_or(0, |raw| raw.get().len());
                    output.size_bytes() + raw + size_of_val(&*output.content)
                }
                Err(error) => error.message().len(),
            },
            EntryKind::Cancelled { .. } => 0,
            EntryKind::Ended { outcome } => outcome.len(),
        };
        // What the allocator needs for a handful of texts, too.
        payload + size_of::<Self>() + 128
    }
}
