//! Prompts: plain, with arguments, with a resource, with a picture, and one that asks the user.

use rmcp::RoleServer;
use rmcp::model::{
    ErrorData, GetPromptRequestParams, GetPromptResponse, GetPromptResult, JsonObject, Prompt,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};

use crate::questions::{self, Round, Step};
use crate::resources::PIXEL;
use crate::{Fixture, model};

/// All prompts; one of them is there only after every other change.
pub(crate) fn list(changes: u64) -> Vec<Prompt> {
    let mut all = json!([
        { "name": "test_simple_prompt", "description": "A prompt without arguments" },
        {
            "name": "test_prompt_with_arguments",
            "description": "A prompt with two arguments",
            "arguments": [
                { "name": "arg1", "description": "The first one", "required": true },
                { "name": "arg2", "description": "The second one", "required": true },
            ],
        },
        {
            "name": "test_prompt_with_embedded_resource",
            "description": "A prompt with a resource in it",
            "arguments": [
                { "name": "resourceUri", "description": "Which resource", "required": true },
            ],
        },
        { "name": "test_prompt_with_image", "description": "A prompt with a picture in it" },
        {
            "name": "test_input_required_result_prompt",
            "description": "A prompt that asks the user what it is about",
        },
    ]);
    if changes % 2 == 1
        && let Some(all) = all.as_array_mut()
    {
        all.push(json!({ "name": "test_changing_prompt", "description": "Now it is there" }));
    }
    model(all)
}

/// # Errors
/// There is no such prompt, or it lacks an argument.
pub(crate) async fn get(
    fixture: &Fixture,
    request: GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    let arguments = request.arguments.unwrap_or_default();
    let contents = match &*request.name {
        "test_simple_prompt" | "test_changing_prompt" => {
            json!([text("This is a simple prompt for testing.")])
        }
        "test_prompt_with_arguments" => {
            let (arg1, arg2) = (need(&arguments, "arg1")?, need(&arguments, "arg2")?);
            json!([text(&format!("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))])
        }
        "test_prompt_with_embedded_resource" => json!([
            {
                "type": "resource",
                "resource": {
                    "uri": need(&arguments, "resourceUri")?,
                    "mimeType": "text/plain",
                    "text": "Embedded resource content for testing.",
                },
            },
            text("Please process the embedded resource above."),
        ]),
        "test_prompt_with_image" => json!([
            { "type": "image", "data": PIXEL, "mimeType": "image/png" },
            text("Please analyze the image above."),
        ]),
        "test_input_required_result_prompt" => {
            let round = Round {
                purpose: &request.name,
                client: context.client_capabilities().unwrap_or_default(),
                arguments: &arguments,
                answers: request.input_responses.unwrap_or_default(),
                state: request.request_state,
            };
            return questions::settle(fixture, context, round, about_what).await;
        }
        name => {
            let message = format!("there is no prompt {name:?}");
            return Err(ErrorData::invalid_params(message, None));
        }
    };
    Ok(prompt(&contents).into())
}

/// Ideas for an argument that begins like that.
pub(crate) fn complete(begun: &str) -> Vec<String> {
    let words = ["testimony", "testbed", "paris", "park", "party"];
    words.iter().filter(|word| word.starts_with(begun)).map(ToString::to_string).collect()
}

fn about_what(_: &Fixture, round: &Round<'_>) -> Result<Step<GetPromptResult>, ErrorData> {
    let question = || {
        let fields = json!({ "context": { "type": "string" } });
        questions::form("What context should the prompt use?", &fields, &["context"])
    };
    Ok(match round.filled_in("user_context", "context").and_then(Value::as_str) {
        None => Step::ask([("user_context", question())]),
        Some(context) => Step::Done(prompt(&json!([text(&format!("It is about: {context}"))]))),
    })
}

/// Messages of the user with these contents.
fn prompt(contents: &Value) -> GetPromptResult {
    let message = |content: &Value| json!({ "role": "user", "content": content });
    let messages: Vec<Value> = contents.as_array().into_iter().flatten().map(message).collect();
    model(json!({ "resultType": "complete", "messages": messages }))
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn need<'a>(arguments: &'a JsonObject, name: &str) -> Result<&'a str, ErrorData> {
    let missing = || ErrorData::invalid_params(format!("the argument `{name}` is missing"), None);
    arguments.get(name).and_then(Value::as_str).ok_or_else(missing)
}
