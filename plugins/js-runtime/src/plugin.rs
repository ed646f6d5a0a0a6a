//! A plugin in JavaScript or TypeScript: its source is run once, when the plugin is built, and what it
//! exported then are its tools.

use std::cell::UnsafeCell;

use rquickjs::{Function, Object, Persistent, Value};
use toolcell_js_prepare as prepare;

use crate::bindings::exports::toolcell::guest::plugin::{
    Definition, InvalidArguments, Output, Refusal,
};
use crate::bindings::toolcell::guest::tools::ContentBlock;
use crate::engine::{Part, engine};
use crate::{json, program, text};

struct Loaded(UnsafeCell<Option<Persistent<Object<'static>>>>);

// SAFETY: a wasm guest has one thread.
unsafe impl Sync for Loaded {}

/// The plugin's tools as the prelude keeps them.
static LOADED: Loaded = Loaded(UnsafeCell::new(None));

fn loaded() -> Option<Persistent<Object<'static>>> {
    // SAFETY: it is set once, while the plugin is built.
    unsafe { (*LOADED.0.get()).clone() }
}

/// Runs a plugin's source. Called while the plugin is built.
///
/// # Errors
/// It is no program, or it exports no tools; in words, with the place.
pub(crate) fn load(name: &str, source: &str) -> Result<(), String> {
    let functions = prepare::functions(name, source);
    let exports = program::load(name, source)?;
    engine().context.with(|ctx| {
        let thrown = || {
            let thrown = ctx.catch();
            let about = thrown.as_object().and_then(|it| it.get::<_, Value<'_>>("message").ok());
            about
                .as_ref()
                .and_then(text::of)
                .unwrap_or_else(|| "the plugin cannot be read".to_owned())
        };
        let make = || {
            let exports = exports.restore(&ctx)?;
            let read: Function<'_> = engine().prelude(&ctx, Part::Plugin)?;
            let described = ctx.json_parse(functions)?;
            let tools: Object<'_> = read.call((exports, described))?;
            Ok::<_, rquickjs::Error>(Persistent::save(&ctx, tools))
        };
        let tools = make().map_err(|_| thrown())?;
        // SAFETY: one thread, and nobody reads while a plugin is loaded.
        unsafe { *LOADED.0.get() = Some(tools) };
        Ok(())
    })
}

/// All tools.
pub(crate) fn list() -> Vec<Definition> {
    let Some(tools) = loaded() else { return Vec::new() };
    engine().context.with(|ctx| {
        engine().stack_begins_here(&ctx);
        let Ok(tools) = tools.restore(&ctx) else { return Vec::new() };
        let each = tools.props::<String, Object<'_>>().flatten();
        each.map(|(name, tool)| {
            let part = |name: &str| tool.get::<_, Value<'_>>(name).ok().as_ref().and_then(text::of);
            let flag = |name: &str| tool.get::<_, bool>(name).unwrap_or(false);
            Definition {
                title: part("title"),
                description: part("description"),
                input_schema: part("input").unwrap_or_default(),
                output_schema: part("output"),
                read_only: flag("readOnly"),
                idempotent: flag("idempotent"),
                destructive: flag("destructive"),
                name,
            }
        })
        .collect()
    })
}

/// Calls a tool with a JSON object.
///
/// # Errors
/// There is no such tool, or the arguments are none.
pub(crate) fn call(name: &str, arguments: &str) -> Result<Output, Refusal> {
    let unknown = || Refusal::UnknownTool(format!("the plugin has no tool `{name}`"));
    let tools = loaded().ok_or_else(unknown)?;
    engine().context.with(|ctx| {
        engine().stack_begins_here(&ctx);
        let tool = tools.restore(&ctx).ok().and_then(|tools| tools.get::<_, Object<'_>>(name).ok());
        let handler = tool.and_then(|tool| tool.get::<_, Function<'_>>("handler").ok());
        let handler = handler.ok_or_else(|| {
            drop(ctx.catch());
            unknown()
        })?;
        let arguments = ctx.json_parse(arguments).map_err(|_| {
            drop(ctx.catch());
            let message = "the arguments are no JSON".to_owned();
            Refusal::InvalidArguments(InvalidArguments { path: String::new(), message })
        })?;
        Ok(match program::call(&ctx, handler, arguments) {
            Ok(value) => answer(&value),
            Err(words) => failed(words),
        })
    })
}

fn answer(value: &Value<'_>) -> Output {
    if let Some(text) = text::of(value) {
        return Output {
            content: vec![ContentBlock::Text(text)],
            structured: None,
            is_error: false,
        };
    }
    match json::encode(value, false) {
        Ok(None) => Output { content: Vec::new(), structured: None, is_error: false },
        Ok(Some(json)) => {
            // Structured content is an object in MCP.
            let structured = json.starts_with('{').then(|| json.clone());
            Output { content: vec![ContentBlock::Text(json)], structured, is_error: false }
        }
        Err(why) => failed(format!("the tool's result cannot be given: {}", why.0)),
    }
}

fn failed(words: String) -> Output {
    Output { content: vec![ContentBlock::Text(words)], structured: None, is_error: true }
}
