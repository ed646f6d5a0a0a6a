//! How to reach one upstream: the settings as used, after defaults and variables were resolved.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::ids::UpstreamName;
use crate::upstream::caller::{Caller, MissingCaller};
use crate::upstream::encoding::TextEncoding;
use crate::upstream::recorded::Recording;

/// A value that may be a credential. It cannot be printed; only this module's transports read it.
///
/// A part of it may stand for the caller's own credential: `Bearer ${caller.token}`. Such a value is
/// a template until [`Secret::for_caller`] fills it in.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Vec<SecretPart>);

/// A piece of a [`Secret`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SecretPart {
    /// As it is.
    Text(String),
    /// `${caller.token}`: the token with which the caller came to us.
    CallerToken,
    /// `${caller.id}`: who the caller is.
    CallerId,
}

impl Secret {
    /// Wraps a value as soon as it is read.
    pub fn new(value: impl Into<String>) -> Self {
        Self(vec![SecretPart::Text(value.into())])
    }

    /// A value that depends on the caller.
    pub fn template(parts: Vec<SecretPart>) -> Self {
        Self(parts)
    }

    /// Whether the value differs from caller to caller.
    pub fn refers_to_caller(&self) -> bool {
        self.0.iter().any(|part| !matches!(part, SecretPart::Text(_)))
    }

    /// The value for one caller.
    ///
    /// # Errors
    /// It takes something from the caller which this caller does not have.
    pub fn for_caller(&self, caller: &Caller) -> Result<Self, MissingCaller> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                SecretPart::Text(part) => text.push_str(part),
                SecretPart::CallerToken => {
                    text.push_str(&caller.token.as_ref().ok_or(MissingCaller::Token)?.expose());
                }
                SecretPart::CallerId => {
                    text.push_str(caller.id.as_deref().ok_or(MissingCaller::Id)?);
                }
            }
        }
        Ok(Self::new(text))
    }

    /// The value, for the wire. What depends on the caller is left out: settings are resolved by
    /// [`TransportSettings::for_caller`] before a transport sees them.
    pub(in crate::upstream) fn expose(&self) -> Cow<'_, str> {
        match self.0.as_slice() {
            [SecretPart::Text(text)] => Cow::Borrowed(text),
            parts => parts
                .iter()
                .filter_map(|part| match part {
                    SecretPart::Text(text) => Some(text.as_str()),
                    SecretPart::CallerToken | SecretPart::CallerId => None,
                })
                .collect::<String>()
                .into(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Its name, unique in a host.
    pub name: UpstreamName,
    /// How to reach it.
    pub transport: TransportSettings,
    /// How its messages are written, for one on pipes.
    pub encoding: TextEncoding,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// How long a connection lives.
    pub lifecycle: Lifecycle,
    /// How many connections there may be.
    pub connections: ConnectionCaps,
    /// What is tried again, and when.
    pub retry: Retry,
    /// When the server is taken to be down.
    pub breaker: Breaker,
    /// How often the monitor probes it; `None` for never.
    pub probe_interval: Option<Duration>,
    /// What a model is told when something fails.
    pub hints: Hints,
    /// What differs for single tools, by the server's name for them.
    pub tools: BTreeMap<String, ToolSettings>,
}

impl UpstreamSettings {
    /// Default of [`UpstreamSettings::probe_interval`].
    pub const PROBE_INTERVAL: Duration = Duration::from_secs(60);

    /// Settings with all the defaults.
    pub fn new(name: UpstreamName, transport: TransportSettings) -> Self {
        Self {
            name,
            transport,
            encoding: TextEncoding::default(),
            timeouts: Timeouts::default(),
            lifecycle: Lifecycle::default(),
            connections: ConnectionCaps::default(),
            retry: Retry::default(),
            breaker: Breaker::default(),
            probe_interval: Some(Self::PROBE_INTERVAL),
            hints: Hints::default(),
            tools: BTreeMap::new(),
        }
    }

    /// Why the monitor does not probe it, if it does not.
    pub(in crate::upstream) fn unprobed(&self) -> Option<&'static str> {
        match &self.transport {
            _ if self.probe_interval.is_none() => Some("its probe_interval is \"never\""),
            TransportSettings::Stdio { .. } if self.transport.refers_to_caller() => {
                Some("it is started with the caller's own credentials, and a probe has none")
            }
            _ => None,
        }
    }
}

/// How long each step of a call may take. The run's own limit on a call is around all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Waiting for a free connection.
    pub pool: Duration,
    /// Starting the process, or TCP and TLS.
    pub connect: Duration,
    /// The handshake, and each list.
    pub handshake: Duration,
    /// Writing one message.
    pub write: Duration,
    /// Silence while an answer is expected: any byte of the answer, and any notification that
    /// belongs to it, starts it anew.
    pub read: Duration,
    /// One call, if shorter than what the run allows.
    pub call: Option<Duration>,
    /// After this time without use a connection is closed; `None` for never.
    pub idle: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            pool: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(30),
            write: Duration::from_secs(10),
            read: Duration::from_secs(30),
            call: None,
            idle: Some(Duration::from_secs(15 * 60)),
        }
    }
}

/// How long a connection lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// One live connection per caller's credentials, kept until it is idle for too long.
    #[default]
    Pooled,
    /// Opened at a run's first call and closed at its end; no other run uses it.
    OnDemand,
    /// Opened for each call and closed after it.
    Fresh,
}

/// How many connections to one server there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionCaps {
    /// At once. Who needs one more waits for [`Timeouts::pool`].
    pub max: usize,
    /// Of them, those that nobody uses.
    pub max_idle: usize,
}

impl Default for ConnectionCaps {
    fn default() -> Self {
        Self { max: 10, max_idle: 5 }
    }
}

/// What is tried again: what was surely not done yet, and calls of tools that may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often in all; 1 for never again.
    pub attempts: u32,
    /// The longest pause before the second attempt. Each later one is twice as long; the pause
    /// itself is drawn between 0 and that.
    pub base: Duration,
    /// No pause is longer.
    pub cap: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 3, base: Duration::from_millis(250), cap: Duration::from_secs(10) }
    }
}

/// When a server, or one of its tools, is taken to be down: then calls are answered at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// After so many failures in a row; 0 for never.
    pub failures: u32,
    /// For how long, at first. Twice as long after each trial that fails.
    pub cooldown: Duration,
    /// Never longer.
    pub max_cooldown: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 5,
            cooldown: Duration::from_secs(5),
            max_cooldown: Duration::from_secs(60),
        }
    }
}

/// What the operator tells a model that meets an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The call took too long.
    pub on_timeout: Option<String>,
    /// The server cannot be reached.
    pub on_unavailable: Option<String>,
    /// The tool itself says that it failed, or refuses the arguments.
    pub on_tool_error: Option<String>,
    /// A tool to use instead, `server.tool`.
    pub fallback: Option<String>,
}

/// What differs for one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolSettings {
    /// Not offered at all.
    pub hidden: bool,
    /// Instead of the server's title.
    pub title: Option<String>,
    /// Instead of the server's description.
    pub description: Option<String>,
    /// Instead of the descriptions of single parameters.
    pub parameters: BTreeMap<String, String>,
    /// Instead of the server's `readOnlyHint`.
    pub read_only: Option<bool>,
    /// Instead of the server's `idempotentHint`.
    pub idempotent: Option<bool>,
    /// Time for one call of it.
    pub call_timeout: Option<Duration>,
    /// Instead of the server's hints, one by one.
    pub hints: Hints,
}

/// How an upstream is reached. Its `Debug` shows where, and nothing that may hold a credential: a
/// `${TOKEN}` can stand in an argument or a URL as well as in a header.
#[derive(Clone, PartialEq, Eq, Hash)]
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
    /// A server on the net.
    Http(HttpSettings),
    /// The built-in upstream that serves directories of this machine.
    Files {
        /// What it serves, by the name under which the tools see it.
        roots: Vec<FilesRoot>,
    },
    /// A server of a recording, for tests.
    Recorded(Recording),
}

/// How a server on the net is reached.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpSettings {
    /// The endpoint.
    pub url: String,
    /// Which of MCP's two ways over HTTP it speaks.
    pub flavour: HttpFlavour,
    /// Headers of every request.
    pub headers: BTreeMap<String, Secret>,
    /// A proxy to go through; the environment's (`HTTPS_PROXY`, `NO_PROXY` …) without it.
    pub proxy: Option<Secret>,
    /// Certificates (PEM) of authorities to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// OAuth, where the server wants it.
    pub auth: Option<AuthSettings>,
    /// Whether the server is told when we need its MCP session no longer.
    pub says_goodbye: bool,
}

impl HttpSettings {
    /// An endpoint with all the defaults.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            flavour: HttpFlavour::Detect,
            headers: BTreeMap::new(),
            proxy: None,
            ca_file: None,
            auth: None,
            says_goodbye: true,
        }
    }
}

/// MCP's two ways over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HttpFlavour {
    /// Streamable HTTP, or HTTP+SSE where a server refuses that.
    #[default]
    Detect,
    /// Streamable HTTP (revisions from 2025-03-26 on).
    StreamableHttp,
    /// HTTP+SSE (revision 2024-11-05).
    Sse,
}

/// How we get tokens for a server that wants OAuth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AuthSettings {
    /// Who agrees.
    pub grant: AuthGrant,
    /// The client's id, if we are registered there; otherwise we register or name our metadata.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<Secret>,
    /// Where the client's metadata document is published, for servers that take its URL as an id.
    pub client_metadata_url: Option<String>,
    /// The scopes to ask for; the server's own wish without them.
    pub scopes: Vec<String>,
    /// The port on loopback to which the browser comes back; any free one without it.
    pub redirect_port: Option<u16>,
}

/// Who agrees that we get a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AuthGrant {
    /// A person in a browser, once (`toolcell login`).
    #[default]
    AuthorizationCode,
    /// Nobody: the client has a secret.
    ClientCredentials,
}

impl TransportSettings {
    /// Whether the server is a part of this process.
    pub(in crate::upstream) fn is_in_process(&self) -> bool {
        matches!(self, Self::Files { .. } | Self::Recorded(_))
    }

    /// Whether a connection differs from caller to caller.
    pub fn refers_to_caller(&self) -> bool {
        match self {
            Self::Stdio { env, .. } => env.values().any(Secret::refers_to_caller),
            Self::Http(http) => http.headers.values().any(Secret::refers_to_caller),
            Self::Files { .. } | Self::Recorded(_) => false,
        }
    }

    /// The settings for one caller. Callers for whom they are equal share a connection.
    ///
    /// # Errors
    /// They take something from the caller which this caller does not have.
    pub fn for_caller(&self, caller: &Caller) -> Result<Self, MissingCaller> {
        let fill = |values: &BTreeMap<String, Secret>| -> Result<BTreeMap<_, _>, MissingCaller> {
            let filled = values
                .iter()
                .map(|(name, value)| value.for_caller(caller).map(|value| (name.clone(), value)));
            filled.collect()
        };
        let mut settings = self.clone();
        match &mut settings {
            Self::Stdio { env, .. } => *env = fill(env)?,
            Self::Http(http) => http.headers = fill(&http.headers)?,
            Self::Files { .. } | Self::Recorded(_) => {}
        }
        Ok(settings)
    }
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
            Self::Http(http) => http.fmt(f),
            Self::Files { roots } => f.debug_struct("Files").field("roots", roots).finish(),
            Self::Recorded(recording) => recording.fmt(f),
        }
    }
}

impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("url", &without_credentials(&self.url))
            .field("flavour", &self.flavour)
            .field("headers", &self.headers)
            .field("proxy", &self.proxy)
            .field("ca_file", &self.ca_file)
            .field("auth", &self.auth)
            .finish()
    }
}

/// Scheme, host, port and path of a URL; the rest may hold credentials.
pub(in crate::upstream) fn without_credentials(url: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse(url) else { return "<not a URL>".to_owned() };
    // Both fail only for URLs that cannot have a user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// A directory that the built-in `files` upstream serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
            TransportSettings::Http(HttpSettings { headers: secret(), ..HttpSettings::new(url) }),
            "\"https://example.org/mcp\"",
        );
        check(
            TransportSettings::Http(HttpSettings {
                headers: secret(),
                ..HttpSettings::new("s3cret")
            }),
            "not a URL",
        );
    }
}
