//! From a file to a plugin that can be called: inspect, compile or find compiled, list the tools.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wasmtime::component::Component;

use super::entries::ListTools;
use super::inspect::{Inspected, inspect};
use super::loaded::{Code, Inner};
use super::typed::Functions;
use super::{Inspection, LoadedPlugin, PluginError, PluginKind, PluginTool, cached, listing};
use crate::limits::Limits;
use crate::sandbox::SandboxError;
use crate::sandbox::bindings::guest::PluginGuestPre;
use crate::sandbox::calls::NoCalls;
use crate::sandbox::drive::{Drive, Stopped};
use crate::sandbox::execution::Sandbox;
use crate::sandbox::ready::{Kind, Maker, Ready};
use crate::sandbox::state::{GuestState, Surroundings};

/// Memory that an instance may have before it is called, and while it lists its tools.
const START_MEMORY_BYTES: u64 = 256 << 20;

/// Changes whenever a file is compiled to something else than before, by this code.
const RECIPE: &[u8] = b"1";

/// A plugin that is larger takes its time to be made ready, as those that bring an interpreter
/// along, and a few are made ahead of time. Others are made as they are needed, in microseconds.
const SHELF_FROM_BYTES: usize = 4 << 20;

/// How many are made ahead of time.
const SHELF_SIZE: usize = 2;

/// What a plugin may use to list its tools. It depends on nothing and calls nothing.
fn listing_limits() -> Limits {
    Limits {
        fuel: 5_000_000_000,
        compute_time: Duration::from_secs(2),
        deadline: Duration::from_secs(10),
        memory_bytes: START_MEMORY_BYTES,
        tool_calls: 0,
        output_bytes: 64 << 10,
        argument_bytes: 64 << 10,
        answer_bytes: 1 << 20,
        ..Limits::default()
    }
}

impl Sandbox {
    /// Says what a file is. Runs nothing of it, but reads all of it: large files take a second.
    ///
    /// # Errors
    /// It is no plugin.
    pub fn inspect_plugin(&self, wasm: &[u8]) -> Result<Inspection, PluginError> {
        inspect(wasm).map(|inspected| inspected.inspection)
    }

    /// Compiles a plugin, or takes what was compiled before from the cache, and asks it for its tools.
    /// `name` is for errors and logs.
    ///
    /// # Errors
    /// It is no plugin, or what it says of its tools cannot be used.
    pub async fn load_plugin(&self, name: &str, wasm: &[u8]) -> Result<LoadedPlugin, PluginError> {
        if wasm.len() > super::inspect::MAX_BYTES {
            // Before it is copied.
            inspect(wasm)?;
        }
        let (sandbox, bytes) = (self.clone(), wasm.to_vec());
        let title = format!("the plugin {name}");
        let named = title.clone();
        // Compiling takes up to seconds of every core.
        let compiling = tokio::task::spawn_blocking(move || sandbox.compiled(&named, &bytes));
        let (inspection, component) = match compiling.await {
            Ok(compiled) => compiled?,
            Err(stopped) => {
                tracing::warn!(plugin = name, %stopped, "compiling stopped");
                let detail = "the compiler gives up on it".to_owned();
                return Err(PluginError::Damaged { detail });
            }
        };
        let engine = self.engine();
        let refused = |source| SandboxError::Component { name: title.clone(), source };
        let prepared = engine.linker.instantiate_pre(&component).map_err(refused)?;
        let shelf_size =
            if wasm.len() < SHELF_FROM_BYTES { 0 } else { SHELF_SIZE.min(self.ready_count()) };
        let mut left_out = Vec::new();
        let (tools, code, worker) = match inspection.kind {
            PluginKind::Toolcell => {
                let prepared = PluginGuestPre::new(prepared).map_err(refused)?;
                let maker = Maker::new(title.clone(), engine, prepared, shelf_size)
                    .with_memory_bytes(START_MEMORY_BYTES);
                let maker = Arc::new(maker);
                let tools = listed(name, &maker).await?;
                let worker = keep_filled(&maker, shelf_size);
                (tools, Code::Toolcell(maker), worker)
            }
            PluginKind::Typed => {
                let found = Functions::of(&component, &engine.engine)?;
                left_out = found.left_out;
                let maker = Maker::new(title.clone(), engine, prepared, shelf_size)
                    .with_memory_bytes(START_MEMORY_BYTES);
                let maker = Arc::new(maker);
                // Whether it can be started at all is better known now than at its first call.
                started(&maker).await?;
                let worker = keep_filled(&maker, shelf_size);
                (found.tools, Code::Typed(maker, found.functions), worker)
            }
        };
        let name = name.to_owned();
        let inner = Inner { name, inspection, tools, left_out, code, worker };
        Ok(LoadedPlugin { inner: Arc::new(inner) })
    }

    /// Blocks, for seconds if the plugin is large and not in the cache.
    fn compiled(&self, name: &str, wasm: &[u8]) -> Result<(Inspection, Component), PluginError> {
        let Inspected { inspection, made } = inspect(wasm)?;
        let engine = self.engine();
        let path = {
            let mut hasher = blake3::Hasher::new();
            hasher.update(RECIPE).update(wasm);
            let hash = &hasher.finalize().to_hex()[..32];
            let folder = self.cache().path(format!("{}{hash}", cached::PREFIX));
            folder.join(engine.code_file())
        };
        if let Some(component) = self.load_compiled(&path) {
            cached::note_use(&path);
            return Ok((inspection, component));
        }
        cached::remove_unused(self.cache());
        let component = made.as_deref().unwrap_or(wasm);
        let code = engine
            .engine
            .precompile_component(component)
            .map_err(|source| SandboxError::Component { name: name.to_owned(), source })?;
        // Two processes may do this at once: both write the same, each as a whole.
        self.cache().write(&path, &code)?;
        let component = self.load_compiled(&path).ok_or_else(|| SandboxError::Cache {
            action: "load the code just compiled from",
            path,
            source: std::io::Error::other("it is not what was written"),
        })?;
        Ok((inspection, component))
    }
}

fn keep_filled<K: Kind>(
    maker: &Arc<Maker<K>>,
    shelf_size: usize,
) -> Option<tokio::task::AbortHandle> {
    (shelf_size > 0).then(|| tokio::spawn(Arc::clone(maker).keep_filled()).abort_handle())
}

/// An instance, made to see whether it can be.
async fn started<K: Kind>(maker: &Maker<K>) -> Result<Ready<K::Guest>, PluginError> {
    maker.take().await.map_err(|error| match error {
        SandboxError::Instantiate { source, .. } => PluginError::Start(format!("{source:#}")),
        error => PluginError::Sandbox(error),
    })
}

/// Asks the plugin for its tools, in an instance that is thrown away and in a world without tools.
async fn listed(
    name: &str,
    maker: &Maker<PluginGuestPre<GuestState>>,
) -> Result<Vec<PluginTool>, PluginError> {
    let ready = started(maker).await?;
    let limits = listing_limits();
    let carried_bytes = limits.answer_bytes;
    let surroundings = Surroundings {
        limits,
        calls: Box::new(NoCalls),
        live: None,
        directories: Vec::new(),
        seed: 0,
        repeatable: true,
    };
    let started = Instant::now();
    let drive = Drive { surroundings, started, fuel_before: 0, name, carried_bytes };
    let driven = drive.drive(ready, ListTools, &CancellationToken::new()).await?;
    maker.retire(driven.ready.store);
    match driven.end {
        Ok(definitions) => listing::checked(definitions),
        Err(Stopped::Limit(reached)) => Err(PluginError::ListingLimit(reached)),
        Err(Stopped::Exited(status)) => {
            Err(PluginError::ListingTrapped(format!("it ends itself with status {status}")))
        }
        Err(Stopped::Trapped(why)) => Err(PluginError::ListingTrapped(why)),
        Err(Stopped::Cancelled) => Err(PluginError::ListingTrapped("it was cancelled".to_owned())),
    }
}
