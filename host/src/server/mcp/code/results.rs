//! What clients make of a result differs: some show only the first block, some only the structured
//! content, some drop `isError`. So the first block is text that says everything by itself, an
//! error included, and the structured content has the same for programs.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::runs::{RunReport, SessionReport, SessionState};

/// The result of `tools/call`: one block of text, and the same for programs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::server::mcp) struct ToolResult {
    content: [TextBlock; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<Value>,
    is_error: bool,
}

#[derive(Clone, Debug, Serialize)]
struct TextBlock {
    r#type: &'static str,
    text: String,
}

impl ToolResult {
    fn new(text: String, structured_content: Option<Value>, is_error: bool) -> Self {
        Self { content: [TextBlock { r#type: "text", text }], structured_content, is_error }
    }
}

/// A call that could not be made: what is wrong, and what to do.
pub(super) fn refusal(words: &str) -> ToolResult {
    let error = json!({ "error": { "message": words } });
    ToolResult::new(format!("Error: {words}"), Some(error), true)
}

/// Plain text.
pub(super) fn text(words: String) -> ToolResult {
    ToolResult::new(words, None, false)
}

/// A text, and the same for programs.
pub(super) fn text_and(words: String, structured: Value) -> ToolResult {
    ToolResult::new(words, Some(structured), false)
}

/// A finished run.
pub(super) fn of_run(report: &RunReport) -> ToolResult {
    let structured = serde_json::to_value(report).unwrap_or(Value::Null);
    ToolResult::new(words(report), Some(structured), !report.ok)
}

/// A run in words: what it printed and its value, or what went wrong, what it had done until then,
/// and what to do next.
fn words(report: &RunReport) -> String {
    let mut text = String::new();
    if let Some(error) = &report.error {
        let _ = writeln!(text, "Error ({}): {}", error.kind, error.message);
        if let Some(traceback) = &error.traceback {
            let _ = writeln!(text, "{}", traceback.trim_end());
        }
        if let Some(hint) = &error.hint {
            let _ = writeln!(text, "What to do: {hint}");
        }
        let done = report.calls.iter().filter(|call| call.ok).map(|call| call.tool.as_str());
        let done: Vec<&str> = done.collect();
        if !done.is_empty() {
            let _ = writeln!(
                text,
                "These calls had already succeeded and stay done: {}",
                counted(&done).join(", ")
            );
        }
    }
    if let Some(degraded) = &report.degraded {
        let _ = writeln!(text, "Degraded, so the answer may be incomplete: {degraded}");
    }
    let failed: Vec<_> = report.calls.iter().filter(|call| !call.ok).collect();
    if report.ok && !failed.is_empty() {
        let _ = writeln!(text, "Note: {} of {} calls failed:", failed.len(), report.calls.len());
        for call in failed.iter().take(5) {
            let why = call.error.as_ref().map_or("", |error| error.message.as_str());
            let _ = writeln!(text, "- {}: {why}", call.tool);
        }
    }
    if let Some(session) = &report.session {
        tell_session(&mut text, session, report.ok);
    }
    let alone = text.is_empty() && report.stderr.is_empty();
    match (&report.value, report.stdout.is_empty()) {
        (Some(value), true) if alone => return plain(value.get()),
        (None, false) if alone => return report.stdout.clone(),
        _ => {}
    }
    section(
        &mut text,
        "Result",
        &report.value.as_ref().map_or(String::new(), |it| plain(it.get())),
    );
    section(&mut text, "Printed", &report.stdout);
    section(&mut text, "Printed to stderr", &report.stderr);
    if text.is_empty() {
        text.push_str("The script ended without a result and without printing anything.");
    }
    text
}

/// What a model has to know of its session: nothing, as long as it is what the model expects.
fn tell_session(text: &mut String, session: &SessionReport, ok: bool) {
    let name = &session.name;
    let _ = match session.state {
        SessionState::Lost => writeln!(
            text,
            "The session `{name}` is lost, with all variables, imports and functions in it. The next \
             run with this name begins anew: define again what you need."
        ),
        SessionState::New => {
            writeln!(text, "The session `{name}` is new: nothing was defined before this script.")
        }
        SessionState::Kept if !ok => writeln!(
            text,
            "The session `{name}` is kept: what was defined in it until the error is there."
        ),
        SessionState::Kept => Ok(()),
    };
}

fn section(text: &mut String, title: &str, content: &str) {
    if !content.is_empty() {
        let _ = writeln!(text, "{title}:\n{}", content.trim_end());
    }
}

/// A text as it is, anything else as JSON.
fn plain(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())
}

/// `["a", "a", "b"]` becomes `["a (2 times)", "b"]`.
fn counted(names: &[&str]) -> Vec<String> {
    let mut counts: indexmap::IndexMap<&str, usize> = indexmap::IndexMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let show = |(name, count): (&str, usize)| match count {
        1 => name.to_owned(),
        _ => format!("{name} ({count} times)"),
    };
    counts.into_iter().map(show).collect()
}
