//! Sessions of the protocol's revisions up to 2025-11-25. Few clients end theirs, so they are capped
//! and expire, and are cheap. Nothing of value is tied to one.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::events::{EventLog, Overflow};
use crate::server::mcp::Facade;
use crate::server::mcp::request::Peer;
use crate::server::random;
use crate::upstream::Caller;

/// Requests of one session that are worked on, or whose answers are kept for a client that lost its
/// connection.
const MAX_STREAMS: usize = 100;

/// Messages between whoever writes to a session and its log.
const OUTBOX: usize = 16;

/// The stream that belongs to no request.
pub(super) const STANDALONE: u64 = 0;

/// For whom a session is, and for which address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    caller: Option<Arc<str>>,
    profile: Option<String>,
}

impl Owner {
    pub(super) fn new(caller: &Caller, profile: Option<&str>) -> Self {
        Self { caller: caller.id.clone(), profile: profile.map(ToOwned::to_owned) }
    }
}

/// One session.
pub(super) struct Session {
    /// 128 random bits: whoever knows it may have it from its owner only.
    pub(super) id: Arc<str>,
    owner: Owner,
    pub(super) facade: Facade,
    pub(super) peer: Arc<Peer>,
    /// What belongs to no request, and in the old transport everything.
    pub(super) standalone: Arc<EventLog>,
    streams: Mutex<HashMap<u64, Arc<EventLog>>>,
    streams_ever: AtomicU64,
}

impl Session {
    /// A session that nobody can find yet. `overflow` says what becomes of messages while nobody
    /// reads them.
    pub(super) fn new(
        owner: Owner,
        facade: Facade,
        overflow: Overflow,
        workers: &TaskTracker,
    ) -> Arc<Self> {
        let (outbox, said) = mpsc::channel(OUTBOX);
        let peer = Peer::new(outbox);
        let resumable = overflow == Overflow::DropOldest;
        let standalone = EventLog::new(STANDALONE, overflow, resumable);
        workers.spawn(carry(said, Arc::clone(&standalone), Arc::clone(&peer)));
        Arc::new(Self {
            id: random::hex::<16>().into(),
            owner,
            facade,
            peer,
            standalone,
            streams: Mutex::default(),
            streams_ever: AtomicU64::new(STANDALONE + 1),
        })
    }

    /// The log for the answer to a request; nothing if there are too many already.
    pub(super) fn open_stream(&self) -> Option<Arc<EventLog>> {
        let mut streams = lock(&self.streams);
        if streams.len() >= MAX_STREAMS {
            return None;
        }
        let number = self.streams_ever.fetch_add(1, Ordering::Relaxed);
        let log = EventLog::new(number, Overflow::Wait, true);
        streams.insert(number, Arc::clone(&log));
        Some(log)
    }

    pub(super) fn stream(&self, number: u64) -> Option<Arc<EventLog>> {
        match number {
            STANDALONE => Some(Arc::clone(&self.standalone)),
            number => lock(&self.streams).get(&number).cloned(),
        }
    }

    pub(super) fn close_stream(&self, number: u64) {
        lock(&self.streams).remove(&number);
    }

    fn works(&self) -> bool {
        !lock(&self.streams).is_empty() || self.peer.under_way() > 0
    }

    /// Ends what is done for it.
    pub(super) fn end(&self) {
        self.peer.gone.cancel();
        self.standalone.end([]);
    }
}

/// Carries what is said to a client into its log, as long as the session lives.
async fn carry(mut said: mpsc::Receiver<Vec<u8>>, log: Arc<EventLog>, peer: Arc<Peer>) {
    let carrying = async {
        while let Some(message) = said.recv().await {
            if !log.has_room() {
                log.room().await;
            }
            log.push(message);
        }
    };
    tokio::select! {
        () = carrying => {}
        () = peer.gone.cancelled() => {}
    }
}

/// All sessions.
pub(super) struct Sessions {
    table: Mutex<Table>,
    most: usize,
    idle: Duration,
}

#[derive(Default)]
struct Table {
    by_id: HashMap<Arc<str>, Entry>,
    /// The one that was used last at the end.
    by_use: BTreeMap<u64, Arc<Session>>,
    uses: u64,
}

struct Entry {
    use_number: u64,
    used_at: Instant,
    session: Arc<Session>,
}

/// Each session that there may be has a request under way.
#[derive(Debug)]
pub(super) struct AllBusy;

impl Sessions {
    pub(super) fn new(most: usize, idle: Duration) -> Self {
        Self { table: Mutex::default(), most: most.max(1), idle }
    }

    /// Lets a session be found. If there are too many, the one that was idle for longest ends.
    pub(super) fn insert(&self, session: &Arc<Session>) -> Result<(), AllBusy> {
        let mut table = lock(&self.table);
        if table.by_id.len() >= self.most {
            let idle = table.by_use.values().find(|session| !session.works()).cloned();
            table.remove(&idle.ok_or(AllBusy)?.id);
        }
        table.touch(session, Instant::now());
        Ok(())
    }

    /// The session of an id, if it is this owner's. It is used then.
    pub(super) fn find(&self, id: &str, owner: &Owner) -> Option<Arc<Session>> {
        let mut table = lock(&self.table);
        let session = Arc::clone(&table.by_id.get(id)?.session);
        if session.owner != *owner {
            return None;
        }
        table.touch(&session, Instant::now());
        Some(session)
    }

    /// Ends a session.
    pub(super) fn remove(&self, id: &str) {
        lock(&self.table).remove(id);
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.table).by_id.len()
    }

    /// Ends the sessions that were idle for too long by `now`.
    pub(super) fn sweep(&self, now: Instant) {
        let mut table = lock(&self.table);
        let old: Vec<Arc<Session>> = table
            .by_use
            .values()
            .take_while(|session| {
                let used_at = table.by_id.get(&session.id).map(|entry| entry.used_at);
                used_at.is_some_and(|at| now.duration_since(at) >= self.idle)
            })
            .cloned()
            .collect();
        for session in old {
            // A client that listens is there, also when it asks for nothing.
            if session.works() || session.standalone.has_reader() {
                table.touch(&session, now);
            } else {
                table.remove(&session.id);
            }
        }
    }

    /// How often it is worth while to look for idle ones.
    pub(super) fn sweep_period(&self) -> Duration {
        (self.idle / 4).clamp(Duration::from_millis(100), Duration::from_secs(30))
    }

    /// Ends all.
    pub(super) fn end(&self) {
        let table = std::mem::take(&mut *lock(&self.table));
        for session in table.by_use.values() {
            session.end();
        }
    }
}

impl Table {
    fn touch(&mut self, session: &Arc<Session>, used_at: Instant) {
        self.uses += 1;
        let use_number = self.uses;
        let entry = Entry { use_number, used_at, session: Arc::clone(session) };
        if let Some(before) = self.by_id.insert(Arc::clone(&session.id), entry) {
            self.by_use.remove(&before.use_number);
        }
        self.by_use.insert(use_number, Arc::clone(session));
    }

    fn remove(&mut self, id: &str) {
        if let Some(entry) = self.by_id.remove(id) {
            self.by_use.remove(&entry.use_number);
            entry.session.end();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::Host;
    use crate::server::settings::ServerSettings;

    fn session(owner: &Owner) -> Arc<Session> {
        let folder = tempfile::tempdir().expect("a folder");
        let host = Host::builder().cache_folder(folder.path()).max_guests(1).build_lazily();
        let facade = Facade::new(host.expect("a host"), ServerSettings::default(), None);
        let facade = facade.expect("the default profile");
        Session::new(owner.clone(), facade, Overflow::DropOldest, &TaskTracker::new())
    }

    fn owner(name: &str) -> Owner {
        Owner { caller: Some(name.into()), profile: None }
    }

    #[tokio::test]
    async fn the_one_idle_longest_gives_way_and_never_one_that_works() {
        let sessions = Sessions::new(2, Duration::from_secs(60));
        let me = owner("me");
        let (first, second, third) = (session(&me), session(&me), session(&me));
        sessions.insert(&first).expect("there is room");
        sessions.insert(&second).expect("there is room");
        assert!(sessions.find(&first.id, &me).is_some(), "it is used, and the second is older");
        sessions.insert(&third).expect("one gives way");
        assert!(sessions.find(&second.id, &me).is_none() && second.peer.gone.is_cancelled());
        let id = RawValue::from_string("1".to_owned()).expect("JSON");
        let works = first.peer.begin(&id).expect("it is new");
        let too = third.peer.begin(&id).expect("it is new");
        sessions.insert(&second).expect_err("all work");
        drop((works, too));
        sessions.insert(&second).expect("one gives way");
        assert_eq!(sessions.count(), 2);
    }

    #[tokio::test]
    async fn a_session_is_its_owners() {
        let sessions = Sessions::new(2, Duration::from_secs(60));
        let mine = session(&owner("me"));
        sessions.insert(&mine).expect("there is room");
        assert!(sessions.find(&mine.id, &owner("me")).is_some());
        assert!(sessions.find(&mine.id, &owner("you")).is_none());
        let elsewhere = Owner { profile: Some("other".to_owned()), ..owner("me") };
        assert!(sessions.find(&mine.id, &elsewhere).is_none());
        sessions.remove(&mine.id);
        assert!(sessions.find(&mine.id, &owner("me")).is_none());
    }

    #[tokio::test]
    async fn idle_ones_end_and_listening_ones_do_not() {
        let sessions = Sessions::new(9, Duration::from_secs(60));
        let me = owner("me");
        let (idle, listening) = (session(&me), session(&me));
        sessions.insert(&idle).expect("there is room");
        sessions.insert(&listening).expect("there is room");
        let reader = listening.standalone.read(None);
        let later = Instant::now() + Duration::from_secs(61);
        sessions.sweep(later);
        assert!(idle.peer.gone.is_cancelled() && !listening.peer.gone.is_cancelled());
        drop(reader);
        sessions.sweep(later + Duration::from_secs(61));
        assert_eq!(sessions.count(), 0);
    }
}
