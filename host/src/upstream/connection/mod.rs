//! One live connection to an upstream: opened in either era, listed, called, closed.
//!
//! Here the transports' errors become [`UpstreamError`]s and every wait gets its deadline.

mod attempt;
mod faults;
mod lists;
mod params;
mod remote;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

pub(super) use attempt::Known;
pub(super) use faults::Fault;
pub(super) use lists::Listable;
pub(super) use remote::{Patience, Question, Remote};

use crate::ids::UpstreamName;
use crate::offers::Offers;
use crate::tool::{Json, Phase, ToolOutput};
use crate::upstream::about::About;
use crate::upstream::auth::Authorization;
use crate::upstream::catalog::Catalog;
use crate::upstream::client::{CallContext, ClientHandler, ServerNotice};
use crate::upstream::error::UpstreamError;
use crate::upstream::files::Files;
use crate::upstream::handshake::{Era, RequestMeta};
use crate::upstream::message::METHOD_NOT_FOUND;
use crate::upstream::recorded::Recorded;
use crate::upstream::settings::{TransportSettings, UpstreamSettings};
use crate::upstream::transport::{CLOSE_TIME, Request, Transport, TransportError};

/// Between two attempts to hear about changes from a modern server.
const LISTEN_PAUSE: Duration = Duration::from_secs(5);

/// After so many attempts that ended at once, a server is taken not to support it.
const LISTEN_ATTEMPTS: u32 = 5;

/// Takes note of the phase in which an opening is, so that whoever gives up can say what it was
/// waiting for.
pub(super) type OnPhase<'a> = &'a (dyn Fn(Phase) + Send + Sync);

/// What stands behind all connections of a host.
#[derive(Clone, Default)]
pub(super) struct Client {
    /// Who answers what servers ask.
    pub(super) handler: Option<Arc<dyn ClientHandler>>,
    /// Where tokens come from.
    pub(super) authorization: Authorization,
    /// Told whenever what servers list may have changed.
    pub(super) news: News,
    /// Told what servers say unasked.
    pub(super) notices: Notices,
}

/// Who hears what servers say unasked.
#[derive(Clone, Default)]
pub(super) struct Notices(Arc<Mutex<Vec<Weak<Listener>>>>);

/// Hears a notice, in the order in which servers say them, and before what the same server says next.
/// It is called in the loop that reads from the server, so it must not wait.
pub(super) type Listener = dyn Fn(&ServerNotice) + Send + Sync;

impl Notices {
    /// Has somebody hear them as long as they are held elsewhere.
    pub(super) fn listen(&self, listener: &Arc<Listener>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(listener));
    }

    /// Whether anybody hears them.
    pub(super) fn are_heard(&self) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|known| known.strong_count() > 0)
    }

    pub(super) fn tell(&self, notice: &ServerNotice) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Arc<Listener>> = all.iter().filter_map(Weak::upgrade).collect();
        for listener in all {
            listener(notice);
        }
    }
}

/// Counts the moments after which a list of some server may be another than before.
#[derive(Clone, Default)]
pub(super) struct News(watch::Sender<u64>);

impl News {
    /// Something may have changed.
    pub(super) fn tell(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// A connection to an upstream of any kind.
pub(super) enum Connection {
    Remote(Box<Remote>),
    /// In this process; never lost.
    Files(Files),
    /// The same.
    Recorded(Recorded),
}

impl Connection {
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Remote(remote) => remote.link.is_lost(),
            Self::Files(_) | Self::Recorded(_) => false,
        }
    }

    pub(super) fn era(&self) -> Era {
        match self {
            Self::Remote(remote) => remote.info.era,
            Self::Files(_) | Self::Recorded(_) => Era::Modern,
        }
    }

    /// What the server says about itself.
    pub(super) fn about(&self) -> About {
        match self {
            Self::Remote(remote) => About {
                name: remote.info.name.clone(),
                version: remote.info.version.clone(),
                instructions: remote.info.instructions.clone(),
                capabilities: remote.info.capabilities.clone(),
            },
            Self::Files(_) | Self::Recorded(_) => About::of_tools(),
        }
    }

    /// What makes the next connection's beginning shorter.
    pub(super) fn known(&self) -> Option<Known> {
        match self {
            Self::Remote(remote) => Some(Known { way: remote.way, era: remote.info.era }),
            Self::Files(_) | Self::Recorded(_) => None,
        }
    }

    /// The tools. Listed once, and again when the server said that they changed. Concurrent callers
    /// share one listing.
    pub(super) async fn catalog(&self) -> Result<Arc<Catalog>, UpstreamError> {
        match self {
            Self::Remote(remote) => remote.catalog().await,
            Self::Files(files) => Ok(files.catalog()),
            Self::Recorded(recorded) => Ok(recorded.catalog()),
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
                within(patience, files.name(), call).await
            }
            Self::Recorded(recorded) => {
                let call = recorded.call(tool, arguments, patience.total);
                within(patience, recorded.name(), call).await?
            }
        }
    }

    /// The resources, or templates, or prompts; kept as the tools are.
    pub(super) async fn offers<T: Listable>(&self) -> Result<Arc<Offers<T>>, UpstreamError> {
        match self {
            Self::Remote(remote) => remote.offers().await,
            Self::Files(_) | Self::Recorded(_) => Ok(Arc::default()),
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
            Self::Files(files) => Err(tools_only(files.name())),
            Self::Recorded(recorded) => Err(tools_only(recorded.name())),
        }
    }

    /// Whether the server answers at all.
    pub(super) async fn ping(&self) -> Result<(), UpstreamError> {
        match self {
            Self::Remote(remote) => remote.ping().await,
            Self::Files(_) | Self::Recorded(_) => Ok(()),
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

/// Waits for an upstream of this process as for any other.
async fn within<T>(
    patience: Patience,
    server: &UpstreamName,
    call: impl Future<Output = T>,
) -> Result<T, Fault> {
    let Patience { deadline, total: after, phase } = patience;
    tokio::time::timeout_at(deadline, call).await.map_err(|_| {
        let server = server.clone();
        Fault::Final(UpstreamError::TimedOut { server, phase, after, hint: None })
    })
}

/// The answer of an upstream of this process to whatever is no tool's call.
fn tools_only(server: &UpstreamName) -> Fault {
    Fault::Final(UpstreamError::Rejected {
        server: server.clone(),
        code: METHOD_NOT_FOUND,
        message: "a server of this process has tools only".to_owned(),
        data: None,
    })
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
    known: Option<Known>,
    client: &Client,
    on_phase: OnPhase<'_>,
) -> Result<Connection, UpstreamError> {
    on_phase(Phase::Connect);
    if let TransportSettings::Files { roots } = &settings.transport {
        let files =
            Files::open(&settings.name, roots).map_err(|cause| UpstreamError::Unavailable {
                server: settings.name.clone(),
                phase: Phase::Connect,
                cause,
            })?;
        return Ok(Connection::Files(files));
    }
    if let TransportSettings::Recorded(recording) = &settings.transport {
        return Ok(Connection::Recorded(Recorded::open(&settings.name, recording)));
    }
    attempt::open(settings, known, client, on_phase).await
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
