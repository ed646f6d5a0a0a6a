//! One live connection to an upstream: opened in either era, listed, called, closed.
//!
//! Here the transports' errors become [`UpstreamError`]s and every wait gets its deadline.

mod faults;
mod lists;
mod params;
mod remote;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

pub(super) use faults::Fault;
pub(super) use lists::Listable;
pub(super) use remote::{Patience, Question, Remote};

use crate::offers::Offers;
use crate::tool::{Json, Phase, ToolOutput};
use crate::upstream::catalog::Catalog;
use crate::upstream::client::{CallContext, ClientHandler};
use crate::upstream::error::{Cause, UpstreamError};
use crate::upstream::files::Files;
use crate::upstream::handshake::{Era, RequestMeta, ServerInfo, shake_hands};
use crate::upstream::inbox::Inbox;
use crate::upstream::message::METHOD_NOT_FOUND;
use crate::upstream::process::{Process, Program};
use crate::upstream::redact::Redactor;
use crate::upstream::settings::{TransportSettings, UpstreamSettings};
use crate::upstream::transport::stdio::Stdio;
use crate::upstream::transport::streamable_http::StreamableHttp;
use crate::upstream::transport::{CLOSE_TIME, Request, Transport, TransportError};
use faults::Faults;

/// Between two attempts to hear about changes from a modern server.
const LISTEN_PAUSE: Duration = Duration::from_secs(5);

/// After so many attempts that ended at once, a server is taken not to support it.
const LISTEN_ATTEMPTS: u32 = 5;

/// Takes note of the phase in which an opening is, so that whoever gives up can say what it was
/// waiting for.
pub(super) type OnPhase<'a> = &'a (dyn Fn(Phase) + Send + Sync);

/// A connection to an upstream of any kind.
pub(super) enum Connection {
    Remote(Box<Remote>),
    /// In this process; never lost.
    Files(Files),
}

impl Connection {
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Remote(remote) => remote.link.is_lost(),
            Self::Files(_) => false,
        }
    }

    pub(super) fn era(&self) -> Era {
        match self {
            Self::Remote(remote) => remote.info.era,
            Self::Files(_) => Era::Modern,
        }
    }

    /// The tools. Listed once, and again when the server said that they changed. Concurrent callers
    /// share one listing.
    pub(super) async fn catalog(&self) -> Result<Arc<Catalog>, UpstreamError> {
        match self {
            Self::Remote(remote) => remote.catalog().await,
            Self::Files(files) => Ok(files.catalog()),
        }
    }

    /// One call.
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: &RawValue,
        context: &CallContext,
        patience: Patience,
    ) -> Result<ToolOutput, Fault> {
        match self {
            Self::Remote(remote) => remote.call(tool, arguments, context, patience).await,
            Self::Files(files) => {
                let call = files.call(tool, arguments);
                let Patience { deadline, total: after, phase } = patience;
                tokio::time::timeout_at(deadline, call).await.map_err(|_| {
                    let server = files.name().clone();
                    Fault::Final(UpstreamError::TimedOut { server, phase, after, hint: None })
                })
            }
        }
    }

    /// The resources, or templates, or prompts; kept as the tools are.
    pub(super) async fn offers<T: Listable>(&self) -> Result<Arc<Offers<T>>, UpstreamError> {
        match self {
            Self::Remote(remote) => remote.offers().await,
            Self::Files(_) => Ok(Arc::default()),
        }
    }

    /// One question other than a tool's call; its result as it came.
    pub(super) async fn put(
        &self,
        question: &Question<'_>,
        context: &CallContext,
        patience: Patience,
    ) -> Result<Json, Fault> {
        match self {
            Self::Remote(remote) => remote.put(question, context, patience).await,
            Self::Files(files) => Err(Fault::Final(UpstreamError::Rejected {
                server: files.name().clone(),
                code: METHOD_NOT_FOUND,
                message: "the built-in files have tools only".to_owned(),
                data: None,
            })),
        }
    }

    /// Whether the server answers at all.
    pub(super) async fn ping(&self) -> Result<(), UpstreamError> {
        match self {
            Self::Remote(remote) => remote.ping().await,
            Self::Files(_) => Ok(()),
        }
    }

    /// Has the server tell when a resource changes, as long as the other end of `to` and what is
    /// returned live. A legacy server is told by [`Connection::stop_updates`] that nobody cares.
    pub(super) async fn updates(
        &self,
        uri: &str,
        to: mpsc::Sender<String>,
        patience: Patience,
    ) -> Result<Option<AbortOnDropHandle<()>>, Fault> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wanted {
            resource_subscriptions: [String; 1],
        }
        let question = Question::Subscribe { uri };
        let Self::Remote(remote) = self else {
            return self.put(&question, &CallContext::default(), patience).await.map(|_| None);
        };
        // Before the server knows: its first word may come with its answer.
        remote.inbox.tell_updates_to(uri, to);
        if let Some(meta) = remote.meta.clone() {
            let wanted = Wanted { resource_subscriptions: [uri.to_owned()] };
            let listening = tokio::spawn(listen(Arc::clone(&remote.link), wanted, meta));
            return Ok(Some(AbortOnDropHandle::new(listening)));
        }
        remote.put(&question, &CallContext::default(), patience).await?;
        Ok(None)
    }

    /// Nobody asks about a resource any more, unless somebody else does.
    pub(super) async fn stop_updates(&self, uri: &str) {
        if let Self::Remote(remote) = self
            && remote.info.era == Era::Legacy
            && !remote.link.is_lost()
            && !remote.inbox.is_listened_for(uri)
        {
            let total = remote.timeouts.handshake;
            let patience = Patience { deadline: deadline_after(total), total, phase: Phase::Call };
            let question = Question::Unsubscribe { uri };
            let _ = remote.put(&question, &CallContext::default(), patience).await;
        }
    }

    /// Ends the connection in an orderly way, in bounded time.
    pub(super) async fn close(&self) {
        if let Self::Remote(remote) = self {
            let _ = tokio::time::timeout(CLOSE_TIME, remote.link.close()).await;
        }
    }
}

/// The end of a wait that begins now. Whoever configures a thousand years gets one.
pub(super) fn deadline_after(wait: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + wait.min(LONGEST)
}

/// A moment some time after another, whatever that time is.
fn later(from: Instant, wait: Duration) -> Instant {
    from.checked_add(wait).unwrap_or_else(|| deadline_after(wait))
}

/// Opens a connection: connect, then shake hands, each within its own time.
///
/// Cancel-safe: dropped half-way, it leaves no process and no socket behind.
pub(super) async fn open(
    settings: &UpstreamSettings,
    remembered: Option<Era>,
    handler: Option<&Arc<dyn ClientHandler>>,
    on_phase: OnPhase<'_>,
) -> Result<Connection, UpstreamError> {
    if let TransportSettings::Files { roots } = &settings.transport {
        on_phase(Phase::Connect);
        let files =
            Files::open(&settings.name, roots).map_err(|cause| UpstreamError::Unavailable {
                server: settings.name.clone(),
                phase: Phase::Connect,
                cause,
            })?;
        return Ok(Connection::Files(files));
    }
    let redactor = Arc::new(Redactor::new(&settings.transport));
    let faults = Faults { server: &settings.name, redactor: &redactor };
    on_phase(Phase::Connect);
    let mut attempt = Attempt::connect(settings, handler, &redactor)?;
    on_phase(Phase::Handshake);
    let deadline = deadline_after(settings.timeouts.handshake);
    let mut outcome = attempt.shake_hands(settings, remembered, deadline).await?;
    let second_try = match (&outcome, remembered) {
        (Ok(_), _) => None,
        // The server may have changed since.
        (Err(_), Some(Era::Legacy)) => Some(None),
        // The question about its era may have killed it, or set its mind on the wrong one. Over
        // HTTP each request stands for itself.
        (Err(_), _) if attempt.is_process => Some(Some(Era::Legacy)),
        (Err(_), _) => None,
    };
    if let Some(era) = second_try {
        tracing::debug!(server = %settings.name, "second handshake, on a new connection");
        attempt.link.abandon();
        attempt = Attempt::connect(settings, handler, &redactor)?;
        outcome = attempt.shake_hands(settings, era, deadline).await?;
    }
    let info = outcome.map_err(|error| faults.explain(Phase::Handshake, error))?;
    Ok(Connection::Remote(Box::new(attempt.into_remote(settings, info, redactor))))
}

/// A link that has not shaken hands. Dropping it ends what it started.
struct Attempt {
    link: Arc<dyn Transport>,
    inbox: Arc<Inbox>,
    is_process: bool,
}

impl Attempt {
    fn connect(
        settings: &UpstreamSettings,
        handler: Option<&Arc<dyn ClientHandler>>,
        redactor: &Arc<Redactor>,
    ) -> Result<Self, UpstreamError> {
        let inbox = Arc::new(Inbox::new(settings.name.clone(), handler.cloned()));
        let (link, is_process): (Result<Arc<dyn Transport>, Cause>, bool) = match &settings
            .transport
        {
            TransportSettings::Stdio { command, args, env, cwd } => {
                let program = Program { command, args, env, cwd: cwd.as_deref() };
                let process =
                    Process::start(&program, Arc::clone(redactor), settings.name.as_str());
                let link = process.map(|(process, pipes)| {
                    let redactor = Arc::clone(redactor);
                    let write_timeout = settings.timeouts.write;
                    Arc::new(Stdio::new(
                        process,
                        pipes,
                        write_timeout,
                        Arc::clone(&inbox),
                        redactor,
                    )) as _
                });
                (link, true)
            }
            TransportSettings::Http(http) => {
                let link =
                    StreamableHttp::new(settings, http, Arc::clone(&inbox), Arc::clone(redactor));
                (link.map(|link| Arc::new(link) as _), false)
            }
            TransportSettings::Files { .. } => {
                (Err(Cause::new("the files upstream has no connection")), false)
            }
        };
        // What fails before anything was sent is a matter of the settings or of this machine.
        let link = link.map_err(|cause| UpstreamError::Unavailable {
            server: settings.name.clone(),
            phase: Phase::Connect,
            cause: cause.permanent(),
        })?;
        Ok(Self { link, inbox, is_process })
    }

    /// The outer error is the deadline.
    async fn shake_hands(
        &self,
        settings: &UpstreamSettings,
        remembered: Option<Era>,
        deadline: Instant,
    ) -> Result<Result<ServerInfo, TransportError>, UpstreamError> {
        let handshake = shake_hands(&*self.link, remembered, self.inbox.capabilities());
        tokio::time::timeout_at(deadline, handshake).await.map_err(|_| {
            let silent =
                "it wrote nothing; is it an MCP server, and is handshake_timeout long enough?";
            UpstreamError::TimedOut {
                server: settings.name.clone(),
                phase: Phase::Handshake,
                after: settings.timeouts.handshake,
                hint: Some(self.link.hint().unwrap_or_else(|| silent.to_owned())),
            }
        })
    }

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
            sends_headers: info.era == Era::Modern && !self.is_process,
            link: Arc::clone(&self.link),
            info,
            inbox: Arc::clone(&self.inbox),
            redactor,
            timeouts: settings.timeouts.clone(),
            tools: Arc::new(settings.tools.clone()),
            meta,
            lists: lists::Lists::default(),
            _listener: listener,
        }
    }
}

/// Asks a modern server to tell when something changes, again and again. The notifications arrive
/// like all others; the request itself is answered only when the server ends the subscription.
async fn listen(link: Arc<dyn Transport>, wanted: impl Serialize, meta: RequestMeta) {
    #[derive(Serialize)]
    struct Params<T> {
        notifications: T,
        #[serde(rename = "_meta")]
        meta: RequestMeta,
    }
    let params = to_raw_value(&Params { notifications: wanted, meta });
    let Ok(params) = params else { return };
    let mut attempts = 0;
    while attempts < LISTEN_ATTEMPTS && !link.is_lost() {
        let started = Instant::now();
        let method = "subscriptions/listen";
        let request =
            Request { method, params: &params, headers: &[], cancellable: true, watch: None };
        let outcome = link.request(request).await;
        if let Err(TransportError::Answer(fault)) = &outcome {
            tracing::debug!(?fault, "an upstream does not tell about changes");
            return;
        }
        // A subscription that held for a while was a good one; the network ended it.
        attempts = if started.elapsed() > LISTEN_PAUSE { 0 } else { attempts + 1 };
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}
