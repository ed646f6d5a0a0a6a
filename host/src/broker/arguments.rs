//! Checks a call's arguments against the tool's schema before anything leaves the host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use crate::ids::ToolName;
use crate::tool::{CallError, ToolDescription};

/// How much of a complaint is shown: it quotes the offending value, which may be large.
const SHOWN_CHARACTERS: usize = 400;

/// Compiled schemas, each as long as the description it was made from is in use.
#[derive(Debug, Default)]
pub(super) struct SchemaChecks {
    compiled: Mutex<HashMap<ToolName, Compiled>>,
}

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
        let Some(validator) = self.validator(tool) else { return Ok(()) };
        let Err(problem) = validator.validate(arguments) else { return Ok(()) };
        Err(CallError::InvalidArguments {
            path: problem.instance_path().to_string(),
            message: in_words(tool, &problem.to_string(), &problem.instance_path().to_string()),
        })
    }

    fn validator(&self, tool: &ToolDescription) -> Option<Arc<Validator>> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled.get(&tool.name)
            && std::ptr::eq(known.schema.as_ptr(), Arc::as_ptr(&tool.input_schema))
        {
            return known.validator.clone();
        }
        let validator = compile(&tool.input_schema)
            .inspect_err(|error| tracing::warn!(tool = %tool.name, %error, "unusable schema"))
            .ok()
            .map(Arc::new);
        let schema = Arc::downgrade(&tool.input_schema);
        compiled.insert(tool.name.clone(), Compiled { schema, validator: validator.clone() });
        validator
    }
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

fn in_words(tool: &ToolDescription, problem: &str, path: &str) -> String {
    let problem: String = problem.chars().take(SHOWN_CHARACTERS).collect();
    let place = if path.is_empty() { String::new() } else { format!(" at {path}") };
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
