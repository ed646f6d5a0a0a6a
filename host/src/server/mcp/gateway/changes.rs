//! Tells clients when a list that they were shown is another now. Servers say that something changed
//! more often than anything does, and some clients hang when they are told at the wrong moment: so a
//! client hears of it only when what it would be shown differs from what it was shown, and never
//! before it asked for the first time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use super::View;
use super::lists::{Fingerprint, Item};
use crate::server::mcp::Facade;
use crate::server::mcp::request::{Peer, Request};
use crate::server::mcp::wire;
use crate::upstream::Caller;

/// Changes come in bursts; this long after the first one they are looked at.
const SETTLE: Duration = Duration::from_millis(100);

/// A list of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum List {
    Tools,
    Resources,
    Templates,
    Prompts,
}

impl List {
    /// What is said when it changed.
    pub(super) fn notification(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Resources | Self::Templates => "notifications/resources/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
        }
    }
}

/// What lists looked like when they were shown.
pub(super) type Shown = BTreeMap<List, Fingerprint>;

/// What one client was shown, and what it wants to hear of.
#[derive(Default)]
pub(in crate::server::mcp) struct Watched {
    shown: Mutex<Shown>,
    is_watched: AtomicBool,
    /// The resources whose changes it is told, by its URIs for them.
    pub(super) updates: Mutex<BTreeMap<String, AbortOnDropHandle<()>>>,
}

impl Watched {
    fn shown(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facade {
    /// Whether clients of this profile are told when lists change.
    pub(super) fn tells_changes(&self, view: &View) -> bool {
        let endpoint = view.profile.endpoint;
        let shows_plugins = view.of_tools().next().is_some() || self.may_have_plugins();
        let shows_others = endpoint.gateway || shows_plugins;
        shows_others && endpoint.list_changed && self.settings().list_changed
    }

    /// A client is shown a list. From the first one on it is told when a list that it knows changes;
    /// clients of the modern era ask for that themselves.
    pub(super) fn note_shown(&self, request: &Request, view: &View, list: List, items: &[Item]) {
        let peer = &request.exchange.peer;
        // Who never introduced itself has no connection on which it could hear of anything.
        if request.client.is_modern() || peer.client().is_none() || !self.tells_changes(view) {
            return;
        }
        peer.watched.shown().insert(list, Fingerprint::of(items));
        if !peer.watched.is_watched.swap(true, Ordering::Relaxed) {
            let watching = self.clone().watch_lists(Arc::clone(peer), request.caller.clone());
            tokio::spawn(watching);
        }
    }

    /// Looks at the lists whenever a server said something, until the client is gone.
    async fn watch_lists(self, peer: Arc<Peer>, caller: Caller) {
        let mut news = self.host().upstreams().news();
        // Something may have happened since the list was made.
        news.mark_changed();
        let watching = async {
            while news.changed().await.is_ok() {
                tokio::time::sleep(SETTLE).await;
                news.borrow_and_update();
                let before = peer.watched.shown().clone();
                let Ok(view) = self.view(&caller) else { continue };
                let (now, told) = self.compare(&view, &before).await;
                peer.watched.shown().extend(now);
                for notification in told {
                    let message = wire::notification(notification, &json!({}));
                    if peer.outbox.send(message).await.is_err() {
                        return;
                    }
                }
            }
        };
        tokio::select! {
            () = peer.gone.cancelled() => {}
            () = watching => {}
        }
    }

    /// How these lists look now, and what there is to tell of it.
    pub(super) async fn compare(&self, view: &View, before: &Shown) -> (Shown, Vec<&'static str>) {
        let (mut now, mut told) = (Shown::new(), Vec::new());
        for (list, shown) in before {
            let print = Fingerprint::of(&self.items(view, *list).await);
            now.insert(*list, print);
            if print != *shown && !told.contains(&list.notification()) {
                told.push(list.notification());
            }
        }
        (now, told)
    }
}
