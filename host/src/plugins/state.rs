//! What plugins keep from one call to the next: values by key, for one session each. Nobody else's
//! plugin, caller, profile or session sees them.
//!
//! It is memory of this process and lent, not given: a session's share is bounded, one that nobody
//! uses for a while is forgotten, and so is the one that was idle for longest when all sessions
//! together have too much.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::broker::{PluginState, Session};
use crate::ids::UpstreamName;
use crate::limits::{LimitKind, LimitReached};
use crate::sandbox::Exhausted;
use crate::tool::Json;

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct StateLimits {
    /// Keys of one plugin in one session.
    pub(super) keys: usize,
    /// Bytes of their names and values together.
    pub(super) bytes: usize,
    /// Bytes of all plugins in all sessions.
    pub(super) total_bytes: usize,
    /// A session that is not used for so long is forgotten.
    pub(super) idle: Duration,
}

impl Default for StateLimits {
    fn default() -> Self {
        let idle = Duration::from_secs(60 * 60);
        Self { keys: 256, bytes: 1 << 20, total_bytes: 64 << 20, idle }
    }
}

/// What an entry takes besides its texts.
const ENTRY_BYTES: usize = 64;

/// All that is kept. Cheap to clone.
#[derive(Clone)]
pub(super) struct States {
    store: Arc<Mutex<Store>>,
}

type Key = (UpstreamName, Session);

struct Store {
    limits: StateLimits,
    kept: HashMap<Key, Values>,
    bytes: usize,
    swept: Instant,
}

struct Values {
    by_key: BTreeMap<String, Json>,
    bytes: usize,
    last_used: Instant,
}

impl States {
    pub(super) fn new(limits: StateLimits) -> Self {
        let (kept, bytes, swept) = (HashMap::new(), 0, Instant::now());
        Self { store: Arc::new(Mutex::new(Store { limits, kept, bytes, swept })) }
    }

    /// What a plugin keeps for a session.
    pub(super) fn of(&self, plugin: &UpstreamName, session: &Session) -> Arc<dyn PluginState> {
        Arc::new(Handle { states: self.clone(), key: (plugin.clone(), session.clone()) })
    }

    /// Forgets what all plugins keep for a session.
    pub(super) fn end(&self, session: &Session) {
        let mut store = self.lock();
        let gone = store.kept.extract_if(|(_, of), _| of == session);
        let bytes: usize = gone.map(|(_, values)| values.bytes).sum();
        store.bytes -= bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`States::of`].
struct Handle {
    states: States,
    key: Key,
}

impl PluginState for Handle {
    fn get(&self, key: &str) -> Option<Json> {
        let mut store = self.states.lock();
        store.values(&self.key, Instant::now())?.by_key.get(key).cloned()
    }

    fn set(&self, key: &str, value: Json) -> Result<(), Exhausted> {
        self.states.lock().set(&self.key, key, value, Instant::now())
    }

    fn delete(&self, key: &str) -> bool {
        self.states.lock().delete(&self.key, key, Instant::now())
    }

    fn keys(&self) -> Vec<String> {
        let mut store = self.states.lock();
        let values = store.values(&self.key, Instant::now());
        values.map(|values| values.by_key.keys().cloned().collect()).unwrap_or_default()
    }
}

impl Store {
    fn values(&mut self, of: &Key, now: Instant) -> Option<&mut Values> {
        self.sweep(now);
        let values = self.kept.get_mut(of)?;
        values.last_used = now;
        Some(values)
    }

    fn set(&mut self, of: &Key, key: &str, value: Json, now: Instant) -> Result<(), Exhausted> {
        let limits = self.limits;
        let new = size(key, &value);
        let values = self.values(of, now);
        let old = values.as_ref().and_then(|values| values.by_key.get(key));
        let (keys, bytes) = match &values {
            Some(values) => (values.by_key.len() + usize::from(old.is_none()), values.bytes),
            None => (1, 0),
        };
        let bytes = bytes - old.map_or(0, |old| size(key, old)) + new;
        let plugin = &of.0;
        if keys > limits.keys {
            let reached = reached(LimitKind::StateKeys, limits.keys, keys);
            let message = format!(
                "plugin `{plugin}` keeps {} keys for this session and may keep no more; delete some",
                limits.keys
            );
            return Err(Exhausted { reached, message });
        }
        if bytes > limits.bytes {
            let reached = reached(LimitKind::State, limits.bytes, bytes);
            let message = format!(
                "plugin `{plugin}` would keep {bytes} bytes for this session and may keep {}; delete \
                 some keys, or keep less under them",
                limits.bytes
            );
            return Err(Exhausted { reached, message });
        }
        let values = self.kept.entry(of.clone()).or_insert_with(|| Values {
            by_key: BTreeMap::new(),
            bytes: 0,
            last_used: now,
        });
        values.by_key.insert(key.to_owned(), value);
        self.bytes = self.bytes - values.bytes + bytes;
        values.bytes = bytes;
        self.make_room(of);
        Ok(())
    }

    fn delete(&mut self, of: &Key, key: &str, now: Instant) -> bool {
        let Some(values) = self.values(of, now) else { return false };
        let Some(old) = values.by_key.remove(key) else { return false };
        let freed = size(key, &old);
        values.bytes -= freed;
        let is_empty = values.by_key.is_empty();
        self.bytes -= freed;
        if is_empty {
            self.kept.remove(of);
        }
        true
    }

    /// Forgets sessions until the others have room, the one that was idle for longest first, but not
    /// the one that is at work. A tenth more than need be, so that this is not done at every call.
    fn make_room(&mut self, keeping: &Key) {
        let limit = self.limits.total_bytes;
        if self.bytes <= limit {
            return;
        }
        let others = self.kept.iter().filter(|(key, _)| *key != keeping);
        let mut by_age: Vec<_> =
            others.map(|(key, values)| (values.last_used, key.clone())).collect();
        by_age.sort_by_key(|(last_used, _)| *last_used);
        for (_, key) in by_age {
            if self.bytes <= limit - limit / 10 {
                break;
            }
            if let Some(values) = self.kept.remove(&key) {
                self.bytes -= values.bytes;
            }
        }
    }

    /// Forgets what was idle for too long; looked at a few times in that span.
    fn sweep(&mut self, now: Instant) {
        let idle = self.limits.idle;
        if now.saturating_duration_since(self.swept) < idle / 16 {
            return;
        }
        self.swept = now;
        let is_old = |values: &Values| now.saturating_duration_since(values.last_used) >= idle;
        let gone = self.kept.extract_if(|_, values| is_old(values));
        let bytes: usize = gone.map(|(_, values)| values.bytes).sum();
        self.bytes -= bytes;
    }
}

fn size(key: &str, value: &Json) -> usize {
    key.len() + value.get().len() + ENTRY_BYTES
}

fn reached(kind: LimitKind, limit: usize, used: usize) -> LimitReached {
    LimitReached { kind, limit: limit as u64, used: used as u64 }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::broker::SessionScope;
    use crate::upstream::Caller;

    fn json(text: &str) -> Json {
        RawValue::from_string(text.to_owned()).expect("JSON")
    }

    fn session(caller: &str, profile: &str, name: &str) -> Session {
        Session {
            caller: Caller { id: Some(caller.into()), ..Caller::anonymous() },
            profile: profile.into(),
            scope: SessionScope::Named(name.into()),
        }
    }

    fn plugin(name: &str) -> UpstreamName {
        UpstreamName::try_new(name).expect("a name")
    }

    #[test]
    fn nobody_else_sees_what_is_kept() {
        let states = States::new(StateLimits::default());
        let anns = states.of(&plugin("a"), &session("ann", "p", "s"));
        anns.set("key", json("[1]")).expect("is kept");
        let again = states.of(&plugin("a"), &session("ann", "p", "s"));
        assert_eq!(again.get("key").expect("is there").get(), "[1]");
        for other in [
            states.of(&plugin("b"), &session("ann", "p", "s")),
            states.of(&plugin("a"), &session("bob", "p", "s")),
            states.of(&plugin("a"), &session("ann", "q", "s")),
            states.of(&plugin("a"), &session("ann", "p", "t")),
            states.of(
                &plugin("a"),
                &Session {
                    scope: SessionScope::Connection("s".into()),
                    ..session("ann", "p", "s")
                },
            ),
        ] {
            assert!(other.get("key").is_none() && other.keys().is_empty());
            assert!(!other.delete("key"));
        }
        states.end(&session("ann", "p", "t"));
        assert_eq!(anns.keys(), ["key"]);
        states.end(&session("ann", "p", "s"));
        assert!(anns.keys().is_empty());
        assert_eq!(states.lock().bytes, 0);
    }

    #[test]
    fn a_session_has_its_share_and_no_more() {
        let limits = StateLimits { keys: 2, bytes: 1000, ..StateLimits::default() };
        let states = States::new(limits);
        let state = states.of(&plugin("a"), &session("ann", "p", "s"));
        let large = json(&format!("\"{}\"", "x".repeat(1000)));
        let error = state.set("large", large.clone()).expect_err("too large");
        assert_eq!(error.reached.kind, LimitKind::State);
        assert!(states.lock().kept.is_empty(), "nothing is left of what was refused");
        state.set("b", json("1")).expect("is kept");
        state.set("a", json("2")).expect("is kept");
        let error = state.set("c", json("3")).expect_err("too many");
        assert_eq!((error.reached.kind, error.reached.used), (LimitKind::StateKeys, 3));
        state.set("a", json("4")).expect("takes the place of the first");
        assert!(state.set("a", large).is_err());
        assert_eq!(state.get("a").expect("as it was").get(), "4");
        assert_eq!(state.keys(), ["a", "b"]);
        assert!(state.delete("a") && !state.delete("a"));
        assert!(state.delete("b"));
        assert_eq!(states.lock().bytes, 0);
    }

    #[test]
    fn the_longest_idle_gives_way_and_the_idle_are_forgotten() {
        let limits = StateLimits { total_bytes: 10 * 1000, ..StateLimits::default() };
        let states = States::new(limits);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let value = json(&format!("\"{}\"", "x".repeat(900)));
        let key = |n: usize| (plugin("a"), session("ann", "p", &n.to_string()));
        let mut store = states.lock();
        for n in 0..30 {
            store.set(&key(n), "k", value.clone(), at(n as u64)).expect("is kept");
            assert!(store.bytes <= 10 * 1000);
        }
        assert!(!store.kept.contains_key(&key(0)) && store.kept.contains_key(&key(29)));
        let summed: usize = store.kept.values().map(|values| values.bytes).sum();
        assert_eq!(store.bytes, summed);
        let late = at(29) + limits.idle;
        assert!(store.values(&key(29), late).is_none());
        assert_eq!((store.kept.len(), store.bytes), (0, 0));
    }
}
