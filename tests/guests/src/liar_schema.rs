//! Lists a tool of which the schema is none.

mod raw;

use raw::{Definition, Guest, Output, Refusal, definition};

struct Liar;

impl Guest for Liar {
    fn list_tools() -> Vec<Definition> {
        vec![definition("tool", r#"{"type":"object","properties":7}"#)]
    }

    fn call_tool(name: String, _: String) -> Result<Output, Refusal> {
        Err(Refusal::UnknownTool(name))
    }
}

raw::export!(Liar);
