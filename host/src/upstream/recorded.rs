//! Upstreams that answer from a recording: the servers of a plugin's tests. They run in this process,
//! behind the same calls as every other upstream, so that grants, limits, checks of arguments and the
//! record are the real ones.
//!
//! An answer is given once. Which one a call gets is decided by its tool and its arguments and, among
//! those that fit, by the order of the recording, so that calls which are made at once may arrive in
//! any order. A call that was not recorded is refused and noted, and so is what nobody called.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use super::catalog::{self, Catalog};
use super::connection::Fault;
use super::error::{Cause, UpstreamError};
use super::handshake::Era;
use super::settings::{TransportSettings, UpstreamSettings};
use crate::ids::{ToolName, UpstreamName};
use crate::tool::{Phase, ToolDescription, ToolOutput};

/// Characters of arguments that a report shows.
const SHOWN_CHARS: usize = 300;

/// What some servers offer and answer. Clones are the same recording; each answer is given once.
#[derive(Clone)]
pub struct Recording {
    inner: Arc<Inner>,
}

struct Inner {
    /// By server.
    tools: BTreeMap<UpstreamName, Vec<ToolDescription>>,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// What was not given yet, in order.
    left: Vec<RecordedCall>,
    /// What was called and not recorded.
    strays: Vec<String>,
}

/// A call and its answer.
#[derive(Clone, Debug)]
pub struct RecordedCall {
    /// The tool.
    pub tool: ToolName,
    /// Its arguments; any without.
    pub arguments: Option<Value>,
    /// How long the answer takes.
    pub after: Duration,
    /// It need not be called.
    pub optional: bool,
    /// The answer.
    pub answer: RecordedAnswer,
}

/// What a call came to.
#[derive(Clone, Debug)]
pub enum RecordedAnswer {
    /// The tool's answer.
    Output(ToolOutput),
    /// The server could not be reached, with the cause.
    Unavailable(String),
    /// The server did not answer in time.
    TimedOut,
    /// A JSON-RPC error.
    Rejected {
        /// Its code.
        code: i64,
        /// Its message.
        message: String,
    },
}

impl Recording {
    /// A recording of these tools and calls. A tool that is called and not described takes any object.
    pub fn new(described: Vec<ToolDescription>, calls: Vec<RecordedCall>) -> Self {
        let mut tools: BTreeMap<UpstreamName, Vec<ToolDescription>> = BTreeMap::new();
        let called = calls.iter().map(|call| undescribed(&call.tool));
        for tool in described.into_iter().chain(called) {
            let of_server = tools.entry(tool.name.upstream.clone()).or_default();
            if !of_server.iter().any(|known| known.name == tool.name) {
                of_server.push(tool);
            }
        }
        let progress = Mutex::new(Progress { left: calls, strays: Vec::new() });
        Self { inner: Arc::new(Inner { tools, progress }) }
    }

    /// The settings of all its servers.
    pub fn servers(&self) -> Vec<UpstreamSettings> {
        let servers = self.inner.tools.keys().map(|name| {
            let transport = TransportSettings::Recorded(self.clone());
            let mut settings = UpstreamSettings::new(name.clone(), transport);
            // What was recorded is the last word, also when it failed.
            settings.retry.attempts = 1;
            settings.breaker.failures = 0;
            settings
        });
        servers.collect()
    }

    /// What was called and not recorded.
    pub fn strays(&self) -> Vec<String> {
        self.progress().strays.clone()
    }

    /// What was recorded and not called.
    pub fn uncalled(&self) -> Vec<String> {
        let progress = self.progress();
        let left = progress.left.iter().filter(|call| !call.optional);
        left.map(|call| shown(&call.tool, call.arguments.as_ref())).collect()
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.inner.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the answer to a call out of the recording.
    fn take(&self, tool: &ToolName, arguments: &Value) -> Result<RecordedCall, String> {
        let mut progress = self.progress();
        let fits = |call: &RecordedCall| {
            call.tool == *tool && call.arguments.as_ref().is_none_or(|wanted| wanted == arguments)
        };
        if let Some(at) = progress.left.iter().position(fits) {
            return Ok(progress.left.remove(at));
        }
        let mut text = shown(tool, Some(arguments));
        let left = progress.left.iter().filter(|call| call.tool == *tool);
        let left: Vec<String> =
            left.map(|call| shown(&call.tool, call.arguments.as_ref())).take(3).collect();
        if !left.is_empty() {
            text = format!("{text} (recorded and not called yet: {})", left.join(", "));
        }
        progress.strays.push(text.clone());
        Err(text)
    }
}

fn undescribed(tool: &ToolName) -> ToolDescription {
    ToolDescription {
        name: tool.clone(),
        title: None,
        description: None,
        input_schema: Arc::new(serde_json::json!({ "type": "object" })),
        output_schema: None,
        hints: crate::tool::ToolHints::default(),
        raw: None,
    }
}

fn shown(tool: &ToolName, arguments: Option<&Value>) -> String {
    let arguments = arguments.map_or_else(|| "any arguments".to_owned(), Value::to_string);
    let cut: String = arguments.chars().take(SHOWN_CHARS).collect();
    let dots = if cut.len() < arguments.len() { "…" } else { "" };
    format!("{tool} with {cut}{dots}")
}

/// One server of a recording.
pub(super) struct Recorded {
    name: UpstreamName,
    recording: Recording,
    catalog: Arc<Catalog>,
}

impl Recorded {
    pub(super) fn open(name: &UpstreamName, recording: &Recording) -> Self {
        let tools = recording.inner.tools.get(name).cloned().unwrap_or_default();
        let catalog = Catalog {
            server_name: Some("toolcell recording".to_owned()),
            server_version: None,
            instructions: None,
            era: Era::Modern,
            places: catalog::places(&tools),
            tools: tools.into(),
            problems: Vec::new(),
        };
        Self { name: name.clone(), recording: recording.clone(), catalog: Arc::new(catalog) }
    }

    pub(super) fn name(&self) -> &UpstreamName {
        &self.name
    }

    pub(super) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: &RawValue,
        total: Duration,
    ) -> Result<ToolOutput, Fault> {
        let tool = ToolName::new(self.name.clone(), tool);
        let rejected = |code: i64, message: String| {
            let server = self.name.clone();
            Fault::Final(UpstreamError::Rejected { server, code, message, data: None })
        };
        let arguments = serde_json::from_str(arguments.get()).unwrap_or_default();
        let call = self
            .recording
            .take(&tool, &arguments)
            .map_err(|stray| rejected(-32602, format!("this call was not recorded: {stray}")))?;
        tokio::time::sleep(call.after).await;
        let server = self.name.clone();
        match call.answer {
            RecordedAnswer::Output(output) => Ok(output),
            RecordedAnswer::Rejected { code, message } => Err(rejected(code, message)),
            RecordedAnswer::Unavailable(cause) => {
                let cause = Cause::new(cause);
                let phase = Phase::Connect;
                Err(Fault::Final(UpstreamError::Unavailable { server, phase, cause }))
            }
            RecordedAnswer::TimedOut => {
                let (phase, after, hint) = (Phase::Call, total, None);
                Err(Fault::Final(UpstreamError::TimedOut { server, phase, after, hint }))
            }
        }
    }
}

impl PartialEq for Recording {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for Recording {}

impl Hash for Recording {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.inner).hash(state);
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let progress = self.progress();
        f.debug_struct("Recording")
            .field("left", &progress.left.len())
            .field("strays", &progress.strays)
            .finish_non_exhaustive()
    }
}
