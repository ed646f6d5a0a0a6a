//! Why an upstream gave no answer, grouped by what the caller does about it.
//!
//! Every text is a lower-case fragment that reads on its own: which server, in which phase, what
//! was the cause, and what to do next. Secrets of the settings are never part of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::ids::UpstreamName;
use crate::tool::{Json, Phase};
use crate::upstream::caller::MissingCaller;

/// Why an upstream gave no answer. A tool's own failure is not here: that is an answer
/// ([`crate::tool::ToolOutput::is_error`]).
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// No server of this name is configured. A mistake in the host's own code or configuration.
    #[error("no server {name:?} is configured")]
    UnknownServer {
        /// The name that was asked for.
        name: String,
    },
    /// The server cannot be reached, or its connection was lost. In [`Phase::Call`] the call may
    /// have taken effect; in all other phases nothing was sent.
    #[error("server {server} is not available ({}): {cause}", doing(*phase))]
    Unavailable {
        /// Which server.
        server: UpstreamName,
        /// What was being done.
        phase: Phase,
        /// What happened, and the way out.
        #[source]
        cause: Cause,
    },
    /// The time is over. In [`Phase::Call`] the call may have taken effect.
    #[error("server {server} did not answer within {} ({}){}", Seconds(*after), doing(*phase), Hint(hint))]
    TimedOut {
        /// Which server.
        server: UpstreamName,
        /// What was being done.
        phase: Phase,
        /// How long was waited.
        after: Duration,
        /// What is known about the reason.
        hint: Option<String>,
    },
    /// The server answered with a JSON-RPC error: usually the arguments were wrong.
    #[error("server {server} rejected the request: {message} (JSON-RPC error {code})")]
    Rejected {
        /// Which server.
        server: UpstreamName,
        /// The error's code.
        code: i64,
        /// The error's message.
        message: String,
        /// The error's data.
        data: Option<Json>,
    },
    /// The answer is larger than anything we read.
    #[error(
        "server {server} sent an answer larger than {limit_bytes} bytes; ask it for less at once"
    )]
    AnswerTooLarge {
        /// Which server.
        server: UpstreamName,
        /// The most that is read.
        limit_bytes: usize,
    },
    /// The answer arrived and cannot be used: the server's fault, and asking again will not help.
    #[error("server {server} sent an answer that cannot be used: {problem}")]
    BadAnswer {
        /// Which server.
        server: UpstreamName,
        /// What is wrong with it.
        problem: String,
    },
    /// The server wants credentials, or better ones; nothing was done.
    #[error("server {server} does not accept our credentials: {cause}")]
    Unauthorized {
        /// Which server.
        server: UpstreamName,
        /// What it said, and the way out.
        #[source]
        cause: Cause,
    },
    /// The server, or one of its tools, failed so often in a row that it is not asked for a while.
    /// Nothing was sent.
    #[error(
        "{what} has been down since {} and is tried again at {}; do not call it before; the last \
         error was: {cause}",
        humantime::format_rfc3339_seconds(*since),
        humantime::format_rfc3339_seconds(*retry_at)
    )]
    Down {
        /// Which server.
        server: UpstreamName,
        /// `server NAME` or `tool NAME`.
        what: String,
        /// When the first of the failures was.
        since: SystemTime,
        /// When the next call is let through.
        retry_at: SystemTime,
        /// The last failure.
        cause: Arc<str>,
    },
    /// The server's settings need something of the caller that it does not have. Nothing was sent.
    #[error("server {server} cannot be called for this caller: {cause}")]
    Caller {
        /// Which server.
        server: UpstreamName,
        /// What is missing.
        #[source]
        cause: MissingCaller,
    },
    /// A plugin, which is called as a server is, cannot be used.
    #[error("plugin {plugin} cannot be used: {problem}")]
    Plugin {
        /// Which one.
        plugin: UpstreamName,
        /// What is wrong with it, and the way out.
        problem: Arc<str>,
    },
    /// The host is shutting its upstreams down.
    #[error("server {server} is not called any more: the host is shutting down")]
    Closed {
        /// Which server.
        server: UpstreamName,
    },
}

impl UpstreamError {
    /// What was being done, where that is known.
    pub fn phase(&self) -> Option<Phase> {
        match self {
            Self::Unavailable { phase, .. } | Self::TimedOut { phase, .. } => Some(*phase),
            _ => None,
        }
    }

    /// Which server.
    pub fn server(&self) -> Option<&UpstreamName> {
        match self {
            Self::UnknownServer { .. } => None,
            Self::Unavailable { server, .. }
            | Self::TimedOut { server, .. }
            | Self::Rejected { server, .. }
            | Self::AnswerTooLarge { server, .. }
            | Self::BadAnswer { server, .. }
            | Self::Unauthorized { server, .. }
            | Self::Down { server, .. }
            | Self::Caller { server, .. }
            | Self::Closed { server }
            | Self::Plugin { plugin: server, .. } => Some(server),
        }
    }
}

/// What happened to a connection, in words, with the error underneath where there is one.
#[derive(Clone, Debug)]
pub struct Cause {
    text: Arc<str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    is_permanent: bool,
    retry_after: Option<Duration>,
}

impl Cause {
    /// A cause that is known in words only.
    pub(super) fn new(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), source: None, is_permanent: false, retry_after: None }
    }

    /// A cause with the error that it explains. The text already tells what the error says.
    pub(super) fn with_source(
        text: impl Into<Arc<str>>,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            text: text.into(),
            source: Some(Arc::new(source)),
            is_permanent: false,
            retry_after: None,
        }
    }

    /// The server wishes to be left alone for so long.
    pub(super) fn not_before(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// How long the server wishes to be left alone, if it said so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Trying again changes nothing before somebody mends something.
    pub(super) fn permanent(self) -> Self {
        Self { is_permanent: true, ..self }
    }

    /// Whether it is of no use to try again.
    pub(super) fn is_permanent(&self) -> bool {
        self.is_permanent
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The phase in words.
fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "connecting",
        Phase::Handshake => "in the MCP handshake",
        Phase::List => "listing what it offers",
        Phase::Queue => "waiting for a free place",
        Phase::Pool => "waiting for a free connection",
        Phase::Write => "sending the request",
        Phase::Read => "silence during a call",
        Phase::Probe => "asking whether it is there",
        Phase::Call => "during a call",
    }
}

/// A duration as people write it.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(time) = self;
        if time.subsec_millis() == 0 && time.as_secs() > 0 {
            write!(f, "{} s", time.as_secs())
        } else if time.as_secs() > 0 {
            write!(f, "{:.1} s", time.as_secs_f64())
        } else {
            write!(f, "{} ms", time.as_millis())
        }
    }
}

struct Hint<'a>(&'a Option<String>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}
