//! How each server is, since when, and why: what calls and probes saw of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use indexmap::IndexMap;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::ids::UpstreamName;

/// Transitions that a slow reader may be behind.
const BACKLOG: usize = 256;

/// How a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
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

/// What is known about one server.
#[derive(Clone, Debug, Serialize)]
pub struct ServerHealth {
    /// Which one.
    pub server: UpstreamName,
    /// How it is.
    pub state: ServerState,
    /// Since when it is so.
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
    /// When.
    #[serde(serialize_with = "iso_time")]
    pub at: SystemTime,
    /// Why, if it is down.
    pub cause: Option<Arc<str>>,
}

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
    servers: Mutex<IndexMap<UpstreamName, ServerHealth>>,
    transitions: broadcast::Sender<Transition>,
}

impl Default for Health {
    fn default() -> Self {
        let servers = Mutex::default();
        let transitions = broadcast::Sender::new(BACKLOG);
        Self { inner: Arc::new(Inner { servers, transitions }) }
    }
}

impl Health {
    /// All servers that are known, in the operator's order.
    pub fn snapshot(&self) -> Vec<ServerHealth> {
        self.servers().values().cloned().collect()
    }

    /// One server.
    pub fn of(&self, server: &UpstreamName) -> Option<ServerHealth> {
        self.servers().get(server).cloned()
    }

    /// Told of each transition from now on.
    pub fn transitions(&self) -> broadcast::Receiver<Transition> {
        self.inner.transitions.subscribe()
    }

    /// The servers that there are now; what is known of others is forgotten.
    pub(super) fn keep<'a>(&self, names: impl Iterator<Item = &'a UpstreamName>) {
        let mut servers = self.servers();
        let mut kept = IndexMap::new();
        for name in names {
            let known = servers.swap_remove(name).unwrap_or_else(|| ServerHealth {
                server: name.clone(),
                state: ServerState::Unknown,
                since: SystemTime::now(),
                last_answer: None,
                last_asked: None,
                last_error: None,
                failures: 0,
            });
            kept.insert(name.clone(), known);
        }
        *servers = kept;
    }

    /// Takes note of what somebody saw.
    pub(super) fn observe(&self, server: &UpstreamName, seen: Observation) {
        let mut servers = self.servers();
        let Some(health) = servers.get_mut(server) else { return };
        let now = SystemTime::now();
        health.last_asked = Some(now);
        let (to, cause) = match seen {
            Observation::Answered => {
                health.last_answer = Some(now);
                health.failures = 0;
                (ServerState::Up, None)
            }
            Observation::Failed(cause) => {
                health.failures = health.failures.saturating_add(1);
                health.last_error = Some(Arc::clone(&cause));
                (ServerState::Down, Some(cause))
            }
        };
        if health.state == to {
            return;
        }
        let from = std::mem::replace(&mut health.state, to);
        health.since = now;
        let transition = Transition { server: server.clone(), from, to, at: now, cause };
        drop(servers);
        // Nobody has to listen.
        let _ = self.inner.transitions.send(transition);
    }

    fn servers(&self) -> MutexGuard<'_, IndexMap<UpstreamName, ServerHealth>> {
        self.inner.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn iso_time<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}

fn iso_time_or_nothing<S: serde::Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => iso_time(time, serializer),
        None => serializer.serialize_none(),
    }
}
