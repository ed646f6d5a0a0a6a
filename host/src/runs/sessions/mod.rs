//! Sessions of Python: interpreters that are kept between runs, so that what one script defines is
//! there for the next. A session is a guest of the sandbox with a name; nothing of it depends on a
//! session of MCP, which the newer protocol does not have.
//!
//! A session belongs to one caller, under one profile, and nobody else can see it, use it or end it.
//! Its runs take turns. Between two of them it holds no call, no listener and no directory, only the
//! guest's memory. It ends when it was idle for long enough, when its caller or the host ends it,
//! when a newer one needs its place, or when a run was stopped in the middle of its work: the guest
//! is in no state then in which it could go on.

mod error;
mod name;
mod settings;
mod table;
mod turn;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use serde::{Serialize, Serializer};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

pub use error::SessionError;
pub use name::SessionName;
pub use settings::SessionSettings;
pub(super) use turn::{Admission, Turn};

use crate::language::Language;
use crate::upstream::Caller;
use table::{Key, Table};

/// The sessions of a host. Cheap to clone; the last clone ends them.
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

struct Inner {
    table: Mutex<Table>,
    /// Tells the sweeper that another moment may be the next.
    changed: Arc<Notify>,
    sweeper: Mutex<Option<AbortHandle>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let sweeper = self.sweeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(sweeper) = sweeper {
            sweeper.abort();
        }
    }
}

/// One session, as its caller may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionInfo {
    /// Its name.
    pub name: SessionName,
    /// The language of its scripts: each has sessions of its own, though their names may be alike.
    pub language: Language,
    /// The profile under which it runs.
    pub profile: String,
    /// How many runs it has had, the one under way included.
    pub runs: u64,
    /// Whether a run is under way or waits for its turn.
    pub busy: bool,
    /// For how long nobody has used it.
    #[serde(rename = "idle_seconds", serialize_with = "as_seconds")]
    pub idle: Duration,
    /// When it ends if nobody uses it until then.
    #[serde(serialize_with = "as_rfc3339")]
    pub idle_expires: SystemTime,
}

/// What became of a run's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    /// It began with this run: nothing was defined before. It is there for the next run.
    New,
    /// It was there before, and is there for the next run.
    Kept,
    /// It is gone with everything that was defined in it. The next run of this name begins anew.
    Lost,
}

/// A run's session, in the run's report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionReport {
    /// Its name.
    pub name: SessionName,
    /// What became of it.
    pub state: SessionState,
    /// How many runs it has had, this one included.
    pub runs: u64,
    /// When it ends if nobody uses it until then; nothing if it is lost.
    #[serde(serialize_with = "as_optional_rfc3339")]
    pub idle_expires: Option<SystemTime>,
}

/// The session that a run asks for.
pub(super) struct Wanted<'a> {
    pub(super) caller: &'a Caller,
    pub(super) profile: &'a str,
    pub(super) language: Language,
    pub(super) name: SessionName,
    /// How many sessions the caller may have, if not as many as every caller.
    pub(super) share: Option<usize>,
}

impl Sessions {
    /// As many as `room` at most, whatever settings say: each of them takes the place of a guest.
    pub(crate) fn new(room: usize) -> Self {
        let inner = Inner {
            table: Mutex::new(Table::new(room)),
            changed: Arc::default(),
            sweeper: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Puts other bounds in force. Sessions that are there already stay; the next new one finds the
    /// new bounds.
    pub fn set_settings(&self, settings: SessionSettings) {
        self.lock().settings = settings;
        self.inner.changed.notify_one();
    }

    /// A caller's sessions, under one profile or under all, by name.
    pub fn list(&self, caller: &Caller, profile: Option<&str>) -> Vec<SessionInfo> {
        let (infos, _expired) = {
            let mut table = self.lock();
            let expired = table.sweep(Instant::now());
            (table.infos(caller, profile, Instant::now()), expired)
        };
        infos
    }

    /// Ends a caller's session, and with it the run that is under way in it. False if there is none
    /// of this name.
    pub fn reset(&self, caller: &Caller, profile: &str, name: &SessionName) -> bool {
        let ended = self.lock().remove_of(caller, profile, name);
        ended.iter().for_each(|slot| slot.ended.cancel());
        !ended.is_empty()
    }

    /// Ends all sessions of all callers, and the runs that are under way in them.
    pub fn end_all(&self) {
        let ended = self.lock().remove_all();
        ended.iter().for_each(|slot| slot.ended.cancel());
    }

    /// Finds or makes the session for a run. Nothing is started and nobody waits yet.
    ///
    /// # Errors
    /// There is no room for another session, or too many runs wait for this one.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn admit(&self, wanted: Wanted<'_>) -> Result<Admission, SessionError> {
        let Wanted { caller, profile, language, name, share } = wanted;
        let key = Key::new(caller, profile, language, name);
        // What gave way is dropped after the lock is released: to unmap a guest takes a while.
        let (slot, _gave_way) = self.lock().admit(&key, share, Instant::now())?;
        self.keep_swept();
        Ok(Admission::new(self.clone(), key, slot))
    }

    /// Sees to it that somebody ends the sessions that were idle for too long: one worker for all of
    /// them, as long as there are any.
    fn keep_swept(&self) {
        let mut sweeper = lock(&self.inner.sweeper);
        if sweeper.as_ref().is_none_or(AbortHandle::is_finished) {
            let changed = Arc::clone(&self.inner.changed);
            let sweeping = sweep(Arc::downgrade(&self.inner), changed);
            *sweeper = Some(tokio::spawn(sweeping).abort_handle());
        }
        self.inner.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.inner.table)
    }
}

/// Ends idle sessions when their time is over, for ever. While it waits it holds nothing that keeps
/// the sessions alive; whoever drops the last of [`Sessions`] ends it.
async fn sweep(sessions: Weak<Inner>, changed: Arc<Notify>) {
    loop {
        let Some(inner) = sessions.upgrade() else { return };
        let (expired, next) = {
            let mut table = lock(&inner.table);
            (table.sweep(Instant::now()), table.next_expiry())
        };
        drop((expired, inner));
        match next {
            Some(at) => {
                let _ = tokio::time::timeout_at(at.into(), changed.notified()).await;
            }
            None => changed.notified().await,
        }
    }
}

fn as_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}

fn as_rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

fn as_optional_rfc3339<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => as_rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
