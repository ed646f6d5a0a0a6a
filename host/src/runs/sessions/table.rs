//! Which sessions there are. Decisions over values: what time it is, is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use super::{SessionError, SessionInfo, SessionName, SessionSettings};
use crate::language::Language;
use crate::sandbox::KeptGuest;
use crate::upstream::Caller;

/// Runs that may be under way or wait in one session.
const MAX_USERS: usize = 64;

/// Whose session it is, and which.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    owner: Caller,
    profile: Arc<str>,
    language: Language,
    pub(super) name: SessionName,
}

impl Key {
    pub(super) fn new(
        caller: &Caller,
        profile: &str,
        language: Language,
        name: SessionName,
    ) -> Self {
        Self { owner: caller.identity(), profile: profile.into(), language, name }
    }
}

/// What the runs of a session share.
pub(super) struct Slot {
    /// Held by the run whose turn it is. No guest: none was made yet, or it was lost.
    pub(super) guest: Arc<tokio::sync::Mutex<Option<KeptGuest>>>,
    /// The session is over, whoever still works in it.
    pub(super) ended: CancellationToken,
}

struct Entry {
    slot: Arc<Slot>,
    /// Runs that are under way or wait.
    users: usize,
    /// Runs that the guest has had.
    runs: u64,
    last_used: Instant,
}

/// All sessions.
pub(super) struct Table {
    pub(super) settings: SessionSettings,
    /// How many there is room for, whatever the settings say.
    room: usize,
    entries: HashMap<Key, Entry>,
}

/// Sessions that are over. Dropping them ends their guests.
pub(super) type Ended = Vec<Arc<Slot>>;

impl Table {
    pub(super) fn new(room: usize) -> Self {
        Self { settings: SessionSettings::default(), room, entries: HashMap::new() }
    }

    /// Finds or makes a session for one more run. Sessions may have to give way to it.
    pub(super) fn admit(
        &mut self,
        key: &Key,
        share: Option<usize>,
        now: Instant,
    ) -> Result<(Arc<Slot>, Ended), SessionError> {
        let mut ended = self.sweep(now);
        if let Some(entry) = self.entries.get_mut(key) {
            if entry.users >= MAX_USERS {
                let name = key.name.clone();
                return Err(SessionError::TooManyWaiting { name, limit: MAX_USERS });
            }
            entry.users += 1;
            return Ok((Arc::clone(&entry.slot), ended));
        }
        self.check_share(key, share.unwrap_or(self.settings.per_caller))?;
        ended.extend(self.make_room_for(key)?);
        let slot = Arc::new(Slot { guest: Arc::default(), ended: CancellationToken::new() });
        let entry = Entry { slot: Arc::clone(&slot), users: 1, runs: 0, last_used: now };
        self.entries.insert(key.clone(), entry);
        Ok((slot, ended))
    }

    fn check_share(&self, key: &Key, limit: usize) -> Result<(), SessionError> {
        let theirs = self.entries.keys().filter(|other| other.owner == key.owner);
        let mut names: Vec<SessionName> = theirs.map(|other| other.name.clone()).collect();
        if names.len() < limit {
            return Ok(());
        }
        names.sort();
        Err(SessionError::TooMany { wanted: key.name.clone(), limit, names })
    }

    /// Ends the session that was idle for longest, if there are as many as there may be.
    fn make_room_for(&mut self, key: &Key) -> Result<Option<Arc<Slot>>, SessionError> {
        let limit = self.settings.total.min(self.room);
        if self.entries.len() < limit {
            return Ok(None);
        }
        let idle = self.entries.iter().filter(|(_, entry)| entry.users == 0);
        let oldest = idle.min_by_key(|(_, entry)| entry.last_used).map(|(key, _)| key.clone());
        let busy = SessionError::AllBusy { wanted: key.name.clone(), limit };
        let gone = self.entries.remove(&oldest.ok_or(busy)?);
        Ok(gone.map(|entry| entry.slot))
    }

    /// Counts a run that begins now: in a guest that was there, or in a new one.
    pub(super) fn begin(&mut self, key: &Key, slot: &Arc<Slot>, is_new: bool) -> u64 {
        let Some(entry) = self.find(key, slot) else { return 1 };
        entry.runs = if is_new { 1 } else { entry.runs + 1 };
        entry.runs
    }

    /// A run is over, or gave up waiting. A session that has no guest is kept for nobody.
    pub(super) fn leave(&mut self, key: &Key, slot: &Arc<Slot>, has_guest: bool, now: Instant) {
        let Some(entry) = self.find(key, slot) else { return };
        entry.users -= 1;
        entry.last_used = now;
        if entry.users == 0 && !has_guest {
            self.entries.remove(key);
        }
    }

    /// Whether the session is still this one: it may have been ended, and another begun.
    pub(super) fn has(&mut self, key: &Key, slot: &Arc<Slot>) -> bool {
        self.find(key, slot).is_some()
    }

    fn find(&mut self, key: &Key, slot: &Arc<Slot>) -> Option<&mut Entry> {
        self.entries.get_mut(key).filter(|entry| Arc::ptr_eq(&entry.slot, slot))
    }

    /// Takes out what was idle for too long.
    pub(super) fn sweep(&mut self, now: Instant) -> Ended {
        let idle = self.settings.idle;
        self.remove_where(|_, entry| {
            entry.users == 0 && now.saturating_duration_since(entry.last_used) >= idle
        })
    }

    /// When the next session will have been idle for too long. One that is busy is not idle, and
    /// whoever leaves it says so.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let idle = self.entries.values().filter(|entry| entry.users == 0);
        idle.map(|entry| entry.last_used + self.settings.idle).min()
    }

    pub(super) fn remove_of(
        &mut self,
        caller: &Caller,
        profile: &str,
        name: &SessionName,
    ) -> Ended {
        let owner = caller.identity();
        self.remove_where(|key, _| {
            key.owner == owner && *key.profile == *profile && key.name == *name
        })
    }

    pub(super) fn remove_all(&mut self) -> Ended {
        self.remove_where(|_, _| true)
    }

    fn remove_where(&mut self, over: impl Fn(&Key, &Entry) -> bool) -> Ended {
        let gone = self.entries.extract_if(|key, entry| over(key, entry));
        gone.map(|(_, entry)| entry.slot).collect()
    }

    pub(super) fn infos(
        &self,
        caller: &Caller,
        profile: Option<&str>,
        now: Instant,
    ) -> Vec<SessionInfo> {
        let owner = caller.identity();
        let theirs = self.entries.iter().filter(|(key, _)| {
            key.owner == owner && profile.is_none_or(|profile| *key.profile == *profile)
        });
        let mut infos: Vec<SessionInfo> = theirs
            .map(|(key, entry)| {
                let busy = entry.users > 0;
                let since = now.saturating_duration_since(entry.last_used);
                let idle = if busy { Duration::ZERO } else { since };
                SessionInfo {
                    name: key.name.clone(),
                    language: key.language,
                    profile: key.profile.to_string(),
                    runs: entry.runs,
                    busy,
                    idle,
                    idle_expires: self.expiry_of(idle),
                }
            })
            .collect();
        infos.sort_by(|one, other| {
            let key = |info: &SessionInfo| {
                (info.name.clone(), info.profile.clone(), info.language.name())
            };
            key(one).cmp(&key(other))
        });
        infos
    }

    /// When a session ends that has been idle for so long.
    pub(super) fn expiry_of(&self, idle: Duration) -> SystemTime {
        SystemTime::now() + self.settings.idle.saturating_sub(idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(id: &str) -> Caller {
        Caller { id: Some(id.into()), ..Caller::anonymous() }
    }

    fn key(caller_id: &str, name: &str) -> Key {
        let name = SessionName::try_new(name).unwrap();
        Key::new(&caller(caller_id), "default", Language::Python, name)
    }

    fn table(per_caller: usize, total: usize) -> Table {
        let idle = Duration::from_secs(60);
        let settings = SessionSettings { per_caller, total, idle };
        Table { settings, ..Table::new(usize::MAX) }
    }

    /// A session that has had a run, and is idle since.
    fn used(table: &mut Table, key: &Key, at: Instant) -> Arc<Slot> {
        let (slot, _) = table.admit(key, None, at).unwrap();
        table.begin(key, &slot, true);
        table.leave(key, &slot, true, at);
        slot
    }

    fn names(table: &Table, of: &str) -> Vec<String> {
        let infos = table.infos(&caller(of), None, Instant::now());
        infos.iter().map(|info| info.name.to_string()).collect()
    }

    #[test]
    fn a_caller_that_has_its_share_is_told_what_it_has() {
        let (mut table, now) = (table(2, 10), Instant::now());
        used(&mut table, &key("ann", "b"), now);
        used(&mut table, &key("ann", "a"), now);
        let Err(error) = table.admit(&key("ann", "c"), None, now) else { panic!("a third") };
        let words = error.to_string();
        assert!(words.contains("`c`") && words.contains("`a`, `b`"), "{words}");
        assert!(words.contains("with `sessions`"), "{words}");
        assert!(table.admit(&key("ann", "c"), Some(3), now).is_ok(), "a larger share of her own");
        used(&mut table, &key("bob", "c"), now);
        assert!(table.admit(&key("ann", "a"), None, now).is_ok(), "one that is there can be used");
    }

    #[test]
    fn what_was_idle_for_longest_gives_way_but_nothing_that_works() {
        let (mut table, start) = (table(10, 2), Instant::now());
        let second = |n| start + Duration::from_secs(n);
        let old = used(&mut table, &key("ann", "old"), second(0));
        used(&mut table, &key("ann", "newer"), second(1));
        let (_, gone) = table.admit(&key("bob", "x"), None, second(2)).unwrap();
        assert!(gone.len() == 1 && Arc::ptr_eq(&gone[0], &old));
        assert_eq!(names(&table, "ann"), ["newer"]);
        let (_, gone) = table.admit(&key("bob", "y"), None, second(3)).unwrap();
        assert_eq!((gone.len(), names(&table, "ann").len()), (1, 0));
        let refused = table.admit(&key("bob", "z"), None, second(4)).err();
        assert!(matches!(refused, Some(SessionError::AllBusy { limit: 2, .. })));
    }

    #[test]
    fn idle_sessions_end_and_busy_ones_do_not() {
        let (mut table, start) = (table(10, 10), Instant::now());
        used(&mut table, &key("ann", "idle"), start);
        table.admit(&key("ann", "busy"), None, start).unwrap();
        assert_eq!(table.next_expiry(), Some(start + Duration::from_secs(60)));
        assert!(table.sweep(start + Duration::from_secs(59)).is_empty());
        assert_eq!(table.sweep(start + Duration::from_secs(60)).len(), 1);
        assert_eq!(names(&table, "ann"), ["busy"]);
        assert_eq!(table.next_expiry(), None);
    }

    #[test]
    fn a_session_without_a_guest_is_no_session_once_nobody_waits() {
        let (mut table, now) = (table(10, 10), Instant::now());
        let key = key("ann", "a");
        let (slot, _) = table.admit(&key, None, now).unwrap();
        table.admit(&key, None, now).unwrap();
        table.leave(&key, &slot, false, now);
        assert_eq!(names(&table, "ann"), ["a"], "somebody waits for it");
        table.leave(&key, &slot, false, now);
        assert!(names(&table, "ann").is_empty());
    }

    #[test]
    fn whoever_works_in_an_ended_session_leaves_its_successor_alone() {
        let (mut table, now) = (table(10, 10), Instant::now());
        let key = key("ann", "a");
        let (old, _) = table.admit(&key, None, now).unwrap();
        assert_eq!(table.remove_of(&caller("ann"), "default", &key.name).len(), 1);
        let (new, _) = table.admit(&key, None, now).unwrap();
        table.leave(&key, &old, false, now);
        assert!(!table.has(&key, &old) && table.has(&key, &new));
    }

    #[test]
    fn nobody_sees_or_ends_the_sessions_of_others() {
        let (mut table, now) = (table(10, 10), Instant::now());
        let name = SessionName::try_new("a").unwrap();
        used(&mut table, &key("ann", "a"), now);
        assert!(names(&table, "bob").is_empty());
        assert!(table.infos(&Caller::anonymous(), None, now).is_empty());
        assert!(table.remove_of(&caller("bob"), "default", &name).is_empty());
        assert!(table.remove_of(&caller("ann"), "other", &name).is_empty());
        assert_eq!(names(&table, "ann"), ["a"]);
    }
}
