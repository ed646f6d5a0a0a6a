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

/// How an upstream is reached. Its `Debug` shows where, and nothing that may hold a credential: a
/// `${TOKEN}` can stand in an argument or a URL as well as in a header.
#[derive(Clone)]
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

impl fmt::Debug for TransportSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio { command, args, env, cwd } => f
                .debug_struct("Stdio")
                .field("command", command)
                .field("args", &format_args!("<{} arguments>", args.len()))
                .field("env", env)
                .field("cwd", cwd)
                .finish(),
            Self::StreamableHttp { url, headers } => f
                .debug_struct("StreamableHttp")
                .field("url", &without_credentials(url))
                .field("headers", headers)
                .finish(),
            Self::Files { roots } => f.debug_struct("Files").field("roots", roots).finish(),
        }
    }
}

/// Scheme, host, port and path of a URL; the rest may hold credentials.
fn without_credentials(url: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(url) else { return "<not a URL>".to_owned() };
    // Both fail only for URLs that cannot have a user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_printed_without_credentials() {
        #[track_caller]
        fn check(transport: TransportSettings, shown: &str) {
            let text = format!("{transport:?}");
            assert!(text.contains(shown) && !text.contains("s3cret"), "{text}");
        }
        let secret = || BTreeMap::from([("TOKEN".to_owned(), Secret::new("s3cret"))]);
        check(
            TransportSettings::Stdio {
                command: "server".into(),
                args: vec!["--token=s3cret".into()],
                env: secret(),
                cwd: None,
            },
            "<1 arguments>",
        );
        let url = "https://me:s3cret@example.org/mcp?key=s3cret#s3cret".to_owned();
        check(
            TransportSettings::StreamableHttp { url, headers: secret() },
            "\"https://example.org/mcp\"",
        );
        check(
            TransportSettings::StreamableHttp { url: "s3cret".into(), headers: secret() },
            "not a URL",
        );
    }
}
