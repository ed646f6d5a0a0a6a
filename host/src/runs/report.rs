//! What a run came to, as one value that people, scripts and models read.

use std::fmt;

use serde::{Serialize, Serializer};

use super::hints;
use super::sessions::SessionReport;
use crate::broker::{CallRecord, Outage, OutageReason};
use crate::ids::RunId;
use crate::limits::{LimitKind, Usage};
use crate::sandbox::{Exception, Failure, Outcome};
use crate::tool::Json;
use crate::upstream::one_line as on_one_line;

/// What a run came to.
#[derive(Debug, Serialize)]
pub struct RunReport {
    /// Whether the script came to its end.
    pub ok: bool,
    /// Its value, as JSON.
    pub value: Option<Json>,
    /// What is kept of its standard output.
    pub stdout: String,
    /// What is kept of its standard error.
    pub stderr: String,
    /// Why it did not come to its end.
    pub error: Option<RunError>,
    /// What it used.
    pub usage: Usage,
    /// The calls it made, in the order in which they ended. They have taken effect, whatever became
    /// of the run.
    pub calls: Vec<CallRecord>,
    /// The run's name.
    pub run: RunId,
    /// Where its randomness came from. `--seed` with this number repeats it.
    pub seed: u64,
    /// Whether its record is enough to run it again: not if it saw a directory or ran in a session.
    pub replayable: bool,
    /// Which servers failed it. `None` means that no answer is missing for their sake. A value beside
    /// it is what the script returned, made of what it got.
    pub degraded: Option<Degraded>,
    /// The session that it ran in, if any, and what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionReport>,
}

/// A run that had to do without some server's answers.
#[derive(Clone, Debug, Serialize)]
pub struct Degraded {
    /// The servers, by name; at least one.
    pub servers: Vec<Outage>,
}

impl Degraded {
    pub(super) fn of(servers: Vec<Outage>) -> Option<Self> {
        (!servers.is_empty()).then_some(Self { servers })
    }
}

impl fmt::Display for Degraded {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, outage) in self.servers.iter().enumerate() {
            let since = humantime::format_rfc3339_seconds(outage.since);
            f.write_str(if nth == 0 { "" } else { "; " })?;
            match outage.reason {
                OutageReason::CallFailed => write!(
                    f,
                    "{} calls of server {} failed, the first at {since}",
                    outage.failed_calls, outage.server
                ),
                OutageReason::WentDown => {
                    write!(f, "server {} went down while the script ran, at {since}", outage.server)
                }
            }?;
            if let Some(error) = &outage.last_error {
                write!(f, " ({})", on_one_line(error))?;
            }
        }
        Ok(())
    }
}

/// Why a run did not come to its end.
#[derive(Debug, Serialize)]
pub struct RunError {
    /// What kind of thing happened; scripts branch on it.
    pub kind: ErrorKind,
    /// What happened, in one line or a few.
    pub message: String,
    /// The script's own frames, if it got so far.
    pub traceback: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// For a call: the tool, as the script named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// For a call: the tool's server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// For a call: whether it may well succeed at another time, as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// For a limit: its value, in the unit that the message names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// For a limit: what was used or asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

/// The kinds of [`RunError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// `syntax`: the source is not a program, or calls in it do not fit ([`crate::Script::check`]).
    Syntax,
    /// `exception`: nothing caught an exception.
    Exception,
    /// `exit`: the script ended itself with a status other than 0.
    Exit,
    /// `value`: the value cannot be given as JSON.
    Value,
    /// `tool.KIND`: nothing caught a call's failure. The kinds are those of the WIT's `call-error`,
    /// and `error` for a tool's own failure.
    Tool(String),
    /// `limit.NAME`: a limit was reached.
    Limit(LimitKind),
    /// `cancelled`: whoever started the run stopped it.
    Cancelled,
    /// `trap`: the guest broke its own machinery.
    Trap,
}

impl ErrorKind {
    /// Whether the script failed because a server could not be reached or did not answer.
    pub fn is_upstream(&self) -> bool {
        matches!(self, Self::Tool(kind) if kind == "unavailable" || kind == "timed-out")
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("syntax"),
            Self::Exception => f.write_str("exception"),
            Self::Exit => f.write_str("exit"),
            Self::Value => f.write_str("value"),
            Self::Tool(kind) => write!(f, "tool.{kind}"),
            Self::Limit(kind) => write!(f, "limit.{kind}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Trap => f.write_str("trap"),
        }
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Takes an outcome apart into the value and the error of a report.
pub(super) fn value_and_error(outcome: Outcome) -> (Option<Json>, Option<RunError>) {
    match outcome {
        Outcome::Value(value) => (value, None),
        Outcome::Failed(failure) => (None, Some(from_failure(failure))),
        Outcome::LimitReached { reached, exception } => {
            let error = RunError {
                message: match &exception {
                    Some(exception) => format!("{reached}: {}", one_line(exception)),
                    None => reached.to_string(),
                },
                traceback: exception.map(|exception| exception.traceback),
                hint: Some(hints::for_limit(reached.kind).to_owned()),
                kind: ErrorKind::Limit(reached.kind),
                limit: Some(reached.limit),
                used: Some(reached.used),
                ..plain(ErrorKind::Limit(reached.kind), "")
            };
            (None, Some(error))
        }
        Outcome::Cancelled => (None, Some(plain(ErrorKind::Cancelled, "the run was cancelled"))),
        Outcome::Trapped(why) => (None, Some(plain(ErrorKind::Trap, &why))),
    }
}

fn from_failure(failure: Failure) -> RunError {
    match failure {
        Failure::Syntax(exception) => with_traceback(ErrorKind::Syntax, exception),
        Failure::Exception(exception) => with_traceback(ErrorKind::Exception, exception),
        Failure::Call { tool, kind, exception } => {
            // On the wire the tool's own failure is called `tool`; `tool.error` reads better.
            let kind = if kind == "tool" { "error".to_owned() } else { kind };
            let hint = hints::for_call(&kind, &tool);
            let kind = ErrorKind::Tool(kind);
            RunError {
                hint,
                server: Some(hints::server_of(&tool).to_owned()),
                tool: Some(tool),
                retryable: Some(kind.is_upstream()),
                ..with_traceback(kind, exception)
            }
        }
        Failure::Exit(status) => {
            plain(ErrorKind::Exit, &format!("the script ended itself with status {status}"))
        }
        Failure::Value(why) => plain(ErrorKind::Value, &why),
    }
}

fn with_traceback(kind: ErrorKind, exception: Exception) -> RunError {
    let message = one_line(&exception);
    RunError { traceback: Some(exception.traceback), ..plain(kind, &message) }
}

fn plain(kind: ErrorKind, message: &str) -> RunError {
    RunError {
        kind,
        message: message.to_owned(),
        traceback: None,
        hint: None,
        tool: None,
        server: None,
        retryable: None,
        limit: None,
        used: None,
    }
}

fn one_line(exception: &Exception) -> String {
    if exception.message.is_empty() {
        exception.class.clone()
    } else {
        format!("{}: {}", exception.class, exception.message)
    }
}
