//! `toolcell:guest/tools`.
//!
//! The functions are written against the linker, not against the generated trait: those that wait
//! move the run's clock, and only a store context knows how much fuel was used before.

use std::time::Duration;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use crate::ids::CallId;
use crate::sandbox::bindings::toolcell::guest::tools as wit;
use crate::sandbox::state::{GuestState, fuel_used, lend, reclaim};
use crate::sandbox::{CallRequest, Exhausted};
use crate::tool::{CallAnswer, CallError, CallMethod, ContentBlock, ToolDescription, ToolOutput};

const INTERFACE: &str = "toolcell:guest/tools@0.1.0";

/// A longer name is no tool's; its first part is enough for the error.
const MAX_NAME_CHARACTERS: usize = 512;

type Store<'a> = StoreContextMut<'a, GuestState>;

pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut tools = linker.instance(INTERFACE)?;
    tools.func_wrap("servers", |store: Store<'_>, ()| Ok((store.data().calls.servers(),)))?;
    tools.func_wrap_async("names", |mut store: Store<'_>, (server,): (WasmStr,)| {
        Box::new(async move {
            let server = name(&server.to_str(&store)?);
            lend(&mut store);
            let names = store.data_mut().calls.names(&server).await;
            completed(&mut store)?;
            Ok((names.map_err(wit::CallError::from),))
        })
    })?;
    tools.func_wrap_async("describe", |mut store: Store<'_>, (tool,): (WasmStr,)| {
        Box::new(async move {
            let tool = name(&tool.to_str(&store)?);
            lend(&mut store);
            let tool = store.data_mut().calls.describe(&tool).await;
            completed(&mut store)?;
            Ok((tool.map(wit::Tool::from).map_err(wit::CallError::from),))
        })
    })?;
    tools.func_wrap_async(
        "call",
        |mut store: Store<'_>, (name, arguments): (WasmStr, WasmStr)| {
            Box::new(async move {
                let request = request(&store, CallMethod::Tool, &name, &arguments)?;
                lend(&mut store);
                let answer = store.data_mut().calls.call(request).await;
                completed(&mut store)?;
                Ok((lower(answer),))
            })
        },
    )?;
    tools.func_wrap("start", |mut store: Store<'_>, (name, arguments): (WasmStr, WasmStr)| {
        let request = request(&store, CallMethod::Tool, &name, &arguments)?;
        Ok((store.data_mut().calls.start(request)?.0,))
    })?;
    tools.func_wrap_async("wait", |mut store: Store<'_>, (timeout,): (Option<u64>,)| {
        Box::new(async move {
            let timeout = timeout.map(Duration::from_nanos);
            lend(&mut store);
            let completions = store.data_mut().calls.wait(timeout).await;
            match timeout {
                Some(timeout) if completions.is_empty() => {
                    reclaim(&mut store)?;
                    store.data().clock.elapsed_wait(timeout, fuel_used(&store));
                }
                _ => completed(&mut store)?,
            }
            Ok((completions.into_iter().map(completion).collect::<Vec<_>>(),))
        })
    })?;
    tools.func_wrap("cancel", |mut store: Store<'_>, (id,): (u64,)| {
        store.data_mut().calls.cancel(CallId(id));
        Ok(())
    })
}

/// Copies what the guest asks for, but only as much as the broker will look at: the guest chooses
/// these lengths.
pub(super) fn request(
    store: &Store<'_>,
    method: CallMethod,
    tool: &WasmStr,
    arguments: &WasmStr,
) -> wasmtime::Result<CallRequest> {
    let (tool, arguments) = (tool.to_str(store)?, arguments.to_str(store)?);
    let argument_bytes = arguments.len() as u64;
    let wanted = argument_bytes <= store.data().argument_bytes;
    Ok(CallRequest {
        method,
        name: name(&tool),
        arguments: if wanted { arguments.into_owned() } else { String::new() },
        argument_bytes,
    })
}

/// As much of a name as is looked at and quoted.
pub(super) fn name(text: &str) -> String {
    text.chars().take(MAX_NAME_CHARACTERS).collect()
}

/// What comes after every wait that [`lend`] began.
///
/// # Errors
/// The calls that were waited for left no fuel.
pub(super) fn completed(store: &mut Store<'_>) -> wasmtime::Result<()> {
    reclaim(store)?;
    store.data().clock.completed_wait(fuel_used(store));
    Ok(())
}

fn completion((id, answer): (CallId, CallAnswer)) -> wit::Completion {
    wit::Completion { id: id.0, answer: lower(answer) }
}

pub(super) fn lower(answer: CallAnswer) -> Result<wit::Output, wit::CallError> {
    answer.map(wit::Output::from).map_err(wit::CallError::from)
}

pub(super) fn exhausted(Exhausted { reached, message }: Exhausted) -> wit::Exhausted {
    wit::Exhausted {
        limit_name: reached.kind.name().to_owned(),
        limit: reached.limit,
        used: reached.used,
        message,
    }
}

impl From<ToolDescription> for wit::Tool {
    fn from(tool: ToolDescription) -> Self {
        Self {
            name: tool.name.to_string(),
            title: tool.title,
            description: tool.description,
            input_schema: tool.input_schema.to_string(),
            output_schema: tool.output_schema.map(|schema| schema.to_string()),
            read_only: tool.hints.read_only,
            idempotent: tool.hints.idempotent,
            destructive: tool.hints.destructive,
        }
    }
}

impl From<ToolOutput> for wit::Output {
    fn from(output: ToolOutput) -> Self {
        Self {
            content: output.content.into_iter().map(wit::ContentBlock::from).collect(),
            structured: output.structured.map(|json| Box::<str>::from(json).into_string()),
            is_error: output.is_error,
        }
    }
}

impl From<ContentBlock> for wit::ContentBlock {
    fn from(block: ContentBlock) -> Self {
        match block {
            ContentBlock::Text(text) => Self::Text(text),
            ContentBlock::Image { data, mime_type } => {
                Self::Image(wit::Media { data: data.into(), mime_type })
            }
            ContentBlock::Audio { data, mime_type } => {
                Self::Audio(wit::Media { data: data.into(), mime_type })
            }
            ContentBlock::Resource(json) => Self::Resource(Box::<str>::from(json).into_string()),
            ContentBlock::Other(json) => Self::Other(Box::<str>::from(json).into_string()),
        }
    }
}

impl From<CallError> for wit::CallError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Denied(message) => Self::Denied(message),
            CallError::UnknownTool(message) => Self::UnknownTool(message),
            CallError::InvalidArguments { path, message } => {
                Self::InvalidArguments(wit::InvalidArguments { path, message })
            }
            CallError::Unavailable(message) => Self::Unavailable(message),
            CallError::TimedOut { after, phase, message } => Self::TimedOut(wit::TimedOut {
                after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                phase: phase.name().to_owned(),
                message,
            }),
            CallError::Rejected { code, message, data } => Self::Rejected(wit::Rejected {
                code,
                message,
                data: data.map(|json| Box::<str>::from(json).into_string()),
            }),
            CallError::Exhausted { reached, message } => {
                Self::Exhausted(exhausted(Exhausted { reached, message }))
            }
            CallError::Cancelled => Self::Cancelled,
            CallError::Interrupted(message) => Self::Interrupted(message),
        }
    }
}
