//! Gives its arguments back.

wit_bindgen::generate!({ path: "../../guest-sdk/wit", world: "plugin-guest" });

use self::toolcell::guest::tools::{ContentBlock, Output};
use exports::toolcell::guest::plugin::{Definition, Guest, Refusal};

struct Echoes;

impl Guest for Echoes {
    fn list_tools() -> Vec<Definition> {
        vec![Definition {
            name: "echo".to_owned(),
            title: None,
            description: Some("Gives its arguments back.".to_owned()),
            input_schema: r#"{"type":"object"}"#.to_owned(),
            output_schema: None,
            read_only: true,
            idempotent: true,
            destructive: false,
        }]
    }

    fn call_tool(name: String, arguments: String) -> Result<Output, Refusal> {
        if name != "echo" {
            return Err(Refusal::UnknownTool(name));
        }
        let content = vec![ContentBlock::Text(arguments.clone())];
        Ok(Output { content, structured: Some(arguments), is_error: false })
    }
}

export!(Echoes);
