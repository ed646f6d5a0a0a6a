//! The 2026-07-28 revision lets a tool ask for some of its arguments as HTTP headers, so that what
//! stands between client and server can route a call without reading it. A property of the input
//! schema says so by `x-mcp-header: NAME` and the call then carries `Mcp-Param-NAME`.
//!
//! A tool with an annotation that breaks the rules must not be offered.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue};
use rmcp::transport::common::http_header::{
    BASE64_HEADER_PREFIX, BASE64_HEADER_SUFFIX, HEADER_MCP_NAME, HEADER_MCP_PARAM_PREFIX,
};
use serde_json::Value;
use serde_json::value::RawValue;

const ANNOTATION: &str = "x-mcp-header";

/// A list of headers.
pub(super) type Headers = Vec<(HeaderName, HeaderValue)>;

/// Checks the annotations of a schema.
///
/// # Errors
/// One is wrong; the text says which.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    let (mut found, mut seen) = (0, std::collections::HashSet::new());
    visit(schema, &mut Vec::new(), &mut |path, property, name| {
        found += 1;
        let shown = path.join(".");
        let Some(name) = name.as_str().filter(|name| is_token(name)) else {
            return Err(format!("the {ANNOTATION} of {shown:?} is no header name"));
        };
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(format!("two properties have the {ANNOTATION} {name:?}"));
        }
        match property.get("type").and_then(Value::as_str) {
            Some("string" | "integer" | "boolean") => Ok(()),
            _ => Err(format!("{shown:?} has an {ANNOTATION} but no simple type")),
        }
    })?;
    // Whatever stands elsewhere - in a list's items, in an alternative - has no one value.
    if found == count(schema) {
        Ok(())
    } else {
        Err(format!("it has an {ANNOTATION} that is not on a plain property"))
    }
}

/// The headers of a call.
pub(super) fn of_call(schema: &Value, arguments: &RawValue) -> Headers {
    let said = said_in_call(schema, arguments).into_iter();
    said.filter_map(|(name, text)| Some((name, header_value(&text?)?))).collect()
}

/// What the headers of a call have to say; nothing where the argument is not there.
pub(crate) fn said_in_call(
    schema: &Value,
    arguments: &RawValue,
) -> Vec<(HeaderName, Option<String>)> {
    let mut said = Vec::new();
    if count(schema) == 0 {
        return said;
    }
    let Ok(arguments) = serde_json::from_str::<Value>(arguments.get()) else { return said };
    let walk = visit(schema, &mut Vec::new(), &mut |path, _, name| {
        let value = path.iter().try_fold(&arguments, |value, key| value.get(*key));
        let text = match value {
            Some(Value::String(text)) => Some(text.clone()),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => Some(value.to_string()),
            _ => None,
        };
        let name = format!("{HEADER_MCP_PARAM_PREFIX}{}", name.as_str().unwrap_or_default());
        said.extend(name.parse().ok().map(|name| (name, text)));
        Ok(())
    });
    debug_assert!(walk.is_ok(), "the visitor never fails");
    said
}

/// What a request is about, for those methods that are about one thing (`Mcp-Name`).
pub(super) fn of_target(
    method: &str,
    own: &[(&str, &RawValue)],
) -> Option<(HeaderName, HeaderValue)> {
    let member = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        _ => return None,
    };
    let (_, value) = own.iter().find(|(name, _)| *name == member)?;
    let value: String = serde_json::from_str(value.get()).ok()?;
    Some((HEADER_MCP_NAME.parse().ok()?, header_value(&value)?))
}

/// A text as a header value: as it is where that is possible, else in base 64 with a mark.
fn header_value(text: &str) -> Option<HeaderValue> {
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && text.trim_ascii() == text
        && !(text.starts_with(BASE64_HEADER_PREFIX) && text.ends_with(BASE64_HEADER_SUFFIX));
    if plain {
        return HeaderValue::from_str(text).ok();
    }
    let coded = BASE64_STANDARD.encode(text);
    HeaderValue::from_str(&format!("{BASE64_HEADER_PREFIX}{coded}{BASE64_HEADER_SUFFIX}")).ok()
}

/// Calls `on` for each annotation on a property that is reached through `properties` alone: with
/// the way to it, the property's schema, and the annotation.
fn visit<'a>(
    schema: &'a Value,
    path: &mut Vec<&'a str>,
    on: &mut impl FnMut(&[&'a str], &'a Value, &'a Value) -> Result<(), String>,
) -> Result<(), String> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(());
    };
    for (name, property) in properties {
        path.push(name);
        if let Some(annotation) = property.get(ANNOTATION) {
            on(path, property, annotation)?;
        }
        visit(property, path, on)?;
        path.pop();
    }
    Ok(())
}

/// All annotations of a schema, wherever they stand, except in example values.
fn count(schema: &Value) -> usize {
    match schema {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| match key.as_str() {
                "default" | "const" | "enum" | "examples" => 0,
                // Below these the keys are names of the tool's own, and one may be "x-mcp-header".
                "properties" | "patternProperties" | "$defs" | "definitions"
                | "dependentSchemas" => {
                    value.as_object().map_or(0, |map| map.values().map(count).sum())
                }
                ANNOTATION => 1,
                _ => count(value),
            })
            .sum(),
        _ => 0,
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && HeaderName::from_bytes(name.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotated_arguments_become_headers() {
        let schema = json!({ "type": "object", "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "where": { "type": "object", "properties": {
                "zone": { "type": "integer", "x-mcp-header": "Zone" } } },
            "absent": { "type": "string", "x-mcp-header": "Absent" },
        }});
        assert_eq!(check(&schema), Ok(()));
        let arguments = r#"{"region":"süd","where":{"zone":7}}"#;
        let arguments = RawValue::from_string(arguments.to_owned()).unwrap();
        let headers: Vec<_> = of_call(&schema, &arguments)
            .into_iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(headers, ["mcp-param-region: =?base64?c8O8ZA==?=", "mcp-param-zone: 7"]);
    }

    #[test]
    fn requests_about_one_thing_name_it() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let (name, uri, arguments) = (raw("\"a b\""), raw("\"file:///ü\""), raw("{}"));
        let of = |method, own: &[_]| {
            of_target(method, own)
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        };
        let named = [("arguments", &*arguments), ("name", &*name)];
        for method in ["tools/call", "prompts/get"] {
            assert_eq!(of(method, &named).as_deref(), Some("mcp-name: a b"));
        }
        let read = of("resources/read", &[("uri", &uri)]);
        assert_eq!(read.as_deref(), Some("mcp-name: =?base64?ZmlsZTovLy/DvA==?="));
        assert_eq!(of("tools/list", &named), None);
    }

    #[test]
    fn annotations_that_break_the_rules_are_refused() {
        #[track_caller]
        fn check_refused(schema: Value) {
            assert!(check(&schema).is_err(), "{schema}");
        }
        check_refused(json!({ "x-mcp-header": "A" }));
        check_refused(json!({ "properties": { "a": { "type": "string", "x-mcp-header": "" } } }));
        check_refused(
            json!({ "properties": { "a": { "type": "string", "x-mcp-header": "a b" } } }),
        );
        check_refused(json!({ "properties": { "a": { "type": "object", "x-mcp-header": "A" } } }));
        check_refused(json!({ "properties": {
            "a": { "type": "string", "x-mcp-header": "A" },
            "b": { "type": "string", "x-mcp-header": "a" },
        }}));
        check_refused(json!({ "properties": {
            "a": { "type": "array", "items": { "type": "string", "x-mcp-header": "A" } } } }));
    }
}
