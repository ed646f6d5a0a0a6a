//! What a plugin says of its tools, checked before anybody sees it: these texts go to models and to
//! other programs.

use std::collections::HashSet;
use std::sync::Arc;

use jsonschema::PatternOptions;
use serde_json::Value;

use super::{PluginError, PluginTool};
use crate::sandbox::bindings::guest::exports::toolcell::guest::plugin as wit;
use crate::tool::ToolHints;

/// Tools of one plugin.
pub(super) const MAX_TOOLS: usize = 500;

/// Bytes of a tool's name.
const MAX_NAME_BYTES: usize = 64;

/// Bytes of a title.
const MAX_TITLE_BYTES: usize = 1 << 10;

/// Bytes of a description.
const MAX_DESCRIPTION_BYTES: usize = 16 << 10;

/// Bytes of all schemas of a plugin together.
pub(super) const MAX_SCHEMA_BYTES: usize = 256 << 10;

/// Words that no model's provider takes beside `type` at the top of a tool's schema.
const NOT_AT_THE_TOP: [&str; 6] = ["oneOf", "anyOf", "allOf", "not", "enum", "const"];

/// Checks what the guest listed.
///
/// # Errors
/// The first thing that cannot be used.
pub(super) fn checked(listed: Vec<wit::Definition>) -> Result<Vec<PluginTool>, PluginError> {
    if listed.len() > MAX_TOOLS {
        return Err(PluginError::TooManyTools { count: listed.len(), limit: MAX_TOOLS });
    }
    let mut names = HashSet::new();
    let mut schema_bytes = 0;
    let mut tools = Vec::with_capacity(listed.len());
    for definition in listed {
        let name: String = definition.name.chars().take(MAX_NAME_BYTES + 1).collect();
        let failed = |problem| PluginError::Tool { tool: name.clone(), problem };
        schema_bytes += definition.input_schema.len();
        schema_bytes += definition.output_schema.as_ref().map_or(0, String::len);
        if schema_bytes > MAX_SCHEMA_BYTES {
            return Err(failed(format!(
                "and those before it have more than {MAX_SCHEMA_BYTES} bytes of schemas"
            )));
        }
        tools.push(tool(definition).map_err(&failed)?);
        if !names.insert(name.clone()) {
            return Err(failed("is listed twice".to_owned()));
        }
    }
    if tools.is_empty() {
        return Err(PluginError::NoTools);
    }
    Ok(tools)
}

fn tool(definition: wit::Definition) -> Result<PluginTool, String> {
    check_name(&definition.name)?;
    check_length("title", definition.title.as_deref(), MAX_TITLE_BYTES)?;
    check_length("description", definition.description.as_deref(), MAX_DESCRIPTION_BYTES)?;
    let input_schema = schema("input schema", &definition.input_schema)?;
    check_properties(&input_schema)?;
    let output_schema = definition.output_schema.as_deref();
    let output_schema = output_schema.map(|text| schema("output schema", text)).transpose()?;
    Ok(PluginTool {
        name: definition.name,
        title: definition.title,
        description: definition.description,
        input_schema: Arc::new(input_schema),
        output_schema: output_schema.map(Arc::new),
        hints: ToolHints {
            read_only: definition.read_only,
            idempotent: definition.idempotent,
            destructive: definition.destructive,
        },
    })
}

/// Whether a tool may have this name.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    match (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(letter) {
        true => Ok(()),
        false => Err("has a name that is none: use 1 to 64 of A-Z a-z 0-9 _ . -".to_owned()),
    }
}

fn check_length(what: &str, text: Option<&str>, limit: usize) -> Result<(), String> {
    let bytes = text.map_or(0, str::len);
    match bytes > limit {
        true => Err(format!("has a {what} of {bytes} bytes; at most {limit} are read")),
        false => Ok(()),
    }
}

fn schema(what: &str, text: &str) -> Result<Value, String> {
    let schema: Value = serde_json::from_str(text)
        .map_err(|error| format!("has an {what} that is not JSON: {error}"))?;
    check_schema(&schema).map_err(|problem| format!("has an {what} {problem}"))?;
    Ok(schema)
}

/// Whether a schema is one, and of a kind that models' providers take.
fn check_schema(schema: &Value) -> Result<(), String> {
    let Value::Object(members) = schema else { return Err("that is not a JSON object".to_owned()) };
    if members.get("type").and_then(Value::as_str) != Some("object") {
        return Err("without `\"type\": \"object\"`".to_owned());
    }
    if let Some(word) = NOT_AT_THE_TOP.into_iter().find(|word| members.contains_key(*word)) {
        return Err(format!(
            "with `{word}` at its top, which models' providers refuse: put it in a property"
        ));
    }
    // Patterns on an engine that cannot be made to backtrack; references are never fetched.
    let compiled = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex())
        .should_validate_formats(false)
        .build(schema);
    compiled.map(drop).map_err(|error| {
        let error: String = error.to_string().chars().take(400).collect();
        format!("that is not a JSON Schema: {error}")
    })
}

/// Whether models' providers take the names of the arguments.
fn check_properties(schema: &Value) -> Result<(), String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, _) in properties.into_iter().flatten() {
        if check_name(name).is_err() {
            let name: String = name.chars().take(80).collect();
            return Err(format!(
                "has an argument `{name}`; use 1 to 64 of A-Z a-z 0-9 _ . - for its name"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str, input_schema: &str) -> wit::Definition {
        wit::Definition {
            name: name.to_owned(),
            title: None,
            description: Some("does it".to_owned()),
            input_schema: input_schema.to_owned(),
            output_schema: None,
            read_only: true,
            idempotent: false,
            destructive: false,
        }
    }

    fn refused(listed: Vec<wit::Definition>) -> String {
        checked(listed).expect_err("is refused").to_string()
    }

    #[test]
    fn an_honest_list_is_taken_as_it_is() {
        let schema = r#"{"type":"object","properties":{"q":{"type":"string"}},"required":["q"]}"#;
        let tools = checked(vec![definition("ask", schema), definition("ask.more", schema)])
            .expect("is taken");
        assert_eq!((tools.len(), tools[1].name.as_str()), (2, "ask.more"));
        assert!(tools[0].hints.read_only && !tools[0].hints.destructive);
        assert_eq!(tools[0].input_schema["required"][0], "q");
    }

    #[test]
    fn names_are_short_plain_and_unique() {
        let object = r#"{"type":"object"}"#;
        for name in ["", "two words", "näme", "a/b", &"x".repeat(65)] {
            assert!(refused(vec![definition(name, object)]).contains("1 to 64"), "{name}");
        }
        let twice = vec![definition("a", object), definition("a", object)];
        assert_eq!(refused(twice), "its tool `a` is listed twice");
    }

    #[test]
    fn schemas_that_models_cannot_take_are_refused_with_the_reason() {
        for (schema, reason) in [
            ("{", "not JSON"),
            ("true", "not a JSON object"),
            (r#"{"type":"string"}"#, "\"type\": \"object\""),
            (r#"{"type":["object","null"]}"#, "\"type\": \"object\""),
            (r#"{"type":"object","oneOf":[{}]}"#, "`oneOf` at its top"),
            (r#"{"type":"object","properties":{"a":{"type":"strnig"}}}"#, "not a JSON Schema"),
            (r#"{"type":"object","properties":{"a b":{}}}"#, "argument `a b`"),
            (r#"{"type":"object","$ref":"https://example.com/schema"}"#, "not a JSON Schema"),
        ] {
            let refused = refused(vec![definition("t", schema)]);
            assert!(refused.contains(reason), "{schema}: {refused}");
        }
    }

    #[test]
    fn nobody_has_to_read_more_than_a_model_can() {
        let object = r#"{"type":"object"}"#;
        let many = vec![definition("t", object); MAX_TOOLS + 1];
        assert_eq!(refused(many), "it lists 501 tools; a plugin may have 500");
        assert!(refused(Vec::new()).contains("no tools"));

        let mut wordy = definition("t", object);
        wordy.description = Some("x".repeat(MAX_DESCRIPTION_BYTES + 1));
        assert!(refused(vec![wordy]).contains("description of 16385 bytes"));

        let large = format!(r#"{{"type":"object","title":"{}"}}"#, "x".repeat(100 << 10));
        let large = (0..3).map(|n| definition(&format!("t{n}"), &large)).collect();
        assert!(refused(large).contains("bytes of schemas"));

        let deep = "{\"not\":".repeat(500) + "{}" + &"}".repeat(500);
        let deep = format!(r#"{{"type":"object","properties":{{"a":{deep}}}}}"#);
        assert!(refused(vec![definition("t", &deep)]).contains("recursion limit"));
    }
}
