//! One execution of one program: from a ready instance to an outcome with numbers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use wasmtime::Store;
use wasmtime::component::Component;

use super::bindings::exports::toolcell::guest::script as wit;
use super::bindings::{ScriptRuntime, ScriptRuntimePre};
use super::cache::Cache;
use super::drive::{Drive, Driven, Entry, Stopped, cut, memory_reached};
use super::engine::SandboxEngine;
use super::error::{Exception, Failure, Outcome, SandboxError};
use super::limiter::MemoryLimiter;
use super::ready::{Maker, Ready};
use super::runtimes::{CachedRuntime, Runtimes};
use super::state::{GuestState, Surroundings};
use crate::language::Language;
use crate::limits::{LimitKind, LimitReached, Limits, Usage};

/// Makes sandboxes and runs programs in them. Cheap to clone; the last clone ends the workers.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    cache: Cache,
    engine: SandboxEngine,
    ready_count: usize,
    runtimes: HashMap<Language, OnceCell<Runtime>>,
}

/// A loaded language runtime and the worker that keeps instances of it ready.
struct Runtime {
    maker: Arc<Maker<ScriptRuntimePre<GuestState>>>,
    worker: Option<AbortHandle>,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(worker) = &self.worker {
            worker.abort();
        }
    }
}

/// Source text and what goes with it.
#[derive(Clone, Debug)]
pub struct Program {
    /// The language.
    pub language: Language,
    /// The name that tracebacks show.
    pub name: String,
    /// The text.
    pub source: String,
    /// What the program gets as its input, as JSON.
    pub input: Option<String>,
    /// The modules that it may import; absent means all.
    pub allowed_imports: Option<Vec<String>>,
    /// Whether its calls are compared with the tools' schemas before it runs. Nothing for Python.
    pub check: bool,
}

/// How an execution ended and what it used.
#[derive(Debug)]
pub struct Execution {
    /// How it ended.
    pub outcome: Outcome,
    /// What is kept of its standard output.
    pub stdout: String,
    /// What is kept of its standard error.
    pub stderr: String,
    /// What it used.
    pub usage: Usage,
}

impl Execution {
    /// That of a program that was cancelled while it waited for its turn.
    pub fn never_begun() -> Self {
        Self {
            outcome: Outcome::Cancelled,
            stdout: String::new(),
            stderr: String::new(),
            usage: Usage::default(),
        }
    }
}

impl Sandbox {
    /// How many guests may exist at once where nobody says otherwise. Each needs address space, not
    /// memory, as long as it is not used.
    pub const DEFAULT_MAX_GUESTS: u32 = 2_000;

    /// A sandbox that keeps `ready_count` instances of each runtime ready from its first use on, and
    /// lets `max_guests` exist at once, running, waiting and ready together.
    /// Loads no runtime yet.
    ///
    /// # Errors
    /// The engine cannot start.
    pub fn new(cache: Cache, ready_count: usize, max_guests: u32) -> Result<Self, SandboxError> {
        let runtimes = Language::ALL.map(|language| (language, OnceCell::new())).into();
        let inner = Inner { cache, engine: SandboxEngine::new(max_guests)?, ready_count, runtimes };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Loads a runtime and makes its first instances ready. Builds and compiles the runtime if the
    /// cache does not have it, which takes about half a minute; `progress` is told.
    ///
    /// # Errors
    /// The runtime cannot be built or loaded.
    pub async fn prepare(
        &self,
        language: Language,
        progress: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<(), SandboxError> {
        let runtime = self.runtime(language, progress).await?;
        runtime.maker.fill().await
    }

    /// What the cache has of built runtimes; with `thorough` every file's content is checked.
    pub fn cached_runtimes(&self, thorough: bool) -> Vec<CachedRuntime> {
        self.runtimes().list(thorough)
    }

    /// Removes built runtimes from the cache: those that are stale, or all. Says which.
    ///
    /// # Errors
    /// One cannot be removed.
    pub fn remove_runtimes(&self, all: bool) -> Result<Vec<CachedRuntime>, SandboxError> {
        self.runtimes().remove(all)
    }

    /// Runs a program to its end, whatever that is.
    ///
    /// Cancel-safe: dropping the future drops the guest and cancels its calls. `cancel` does the
    /// same and keeps what was printed and used until then.
    ///
    /// # Errors
    /// No sandbox could be made for it: nothing of it ran.
    pub async fn execute(
        &self,
        program: Program,
        surroundings: Surroundings,
        cancel: &CancellationToken,
    ) -> Result<Execution, SandboxError> {
        let maker = self.maker(program.language).await?;
        // Not before: the first use of a runtime may have to build it, and no run is to blame for that.
        let started = Instant::now();
        let ready = maker.take().await?;
        let run = Run { mode: Mode::Fresh, program, surroundings, started };
        let (execution, ready, _) = run.drive(ready, cancel).await?;
        maker.retire(ready.store);
        Ok(execution)
    }

    /// A guest that serves several programs, one after another, in one namespace. It has run none yet.
    ///
    /// # Errors
    /// There is no room for another guest, or the runtime cannot be loaded.
    pub async fn open(&self, language: Language) -> Result<KeptGuest, SandboxError> {
        let ready = self.maker(language).await?.take().await?;
        Ok(KeptGuest { language, ready: Box::new(ready) })
    }

    /// Runs a program to its end in a guest that is kept. The guest comes back if another program can
    /// follow; it does not if it was stopped from outside in the middle of its work. Between two
    /// programs it has no calls, no listeners and no directories. The memory limit is one for all of
    /// its programs together, the other limits are each one's own.
    ///
    /// Cancel-safe as [`Sandbox::execute`]; the guest is lost then.
    ///
    /// # Errors
    /// The program could not be started: nothing of it ran, and the guest is lost.
    ///
    /// # Panics
    /// The program is in another language than the guest.
    pub async fn execute_kept(
        &self,
        guest: KeptGuest,
        program: Program,
        surroundings: Surroundings,
        cancel: &CancellationToken,
    ) -> Result<(Execution, Option<KeptGuest>), SandboxError> {
        assert_eq!(guest.language, program.language, "a guest speaks one language");
        let language = guest.language;
        let run = Run { mode: Mode::Kept, program, surroundings, started: Instant::now() };
        let (execution, ready, usable) = run.drive(*guest.ready, cancel).await?;
        if usable {
            return Ok((execution, Some(KeptGuest { language, ready: Box::new(ready) })));
        }
        self.maker(language).await?.retire(ready.store);
        Ok((execution, None))
    }

    async fn maker(
        &self,
        language: Language,
    ) -> Result<&Maker<ScriptRuntimePre<GuestState>>, SandboxError> {
        let runtime = self.runtime(language, Arc::new(|step| tracing::info!("{step}"))).await?;
        Ok(&runtime.maker)
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.inner.cache
    }

    pub(super) fn engine(&self) -> &SandboxEngine {
        &self.inner.engine
    }

    /// How many instances of each runtime are kept ready.
    pub(super) fn ready_count(&self) -> usize {
        self.inner.ready_count
    }

    /// Loads compiled code from the cache, if it is there and is what was written.
    pub(super) fn load_compiled(&self, path: &std::path::Path) -> Option<Component> {
        self.runtimes().load_compiled(path)
    }

    fn runtimes(&self) -> Runtimes<'_> {
        Runtimes { cache: &self.inner.cache, engine: &self.inner.engine }
    }

    async fn runtime(
        &self,
        language: Language,
        progress: Arc<dyn Fn(&str) + Send + Sync>,
    ) -> Result<&Runtime, SandboxError> {
        let cell = &self.inner.runtimes[&language];
        cell.get_or_try_init(|| async {
            let sandbox = self.clone();
            // Compiling takes seconds of every core and waits for a lock of other processes.
            let loading = tokio::task::spawn_blocking(move || {
                sandbox.runtimes().load(language, progress.as_ref())
            });
            let component = match loading.await {
                Ok(loaded) => loaded?,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            };
            let Inner { engine, ready_count, .. } = &*self.inner;
            let name = format!("the {language} runtime");
            let prepared =
                engine.linker.instantiate_pre(&component).and_then(ScriptRuntimePre::new);
            let prepared = prepared
                .map_err(|source| SandboxError::Component { name: name.clone(), source })?;
            let maker = Arc::new(Maker::new(name, engine, prepared, *ready_count));
            let worker = (*ready_count > 0)
                .then(|| tokio::spawn(Arc::clone(&maker).keep_filled()).abort_handle());
            Ok(Runtime { maker, worker })
        })
        .await
    }
}

/// A guest between two programs of one session. Dropping it ends the session.
pub struct KeptGuest {
    language: Language,
    ready: Box<Ready<ScriptRuntime>>,
}

/// Which of the runtime's two functions runs a program.
#[derive(Clone, Copy)]
enum Mode {
    /// In a namespace of its own.
    Fresh,
    /// In that of the programs before it.
    Kept,
}

/// A program on its way through a guest.
struct Run {
    mode: Mode,
    program: Program,
    surroundings: Surroundings,
    started: Instant,
}

struct Script {
    mode: Mode,
    program: wit::Program,
}

impl Entry<ScriptRuntime> for Script {
    type Returned = Result<Option<String>, wit::Failure>;

    async fn enter(
        self,
        guest: &ScriptRuntime,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<Self::Returned> {
        let script = guest.toolcell_guest_script();
        match self.mode {
            Mode::Fresh => script.call_run(store, &self.program).await,
            Mode::Kept => script.call_run_kept(store, &self.program).await,
        }
    }
}

impl Run {
    /// Gives the guest back too, and whether it can run another program.
    async fn drive(
        self,
        ready: Ready<ScriptRuntime>,
        cancel: &CancellationToken,
    ) -> Result<(Execution, Ready<ScriptRuntime>, bool), SandboxError> {
        let Self { mode, program, surroundings, started } = self;
        let limits = surroundings.limits.clone();
        let language = program.language;
        let program = wit::Program {
            name: program.name,
            source: program.source,
            input: program.input,
            allowed_imports: program.allowed_imports,
            max_value_bytes: limits.output_bytes,
            check: program.check,
        };
        let carried_bytes = Limits::MAX_MEMORY_BYTES;
        let name = language.name();
        let drive = Drive { surroundings, started, fuel_before: 0, name, carried_bytes };
        let driven = drive.drive(ready, Script { mode, program }, cancel).await?;
        let Driven { end, stdout, stderr, usage, ready } = driven;
        // A guest that was stopped in the middle of its work cannot be entered again.
        let usable = end.is_ok();
        let outcome = match end {
            Ok(Ok(value)) => returned_value(value, &limits),
            Ok(Err(failure)) => program_failure(failure, &limits, &ready.store.data().limiter),
            Err(Stopped::Cancelled) => Outcome::Cancelled,
            Err(Stopped::Limit(reached)) => Outcome::LimitReached { reached, exception: None },
            Err(Stopped::Exited(status)) => exited(status),
            Err(Stopped::Trapped(why)) => Outcome::Trapped(why),
        };
        Ok((Execution { outcome, stdout, stderr, usage }, ready, usable))
    }
}

fn exited(status: i32) -> Outcome {
    match status {
        0 => Outcome::Value(None),
        status => Outcome::Failed(Failure::Exit(status)),
    }
}

fn returned_value(value: Option<String>, limits: &Limits) -> Outcome {
    let Some(text) = value else { return Outcome::Value(None) };
    let bytes = text.len() as u64;
    if bytes > limits.output_bytes {
        return value_too_large(bytes, limits);
    }
    // A guest may have replaced its own runtime: what it hands over is checked like anything else.
    match serde_json::value::RawValue::from_string(text) {
        Ok(json) => Outcome::Value(Some(json)),
        Err(error) => Outcome::Failed(Failure::Value(format!("the value is not JSON: {error}"))),
    }
}

fn value_too_large(bytes: u64, limits: &Limits) -> Outcome {
    Outcome::LimitReached {
        reached: LimitReached { kind: LimitKind::Output, limit: limits.output_bytes, used: bytes },
        exception: None,
    }
}

fn program_failure(failure: wit::Failure, limits: &Limits, limiter: &MemoryLimiter) -> Outcome {
    match failure {
        wit::Failure::Syntax(error) => Outcome::Failed(Failure::Syntax(error.into())),
        wit::Failure::Exception(error) => Outcome::Failed(Failure::Exception(error.into())),
        wit::Failure::Exit(status) => exited(status),
        wit::Failure::Value(why) => Outcome::Failed(Failure::Value(cut(why))),
        wit::Failure::ValueTooLarge(bytes) => value_too_large(bytes, limits),
        // CPython's parser says so when a source is nested too deeply, and a program may raise one
        // itself: with words of its own and no wish of ours refused, memory is not the matter.
        wit::Failure::Memory(error)
            if limiter.refused_bytes().is_none() && !error.message.is_empty() =>
        {
            Outcome::Failed(Failure::Exception(error.into()))
        }
        wit::Failure::Memory(error) => Outcome::LimitReached {
            reached: memory_reached(limiter),
            exception: Some(error.into()),
        },
        wit::Failure::Recursion((error, depth)) => Outcome::LimitReached {
            reached: LimitReached { kind: LimitKind::Recursion, limit: depth, used: depth },
            exception: Some(error.into()),
        },
        wit::Failure::Call(call) => call_failure(call),
    }
}

fn call_failure(call: wit::UncaughtCall) -> Outcome {
    let exhausted = match call.limit_name.as_deref() {
        Some("tool_calls") => Some(LimitKind::ToolCalls),
        Some("argument") => Some(LimitKind::Argument),
        Some("answer") => Some(LimitKind::Answer),
        Some("depth") => Some(LimitKind::Depth),
        _ => None,
    };
    match exhausted {
        Some(kind) => Outcome::LimitReached {
            reached: LimitReached { kind, limit: call.limit, used: call.used },
            exception: Some(call.exception.into()),
        },
        None => Outcome::Failed(Failure::Call {
            tool: cut(call.tool),
            kind: cut(call.kind),
            exception: call.exception.into(),
        }),
    }
}

impl From<wit::Uncaught> for Exception {
    fn from(error: wit::Uncaught) -> Self {
        Self {
            class: cut(error.class),
            message: cut(error.message),
            traceback: cut(error.traceback),
        }
    }
}
