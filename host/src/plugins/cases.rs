//! The tests of a plugin, as its author writes them: a tool, its arguments, what the tools answer that
//! it calls, and what is expected. Plain values; `toolcell plugin test` runs them in the real host.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::units::parse_duration;
use crate::ids::ToolName;
use crate::tool::{CallAnswer, ContentBlock, ToolDescription, ToolHints, ToolOutput};
use crate::upstream::recorded::{RecordedAnswer, RecordedCall, Recording};

/// The largest file that is read.
pub const MAX_CASE_BYTES: u64 = 16 << 20;

/// Lines of a difference that are shown.
const MAX_LINES: usize = 60;

/// One test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    #[serde(default)]
    pub description: Option<String>,
    /// The plugin's tool, without the plugin's name.
    pub tool: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Map<String, Value>,
    /// Patterns of what is granted, instead of all that the manifest asks for.
    #[serde(default)]
    pub granted: Option<Vec<String>>,
    /// The tools that it sees, by their full names, where more than their names matters.
    #[serde(default)]
    pub tools: IndexMap<String, CaseTool>,
    /// What they answer.
    #[serde(default)]
    pub calls: Vec<CaseCall>,
    /// What is expected; only that it does not fail, without.
    #[serde(default)]
    pub expect: Expect,
}

/// A recording apart from its test: what `--record` writes.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingFile {
    /// The tools that the plugin saw.
    #[serde(default)]
    pub tools: IndexMap<String, CaseTool>,
    /// What they answered.
    #[serde(default)]
    pub calls: Vec<CaseCall>,
}

/// A tool that the plugin sees.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaseTool {
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The schema of its arguments; any object without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    /// The schema of its structured content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
}

/// A call and its answer, one of the kinds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaseCall {
    /// The tool, `server.tool`.
    pub tool: String,
    /// Its arguments; any without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Map<String, Value>>,
    /// How long the answer takes: `"300ms"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// It need not be called.
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Structured content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// A text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The tool's own word that it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The server cannot be reached, with the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
    /// The server does not answer in time.
    #[serde(skip_serializing_if = "is_false")]
    pub timed_out: bool,
    /// A JSON-RPC error, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
}

/// What is expected of the result; all of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// The result is this.
    pub equals: Option<Value>,
    /// The result has all of this: objects may have more members, everything else is equal.
    pub subset: Option<Value>,
    /// The result's text contains this, or all of these.
    pub contains: Option<Texts>,
    /// The tool fails, with words that contain this.
    pub error: Option<String>,
}

/// One text or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What a file says, TOML or JSON by the end of its name.
///
/// # Errors
/// It is neither, or has a key that nobody knows; in words, with the line.
pub fn parse<T: for<'de> Deserialize<'de>>(text: &str, is_json: bool) -> Result<T, String> {
    if is_json {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| {
            let before = text.get(..span.start).unwrap_or(text);
            format!("line {}: ", before.matches('\n').count() + 1)
        });
        format!("{}{}", line.unwrap_or_default(), error.message().trim().replace('\n', ", "))
    })
}

/// The servers that these tools and calls make.
///
/// # Errors
/// A name is no tool's, or a call has no answer, or several; in words.
pub fn recording(
    tools: &IndexMap<String, CaseTool>,
    calls: &[CaseCall],
) -> Result<Recording, String> {
    let name = |text: &str| {
        let name = ToolName::parse(text);
        name.ok_or_else(|| format!("{text:?} is no tool's name: write \"SERVER.TOOL\""))
    };
    let mut described = Vec::new();
    for (full, tool) in tools {
        let any = || serde_json::json!({ "type": "object" });
        described.push(ToolDescription {
            name: name(full)?,
            title: None,
            description: tool.description.clone(),
            input_schema: tool.input_schema.clone().unwrap_or_else(any).into(),
            output_schema: tool.output_schema.clone().map(Into::into),
            hints: ToolHints::default(),
            raw: None,
        });
    }
    let mut recorded = Vec::new();
    for (nth, call) in calls.iter().enumerate() {
        let told = |cause: String| format!("calls[{nth}]: {cause}");
        let after = call.after.as_deref().map(parse_duration).transpose();
        recorded.push(RecordedCall {
            tool: name(&call.tool).map_err(told)?,
            arguments: call.arguments.clone().map(Value::Object),
            after: after.map_err(|error| told(format!("after: {error}")))?.unwrap_or_default(),
            optional: call.optional,
            answer: answer(call).map_err(told)?,
        });
    }
    Ok(Recording::new(described, recorded))
}

fn answer(call: &CaseCall) -> Result<RecordedAnswer, String> {
    let CaseCall { answer, text, error, unavailable, timed_out, rejected, .. } = call;
    let output = match (answer, text) {
        (None, None) => None,
        (Some(value), text) => {
            let json = serde_json::value::to_raw_value(value);
            let json = json.map_err(|error| error.to_string())?;
            let text = text.clone().unwrap_or_else(|| json.get().to_owned());
            Some(ToolOutput { structured: Some(json), ..ToolOutput::text(text) })
        }
        (None, Some(text)) => Some(ToolOutput::text(text.clone())),
    };
    let code = -32602;
    let kinds = [
        output.map(RecordedAnswer::Output),
        error.clone().map(|text| RecordedAnswer::Output(ToolOutput::error(text))),
        unavailable.clone().map(RecordedAnswer::Unavailable),
        timed_out.then_some(RecordedAnswer::TimedOut),
        rejected.clone().map(|message| RecordedAnswer::Rejected { code, message }),
    ];
    let mut kinds = kinds.into_iter().flatten();
    match (kinds.next(), kinds.next()) {
        (Some(answer), None) => Ok(answer),
        _ => Err("give one of answer, text, error, unavailable, timed_out, rejected".to_owned()),
    }
}

/// A call that was made and what came of it, as a recording says it.
pub fn recorded(tool: &str, arguments: &str, answer: &CallAnswer) -> CaseCall {
    let arguments = serde_json::from_str(arguments).ok();
    let call = CaseCall { tool: tool.to_owned(), arguments, ..CaseCall::default() };
    match answer {
        Ok(output) if output.is_error => {
            CaseCall { error: Some(output.first_text().to_owned()), ..call }
        }
        Ok(output) => {
            let structured = output.structured.as_ref();
            let answer = structured.and_then(|json| serde_json::from_str(json.get()).ok());
            let text = output.first_text();
            let text = (answer.is_none() || !text.is_empty()).then(|| text.to_owned());
            CaseCall { answer, text, ..call }
        }
        Err(crate::tool::CallError::TimedOut { .. }) => CaseCall { timed_out: true, ..call },
        Err(crate::tool::CallError::Unavailable(message)) => {
            CaseCall { unavailable: Some(message.clone()), ..call }
        }
        Err(error) => CaseCall { rejected: Some(error.message().to_owned()), ..call },
    }
}

/// The value of an answer: its structured content, or else its text, as JSON if it is some.
fn value(output: &ToolOutput) -> Value {
    if let Some(json) = &output.structured {
        return serde_json::from_str(json.get()).unwrap_or_default();
    }
    let text = text(output);
    match serde_json::from_str(&text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        _ => text.into(),
    }
}

fn text(output: &ToolOutput) -> String {
    let texts = output.content.iter().filter_map(|block| match block {
        ContentBlock::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

impl Expect {
    /// Everything in which an answer is not what is expected, in lines for people.
    pub fn complaints(&self, answer: &CallAnswer) -> Vec<String> {
        let output = match (answer, &self.error) {
            (Err(error), Some(words)) => return self.failed(error.message(), words),
            (Ok(output), Some(words)) if output.is_error => {
                return self.failed(output.first_text(), words);
            }
            (Err(error), None) => {
                return vec![format!("it failed ({}): {}", error.kind(), error.message())];
            }
            (Ok(output), None) if output.is_error => {
                return vec![format!("the tool failed: {}", output.first_text())];
            }
            (Ok(_), Some(words)) => {
                return vec![format!("it did not fail, and should have, with {words:?}")];
            }
            (Ok(output), None) => output,
        };
        let (value, mut complaints) = (value(output), Vec::new());
        if let Some(expected) = &self.equals
            && *expected != value
        {
            complaints.push("the result is not what is expected (- expected, + found):".to_owned());
            complaints.extend(difference(expected, &value));
        }
        if let Some(expected) = &self.subset {
            let mut missing = Vec::new();
            subset("", expected, &value, &mut missing);
            if !missing.is_empty() {
                complaints.push("the result lacks what is expected:".to_owned());
                complaints.extend(cut(missing));
            }
        }
        let text = format!("{}\n{value}", text(output));
        let texts = match &self.contains {
            None => &[][..],
            Some(Texts::One(text)) => std::slice::from_ref(text),
            Some(Texts::Several(texts)) => texts,
        };
        for wanted in texts.iter().filter(|wanted| !text.contains(wanted.as_str())) {
            let shown: String = value.to_string().chars().take(500).collect();
            complaints.push(format!("the result does not contain {wanted:?}: {shown}"));
        }
        complaints
    }

    fn failed(&self, said: &str, wanted: &str) -> Vec<String> {
        if said.contains(wanted) {
            return Vec::new();
        }
        vec![format!("it failed, but with other words than {wanted:?}: {said}")]
    }
}

/// What of `expected` a value does not have.
fn subset(path: &str, expected: &Value, found: &Value, missing: &mut Vec<String>) {
    let place =
        |path: &str| if path.is_empty() { "the result".to_owned() } else { path.to_owned() };
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                let path = format!("{path}/{key}");
                match found.get(key) {
                    Some(found) => subset(&path, value, found, missing),
                    None => missing.push(format!("  {path} is missing, and should be {value}")),
                }
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (nth, (expected, found)) in expected.iter().zip(found).enumerate() {
                subset(&format!("{path}/{nth}"), expected, found, missing);
            }
        }
        _ if expected == found => {}
        _ => missing.push(format!("  {} is {found}, and should be {expected}", place(path))),
    }
}

/// The lines in which two values differ.
fn difference(expected: &Value, found: &Value) -> Vec<String> {
    let lines = |value: &Value| -> Vec<String> {
        format!("{value:#}").lines().map(str::to_owned).collect()
    };
    let (before, after) = (lines(expected), lines(found));
    let same_front = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let (rest_before, rest_after) = (&before[same_front..], &after[same_front..]);
    let backwards = rest_before.iter().rev().zip(rest_after.iter().rev());
    let same_back = backwards.take_while(|(a, b)| a == b).count();
    let context = before[..same_front].iter().skip(same_front.saturating_sub(3));
    let mut shown: Vec<String> = context.map(|line| format!("    {line}")).collect();
    let removed = &rest_before[..rest_before.len() - same_back];
    let added = &rest_after[..rest_after.len() - same_back];
    shown.extend(removed.iter().map(|line| format!("  - {line}")));
    shown.extend(added.iter().map(|line| format!("  + {line}")));
    cut(shown)
}

fn cut(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > MAX_LINES {
        let more = lines.len() - MAX_LINES;
        lines.truncate(MAX_LINES);
        lines.push(format!("  … and {more} lines more"));
    }
    lines
}

/// How long a test may take at most, whatever the plugin's limits are.
pub const MAX_TIME: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaints(expect: &str, output: &Value) -> Vec<String> {
        let case: Case =
            parse(&format!("tool = \"x\"\n[expect]\n{expect}"), false).expect("a case");
        let structured = serde_json::value::to_raw_value(output).expect("JSON");
        case.expect.complaints(&Ok(ToolOutput {
            structured: Some(structured),
            ..ToolOutput::text("some text")
        }))
    }

    #[test]
    fn results_are_compared_and_differences_shown() {
        let found = json!({ "hits": [{ "title": "a", "score": 1 }], "failed": ["wiki"] });
        assert_eq!(complaints("subset = { hits = [{ title = \"a\" }] }", &found), [""; 0]);
        assert_eq!(complaints("contains = [\"wiki\", \"some text\"]", &found), [""; 0]);
        let lacks = complaints("subset = { hits = [{ title = \"b\" }], more = 1 }", &found);
        let expected = [
            "the result lacks what is expected:",
            "  /hits/0/title is \"a\", and should be \"b\"",
            "  /more is missing, and should be 1",
        ];
        assert_eq!(lacks, expected);
        let other = complaints("equals = { hits = [], failed = [\"wiki\"] }", &found);
        assert!(other.iter().any(|line| line.starts_with("  + ")), "{other:?}");
        assert_eq!(complaints("error = \"down\"", &found).len(), 1);
        let failed = Expect { error: Some("down".to_owned()), ..Expect::default() };
        assert!(failed.complaints(&Ok(ToolOutput::error("all servers are down"))).is_empty());
        assert_eq!(Expect::default().complaints(&Ok(ToolOutput::error("x"))).len(), 1);
    }

    #[test]
    fn a_call_has_one_answer() {
        let of = |text: &str| {
            let case: Case =
                parse(&format!("tool = \"x\"\n[[calls]]\ntool = \"s.t\"\n{text}"), false)?;
            recording(&case.tools, &case.calls).map(drop)
        };
        of("answer = { a = 1 }").expect("one");
        of("text = \"x\"\nafter = \"10ms\"").expect("one");
        let two = of("error = \"x\"\ntimed_out = true").expect_err("two");
        assert!(two.starts_with("calls[0]: give one of answer"), "{two}");
        of("").expect_err("none");
        let unknown = of("anser = 1").expect_err("a slip of the pen");
        assert!(unknown.contains("unknown field `anser`"), "{unknown}");
    }
}
