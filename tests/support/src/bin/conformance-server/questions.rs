//! Tools that cannot answer before the user, or the user's model, has. Each of them is a function from
//! the answers so far to the next step, so that it is the same in both eras: up to 2025-11-25 the
//! questions are requests of the server; later they are a result, and the client calls again.

use std::collections::BTreeMap;

use rmcp::RoleServer;
use rmcp::model::{
    CallToolResult, ClientCapabilities, ErrorData, InputRequest, InputRequiredResult,
    InputResponses, JsonObject,
};
use rmcp::service::{RequestContext, ServiceError};
use serde::Serialize;
use serde_json::{Value, json};

use crate::tools::{failed, said};
use crate::{Fixture, is_modern, model};

/// Tools without arguments that ask.
pub(crate) const TOOLS: &[(&str, &str)] = &[
    ("test_elicitation_sep1034_defaults", "Asks the user with a form that is filled in already"),
    ("test_elicitation_sep1330_enums", "Asks the user to choose, in all ways that there are"),
    ("test_input_required_result_elicitation", "Asks the user for a name"),
    ("test_input_required_result_sampling", "Asks the client's model for a capital"),
    ("test_input_required_result_list_roots", "Asks the client for its roots"),
    ("test_input_required_result_request_state", "Asks the user, and remembers by the request"),
    ("test_input_required_result_multiple_inputs", "Asks for three things at once"),
    ("test_input_required_result_multi_round", "Asks one thing after the other"),
    ("test_input_required_result_tampered_state", "Asks the user, and remembers what is its own"),
    ("test_input_required_result_capabilities", "Asks only what this client can be asked"),
    ("test_missing_capability", "Needs a client with a model"),
    ("test_streaming_elicitation", "Asks the user in the middle of its work"),
];

/// How often a client is asked about one call, if it does not answer what it was asked.
const MAX_ROUNDS: usize = 5;

/// What one call has got so far.
pub(crate) struct Round<'a> {
    /// Who asks: its state is its own.
    pub(crate) purpose: &'a str,
    pub(crate) client: ClientCapabilities,
    pub(crate) arguments: &'a JsonObject,
    pub(crate) answers: InputResponses,
    pub(crate) state: Option<String>,
}

impl Round<'_> {
    /// What the user put into a field of a form, if they agreed to fill it in.
    pub(crate) fn filled_in(&self, question: &str, field: &str) -> Option<&Value> {
        let answer = self.answers.get(question)?;
        answer.get("action").filter(|action| *action == "accept")?;
        answer.get("content")?.get(field)
    }

    /// The text that the client's model wrote.
    fn written(&self, question: &str) -> Option<&str> {
        self.answers.get(question)?.get("content")?.get("text")?.as_str()
    }

    /// Done as soon as the user has decided, however they have.
    fn decided_on(
        &self,
        name: &'static str,
        question: impl FnOnce() -> InputRequest,
        prefix: &str,
    ) -> Step<CallToolResult> {
        let answer = self.answers.get(name);
        let Some(action) = answer.and_then(|answer| answer.get("action")?.as_str()) else {
            return Step::ask([(name, question())]);
        };
        let content = answer.and_then(|answer| answer.get("content")).unwrap_or(&Value::Null);
        Step::Done(said(&format!("{prefix}: action={action}, content={content}")))
    }

    /// # Errors
    /// The argument is missing.
    fn text(&self, name: &str) -> Result<&str, ErrorData> {
        let argument = self.arguments.get(name).and_then(Value::as_str);
        argument.ok_or_else(|| {
            ErrorData::invalid_params(format!("the argument `{name}` is missing"), None)
        })
    }

    fn roots(&self, question: &str) -> Option<&Vec<Value>> {
        self.answers.get(question)?.get("roots")?.as_array()
    }
}

/// What comes next.
pub(crate) enum Step<T> {
    Done(T),
    Ask { questions: BTreeMap<&'static str, InputRequest>, state: Option<String> },
}

impl<T> Step<T> {
    pub(crate) fn ask<const N: usize>(questions: [(&'static str, InputRequest); N]) -> Self {
        Self::Ask { questions: questions.into(), state: None }
    }

    fn ask_and_remember<const N: usize>(
        questions: [(&'static str, InputRequest); N],
        state: String,
    ) -> Self {
        Self::Ask { questions: questions.into(), state: Some(state) }
    }
}

/// A tool or prompt that asks.
pub(crate) type Next<T> = fn(&Fixture, &Round<'_>) -> Result<Step<T>, ErrorData>;

/// Goes on until there is an answer, or until only the client can go on.
///
/// # Errors
/// What the client handed back is not what it was given, it lacks what is needed, or it went away.
pub(crate) async fn settle<T, R>(
    fixture: &Fixture,
    context: &RequestContext<RoleServer>,
    mut round: Round<'_>,
    next: Next<T>,
) -> Result<R, ErrorData>
where
    R: From<T> + From<InputRequiredResult>,
{
    for _ in 0..MAX_ROUNDS {
        let (questions, state) = match next(fixture, &round)? {
            Step::Done(done) => return Ok(done.into()),
            Step::Ask { questions, state } => (questions, state),
        };
        if let Some(lacking) =
            questions.values().find_map(|question| lacks(&round.client, question))
        {
            return Err(ErrorData::missing_required_client_capability(lacking));
        }
        if is_modern(context) {
            let questions = questions.into_iter().map(|(name, it)| (name.to_owned(), it));
            return Ok(InputRequiredResult::new(Some(questions.collect()), state).into());
        }
        for (name, question) in questions {
            let answer = ask(context, question).await.map_err(|error| {
                ErrorData::internal_error(format!("the client did not answer: {error}"), None)
            })?;
            round.answers.insert(name.to_owned(), answer);
        }
        round.state = state;
    }
    Err(ErrorData::internal_error("the client was asked again and again, in vain", None))
}

/// Asks the client by a request, as was done up to 2025-11-25.
async fn ask(
    context: &RequestContext<RoleServer>,
    question: InputRequest,
) -> Result<Value, ServiceError> {
    fn json(answer: impl Serialize) -> Value {
        serde_json::to_value(answer).expect("an answer is JSON")
    }
    let client = &context.peer;
    match question {
        InputRequest::CreateMessage(it) => client.create_message(it.params).await.map(json),
        InputRequest::Elicitation(it) => client.create_elicitation(it.params).await.map(json),
        InputRequest::ListRoots(_) => client.list_roots().await.map(json),
        _ => Err(ServiceError::UnexpectedResponse),
    }
}

/// What a client would have to be able to do before this could be asked, if it is not.
fn lacks(client: &ClientCapabilities, question: &InputRequest) -> Option<ClientCapabilities> {
    let (has, capability) = match question {
        InputRequest::CreateMessage(_) => (client.sampling.is_some(), "sampling"),
        InputRequest::Elicitation(_) => (client.elicitation.is_some(), "elicitation"),
        _ => (client.roots.is_some(), "roots"),
    };
    (!has).then(|| model(json!({ (capability): {} })))
}

/// What a tool does next, if it is one that asks.
pub(crate) fn of_tool(name: &str) -> Option<Next<CallToolResult>> {
    Some(match name {
        "test_sampling" => sampling,
        "test_elicitation" => elicitation,
        "test_elicitation_sep1034_defaults" => defaults,
        "test_elicitation_sep1330_enums" => choices,
        "test_input_required_result_elicitation" => name_of_the_user,
        "test_input_required_result_sampling" => capital,
        "test_input_required_result_list_roots" => roots,
        "test_input_required_result_request_state"
        | "test_input_required_result_tampered_state" => confirmation,
        "test_input_required_result_multiple_inputs" => three_things,
        "test_input_required_result_multi_round" => one_after_the_other,
        "test_input_required_result_capabilities" => whatever_can_be_asked,
        "test_missing_capability" => a_thought,
        "test_streaming_elicitation" => in_the_middle,
        _ => return None,
    })
}

type Tool = Result<Step<CallToolResult>, ErrorData>;

fn sampling(_: &Fixture, round: &Round<'_>) -> Tool {
    let prompt = round.text("prompt")?;
    Ok(match round.written("thought") {
        None => Step::ask([("thought", thought(prompt, 100))]),
        Some(words) => Step::Done(said(&format!("LLM response: {words}"))),
    })
}

fn elicitation(_: &Fixture, round: &Round<'_>) -> Tool {
    let message = round.text("message")?;
    let fields = json!({
        "username": { "type": "string", "description": "User's response" },
        "email": { "type": "string", "description": "User's email address" },
    });
    let question = || form(message, &fields, &["username", "email"]);
    Ok(round.decided_on("user", question, "User response"))
}

fn defaults(_: &Fixture, round: &Round<'_>) -> Tool {
    let fields = json!({
        "name": { "type": "string", "default": "John Doe" },
        "age": { "type": "integer", "default": 30 },
        "score": { "type": "number", "default": 95.5 },
        "status": {
            "type": "string",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        "verified": { "type": "boolean", "default": true },
    });
    let question = || form("Is this right?", &fields, &[]);
    Ok(round.decided_on("user", question, "Elicitation completed"))
}

fn choices(_: &Fixture, round: &Round<'_>) -> Tool {
    let titled = |kind: &str| {
        json!([
            { "const": "value1", "title": format!("First {kind}") },
            { "const": "value2", "title": format!("Second {kind}") },
            { "const": "value3", "title": format!("Third {kind}") },
        ])
    };
    let plain = json!({ "type": "string", "enum": ["option1", "option2", "option3"] });
    let fields = json!({
        "untitledSingle": plain,
        "titledSingle": { "type": "string", "oneOf": titled("Option") },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": { "type": "array", "items": plain },
        "titledMulti": { "type": "array", "items": { "anyOf": titled("Choice") } },
    });
    let question = || form("What do you choose?", &fields, &[]);
    Ok(round.decided_on("user", question, "Elicitation completed"))
}

fn name_of_the_user(_: &Fixture, round: &Round<'_>) -> Tool {
    Ok(match round.filled_in("user_name", "name").and_then(Value::as_str) {
        None => Step::ask([("user_name", who_are_you("What is your name?"))]),
        Some(name) => Step::Done(said(&format!("Hello, {name}!"))),
    })
}

fn capital(_: &Fixture, round: &Round<'_>) -> Tool {
    let question = || thought("What is the capital of France?", 100);
    Ok(match round.written("capital_question") {
        None => Step::ask([("capital_question", question())]),
        Some(words) => Step::Done(said(words)),
    })
}

fn roots(_: &Fixture, round: &Round<'_>) -> Tool {
    Ok(match round.roots("client_roots") {
        None => Step::ask([("client_roots", your_roots())]),
        Some(roots) => Step::Done(said(&format!("The roots: {}", json!(roots)))),
    })
}

fn confirmation(fixture: &Fixture, round: &Round<'_>) -> Tool {
    let Some(state) = &round.state else {
        let fields = json!({ "ok": { "type": "boolean" } });
        let question = form("Please confirm", &fields, &["ok"]);
        let state = fixture.seal.close(round.purpose, "asked");
        return Ok(Step::ask_and_remember([("confirm", question)], state));
    };
    fixture.seal.open(round.purpose, state)?;
    Ok(Step::Done(match round.filled_in("confirm", "ok").and_then(Value::as_bool) {
        Some(true) => said("state-ok: the user has confirmed"),
        _ => failed("state-ok, but the user has not confirmed"),
    }))
}

fn three_things(fixture: &Fixture, round: &Round<'_>) -> Tool {
    let Some(state) = &round.state else {
        let questions = [
            ("user_name", who_are_you("What is your name?")),
            ("greeting", thought("Generate a greeting", 50)),
            ("client_roots", your_roots()),
        ];
        let state = fixture.seal.close(round.purpose, "asked");
        return Ok(Step::ask_and_remember(questions, state));
    };
    fixture.seal.open(round.purpose, state)?;
    let name = round.filled_in("user_name", "name").and_then(Value::as_str);
    let (greeting, roots) = (round.written("greeting"), round.roots("client_roots"));
    Ok(Step::Done(match (name, greeting, roots) {
        (Some(name), Some(greeting), Some(roots)) => {
            said(&format!("{greeting} {name} has {} roots.", roots.len()))
        }
        _ => failed("not everything that was asked for has been answered"),
    }))
}

fn one_after_the_other(fixture: &Fixture, round: &Round<'_>) -> Tool {
    let Some(state) = &round.state else {
        let question = who_are_you("Step 1: What is your name?");
        let state = fixture.seal.close(round.purpose, "");
        return Ok(Step::ask_and_remember([("step1", question)], state));
    };
    let known = fixture.seal.open(round.purpose, state)?;
    if known.is_empty() {
        let Some(name) = round.filled_in("step1", "name").and_then(Value::as_str) else {
            return Ok(Step::Done(failed("the first question has not been answered")));
        };
        let fields = json!({ "color": { "type": "string" } });
        let question = form("Step 2: What is your favorite color?", &fields, &["color"]);
        let state = fixture.seal.close(round.purpose, name);
        return Ok(Step::ask_and_remember([("step2", question)], state));
    }
    Ok(Step::Done(match round.filled_in("step2", "color").and_then(Value::as_str) {
        Some(color) => said(&format!("{known} likes {color}.")),
        None => failed("the second question has not been answered"),
    }))
}

fn whatever_can_be_asked(_: &Fixture, round: &Round<'_>) -> Tool {
    if !round.answers.is_empty() {
        let answered: Vec<&String> = round.answers.keys().collect();
        return Ok(Step::Done(said(&format!("These were answered: {}", json!(answered)))));
    }
    let mut questions = BTreeMap::from([
        ("greeting", thought("Generate a greeting", 50)),
        ("user_name", who_are_you("What is your name?")),
    ]);
    questions.retain(|_, question| lacks(&round.client, question).is_none());
    Ok(match questions.is_empty() {
        true => Step::Done(said("There is nothing that this client could be asked.")),
        false => Step::Ask { questions, state: None },
    })
}

fn a_thought(_: &Fixture, round: &Round<'_>) -> Tool {
    Ok(match round.written("thought") {
        None => Step::ask([("thought", thought("Say something", 50))]),
        Some(words) => Step::Done(said(words)),
    })
}

fn in_the_middle(_: &Fixture, round: &Round<'_>) -> Tool {
    let fields = json!({ "go_on": { "type": "boolean" } });
    let question = || form("Shall it go on?", &fields, &["go_on"]);
    Ok(round.decided_on("go_on", question, "The user has decided"))
}

/// A form for the user.
pub(crate) fn form(message: &str, fields: &Value, required: &[&str]) -> InputRequest {
    let mut schema = json!({ "type": "object", "properties": fields });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let params = json!({ "mode": "form", "message": message, "requestedSchema": schema });
    model(json!({ "method": "elicitation/create", "params": params }))
}

fn who_are_you(message: &str) -> InputRequest {
    form(message, &json!({ "name": { "type": "string" } }), &["name"])
}

/// Something for the client's model.
fn thought(prompt: &str, max_tokens: u32) -> InputRequest {
    model(json!({
        "method": "sampling/createMessage",
        "params": {
            "messages": [{ "role": "user", "content": { "type": "text", "text": prompt } }],
            "maxTokens": max_tokens,
        },
    }))
}

fn your_roots() -> InputRequest {
    model(json!({ "method": "roots/list" }))
}
