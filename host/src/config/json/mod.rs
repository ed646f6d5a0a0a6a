//! The `mcpServers` JSON that people already have, accepted as it is.
//!
//! Claude Desktop, Claude Code, Cursor and Windsurf call the table `mcpServers`, VS Code `servers`,
//! Zed `context_servers`; AG2 writes a list of entries with a `server_name`; Mastra and smolagents
//! pass the bare table. Comments and trailing commas are fine. Keys that mean nothing here are
//! named in a notice, servers that are disabled or that we cannot speak with are left out with one,
//! and only what is plainly broken is a problem. `entry` reads one server.

mod entry;

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::error::{KeyPath, Notice, Place, Position, Problem};
use crate::config::findings::{Findings, listed};
use crate::config::load::FoundServer;
use crate::config::resolved::ServerSource;
use crate::config::servers;
use crate::config::surroundings::Surroundings;
use crate::ids::UpstreamName;
use entry::Entry;

/// What a file of JSON came to.
#[derive(Default)]
pub(super) struct Imported {
    /// The servers, each with its place.
    pub(super) servers: Vec<FoundServer>,
    /// Names of those that were left out.
    pub(super) skipped: Vec<String>,
    pub(super) problems: Vec<Problem>,
    pub(super) notices: Vec<Notice>,
}

/// Reads the servers of a file.
pub(super) fn import(file: &Path, text: &str, surroundings: &Surroundings<'_>) -> Imported {
    let plain = without_comments(text);
    let top = match serde_json::from_str::<Members>(&plain) {
        Ok(top) => top,
        Err(_)
            if plain.trim_start().starts_with('[')
                && serde_json::from_str::<Value>(&plain).is_ok() =>
        {
            // smolagents takes a list of servers without names.
            let list = RawValue::from_string(plain).ok();
            return read(file, surroundings, |import| {
                list.iter().for_each(|list| import.table(list, &KeyPath::default()));
            });
        }
        Err(error) => {
            let position = Position { line: error.line(), column: error.column() };
            let place = Place { position: Some(position), ..Place::file(file) };
            // Errors about types could quote a value; those about syntax do not.
            let cause = match error.is_data() {
                true => "not JSON: an object is expected".to_owned(),
                false => format!("not JSON: {error}"),
            };
            let problems = vec![Problem { place, cause, way_out: None }];
            return Imported { problems, ..Imported::default() };
        }
    };
    read(file, surroundings, |import| import.file(&top))
}

fn read(
    file: &Path,
    surroundings: &Surroundings<'_>,
    work: impl FnOnce(&mut Import<'_>),
) -> Imported {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut import = Import {
        surroundings,
        stem: stem.unwrap_or_default(),
        timeout: None,
        findings: Findings::new(file, |_| None),
        servers: Vec::new(),
        skipped: Vec::new(),
    };
    work(&mut import);
    let Import { findings, servers, skipped, .. } = import;
    Imported { servers, skipped, problems: findings.problems, notices: findings.notices }
}

struct Import<'a> {
    surroundings: &'a Surroundings<'a>,
    /// Names servers that have no name.
    stem: String,
    /// What Mastra writes beside its servers, for those that have none of their own.
    timeout: Option<Value>,
    findings: Findings<'a>,
    servers: Vec<FoundServer>,
    skipped: Vec<String>,
}

/// Names of the table of servers, at the top of a file.
pub(super) const TABLES: [&str; 3] = ["mcpServers", "servers", "context_servers"];

impl Import<'_> {
    fn file(&mut self, top: &Members) {
        let mut found = false;
        let timeout = top.0.iter().find(|(key, _)| key == "timeout");
        self.timeout = timeout.and_then(|(_, raw)| parsed(raw).ok()).filter(Value::is_number);
        for (key, raw) in &top.0 {
            let path = KeyPath::of([key]);
            if TABLES.contains(&key.as_str()) {
                found = true;
                self.table(raw, &path);
            } else if key == "mcp"
                && let Ok(inner) = serde_json::from_str::<Members>(raw.get())
            {
                // VS Code's settings.json keeps them one level deeper.
                for (key, raw) in inner.0.iter().filter(|(key, _)| key == "servers") {
                    found = true;
                    self.table(raw, &path.key(key));
                }
            } else if key == "inputs" {
                let text = "`inputs` are asked for by VS Code only, and are ignored";
                self.findings.notice(&path, text);
            }
        }
        if found {
            return;
        }
        let entries = top.0.iter().map(|(key, raw)| Some((key, parsed(raw).ok()?)));
        let entries = entries.collect::<Option<Vec<_>>>().unwrap_or_default();
        // smolagents and AG2 pass one server bare, too.
        let is_key = |key: &str| ["command", "url"].contains(&key);
        if entries.iter().any(|(key, value)| is_key(key) && value.is_string()) {
            let entry = entries.into_iter().map(|(key, value)| (key.clone(), value)).collect();
            self.unnamed(&Value::Object(entry), None, &KeyPath::default());
            return;
        }
        let is_server = |value: &Value| {
            let keys = value.as_object().into_iter().flatten();
            keys.into_iter().any(|(key, value)| is_key(key) && value.is_string())
        };
        if entries.is_empty() || !entries.iter().all(|(_, value)| is_server(value)) {
            let cause = "the file names no servers";
            self.findings.problem_with(&KeyPath::default(), cause, "put them in `mcpServers`");
            return;
        }
        for (name, value) in &entries {
            self.entry(name, value, &KeyPath::of([name]));
        }
    }

    /// A server of a list, or one that stands alone: it has its name inside, or the file's.
    fn unnamed(&mut self, value: &Value, nth: Option<usize>, path: &KeyPath) {
        let names = ["server_name", "serverName", "name"];
        let name = names.iter().find_map(|key| value.get(key)?.as_str());
        let name = name.map(str::to_owned).unwrap_or_else(|| match nth {
            Some(nth) => format!("{}-{}", self.stem, nth + 1),
            None => self.stem.clone(),
        });
        self.entry(&name, value, path);
    }

    fn table(&mut self, raw: &RawValue, path: &KeyPath) {
        if let Ok(members) = serde_json::from_str::<Members>(raw.get()) {
            for (name, raw) in &members.0 {
                let path = path.key(name);
                if let Some(value) = self.findings.check(&path, parsed(raw)) {
                    self.entry(name, &value, &path);
                }
            }
            return;
        }
        let list = parsed(raw);
        let Ok(Value::Array(entries)) = list else {
            self.findings.problem(path, "an object of servers is expected");
            return;
        };
        for (nth, entry) in entries.iter().enumerate() {
            let path = path.index(nth);
            self.unnamed(entry, Some(nth), &path);
        }
    }

    fn entry(&mut self, name: &str, value: &Value, path: &KeyPath) {
        let Value::Object(members) = value else {
            self.findings.problem(path, "an object is expected");
            return;
        };
        let entry = Entry::read(members, self.timeout.as_ref(), path, &mut self.findings);
        let Some(name) = self.name(name, path) else { return };
        let left_out = entry.left_out.clone().or_else(|| {
            let input = entry.editor_input();
            input.map(|input| {
                format!("it wants the input `{input}`, which VS Code asks for: it is left out")
            })
        });
        if let Some(text) = left_out {
            self.findings.notice(path, text);
            self.skipped.push(name);
            return;
        }
        if !entry.ignored.is_empty() {
            let ignored = listed(entry.ignored.iter().map(String::as_str));
            let text = format!("these keys mean nothing here and are ignored: {ignored}");
            self.findings.notice(path, text);
        }
        let written = entry.into_written(self.surroundings.folder);
        let settings =
            servers::resolve(&name, &written, path, self.surroundings, &mut self.findings);
        if let Some(settings) = settings {
            let place = self.findings.place(path);
            let source = ServerSource { place, written: written.into() };
            self.servers.push(FoundServer { settings, source });
        }
    }

    /// Other hosts allow any text as a name.
    fn name(&mut self, name: &str, path: &KeyPath) -> Option<String> {
        if UpstreamName::try_new(name).is_ok() {
            return Some(name.to_owned());
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let words = name.split(|c| !fits(c)).filter(|word| !word.is_empty());
        let made = words.collect::<Vec<_>>().join("-");
        self.findings.check(path, UpstreamName::try_new(&made))?;
        self.findings.notice(path, format!("the server is called `{made}` here"));
        Some(made)
    }
}

fn parsed(raw: &RawValue) -> Result<Value, &'static str> {
    serde_json::from_str(raw.get()).map_err(|_| "the value is nested too deeply")
}

/// A JSON object that keeps keys which stand twice, so that they can be refused.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Puts spaces in place of `//` and `/* */` comments and of commas before a closing bracket, so
/// that every other character keeps its place.
pub(super) fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    // The place of a comma that nothing but blanks followed so far.
    let mut comma = None;
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('"', _) => {
                comma = None;
                plain.push(c);
                while let Some(c) = chars.next() {
                    plain.push(c);
                    match c {
                        '\\' => plain.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ('/', Some('/')) => {
                plain.push(' ');
                while let Some(c) = chars.next_if(|c| *c != '\n') {
                    plain.push(if c == '\r' { c } else { ' ' });
                }
            }
            ('/', Some('*')) => {
                plain.push(' ');
                let mut before = chars.next();
                plain.push(' ');
                // The star that opens the comment does not close it.
                before = before.and(None);
                for c in chars.by_ref() {
                    plain.push(if c == '\n' { c } else { ' ' });
                    if before == Some('*') && c == '/' {
                        break;
                    }
                    before = Some(c);
                }
            }
            (',', _) => {
                comma = Some(plain.len());
                plain.push(c);
            }
            ('}' | ']', _) => {
                if let Some(at) = comma.take() {
                    plain.replace_range(at..=at, " ");
                }
                plain.push(c);
            }
            _ => {
                if !c.is_whitespace() {
                    comma = None;
                }
                plain.push(c);
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas_become_spaces() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(without_comments(text), expected);
        }
        check("{} // x\n{}", "{}     \n{}");
        check("[1, /* 2, */]", "[1          ]");
        check("/*/ x */1", "        1");
        check(r#"{"a": "// \" /* ,]"}"#, r#"{"a": "// \" /* ,]"}"#);
        check("[1,\n 2,\n]", "[1,\n 2 \n]");
        check("[1,2,]", "[1,2 ]");
        check("/* open", "       ");
        check("\"open", "\"open");
    }
}
