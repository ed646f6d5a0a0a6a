//! One run: from source text to a value or a failure.

use std::cell::UnsafeCell;
use std::ffi::CString;

use rquickjs::{
    Array, Ctx, FromJs, Function, Object, Persistent, Promise, Value, promise::PromiseState, qjs,
};
use toolcell_js_prepare::{self as prepare, Map, Prepared, Refusal, ValueFrom};

use crate::bindings::exports::toolcell::guest::script::{Failure, Program, Uncaught};
use crate::engine::{Engine, OURS, Part, engine};
use crate::{failure, json};

const DEADLOCK: &str =
    "deadlock: nothing can wake this await: no tool call is under way and no timer is set";

/// A program whose frames are shown.
struct Known {
    name: String,
    source: String,
    map: Map,
}

struct Programs(UnsafeCell<Vec<Known>>);

// SAFETY: a wasm guest has one thread.
unsafe impl Sync for Programs {}

static PROGRAMS: Programs = Programs(UnsafeCell::new(Vec::new()));

#[expect(
    clippy::mut_from_ref,
    reason = "no two callers hold it at once: none of them calls another"
)]
fn programs() -> &'static mut Vec<Known> {
    // SAFETY: one thread, and no reference is kept over a call.
    unsafe { &mut *PROGRAMS.0.get() }
}

/// Runs a program, in a session after the earlier ones.
pub(crate) fn run(program: &Program, kept: bool) -> Result<Option<String>, Failure> {
    let name = unused(&program.name);
    let source = program.source.strip_prefix('\u{feff}').unwrap_or(&program.source);
    let prepared = prepare::prepare(&name, source, kept).map_err(|refusal| {
        Failure::Syntax(Uncaught {
            class: "SyntaxError".to_owned(),
            traceback: refusal.shown(&name),
            message: refusal.message,
        })
    })?;
    let map = prepared.map.clone();
    programs().push(Known { name: name.clone(), source: source.to_owned(), map });
    let engine = engine();
    engine.context.with(|ctx| {
        engine.stack_begins_here(&ctx);
        let run = Run { engine, ctx: &ctx };
        let done = run.program((&name, source), &prepared, program);
        // What is left under way ends with the program, however that ended.
        if let Err(left) = run.end() {
            return done.and(Err(left));
        }
        done
    })
}

/// The name, or one like it that no program of this namespace has had.
fn unused(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let name = if name.is_empty() { "script.ts".to_owned() } else { name };
    let taken = |name: &str| programs().iter().any(|known| known.name == name);
    let mut unused = name.clone();
    let mut number = programs().len() + 1;
    while taken(&unused) || unused.starts_with(OURS) {
        unused = format!("{name} ({number})");
        number += 1;
    }
    unused
}

/// Why a step of a run did not come to its end: what was thrown, or what is wrong.
enum Stop<'js> {
    Thrown(Value<'js>),
    Failed(Failure),
}

type Step<'js, T> = Result<T, Stop<'js>>;

struct Run<'a, 'js> {
    engine: &'static Engine,
    ctx: &'a Ctx<'js>,
}

impl<'js> Run<'_, 'js> {
    fn program(
        &self,
        (name, source): (&str, &str),
        prepared: &Prepared,
        program: &Program,
    ) -> Result<Option<String>, Failure> {
        let earlier = self.global("result");
        let value = self.reset(program).and_then(|()| {
            if program.check {
                self.check(name, source)?;
            }
            let code = self.compile(name, prepared)?;
            let value = self.execute(code, prepared)?;
            self.settle_all()?;
            Ok(value)
        });
        let value = match value {
            Ok(value) => value,
            Err(Stop::Failed(failure)) => return Err(failure),
            Err(Stop::Thrown(thrown)) => return Err(failure::of(self.ctx, thrown)),
        };
        let value = match self.value(value, prepared, earlier) {
            Ok(value) => value,
            Err(Stop::Failed(failure)) => return Err(failure),
            Err(Stop::Thrown(thrown)) => return Err(failure::of(self.ctx, thrown)),
        };
        let text = json::encode(&value, false).map_err(|why| Failure::Value(why.0))?;
        match text {
            Some(text) if text.len() as u64 > program.max_value_bytes => {
                Err(Failure::ValueTooLarge(text.len() as u64))
            }
            text => Ok(text),
        }
    }

    fn reset(&self, program: &Program) -> Step<'js, ()> {
        let inputs = match &program.input {
            Some(json) => self.caught(self.ctx.json_parse(json.as_str()))?,
            None => Value::new_undefined(self.ctx.clone()),
        };
        self.call(Part::Reset, (inputs,))
    }

    /// Compares the calls that are written out with their tools' schemas.
    fn check(&self, name: &str, source: &str) -> Step<'js, ()> {
        let Some(calls) = prepare::calls(name, source) else { return Ok(()) };
        let found: Array<'js> = self.call(Part::Check, (calls,))?;
        let mut wrong = Vec::new();
        for one in found.iter::<Array<'js>>() {
            let one = self.caught(one)?;
            let (at, message): (u32, String) = (self.caught(one.get(0))?, self.caught(one.get(1))?);
            wrong.push(Refusal::at_byte(source, at, message));
        }
        let Some(first) = wrong.first() else { return Ok(()) };
        let more = match wrong.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let shown: Vec<String> = wrong.iter().map(|one| one.shown_as("TypeError", name)).collect();
        Err(Stop::Failed(Failure::Syntax(Uncaught {
            class: "TypeError".to_owned(),
            message: format!("{}{more}; nothing was run", first.message),
            traceback: shown.concat(),
        })))
    }

    fn compile(&self, name: &str, prepared: &Prepared) -> Step<'js, Value<'js>> {
        let refuse = |_| Stop::Failed(failure::plain("SyntaxError", NUL.to_owned()));
        let source = CString::new(prepared.source.as_str()).map_err(refuse)?;
        let name = CString::new(name).map_err(refuse)?;
        let mut flags =
            qjs::JS_EVAL_TYPE_GLOBAL | qjs::JS_EVAL_FLAG_STRICT | qjs::JS_EVAL_FLAG_COMPILE_ONLY;
        if prepared.awaits {
            flags |= qjs::JS_EVAL_FLAG_ASYNC;
        }
        let ctx = self.ctx.as_raw().as_ptr();
        let length = prepared.source.len() as _;
        // SAFETY: both texts end with a zero byte and live over the call.
        let code =
            unsafe { qjs::JS_Eval(ctx, source.as_ptr(), length, name.as_ptr(), flags as i32) };
        self.raw(code).map_err(|stop| match stop {
            Stop::Thrown(thrown) => Stop::Failed(failure::syntax(self.ctx, thrown)),
            failed => failed,
        })
    }

    fn execute(&self, code: Value<'js>, prepared: &Prepared) -> Step<'js, Value<'js>> {
        let ctx = self.ctx.as_raw().as_ptr();
        // SAFETY: the value is what `compile` gave; the call takes it.
        let value = self.raw(unsafe {
            let code = qjs::JS_DupValue(ctx, code.as_raw());
            qjs::JS_EvalFunction(ctx, code)
        })?;
        if !prepared.awaits {
            return Ok(value);
        }
        let wrapped = self.settled(value)?;
        let wrapped = wrapped.as_object().map(|it| it.get::<_, Value<'js>>("value"));
        wrapped.map_or_else(|| Ok(Value::new_undefined(self.ctx.clone())), |it| self.caught(it))
    }

    /// What the program is worth.
    fn value(
        &self,
        completed: Value<'js>,
        prepared: &Prepared,
        earlier: Option<Value<'js>>,
    ) -> Step<'js, Value<'js>> {
        let undefined = || Value::new_undefined(self.ctx.clone());
        let value = match prepared.value {
            ValueFrom::LastExpression => completed,
            ValueFrom::DefaultExport => self
                .global("__toolcell")
                .and_then(|ours| ours.as_object()?.get::<_, Value<'js>>("value").ok())
                .unwrap_or_else(undefined),
            ValueFrom::Nothing => undefined(),
        };
        let value = self.settled(value)?;
        self.settle_all()?;
        if !value.is_undefined() || !prepared.assigns_result {
            return Ok(value);
        }
        // Also one of `let` and `const`, which is no property of the global object.
        let found = self.caught(
            self.ctx.eval::<Value<'js>, _>("typeof result==='undefined'?undefined:result"),
        )?;
        let found = self.settled(found)?;
        let same = earlier.is_some_and(|earlier| earlier == found && found.is_object());
        Ok(if same { undefined() } else { found })
    }

    fn global(&self, name: &str) -> Option<Value<'js>> {
        let value = self.ctx.globals().get::<_, Value<'js>>(name);
        value.map_err(|_| drop(self.ctx.catch())).ok().filter(|value| !value.is_undefined())
    }

    /// Waits for a promise, if it is one.
    fn settled(&self, value: Value<'js>) -> Step<'js, Value<'js>> {
        let Some(promise) = value.as_promise().cloned() else { return Ok(value) };
        // SAFETY: it is a promise of this context. Its rejection is what we return.
        unsafe { qjs::JS_PromiseMarkAsHandled(self.ctx.as_raw().as_ptr(), value.as_raw()) };
        loop {
            self.jobs()?;
            match promise.state() {
                PromiseState::Pending => {}
                _ => return self.result(&promise),
            }
            if !self.call::<_, bool>(Part::Turn, ())? {
                return Err(Stop::Failed(failure::plain("Error", DEADLOCK.to_owned())));
            }
        }
    }

    fn result(&self, promise: &Promise<'js>) -> Step<'js, Value<'js>> {
        match promise.result::<Value<'js>>() {
            Some(result) => self.caught(result),
            None => Ok(Value::new_undefined(self.ctx.clone())),
        }
    }

    /// Goes on until nothing is under way that the program started.
    fn settle_all(&self) -> Step<'js, ()> {
        loop {
            self.jobs()?;
            if !self.call::<_, bool>(Part::Busy, ())? {
                break;
            }
            self.call::<_, bool>(Part::Turn, ())?;
        }
        let unhandled: Value<'js> = self.call(Part::FirstUnhandled, ())?;
        match unhandled.as_array() {
            Some(reason) => Err(Stop::Thrown(self.caught(reason.get(0))?)),
            None => Ok(()),
        }
    }

    /// Runs what is at hand.
    fn jobs(&self) -> Step<'js, ()> {
        let ctx = self.ctx.as_raw().as_ptr();
        loop {
            let mut which = std::ptr::null_mut();
            // SAFETY: the runtime is that of this context, and alive.
            match unsafe { qjs::JS_ExecutePendingJob(qjs::JS_GetRuntime(ctx), &mut which) } {
                0 => return Ok(()),
                failed if failed < 0 => return Err(Stop::Thrown(self.ctx.catch())),
                _ => {}
            }
        }
    }

    /// A failure as text for whoever called.
    fn words(&self, stop: Stop<'js>) -> String {
        let failure = match stop {
            Stop::Failed(failure) => failure,
            Stop::Thrown(thrown) => failure::of(self.ctx, thrown),
        };
        let shown = match failure {
            Failure::Syntax(it) | Failure::Exception(it) | Failure::Memory(it) => it.traceback,
            Failure::Recursion((it, _)) => it.traceback,
            Failure::Call(it) => it.exception.traceback,
            Failure::Value(why) => why,
            Failure::Exit(_) | Failure::ValueTooLarge(_) => String::new(),
        };
        shown.trim_end().to_owned()
    }

    fn end(&self) -> Result<(), Failure> {
        self.call::<_, ()>(Part::EndAll, ()).map_err(|stop| match stop {
            Stop::Failed(failure) => failure,
            Stop::Thrown(thrown) => failure::of(self.ctx, thrown),
        })
    }

    fn call<A, T>(&self, part: Part, arguments: A) -> Step<'js, T>
    where
        A: rquickjs::function::IntoArgs<'js>,
        T: FromJs<'js>,
    {
        let function: rquickjs::Result<Function<'js>> = self.engine.prelude(self.ctx, part);
        self.caught(function.and_then(|function| function.call(arguments)))
    }

    fn caught<T>(&self, result: rquickjs::Result<T>) -> Step<'js, T> {
        result.map_err(|error| match error.is_exception() {
            true => Stop::Thrown(self.ctx.catch()),
            false => Stop::Failed(failure::plain("Error", error.to_string())),
        })
    }

    fn raw(&self, value: qjs::JSValue) -> Step<'js, Value<'js>> {
        // SAFETY: it was just made by a call on this context, and nobody else has it.
        let value = unsafe { Value::from_raw(self.ctx.clone(), value) };
        match value.is_exception() {
            true => Err(Stop::Thrown(self.ctx.catch())),
            false => Ok(value),
        }
    }
}

const NUL: &str = "the source has a zero byte in it";

/// The frames of a stack that are the program's, with the innermost one's line.
pub(crate) fn own_frames(stack: &str, max: usize) -> String {
    let mut shown = String::new();
    let mut count = 0;
    for line in stack.lines() {
        let Some(frame) = frame(line) else { continue };
        if count == max {
            shown.push_str("    …\n");
            break;
        }
        let Frame { function, known, line, column } = frame;
        let column = known.map.column(line, column);
        let place = format!("{}:{line}:{column}", known.name);
        match function {
            "" | "<eval>" | "<anonymous>" => shown.push_str(&format!("    at {place}\n")),
            function => shown.push_str(&format!("    at {function} ({place})\n")),
        }
        if count == 0 {
            shown.push_str(&prepare::excerpt(&known.source, line, column));
        }
        count += 1;
    }
    shown.truncate(shown.trim_end().len());
    shown
}

struct Frame<'a> {
    function: &'a str,
    known: &'static Known,
    line: usize,
    column: usize,
}

/// Reads `    at f (script.ts:3:7)`; none for frames of others.
fn frame(text: &str) -> Option<Frame<'_>> {
    let text = text.trim_start().strip_prefix("at ")?;
    let (function, place) = match text.strip_suffix(')') {
        Some(inner) => inner.rsplit_once(" (").or_else(|| inner.split_once('('))?,
        None => ("", text),
    };
    // A program's name may hold brackets and colons.
    let known = programs().iter().find(|known| {
        place.strip_prefix(known.name.as_str()).is_some_and(|rest| rest.starts_with(':'))
    });
    let known = match known {
        Some(known) => known,
        None => programs().iter().find(|known| text.contains(&format!("({}:", known.name)))?,
    };
    let at = text.rfind(&format!("{}:", known.name))? + known.name.len() + 1;
    let mut numbers = text[at..].trim_end_matches(')').split(':');
    let line = numbers.next()?.parse().ok()?;
    let column = numbers.next().and_then(|number| number.parse().ok()).unwrap_or(1);
    let function = if function.contains(known.name.as_str()) { "" } else { function };
    Some(Frame { function, known, line, column })
}

/// Runs a plugin's source and gives what it exports.
///
/// # Errors
/// It is no program, or it does not come to its end by itself; in words.
pub(crate) fn load(name: &str, source: &str) -> Result<Persistent<Object<'static>>, String> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let mut prepared =
        prepare::prepare(name, source, false).map_err(|refusal| refusal.shown(name))?;
    let exports: Vec<String> =
        prepared.exports.iter().map(|(name, local)| format!("{name:?}:{local}")).collect();
    prepared.source.push_str(&format!("\n;__toolcell.exports={{{}}};", exports.join(",")));
    let map = prepared.map.clone();
    programs().push(Known { name: name.to_owned(), source: source.to_owned(), map });
    let engine = engine();
    engine.context.with(|ctx| {
        engine.stack_begins_here(&ctx);
        let run = Run { engine, ctx: &ctx };
        let done = run.compile(name, &prepared).and_then(|code| run.execute(code, &prepared));
        let done = done.and_then(|_| run.settle_all());
        done.map_err(|stop| run.words(stop))?;
        let exports = run.global("__toolcell").and_then(|it| it.as_object()?.get("exports").ok());
        let exports: Object<'_> = exports.ok_or("the plugin's exports cannot be read")?;
        Ok(Persistent::save(&ctx, exports))
    })
}

/// Calls a function of a plugin and waits for what it gives.
///
/// # Errors
/// It failed; in words.
pub(crate) fn call<'js>(
    ctx: &Ctx<'js>,
    handler: Function<'js>,
    arguments: Value<'js>,
) -> Result<Value<'js>, String> {
    let engine = engine();
    let run = Run { engine, ctx };
    let done = || {
        run.call::<_, ()>(Part::Reset, (Value::new_undefined(ctx.clone()),))?;
        let value: Value<'js> = run.caught(handler.call((arguments,)))?;
        let value = run.settled(value)?;
        run.settle_all()?;
        Ok(value)
    };
    let done = done().map_err(|stop| run.words(stop));
    let _ = run.end();
    done
}

/// Runs some programs while the snapshot is made, so that a run finds what it needs in its place.
#[cfg(target_arch = "wasm32")]
pub(crate) fn warm_up() {
    let programs_to_run = [
        "1 + 1",
        "console.log(`a`, [1, { b: 'c' }]); ({ a: [1, 2.5, null, 'x'] })",
        "await Promise.all([1, Promise.resolve(2)]); Math.random(); Date.now(); undefined",
        "(() => { throw new TypeError('warm') })()",
        "(x",
        "JSON.parse('{}').a?.b; [3, 1, 2].map((x) => x * 2).sort().join(); new Map([[1, 2]]); undefined",
    ];
    for kept in [false, true] {
        for source in programs_to_run {
            let program = Program {
                name: "script.ts".to_owned(),
                source: source.to_owned(),
                input: None,
                allowed_imports: None,
                max_value_bytes: u64::MAX,
                check: false,
            };
            let _ = run(&program, kept);
        }
    }
    programs().clear();
    engine().tidy_up();
}
