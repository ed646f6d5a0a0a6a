//! What clients make of a result differs: some show only the first block, some only the structured
//! content, some drop `isError`. So the first block is text that says everything by itself, an
//! error included, and the structured content has the same for programs.

use std::fmt::Write as _;

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};

use crate::runs::RunReport;

/// A call that could not be made: what is wrong, and what to do.
pub(super) fn refusal(words: &str) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(format!("Error: {words}"))]);
    result.structured_content = Some(json!({ "error": { "message": words } }));
    result
}

/// Plain text.
pub(super) fn text(words: String) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(words)])
}

/// A finished run.
pub(super) fn of_run(report: &RunReport) -> CallToolResult {
    let words = vec![ContentBlock::text(words(report))];
    let mut result = match report.ok {
        true => CallToolResult::success(words),
        false => CallToolResult::error(words),
    };
    result.structured_content = Some(serde_json::to_value(report).unwrap_or(Value::Null));
    result
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
