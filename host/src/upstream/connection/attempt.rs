//! How a connection begins: by which way, in which era, and what is tried next when that fails.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::faults::Faults;
use super::lists::Lists;
use super::{Client, Connection, OnPhase, Remote, deadline_after, listen};
use crate::tool::Phase;
use crate::upstream::auth::Provider;
use crate::upstream::error::{Cause, UpstreamError};
use crate::upstream::handshake::{
    Era, HTTP_PROBE_TIME, PROBE_TIME, RequestMeta, ServerInfo, shake_hands,
};
use crate::upstream::inbox::Inbox;
use crate::upstream::process::{Process, Program};
use crate::upstream::redact::Redactor;
use crate::upstream::settings::{HttpFlavour, TransportSettings, UpstreamSettings};
use crate::upstream::transport::http::neither;
use crate::upstream::transport::sse::Sse;
use crate::upstream::transport::stdio::Stdio;
use crate::upstream::transport::streamable_http::StreamableHttp;
use crate::upstream::transport::{Transport, TransportError};

/// The ways of carrying messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Way {
    Stdio,
    StreamableHttp,
    Sse,
}

/// How an earlier connection with the same settings went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) struct Known {
    pub(super) way: Way,
    pub(super) era: Era,
}

/// Opens a connection to a server outside of this process. See [`super::open`].
pub(super) async fn open(
    settings: &UpstreamSettings,
    known: Option<Known>,
    client: &Client,
    on_phase: OnPhase<'_>,
) -> Result<Connection, UpstreamError> {
    let tokens = match &settings.transport {
        TransportSettings::Http(http) => client.authorization.provider(&settings.name, http),
        _ => None,
    };
    let mut redactor = Redactor::new(&settings.transport);
    if let Some(tokens) = &tokens {
        redactor = redactor.with_learned(tokens.secrets());
    }
    let redactor = Arc::new(redactor);
    let deadline = deadline_after(settings.timeouts.handshake);
    let beginning = Beginning { settings, client, tokens, redactor: &redactor, deadline };
    let first = first_way(&settings.transport, known);
    let mut attempt = beginning.connect(first)?;
    on_phase(Phase::Handshake);
    let era = known.map(|known| known.era);
    let mut outcome = beginning.shake_hands(&attempt, era, None).await?;
    let second_era = match &outcome {
        Ok(_) => None,
        // There is only one.
        Err(_) if first == Way::Sse => None,
        // The server may have changed since.
        Err(_) if known.is_some_and(|known| known.era == Era::Legacy) => Some(None),
        // The question about its era may have killed it, or set its mind on the wrong one. Over
        // HTTP each request stands for itself.
        Err(_) if first == Way::Stdio => Some(Some(Era::Legacy)),
        Err(_) => None,
    };
    if let Some(era) = second_era {
        tracing::debug!(server = %settings.name, "second handshake, on a new connection");
        attempt.link.abandon();
        attempt = beginning.connect(first)?;
        outcome = beginning.shake_hands(&attempt, era, None).await?;
    }
    if let Err(TransportError::NoEndpoint(cause)) = &outcome
        && let Some(other) = other_way(&settings.transport, attempt.way)
    {
        tracing::debug!(server = %settings.name, %cause, ?other, "the other way over HTTP");
        let before = cause.clone();
        attempt.link.abandon();
        attempt = beginning.connect(other)?;
        outcome = beginning.shake_hands(&attempt, None, Some(&before)).await?;
        outcome = outcome.map_err(|error| both_failed(attempt.way, &before, error));
    }
    let faults = Faults { server: &settings.name, redactor: &redactor };
    let info = outcome.map_err(|error| faults.explain(Phase::Handshake, error))?;
    Ok(Connection::Remote(Box::new(attempt.into_remote(settings, info, redactor))))
}

fn first_way(transport: &TransportSettings, known: Option<Known>) -> Way {
    match transport {
        TransportSettings::Http(http) => match http.flavour {
            HttpFlavour::Sse => Way::Sse,
            HttpFlavour::StreamableHttp => Way::StreamableHttp,
            HttpFlavour::Detect => known.map_or(Way::StreamableHttp, |known| known.way),
        },
        TransportSettings::Stdio { .. }
        | TransportSettings::Files { .. }
        | TransportSettings::Recorded(_) => Way::Stdio,
    }
}

/// What to try when there is no endpoint of the one kind: the server may be older, or newer than it
/// was.
fn other_way(transport: &TransportSettings, tried: Way) -> Option<Way> {
    match transport {
        TransportSettings::Http(http) if http.flavour == HttpFlavour::Detect => match tried {
            Way::StreamableHttp => Some(Way::Sse),
            Way::Sse => Some(Way::StreamableHttp),
            Way::Stdio => None,
        },
        _ => None,
    }
}

/// Names what was tried, where that is what the operator has to know.
fn both_failed(second: Way, before: &Cause, error: TransportError) -> TransportError {
    match error {
        TransportError::NoEndpoint(after) => TransportError::NoEndpoint(match second {
            Way::StreamableHttp => neither(&after, before),
            Way::Sse | Way::Stdio => neither(before, &after),
        }),
        TransportError::Http(after) if !after.is_permanent() => {
            TransportError::Http(neither(before, &after))
        }
        TransportError::Lost(after) => TransportError::Lost(neither(before, &after)),
        other => other,
    }
}

/// What all attempts to open one connection have in common.
struct Beginning<'a> {
    settings: &'a UpstreamSettings,
    client: &'a Client,
    tokens: Option<Arc<Provider>>,
    redactor: &'a Arc<Redactor>,
    deadline: Instant,
}

impl Beginning<'_> {
    /// The outer error is the deadline. `before` is what was tried before.
    async fn shake_hands(
        &self,
        attempt: &Attempt,
        era: Option<Era>,
        before: Option<&Cause>,
    ) -> Result<Result<ServerInfo, TransportError>, UpstreamError> {
        // HTTP+SSE is older than the question about the era.
        let era = if attempt.way == Way::Sse { Some(Era::Legacy) } else { era };
        let probe_time = if attempt.way == Way::Stdio { PROBE_TIME } else { HTTP_PROBE_TIME };
        let capabilities = attempt.inbox.capabilities();
        let handshake = shake_hands(&*attempt.link, era, capabilities, probe_time);
        tokio::time::timeout_at(self.deadline, handshake).await.map_err(|_| {
            let silent =
                "it wrote nothing; is it an MCP server, and is handshake_timeout long enough?";
            let hint = attempt.link.hint().unwrap_or_else(|| silent.to_owned());
            UpstreamError::TimedOut {
                server: self.settings.name.clone(),
                phase: Phase::Handshake,
                after: self.settings.timeouts.handshake,
                hint: Some(match before {
                    Some(before) => neither(before, &Cause::new(hint)).to_string(),
                    None => hint,
                }),
            }
        })
    }

    fn connect(&self, way: Way) -> Result<Attempt, UpstreamError> {
        let settings = self.settings;
        let inbox = Inbox::new(settings.name.clone(), self.client.handler.clone());
        let Client { news, notices, .. } = self.client;
        let inbox = Arc::new(inbox.telling(news.clone(), notices.clone()));
        // What fails before anything was sent is a matter of the settings or of this machine.
        let link = self.link(way, &inbox).map_err(|cause| UpstreamError::Unavailable {
            server: settings.name.clone(),
            phase: Phase::Connect,
            cause: cause.permanent(),
        })?;
        Ok(Attempt { link, inbox, way })
    }

    fn link(&self, way: Way, inbox: &Arc<Inbox>) -> Result<Arc<dyn Transport>, Cause> {
        let settings = self.settings;
        let (inbox, redactor) = (Arc::clone(inbox), Arc::clone(self.redactor));
        let tokens = self.tokens.clone();
        match &settings.transport {
            TransportSettings::Stdio { command, args, env, cwd } => {
                let program = Program { command, args, env, cwd: cwd.as_deref() };
                let name = settings.name.as_str();
                let (process, pipes) = Process::start(&program, Arc::clone(&redactor), name)?;
                let writing = (settings.timeouts.write, settings.encoding);
                Ok(Arc::new(Stdio::new(process, pipes, writing, inbox, redactor)))
            }
            TransportSettings::Http(http) if way == Way::Sse => {
                Ok(Arc::new(Sse::new(settings, http, inbox, redactor, tokens)?))
            }
            TransportSettings::Http(http) => {
                Ok(Arc::new(StreamableHttp::new(settings, http, inbox, redactor, tokens)?))
            }
            TransportSettings::Files { .. } | TransportSettings::Recorded(_) => {
                Err(Cause::new("an upstream of this process has no connection"))
            }
        }
    }
}

/// A link, before or after its handshake. Dropping it ends what it started.
struct Attempt {
    link: Arc<dyn Transport>,
    inbox: Arc<Inbox>,
    way: Way,
}

impl Attempt {
    fn into_remote(
        self,
        settings: &UpstreamSettings,
        info: ServerInfo,
        redactor: Arc<Redactor>,
    ) -> Remote {
        let meta = (info.era == Era::Modern).then(|| RequestMeta::new(self.inbox.capabilities()));
        // Older servers tell without being asked.
        let listener = meta.clone().filter(|_| info.tells_changes.any()).map(|meta| {
            AbortOnDropHandle::new(tokio::spawn(listen(
                Arc::clone(&self.link),
                info.tells_changes,
                meta,
            )))
        });
        Remote {
            server: settings.name.clone(),
            way: self.way,
            sends_headers: info.era == Era::Modern && self.way == Way::StreamableHttp,
            link: self.link,
            info,
            inbox: self.inbox,
            redactor,
            timeouts: settings.timeouts.clone(),
            tools: Arc::new(settings.tools.clone()),
            meta,
            lists: Lists::default(),
            _listener: listener,
        }
    }
}
