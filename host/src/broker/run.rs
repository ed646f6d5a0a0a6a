//! The broker as one run sees it: numbers calls, lets several be under way, and hands completions
//! over in one order.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::arguments::SchemaChecks;
use super::call;
use super::context::{BrokerInner, CallLog, OutCall, RunContext, Shared};
use super::plugins::{Catalogs, NoPlugins, PluginTools};
use super::{asks, offers};
use crate::events::RunEvent;
use crate::grants::Policy;
use crate::ids::{CallId, UpstreamName};
use crate::journal::{EntryKind, JournalStore};
use crate::limits::{LimitKind, LimitReached};
use crate::offers::{Prompt, Resource, ResourceTemplate};
use crate::pauses::Pauses;
use crate::sandbox::{Abilities, CallRequest, Elicited, Exhausted, RunCalls};
use crate::tool::{CallAnswer, CallError, Json, ToolDescription};
use crate::upstream::{Caller, Upstreams};

/// Refusals past the limit on calls that a run may collect without looking at them.
const MAX_REFUSALS: u64 = 10_000;

/// What all runs of a host share on their way out.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<BrokerInner>,
}

impl Broker {
    /// A broker between runs and these upstreams.
    pub fn new(upstreams: Upstreams, journal: Arc<dyn JournalStore>) -> Self {
        let schemas = SchemaChecks::default();
        let plugins: RwLock<Arc<dyn PluginTools>> = RwLock::new(Arc::new(NoPlugins));
        Self { inner: Arc::new(BrokerInner { upstreams, journal, schemas, plugins }) }
    }

    /// Puts these plugins in the place of those before. Runs that have begun keep those.
    pub fn set_plugins(&self, plugins: Arc<dyn PluginTools>) {
        *self.inner.plugins.write().unwrap_or_else(PoisonError::into_inner) = plugins;
        self.inner.upstreams.announce();
    }

    /// Whatever offers tools now, for one user of it.
    pub fn catalogs(&self, caller: Caller) -> Catalogs {
        self.inner.catalogs(caller)
    }

    /// The upstreams behind it.
    pub fn upstreams(&self) -> &Upstreams {
        &self.inner.upstreams
    }

    /// Where records are kept.
    pub fn journal(&self) -> &Arc<dyn JournalStore> {
        &self.inner.journal
    }

    /// The road for one run: what the guest calls, and what the report will want to know.
    pub fn open(&self, run: RunContext) -> (Box<dyn RunCalls>, CallLog) {
        self.road(run, true)
    }

    /// The road for calls behind which there is no guest.
    pub fn open_for_nobody(&self, run: RunContext) -> (Box<dyn RunCalls>, CallLog) {
        self.road(run, false)
    }

    fn road(&self, run: RunContext, has_guest: bool) -> (Box<dyn RunCalls>, CallLog) {
        let shared = Arc::new(Shared::new(Arc::clone(&self.inner), run, has_guest));
        let log = CallLog::new(Arc::clone(&shared));
        (Box::new(BrokerRun::new(shared)), log)
    }
}

/// The guest's end. Dropping it aborts the calls under way.
pub(super) struct BrokerRun {
    shared: Arc<Shared>,
    under_way: JoinSet<(CallId, CallAnswer)>,
    handles: HashMap<CallId, AbortHandle>,
}

impl BrokerRun {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, under_way: JoinSet::new(), handles: HashMap::new() }
    }

    fn number(&self) -> CallId {
        self.shared.next_number()
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
            let wanted = self.wanted(joined);
            if wanted.is_some() {
                return wanted;
            }
        }
        None
    }

    /// What a worker ended with, if the guest still wants it: a cancelled call's handle is gone, and
    /// so is the guest's interest.
    fn wanted(
        &mut self,
        joined: Result<(CallId, CallAnswer), JoinError>,
    ) -> Option<(CallId, CallAnswer)> {
        match joined {
            Ok((id, answer)) => self.handles.remove(&id).map(|_| (id, answer)),
            Err(error) if error.is_cancelled() => None,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

/// Answers a guest once it can go on: plugins that it called may hold all of its fuel.
async fn on_its_turn<T>(shared: &Shared, answer: T) -> T {
    shared.fuel().owners_turn().await;
    answer
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
        let catalog = self.shared.catalog(&name).await.map_err(|error| {
            let error = self.shared.advice(&name, "").explain(error);
            self.shared.note_outage(Some(name.clone()), &error);
            error
        })?;
        let granted = catalog.tools.iter().filter(|tool| self.shared.policy().grants(&tool.name));
        let names = granted.map(|tool| tool.name.tool.to_string()).collect();
        on_its_turn(&self.shared, Ok(names)).await
    }

    fn resource_servers(&self) -> Vec<String> {
        offers::servers(&self.shared, Policy::may_grant_resources)
    }

    async fn resources(&mut self, server: &str) -> Result<Vec<Resource>, CallError> {
        on_its_turn(&self.shared, offers::resources(&self.shared, server).await).await
    }

    async fn templates(&mut self, server: &str) -> Result<Vec<ResourceTemplate>, CallError> {
        on_its_turn(&self.shared, offers::templates(&self.shared, server).await).await
    }

    fn prompt_servers(&self) -> Vec<String> {
        offers::servers(&self.shared, Policy::may_grant_prompts)
    }

    async fn prompts(&mut self, server: &str) -> Result<Vec<Prompt>, CallError> {
        on_its_turn(&self.shared, offers::prompts(&self.shared, server).await).await
    }

    async fn describe(&mut self, full: &str) -> Result<ToolDescription, CallError> {
        let described = match call::granted_name(&self.shared, full) {
            Ok(name) => call::describe(&self.shared, &name).await,
            Err(error) => Err(error),
        };
        on_its_turn(&self.shared, described).await
    }

    async fn call(&mut self, request: CallRequest) -> CallAnswer {
        let id = self.number();
        let answer = call::make(Arc::clone(&self.shared), id, request).await;
        let answer = on_its_turn(&self.shared, answer).await;
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
            completions.extend(self.wanted(joined));
        }
        self.shared.fuel().owners_turn().await;
        while let Some(joined) = self.under_way.try_join_next() {
            completions.extend(self.wanted(joined));
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
            if let Some(OutCall { method, tool, since, .. }) = call {
                let (error, elapsed) = (Some(CallError::Cancelled.kind()), since.elapsed());
                shared.tell(RunEvent::CallEnded { id, method, tool, error, elapsed }).await;
            }
            (id, Err(CallError::Cancelled))
        });
    }

    fn count(&self) -> u64 {
        self.shared.count()
    }

    fn pauses(&self) -> Pauses {
        self.shared.pauses().clone()
    }

    fn state_get(&mut self, key: &str) -> Option<Json> {
        self.shared.state()?.get(key)
    }

    fn state_set(&mut self, key: &str, value: Json) -> Result<(), Exhausted> {
        match self.shared.state() {
            Some(state) => state.set(key, value),
            None => Err(asks::no_state(&value)),
        }
    }

    fn state_delete(&mut self, key: &str) -> bool {
        self.shared.state().is_some_and(|state| state.delete(key))
    }

    fn state_keys(&mut self) -> Vec<String> {
        self.shared.state().map(|state| state.keys()).unwrap_or_default()
    }

    fn abilities(&self) -> Abilities {
        asks::abilities(&self.shared)
    }

    async fn elicit(&mut self, message: String, schema: Json) -> Result<Elicited, CallError> {
        on_its_turn(&self.shared, asks::elicit(&self.shared, &message, &schema).await).await
    }

    async fn sample(&mut self, params: Json) -> Result<Json, CallError> {
        on_its_turn(&self.shared, asks::sample(&self.shared, params).await).await
    }

    fn lends_fuel(&self) -> bool {
        self.shared.has_plugins()
    }

    fn lend(&mut self, fuel_left: u64) {
        self.shared.fuel().lend(fuel_left);
    }

    fn reclaim(&mut self) -> u64 {
        self.shared.fuel().reclaim()
    }
}
