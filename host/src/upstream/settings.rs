//! How to reach one upstream: the settings as used, after defaults and variables were resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::ids::UpstreamName;

/// A value that may be a credential. It cannot be printed; only this module's transports read it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value as soon as it is read.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the wire.
    pub(in crate::upstream) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// One upstream.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Its name, unique in a host.
    pub name: UpstreamName,
    /// How to reach it.
    pub transport: TransportSettings,
    /// Start of the process or connection, handshake and first `tools/list`, each.
    pub connect_timeout: Duration,
    /// One call, if shorter than what the run allows.
    pub call_timeout: Option<Duration>,
}

impl UpstreamSettings {
    /// Default of [`UpstreamSettings::connect_timeout`].
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
}

/// How an upstream is reached.
#[derive(Clone, Debug)]
pub enum TransportSettings {
    /// A child process that speaks MCP on stdin and stdout.
    Stdio {
        /// The program: a path, or a name to look up in `PATH`.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Variables added to a minimal environment (`HOME`, `LANG`, `PATH`, `USER` and the like).
        env: BTreeMap<String, Secret>,
        /// Its working directory; ours if absent.
        cwd: Option<PathBuf>,
    },
    /// MCP's streamable HTTP.
    StreamableHttp {
        /// The endpoint.
        url: String,
        /// Headers of every request.
        headers: BTreeMap<String, Secret>,
    },
    /// The built-in upstream that serves directories of this machine.
    Files {
        /// What it serves, by the name under which the tools see it.
        roots: Vec<FilesRoot>,
    },
}

/// A directory that the built-in `files` upstream serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesRoot {
    /// The first part of every path below it, as the tools see it: `name/sub/file.txt`.
    pub name: String,
    /// Where it is.
    pub directory: PathBuf,
    /// Refuse everything that writes.
    pub read_only: bool,
}
