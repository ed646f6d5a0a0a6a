//! What a run costs in process. `cargo xtask bench` runs this beside other runtimes and prints
//! ratios; `cargo bench --workspace --bench sandbox` runs it alone.
//!
//! - `run/ready`: from request to result in a sandbox that was made ready and never used.
//! - `run/made`: the same with the sandbox made on the spot and dropped: what a refill costs too.
//! - `call`: one blocking tool call, guest to host and back, as a share of a thousand.
//! - `call-concurrent`: the same by `asyncio.gather`.
//! - `loop`: a million turns of a loop.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use toolcell::ids::CallId;
use toolcell::language::Language;
use toolcell::limits::{LimitReached, Limits};
use toolcell::sandbox::{
    Cache, CallRequest, Execution, Outcome, Program, RunCalls, Sandbox, Surroundings,
};
use toolcell::tool::{CallAnswer, CallError, ToolDescription, ToolOutput};

/// What every benchmark of a whole run computes.
const SMALL: &str = "sum(range(1000))";
const CALLS: u32 = 1000;

/// Answers each call with its arguments: the road without a server at its end.
#[derive(Default)]
struct Echo {
    count: u64,
    answers: Vec<(CallId, CallAnswer)>,
}

#[async_trait]
impl RunCalls for Echo {
    fn servers(&self) -> Vec<String> {
        vec!["bench".to_owned()]
    }

    async fn names(&mut self, _server: &str) -> Result<Vec<String>, CallError> {
        Ok(vec!["echo".to_owned()])
    }

    async fn describe(&mut self, name: &str) -> Result<ToolDescription, CallError> {
        Err(CallError::UnknownTool(name.to_owned()))
    }

    async fn call(&mut self, request: CallRequest) -> CallAnswer {
        self.count += 1;
        Ok(ToolOutput::text(request.arguments))
    }

    fn start(&mut self, request: CallRequest) -> Result<CallId, LimitReached> {
        self.count += 1;
        let id = CallId(self.count);
        self.answers.push((id, Ok(ToolOutput::text(request.arguments))));
        Ok(id)
    }

    async fn wait(&mut self, _timeout: Option<Duration>) -> Vec<(CallId, CallAnswer)> {
        std::mem::take(&mut self.answers)
    }

    fn cancel(&mut self, _id: CallId) {}

    fn count(&self) -> u64 {
        self.count
    }
}

struct Bench {
    runtime: Runtime,
    sandbox: Sandbox,
}

impl Bench {
    /// One thread, so that a rate per second is a rate per thread.
    fn new(ready: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        #[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration")]
        let folder = std::env::var_os("TOOLCELL_CACHE_DIR").map(PathBuf::from);
        let folder = folder.or_else(toolcell::default_cache_folder).expect("a cache folder");
        let cache = Cache::open(&folder).expect("the cache opens");
        let sandbox = Sandbox::new(cache, ready, 16).expect("the engine starts");
        let bench = Self { runtime, sandbox };
        bench.fill();
        bench
    }

    fn fill(&self) {
        let progress = Arc::new(|step: &str| eprintln!("{step}"));
        let filled = self.runtime.block_on(self.sandbox.prepare(Language::Python, progress));
        filled.expect("the runtime loads");
    }

    fn run(&self, source: &str) -> Execution {
        let program = Program {
            language: Language::Python,
            name: "bench.py".to_owned(),
            source: source.to_owned(),
            input: None,
            allowed_imports: None,
            check: false,
        };
        let limits = Limits { tool_calls: 1_000_000, ..Limits::default() };
        let surroundings = Surroundings {
            limits,
            calls: Box::new(Echo::default()),
            live: None,
            directories: Vec::new(),
            seed: 1,
            repeatable: true,
        };
        let never = CancellationToken::new();
        let execution = self.runtime.block_on(self.sandbox.execute(program, surroundings, &never));
        let execution = execution.expect("the run starts");
        assert!(matches!(execution.outcome, Outcome::Value(_)), "{execution:?}");
        execution
    }

    /// Times `source` without what `without` takes, over as many runs as criterion wants.
    fn timed(&self, iterations: u64, source: &str, without: &str, share: u32) -> Duration {
        let mut total = Duration::ZERO;
        for _ in 0..iterations {
            self.fill();
            let start = Instant::now();
            black_box(self.run(without));
            let base = start.elapsed();
            self.fill();
            let start = Instant::now();
            black_box(self.run(source));
            total += start.elapsed().saturating_sub(base) / share;
        }
        total
    }
}

fn whole_runs(criterion: &mut Criterion) {
    let ready = Bench::new(1);
    criterion.bench_function("run/ready", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut total = Duration::ZERO;
            for _ in 0..iterations {
                ready.fill();
                let start = Instant::now();
                black_box(ready.run(SMALL));
                total += start.elapsed();
            }
            total
        });
    });
    let made = Bench::new(0);
    criterion.bench_function("run/made", |bencher| bencher.iter(|| black_box(made.run(SMALL))));
}

fn inside_a_run(criterion: &mut Criterion) {
    let bench = Bench::new(1);
    let calls = format!("import tools\nfor n in range({CALLS}):\n    tools.bench.echo(n=1)");
    let no_calls = format!("import tools\nfor n in range({CALLS}):\n    pass");
    criterion.bench_function("call", |bencher| {
        bencher.iter_custom(|iterations| bench.timed(iterations, &calls, &no_calls, CALLS));
    });
    let calls = format!(
        "import asyncio\nawait asyncio.gather(*(aio.bench.echo(n=1) for n in range({CALLS})))\nNone"
    );
    let idle = "import asyncio\nawait asyncio.sleep(0)";
    criterion.bench_function("call-concurrent", |bencher| {
        bencher.iter_custom(|iterations| bench.timed(iterations, &calls, idle, CALLS));
    });
    let turns = "for n in range(1_000_000):\n    pass";
    criterion.bench_function("loop/for", |bencher| {
        bencher.iter_custom(|iterations| bench.timed(iterations, turns, "1", 1));
    });
    let turns = "sum(n * n for n in range(10**6))";
    criterion.bench_function("loop/sum", |bencher| {
        bencher.iter_custom(|iterations| bench.timed(iterations, turns, "1", 1));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(15)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = whole_runs, inside_a_run
}
criterion_main!(benches);
