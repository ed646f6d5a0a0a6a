//! A run's place in its session: first in the queue, then at work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::table::{Key, Slot};
use super::{SessionReport, SessionState, Sessions};
use crate::sandbox::KeptGuest;

/// A run that was let into its session. Dropping it leaves.
pub(in crate::runs) struct Admission {
    sessions: Sessions,
    key: Key,
    slot: Arc<Slot>,
}

impl Admission {
    pub(super) fn new(sessions: Sessions, key: Key, slot: Arc<Slot>) -> Self {
        Self { sessions, key, slot }
    }

    /// Waits until the runs before it are over. `None` if the run is cancelled, or the session
    /// ended, before that. Cancel-safe: dropping the future leaves the queue.
    pub(in crate::runs) async fn turn(self, cancel: &CancellationToken) -> Option<Turn> {
        let guest = tokio::select! {
            biased;
            () = cancel.cancelled() => return None,
            () = self.slot.ended.cancelled() => return None,
            guest = Arc::clone(&self.slot.guest).lock_owned() => guest,
        };
        let is_new = guest.is_none();
        let number = self.sessions.lock().begin(&self.key, &self.slot, is_new);
        Some(Turn { guest, is_new, number, admission: self })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Self { sessions, key, slot } = self;
        // Somebody who is at work will have it, or will leave after us.
        let has_guest = slot.guest.try_lock().map_or(true, |guest| guest.is_some());
        sessions.lock().leave(key, slot, has_guest, Instant::now());
        sessions.inner.changed.notify_one();
    }
}

/// A run whose turn it is. If it is dropped before it is finished, what it took of the session is
/// lost.
pub(in crate::runs) struct Turn {
    /// Before the admission: it is given back first, and we leave then.
    guest: OwnedMutexGuard<Option<KeptGuest>>,
    /// Whether the session begins with this run.
    is_new: bool,
    /// The how-manieth run of the session this is.
    pub(in crate::runs) number: u64,
    admission: Admission,
}

impl Turn {
    /// The guest, if the session has one already.
    pub(in crate::runs) fn take_guest(&mut self) -> Option<KeptGuest> {
        self.guest.take()
    }

    /// Cancelled when the session is ended from elsewhere.
    pub(in crate::runs) fn ended(&self) -> &CancellationToken {
        &self.admission.slot.ended
    }

    /// Gives the guest back, if it can go on, and tells what became of the session.
    pub(in crate::runs) fn finish(mut self, guest: Option<KeptGuest>) -> SessionReport {
        let Admission { sessions, key, slot } = &self.admission;
        let (is_there, expires) = {
            let mut table = sessions.lock();
            (table.has(key, slot), table.expiry_of(Duration::ZERO))
        };
        let guest = guest.filter(|_| is_there);
        let state = match (&guest, self.is_new) {
            (None, _) => SessionState::Lost,
            (Some(_), true) => SessionState::New,
            (Some(_), false) => SessionState::Kept,
        };
        let report = SessionReport {
            name: key.name.clone(),
            state,
            runs: self.number,
            idle_expires: guest.is_some().then_some(expires),
        };
        *self.guest = guest;
        report
    }
}
