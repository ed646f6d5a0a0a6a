//! One execution of one program: from a ready instance to an outcome with numbers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTableError;
use wasmtime::{AsContext, Trap};
use wasmtime_wasi::I32Exit;

use super::bindings::exports::toolcell::guest::script as wit;
use super::cache::Cache;
use super::engine::{METERED, SandboxEngine};
use super::error::{Exception, Failure, Outcome, SandboxError};
use super::meter::{Meter, Metered};
use super::ready::{Maker, Ready};
use super::runtimes::{CachedRuntime, Runtimes};
use super::state::{GuestState, MAX_HANDLES, Surroundings, all_fuel_used, own_fuel_used};
use crate::events::Stream;
use crate::language::Language;
use crate::limits::{LimitKind, LimitReached, Limits, Usage};

/// How much of a text that a guest hands over at its end is kept: error messages, tracebacks.
const HANDED_OVER_BYTES: usize = 1 << 20;

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
    maker: Arc<Maker>,
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
        let run = Run { entry: Entry::Fresh, program, surroundings, started };
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
        let run = Run { entry: Entry::Kept, program, surroundings, started: Instant::now() };
        let (execution, ready, usable) = run.drive(*guest.ready, cancel).await?;
        if usable {
            return Ok((execution, Some(KeptGuest { language, ready: Box::new(ready) })));
        }
        self.maker(language).await?.retire(ready.store);
        Ok((execution, None))
    }

    async fn maker(&self, language: Language) -> Result<&Maker, SandboxError> {
        let runtime = self.runtime(language, Arc::new(|step| tracing::info!("{step}"))).await?;
        Ok(&runtime.maker)
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
            let maker = Arc::new(Maker::new(name, engine, &component, *ready_count)?);
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
    ready: Box<Ready>,
}

/// Which of the runtime's two functions runs a program.
#[derive(Clone, Copy)]
enum Entry {
    /// In a namespace of its own.
    Fresh,
    /// In that of the programs before it.
    Kept,
}

/// A program on its way through a guest.
struct Run {
    entry: Entry,
    program: Program,
    surroundings: Surroundings,
    started: Instant,
}

impl Run {
    /// Gives the guest back too, and whether it can run another program.
    async fn drive(
        self,
        ready: Ready,
        cancel: &CancellationToken,
    ) -> Result<(Execution, Ready, bool), SandboxError> {
        let Self { entry, program, surroundings, started } = self;
        let Ready { mut store, guest } = ready;
        let limits = surroundings.limits.clone();
        let language = program.language;
        let failed = |source| SandboxError::Instantiate { name: language.to_string(), source };
        let fuel_before = own_fuel_used(&store.as_context());
        let time = store.data().clock.handed_over(fuel_before);
        if METERED {
            store.set_fuel(limits.fuel).map_err(failed)?;
        }
        // One call between guest and host carries at most what the guest itself may have, so the
        // host's copies of it are bounded. What is too much for its purpose is refused by whoever
        // looks at it, with the name of the limit, which a bound here could not tell.
        let carried = limits.memory_bytes.min(Limits::MAX_MEMORY_BYTES);
        store.set_hostcall_fuel(usize::try_from(carried).unwrap_or(usize::MAX));
        let pauses = surroundings.calls.pauses();
        store.data_mut().adopt(surroundings, time)?;

        let program = wit::Program {
            name: program.name,
            source: program.source,
            input: program.input,
            allowed_imports: program.allowed_imports,
            max_value_bytes: limits.output_bytes,
        };
        let mut computed = Duration::ZERO;
        let end = {
            let script = guest.toolcell_guest_script();
            let run = async {
                match entry {
                    Entry::Fresh => script.call_run(&mut store, &program).await,
                    Entry::Kept => script.call_run_kept(&mut store, &program).await,
                }
            };
            let mut run = std::pin::pin!(run);
            let metered =
                Meter { inner: run.as_mut(), computed: &mut computed, limit: limits.compute_time };
            // While a person is asked on the run's behalf, its deadline stands still.
            let deadline = pauses.elapse(started.into(), limits.deadline);
            tokio::select! {
                biased;
                () = cancel.cancelled() => End::Cancelled,
                () = deadline => End::Deadline,
                metered = metered => match metered {
                    Metered::Done(result) => End::Returned(result),
                    Metered::OutOfTime => End::OutOfComputeTime,
                },
            }
        };
        // A guest that was stopped in the middle of its work cannot be entered again.
        let usable = matches!(end, End::Returned(Ok(_)));
        let fuel = all_fuel_used(&store.as_context());
        let wall = started.elapsed();
        let state = store.data();
        let outcome = outcome(end, &limits, state, Times { fuel, computed, wall });
        let console = state.lock_console();
        let execution = Execution {
            outcome,
            stdout: console.text(Stream::Stdout),
            stderr: console.text(Stream::Stderr),
            usage: Usage {
                fuel,
                compute: computed,
                wall,
                memory_bytes: state.limiter.peak_bytes(),
                tool_calls: state.calls.count(),
                output_bytes: console.written(),
            },
        };
        drop(console);
        store.data_mut().let_go();
        Ok((execution, Ready { store, guest }, usable))
    }
}

/// What made the guest stop.
enum End {
    Returned(wasmtime::Result<Result<Option<String>, wit::Failure>>),
    OutOfComputeTime,
    Deadline,
    Cancelled,
}

#[derive(Clone, Copy)]
struct Times {
    fuel: u64,
    computed: Duration,
    wall: Duration,
}

fn outcome(end: End, limits: &Limits, state: &GuestState, used: Times) -> Outcome {
    let reached = |kind, limit, used| Outcome::LimitReached {
        reached: LimitReached { kind, limit, used },
        exception: None,
    };
    match end {
        End::Cancelled => Outcome::Cancelled,
        End::Deadline => {
            reached(LimitKind::Deadline, milliseconds(limits.deadline), milliseconds(used.wall))
        }
        End::OutOfComputeTime => reached(
            LimitKind::ComputeTime,
            milliseconds(limits.compute_time),
            milliseconds(used.computed),
        ),
        End::Returned(Ok(Ok(value))) => returned_value(value, limits),
        End::Returned(Ok(Err(failure))) => program_failure(failure, limits, state),
        End::Returned(Err(error)) => trapped(&error, limits, state, used),
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

fn program_failure(failure: wit::Failure, limits: &Limits, state: &GuestState) -> Outcome {
    match failure {
        wit::Failure::Syntax(error) => Outcome::Failed(Failure::Syntax(error.into())),
        wit::Failure::Exception(error) => Outcome::Failed(Failure::Exception(error.into())),
        wit::Failure::Exit(0) => Outcome::Value(None),
        wit::Failure::Exit(status) => Outcome::Failed(Failure::Exit(status)),
        wit::Failure::Value(why) => Outcome::Failed(Failure::Value(cut(why))),
        wit::Failure::ValueTooLarge(bytes) => value_too_large(bytes, limits),
        // CPython's parser says so when a source is nested too deeply, and a program may raise one
        // itself: with words of its own and no wish of ours refused, memory is not the matter.
        wit::Failure::Memory(error)
            if state.limiter.refused_bytes().is_none() && !error.message.is_empty() =>
        {
            Outcome::Failed(Failure::Exception(error.into()))
        }
        wit::Failure::Memory(error) => {
            Outcome::LimitReached { reached: memory_reached(state), exception: Some(error.into()) }
        }
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

/// Finds out why the guest was stopped from inside.
fn trapped(error: &wasmtime::Error, limits: &Limits, state: &GuestState, used: Times) -> Outcome {
    let limit = |reached| Outcome::LimitReached { reached, exception: None };
    if let Some(reached) = error.downcast_ref::<LimitReached>() {
        return limit(*reached);
    }
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        return match status {
            0 => Outcome::Value(None),
            status => Outcome::Failed(Failure::Exit(*status)),
        };
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return Outcome::Trapped(format!(
            "the script keeps more than {MAX_HANDLES} files, directories and waits open at once"
        ));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            limit(LimitReached { kind: LimitKind::Fuel, limit: limits.fuel, used: used.fuel })
        }
        Some(Trap::StackOverflow) => limit(LimitReached {
            kind: LimitKind::Stack,
            limit: Limits::STACK_BYTES,
            used: Limits::STACK_BYTES,
        }),
        // A language runtime that cannot get memory for its own needs gives up by trapping.
        Some(_) if state.limiter.refused_bytes().is_some() => limit(memory_reached(state)),
        _ => Outcome::Trapped(format!("{error:#}")),
    }
}

fn memory_reached(state: &GuestState) -> LimitReached {
    let limiter = &state.limiter;
    LimitReached {
        kind: LimitKind::Memory,
        limit: limiter.limit_bytes(),
        // Python gives up some wishes by itself, without asking us: then what it has is all we know.
        used: limiter.refused_bytes().unwrap_or(limiter.peak_bytes()),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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

/// Keeps the beginning of a text. A guest may hand over as much as it has memory.
fn cut(mut text: String) -> String {
    if text.len() > HANDED_OVER_BYTES {
        text.truncate(text.floor_char_boundary(HANDED_OVER_BYTES));
        text.shrink_to_fit();
    }
    text
}
