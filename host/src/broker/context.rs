//! What the calls of one run have in common: its context, its counts, and the records of its calls.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};

use super::arguments::SchemaChecks;
use super::error::Advice;
use super::outage::Outage;
use crate::events::RunEvent;
use crate::grants::Policy;
use crate::ids::{CallId, RunId, ToolName, UpstreamName};
use crate::journal::{Entry, EntryKind, JournalStore};
use crate::limits::Limits;
use crate::pauses::Pauses;
use crate::tool::{CallError, CallMethod, Json};
use crate::upstream::{
    Access, Caller, Catalog, ClientHandler, HealthMark, ServerState, UpstreamError, Upstreams,
};

/// How much of a failed call's text the report keeps.
const RECORDED_CHARACTERS: usize = 500;

/// What all runs of a host share on their way out.
pub(super) struct BrokerInner {
    pub(super) upstreams: Upstreams,
    pub(super) journal: Arc<dyn JournalStore>,
    pub(super) schemas: SchemaChecks,
}

/// Whose calls they are and what bounds them.
pub struct RunContext {
    /// The run.
    pub id: RunId,
    /// What it may call.
    pub policy: Policy,
    /// How much.
    pub limits: Limits,
    /// For whom.
    pub caller: Caller,
    /// Who answers what servers ask, instead of the host's own handler.
    pub handler: Option<Arc<dyn ClientHandler>>,
    /// Members of the `_meta` of all its requests, a JSON object: trace context and the like.
    pub meta: Option<Json>,
    /// Who watches.
    pub events: Option<mpsc::Sender<RunEvent>>,
}

/// One call of a run, for its report.
#[derive(Clone, Debug, Serialize)]
pub struct CallRecord {
    /// The tool, as the guest named it; or `server:URI`, or `server.prompt`.
    pub tool: String,
    /// What kind of call it was.
    #[serde(skip_serializing_if = "CallMethod::is_tool")]
    pub method: CallMethod,
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

/// The calls of a run as its report shows them. Readable after the run is gone.
pub struct CallLog {
    shared: Arc<Shared>,
}

impl CallLog {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The calls so far, in the order in which they ended, and after them those that are out. Once
    /// the run is over these were cancelled; they may have taken effect all the same.
    pub fn records(&self) -> Vec<CallRecord> {
        let mut records = self.shared.lock_records().clone();
        records.extend(self.shared.lock_out().values().map(OutCall::as_cancelled));
        records
    }

    /// Which servers failed this run: a call of one, or a server that it may call going down while
    /// it ran.
    pub fn outages(&self) -> Vec<Outage> {
        self.shared.outages()
    }

    /// Writes an entry of the run itself.
    pub async fn journal(&self, kind: EntryKind) {
        self.shared.journal(kind).await;
    }
}

/// A call that left and has not come back.
pub(super) struct OutCall {
    pub(super) method: CallMethod,
    pub(super) tool: ToolName,
    pub(super) since: Instant,
}

impl OutCall {
    fn label(&self) -> String {
        self.method.label(&self.tool)
    }

    fn as_cancelled(&self) -> CallRecord {
        let message =
            format!("the call of `{}` was cancelled; it may have taken effect", self.label());
        CallRecord {
            tool: self.label(),
            method: self.method,
            ok: false,
            elapsed: self.since.elapsed(),
            error: Some(CallFailure { kind: CallError::Cancelled.kind(), message }),
        }
    }
}

/// What the calls of one run have in common.
pub(super) struct Shared {
    broker: Arc<BrokerInner>,
    access: Access,
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
    /// The servers of which a call failed for a reason of the connection.
    outages: Mutex<BTreeMap<UpstreamName, Outage>>,
    /// When the run began, in the book of the servers' health.
    began: HealthMark,
    /// When somebody is asked what one of its servers wants to know.
    pauses: Pauses,
}

impl Shared {
    pub(super) fn new(broker: Arc<BrokerInner>, run: RunContext) -> Self {
        Self {
            places: Semaphore::new(usize::try_from(run.limits.concurrent_calls).unwrap_or(1)),
            access: broker.upstreams.access(run.caller.clone()),
            began: broker.upstreams.health().mark(),
            outages: Mutex::default(),
            pauses: Pauses::default(),
            broker,
            run,
            count: AtomicU64::new(0),
            records: Mutex::default(),
            out: Mutex::default(),
            noted: Mutex::default(),
            keeping: tokio::sync::Mutex::default(),
            catalogs: Mutex::default(),
        }
    }

    /// The number of the next call.
    pub(super) fn next_number(&self) -> CallId {
        CallId(self.count.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// How many calls were started.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.run.limits
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.run.policy
    }

    pub(super) fn schemas(&self) -> &SchemaChecks {
        &self.broker.schemas
    }

    /// The servers that there were when the run began.
    pub(super) fn upstreams(&self) -> &Access {
        &self.access
    }

    /// Who answers what servers ask meanwhile.
    pub(super) fn handler(&self) -> Option<&Arc<dyn ClientHandler>> {
        self.run.handler.as_ref()
    }

    /// When somebody is asked on behalf of the run.
    pub(super) fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    /// For whom its calls are made.
    pub(super) fn caller(&self) -> &Caller {
        &self.run.caller
    }

    /// What goes along with all requests of the run.
    pub(super) fn meta(&self) -> Option<&Json> {
        self.run.meta.as_ref()
    }

    /// Whether anybody watches the run.
    pub(super) fn is_watched(&self) -> bool {
        self.run.events.as_ref().is_some_and(|events| !events.is_closed())
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

    /// What the operator says about the failures of a tool; of its server, if that is no tool.
    pub(super) fn advice(&self, server: &UpstreamName, tool: &str) -> Advice<'_> {
        Advice::of(self.upstreams().settings(server), tool)
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
        method: CallMethod,
        tool: &str,
        failure: Option<(&'static str, &str)>,
        elapsed: Duration,
    ) {
        let error = failure.map(|(kind, message)| CallFailure {
            kind,
            message: message.chars().take(RECORDED_CHARACTERS).collect(),
        });
        let (tool, ok) = (tool.to_owned(), error.is_none());
        self.keep(CallRecord { tool, method, ok, elapsed, error });
    }

    /// A call failed. If that was the server's doing, the run's report will say so.
    pub(super) fn note_outage(&self, server: Option<UpstreamName>, error: &CallError) {
        let Some(server) = server.filter(|_| error.is_of_connection()) else { return };
        self.lock_outages().entry(server.clone()).or_insert_with(|| Outage::new(server)).add(error);
    }

    fn outages(&self) -> Vec<Outage> {
        let mut outages = self.lock_outages().clone();
        for transition in self.broker.upstreams.health().transitions_after(self.began) {
            let server = transition.server.as_str();
            let concerns = transition.to == ServerState::Down
                && self.has_server(server)
                && self.policy().may_grant_server(server);
            if concerns {
                let name = transition.server.clone();
                outages.entry(name).or_insert_with(|| Outage::went_down(&transition));
            }
        }
        outages.into_values().collect()
    }

    /// A call leaves: from now on it may take effect.
    pub(super) fn leaves(&self, id: CallId, method: CallMethod, tool: &ToolName) {
        let out = OutCall { method, tool: tool.clone(), since: Instant::now() };
        self.lock_out().insert(id, out);
    }

    /// A call came back, if it ever left.
    pub(super) fn came_back(&self, id: CallId) {
        self.lock_out().remove(&id);
    }

    /// Nobody wants the call any more. If it had left, the record says so, and what is returned.
    pub(super) fn give_up(&self, id: CallId) -> Option<OutCall> {
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
    pub(super) fn note(&self, kind: EntryKind) {
        self.lock_noted().push_back(Entry::now(kind));
    }

    /// Hands what is noted to the store, in its order. Cancel-safe: what was not handed over stays
    /// noted for the next one.
    pub(super) async fn keep_noted(&self) {
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

    fn lock_outages(&self) -> std::sync::MutexGuard<'_, BTreeMap<UpstreamName, Outage>> {
        self.outages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_out(&self) -> std::sync::MutexGuard<'_, BTreeMap<CallId, OutCall>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_catalogs(&self) -> std::sync::MutexGuard<'_, HashMap<UpstreamName, Arc<Catalog>>> {
        self.catalogs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
