//! What of an exception the host is told.

use rquickjs::{Ctx, Object, Value};

use crate::bindings::exports::toolcell::guest::script::{Failure, Uncaught, UncaughtCall};
use crate::engine::{Part, engine};
use crate::text;

/// QuickJS's words for a stack that is used up.
const STACK_OVERFLOW: &str = "Maximum call stack size exceeded";

/// QuickJS's words for memory that is used up.
const OUT_OF_MEMORY: &str = "out of memory";

/// How deep a small function can call itself: what the limit on the stack comes to.
pub(crate) const FRAMES: u64 = 2_000;

/// The failure that an exception is which nothing caught.
pub(crate) fn of<'js>(ctx: &Ctx<'js>, thrown: Value<'js>) -> Failure {
    let class = member(&thrown, "name");
    let message = member(&thrown, "message");
    if message.as_deref() == Some(OUT_OF_MEMORY) && class.as_deref() != Some("Error") {
        let traceback =
            format!("{}: {OUT_OF_MEMORY}\n", class.as_deref().unwrap_or("InternalError"));
        return Failure::Memory(told(ctx, &thrown).map_or_else(
            || Uncaught {
                class: "InternalError".to_owned(),
                message: OUT_OF_MEMORY.to_owned(),
                traceback,
            },
            |(uncaught, _)| uncaught,
        ));
    }
    let Some((mut uncaught, about)) = told(ctx, &thrown) else {
        let class = class.unwrap_or_else(|| "Error".to_owned());
        let message = message.unwrap_or_default();
        let traceback = format!("{class}: {message}\n");
        return Failure::Exception(Uncaught { class, message, traceback });
    };
    if uncaught.class == "RangeError" && uncaught.message == STACK_OVERFLOW {
        return Failure::Recursion((uncaught, FRAMES));
    }
    if let Some(tool) = member(about.as_value(), "tool") {
        let number = |name: &str| about.get::<_, f64>(name).map_or(0, |number| number as u64);
        return Failure::Call(UncaughtCall {
            tool,
            kind: member(about.as_value(), "kind").unwrap_or_default(),
            limit_name: member(about.as_value(), "limitName"),
            limit: number("limit"),
            used: number("used"),
            exception: uncaught,
        });
    }
    explain(&mut uncaught);
    Failure::Exception(uncaught)
}

/// A program that QuickJS does not take.
pub(crate) fn syntax<'js>(ctx: &Ctx<'js>, thrown: Value<'js>) -> Failure {
    match of(ctx, thrown) {
        Failure::Exception(uncaught) => Failure::Syntax(uncaught),
        other => other,
    }
}

/// An error of ours, without a place.
pub(crate) fn plain(class: &str, message: String) -> Failure {
    let traceback = format!("{class}: {message}\n");
    Failure::Exception(Uncaught { class: class.to_owned(), message, traceback })
}

/// What the prelude makes of an exception; none if that fails too.
fn told<'js>(ctx: &Ctx<'js>, thrown: &Value<'js>) -> Option<(Uncaught, Object<'js>)> {
    let about = engine().prelude(ctx, Part::Uncaught).and_then(|f| f.call((thrown.clone(),)));
    let about: Object<'js> = match about {
        Ok(about) => about,
        Err(_) => {
            drop(ctx.catch());
            return None;
        }
    };
    let part = |name: &str| member(about.as_value(), name).unwrap_or_default();
    let mut traceback = part("traceback");
    if !traceback.ends_with('\n') {
        traceback.push('\n');
    }
    let uncaught = Uncaught { class: part("class"), message: part("message"), traceback };
    Some((uncaught, about))
}

fn member(value: &Value<'_>, name: &str) -> Option<String> {
    let member = value.as_object()?.get::<_, Value<'_>>(name);
    match member {
        Ok(member) => text::of(&member),
        Err(_) => {
            drop(value.ctx().catch());
            None
        }
    }
}

/// Says of what is missing here what its author can do.
fn explain(uncaught: &mut Uncaught) {
    if uncaught.class != "ReferenceError" {
        return;
    }
    let Some(name) = uncaught.message.strip_suffix(" is not defined") else { return };
    let name = name.trim_matches(|c| c == '\'' || c == '"');
    let why = match name {
        "fetch" | "XMLHttpRequest" | "WebSocket" | "EventSource" | "Request" | "Headers" => {
            "there is no network in the sandbox: call a tool, as in `await tools.server.tool({ … })`"
        }
        "require" | "module" | "exports" => {
            "there are no packages in the sandbox: `import { server } from \"tools\"` gives the granted tools"
        }
        "process" | "Deno" | "Bun" => {
            "a program has no process, no environment and no files here: its input is `inputs`"
        }
        "Buffer" => "use Uint8Array, TextEncoder, TextDecoder, atob and btoa",
        "__dirname" | "__filename" => "there are no files in the sandbox",
        "window" | "document" | "localStorage" => "this is no browser",
        "alert" | "prompt" | "confirm" => "nobody can be asked from here",
        _ => return,
    };
    let told = format!("{}: {why}", uncaught.message);
    uncaught.traceback = uncaught.traceback.replacen(&uncaught.message, &told, 1);
    uncaught.message = told;
}
