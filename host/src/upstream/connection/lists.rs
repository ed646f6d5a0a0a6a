//! What a server lists: its tools, resources, templates and prompts. Each list is asked for once,
//! and again when the server said that it changed or is too old.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use super::remote::{Ask, Patience, Remote, Waited};
use crate::offers::{Offers, Prompt, Resource, ResourceTemplate};
use crate::tool::{Json, Phase};
use crate::upstream::catalog::{self, Catalog};
use crate::upstream::client::CallContext;
use crate::upstream::error::UpstreamError;
use crate::upstream::inbox::Changes;
use crate::upstream::message::{AnswerFault, METHOD_NOT_FOUND, RpcError};
use crate::upstream::offers::{self, Offer};
use crate::upstream::transport::TransportError;

/// All lists of one connection.
#[derive(Default)]
pub(in crate::upstream) struct Lists {
    tools: Slot<Arc<Catalog>>,
    resources: Slot<Arc<Offers<Resource>>>,
    templates: Slot<Arc<Offers<ResourceTemplate>>>,
    prompts: Slot<Arc<Offers<Prompt>>>,
}

/// The place of one list.
pub(in crate::upstream) struct Slot<T> {
    listed: Mutex<Option<Listed<T>>>,
    /// Held across the listing, so that concurrent callers share it.
    listing: tokio::sync::Mutex<()>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { listed: Mutex::default(), listing: tokio::sync::Mutex::default() }
    }
}

/// A list, how many changes the server had announced before it was asked for, and until when the
/// server says that it holds.
struct Listed<T> {
    changes: u64,
    until: Option<Instant>,
    list: T,
}

/// Something that has a place among the [`Lists`].
pub(in crate::upstream) trait Listable: Offer {
    fn slot(lists: &Lists) -> &Slot<Arc<Offers<Self>>>;
}

impl Listable for Resource {
    fn slot(lists: &Lists) -> &Slot<Arc<Offers<Self>>> {
        &lists.resources
    }
}

impl Listable for ResourceTemplate {
    fn slot(lists: &Lists) -> &Slot<Arc<Offers<Self>>> {
        &lists.templates
    }
}

impl Listable for Prompt {
    fn slot(lists: &Lists) -> &Slot<Arc<Offers<Self>>> {
        &lists.prompts
    }
}

impl Remote {
    /// The tools. Concurrent callers share one listing.
    pub(super) async fn catalog(&self) -> Result<Arc<Catalog>, UpstreamError> {
        let list = async |deadline| {
            let mut builder = catalog::Builder::new(self.server.clone(), self.sends_headers);
            let add = |page: &RawValue| builder.add(page);
            let ttl = self.pages("tools/list", self.info.has_tools, add, deadline).await?;
            Ok((Arc::new(builder.finish(&self.info, &self.tools)), ttl))
        };
        self.kept(&self.lists.tools, |changes| changes.tools, list).await
    }

    /// The resources, or templates, or prompts. A server that does not say that it has any is not
    /// asked: many that have none do not even answer.
    pub(super) async fn offers<T: Listable>(&self) -> Result<Arc<Offers<T>>, UpstreamError> {
        if !T::is_offered(&self.info) {
            return Ok(Arc::default());
        }
        let list = async |deadline| {
            let mut builder = offers::Builder::<T>::default();
            let add = |page: &RawValue| builder.add(page);
            let ttl = self.pages(T::METHOD, false, add, deadline).await?;
            Ok((Arc::new(builder.finish()), ttl))
        };
        self.kept(T::slot(&self.lists), T::changes, list).await
    }

    /// A list that is kept, or a new one.
    async fn kept<T: Clone>(
        &self,
        slot: &Slot<T>,
        count: fn(Changes) -> u64,
        list: impl AsyncFnOnce(Instant) -> Result<(T, Option<Duration>), UpstreamError>,
    ) -> Result<T, UpstreamError> {
        if let Some(list) = self.fresh(slot, count) {
            return Ok(list);
        }
        let deadline = super::deadline_after(self.timeouts.handshake);
        let listing = async {
            let _turn = slot.listing.lock().await;
            if let Some(list) = self.fresh(slot, count) {
                return Ok(list);
            }
            // Read before the first page: a change while we list makes the list old.
            let changes = count(self.inbox.changes());
            let (list, ttl) = list(deadline).await?;
            let until = ttl.map(super::deadline_after);
            let listed = Listed { changes, until, list: list.clone() };
            *slot.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some(listed);
            Ok(list)
        };
        tokio::time::timeout_at(deadline, listing).await.unwrap_or_else(|_| {
            Err(UpstreamError::TimedOut {
                server: self.server.clone(),
                phase: Phase::List,
                after: self.timeouts.handshake,
                hint: self.link.hint(),
            })
        })
    }

    fn fresh<T: Clone>(&self, slot: &Slot<T>, count: fn(Changes) -> u64) -> Option<T> {
        let listed = slot.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = listed.as_ref()?;
        let holds = listed.until.is_none_or(|until| Instant::now() < until);
        let same = listed.changes == count(self.inbox.changes());
        (holds && same).then(|| listed.list.clone())
    }

    /// Asks for a list, page by page. Gives how long the server says that it holds. A server that
    /// does not know the method has an empty list, unless it `must_know` it.
    async fn pages(
        &self,
        method: &'static str,
        must_know: bool,
        mut add: impl FnMut(&RawValue) -> Result<Option<String>, String> + Send,
        deadline: Instant,
    ) -> Result<Option<Duration>, UpstreamError> {
        let mut ttl = None;
        let mut cursor: Option<Json> = None;
        loop {
            let own: Vec<_> = cursor.iter().map(|cursor| ("cursor", &**cursor)).collect();
            let ask = Ask { method, own: &own, headers: &[] };
            let patience =
                Patience { deadline, total: self.timeouts.handshake, phase: Phase::List };
            let watch = self.watch(CallContext::default());
            let page = match self.request(&ask, None, &watch, patience).await {
                Ok(page) => page,
                Err(Waited::Failed(error)) if !must_know && is_unknown(&error) => return Ok(ttl),
                Err(error) => return Err(self.judge(error, patience).into_error()),
            };
            ttl = shorter(ttl, time_to_live(&page));
            let next = add(&page).map_err(|problem| self.faults().bad_answer(&problem))?;
            match next.and_then(|next| to_raw_value(&next).ok()) {
                Some(next) => cursor = Some(next),
                None => return Ok(ttl),
            }
        }
    }
}

/// The server does not know the method.
fn is_unknown(error: &TransportError) -> bool {
    matches!(
        error,
        TransportError::Answer(AnswerFault::Rejected(RpcError { code: METHOD_NOT_FOUND, .. }))
    )
}

/// How long a server says that its list holds (`ttlMs`, revision 2026-07-28).
fn time_to_live(page: &RawValue) -> Option<Duration> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        ttl_ms: Option<serde_json::Number>,
    }
    let ttl = serde_json::from_str::<Page>(page.get()).ok()?.ttl_ms?;
    // Without a bound a server could make us list on every call.
    ttl.as_f64().map(|ms| Duration::from_millis(ms.clamp(1000.0, 86_400_000.0) as u64))
}

fn shorter(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
