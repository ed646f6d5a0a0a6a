//! What a call of a plugin costs in process, and a fresh JavaScript sandbox. `cargo bench --workspace
//! --bench plugins` runs it alone; `benches/plugins_side.py` and `benches/plugins_side.mjs` measure
//! Extism and quickjs-emscripten.
//!
//! - `plugin/typed`: a fresh instance, typed arguments (a text, a list, a record), a record back.
//! - `plugin/kept`: the same in an instance that is kept.
//! - `javascript/fresh`: a fresh sandbox and one line; made on the spot, and dropped.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use toolcell::ids::CallId;
use toolcell::language::Language;
use toolcell::limits::{LimitKind, LimitReached, Limits};
use toolcell::sandbox::{
    Cache, CallRequest, LoadedPlugin, Outcome, PluginExecution, PluginOutcome, Program, RunCalls,
    Sandbox, Surroundings,
};
use toolcell::tool::{CallAnswer, CallError, ToolDescription};

/// Adds up the weights; the name's length and the sum come back.
const SCORE: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (global $next (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
            (global.set $next (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
        (func (export "score")
            (param $name i32) (param $length i32) (param $list i32) (param $count i32)
            (param $scale f64) (param $strict i32) (result i32)
            (local $sum f64)
            (block $done (loop $next
                (br_if $done (i32.eqz (local.get $count)))
                (local.set $sum (f64.add (local.get $sum) (f64.load (local.get $list))))
                (local.set $list (i32.add (local.get $list) (i32.const 8)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br $next)))
            (f64.store (i32.const 0) (f64.mul (local.get $sum) (local.get $scale)))
            (i32.store (i32.const 8) (local.get $length))
            (i32.const 0)))
    (core instance $i (instantiate $m))
    (type $options' (record (field "scale" f64) (field "strict" bool)))
    (export $options "options" (type $options'))
    (type $score' (record (field "total" f64) (field "name-length" u32)))
    (export $score "score-result" (type $score'))
    (func (export "score")
        (param "name" string) (param "weights" (list f64)) (param "options" $options)
        (result $score)
        (canon lift (core func $i "score")
            (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#;

const ARGUMENTS: &str =
    r#"{"name":"a plugin","weights":[0.5,1.5,2.0,4.0],"options":{"scale":2.0,"strict":true}}"#;

/// A world without tools.
struct Nobody;

#[async_trait]
impl RunCalls for Nobody {
    fn servers(&self) -> Vec<String> {
        Vec::new()
    }

    async fn names(&mut self, server: &str) -> Result<Vec<String>, CallError> {
        Err(CallError::UnknownTool(server.to_owned()))
    }

    async fn describe(&mut self, name: &str) -> Result<ToolDescription, CallError> {
        Err(CallError::UnknownTool(name.to_owned()))
    }

    async fn call(&mut self, request: CallRequest) -> CallAnswer {
        Err(CallError::UnknownTool(request.name))
    }

    fn start(&mut self, _request: CallRequest) -> Result<CallId, LimitReached> {
        Err(LimitReached { kind: LimitKind::ToolCalls, limit: 0, used: 1 })
    }

    async fn wait(&mut self, _timeout: Option<Duration>) -> Vec<(CallId, CallAnswer)> {
        Vec::new()
    }

    fn cancel(&mut self, _id: CallId) {}

    fn count(&self) -> u64 {
        0
    }
}

fn surroundings() -> Surroundings {
    Surroundings {
        limits: Limits::default(),
        calls: Box::new(Nobody),
        live: None,
        directories: Vec::new(),
        seed: 1,
        repeatable: true,
    }
}

/// One thread, so that a rate per second is a rate per thread.
fn start() -> (Runtime, Sandbox) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration")]
    let folder = std::env::var_os("TOOLCELL_CACHE_DIR").map(PathBuf::from);
    let folder = folder.or_else(toolcell::default_cache_folder).expect("a cache folder");
    let cache = Cache::open(&folder).expect("the cache opens");
    (runtime, Sandbox::new(cache, 0, 16).expect("the engine starts"))
}

fn plugin(criterion: &mut Criterion) {
    let (runtime, sandbox) = start();
    let wasm = wat::parse_str(SCORE).expect("is a component");
    let plugin: LoadedPlugin =
        runtime.block_on(sandbox.load_plugin("score", &wasm)).expect("the plugin loads");
    let never = CancellationToken::new();
    let check = |execution: PluginExecution| {
        let PluginOutcome::Answered(output) = &execution.outcome else { panic!("{execution:?}") };
        assert_eq!(output.first_text(), r#"{"total":16.0,"name_length":8}"#);
    };
    criterion.bench_function("plugin/typed", |bencher| {
        bencher.iter(|| {
            let call = plugin.call("score", ARGUMENTS, surroundings(), &never);
            check(black_box(runtime.block_on(call).expect("it is called")));
        });
    });
    let mut kept = runtime.block_on(plugin.open()).ok();
    criterion.bench_function("plugin/kept", |bencher| {
        bencher.iter(|| {
            let guest = match kept.take() {
                Some(guest) => guest,
                None => runtime.block_on(plugin.open()).expect("an instance is made"),
            };
            let call = plugin.call_kept(guest, "score", ARGUMENTS, surroundings(), &never);
            // Its memory is full some time: it never frees what it was given.
            let (execution, guest) = runtime.block_on(call).expect("it is called");
            black_box(execution);
            kept = guest;
        });
    });
}

fn javascript(criterion: &mut Criterion) {
    let (runtime, sandbox) = start();
    let progress = Arc::new(|step: &str| eprintln!("{step}"));
    let prepared = runtime.block_on(sandbox.prepare(Language::JavaScript, progress));
    prepared.expect("the runtime loads");
    let never = CancellationToken::new();
    criterion.bench_function("javascript/fresh", |bencher| {
        bencher.iter(|| {
            let program = Program {
                language: Language::JavaScript,
                name: "bench.js".to_owned(),
                source: "1 + 1".to_owned(),
                input: None,
                allowed_imports: None,
                check: false,
            };
            let run = sandbox.execute(program, surroundings(), &never);
            let execution = black_box(runtime.block_on(run).expect("the run starts"));
            assert!(matches!(execution.outcome, Outcome::Value(_)), "{execution:?}");
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = plugin, javascript
}
criterion_main!(benches);
