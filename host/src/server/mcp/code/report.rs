//! A finished run as a result: in words for a model, and the same for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::cut::{Part, Shown, page_bytes};
use super::results::ToolResult;
use crate::runs::{RunError, RunReport, SessionReport, SessionState};
use crate::server::mcp::kept::KeptPart;

/// Calls that had succeeded, by name, of which a failed run's text tells.
const TOLD_CALLS: usize = 20;

/// Failed calls of which a run's text tells.
const TOLD_FAILURES: usize = 5;

/// Characters of a line that was made of somebody else's words.
const LINE_CHARACTERS: usize = 500;

/// Shows a run in not many more than `result_bytes` of text, and as many for programs. What is cut is
/// handed to `keep`, which gives the id under which it can be fetched.
pub(super) fn of_run(
    report: &RunReport,
    result_bytes: usize,
    with_links: bool,
    keep: impl FnOnce(Vec<KeptPart>) -> Option<String>,
) -> ToolResult {
    let around = around(report);
    let room = result_bytes.saturating_sub(around.len());
    let shown = Shown::new(parts(report), room, page_bytes(result_bytes), keep);
    let text = words(report, &around, &shown);
    let result = ToolResult::new(text, Some(structured(report, &shown)), !report.ok);
    if with_links { result.with_links(&shown.rest) } else { result }
}

/// What of a run may be long.
fn parts(report: &RunReport) -> Vec<Part> {
    let error = report.error.as_ref();
    let traceback = error.and_then(|error| error.traceback.as_deref()).unwrap_or_default();
    let part = |name, text: &str| Part { name, text: text.to_owned() };
    vec![
        part("message", error.map_or("", |error| &error.message)),
        part("traceback", traceback.trim_end()),
        Part {
            name: "value",
            text: report.value.as_ref().map_or_else(String::new, |it| plain(it.get())),
        },
        part("stdout", &report.stdout),
        part("stderr", &report.stderr),
        Part { name: "calls", text: serde_json::to_string(&report.calls).unwrap_or_default() },
    ]
}

/// A run in words: what it printed and its value, or what went wrong, what it had done until then,
/// and what to do next.
fn words(report: &RunReport, around: &str, shown: &Shown) -> String {
    let mut text = String::new();
    if let Some(error) = &report.error {
        let _ = writeln!(text, "Error ({}): {}", error.kind, shown.text("message"));
        let traceback = shown.text("traceback");
        if !traceback.is_empty() {
            let _ = writeln!(text, "{traceback}");
        }
    }
    text.push_str(around);
    let alone = text.is_empty() && report.stderr.is_empty();
    match (&report.value, report.stdout.is_empty()) {
        (Some(_), true) if alone => return shown.text("value"),
        (None, false) if alone => return shown.text("stdout"),
        _ => {}
    }
    section(&mut text, "Result", &shown.text("value"));
    section(&mut text, "Printed", &shown.text("stdout"));
    section(&mut text, "Printed to stderr", &shown.text("stderr"));
    if text.is_empty() {
        text.push_str("The script ended without a result and without printing anything.");
    }
    text
}

/// What is said besides the parts that may be long. Bounded by itself.
fn around(report: &RunReport) -> String {
    let mut text = String::new();
    if let Some(error) = &report.error {
        tell_error(&mut text, error);
        tell_done(&mut text, report);
    }
    if let Some(degraded) = &report.degraded {
        let words = line(&degraded.to_string());
        let _ = writeln!(text, "Degraded, so the answer may be incomplete: {words}");
    }
    if report.ok {
        tell_failures(&mut text, report);
    }
    if let Some(session) = &report.session {
        tell_session(&mut text, session, report.ok);
    }
    text
}

fn tell_error(text: &mut String, error: &RunError) {
    if let (Some(server), Some(tool)) = (&error.server, &error.tool) {
        let _ = writeln!(text, "It was the call of {}, server {server}.", line(tool));
    }
    if let Some(hint) = &error.hint {
        let _ = writeln!(text, "What to do: {}", line(hint));
    }
}

fn tell_done(text: &mut String, report: &RunReport) {
    let done = report.calls.iter().filter(|call| call.ok).map(|call| call.tool.as_str());
    let done = counted(done);
    if done.is_empty() {
        return;
    }
    let told = done.iter().take(TOLD_CALLS).cloned().collect::<Vec<_>>().join(", ");
    let more = match done.len().saturating_sub(TOLD_CALLS) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let _ = writeln!(text, "These calls had already succeeded and stay done: {told}{more}");
}

fn tell_failures(text: &mut String, report: &RunReport) {
    let failed: Vec<_> = report.calls.iter().filter(|call| !call.ok).collect();
    if failed.is_empty() {
        return;
    }
    let _ = writeln!(text, "Note: {} of {} calls failed:", failed.len(), report.calls.len());
    for call in failed.iter().take(TOLD_FAILURES) {
        let why = call.error.as_ref().map_or("", |error| error.message.as_str());
        let _ = writeln!(text, "- {}: {}", short(&call.tool), line(why));
    }
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

/// The report as JSON. What is cut there has the mark too, and is a text: cut JSON is none.
fn structured(report: &RunReport, shown: &Shown) -> Value {
    let mut json = serde_json::to_value(report).unwrap_or_else(|_| json!({ "ok": report.ok }));
    for name in ["stdout", "stderr"] {
        if shown.cut(name).is_some() {
            json[name] = shown.text(name).into();
        }
    }
    for name in ["message", "traceback"] {
        if shown.cut(name).is_some() {
            json["error"][name] = shown.text(name).into();
        }
    }
    if let Some((beginning, mark)) = shown.cut("value") {
        json["value"] = json!({ "note": mark, "beginning": beginning });
    }
    if let Some((beginning, mark)) = shown.cut("calls") {
        let calls =
            report.calls.iter().map(|call| json!({ "tool": short(&call.tool), "ok": call.ok }));
        let mut room = beginning.len();
        let fits = |call: &Value| {
            let bytes = call.to_string().len() + 1;
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        };
        json["calls"] = calls.take_while(fits).collect();
        json["calls_note"] = mark.into();
    }
    if !shown.rest.is_empty() {
        json["rest"] = json!(shown.rest);
    }
    json
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

/// Somebody else's words, on one line.
fn line(words: &str) -> String {
    let mut characters = words.chars();
    let mut line: String = characters.by_ref().take(LINE_CHARACTERS).collect();
    if characters.next().is_some() {
        line.push('…');
    }
    line.replace(['\n', '\r'], " ")
}

fn short(tool: &str) -> String {
    tool.chars().take(120).collect()
}

/// `["a", "a", "b"]` becomes `["a (2 times)", "b"]`.
fn counted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut counts: indexmap::IndexMap<&str, usize> = indexmap::IndexMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let show = |(name, count): (&str, usize)| match count {
        1 => short(name),
        _ => format!("{} ({count} times)", short(name)),
    };
    counts.into_iter().map(show).collect()
}
