//! What a session's server says that belongs to no call, as its client is shown it.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::frames::Object;
use super::lock;
use super::outlet::Outlet;
use crate::upstream::ServerNotice;

/// The notifications that clients are shown: those that the original knows.
const SHOWN: [&str; 6] = [
    "notifications/message",
    "notifications/progress",
    "notifications/tools/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/prompts/list_changed",
];

/// Those of them that clients which speak JSON-RPC are sent as such. Of resources they hear if they
/// subscribe, and of their calls with their calls.
const SENT: [&str; 3] = [
    "notifications/tools/list_changed",
    "notifications/resources/list_changed",
    "notifications/prompts/list_changed",
];

/// Notices that wait until the session has begun.
const MAX_EARLY: usize = 64;

/// Hears notices. What comes before the session has begun waits until then.
pub(super) struct Ear {
    outlet: Arc<Outlet>,
    early: Mutex<Option<Vec<ServerNotice>>>,
}

impl Ear {
    pub(super) fn new(outlet: Arc<Outlet>) -> Arc<Self> {
        Arc::new(Self { outlet, early: Mutex::new(Some(Vec::new())) })
    }

    pub(super) fn hear(&self, notice: &ServerNotice) {
        let mut early = lock(&self.early);
        match &mut *early {
            Some(early) if early.len() < MAX_EARLY => early.push(notice.clone()),
            Some(_) => {}
            // Told with the lock held, so that the order stays.
            None => self.tell(notice),
        }
    }

    /// The session has begun.
    pub(super) fn open(&self) {
        let mut early = lock(&self.early);
        for notice in early.take().into_iter().flatten() {
            self.tell(&notice);
        }
    }

    fn tell(&self, notice: &ServerNotice) {
        let params = notice.params.as_ref().map(|params| &***params);
        match &notice.method {
            Some(method) if SHOWN.contains(&&**method) => {
                self.outlet.notification(method, params);
                if SENT.contains(&&**method) {
                    self.outlet.message(method, &json!({}));
                }
            }
            Some(_) => {}
            None => {
                let text = params.and_then(|text| serde_json::from_str(text.get()).ok());
                let text: String = text.unwrap_or_default();
                let details = Object::default().with("details", &format!("ValueError: {text}"));
                let words = format!("Protocol error: {text}");
                self.outlet.activity("error", &words, &details);
            }
        }
    }
}
