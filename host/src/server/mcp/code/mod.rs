//! The tools of code mode: few, the same for everybody, and each answer complete in words.

mod cut;
pub(super) mod definitions;
mod find;
mod read_more;
mod report;
mod results;
mod run;
mod sessions;

use serde_json::{Map, Value, json};

use super::Facade;
use super::request::Request;
use crate::language::Language;
use cut::{Part, Shown, page_bytes};
use results::ToolResult;

/// An answer, or why there is none: in words for a model.
type Answer = Result<ToolResult, String>;

impl Facade {
    /// Calls one of our own tools.
    pub(super) async fn call_code_tool(
        &self,
        name: &str,
        arguments: &Map<String, Value>,
        request: &Request,
    ) -> ToolResult {
        let runtimes = match self.profile() {
            Ok(profile) => profile.runtimes,
            Err(words) => return results::refusal(&words),
        };
        if let Err(words) = definitions::check_names(name, arguments, &runtimes) {
            return results::refusal(&words);
        }
        let answer = match name {
            definitions::SEARCH_TOOLS => self.search_tools(arguments, request).await,
            definitions::DESCRIBE_TOOLS => self.describe_tools(arguments, request).await,
            definitions::RUN_PYTHON => self.run(Language::Python, arguments, request).await,
            definitions::RUN_TYPESCRIPT => self.run(Language::JavaScript, arguments, request).await,
            definitions::SESSIONS => self.sessions(arguments, request),
            definitions::READ_MORE => self.read_more(arguments, &request.caller),
            other => {
                let shown: String = other.chars().take(100).collect();
                let known = definitions::names(&runtimes).join(", ");
                Err(format!("there is no tool {shown:?} here; there are {known}"))
            }
        };
        answer.unwrap_or_else(|words| results::refusal(&words))
    }

    /// An answer that is a text, and the same for programs if they need it in another form. A long
    /// text is cut, and its rest is kept.
    pub(in crate::server::mcp) fn tell(
        &self,
        text: String,
        structured: Option<Value>,
        request: &Request,
    ) -> ToolResult {
        let bytes = self.settings().result_bytes;
        let keep = |parts| self.keep(parts, &request.caller);
        let part = Part { name: "text", text };
        let shown = Shown::new(vec![part], bytes, page_bytes(bytes), keep);
        let structured = match shown.rest.is_empty() {
            true => structured,
            false => Some(json!({ "rest": shown.rest })),
        };
        let result = ToolResult::new(shown.text("text"), structured, false);
        if request.client.is_modern() { result.with_links(&shown.rest) } else { result }
    }
}

/// What somebody gets who may not have something now.
pub(super) fn refused(words: &str) -> ToolResult {
    results::refusal(words)
}

/// Reads one argument. Models write numbers as text and forget what is optional.
fn argument<T: serde::de::DeserializeOwned>(
    arguments: &Map<String, Value>,
    name: &str,
) -> Result<Option<T>, String> {
    let Some(value) = arguments.get(name).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let read = serde_json::from_value(value.clone());
    let read = read.or_else(|error| match value {
        Value::String(text) => serde_json::from_str(text).map_err(|_| error),
        _ => Err(error),
    });
    read.map(Some).map_err(|error| format!("the argument `{name}` cannot be used: {error}"))
}
