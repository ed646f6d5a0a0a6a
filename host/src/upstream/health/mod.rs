//! How each server is, since when, and why: what calls and probes saw of it.
//!
//! [`Health`] is the book of all servers of a host; `record` decides what an answer or a failure
//! makes of a state; `words` makes a cause fit to be printed. What a server can make this book hold
//! is bounded: one cause of at most 500 characters, and the last [`Health::KEPT_TRANSITIONS`] changes
//! of all servers together.

mod record;
mod words;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::ids::UpstreamName;
use record::Record;
pub(crate) use words::one_line;

/// Transitions that a slow reader may be behind.
const BACKLOG: usize = 256;

/// How a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// Nobody has asked it yet, or nobody can without a caller's own credentials.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It cannot be reached, or does not answer.
    Down,
}

impl ServerState {
    /// The name in reports and alerts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What is known about one server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerHealth {
    /// Which one.
    pub server: UpstreamName,
    /// How it is.
    pub state: ServerState,
    /// Since when it is so: for a server that is down, since its first failure.
    #[serde(serialize_with = "iso_time")]
    pub since: SystemTime,
    /// When it last answered.
    #[serde(serialize_with = "iso_time_or_nothing")]
    pub last_answer: Option<SystemTime>,
    /// When it was last asked.
    #[serde(serialize_with = "iso_time_or_nothing")]
    pub last_asked: Option<SystemTime>,
    /// Its last failure, in words; kept after it is up again.
    pub last_error: Option<Arc<str>>,
    /// How often in a row it failed.
    pub failures: u32,
    /// Why no probe asks it, if none does. Calls tell how it is all the same.
    pub unprobed: Option<&'static str>,
}

/// A server went down, or came back.
#[derive(Clone, Debug, Serialize)]
pub struct Transition {
    /// Which one.
    pub server: UpstreamName,
    /// How it was.
    pub from: ServerState,
    /// How it is now.
    pub to: ServerState,
    /// When this was noticed.
    #[serde(serialize_with = "iso_time")]
    pub at: SystemTime,
    /// Since when it is so: for a server that is down, since its first failure.
    #[serde(serialize_with = "iso_time")]
    pub since: SystemTime,
    /// How long it was as it was before.
    #[serde(rename = "lasted_ms", serialize_with = "crate::limits::as_milliseconds")]
    pub lasted: Duration,
    /// Why, if it is down: one line.
    pub cause: Option<Arc<str>>,
}

/// A moment in the life of a [`Health`]; see [`Health::transitions_after`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthMark(u64);

/// What somebody saw of a server.
#[derive(Clone, Debug)]
pub(super) enum Observation {
    /// It answered, whatever it said.
    Answered,
    /// It could not be reached or did not answer.
    Failed(Arc<str>),
}

/// The book of all servers of a host. Cheap to clone; all clones are one book.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    book: Mutex<Book>,
    down_after: AtomicU32,
    transitions: broadcast::Sender<Transition>,
}

#[derive(Default)]
struct Book {
    servers: IndexMap<UpstreamName, Record>,
    /// The last transitions, oldest first.
    past: VecDeque<Transition>,
    /// How many there were ever.
    count: u64,
}

impl Default for Health {
    fn default() -> Self {
        let inner = Inner {
            book: Mutex::default(),
            down_after: AtomicU32::new(Self::DOWN_AFTER),
            transitions: broadcast::Sender::new(BACKLOG),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Health {
    /// After so many failures in a row a server is down, unless [`Health::set_down_after`] says
    /// otherwise.
    pub const DOWN_AFTER: u32 = 2;

    /// How many of the last transitions are kept.
    pub const KEPT_TRANSITIONS: usize = 500;

    /// After so many failures in a row a server is down; at least 1.
    pub fn set_down_after(&self, failures: u32) {
        self.inner.down_after.store(failures.max(1), Ordering::Relaxed);
    }

    /// After so many failures in a row a server is down.
    pub fn down_after(&self) -> u32 {
        self.inner.down_after.load(Ordering::Relaxed)
    }

    /// All servers that are known, in the operator's order.
    pub fn snapshot(&self) -> Vec<ServerHealth> {
        self.book().servers.values().map(|record| record.health.clone()).collect()
    }

    /// One server.
    pub fn of(&self, server: &UpstreamName) -> Option<ServerHealth> {
        self.book().servers.get(server).map(|record| record.health.clone())
    }

    /// Told of each transition from now on.
    pub fn transitions(&self) -> broadcast::Receiver<Transition> {
        self.inner.transitions.subscribe()
    }

    /// The last transitions, oldest first; at most [`Health::KEPT_TRANSITIONS`].
    pub fn past(&self) -> Vec<Transition> {
        self.book().past.iter().cloned().collect()
    }

    /// This moment, for [`Health::transitions_after`].
    pub fn mark(&self) -> HealthMark {
        HealthMark(self.book().count)
    }

    /// The transitions since a moment, oldest first, as far as they are kept.
    pub fn transitions_after(&self, mut mark: HealthMark) -> Vec<Transition> {
        self.news(&mut mark)
    }

    /// As [`Health::transitions_after`]; the mark becomes this moment.
    pub fn news(&self, mark: &mut HealthMark) -> Vec<Transition> {
        let book = self.book();
        let new = usize::try_from(book.count.saturating_sub(mark.0)).unwrap_or(usize::MAX);
        mark.0 = book.count;
        book.past.iter().skip(book.past.len().saturating_sub(new)).cloned().collect()
    }

    /// The servers that there are now, and why one of them is not probed; what is known of others is
    /// forgotten.
    pub(super) fn keep<'a>(
        &self,
        servers: impl Iterator<Item = (&'a UpstreamName, Option<&'static str>)>,
    ) {
        let mut book = self.book();
        let mut kept = IndexMap::new();
        for (name, unprobed) in servers {
            let known = book.servers.swap_remove(name);
            let mut record = known.unwrap_or_else(|| Record::new(name.clone(), SystemTime::now()));
            record.health.unprobed = unprobed;
            kept.insert(name.clone(), record);
        }
        book.servers = kept;
    }

    /// Takes note of what somebody saw.
    pub(super) fn observe(&self, server: &UpstreamName, seen: Observation) {
        let seen = match seen {
            Observation::Answered => Observation::Answered,
            Observation::Failed(cause) => Observation::Failed(one_line(&cause)),
        };
        let mut book = self.book();
        let Some(record) = book.servers.get_mut(server) else { return };
        let transition = record.observe(seen, SystemTime::now(), self.down_after());
        let Some(transition) = transition else { return };
        if book.past.len() >= Self::KEPT_TRANSITIONS {
            book.past.pop_front();
        }
        book.past.push_back(transition.clone());
        book.count += 1;
        // Under the lock, so that all readers see one order. Nobody has to listen.
        let _ = self.inner.transitions.send(transition);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.inner.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time as all reports give it: `2026-07-28T12:00:00.000Z`.
pub(crate) fn iso_time<S: serde::Serializer>(
    time: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}

/// As [`iso_time`].
pub(crate) fn iso_time_or_nothing<S: serde::Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => iso_time(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_is_bounded_whatever_a_server_does() {
        let health = Health::default();
        health.set_down_after(1);
        let name = UpstreamName::try_new("s").unwrap();
        health.keep([(&name, None)].into_iter());
        let before = health.mark();
        let mut listener = health.transitions();
        for _ in 0..Health::KEPT_TRANSITIONS {
            health.observe(&name, Observation::Failed("x\n".repeat(1 << 14).into()));
            health.observe(&name, Observation::Answered);
        }
        assert_eq!(health.past().len(), Health::KEPT_TRANSITIONS);
        assert_eq!(health.transitions_after(before).len(), Health::KEPT_TRANSITIONS);
        assert!(health.transitions_after(health.mark()).is_empty());
        let longest = health.past().into_iter().filter_map(|it| it.cause).map(|it| it.len()).max();
        assert!(longest < Some(600), "{longest:?}");
        assert!(listener.try_recv().is_err(), "who does not read falls behind, and is told so");
        let after = health.mark();
        health.observe(&name, Observation::Failed("gone".into()));
        let after = health.transitions_after(after);
        assert_eq!((after.len(), after[0].to), (1, ServerState::Down));
    }

    #[test]
    fn what_is_reported_is_json_with_iso_times() {
        let health = Health::default();
        let name = UpstreamName::try_new("s").unwrap();
        health.keep([(&name, Some("probe_interval is off"))].into_iter());
        health.observe(&name, Observation::Answered);
        let json = serde_json::to_value(&health.snapshot()[0]).unwrap();
        assert_eq!((&json["state"], &json["failures"]), (&"up".into(), &0.into()));
        let since = json["since"].as_str().unwrap();
        assert!(humantime::parse_rfc3339(since).is_ok() && since.ends_with('Z'), "{since}");
        assert_eq!(json["unprobed"], "probe_interval is off");
        let json = serde_json::to_value(&health.past()[0]).unwrap();
        assert_eq!((&json["from"], &json["to"]), (&"unknown".into(), &"up".into()));
    }
}
