//! What belongs to one user of the pool, a run usually: for whom it calls, and the connections that
//! are its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::link::Link;
use super::server::Server;
use crate::ids::UpstreamName;
use crate::upstream::caller::Caller;

/// A connection of one user's own, and the server that closes it.
type Owned = (Arc<Link>, Weak<Server>);

/// One user of the pool.
pub(super) struct Scope {
    pub(super) caller: Caller,
    /// The connections of `on-demand` servers, and the servers that close them.
    own: Mutex<HashMap<UpstreamName, Owned>>,
}

impl Scope {
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller, own: Mutex::default() }
    }

    /// This user's own connection to a server, with the settings of a shared one.
    pub(super) fn link(&self, server: &Arc<Server>, like: &Link) -> Arc<Link> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let (link, _) = own
            .entry(server.settings().name.clone())
            .or_insert_with(|| (like.another(), Arc::downgrade(server)));
        Arc::clone(link)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let own = self.own.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (_, (link, server)) in own.drain() {
            if let (Some(open), Some(server)) = (link.shut(), server.upgrade()) {
                server.close_aside(open);
            }
        }
    }
}
