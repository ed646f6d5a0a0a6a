//! Plugins told in WebAssembly's text: honest ones, broken ones, and hostile ones.

mod attacks;
mod calls;
mod files;
mod guests;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{LoadedPlugin, PluginError, PluginExecution, PluginOutcome};
use crate::ids::CallId;
use crate::limits::{LimitKind, LimitReached, Limits};
use crate::sandbox::{Cache, CallRequest, Exhausted, RunCalls, Sandbox, Surroundings};
use crate::tool::{CallAnswer, CallError, Json, ToolDescription, ToolOutput};

/// A sandbox with a cache of its own.
struct Host {
    sandbox: Sandbox,
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::open(&folder.path().join("cache")).expect("the cache opens");
        Self { sandbox: Sandbox::new(cache, 0, 8).expect("the engine starts"), folder }
    }

    async fn load(&self, wasm: &[u8]) -> Result<LoadedPlugin, PluginError> {
        self.sandbox.load_plugin("test", wasm).await
    }

    async fn loaded(&self, wasm: &[u8]) -> LoadedPlugin {
        self.load(wasm).await.unwrap_or_else(|error| panic!("loads: {}", chain(&error)))
    }

    async fn refused(&self, wasm: &[u8]) -> String {
        match self.load(wasm).await {
            Ok(plugin) => panic!("it is taken: {:?}", plugin.tools()),
            Err(error) => chain(&error),
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn surroundings(calls: impl RunCalls, limits: Limits) -> Surroundings {
    Surroundings {
        limits,
        calls: Box::new(calls),
        live: None,
        directories: Vec::new(),
        seed: 7,
        repeatable: true,
    }
}

async fn call(plugin: &LoadedPlugin, tool: &str, arguments: &str) -> PluginExecution {
    call_within(plugin, tool, arguments, Limits::default()).await
}

async fn call_within(
    plugin: &LoadedPlugin,
    tool: &str,
    arguments: &str,
    limits: Limits,
) -> PluginExecution {
    let world = surroundings(World::default(), limits);
    let never = CancellationToken::new();
    plugin.call(tool, arguments, world, &never).await.expect("an instance is made")
}

fn answered(execution: PluginExecution) -> ToolOutput {
    match execution.outcome {
        PluginOutcome::Answered(output) => output,
        other => panic!("it did not answer: {other:?}"),
    }
}

fn structured(execution: PluginExecution) -> serde_json::Value {
    let structured = answered(execution).structured.expect("has structured content");
    serde_json::from_str(structured.get()).expect("is JSON")
}

fn limit(execution: PluginExecution) -> LimitReached {
    match execution.outcome {
        PluginOutcome::LimitReached(reached) => reached,
        other => panic!("no limit: {other:?}"),
    }
}

/// A world in which one tool answers with its arguments, state is kept in a map, and calls cost fuel.
#[derive(Default)]
struct World {
    count: u64,
    state: BTreeMap<String, Json>,
    /// What each call uses of what was lent; nothing is lent for nothing.
    cost: u64,
    pool: u64,
}

#[async_trait]
impl RunCalls for World {
    fn servers(&self) -> Vec<String> {
        vec!["echo".to_owned()]
    }

    async fn names(&mut self, _server: &str) -> Result<Vec<String>, CallError> {
        Ok(vec!["say".to_owned()])
    }

    async fn describe(&mut self, name: &str) -> Result<ToolDescription, CallError> {
        Err(CallError::UnknownTool(name.to_owned()))
    }

    async fn call(&mut self, request: CallRequest) -> CallAnswer {
        self.count += 1;
        self.pool = self.pool.saturating_sub(self.cost);
        Ok(ToolOutput::text(request.arguments))
    }

    fn start(&mut self, _request: CallRequest) -> Result<CallId, LimitReached> {
        Err(LimitReached { kind: LimitKind::ToolCalls, limit: 0, used: 1 })
    }

    async fn wait(&mut self, _timeout: Option<Duration>) -> Vec<(CallId, CallAnswer)> {
        Vec::new()
    }

    fn cancel(&mut self, _id: CallId) {}

    fn count(&self) -> u64 {
        self.count
    }

    fn state_get(&mut self, key: &str) -> Option<Json> {
        self.state.get(key).cloned()
    }

    fn state_set(&mut self, key: &str, value: Json) -> Result<(), Exhausted> {
        self.state.insert(key.to_owned(), value);
        Ok(())
    }

    fn lends_fuel(&self) -> bool {
        self.cost > 0
    }

    fn lend(&mut self, fuel_left: u64) {
        self.pool = fuel_left;
    }

    fn reclaim(&mut self) -> u64 {
        self.pool
    }
}
