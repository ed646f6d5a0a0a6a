//! The set of all upstreams, each with one shared connection.
//!
//! A connection is opened by the first who needs it; others who come meanwhile wait for the same
//! one. It is kept until the server loses it, and then opened anew at the next use. If all who wait
//! for an opening go away, so does the opening, with whatever it started.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use indexmap::IndexMap;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::ids::{ToolName, UpstreamName};
use crate::tool::{Phase, ToolOutput};
use crate::upstream::catalog::Catalog;
use crate::upstream::check::CheckReport;
use crate::upstream::connection::{self, CallFault, Connection};
use crate::upstream::error::UpstreamError;
use crate::upstream::handshake::Era;
use crate::upstream::settings::UpstreamSettings;

/// The upstreams of a host. Cheap to clone; all clones share the connections. Dropping the last one
/// ends the connections and all server processes; [`Upstreams::close`] does so in an orderly way.
#[derive(Clone)]
pub struct Upstreams {
    inner: Arc<Inner>,
}

struct Inner {
    slots: IndexMap<UpstreamName, Arc<Slot>>,
    closing: CancellationToken,
}

/// The place of one upstream's connection.
struct Slot {
    settings: UpstreamSettings,
    state: Mutex<State>,
    /// What the opening under way is doing.
    phase: Mutex<Phase>,
}

struct State {
    link: LinkState,
    /// The era of the last connection; saves a question at the next one.
    era: Option<Era>,
}

type Opened = Result<Arc<Connection>, UpstreamError>;
type Opening = BoxFuture<'static, Opened>;

enum LinkState {
    Idle,
    /// Those who wait own the opening.
    Opening(WeakShared<Opening>),
    Ready(Arc<Connection>),
    Closed,
}

/// The configured names are not unique.
#[derive(Debug, thiserror::Error)]
#[error("two servers have the name {name}; give each its own")]
pub struct DuplicateUpstream {
    /// The name that comes twice.
    pub name: UpstreamName,
}

impl Upstreams {
    /// Takes the settings of all upstreams. Connects nothing and starts nothing.
    ///
    /// # Errors
    /// Two upstreams have the same name.
    pub fn new(settings: Vec<UpstreamSettings>) -> Result<Self, DuplicateUpstream> {
        let mut slots = IndexMap::with_capacity(settings.len());
        for settings in settings {
            let name = settings.name.clone();
            let slot = Slot {
                settings,
                state: Mutex::new(State { link: LinkState::Idle, era: None }),
                phase: Mutex::new(Phase::Connect),
            };
            if slots.insert(name.clone(), Arc::new(slot)).is_some() {
                return Err(DuplicateUpstream { name });
            }
        }
        Ok(Self { inner: Arc::new(Inner { slots, closing: CancellationToken::new() }) })
    }

    /// The names, in the operator's order.
    pub fn names(&self) -> impl Iterator<Item = &UpstreamName> {
        self.inner.slots.keys()
    }

    /// What a server offers. Opens the connection if there is none. The list is kept until the
    /// server says that it changed, or the connection is a new one. Connecting, handshake and
    /// listing each take at most the server's `connect_timeout`.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// The server cannot be reached, or its list cannot be used.
    pub async fn catalog(&self, name: &UpstreamName) -> Result<Arc<Catalog>, UpstreamError> {
        let slot = self.slot(name)?;
        self.unless_closing(slot, async {
            let connection = slot.connection().await?;
            match list(name, &connection).await {
                // It was lost since its last use: a restarted server forgot our MCP session, say.
                // Listing again changes nothing.
                Err(error) if connection.is_lost() => {
                    tracing::debug!(server = %name, %error, "listing again");
                    list(name, &slot.connection().await?).await
                }
                listed => listed,
            }
        })
        .await
    }

    /// Calls a tool with a JSON object as its arguments. `timeout`, or the server's own
    /// `call_timeout` if that is shorter, covers everything, the opening of a connection included.
    ///
    /// Cancel-safe: dropping the future tells the server that the call is cancelled; the connection
    /// stays. A call that may have reached the server is never made twice.
    ///
    /// # Errors
    /// There is no answer; [`UpstreamError`] says why. A tool that answers "I failed" has answered.
    pub async fn call(
        &self,
        tool: &ToolName,
        arguments: &RawValue,
        timeout: Duration,
    ) -> Result<ToolOutput, UpstreamError> {
        let slot = self.slot(&tool.upstream)?;
        let timeout = slot.settings.call_timeout.map_or(timeout, |own| own.min(timeout));
        let deadline = connection::deadline_after(timeout);
        self.unless_closing(slot, async {
            match slot.call(&tool.tool, arguments, deadline, timeout).await {
                Err(CallFault::NotSeen(error)) => {
                    tracing::debug!(server = %tool.upstream, %error, "calling again");
                    let again = slot.call(&tool.tool, arguments, deadline, timeout).await;
                    again.map_err(CallFault::into_error)
                }
                outcome => outcome.map_err(CallFault::into_error),
            }
        })
        .await
    }

    /// Tries a server out on a connection of its own, which is closed again.
    pub async fn check(&self, name: &UpstreamName) -> CheckReport {
        match self.slot(name) {
            Ok(slot) => crate::upstream::check::check(&slot.settings).await,
            Err(error) => CheckReport::failed(name.clone(), error),
        }
    }

    /// Closes all connections and ends all server processes, in an orderly way where they take part
    /// in it, within about six seconds. Calls under way end as [`UpstreamError::Closed`], and so do
    /// later ones.
    pub async fn close(&self) {
        self.inner.closing.cancel();
        let connections = self.inner.slots.values().filter_map(|slot| {
            match std::mem::replace(&mut slot.state().link, LinkState::Closed) {
                LinkState::Ready(connection) => Some(connection),
                _ => None,
            }
        });
        let closings = connections.map(|connection| async move { connection.close().await });
        futures::future::join_all(closings).await;
    }

    fn slot(&self, name: &UpstreamName) -> Result<&Arc<Slot>, UpstreamError> {
        let unknown = || UpstreamError::UnknownServer { name: name.to_string() };
        self.inner.slots.get(name).ok_or_else(unknown)
    }

    async fn unless_closing<T>(
        &self,
        slot: &Slot,
        work: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        tokio::select! {
            biased;
            () = self.inner.closing.cancelled() => {
                Err(UpstreamError::Closed { server: slot.settings.name.clone() })
            }
            outcome = work => outcome,
        }
    }
}

/// Lists in a worker: others wait for the same listing, so it has to go on whatever this caller does
/// meanwhile.
async fn list(
    name: &UpstreamName,
    connection: &Arc<Connection>,
) -> Result<Arc<Catalog>, UpstreamError> {
    let connection = Arc::clone(connection);
    let listing = tokio::spawn(async move { connection.catalog().await });
    AbortOnDropHandle::new(listing)
        .await
        .unwrap_or_else(|_| Err(UpstreamError::Closed { server: name.clone() }))
}

impl CallFault {
    fn into_error(self) -> UpstreamError {
        match self {
            Self::NotSeen(error) | Self::Final(error) => error,
        }
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live connection, opened if need be.
    async fn connection(self: &Arc<Self>) -> Opened {
        let opening = match self.ready_or_opening() {
            Ok(ready) => return ready,
            Err(opening) => opening,
        };
        opening.await
    }

    fn ready_or_opening(self: &Arc<Self>) -> Result<Opened, Shared<Opening>> {
        let mut state = self.state();
        match &state.link {
            LinkState::Closed => {
                return Ok(Err(UpstreamError::Closed { server: self.settings.name.clone() }));
            }
            LinkState::Ready(connection) if !connection.is_lost() => {
                return Ok(Ok(Arc::clone(connection)));
            }
            LinkState::Opening(opening) => {
                // Nobody may be waiting any more, and then it is gone; or it failed a moment ago.
                if let Some(opening) = opening.upgrade().filter(|it| it.peek().is_none()) {
                    return Err(opening);
                }
            }
            LinkState::Ready(_) | LinkState::Idle => {}
        }
        let opening = self.start_opening(state.era);
        state.link = opening.downgrade().map_or(LinkState::Idle, LinkState::Opening);
        Err(opening)
    }

    /// Opens in a worker, which goes on while those who wait are busy with something else, and ends
    /// when the last of them is gone.
    fn start_opening(self: &Arc<Self>, era: Option<Era>) -> Shared<Opening> {
        let worker = AbortOnDropHandle::new(tokio::spawn(Arc::clone(self).open(era)));
        let server = self.settings.name.clone();
        let opened =
            worker.map(|ended| ended.unwrap_or_else(|_| Err(UpstreamError::Closed { server })));
        opened.boxed().shared()
    }

    async fn open(self: Arc<Self>, era: Option<Era>) -> Opened {
        let on_phase = |phase| *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        let opened = connection::open(&self.settings, era, &on_phase).await.map(Arc::new);
        let mut state = self.state();
        if matches!(state.link, LinkState::Closed) {
            return Err(UpstreamError::Closed { server: self.settings.name.clone() });
        }
        match &opened {
            Ok(connection) => {
                state.era = Some(connection.era());
                state.link = LinkState::Ready(Arc::clone(connection));
            }
            Err(_) => {
                state.era = None;
                state.link = LinkState::Idle;
            }
        }
        opened
    }

    async fn call(
        self: &Arc<Self>,
        tool: &str,
        arguments: &RawValue,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<ToolOutput, CallFault> {
        let timed_out = |phase, hint| {
            let server = self.settings.name.clone();
            CallFault::Final(UpstreamError::TimedOut { server, phase, after: timeout, hint })
        };
        let connection = tokio::time::timeout_at(deadline, self.connection())
            .await
            .map_err(|_| {
                timed_out(*self.phase.lock().unwrap_or_else(PoisonError::into_inner), None)
            })?
            .map_err(CallFault::Final)?;
        tokio::time::timeout_at(deadline, connection.call(tool, arguments))
            .await
            .unwrap_or_else(|_| Err(timed_out(Phase::Call, connection.hint())))
    }
}
