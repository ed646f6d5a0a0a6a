//! QuickJS and the prelude in it.

use std::cell::UnsafeCell;

use rquickjs::context::EvalOptions;
use rquickjs::{Context, Ctx, Function, Object, Persistent, Runtime, qjs};

use crate::natives;

/// How deep JavaScript may call, in bytes of its stack. The host gives 2 MiB for all of it; what a
/// function of QuickJS takes of that is about twice what it takes of this one.
const MAX_STACK_BYTES: usize = 700 << 10;

/// With so much memory in use circles are looked for; what begins small ends without.
const GC_THRESHOLD_BYTES: usize = 4 << 20;

/// The prelude's files, in the order in which they are run.
const PRELUDE: [(&str, &str); 10] = [
    ("toolcell:begin.js", include_str!("prelude/begin.js")),
    ("toolcell:errors.js", include_str!("prelude/errors.js")),
    ("toolcell:loop.js", include_str!("prelude/loop.js")),
    ("toolcell:failures.js", include_str!("prelude/failures.js")),
    ("toolcell:web.js", include_str!("prelude/web.js")),
    ("toolcell:console.js", include_str!("prelude/console.js")),
    ("toolcell:tools.js", include_str!("prelude/tools.js")),
    ("toolcell:check.js", include_str!("prelude/check.js")),
    ("toolcell:plugin.js", include_str!("prelude/plugin.js")),
    ("toolcell:offers.js", include_str!("prelude/offers.js")),
];

/// The names of the prelude's files begin so.
pub(crate) const OURS: &str = "toolcell:";

/// An engine, and the functions of the prelude that Rust calls.
pub(crate) struct Engine {
    pub(crate) context: Context,
    runtime: Runtime,
    prelude: Prelude,
}

/// What of the prelude Rust calls. Taken when the prelude has run: a program cannot replace it.
struct Prelude {
    reset: Persistent<Function<'static>>,
    turn: Persistent<Function<'static>>,
    busy: Persistent<Function<'static>>,
    end_all: Persistent<Function<'static>>,
    uncaught: Persistent<Function<'static>>,
    first_unhandled: Persistent<Function<'static>>,
    plain: Persistent<Function<'static>>,
    media: Persistent<Function<'static>>,
    plugin: Persistent<Function<'static>>,
    check: Persistent<Function<'static>>,
}

/// Which of them.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Reset,
    Turn,
    Busy,
    EndAll,
    Uncaught,
    FirstUnhandled,
    Plain,
    Media,
    Plugin,
    Check,
}

struct Slot(UnsafeCell<Option<Engine>>);

// SAFETY: a wasm guest has one thread; tests on other machines keep to one per engine.
unsafe impl Sync for Slot {}

static ENGINE: Slot = Slot(UnsafeCell::new(None));

/// Makes the engine. Called once.
pub(crate) fn start() {
    let runtime = Runtime::new().expect("there is memory for an engine");
    runtime.set_max_stack_size(MAX_STACK_BYTES);
    let context = Context::full(&runtime).expect("there is memory for a context");
    let prelude = context.with(|ctx| load(&ctx).expect("the prelude runs"));
    runtime.set_host_promise_rejection_tracker(Some(Box::new(|_, promise, reason, handled| {
        natives::rejected(promise, reason, handled);
    })));
    // SAFETY: nothing else runs before `start` is over.
    unsafe { *ENGINE.0.get() = Some(Engine { context, runtime, prelude }) }
}

/// The engine.
pub(crate) fn engine() -> &'static Engine {
    // SAFETY: it is set once, before anything can ask for it, and never again.
    unsafe { (*ENGINE.0.get()).as_ref() }.expect("`start` has been called")
}

fn load<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Prelude> {
    let (host, shared) = (natives::object(ctx)?, Object::new(ctx.clone())?);
    for (name, source) in PRELUDE {
        let mut options = EvalOptions::default();
        options.filename = Some(name.to_owned());
        // On one line with the source's first: its lines keep their numbers.
        let source = format!("(function (host, runtime) {{{source}\n}})");
        let run = ctx.eval_with_options::<Function<'js>, _>(source, options);
        let run = run.and_then(|file| file.call::<_, ()>((host.clone(), shared.clone())));
        if let Err(error) = run {
            panic!("{name}: {error}: {:?}", ctx.catch());
        }
    }
    let take = |name: &str| {
        let function: Function<'js> = shared.get(name)?;
        Ok::<_, rquickjs::Error>(Persistent::save(ctx, function))
    };
    natives::keep_rejected(Persistent::save(ctx, shared.get::<_, Function<'js>>("rejected")?));
    Ok(Prelude {
        reset: take("reset")?,
        turn: take("turn")?,
        busy: take("busy")?,
        end_all: take("endAll")?,
        uncaught: take("uncaught")?,
        first_unhandled: take("firstUnhandled")?,
        plain: take("plain")?,
        media: take("media")?,
        plugin: take("readPlugin")?,
        check: take("check")?,
    })
}

impl Engine {
    /// A function of the prelude.
    pub(crate) fn prelude<'js>(
        &self,
        ctx: &Ctx<'js>,
        part: Part,
    ) -> rquickjs::Result<Function<'js>> {
        let kept = match part {
            Part::Reset => &self.prelude.reset,
            Part::Turn => &self.prelude.turn,
            Part::Busy => &self.prelude.busy,
            Part::EndAll => &self.prelude.end_all,
            Part::Uncaught => &self.prelude.uncaught,
            Part::FirstUnhandled => &self.prelude.first_unhandled,
            Part::Plain => &self.prelude.plain,
            Part::Media => &self.prelude.media,
            Part::Plugin => &self.prelude.plugin,
            Part::Check => &self.prelude.check,
        };
        kept.clone().restore(ctx)
    }

    /// Measures the stack from here on.
    pub(crate) fn stack_begins_here(&self, ctx: &Ctx<'_>) {
        // SAFETY: the context is alive, and so is its runtime.
        unsafe { qjs::JS_UpdateStackTop(qjs::JS_GetRuntime(ctx.as_raw().as_ptr())) }
    }

    /// Collects what the start left over. A run's first collection is due when it has made something.
    pub(crate) fn tidy_up(&self) {
        self.runtime.run_gc();
        self.runtime.set_gc_threshold(GC_THRESHOLD_BYTES);
    }
}
