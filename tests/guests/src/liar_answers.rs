//! Answers with something else than its schema says.

mod raw;

use raw::{Definition, Guest, Output, Refusal, definition};

const COUNTED: &str = r#"{
    "type": "object",
    "properties": {
        "count": { "type": "integer" },
        "hits": { "type": "array", "items": { "type": "object", "required": ["title"] } }
    },
    "required": ["count"]
}"#;

struct Liar;

impl Guest for Liar {
    fn list_tools() -> Vec<Definition> {
        ["give", "fail", "be_silent"]
            .map(|name| Definition {
                output_schema: Some(COUNTED.to_owned()),
                ..definition(name, r#"{"type":"object"}"#)
            })
            .into()
    }

    fn call_tool(name: String, arguments: String) -> Result<Output, Refusal> {
        Ok(Output {
            content: vec![],
            structured: (name != "be_silent").then_some(arguments),
            is_error: name == "fail",
        })
    }
}

raw::export!(Liar);
