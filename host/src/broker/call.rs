//! One call through all the steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::arguments;
use super::context::Shared;
use super::error::queued_too_long;
use super::{offers, plugins, said};
use crate::events::RunEvent;
use crate::grants::{Decision, nearest};
use crate::ids::{CallId, ToolName, UpstreamName};
use crate::journal::EntryKind;
use crate::limits::{LimitKind, LimitReached};
use crate::sandbox::CallRequest;
use crate::tool::{CallAnswer, CallError, CallMethod, ToolDescription, ToolOutput};
use crate::upstream::{CallContext, UpstreamError};

/// How many similar names an error offers.
const NEAREST: usize = 3;

/// Takes one call down the road. Cancel-safe: dropped while the upstream works, it cancels the call
/// there, and the record ends with the request.
pub(super) async fn make(shared: Arc<Shared>, id: CallId, request: CallRequest) -> CallAnswer {
    let passed = pass(&shared, &request).await;
    let method = request.method;
    let passed = match passed {
        Ok(passed) => passed,
        Err(error) => {
            let server = match method {
                CallMethod::Resource => UpstreamName::try_new(&request.name).ok(),
                CallMethod::Tool | CallMethod::Prompt => {
                    ToolName::parse(&request.name).map(|tool| tool.upstream)
                }
            };
            shared.note_outage(server, &error);
            let tool = label(request);
            shared.record_call(
                method,
                &tool,
                Some((error.kind(), error.message())),
                Duration::ZERO,
                None,
            );
            shared.journal(EntryKind::Refused { call: id, tool, kind: error.kind() }).await;
            return Err(error);
        }
    };
    let started = Instant::now();
    let answer = go_out(&shared, id, &passed).await;
    let elapsed = started.elapsed();
    let failure = match &answer {
        Ok(output) if output.is_error => Some(("tool", output.first_text())),
        Ok(_) => None,
        Err(error) => Some((error.kind(), error.message())),
    };
    let run = shared.came_back(id);
    if let Err(error) = &answer {
        shared.note_outage(Some(passed.name.upstream.clone()), error);
    }
    let tool = passed.name.clone();
    shared.record_call(method, &label(request), failure, elapsed, run);
    let error = failure.map(|(kind, _)| kind);
    shared.tell(RunEvent::CallEnded { id, method, tool, error, elapsed }).await;
    answer
}

/// A call that may leave.
pub(super) struct Passed {
    pub(super) method: CallMethod,
    /// The tool or prompt; for a read, the server and the URI.
    pub(super) name: ToolName,
    /// A JSON object.
    pub(super) arguments: Box<RawValue>,
    /// The schema of a tool's structured content, if it has one.
    pub(super) output_schema: Option<Arc<Value>>,
}

/// The call as the guest named it.
fn label(request: CallRequest) -> String {
    match request.method {
        CallMethod::Resource => offers::label(&request.name, &request.arguments),
        CallMethod::Tool | CallMethod::Prompt => request.name,
    }
}

/// Everything that can refuse a call before it leaves.
async fn pass(shared: &Shared, request: &CallRequest) -> Result<Passed, CallError> {
    count(shared, request)?;
    match request.method {
        CallMethod::Tool => pass_tool(shared, request).await,
        CallMethod::Resource => offers::pass_read(shared, request),
        CallMethod::Prompt => offers::pass_prompt(shared, request).await,
    }
}

async fn pass_tool(shared: &Shared, request: &CallRequest) -> Result<Passed, CallError> {
    let name = granted_name(shared, &request.name)?;
    let tool = describe(shared, &name).await?;
    let arguments = arguments::parse(&request.name, &request.arguments)?;
    decide(shared, &name, &arguments)?;
    let arguments = Value::Object(arguments);
    shared.schemas().check(&tool, &arguments)?;
    // The guest's own text goes on, not what we read of it: no number loses a digit.
    let text = RawValue::from_string(request.arguments.clone());
    let text = text.map_err(|error| CallError::InvalidArguments {
        path: String::new(),
        message: format!("arguments of `{}` are not JSON: {error}", request.name),
    })?;
    let output_schema = tool.output_schema;
    Ok(Passed { method: CallMethod::Tool, name, arguments: text, output_schema })
}

fn count(shared: &Shared, request: &CallRequest) -> Result<(), CallError> {
    let limits = shared.limits();
    let exhausted = |kind, limit, used, message| CallError::Exhausted {
        reached: LimitReached { kind, limit, used },
        message,
    };
    if let Err((limit, used, is_own)) = shared.spend() {
        let whose = match is_own {
            true => "this run may make",
            false => "the run that called this plugin, and all that it calls, may make",
        };
        return Err(exhausted(
            LimitKind::ToolCalls,
            limit,
            used,
            format!(
                "{whose} {limit} tool calls and has made them; finish with what there is, or start \
                 another run"
            ),
        ));
    }
    if request.argument_bytes > limits.argument_bytes {
        return Err(exhausted(
            LimitKind::Argument,
            limits.argument_bytes,
            request.argument_bytes,
            format!(
                "the arguments of `{}` are {} bytes of JSON and may be {}; send less at once",
                request.name, request.argument_bytes, limits.argument_bytes
            ),
        ));
    }
    Ok(())
}

/// A full name taken apart, if the run may see such a tool.
pub(super) fn granted_name(shared: &Shared, full: &str) -> Result<ToolName, CallError> {
    let name = ToolName::parse(full).filter(|name| shared.policy().grants(name));
    let name = name.filter(|name| shared.has_server(name.upstream.as_str()));
    name.ok_or_else(|| unknown(shared, full))
}

/// The tool as its server describes it, if the run may see it.
pub(super) async fn describe(
    shared: &Shared,
    name: &ToolName,
) -> Result<ToolDescription, CallError> {
    let catalog = shared.catalog(&name.upstream).await;
    let advice = shared.advice(&name.upstream, &name.tool);
    let catalog = catalog.map_err(|error| advice.explain(error))?;
    let found = catalog.tool(&name.tool).cloned();
    found.ok_or_else(|| unknown(shared, &name.to_string()))
}

/// What a guest hears of a tool that is not there and of one that is not granted.
fn unknown(shared: &Shared, full: &str) -> CallError {
    let known = shared.known_names();
    let near = nearest(full, known.iter().map(String::as_str), NEAREST);
    let way_out = if near.is_empty() {
        format!("granted servers: {}", shared.server_names().join(", "))
    } else {
        format!("nearest granted: {}", near.join(", "))
    };
    CallError::UnknownTool(format!("no tool `{full}` is granted to this run ({way_out})"))
}

fn decide(
    shared: &Shared,
    name: &ToolName,
    arguments: &Map<String, Value>,
) -> Result<(), CallError> {
    match shared.policy().decide(name, arguments) {
        Decision::Allow => Ok(()),
        Decision::Deny { reason } => Err(CallError::Denied(format!(
            "the operator does not allow this call of `{name}`: {reason}"
        ))),
        Decision::Ask { rule } => Err(CallError::Denied(format!(
            "this call of `{name}` needs a person's approval (asked by {rule}), and nobody can be \
             asked in this run"
        ))),
    }
}

/// The call itself, within the run's time and among its concurrent calls.
async fn go_out(shared: &Arc<Shared>, id: CallId, passed: &Passed) -> CallAnswer {
    let Passed { method, name, arguments, output_schema } = passed;
    let method = *method;
    let limits = shared.limits();
    let started = Instant::now();
    let of_plugin = method.is_tool() && shared.catalogs().is_plugin(name.upstream.as_str());
    let place = timeout(limits.call_timeout, shared.place(of_plugin));
    let Ok(_place) = place.await else {
        return Err(queued_too_long(started.elapsed(), limits.concurrent_calls));
    };
    shared
        .journal(EntryKind::Requested {
            call: id,
            method,
            tool: method.label(name),
            arguments: arguments.get().into(),
            caller: shared.caller().id.clone(),
        })
        .await;
    shared.tell(RunEvent::CallStarted { id, method, tool: name.clone() }).await;
    shared.leaves(id, method, name);
    let left = limits.call_timeout.saturating_sub(started.elapsed());
    if of_plugin {
        let output = plugins::call(shared, id, name, arguments, left).await?;
        let output = bound(shared, method, name, output)?;
        // What servers answer is passed on as it came; a plugin's schemas were accepted with it.
        if let Some(schema) = output_schema {
            shared.schemas().check_answer(name, schema, &output)?;
        }
        return Ok(output);
    }
    let advice = shared.advice(&name.upstream, &name.tool);
    let called = said::told(shared, id, |events| {
        let (meta, handler) = (shared.meta().cloned(), shared.handler().cloned());
        let pauses = Some(shared.pauses().clone());
        let context = CallContext { meta, events, handler, pauses };
        let upstreams = shared.upstreams();
        async move {
            match method {
                CallMethod::Tool => upstreams.call(name, arguments, left, context).await,
                CallMethod::Resource => {
                    let (server, uri) = (&name.upstream, &*name.tool);
                    let read = upstreams.read_resource(server, uri, left, context).await;
                    read.map(|output| offers::as_answer(output.into_raw()))
                }
                CallMethod::Prompt => {
                    let (server, prompt) = (&name.upstream, &*name.tool);
                    let got = upstreams.get_prompt(server, prompt, arguments, left, context).await;
                    got.map(|output| offers::as_answer(output.into_raw()))
                }
            }
        }
    })
    .await;
    if let (CallMethod::Resource, Err(UpstreamError::Rejected { code: offers::NOT_FOUND, .. })) =
        (method, &called)
    {
        // The same words as for a resource that is not granted.
        return Err(offers::unknown_resource(shared, &method.label(name)));
    }
    let mut output = called.map_err(|error| advice.explain(error))?;
    advice.annotate(&mut output);
    bound(shared, method, name, output)
}

/// An answer that is no larger than it may be.
fn bound(shared: &Shared, method: CallMethod, name: &ToolName, output: ToolOutput) -> CallAnswer {
    let limits = shared.limits();
    let size = output.size_bytes() as u64;
    if size > limits.answer_bytes {
        return Err(CallError::Exhausted {
            reached: LimitReached {
                kind: LimitKind::Answer,
                limit: limits.answer_bytes,
                used: size,
            },
            message: format!(
                "the answer of `{}` is {size} bytes and may be {}; ask for less at once, with \
                 a filter or a page size if the tool has one",
                method.label(name),
                limits.answer_bytes
            ),
        });
    }
    Ok(output)
}
