//! The operations that web clients know, as requests of MCP and back.

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::dump;
use super::frames::{Frame, Received, as_python};
use super::target::{Fault, Target, World};
use crate::server::mcp::request::Params;
use crate::server::mcp::wire::RpcError;
use crate::tool::Json;

/// One operation, as a request of MCP.
pub(super) struct Operation {
    pub(super) name: &'static str,
    method: &'static str,
    params: Params,
    /// The tool's name, which stands beside its result.
    tool_name: Option<Json>,
}

/// An operation that cannot be begun: its name, and why.
pub(super) struct Unusable {
    /// As the client wrote it.
    pub(super) name: Value,
    pub(super) words: String,
}

impl Operation {
    pub(super) fn read(frame: &Received) -> Result<Self, Unusable> {
        let name = frame.value("operation");
        // As in Python: what is nothing has no name.
        let is_nothing = matches!(&name, Value::Null | Value::Bool(false)) || name == json!("");
        let shown = if is_nothing { json!("unknown") } else { name.clone() };
        let unusable = |words: String| Unusable { name: shown.clone(), words };
        let needs = |member: &str, what: &str| match frame.value(member) {
            Value::String(text) if !text.is_empty() => {
                to_raw_value(&text).map_err(|error| unusable(error.to_string()))
            }
            Value::Null | Value::Bool(false) | Value::String(_) => {
                Err(unusable(format!("McpOperationError: {what} is required")))
            }
            _ => Err(unusable(format!("ValidationError: {member} has to be a text"))),
        };
        let arguments = || {
            let arguments = frame.raw("arguments").map(RawValue::to_owned);
            match &arguments {
                Some(given) if !given.get().starts_with('{') => {
                    Err(unusable("ValidationError: arguments has to be an object".to_owned()))
                }
                _ => Ok(arguments),
            }
        };
        let (name, method, members, tool_name) = match name.as_str() {
            Some("list_tools") => ("list_tools", "tools/list", json!({}), None),
            Some("list_resources") => ("list_resources", "resources/list", json!({}), None),
            Some("list_prompts") => ("list_prompts", "prompts/list", json!({}), None),
            Some("call_tool") => {
                let tool = needs("tool_name", "Tool name")?;
                let params = json!({ "name": tool, "arguments": Value::Null });
                ("call_tool", "tools/call", params, Some(tool))
            }
            Some("read_resource") => {
                let uri = needs("uri", "Resource URI")?;
                // A URI has a scheme; nothing else is sent.
                if serde_json::from_str(uri.get()).is_ok_and(|uri: String| !has_scheme(&uri)) {
                    return Err(unusable("ValidationError: uri has to be a URI".to_owned()));
                }
                ("read_resource", "resources/read", json!({ "uri": uri }), None)
            }
            Some("get_prompt") => {
                let name = needs("name", "Prompt name")?;
                (
                    "get_prompt",
                    "prompts/get",
                    json!({ "name": name, "arguments": Value::Null }),
                    None,
                )
            }
            _ => return Err(unusable(format!("Unknown operation: {}", as_python(&name)))),
        };
        let mut members: indexmap::IndexMap<String, Json> = members
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), to_raw_value(value).ok()?)))
            .collect();
        if members.contains_key("arguments") {
            match arguments()? {
                Some(given) if method == "prompts/get" && !has_texts_only(&given) => {
                    let words = "ValidationError: a prompt's arguments have to be texts";
                    return Err(unusable(words.to_owned()));
                }
                // The client's own text goes on, so that no number loses a digit.
                Some(given) => members.insert("arguments".to_owned(), given),
                None => members.shift_remove("arguments"),
            };
        }
        let params = to_raw_value(&members).ok();
        let params = Params::read(params.as_deref());
        let params = params.map_err(|error| unusable(error.to_string()))?;
        Ok(Self { name, method, params, tool_name })
    }

    /// Does it, and gives the frame that answers it.
    pub(super) async fn work(self, target: &Target, world: &World, id: Option<&Json>) -> String {
        let Self { name, method, params, tool_name } = self;
        match target.ask(method, params, world).await {
            Ok(result) => {
                let result = dump::result(method, &result);
                let frame = Frame::new("operation_result").with("operation", &name);
                let frame = match tool_name {
                    Some(tool) => {
                        let mut data = indexmap::IndexMap::new();
                        data.insert("tool_name", tool);
                        data.insert("result", result);
                        frame.with("data", &data)
                    }
                    None => frame.with("data", &result),
                };
                frame.with_some("request_id", id).finish()
            }
            Err(fault) => failed(&json!(name), &fault.words(), id),
        }
    }
}

/// The frame about an operation that has no result.
pub(super) fn failed(name: &Value, words: &str, id: Option<&Json>) -> String {
    let frame = Frame::new("operation_error").with("operation", &name).with("error", &words);
    frame.with_some("request_id", id).finish()
}

fn has_scheme(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, rest)| {
        let fits = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        !rest.is_empty()
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(fits)
    })
}

fn has_texts_only(arguments: &RawValue) -> bool {
    serde_json::from_str::<std::collections::HashMap<String, String>>(arguments.get()).is_ok()
}

/// Too much at once.
pub(super) fn busy(most: usize) -> Fault {
    let words = format!("{most} operations of this session are worked on; wait for one to end");
    Fault::new("LimitError", RpcError::new(RpcError::BUSY, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Operation, (String, String)> {
        let Ok(frame) = Received::read(text) else { panic!("{text} is a frame") };
        Operation::read(&frame).map_err(|unusable| (as_python(&unusable.name), unusable.words))
    }

    #[test]
    fn what_is_missing_is_said_as_the_original_says_it() {
        #[track_caller]
        fn check(text: &str, name: &str, words: &str) {
            let Err(said) = read(text) else { panic!("{text} can be used") };
            assert_eq!(said, (name.to_owned(), words.to_owned()), "{text}");
        }
        check("{}", "unknown", "Unknown operation: None");
        check(r#"{"operation":"fly"}"#, "fly", "Unknown operation: fly");
        check(r#"{"operation":7}"#, "7", "Unknown operation: 7");
        check(r#"{"operation":""}"#, "unknown", "Unknown operation: ");
        let no_uri = "ValidationError: uri has to be a URI";
        check(r#"{"operation":"read_resource","uri":"no scheme"}"#, "read_resource", no_uri);
        let no_texts = "ValidationError: a prompt's arguments have to be texts";
        check(
            r#"{"operation":"get_prompt","name":"p","arguments":{"n":3}}"#,
            "get_prompt",
            no_texts,
        );
        let required = |what: &str| format!("McpOperationError: {what} is required");
        let tool = required("Tool name");
        check(r#"{"operation":"call_tool"}"#, "call_tool", &tool);
        check(r#"{"operation":"call_tool","tool_name":""}"#, "call_tool", &tool);
        check(r#"{"operation":"read_resource"}"#, "read_resource", &required("Resource URI"));
        check(r#"{"operation":"get_prompt","name":null}"#, "get_prompt", &required("Prompt name"));
    }

    #[test]
    fn arguments_pass_as_they_are() {
        let text = r#"{"operation":"call_tool","tool_name":"t","arguments":{"n":1.50,"b":1e400}}"#;
        let Ok(operation) = read(text) else { panic!("it can be used") };
        let arguments = operation.params.raw("arguments").expect("given");
        assert_eq!(arguments.get(), r#"{"n":1.50,"b":1e400}"#);
        let null = r#"{"operation":"get_prompt","name":"p","arguments":null}"#;
        let Ok(operation) = read(null) else { panic!("it can be used") };
        assert!(operation.params.raw("arguments").is_none());
    }
}
