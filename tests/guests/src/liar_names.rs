//! Lists a tool with an impossible name.

mod raw;

use raw::{Definition, Guest, Output, Refusal, definition};

struct Liar;

impl Guest for Liar {
    fn list_tools() -> Vec<Definition> {
        vec![definition("rm -rf /; \u{202e}", r#"{"type":"object"}"#)]
    }

    fn call_tool(name: String, _: String) -> Result<Output, Refusal> {
        Err(Refusal::UnknownTool(name))
    }
}

raw::export!(Liar);
