//! Lists more than anybody wants to read.

mod raw;

use raw::{Definition, Guest, Output, Refusal, definition};

struct Liar;

impl Guest for Liar {
    fn list_tools() -> Vec<Definition> {
        (0..100_000).map(|n| definition(&format!("tool{n}"), r#"{"type":"object"}"#)).collect()
    }

    fn call_tool(name: String, _: String) -> Result<Output, Refusal> {
        Err(Refusal::UnknownTool(name))
    }
}

raw::export!(Liar);
