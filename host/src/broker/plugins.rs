//! Plugins as targets of calls, and the roads of their own that they call by.
//!
//! A plugin is called as a server is, and by the same steps. What is different comes after them: it
//! runs here, on what its caller has. Its own calls take a **nested road**, with
//! * a policy that grants what its caller may do, *and* its operator lets it do, *and* it asked for;
//! * limits of which none is above its caller's. Its fuel is its caller's ([`super::fuel`]), its calls
//!   count as its caller's too, and its time is within its call's;
//! * a record of its own, which says by which call of which run it came to be.
//!
//! What it reports and what its servers say goes to whoever watches its caller. When a call is
//! dropped, the plugin is stopped at once, and whatever it had under way with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::context::{CallLog, Lineage, RunContext, Session, SessionScope, Shared};
use super::fuel::Reservation;
use super::run::BrokerRun;
use crate::events::RunEvent;
use crate::grants::Policy;
use crate::ids::{CallId, RunId, ToolName, UpstreamName};
use crate::journal::{EntryKind, PluginOrigin};
use crate::limits::{LimitKind, LimitReached, Limits, Usage};
use crate::sandbox::{Exhausted, RunCalls};
use crate::tool::{CallAnswer, CallError, Json, Phase};
use crate::upstream::{Access, Catalog, UpstreamError};

/// How many plugins may wait for one another, each called by the one before.
pub const MAX_PLUGIN_DEPTH: u32 = 4;

/// Events of a plugin that wait for its caller's watcher.
const QUEUE: usize = 64;

/// As much of what a plugin printed as becomes an event.
const PRINTED_BYTES: usize = 16 << 10;

/// The plugins that there are at one moment. A run keeps those that there were when it began.
#[async_trait]
pub trait PluginTools: Send + Sync + 'static {
    /// Their names, in the operator's order.
    fn names(&self) -> Vec<UpstreamName>;

    /// What one of them offers. May have to wait until it is loaded.
    ///
    /// # Errors
    /// It cannot be used; [`UpstreamError::Plugin`] says why.
    async fn catalog(&self, plugin: &UpstreamName) -> Result<Arc<Catalog>, UpstreamError>;

    /// The same, if it is known without waiting.
    fn known_catalog(&self, plugin: &UpstreamName) -> Option<Arc<Catalog>>;

    /// What it may do at most.
    fn grants(&self, plugin: &UpstreamName) -> Option<PluginGrants>;

    /// What it keeps for a session.
    fn state(&self, plugin: &UpstreamName, session: &Session) -> Option<Arc<dyn PluginState>>;

    /// Runs a tool of a plugin. The call is dropped only together with the host; whoever does not
    /// want it any more cancels it.
    async fn call(&self, call: PluginCall) -> PluginEnd;

    /// Nobody will come back to this session.
    fn session_ended(&self, session: &Session);
}

/// What a plugin may do at most, whoever calls it.
#[derive(Clone, Debug)]
pub struct PluginGrants {
    /// What it may call: what its operator grants and it asks for.
    pub policy: Policy,
    /// The limits of one call.
    pub limits: Limits,
    /// Whether it may ask the person and the model behind its caller.
    pub questions: bool,
    /// Its version, as its author calls it.
    pub version: Option<String>,
    /// SHA-256 of its component, in hexadecimal digits.
    pub digest: Option<Arc<str>>,
}

/// The values that a plugin keeps for one session.
pub trait PluginState: Send + Sync + 'static {
    /// The value under a key.
    fn get(&self, key: &str) -> Option<Json>;
    /// Keeps a value, in place of an earlier one.
    ///
    /// # Errors
    /// There is no room for it.
    fn set(&self, key: &str, value: Json) -> Result<(), Exhausted>;
    /// Forgets a value; tells whether there was one.
    fn delete(&self, key: &str) -> bool;
    /// All keys, sorted.
    fn keys(&self) -> Vec<String>;
}

/// A call of a plugin's tool that has passed all checks.
pub struct PluginCall {
    /// The plugin, and its tool.
    pub name: ToolName,
    /// A JSON object that fits the tool's schema.
    pub arguments: Box<RawValue>,
    /// The road that its own calls take.
    pub calls: Box<dyn RunCalls>,
    /// Its limits; the fuel is reserved for it.
    pub limits: Limits,
    /// Where its randomness comes from.
    pub seed: u64,
    /// Its clock starts at a fixed instant.
    pub repeatable: bool,
    /// Where what it prints and reports goes, if anybody watches.
    pub events: Option<mpsc::Sender<RunEvent>>,
    /// For whose session it is made.
    pub session: Session,
    /// The plugins that wait for it, the last one's caller first.
    pub callers: Vec<UpstreamName>,
    /// When it has to be done.
    pub deadline: Instant,
    /// Nobody wants it any more.
    pub cancel: CancellationToken,
}

/// What became of a [`PluginCall`].
#[derive(Debug)]
pub struct PluginEnd {
    /// The answer, for its caller.
    pub answer: CallAnswer,
    /// What it used; all zero if nothing of it ran.
    pub usage: Usage,
    /// What it printed.
    pub printed: String,
}

/// No plugins.
pub(super) struct NoPlugins;

#[async_trait]
impl PluginTools for NoPlugins {
    fn names(&self) -> Vec<UpstreamName> {
        Vec::new()
    }

    async fn catalog(&self, plugin: &UpstreamName) -> Result<Arc<Catalog>, UpstreamError> {
        Err(UpstreamError::UnknownServer { name: plugin.to_string() })
    }

    fn known_catalog(&self, _: &UpstreamName) -> Option<Arc<Catalog>> {
        None
    }

    fn grants(&self, _: &UpstreamName) -> Option<PluginGrants> {
        None
    }

    fn state(&self, _: &UpstreamName, _: &Session) -> Option<Arc<dyn PluginState>> {
        None
    }

    async fn call(&self, _: PluginCall) -> PluginEnd {
        PluginEnd {
            answer: Err(CallError::Unavailable("there are no plugins".to_owned())),
            usage: Usage::default(),
            printed: String::new(),
        }
    }

    fn session_ended(&self, _: &Session) {}
}

/// Whatever offers tools, servers and plugins, as one user has them: those that there were when it
/// began. Cheap to clone.
#[derive(Clone)]
pub struct Catalogs {
    servers: Access,
    plugins: Arc<dyn PluginTools>,
    /// The names of the plugins that have no server's name.
    names: Arc<[UpstreamName]>,
}

impl Catalogs {
    pub(super) fn new(servers: Access, plugins: Arc<dyn PluginTools>) -> Self {
        let taken = |name: &UpstreamName| servers.settings(name).is_some();
        let names = plugins.names().into_iter().filter(|name| !taken(name)).collect();
        Self { servers, plugins, names }
    }

    /// All names: the servers', then the plugins'.
    pub fn names(&self) -> impl Iterator<Item = &UpstreamName> {
        self.servers.names().chain(&*self.names)
    }

    /// The names of the plugins.
    pub fn plugin_names(&self) -> &[UpstreamName] {
        &self.names
    }

    /// Whether it is a plugin.
    pub fn is_plugin(&self, name: &str) -> bool {
        self.names.iter().any(|plugin| plugin.as_str() == name)
    }

    /// What a server or plugin offers. As [`Access::catalog`].
    ///
    /// # Errors
    /// It cannot be used.
    pub async fn catalog(&self, name: &UpstreamName) -> Result<Arc<Catalog>, UpstreamError> {
        match self.is_plugin(name.as_str()) {
            true => self.plugins.catalog(name).await,
            false => self.servers.catalog(name).await,
        }
    }

    /// The same, if it is known without asking. As [`Access::known_catalog`].
    pub fn known_catalog(&self, name: &UpstreamName) -> Option<Arc<Catalog>> {
        match self.is_plugin(name.as_str()) {
            true => self.plugins.known_catalog(name),
            false => self.servers.known_catalog(name),
        }
    }

    /// The servers.
    pub fn servers(&self) -> &Access {
        &self.servers
    }

    pub(super) fn plugins(&self) -> &Arc<dyn PluginTools> {
        &self.plugins
    }
}

/// Calls a tool of a plugin within what is left of its call's time.
///
/// Cancel-safe: when it is dropped the plugin is stopped, by a worker that sees to its record.
pub(super) async fn call(
    shared: &Arc<Shared>,
    id: CallId,
    name: &ToolName,
    arguments: &RawValue,
    left: Duration,
) -> CallAnswer {
    let plugins = Arc::clone(shared.catalogs().plugins());
    let Some(grants) = plugins.grants(&name.upstream) else {
        return Err(CallError::Unavailable(format!("plugin {} is gone", name.upstream)));
    };
    if shared.depth() >= MAX_PLUGIN_DEPTH {
        return Err(too_deep(shared, name));
    }
    let started = Instant::now();
    let mut limits = shared.limits().at_most(&grants.limits);
    let reserved = tokio::time::timeout(left, shared.fuel().reserve(limits.fuel)).await;
    let fuel = match reserved {
        Ok(Ok(reservation)) => reservation,
        Ok(Err(used_up)) => return Err(no_fuel(name, used_up.total)),
        Err(_) => return Err(no_fuel_in_time(name, started.elapsed())),
    };
    let left = left.saturating_sub(started.elapsed());
    limits.fuel = fuel.amount();
    limits.deadline = limits.deadline.min(left);
    limits.call_timeout = limits.call_timeout.min(left);
    limits.compute_time = limits.compute_time.min(shared.compute_left());
    let cancel = CancellationToken::new();
    let _stop_on_drop = cancel.clone().drop_guard();
    let (events, said) = match shared.is_watched() {
        true => {
            let (events, said) = mpsc::channel(QUEUE);
            (Some(events), Some(said))
        }
        false => (None, None),
    };
    let work = Work {
        caller: Arc::clone(shared),
        call: id,
        name: name.clone(),
        arguments: arguments.to_owned(),
        grants,
        limits,
        fuel,
        events,
        cancel,
        deadline: started + left,
    };
    // In a worker of its own: what it computes is not its caller's computing, and it can come to an
    // orderly end when nobody waits for it any more.
    let worker = tokio::spawn(work.run(plugins));
    let end = told(shared, id, name, said, worker).await;
    match end {
        Ok(answer) => answer,
        Err(error) if error.is_cancelled() => Err(CallError::Cancelled),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// One call of a plugin.
struct Work {
    caller: Arc<Shared>,
    call: CallId,
    name: ToolName,
    arguments: Box<RawValue>,
    grants: PluginGrants,
    limits: Limits,
    fuel: Reservation,
    events: Option<mpsc::Sender<RunEvent>>,
    cancel: CancellationToken,
    deadline: Instant,
}

impl Work {
    async fn run(self, plugins: Arc<dyn PluginTools>) -> CallAnswer {
        let Self { caller, call, name, arguments, grants, limits, mut fuel, .. } = self;
        let PluginGrants { policy, questions, version, digest, .. } = grants;
        let run = RunId::random();
        caller.note_run_of(call, run.clone());
        let of_caller = caller.context();
        let plugin = name.upstream.clone();
        let session = of_caller.session.clone();
        let context = RunContext {
            id: run,
            policy: of_caller.policy.at_most(&policy),
            limits: limits.clone(),
            caller: of_caller.caller.clone(),
            handler: of_caller.handler.clone(),
            meta: of_caller.meta.clone(),
            events: self.events.clone(),
            session: session.clone(),
            seed: seed_of(of_caller.seed, call),
            repeatable: of_caller.repeatable,
        };
        let (seed, repeatable) = (context.seed, context.repeatable);
        let state = plugins.state(&plugin, &session);
        let lineage =
            Lineage { parent: Arc::clone(&caller), plugin: plugin.clone(), questions, state };
        let nested = Arc::new(Shared::nested(lineage, context));
        let log = CallLog::new(Arc::clone(&nested));
        log.journal(EntryKind::Started {
            language: "plugin",
            name: name.to_string(),
            source: "".into(),
            input: Some(arguments.get().to_owned()),
            seed,
            profile: session.profile.to_string(),
            caller: session.caller.id.clone(),
            client: None,
            plugin: Some(Box::new(PluginOrigin {
                parent: caller.context().id.clone(),
                call,
                plugin,
                version,
                digest,
            })),
        })
        .await;
        fuel.begin();
        let end = plugins.call(PluginCall {
            name: name.clone(),
            arguments,
            calls: Box::new(BrokerRun::new(Arc::clone(&nested))),
            limits,
            seed,
            repeatable,
            events: self.events.clone(),
            session,
            callers: caller.callers(),
            deadline: self.deadline,
            cancel: self.cancel,
        });
        let PluginEnd { answer, usage, printed } = end.await;
        fuel.settle(usage.fuel);
        caller.note_computed(usage.compute);
        if let (Some(events), false) = (&self.events, printed.is_empty()) {
            let _ = events.send(printed_event(&name, &printed)).await;
        }
        let outcome = match &answer {
            Ok(output) if output.is_error => "tool.error".to_owned(),
            Ok(_) => "ok".to_owned(),
            Err(CallError::Cancelled) => "cancelled".to_owned(),
            Err(error) => format!("tool.{}", error.kind()),
        };
        log.journal(EntryKind::Ended { outcome }).await;
        answer
    }
}

/// Waits for a worker, and tells the caller's watcher what its plugin reports meanwhile, as said about
/// the caller's own call.
async fn told<T>(
    shared: &Shared,
    id: CallId,
    name: &ToolName,
    said: Option<mpsc::Receiver<RunEvent>>,
    worker: impl Future<Output = T>,
) -> T {
    let Some(mut said) = said else { return worker.await };
    let mut worker = std::pin::pin!(worker);
    let end = loop {
        tokio::select! {
            biased;
            Some(event) = said.recv() => tell(shared, id, name, event).await,
            end = &mut worker => break end,
        }
    };
    while let Ok(event) = said.try_recv() {
        tell(shared, id, name, event).await;
    }
    end
}

async fn tell(shared: &Shared, id: CallId, name: &ToolName, event: RunEvent) {
    let event = match event {
        // How far its own calls have come is no progress of its caller's call.
        RunEvent::Progress { call: None, progress, total, message, params } => {
            RunEvent::Progress { call: Some(id), progress, total, message, params }
        }
        RunEvent::Log { level, logger, data, params, .. } => {
            let logger = logger.or_else(|| Some(name.upstream.to_string()));
            RunEvent::Log { call: Some(id), level, logger, data, params }
        }
        RunEvent::Progress { .. }
        | RunEvent::Printed { .. }
        | RunEvent::CallStarted { .. }
        | RunEvent::CallEnded { .. } => return,
    };
    shared.tell(event).await;
}

/// What a plugin printed is nobody's output: whoever watches has it as an entry of its log.
fn printed_event(name: &ToolName, printed: &str) -> RunEvent {
    let shown = &printed[..printed.floor_char_boundary(PRINTED_BYTES)];
    RunEvent::Log {
        call: None,
        level: "info".to_owned(),
        logger: Some(name.upstream.to_string()),
        data: to_raw_value(shown).unwrap_or_default(),
        params: None,
    }
}

/// A call's own randomness, the same whenever its run is repeated.
fn seed_of(run: u64, call: CallId) -> u64 {
    // SplitMix64's step and finish; 53 bits, as all seeds.
    let mut seed = run.wrapping_add(call.0.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (seed ^ (seed >> 31)) >> 11
}

fn too_deep(shared: &Shared, name: &ToolName) -> CallError {
    let (limit, depth) = (u64::from(MAX_PLUGIN_DEPTH), u64::from(shared.depth()));
    let mut chain: Vec<String> = shared.callers().iter().map(ToString::to_string).collect();
    chain.reverse();
    chain.push(name.upstream.to_string());
    let circle = shared.callers().contains(&name.upstream);
    let advice = match circle {
        true => "they call one another in a circle",
        false => "let one of them call the tools itself",
    };
    CallError::Exhausted {
        reached: LimitReached { kind: LimitKind::Depth, limit, used: depth + 1 },
        message: format!(
            "`{name}` is not called: {limit} plugins may wait for one another, and this would be one \
             more ({}); {advice}",
            chain.join(" → ")
        ),
    }
}

fn no_fuel(name: &ToolName, total: u64) -> CallError {
    CallError::Exhausted {
        reached: LimitReached { kind: LimitKind::Fuel, limit: total, used: total },
        message: format!(
            "`{name}` is not called: a plugin computes on its caller's fuel, and nothing of its \
             {total} is left; do less in one run, or have the operator raise `fuel`"
        ),
    }
}

fn no_fuel_in_time(name: &ToolName, after: Duration) -> CallError {
    CallError::TimedOut {
        after,
        phase: Phase::Queue,
        message: format!(
            "`{name}` is not called: for {} ms all of the run's fuel was held by other calls of \
             plugins; make fewer at once, or have the operator lower `fuel` in their `limits`",
            after.as_millis()
        ),
    }
}

impl SessionScope {
    /// Whether the session is over with the run.
    pub(super) fn is_run(&self) -> bool {
        matches!(self, Self::Run(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_randomness_of_its_own_and_the_same_one_again() {
        let seeds: std::collections::BTreeSet<u64> =
            (0..1000).map(|call| seed_of(7, CallId(call))).collect();
        assert_eq!(seeds.len(), 1000);
        assert_eq!(seed_of(7, CallId(1)), seed_of(7, CallId(1)));
        assert!(seeds.iter().all(|seed| *seed < 1 << 53));
    }
}
