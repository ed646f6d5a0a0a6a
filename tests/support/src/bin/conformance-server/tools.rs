//! The tools. What each of them says is prescribed by the suite's scenarios.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, LoggingLevel,
    LoggingMessageNotificationParam, ProgressNotificationParam, Tool,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};

use crate::questions::{self, Round};
use crate::resources::PIXEL;
use crate::{Fixture, is_modern, model};

/// Four silent samples, WAV in base64.
const SILENCE: &str = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQgAAAAAAAAAAAAAAA==";

/// How long a tool that tells of its work takes for each part of it.
const PART: Duration = Duration::from_millis(50);

/// All tools; one of them is there only after every other change.
pub(crate) fn list(changes: u64) -> Vec<Tool> {
    let mut all: Vec<Tool> = PLAIN
        .iter()
        .chain(questions::TOOLS)
        .map(|(name, description)| tool(name, description, &json!({ "type": "object" })))
        .collect();
    all.extend([
        tool(
            "test_sampling",
            "Asks the client's model",
            &one_text("prompt", "What the model is asked"),
        ),
        tool(
            "test_elicitation",
            "Asks the user for a name and an address",
            &one_text("message", "What the user is told"),
        ),
        tool("test_custom_header", "Repeats its argument, which is in a header too", &in_header()),
        tool("json_schema_2020_12_tool", "Has a schema with much in it", &rich_schema()),
    ]);
    if changes % 2 == 1 {
        all.push(tool("test_changing_tool", "Now it is there", &json!({ "type": "object" })));
    }
    all
}

/// Tools without arguments that ask nobody.
const PLAIN: &[(&str, &str)] = &[
    ("test_simple_text", "Answers with a text"),
    ("test_image_content", "Answers with a picture"),
    ("test_audio_content", "Answers with a sound"),
    ("test_embedded_resource", "Answers with a resource"),
    ("test_multiple_content_types", "Answers with a text, a picture and a resource"),
    ("test_error_handling", "Fails"),
    ("test_tool_with_logging", "Logs what it does"),
    ("test_logging_tool", "Logs what it does, if the request wants to hear of it"),
    ("test_tool_with_progress", "Tells how far it is"),
    ("test_reconnection", "Takes its time"),
    ("test_trigger_tool_change", "Changes the list of tools"),
    ("test_trigger_prompt_change", "Changes the list of prompts"),
];

/// # Errors
/// There is no such tool, or what goes along with the call is not understood.
pub(crate) async fn call(
    fixture: &Fixture,
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let arguments = request.arguments.unwrap_or_default();
    let contents = match &*request.name {
        "test_simple_text" => json!([text("This is a simple text response for testing.")]),
        "test_image_content" => json!([image()]),
        "test_audio_content" => {
            json!([{ "type": "audio", "data": SILENCE, "mimeType": "audio/wav" }])
        }
        "test_embedded_resource" => json!([resource(
            "test://embedded-resource",
            "text/plain",
            "This is an embedded resource content.",
        )]),
        "test_multiple_content_types" => json!([
            text("Multiple content types test:"),
            image(),
            resource(
                "test://mixed-content-resource",
                "application/json",
                r#"{"test":"data","value":123}"#,
            ),
        ]),
        "test_error_handling" => {
            return Ok(failed("This tool intentionally returns an error for testing").into());
        }
        "test_tool_with_logging" | "test_logging_tool" => log(fixture, context).await,
        "test_tool_with_progress" => progress(context).await,
        "test_reconnection" => {
            tokio::time::sleep(2 * PART).await;
            json!([text("The answer comes however the stream fared meanwhile.")])
        }
        "test_trigger_tool_change" => {
            fixture.changes.send_modify(|changes| changes.tools += 1);
            if !is_modern(context) {
                let _ = context.peer.notify_tool_list_changed().await;
            }
            json!([text("The list of tools is another one now.")])
        }
        "test_trigger_prompt_change" => {
            fixture.changes.send_modify(|changes| changes.prompts += 1);
            if !is_modern(context) {
                let _ = context.peer.notify_prompt_list_changed().await;
            }
            json!([text("The list of prompts is another one now.")])
        }
        "test_changing_tool" if fixture.changes.borrow().tools % 2 == 1 => {
            json!([text("It is there indeed.")])
        }
        "test_custom_header" | "json_schema_2020_12_tool" => {
            json!([text(&Value::Object(arguments).to_string())])
        }
        name => {
            let Some(next) = questions::of_tool(name) else {
                let message = format!("there is no tool {name:?}");
                return Err(ErrorData::invalid_params(message, None));
            };
            if name == "test_streaming_elicitation" {
                tell_progress(context, 0.0).await;
            }
            let round = Round {
                purpose: name,
                client: context.client_capabilities().unwrap_or_default(),
                arguments: &arguments,
                answers: request.input_responses.unwrap_or_default(),
                state: request.request_state,
            };
            return questions::settle(fixture, context, round, next).await;
        }
    };
    Ok(answered(&contents, false).into())
}

/// A call that did not work out, in words for whoever called.
pub(crate) fn failed(why: &str) -> CallToolResult {
    answered(&json!([text(why)]), true)
}

/// A call that worked out.
pub(crate) fn said(words: &str) -> CallToolResult {
    answered(&json!([text(words)]), false)
}

fn answered(contents: &Value, is_error: bool) -> CallToolResult {
    model(json!({ "resultType": "complete", "content": contents, "isError": is_error }))
}

/// Three entries, some time apart. Whoever asked for less gets none of them.
async fn log(fixture: &Fixture, context: &RequestContext<RoleServer>) -> Value {
    let wanted = fixture.log_level(context);
    let hears = matches!(wanted, Some(LoggingLevel::Debug | LoggingLevel::Info));
    let parts = ["Tool execution started", "Tool processing data", "Tool execution completed"];
    for (count, part) in parts.into_iter().enumerate() {
        if count > 0 {
            tokio::time::sleep(PART).await;
        }
        if hears {
            let entry = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(part));
            let _ = context.peer.notify_logging_message(entry).await;
        }
    }
    json!([text("The tool has logged what there is to log.")])
}

async fn progress(context: &RequestContext<RoleServer>) -> Value {
    for percent in [0.0, 50.0, 100.0] {
        if percent > 0.0 {
            tokio::time::sleep(PART).await;
        }
        tell_progress(context, percent).await;
    }
    json!([text("The tool has told how far it was.")])
}

/// Tells how far a call is, if somebody wants to know.
async fn tell_progress(context: &RequestContext<RoleServer>, percent: f64) {
    if let Some(token) = context.meta.get_progress_token() {
        let progress = ProgressNotificationParam::new(token, percent).with_total(100.0);
        let _ = context.peer.notify_progress(progress).await;
    }
}

fn tool(name: &str, description: &str, schema: &Value) -> Tool {
    model(json!({ "name": name, "description": description, "inputSchema": schema }))
}

fn one_text(name: &str, description: &str) -> Value {
    json!({
        "type": "object",
        "properties": { (name): { "type": "string", "description": description } },
        "required": [name],
    })
}

/// What makes clients repeat an argument in the header `Mcp-Param-Region`.
fn in_header() -> Value {
    json!({
        "type": "object",
        "properties": { "region": { "type": "string", "x-mcp-header": "Region" } },
        "required": ["region"],
    })
}

/// What a program that knows JSON Schema only roughly would lose.
fn rich_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": { "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
        } },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": {
            "properties": { "contactMethod": { "const": "phone" } },
            "required": ["contactMethod"],
        },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn image() -> Value {
    json!({ "type": "image", "data": PIXEL, "mimeType": "image/png" })
}

fn resource(uri: &str, mime_type: &str, text: &str) -> Value {
    json!({ "type": "resource", "resource": { "uri": uri, "mimeType": mime_type, "text": text } })
}
