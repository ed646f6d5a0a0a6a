//! The broker as one run sees it: numbers calls, lets several be under way, and hands completions
//! over in one order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::arguments::SchemaChecks;
use super::call;
use crate::events::RunEvent;
use crate::grants::Policy;
use crate::ids::{CallId, RunId, ToolName, UpstreamName};
use crate::journal::{Entry, EntryKind, JournalStore};
use crate::limits::{LimitKind, LimitReached, Limits};
use crate::sandbox::{CallRequest, RunCalls};
use crate::tool::{CallAnswer, CallError, ToolDescription};
use crate::upstream::{Catalog, UpstreamError, Upstreams};

/// How much of a failed call's text the report keeps.
const RECORDED_CHARACTERS: usize = 500;

/// Refusals past the limit on calls that a run may collect without looking at them.
const MAX_REFUSALS: u64 = 10_000;

/// What all runs of a host share on their way out.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<BrokerInner>,
}

struct BrokerInner {
    upstreams: Upstreams,
    journal: Arc<dyn JournalStore>,
    schemas: SchemaChecks,
}

/// Whose calls they are and what bounds them.
pub struct RunContext {
    /// The run.
    pub id: RunId,
    /// What it may call.
    pub policy: Policy,
    /// How much.
    pub limits: Limits,
    /// Who watches.
    pub events: Option<mpsc::Sender<RunEvent>>,
}

/// One call of a run, for its report.
#[derive(Clone, Debug, Serialize)]
pub struct CallRecord {
    /// The tool, as the guest named it.
    pub tool: String,
    /// Whether it answered without an error.
    pub ok: bool,
    /// How long the upstream took; 0 for a call that never left.
    #[serde(rename = "ms", serialize_with = "crate::limits::as_milliseconds")]
    pub elapsed: Duration,
    /// The error's kind and text.
    pub error: Option<CallFailure>,
}

/// A failed call in a report.
#[derive(Clone, Debug, Serialize)]
pub struct CallFailure {
    /// As in the WIT, or `tool` for the tool's own failure.
    pub kind: &'static str,
    /// The beginning of its text.
    pub message: String,
}

impl Broker {
    /// A broker between runs and these upstreams.
    pub fn new(upstreams: Upstreams, journal: Arc<dyn JournalStore>) -> Self {
        let schemas = SchemaChecks::default();
        Self { inner: Arc::new(BrokerInner { upstreams, journal, schemas }) }
    }

    /// The upstreams behind it.
    pub fn upstreams(&self) -> &Upstreams {
        &self.inner.upstreams
    }

    /// The road for one run: what the guest calls, and what the report will want to know.
    pub fn open(&self, run: RunContext) -> (Box<dyn RunCalls>, CallLog) {
        let shared = Arc::new(Shared {
            places: Semaphore::new(usize::try_from(run.limits.concurrent_calls).unwrap_or(1)),
            broker: Arc::clone(&self.inner),
            run,
            count: AtomicU64::new(0),
            records: Mutex::default(),
            out: Mutex::default(),
            noted: Mutex::default(),
            keeping: tokio::sync::Mutex::default(),
            catalogs: Mutex::default(),
        });
        let log = CallLog { shared: Arc::clone(&shared) };
        (Box::new(BrokerRun { shared, under_way: JoinSet::new(), handles: HashMap::new() }), log)
    }
}

/// The calls of a run as its report shows them. Readable after the run is gone.
pub struct CallLog {
    shared: Arc<Shared>,
}

impl CallLog {
    /// The calls so far, in the order in which they ended, and after them those that are out. Once
    /// the run is over these were cancelled; they may have taken effect all the same.
    pub fn records(&self) -> Vec<CallRecord> {
        let mut records = self.shared.lock_records().clone();
        records.extend(self.shared.lock_out().values().map(OutCall::as_cancelled));
        records
    }

    /// Writes an entry of the run itself.
    pub async fn journal(&self, kind: EntryKind) {
        self.shared.journal(kind).await;
    }
}

/// A call that left and has not come back.
struct OutCall {
    tool: ToolName,
    since: Instant,
}

impl OutCall {
    fn as_cancelled(&self) -> CallRecord {
        let message =
            format!("the call of `{}` was cancelled; it may have taken effect", self.tool);
        CallRecord {
            tool: self.tool.to_string(),
            ok: false,
            elapsed: self.since.elapsed(),
            error: Some(CallFailure { kind: CallError::Cancelled.kind(), message }),
        }
    }
}

/// What the calls of one run have in common.
pub(super) struct Shared {
    broker: Arc<BrokerInner>,
    run: RunContext,
    places: Semaphore,
    count: AtomicU64,
    records: Mutex<Vec<CallRecord>>,
    /// The calls that left and have not come back.
    out: Mutex<BTreeMap<CallId, OutCall>>,
    /// Entries that have their place in the record and are not kept yet.
    noted: Mutex<VecDeque<Entry>>,
    /// Held across the store's work, so that the order stays.
    keeping: tokio::sync::Mutex<()>,
    /// The catalogs that this run has seen. They keep names stable while it runs, and the upstreams'
    /// own lock out of the way of a call.
    catalogs: Mutex<HashMap<UpstreamName, Arc<Catalog>>>,
}

impl Shared {
    pub(super) fn limits(&self) -> &Limits {
        &self.run.limits
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.run.policy
    }

    pub(super) fn schemas(&self) -> &SchemaChecks {
        &self.broker.schemas
    }

    pub(super) fn upstreams(&self) -> &Upstreams {
        &self.broker.upstreams
    }

    pub(super) fn places(&self) -> &Semaphore {
        &self.places
    }

    /// The servers of which this run may see a tool.
    pub(super) fn server_names(&self) -> Vec<String> {
        let granted = |name: &&UpstreamName| self.policy().may_grant_server(name.as_str());
        self.upstreams().names().filter(granted).map(ToString::to_string).collect()
    }

    pub(super) fn has_server(&self, server: &str) -> bool {
        self.upstreams().names().any(|name| name.as_str() == server)
    }

    pub(super) async fn catalog(
        &self,
        server: &UpstreamName,
    ) -> Result<Arc<Catalog>, UpstreamError> {
        if let Some(catalog) = self.lock_catalogs().get(server) {
            return Ok(Arc::clone(catalog));
        }
        let catalog = self.upstreams().catalog(server).await?;
        self.lock_catalogs().insert(server.clone(), Arc::clone(&catalog));
        Ok(catalog)
    }

    /// The granted names that can be told without connecting anything further.
    pub(super) fn known_names(&self) -> Vec<String> {
        let catalogs = self.lock_catalogs();
        let tools = catalogs.values().flat_map(|catalog| catalog.tools.iter());
        let granted = tools.filter(|tool| self.policy().grants(&tool.name));
        granted.map(|tool| tool.name.to_string()).collect()
    }

    pub(super) fn record_call(
        &self,
        tool: &str,
        failure: Option<(&'static str, &str)>,
        elapsed: Duration,
    ) {
        let error = failure.map(|(kind, message)| CallFailure {
            kind,
            message: message.chars().take(RECORDED_CHARACTERS).collect(),
        });
        self.keep(CallRecord { tool: tool.to_owned(), ok: error.is_none(), elapsed, error });
    }

    /// A call leaves: from now on it may take effect.
    pub(super) fn leaves(&self, id: CallId, tool: &ToolName) {
        let out = OutCall { tool: tool.clone(), since: Instant::now() };
        self.lock_out().insert(id, out);
    }

    /// A call came back, if it ever left.
    pub(super) fn came_back(&self, id: CallId) {
        self.lock_out().remove(&id);
    }

    /// Nobody wants the call any more. If it had left, the record says so, and what is returned.
    fn give_up(&self, id: CallId) -> Option<OutCall> {
        let call = self.lock_out().remove(&id)?;
        self.keep(call.as_cancelled());
        Some(call)
    }

    fn keep(&self, record: CallRecord) {
        let mut records = self.lock_records();
        // Refused calls cost a guest nothing, so their number has to be bounded here.
        if (records.len() as u64) < self.limits().tool_calls.saturating_mul(2) {
            records.push(record);
        }
    }

    /// Records an entry; it is kept when this returns.
    pub(super) async fn journal(&self, kind: EntryKind) {
        self.note(kind);
        self.keep_noted().await;
    }

    /// Takes an entry's place in the record without waiting for the store.
    fn note(&self, kind: EntryKind) {
        self.lock_noted().push_back(Entry::now(kind));
    }

    /// Hands what is noted to the store, in its order. Cancel-safe: what was not handed over stays
    /// noted for the next one.
    async fn keep_noted(&self) {
        let _turn = self.keeping.lock().await;
        loop {
            let next = self.lock_noted().front().cloned();
            let Some(entry) = next else { return };
            if let Err(error) = self.broker.journal.append(&self.run.id, entry).await {
                tracing::error!(run = %self.run.id, %error, "the journal did not take an entry");
            }
            self.lock_noted().pop_front();
        }
    }

    fn lock_noted(&self) -> std::sync::MutexGuard<'_, VecDeque<Entry>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn tell(&self, event: RunEvent) {
        if let Some(events) = &self.run.events {
            // Nobody has to watch.
            let _ = events.send(event).await;
        }
    }

    fn lock_records(&self) -> std::sync::MutexGuard<'_, Vec<CallRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_out(&self) -> std::sync::MutexGuard<'_, BTreeMap<CallId, OutCall>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_catalogs(&self) -> std::sync::MutexGuard<'_, HashMap<UpstreamName, Arc<Catalog>>> {
        self.catalogs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The guest's end. Dropping it aborts the calls under way.
struct BrokerRun {
    shared: Arc<Shared>,
    under_way: JoinSet<(CallId, CallAnswer)>,
    handles: HashMap<CallId, AbortHandle>,
}

impl BrokerRun {
    fn number(&self) -> CallId {
        CallId(self.shared.count.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The guest sees an answer now, and the record says so.
    async fn seen(&mut self, id: CallId, answer: CallAnswer) -> CallAnswer {
        let answer = Arc::new(answer);
        self.shared.journal(EntryKind::Completed { call: id, answer: Arc::clone(&answer) }).await;
        Arc::try_unwrap(answer).unwrap_or_else(|kept| (*kept).clone())
    }

    /// The next completion that the guest still wants, or nothing when none is under way.
    async fn next(&mut self) -> Option<(CallId, CallAnswer)> {
        while let Some(joined) = self.under_way.join_next().await {
            match joined {
                // A cancelled call's handle is gone, and so is the guest's interest.
                Ok((id, answer)) if self.handles.remove(&id).is_some() => {
                    return Some((id, answer));
                }
                Ok(_) => {}
                Err(error) if error.is_cancelled() => {}
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            }
        }
        None
    }
}

#[async_trait]
impl RunCalls for BrokerRun {
    fn servers(&self) -> Vec<String> {
        self.shared.server_names()
    }

    async fn names(&mut self, server: &str) -> Result<Vec<String>, CallError> {
        let name = UpstreamName::try_new(server).ok().filter(|name| {
            self.shared.has_server(name.as_str())
                && self.shared.policy().may_grant_server(name.as_str())
        });
        let Some(name) = name else {
            return Err(CallError::UnknownTool(format!(
                "no server `{server}` is granted to this run (granted: {})",
                self.shared.server_names().join(", ")
            )));
        };
        let catalog = self.shared.catalog(&name).await?;
        let granted = catalog.tools.iter().filter(|tool| self.shared.policy().grants(&tool.name));
        Ok(granted.map(|tool| tool.name.tool.to_string()).collect())
    }

    async fn describe(&mut self, full: &str) -> Result<ToolDescription, CallError> {
        let name = ToolName::parse(full).filter(|name| {
            self.shared.policy().grants(name) && self.shared.has_server(name.upstream.as_str())
        });
        match name {
            Some(name) => call::describe(&self.shared, &name).await,
            None => Err(call::unknown(&self.shared, full)),
        }
    }

    async fn call(&mut self, request: CallRequest) -> CallAnswer {
        let id = self.number();
        let answer = call::make(Arc::clone(&self.shared), id, request).await;
        self.seen(id, answer).await
    }

    fn start(&mut self, mut request: CallRequest) -> Result<CallId, LimitReached> {
        let limit = self.shared.limits().tool_calls;
        let id = self.number();
        if id.0 > limit {
            // Only the refusal is kept, not what it was refused for.
            request.arguments = String::new();
        }
        if id.0 > limit.saturating_add(MAX_REFUSALS) {
            return Err(LimitReached { kind: LimitKind::ToolCalls, limit, used: id.0 });
        }
        let shared = Arc::clone(&self.shared);
        let handle =
            self.under_way.spawn(async move { (id, call::make(shared, id, request).await) });
        self.handles.insert(id, handle);
        Ok(id)
    }

    async fn wait(&mut self, timeout: Option<Duration>) -> Vec<(CallId, CallAnswer)> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let first = match deadline {
            None => self.next().await,
            Some(deadline) => {
                match tokio::time::timeout_at(deadline.into(), self.next()).await {
                    Ok(Some(first)) => Some(first),
                    // Nothing is under way: the guest waits for the time alone.
                    Ok(None) => {
                        tokio::time::sleep_until(deadline.into()).await;
                        None
                    }
                    Err(_) => None,
                }
            }
        };
        let mut completions = Vec::from_iter(first);
        while let Some(joined) = self.under_way.try_join_next() {
            match joined {
                Ok((id, answer)) if self.handles.remove(&id).is_some() => {
                    completions.push((id, answer));
                }
                Ok(_) => {}
                Err(error) if error.is_cancelled() => {}
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            }
        }
        let mut seen = Vec::with_capacity(completions.len());
        for (id, answer) in completions {
            seen.push((id, self.seen(id, answer).await));
        }
        seen
    }

    fn cancel(&mut self, id: CallId) {
        let Some(handle) = self.handles.remove(&id) else { return };
        handle.abort();
        let shared = Arc::clone(&self.shared);
        let call = shared.give_up(id);
        // Noted here, since whatever the guest starts next comes after it in the record; the guest
        // does not wait until it is kept.
        shared.note(EntryKind::Cancelled { call: id });
        self.under_way.spawn(async move {
            shared.keep_noted().await;
            if let Some(OutCall { tool, since }) = call {
                let (error, elapsed) = (Some(CallError::Cancelled.kind()), since.elapsed());
                shared.tell(RunEvent::CallEnded { id, tool, error, elapsed }).await;
            }
            (id, Err(CallError::Cancelled))
        });
    }

    fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }
}
