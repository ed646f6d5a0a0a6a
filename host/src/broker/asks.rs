//! What a plugin asks of whoever is behind its caller: the person with a form, the model with a prompt.
//! Whoever answers what servers ask answers this, as if the plugin were a server of that name.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::context::Shared;
use crate::limits::{LimitKind, LimitReached};
use crate::sandbox::{Abilities, Elicited, Exhausted};
use crate::tool::{CallError, Json, Phase};
use crate::upstream::{ClientHandler, ServerRequest};

const ELICIT: &str = "elicitation/create";
const SAMPLE: &str = "sampling/createMessage";

/// How long an answer may take. Nobody's time runs meanwhile, so it has an end here.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(10 * 60);

/// Which questions would be answered.
pub(super) fn abilities(shared: &Shared) -> Abilities {
    let Some(handler) = shared.asks_as().and_then(|_| handler(shared)) else {
        return Abilities::default();
    };
    let can = handler.capabilities();
    Abilities { elicitation: can.elicitation, sampling: can.sampling }
}

/// Asks the person. Cancel-safe: dropping the future takes the question back.
pub(super) async fn elicit(
    shared: &Shared,
    message: &str,
    schema: &RawValue,
) -> Result<Elicited, CallError> {
    /// MCP's `ElicitResult`.
    #[derive(Deserialize)]
    struct Written {
        action: String,
        #[serde(default)]
        content: Option<Json>,
    }
    let invalid = |problem: &str| CallError::InvalidArguments {
        path: String::new(),
        message: format!("the form's schema {problem}"),
    };
    let wanted: Value = serde_json::from_str(schema.get())
        .map_err(|error| invalid(&format!("cannot be used: {error}")))?;
    if !wanted.is_object() {
        return Err(invalid("has to be an object"));
    }
    let params = json!({ "mode": "form", "message": message, "requestedSchema": wanted });
    let params = to_raw_value(&params).map_err(|error| invalid(&error.to_string()))?;
    let answer = ask(shared, ELICIT, "elicitation", params).await?;
    let written: Written = serde_json::from_str(answer.get())
        .map_err(|error| unavailable(&format!("the answer cannot be used: {error}")))?;
    Ok(match written.action.as_str() {
        "accept" => Elicited::Accepted(written.content.unwrap_or_else(empty_object)),
        "decline" => Elicited::Declined,
        _ => Elicited::Cancelled,
    })
}

/// Asks the model. Cancel-safe as [`elicit`].
pub(super) async fn sample(shared: &Shared, params: Json) -> Result<Json, CallError> {
    let is_object = params.get().trim_start().starts_with('{');
    if !is_object {
        return Err(CallError::InvalidArguments {
            path: String::new(),
            message: "the params of `sampling/createMessage` have to be an object".to_owned(),
        });
    }
    let answer = ask(shared, SAMPLE, "sampling", params).await?;
    let (limit, used) = (shared.limits().answer_bytes, answer.get().len() as u64);
    if used > limit {
        return Err(CallError::Exhausted {
            reached: LimitReached { kind: LimitKind::Answer, limit, used },
            message: format!("the model's answer is {used} bytes and may be {limit}"),
        });
    }
    Ok(answer)
}

async fn ask(
    shared: &Shared,
    method: &'static str,
    what: &'static str,
    params: Json,
) -> Result<Json, CallError> {
    let Some(plugin) = shared.asks_as() else {
        return Err(unavailable(&format!(
            "this plugin may not ask whoever called it ({what}): its manifest has to ask for \
             `questions`, and its operator has to grant them"
        )));
    };
    let can = match method {
        ELICIT => abilities(shared).elicitation,
        _ => abilities(shared).sampling,
    };
    let Some(handler) = handler(shared).filter(|_| can) else {
        return Err(unavailable(&format!("nobody behind this call answers questions ({what})")));
    };
    let (server, method) = (plugin.clone(), method.to_owned());
    let question = ServerRequest { server, key: None, method, params: Some(params) };
    let _pause = shared.pauses().begin();
    let answer = tokio::time::timeout(MAX_ANSWER_TIME, handler.answer(question)).await;
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(refusal)) => Err(CallError::Rejected {
            code: refusal.code,
            message: format!("the question was refused: {}", refusal.message),
            data: None,
        }),
        Err(_) => Err(CallError::TimedOut {
            after: MAX_ANSWER_TIME,
            phase: Phase::Call,
            message: format!("nobody answered within {} s ({what})", MAX_ANSWER_TIME.as_secs()),
        }),
    }
}

fn handler(shared: &Shared) -> Option<&Arc<dyn ClientHandler>> {
    shared.handler().or_else(|| shared.hosts_handler())
}

fn unavailable(words: &str) -> CallError {
    CallError::Unavailable(words.to_owned())
}

fn empty_object() -> Json {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// What a run hears that keeps nothing.
pub(super) fn no_state(value: &RawValue) -> Exhausted {
    let reached = LimitReached { kind: LimitKind::State, limit: 0, used: value.get().len() as u64 };
    Exhausted { reached, message: "this run keeps no state: only plugins do".to_owned() }
}
