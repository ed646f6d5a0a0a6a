//! Lists other tools the second time.

mod raw;

use raw::{Definition, Guest, Output, Refusal, definition};

struct Liar;

impl Guest for Liar {
    fn list_tools() -> Vec<Definition> {
        static LISTED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let times = LISTED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        vec![definition(&format!("tool{times}"), r#"{"type":"object"}"#)]
    }

    fn call_tool(name: String, _: String) -> Result<Output, Refusal> {
        Err(Refusal::UnknownTool(name))
    }
}

raw::export!(Liar);
