//! `toolcell:guest/events`.

use serde_json::value::to_raw_value;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use crate::events::RunEvent;
use crate::limits::LimitReached;
use crate::sandbox::bindings::toolcell::guest::events as wit;
use crate::sandbox::state::GuestState;

const INTERFACE: &str = "toolcell:guest/events@0.1.0";

/// What an event costs besides its text, of what a run may print: an event without a text is not
/// for nothing either.
const EVENT_BYTES: u64 = 64;

/// As much of a text as is passed on.
const MAX_CHARACTERS: usize = 16 << 10;

type Store<'a> = StoreContextMut<'a, GuestState>;

pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut events = linker.instance(INTERFACE)?;
    events.func_wrap_async(
        "progress",
        |store: Store<'_>, (progress, total, message): (f64, Option<f64>, Option<WasmStr>)| {
            Box::new(async move {
                let message = match message {
                    Some(message) => Some(text(&store, &message)?),
                    None => None,
                };
                let bytes = message.as_ref().map_or(0, |(_, bytes)| *bytes);
                let message = message.map(|(message, _)| message);
                let event =
                    RunEvent::Progress { call: None, progress, total, message, params: None };
                Ok(tell(store, bytes, event).await?)
            })
        },
    )?;
    events.func_wrap_async("log", |store: Store<'_>, (level, message): (wit::Level, WasmStr)| {
        Box::new(async move {
            let (message, bytes) = text(&store, &message)?;
            let data = to_raw_value(&message).unwrap_or_default();
            let level = word(level).to_owned();
            let event = RunEvent::Log { call: None, level, logger: None, data, params: None };
            Ok(tell(store, bytes, event).await?)
        })
    })
}

async fn tell(store: Store<'_>, bytes: usize, event: RunEvent) -> Result<(), LimitReached> {
    let live = store.data().lock_console().charge(bytes as u64 + EVENT_BYTES)?;
    if let Some(live) = live {
        // As with what it prints: a slow reader slows the run down.
        let _ = live.send(event).await;
    }
    Ok(())
}

/// As much of a text as is passed on, and how long all of it is.
fn text(store: &Store<'_>, text: &WasmStr) -> wasmtime::Result<(String, usize)> {
    let text = text.to_str(store)?;
    Ok((text.chars().take(MAX_CHARACTERS).collect(), text.len()))
}

fn word(level: wit::Level) -> &'static str {
    match level {
        wit::Level::Debug => "debug",
        wit::Level::Info => "info",
        wit::Level::Notice => "notice",
        wit::Level::Warning => "warning",
        wit::Level::Error => "error",
        wit::Level::Critical => "critical",
        wit::Level::Alert => "alert",
        wit::Level::Emergency => "emergency",
    }
}
