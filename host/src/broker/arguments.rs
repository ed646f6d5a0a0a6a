//! Checks a call's arguments against the tool's schema before anything leaves the host, and a plugin's
//! answer against its output schema before anybody has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use crate::ids::ToolName;
use crate::tool::{CallError, ToolDescription, ToolOutput};

/// How much of a complaint is shown: it quotes the offending value, which may be large.
const SHOWN_CHARACTERS: usize = 400;

/// Compiled schemas, each as long as the description it was made from is in use.
#[derive(Debug, Default)]
pub(super) struct SchemaChecks {
    of_arguments: Compilations,
    of_answers: Compilations,
}

/// By tool.
type Compilations = Mutex<HashMap<ToolName, Compiled>>;

#[derive(Debug)]
struct Compiled {
    schema: Weak<Value>,
    /// `None` for a schema that no validator takes: then the server alone decides.
    validator: Option<Arc<Validator>>,
}

impl SchemaChecks {
    /// Whether the arguments fit the tool's schema.
    ///
    /// # Errors
    /// They do not; the error says where and why.
    pub(super) fn check(&self, tool: &ToolDescription, arguments: &Value) -> Result<(), CallError> {
        let schema = &tool.input_schema;
        let Some(validator) = validator(&self.of_arguments, &tool.name, schema) else {
            return Ok(());
        };
        let Err(problem) = validator.validate(arguments) else { return Ok(()) };
        Err(CallError::InvalidArguments {
            path: problem.instance_path().to_string(),
            message: in_words(tool, &problem.to_string(), &problem.instance_path().to_string()),
        })
    }

    /// Whether an answer fits the tool's output schema. One that says that the tool failed need not.
    ///
    /// # Errors
    /// It does not; the error says where and why.
    pub(super) fn check_answer(
        &self,
        name: &ToolName,
        schema: &Arc<Value>,
        answer: &ToolOutput,
    ) -> Result<(), CallError> {
        if answer.is_error {
            return Ok(());
        }
        let Some(validator) = validator(&self.of_answers, name, schema) else { return Ok(()) };
        let Some(structured) = &answer.structured else {
            return Err(bad_answer(name, "", "it has no structured content"));
        };
        let structured: Value = serde_json::from_str(structured.get())
            .map_err(|error| bad_answer(name, "", &error.to_string()))?;
        let Err(problem) = validator.validate(&structured) else { return Ok(()) };
        Err(bad_answer(name, &problem.instance_path().to_string(), &problem.to_string()))
    }
}

/// A schema ready for use. `None` if no validator takes it.
fn validator(
    compiled: &Compilations,
    name: &ToolName,
    schema: &Arc<Value>,
) -> Option<Arc<Validator>> {
    let mut compiled = compiled.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = compiled.get(name)
        && std::ptr::eq(known.schema.as_ptr(), Arc::as_ptr(schema))
    {
        return known.validator.clone();
    }
    let validator = compile(schema)
        .inspect_err(|error| tracing::warn!(tool = %name, %error, "unusable schema"))
        .ok()
        .map(Arc::new);
    let schema = Arc::downgrade(schema);
    compiled.insert(name.clone(), Compiled { schema, validator: validator.clone() });
    validator
}

/// Schemas come from strangers: patterns run on an engine that cannot be made to backtrack, and
/// references are never fetched (the crate is built without its resolvers).
fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .should_validate_formats(false)
        .build(schema)
        .map_err(|error| error.to_string())
}

/// Reads the arguments as a JSON object.
///
/// # Errors
/// They are no JSON, or no object.
pub(super) fn parse(name: &str, text: &str) -> Result<Map<String, Value>, CallError> {
    let invalid = |message| CallError::InvalidArguments { path: String::new(), message };
    match serde_json::from_str(text) {
        Ok(Value::Object(arguments)) => Ok(arguments),
        Ok(_) => {
            Err(invalid(format!("arguments of `{name}`: an object of named arguments is needed")))
        }
        Err(error) => Err(invalid(format!("arguments of `{name}` are not JSON: {error}"))),
    }
}

/// Nothing that the caller could cure.
fn bad_answer(name: &ToolName, path: &str, problem: &str) -> CallError {
    let (place, problem) = shown(path, problem);
    CallError::Unavailable(format!(
        "the answer of `{name}` does not fit its output schema{place}: {problem}; that is a fault of the \
         plugin's"
    ))
}

/// Where something is wrong, and what, in bounded words.
fn shown(path: &str, problem: &str) -> (String, String) {
    let cut = |text: &str| text.chars().take(SHOWN_CHARACTERS).collect::<String>();
    let place = if path.is_empty() { String::new() } else { format!(" at {}", cut(path)) };
    (place, cut(problem))
}

fn in_words(tool: &ToolDescription, problem: &str, path: &str) -> String {
    let (place, problem) = shown(path, problem);
    let properties = tool.input_schema.get("properties").and_then(Value::as_object);
    let known: Vec<&str> =
        properties.into_iter().flatten().map(|(name, _)| name.as_str()).take(20).collect();
    let known = if known.is_empty() {
        "it takes no arguments".to_owned()
    } else {
        format!("it takes {}", known.join(", "))
    };
    format!("arguments of `{}` do not fit its schema{place}: {problem} ({known})", tool.name)
}
