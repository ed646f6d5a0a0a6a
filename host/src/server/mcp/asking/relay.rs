//! Carries what is told about work to whichever request waits for it.

use std::sync::{Mutex, PoisonError};

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::server::mcp::request::{Outbox, Request};
use crate::server::mcp::wire;
use crate::tool::Json;

/// Where notifications about a piece of work go. While no request waits for it they are dropped: there
/// is no stream in which they could be sent.
#[derive(Default)]
pub(in crate::server) struct Relay {
    to: Mutex<Option<Waiting>>,
}

/// A request that waits for the work.
#[derive(Clone)]
struct Waiting {
    outbox: Outbox,
    progress_token: Option<Json>,
}

impl Relay {
    /// From now on this request waits.
    pub(super) fn attach(&self, request: &Request) {
        let progress_token = request.params.meta.progress_token().map(ToOwned::to_owned);
        let outbox = request.exchange.outbox().cloned();
        self.set(outbox.map(|outbox| Waiting { outbox, progress_token }));
    }

    /// From now on none does. Over HTTP its response can only end when we hold it no longer.
    pub(super) fn detach(&self) {
        self.set(None);
    }

    fn set(&self, to: Option<Waiting>) {
        *self.to.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    pub(in crate::server) async fn notify(&self, method: &str, params: &impl Serialize) {
        let to = self.to.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Waiting { outbox, progress_token }) = to else { return };
        let message = if method == "notifications/progress" {
            let Some(params) = progress_token.and_then(|token| with_token(params, token)) else {
                return;
            };
            wire::notification(method, &params)
        } else {
            wire::notification(method, params)
        };
        let _ = outbox.send(message).await;
    }
}

/// A client may name its progress anew each time that it sends a request.
fn with_token(params: &impl Serialize, token: Json) -> Option<IndexMap<String, Json>> {
    let written = to_raw_value(params).ok()?;
    let mut members: IndexMap<String, Json> = serde_json::from_str(written.get()).ok()?;
    members.insert("progressToken".to_owned(), token);
    Some(members)
}
