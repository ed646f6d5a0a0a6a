//! The place of one connection: opened by the first who needs it, shared by all who come, closed
//! when nobody has needed it for long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::server::Server;
use crate::tool::Phase;
use crate::upstream::connection::{self, Connection};
use crate::upstream::error::UpstreamError;
use crate::upstream::settings::UpstreamSettings;

/// The place of one connection.
pub(super) struct Link {
    server: Weak<Server>,
    /// With what the caller gives filled in.
    settings: UpstreamSettings,
    state: Mutex<State>,
    /// What the opening under way is doing.
    phase: Mutex<Phase>,
}

struct State {
    holds: Holds,
    /// How many calls use the connection now.
    users: usize,
    last_use: Instant,
}

type Opened = Result<Arc<Open>, UpstreamError>;
type Opening = BoxFuture<'static, Opened>;

enum Holds {
    Nothing,
    /// Those who wait own the opening.
    Opening(WeakShared<Opening>),
    Ready(Arc<Open>),
    Closed,
}

/// An open connection and its place among those that the server may have.
pub(super) struct Open {
    pub(super) connection: Connection,
    _place: Option<OwnedSemaphorePermit>,
}

/// A connection in use.
pub(super) struct Lease {
    link: Arc<Link>,
    open: Arc<Open>,
}

impl std::ops::Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.open.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let idle = {
            let mut state = self.link.state();
            state.users = state.users.saturating_sub(1);
            state.last_use = Instant::now();
            state.users == 0
        };
        if idle && let Some(server) = self.link.server.upgrade() {
            server.became_idle();
        }
    }
}

impl Link {
    pub(super) fn new(server: &Arc<Server>, settings: UpstreamSettings) -> Arc<Self> {
        Self::empty(Arc::downgrade(server), settings)
    }

    /// The place of another connection with the same settings.
    pub(super) fn another(&self) -> Arc<Self> {
        Self::empty(self.server.clone(), self.settings.clone())
    }

    fn empty(server: Weak<Server>, settings: UpstreamSettings) -> Arc<Self> {
        Arc::new(Self {
            server,
            settings,
            state: Mutex::new(State { holds: Holds::Nothing, users: 0, last_use: Instant::now() }),
            phase: Mutex::new(Phase::Pool),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an opening under way is doing.
    pub(super) fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live connection, opened if need be.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, UpstreamError> {
        loop {
            let opening = match self.ready_or_opening() {
                Ok(lease) => return lease,
                Err(opening) => opening,
            };
            let open = opening.await?;
            if let Some(lease) = self.lease_if_ready(&open) {
                return Ok(lease);
            }
            // It was lost or closed in the moment since.
        }
    }

    fn lease_if_ready(self: &Arc<Self>, open: &Arc<Open>) -> Option<Lease> {
        let mut state = self.state();
        let same = matches!(&state.holds, Holds::Ready(ready) if Arc::ptr_eq(ready, open));
        same.then(|| self.lend(&mut state, Arc::clone(open)))
    }

    fn lend(self: &Arc<Self>, state: &mut State, open: Arc<Open>) -> Lease {
        state.users += 1;
        Lease { link: Arc::clone(self), open }
    }

    fn ready_or_opening(self: &Arc<Self>) -> Result<Result<Lease, UpstreamError>, Shared<Opening>> {
        let mut state = self.state();
        match &state.holds {
            Holds::Closed => return Ok(Err(self.closed())),
            Holds::Ready(open) if !open.connection.is_lost() => {
                let open = Arc::clone(open);
                return Ok(Ok(self.lend(&mut state, open)));
            }
            Holds::Opening(opening) => {
                // Nobody may be waiting any more, and then it is gone; or it failed a moment ago.
                if let Some(opening) = opening.upgrade().filter(|it| it.peek().is_none()) {
                    return Err(opening);
                }
            }
            Holds::Ready(_) | Holds::Nothing => {}
        }
        let opening = self.start_opening();
        state.holds = opening.downgrade().map_or(Holds::Nothing, Holds::Opening);
        Err(opening)
    }

    /// Opens in a worker, which goes on while those who wait are busy with something else, and ends
    /// when the last of them is gone.
    fn start_opening(self: &Arc<Self>) -> Shared<Opening> {
        let worker = AbortOnDropHandle::new(tokio::spawn(Arc::clone(self).open()));
        let closed = self.closed();
        let opened = worker.map(|ended| ended.unwrap_or(Err(closed)));
        opened.boxed().shared()
    }

    async fn open(self: Arc<Self>) -> Opened {
        let Some(server) = self.server.upgrade() else { return Err(self.closed()) };
        let opened = self.open_new(&server).await.map(Arc::new);
        let mut state = self.state();
        if matches!(state.holds, Holds::Closed) {
            return Err(self.closed());
        }
        state.last_use = Instant::now();
        state.holds = match &opened {
            Ok(open) => Holds::Ready(Arc::clone(open)),
            Err(_) => Holds::Nothing,
        };
        drop(state);
        server.became_idle();
        opened
    }

    /// A connection of its own, for whoever asks.
    pub(super) async fn open_new(&self, server: &Arc<Server>) -> Result<Open, UpstreamError> {
        let on_phase = |phase| *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        on_phase(Phase::Pool);
        let place = match self.settings.transport.is_in_process() {
            true => None,
            false => Some(server.place().await?),
        };
        let known = server.known();
        let opened = connection::open(&self.settings, known, server.client(), &on_phase).await;
        server.set_known(opened.as_ref().ok().and_then(Connection::known));
        Ok(Open { connection: opened?, _place: place })
    }

    /// Since when nobody uses the connection, if there is one.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        let idle = state.users == 0 && matches!(state.holds, Holds::Ready(_));
        idle.then_some(state.last_use)
    }

    /// Whether there is neither a connection nor an opening.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state();
        match &state.holds {
            Holds::Nothing | Holds::Closed => true,
            Holds::Opening(opening) => opening.upgrade().is_none(),
            Holds::Ready(_) => false,
        }
    }

    /// Takes the connection out if nobody uses it, for its end.
    pub(super) fn take_idle(&self) -> Option<Arc<Open>> {
        let mut state = self.state();
        if state.users > 0 || !matches!(state.holds, Holds::Ready(_)) {
            return None;
        }
        match std::mem::replace(&mut state.holds, Holds::Nothing) {
            Holds::Ready(open) => Some(open),
            _ => None,
        }
    }

    /// Ends it for good. Gives the connection, for an end in good order.
    pub(super) fn shut(&self) -> Option<Arc<Open>> {
        match std::mem::replace(&mut self.state().holds, Holds::Closed) {
            Holds::Ready(open) => Some(open),
            _ => None,
        }
    }

    fn closed(&self) -> UpstreamError {
        UpstreamError::Closed { server: self.settings.name.clone() }
    }
}
