//! Inside wasm: the host's own functions. All that is done here is to change types.

use std::time::Duration;

use serde_json::Value;

use crate::asks::{Abilities, Elicited};
use crate::bindings::toolcell::guest::{
    asks, console, events, prompts as wit_prompts, resources as wit_resources, state, tools as wit,
};
use crate::executor::Answer;
use crate::log::Level;
use crate::output::{Content, Output};
use crate::prompts::{Argument, Prompt};
use crate::resources::{Resource, Template};
use crate::tools::Tool;
use crate::{CallError, clock};

/// JSON as the host sends it. It is valid; what is not would stay visible as a string.
fn parse(json: String) -> Value {
    serde_json::from_str(&json).unwrap_or(Value::String(json))
}

fn answer(result: Result<wit::Output, wit::CallError>) -> Answer {
    match result {
        Ok(output) => Ok(Output {
            content: output.content.into_iter().map(content).collect(),
            structured: output.structured.map(parse),
            is_error: output.is_error,
        }),
        Err(error) => Err(error.into()),
    }
}

fn content(block: wit::ContentBlock) -> Content {
    match block {
        wit::ContentBlock::Text(text) => Content::Text(text),
        wit::ContentBlock::Image(media) => {
            Content::Image { data: media.data, mime_type: media.mime_type }
        }
        wit::ContentBlock::Audio(media) => {
            Content::Audio { data: media.data, mime_type: media.mime_type }
        }
        wit::ContentBlock::Resource(json) => Content::Resource(parse(json)),
        wit::ContentBlock::Other(json) => Content::Other(parse(json)),
    }
}

impl From<Output> for wit::Output {
    fn from(output: Output) -> Self {
        let content = output.content.into_iter().map(|block| match block {
            Content::Text(text) => wit::ContentBlock::Text(text),
            Content::Image { data, mime_type } => {
                wit::ContentBlock::Image(wit::Media { data, mime_type })
            }
            Content::Audio { data, mime_type } => {
                wit::ContentBlock::Audio(wit::Media { data, mime_type })
            }
            Content::Resource(json) => wit::ContentBlock::Resource(json.to_string()),
            Content::Other(json) => wit::ContentBlock::Other(json.to_string()),
        });
        Self {
            content: content.collect(),
            structured: output.structured.map(|value| value.to_string()),
            is_error: output.is_error,
        }
    }
}

impl From<wit::CallError> for CallError {
    fn from(error: wit::CallError) -> Self {
        match error {
            wit::CallError::Denied(message) => Self::Denied(message),
            wit::CallError::UnknownTool(message) => Self::UnknownTool(message),
            wit::CallError::InvalidArguments(wrong) => {
                Self::InvalidArguments { path: wrong.path, message: wrong.message }
            }
            wit::CallError::Unavailable(message) => Self::Unavailable(message),
            wit::CallError::TimedOut(over) => Self::TimedOut {
                after: Duration::from_millis(over.after_ms),
                phase: over.phase,
                message: over.message,
            },
            wit::CallError::Rejected(rejected) => Self::Rejected {
                code: rejected.code,
                message: rejected.message,
                data: rejected.data.map(parse),
            },
            wit::CallError::Exhausted(exhausted) => exhausted.into(),
            wit::CallError::Cancelled => Self::Cancelled,
            wit::CallError::Interrupted(message) => Self::Interrupted(message),
        }
    }
}

impl From<wit::Exhausted> for CallError {
    fn from(exhausted: wit::Exhausted) -> Self {
        Self::Exhausted {
            limit_name: exhausted.limit_name,
            limit: exhausted.limit,
            used: exhausted.used,
            message: exhausted.message,
        }
    }
}

pub(crate) fn servers() -> Vec<String> {
    wit::servers()
}

pub(crate) fn names(server: &str) -> Result<Vec<String>, CallError> {
    Ok(wit::names(server)?)
}

pub(crate) fn describe(name: &str) -> Result<Tool, CallError> {
    let tool = wit::describe(name)?;
    Ok(Tool {
        name: tool.name,
        title: tool.title,
        description: tool.description,
        input_schema: parse(tool.input_schema),
        output_schema: tool.output_schema.map(parse),
        read_only: tool.read_only,
        idempotent: tool.idempotent,
        destructive: tool.destructive,
    })
}

pub(crate) fn start(name: &str, arguments: &str) -> u64 {
    wit::start(name, arguments)
}

pub(crate) fn start_read(server: &str, uri: &str) -> u64 {
    wit_resources::start(server, uri)
}

pub(crate) fn start_prompt(name: &str, arguments: &str) -> u64 {
    wit_prompts::start(name, arguments)
}

pub(crate) fn wait(timeout_ns: Option<u64>) -> Vec<(u64, Answer)> {
    let completions = wit::wait(timeout_ns);
    completions.into_iter().map(|completion| (completion.id, answer(completion.answer))).collect()
}

pub(crate) fn cancel(id: u64) {
    wit::cancel(id);
}

pub(crate) fn resource_servers() -> Vec<String> {
    wit_resources::servers()
}

pub(crate) fn resources_listed(server: &str) -> Result<Vec<Resource>, CallError> {
    let listed = wit_resources::listed(server)?.into_iter().map(|resource| Resource {
        uri: resource.uri,
        name: resource.name,
        title: resource.title,
        description: resource.description,
        mime_type: resource.mime_type,
        size: resource.size,
    });
    Ok(listed.collect())
}

pub(crate) fn resource_templates(server: &str) -> Result<Vec<Template>, CallError> {
    let listed = wit_resources::templates(server)?.into_iter().map(|template| Template {
        uri_template: template.uri_template,
        name: template.name,
        title: template.title,
        description: template.description,
        mime_type: template.mime_type,
    });
    Ok(listed.collect())
}

pub(crate) fn prompt_servers() -> Vec<String> {
    wit_prompts::servers()
}

pub(crate) fn prompts_listed(server: &str) -> Result<Vec<Prompt>, CallError> {
    let listed = wit_prompts::listed(server)?.into_iter().map(|prompt| Prompt {
        name: prompt.name,
        title: prompt.title,
        description: prompt.description,
        arguments: prompt
            .arguments
            .into_iter()
            .map(|argument| Argument {
                name: argument.name,
                description: argument.description,
                required: argument.required,
            })
            .collect(),
    });
    Ok(listed.collect())
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => events::Level::Debug,
        Level::Info => events::Level::Info,
        Level::Notice => events::Level::Notice,
        Level::Warning => events::Level::Warning,
        Level::Error => events::Level::Error,
        Level::Critical => events::Level::Critical,
        Level::Alert => events::Level::Alert,
        Level::Emergency => events::Level::Emergency,
    };
    events::log(level, message);
}

pub(crate) fn progress(done: f64, total: Option<f64>, message: Option<&str>) {
    events::progress(done, total, message);
}

pub(crate) fn write_stderr(text: &str) {
    console::write(console::Stream::Stderr, text.as_bytes());
}

pub(crate) fn state_get(key: &str) -> Option<String> {
    state::get(key)
}

pub(crate) fn state_set(key: &str, value: &str) -> Result<(), CallError> {
    Ok(state::set(key, value)?)
}

pub(crate) fn state_delete(key: &str) -> bool {
    state::delete(key)
}

pub(crate) fn state_keys() -> Vec<String> {
    state::keys()
}

pub(crate) fn abilities() -> Abilities {
    let abilities = asks::abilities().bits();
    Abilities {
        elicitation: abilities & asks::Ability::ELICITATION.bits() != 0,
        sampling: abilities & asks::Ability::SAMPLING.bits() != 0,
    }
}

pub(crate) fn elicit(message: &str, schema: &str) -> Result<Elicited<String>, CallError> {
    Ok(match asks::elicit(message, schema)? {
        asks::Elicited::Accepted(json) => Elicited::Accepted(json),
        asks::Elicited::Declined => Elicited::Declined,
        asks::Elicited::Cancelled => Elicited::Cancelled,
    })
}

pub(crate) fn sample(params: &str) -> Result<String, CallError> {
    Ok(asks::sample(params)?)
}

pub(crate) fn now_ns() -> u64 {
    clock::now_ns()
}
