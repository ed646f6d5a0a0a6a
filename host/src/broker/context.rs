//! What the calls of one run have in common: its context, its counts, and the records of its calls.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::arguments::SchemaChecks;
use super::error::Advice;
use super::fuel::FuelPool;
use super::outage::Outage;
use super::plugins::{Catalogs, PluginState, PluginTools};
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
    /// Replaced as a whole; a run keeps those that there were when it began.
    pub(super) plugins: RwLock<Arc<dyn PluginTools>>,
}

impl BrokerInner {
    pub(super) fn catalogs(&self, caller: Caller) -> Catalogs {
        let plugins = Arc::clone(&self.plugins.read().unwrap_or_else(PoisonError::into_inner));
        Catalogs::new(self.upstreams.access(caller), plugins)
    }
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
    /// What the plugins that it calls keep is kept for this.
    pub session: Session,
    /// Where its randomness comes from.
    pub seed: u64,
    /// Its clock starts at a fixed instant, and so do those of the plugins that it calls.
    pub repeatable: bool,
}

/// Whose things they are that plugins keep from one call to the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// For whom, by identity.
    pub caller: Caller,
    /// Under which profile.
    pub profile: Arc<str>,
    /// Which one.
    pub scope: SessionScope,
}

/// Which of a caller's sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionScope {
    /// One that the caller named.
    Named(Arc<str>),
    /// The caller's connection, as long as it lasts. The name is ours, and nobody else has it.
    Connection(Arc<str>),
    /// One run, and what it calls.
    Run(RunId),
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
    /// For the call of a plugin: the run that it was, under which its own calls are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
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
    /// The run that it is, if it is the call of a plugin.
    run: Option<RunId>,
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
            run: self.run.clone(),
        }
    }
}

/// Where a nested road comes from.
pub(super) struct Lineage {
    /// Who called the plugin.
    pub(super) parent: Arc<Shared>,
    pub(super) plugin: UpstreamName,
    /// Whether it may ask whoever is behind its caller.
    pub(super) questions: bool,
    /// What it keeps.
    pub(super) state: Option<Arc<dyn PluginState>>,
}

/// What the calls of one run have in common. A plugin that is called has one of its own.
pub(super) struct Shared {
    broker: Arc<BrokerInner>,
    catalogs: Catalogs,
    run: RunContext,
    lineage: Option<Lineage>,
    /// How many plugins wait for one another here.
    depth: u32,
    /// For calls that leave the host. Those of plugins take a place of each of their callers too.
    places: Arc<Semaphore>,
    /// For calls of plugins: they wait for calls that leave, and so must not stand in their way.
    plugin_places: Arc<Semaphore>,
    /// What is left to compute with, as far as its guest does not hold it.
    fuel: FuelPool,
    /// What the plugins that it called have computed.
    computed: Mutex<Duration>,
    /// How many calls were started, those of the plugins that it called included.
    spent: AtomicU64,
    /// A plugin was called.
    has_called_plugins: AtomicBool,
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
    seen_catalogs: Mutex<HashMap<UpstreamName, Arc<Catalog>>>,
    /// The servers of which a call failed for a reason of the connection.
    outages: Mutex<BTreeMap<UpstreamName, Outage>>,
    /// When the run began, in the book of the servers' health.
    began: HealthMark,
    /// When somebody is asked what one of its servers wants to know.
    pauses: Pauses,
}

impl Shared {
    /// The calls of a run whose guest computes, or of nobody's: then all of its fuel is for the plugins
    /// that are called.
    pub(super) fn new(broker: Arc<BrokerInner>, run: RunContext, has_guest: bool) -> Self {
        let catalogs = broker.catalogs(run.caller.clone());
        let fuel = match has_guest {
            true => FuelPool::of_guest(run.limits.fuel),
            false => FuelPool::of_nobody(run.limits.fuel),
        };
        Self::made(broker, catalogs, run, fuel, None)
    }

    /// The calls of a plugin that was called.
    pub(super) fn nested(lineage: Lineage, run: RunContext) -> Self {
        let parent = &lineage.parent;
        let (broker, catalogs) = (Arc::clone(&parent.broker), parent.catalogs.clone());
        let fuel = FuelPool::of_guest(run.limits.fuel);
        Self::made(broker, catalogs, run, fuel, Some(lineage))
    }

    fn made(
        broker: Arc<BrokerInner>,
        catalogs: Catalogs,
        run: RunContext,
        fuel: FuelPool,
        lineage: Option<Lineage>,
    ) -> Self {
        let places = usize::try_from(run.limits.concurrent_calls).unwrap_or(usize::MAX);
        let places = || Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        let parent = lineage.as_ref().map(|lineage| &lineage.parent);
        Self {
            places: places(),
            plugin_places: places(),
            began: broker.upstreams.health().mark(),
            outages: Mutex::default(),
            pauses: parent.map_or_else(Pauses::default, |parent| parent.pauses.of_part()),
            depth: parent.map_or(0, |parent| parent.depth + 1),
            broker,
            catalogs,
            run,
            lineage,
            fuel,
            computed: Mutex::default(),
            spent: AtomicU64::new(0),
            has_called_plugins: AtomicBool::new(false),
            count: AtomicU64::new(0),
            records: Mutex::default(),
            out: Mutex::default(),
            noted: Mutex::default(),
            keeping: tokio::sync::Mutex::default(),
            seen_catalogs: Mutex::default(),
        }
    }

    /// The number of the next call.
    pub(super) fn next_number(&self) -> CallId {
        CallId(self.count.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// How many calls were started, those of the plugins that it called included.
    pub(super) fn count(&self) -> u64 {
        self.spent.load(Ordering::Relaxed)
    }

    /// Counts a call, for all who wait for it. Gives the limit of the first of them that may make no
    /// more, with what it would be then, and whether that is the run's own.
    pub(super) fn spend(&self) -> Result<(), (u64, u64, bool)> {
        let mut level = Some(self);
        while let Some(shared) = level {
            let used = shared.spent.fetch_add(1, Ordering::Relaxed) + 1;
            let limit = shared.run.limits.tool_calls;
            if used > limit {
                return Err((limit, used, std::ptr::eq(shared, self)));
            }
            level = shared.parent();
        }
        Ok(())
    }

    fn parent(&self) -> Option<&Self> {
        self.lineage.as_ref().map(|lineage| &*lineage.parent)
    }

    /// How many plugins wait for one another here.
    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    /// Those plugins, the innermost one first.
    pub(super) fn callers(&self) -> Vec<UpstreamName> {
        let mut callers = Vec::new();
        let mut level = self.lineage.as_ref();
        while let Some(lineage) = level {
            callers.push(lineage.plugin.clone());
            level = lineage.parent.lineage.as_ref();
        }
        callers
    }

    /// What the road is for.
    pub(super) fn context(&self) -> &RunContext {
        &self.run
    }

    /// What is left to compute with, as far as its guest does not hold it.
    pub(super) fn fuel(&self) -> &FuelPool {
        &self.fuel
    }

    /// Whether there is any plugin that could be called.
    pub(super) fn has_plugins(&self) -> bool {
        !self.catalogs.plugin_names().is_empty()
    }

    /// How long a plugin that it calls may still compute.
    pub(super) fn compute_left(&self) -> Duration {
        let computed = *self.computed.lock().unwrap_or_else(PoisonError::into_inner);
        self.run.limits.compute_time.saturating_sub(computed)
    }

    /// A plugin that it called has computed for so long; that is its caller's too.
    pub(super) fn note_computed(&self, time: Duration) {
        *self.computed.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }

    /// What the plugin keeps whose calls these are.
    pub(super) fn state(&self) -> Option<&Arc<dyn PluginState>> {
        self.lineage.as_ref().and_then(|lineage| lineage.state.as_ref())
    }

    /// The plugin, if its calls are those of one that may ask whoever is behind its caller.
    pub(super) fn asks_as(&self) -> Option<&UpstreamName> {
        let lineage = self.lineage.as_ref().filter(|lineage| lineage.questions);
        lineage.map(|lineage| &lineage.plugin)
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
        self.catalogs.servers()
    }

    /// The servers and plugins that there were when the run began.
    pub(super) fn catalogs(&self) -> &Catalogs {
        &self.catalogs
    }

    /// Who answers what is asked where the run has nobody of its own.
    pub(super) fn hosts_handler(&self) -> Option<&Arc<dyn ClientHandler>> {
        self.broker.upstreams.handler()
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

    /// Waits for a place among the calls that may be under way at once. Cancel-safe.
    pub(super) async fn place(&self, of_plugin: bool) -> Vec<OwnedSemaphorePermit> {
        let mut permits = Vec::with_capacity(1);
        let mut level = Some(self);
        while let Some(shared) = level {
            let places = if of_plugin { &shared.plugin_places } else { &shared.places };
            // They are never closed.
            permits.extend(Arc::clone(places).acquire_owned().await.ok());
            // A plugin's call takes no place of its callers: it is one of theirs already.
            level = shared.parent().filter(|_| !of_plugin);
        }
        permits
    }

    /// The servers of which this run may see a tool.
    pub(super) fn server_names(&self) -> Vec<String> {
        let granted = |name: &&UpstreamName| self.policy().may_grant_server(name.as_str());
        self.catalogs.names().filter(granted).map(ToString::to_string).collect()
    }

    /// Whether there is such a server, or plugin.
    pub(super) fn has_server(&self, server: &str) -> bool {
        self.catalogs.names().any(|name| name.as_str() == server)
    }

    pub(super) async fn catalog(
        &self,
        server: &UpstreamName,
    ) -> Result<Arc<Catalog>, UpstreamError> {
        if let Some(catalog) = self.lock_catalogs().get(server) {
            return Ok(Arc::clone(catalog));
        }
        let catalog = self.catalogs.catalog(server).await?;
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
        run: Option<RunId>,
    ) {
        let error = failure.map(|(kind, message)| CallFailure {
            kind,
            message: message.chars().take(RECORDED_CHARACTERS).collect(),
        });
        let (tool, ok) = (tool.to_owned(), error.is_none());
        self.keep(CallRecord { tool, method, ok, elapsed, error, run });
    }

    /// A call failed. If that was the server's doing, the run's report will say so.
    pub(super) fn note_outage(&self, server: Option<UpstreamName>, error: &CallError) {
        let Some(server) = server.filter(|_| error.is_of_connection()) else { return };
        let mut level = Some(self);
        while let Some(shared) = level {
            let mut outages = shared.lock_outages();
            outages.entry(server.clone()).or_insert_with(|| Outage::new(server.clone())).add(error);
            // What a plugin had to do without is missing in its caller's answers too.
            level = shared.parent();
        }
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
        let out = OutCall { method, tool: tool.clone(), since: Instant::now(), run: None };
        self.lock_out().insert(id, out);
    }

    /// A call is that of a plugin, and a run of its own.
    pub(super) fn note_run_of(&self, id: CallId, run: RunId) {
        self.has_called_plugins.store(true, Ordering::Relaxed);
        if let Some(out) = self.lock_out().get_mut(&id) {
            out.run = Some(run);
        }
    }

    /// A call came back, if it ever left. Gives the run that it was, if it was that of a plugin.
    pub(super) fn came_back(&self, id: CallId) -> Option<RunId> {
        self.lock_out().remove(&id).and_then(|out| out.run)
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
        self.seen_catalogs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let is_over = self.lineage.is_none() && self.run.session.scope.is_run();
        if is_over && *self.has_called_plugins.get_mut() {
            self.catalogs.plugins().session_ended(&self.run.session);
        }
    }
}
