//! The sessions that are open, as their status is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use super::lock;
use super::target::Target;
use crate::tool::Json;
use crate::upstream::Caller;

/// What is told of a session.
pub(super) struct Entry {
    id: String,
    /// Whose it is, by identity.
    owner: Caller,
    pub(super) created_at: SystemTime,
    last_activity: Mutex<SystemTime>,
    /// As the client was told.
    pub(super) capabilities: Json,
    target: Weak<Target>,
}

impl Entry {
    pub(super) fn new(
        id: &str,
        caller: &Caller,
        capabilities: &Json,
        target: &Arc<Target>,
    ) -> Arc<Self> {
        let now = SystemTime::now();
        Arc::new(Self {
            id: id.to_owned(),
            owner: caller.identity(),
            created_at: now,
            last_activity: Mutex::new(now),
            capabilities: capabilities.clone(),
            target: Arc::downgrade(target),
        })
    }

    /// Something happens in it now.
    pub(super) fn touch(&self) {
        *lock(&self.last_activity) = SystemTime::now();
    }

    pub(super) fn last_activity(&self) -> SystemTime {
        *lock(&self.last_activity)
    }

    /// Whether its server is there.
    pub(super) fn is_connected(&self) -> bool {
        self.target.upgrade().is_some_and(|target| !target.is_lost())
    }
}

/// All of them, by their ids.
#[derive(Default)]
pub(super) struct Table(Arc<Mutex<HashMap<String, Arc<Entry>>>>);

impl Table {
    /// Puts one in, until the guard is dropped.
    pub(super) fn enter(&self, entry: Arc<Entry>) -> Entered {
        lock(&self.0).insert(entry.id.clone(), Arc::clone(&entry));
        Entered { table: Arc::clone(&self.0), entry }
    }

    /// One, for its owner.
    pub(super) fn find(&self, id: &str, caller: &Caller) -> Option<Arc<Entry>> {
        let table = lock(&self.0);
        table.get(id).filter(|entry| entry.owner == caller.identity()).cloned()
    }
}

/// A session that is in the table.
pub(super) struct Entered {
    table: Arc<Mutex<HashMap<String, Arc<Entry>>>>,
    pub(super) entry: Arc<Entry>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        lock(&self.table).remove(&self.entry.id);
    }
}
