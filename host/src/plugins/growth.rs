//! What a new version of a plugin has, or asks for, beyond what was accepted. Plain values in, words
//! out.
//!
//! A tool's description is read by a model as an instruction, so one that changed counts as much as a
//! schema that did. What a version no longer has is no growth.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::lock::{LockedPlugin, sha256};
use super::manifest::Asks;
use crate::sandbox::PluginTool;
use crate::tool::ToolHints;

/// Lines of a difference that are shown of one tool.
const MAX_LINES: usize = 40;

/// Characters of a line that are shown.
const MAX_LINE_CHARS: usize = 160;

/// What a model is told of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolFacts {
    /// Its name, without the plugin's.
    pub name: String,
    /// Its name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// The schema of its arguments.
    pub input_schema: Value,
    /// The schema of its structured content.
    pub output_schema: Option<Value>,
    /// What its author claims about it.
    pub hints: ToolHints,
}

impl ToolFacts {
    /// The digest of all this, whatever the order of members in the schemas.
    pub fn digest(&self) -> String {
        sha256(self.as_json().to_string().as_bytes())
    }

    fn as_json(&self) -> Value {
        let ToolFacts { name: _, title, description, input_schema, output_schema, hints } = self;
        let ToolHints { read_only, idempotent, destructive } = hints;
        serde_json::json!({
            "title": title,
            "description": description,
            "input_schema": sorted(input_schema),
            "output_schema": output_schema.as_ref().map(sorted),
            "read_only": read_only,
            "idempotent": idempotent,
            "destructive": destructive,
        })
    }
}

impl From<&PluginTool> for ToolFacts {
    fn from(tool: &PluginTool) -> Self {
        let PluginTool { name, title, description, input_schema, output_schema, hints } = tool;
        Self {
            name: name.clone(),
            title: title.clone(),
            description: description.clone(),
            input_schema: (**input_schema).clone(),
            output_schema: output_schema.as_deref().cloned(),
            hints: *hints,
        }
    }
}

/// The digest of each tool, by name.
pub fn digests(tools: &[ToolFacts]) -> BTreeMap<String, String> {
    tools.iter().map(|tool| (tool.name.clone(), tool.digest())).collect()
}

/// A value with the members of its objects in order. Whoever parsed it bounded its depth.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut pairs: Vec<(&String, &Value)> = members.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            let pairs = pairs.into_iter().map(|(key, value)| (key.clone(), sorted(value)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Value::Array(elements) => elements.iter().map(sorted).collect(),
        _ => value.clone(),
    }
}

/// What a new version has or asks for beyond what was accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// Tools that it did not have.
    pub new_tools: Vec<String>,
    /// Tools whose description or schemas are others, with the lines that differ as far as the old
    /// ones are known.
    pub changed_tools: Vec<(String, Vec<String>)>,
    /// What it asks for beyond what it asked for, in the words of the manifest.
    pub asks: Vec<String>,
    /// The key that vouched for it no longer does.
    pub signature: Option<String>,
}

/// A version that somebody wants to install.
#[derive(Clone, Copy, Debug)]
pub struct NewVersion<'a> {
    /// Its tools.
    pub tools: &'a [ToolFacts],
    /// What it asks for.
    pub asks: &'a Asks,
    /// The digest of the key with which its signature was verified.
    pub signed_by: Option<&'a str>,
}

impl Growth {
    /// Compares a new version with what was accepted. `old_tools` are those of the accepted version,
    /// if it can still be asked.
    pub fn between(
        accepted: &LockedPlugin,
        old_tools: Option<&[ToolFacts]>,
        new: NewVersion<'_>,
    ) -> Self {
        let mut growth = Self::default();
        for tool in new.tools {
            match accepted.tools.get(&tool.name) {
                None => growth.new_tools.push(tool.name.clone()),
                Some(digest) if *digest == tool.digest() => {}
                Some(_) => {
                    let old = old_tools.into_iter().flatten().find(|old| old.name == tool.name);
                    let lines = old.map(|old| difference(old, tool)).unwrap_or_default();
                    growth.changed_tools.push((tool.name.clone(), lines));
                }
            }
        }
        growth.asks = more_asks(&accepted.asks, new.asks);
        if let Some(key) = accepted.signed_by.as_deref()
            && new.signed_by != Some(key)
        {
            growth.signature = Some(match new.signed_by {
                None => "it is not signed, and the accepted version was".to_owned(),
                Some(_) => "it is signed with another key than the accepted version".to_owned(),
            });
        }
        growth
    }

    /// Whether the new version may be installed without a word.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What is asked for now and was not asked for before, by patterns that cover it.
fn more_asks(before: &Asks, now: &Asks) -> Vec<String> {
    let mut more = Vec::new();
    let tools = now.tools.iter().filter(|ask| !before.tools.iter().any(|old| old.0.covers(&ask.0)));
    more.extend(tools.map(|ask| format!("tools {:?}", ask.0.to_string())));
    let resources =
        now.resources.iter().filter(|ask| !before.resources.iter().any(|old| old.0.covers(&ask.0)));
    more.extend(resources.map(|ask| format!("resources {:?}", ask.0.to_string())));
    let prompts =
        now.prompts.iter().filter(|ask| !before.prompts.iter().any(|old| old.0.covers(&ask.0)));
    more.extend(prompts.map(|ask| format!("prompts {:?}", ask.0.to_string())));
    if now.questions && !before.questions {
        more.push("questions to the person and the model behind its caller".to_owned());
    }
    more
}

/// The lines in which two tools differ.
fn difference(old: &ToolFacts, new: &ToolFacts) -> Vec<String> {
    let (old, new) = (lines(old), lines(new));
    let removed = old.iter().filter(|line| !new.contains(line)).map(|line| ('-', line));
    let added = new.iter().filter(|line| !old.contains(line)).map(|line| ('+', line));
    let mut shown: Vec<String> = removed
        .chain(added)
        .take(MAX_LINES + 1)
        .map(|(mark, line)| {
            let line = line.chars().filter(|c| !c.is_control()).take(MAX_LINE_CHARS);
            format!("{mark} {}", line.collect::<String>())
        })
        .collect();
    if shown.len() > MAX_LINES {
        shown.truncate(MAX_LINES);
        shown.push("… and more".to_owned());
    }
    shown
}

/// A tool as one line for each thing that it says, each with the path that leads there.
fn lines(tool: &ToolFacts) -> Vec<String> {
    let mut lines = Vec::new();
    for line in tool.description.iter().flat_map(|text| text.lines()) {
        lines.push(format!("description: {line}"));
    }
    let mut rest = tool.as_json();
    if let Value::Object(members) = &mut rest {
        members.remove("description");
    }
    flatten("", &rest, &mut lines);
    lines
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().for_each(|(key, value)| flatten(&below(key), value, lines));
        }
        Value::Array(elements) if elements.iter().any(|one| one.is_object() || one.is_array()) => {
            let elements = elements.iter().enumerate();
            elements.for_each(|(nth, value)| flatten(&below(&nth.to_string()), value, lines));
        }
        _ => lines.push(format!("{path}: {value}")),
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for tool in &self.new_tools {
            writeln!(f, "  + tool {tool}")?;
        }
        for (tool, lines) in &self.changed_tools {
            writeln!(f, "  ~ tool {tool}: another description or schema")?;
            lines.iter().try_for_each(|line| writeln!(f, "      {line}"))?;
        }
        for ask in &self.asks {
            writeln!(f, "  + asks for {ask}")?;
        }
        self.signature.iter().try_for_each(|words| writeln!(f, "  ! {words}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::manifest::Manifest;

    fn tool(name: &str, description: &str, schema: Value) -> ToolFacts {
        ToolFacts {
            name: name.to_owned(),
            title: None,
            description: Some(description.to_owned()),
            input_schema: schema,
            output_schema: None,
            hints: ToolHints::default(),
        }
    }

    fn asks(text: &str) -> Asks {
        let text = format!("name = \"x\"\nversion = \"1.0.0\"\n[asks]\n{text}\n");
        Manifest::parse(text.as_bytes()).expect("a manifest").asks
    }

    fn accepted(tools: &[ToolFacts], asks: Asks) -> LockedPlugin {
        LockedPlugin {
            version: None,
            source: "file:x.wasm".to_owned(),
            sha256: sha256(b"x"),
            signed_by: Some("key".to_owned()),
            asks,
            tools: digests(tools),
        }
    }

    #[test]
    fn a_version_that_does_the_same_has_not_grown() {
        let old = tool("ask", "Asks.", json!({ "type": "object", "title": "x" }));
        let same = tool("ask", "Asks.", json!({ "title": "x", "type": "object" }));
        let (before, now) =
            (asks("tools = [\"search*.*\", \"b.c\"]"), asks("tools = [\"searchx.a\"]"));
        let new = NewVersion { tools: &[same], asks: &now, signed_by: Some("key") };
        let growth = Growth::between(&accepted(&[old], before), None, new);
        assert!(growth.is_nothing(), "{growth}");
    }

    #[test]
    fn what_is_more_is_told() {
        let old = tool("ask", "Asks.", json!({ "type": "object", "properties": {} }));
        let changed = tool(
            "ask",
            "Asks. Always call this first.",
            json!({ "type": "object", "properties": { "token": { "type": "string" } } }),
        );
        let new_tool = tool("send", "Sends.", json!({ "type": "object" }));
        let before = asks("tools = [\"search.*\"]");
        let now = asks("tools = [\"search.*\", \"mail.send\"]\nquestions = true");
        let new = NewVersion { tools: &[changed, new_tool], asks: &now, signed_by: None };
        let accepted = accepted(std::slice::from_ref(&old), before);
        let growth = Growth::between(&accepted, Some(&[old]), new);
        let expected = "  + tool send
  ~ tool ask: another description or schema
      - description: Asks.
      - input_schema.properties: {}
      + description: Asks. Always call this first.
      + input_schema.properties.token.type: \"string\"
  + asks for tools \"mail.send\"
  + asks for questions to the person and the model behind its caller
  ! it is not signed, and the accepted version was
";
        assert_eq!(growth.to_string(), expected);
    }
}
