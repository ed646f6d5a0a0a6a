//! The `mcpServers` JSON that people already have, accepted as it is.
//!
//! Claude Desktop, Claude Code, Cursor and Windsurf call the table `mcpServers`, VS Code `servers`,
//! Zed `context_servers`; AG2 writes a list of entries with a `server_name`; Mastra and smolagents
//! pass the bare table. Comments and trailing commas are fine. Keys that mean nothing here are
//! named in a notice, servers that are disabled or that we cannot speak with are left out with one,
//! and only what is plainly broken is a problem.

use std::fmt;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::{KeyPath, Notice, Place, Position, Problem};
use super::findings::{Findings, listed};
use super::load::FoundServer;
use super::resolved::ServerSource;
use super::servers;
use super::surroundings::Surroundings;
use super::written::{Template, WrittenServer, WrittenTransport};
use crate::ids::UpstreamName;

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
    let mut import = Import {
        surroundings,
        findings: Findings::new(file, |_| None),
        servers: Vec::new(),
        skipped: Vec::new(),
    };
    import.file(&top);
    let Import { findings, servers, skipped, .. } = import;
    Imported { servers, skipped, problems: findings.problems, notices: findings.notices }
}

struct Import<'a> {
    surroundings: &'a Surroundings<'a>,
    findings: Findings<'a>,
    servers: Vec<FoundServer>,
    skipped: Vec<String>,
}

/// Names of the table of servers, at the top of a file.
const TABLES: [&str; 3] = ["mcpServers", "servers", "context_servers"];

impl Import<'_> {
    fn file(&mut self, top: &Members) {
        let mut found = false;
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
        let is_server = |value: &Value| {
            ["command", "url"].iter().any(|key| value.get(key).is_some_and(Value::is_string))
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
            let names = ["server_name", "serverName", "name"];
            let name = names.iter().find_map(|key| entry.get(key)?.as_str());
            match name {
                Some(name) => self.entry(name, entry, &path),
                None => self.findings.problem(&path, "the server has no `server_name`"),
            }
        }
    }

    fn entry(&mut self, name: &str, value: &Value, path: &KeyPath) {
        let Value::Object(members) = value else {
            self.findings.problem(path, "an object is expected");
            return;
        };
        let entry = Entry::read(members, path, &mut self.findings);
        let Some(name) = self.name(name, path) else { return };
        let left_out = if entry.disabled {
            Some("it is disabled there, so it is left out".to_owned())
        } else {
            None
        };
        let project = project_folder(self.surroundings.folder);
        let left_out = left_out.or_else(|| {
            let input = entry.written.templates().find_map(|text| editor_input(&text.0));
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
        let mut written = entry.written;
        written.templates_mut(|template| template.0 = translated(&template.0, &project));
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

/// One server as other hosts write it, as we would write it.
#[derive(Default)]
struct Entry {
    written: WrittenServer,
    disabled: bool,
    ignored: Vec<String>,
}

impl Entry {
    fn read(
        members: &serde_json::Map<String, Value>,
        path: &KeyPath,
        findings: &mut Findings<'_>,
    ) -> Self {
        let mut entry = Self::default();
        for (key, value) in members {
            let path = path.key(key);
            // Several hosts write `null` for what they do not say.
            if value.is_null() {
                continue;
            }
            let written = &mut entry.written;
            match key.as_str() {
                "command" => written.command = text(value, &path, findings),
                "args" => written.args = texts(value, &path, findings),
                "env" | "environment" => written.env = table(value, &path, findings),
                "cwd" | "working_dir" | "workingDirectory" => {
                    written.cwd = text(value, &path, findings);
                }
                "url" | "serverUrl" | "httpUrl" => written.url = text(value, &path, findings),
                "headers" => written.headers = table(value, &path, findings),
                "requestInit" => {
                    let headers = value.get("headers");
                    written.headers =
                        headers.and_then(|headers| table(headers, &path.key("headers"), findings));
                }
                "type" | "transport" => written.transport = transport(value, &path, findings),
                "disabled" => entry.disabled |= value == &Value::Bool(true),
                "enabled" => entry.disabled |= value == &Value::Bool(false),
                "server_name" | "serverName" | "name" | "description" | "icon" => {}
                _ => entry.ignored.push(key.chars().take(64).collect()),
            }
        }
        entry
    }
}

fn transport(
    value: &Value,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Option<WrittenTransport> {
    let word = value.as_str().unwrap_or_default();
    match word.to_ascii_lowercase().replace(['_', '-'], "").as_str() {
        "stdio" | "local" => Some(WrittenTransport::Stdio),
        "http" | "streamablehttp" => Some(WrittenTransport::StreamableHttp),
        "sse" => Some(WrittenTransport::Sse),
        // `url` says it as well.
        "remote" => None,
        _ => {
            let way_out = "there are stdio, streamable-http (or http) and sse";
            findings.problem_with(path, "the transport is unknown", way_out);
            None
        }
    }
}

fn text(value: &Value, path: &KeyPath, findings: &mut Findings<'_>) -> Option<Template> {
    match value {
        Value::String(text) => Some(Template(text.clone())),
        Value::Number(_) | Value::Bool(_) => Some(Template(value.to_string())),
        _ => {
            findings.problem(path, "a text is expected");
            None
        }
    }
}

fn texts(value: &Value, path: &KeyPath, findings: &mut Findings<'_>) -> Option<Vec<Template>> {
    let Value::Array(elements) = value else {
        findings.problem(path, "a list of texts is expected");
        return None;
    };
    let elements = elements.iter().enumerate();
    elements.map(|(nth, element)| text(element, &path.index(nth), findings)).collect()
}

fn table(
    value: &Value,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Option<IndexMap<String, Template>> {
    let Value::Object(members) = value else {
        findings.problem(path, "an object of texts is expected");
        return None;
    };
    let members = members.iter().filter(|(_, value)| !value.is_null());
    members
        .map(|(key, value)| Some((key.clone(), text(value, &path.key(key), findings)?)))
        .collect()
}

impl WrittenServer {
    fn templates(&self) -> impl Iterator<Item = &Template> {
        let single = [&self.command, &self.cwd, &self.url].into_iter().flatten();
        let tables = [&self.env, &self.headers].into_iter().flatten();
        let tables = tables.flat_map(IndexMap::values);
        single.chain(self.args.iter().flatten()).chain(tables)
    }

    fn templates_mut(&mut self, change: impl Fn(&mut Template)) {
        let single = [&mut self.command, &mut self.cwd, &mut self.url].into_iter().flatten();
        let tables = [&mut self.env, &mut self.headers].into_iter().flatten();
        let tables = tables.flat_map(IndexMap::values_mut);
        single.chain(self.args.iter_mut().flatten()).chain(tables).for_each(change);
    }
}

/// The name of the first `${input:NAME}`.
fn editor_input(text: &str) -> Option<&str> {
    let (_, after) = text.split_once("${input:")?;
    after.split('}').next()
}

/// The folder that editors call the workspace: the one that holds their `.vscode` or `.cursor`.
fn project_folder(folder: &Path) -> PathBuf {
    let hidden = folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    folder.parent().filter(|_| hidden).unwrap_or(folder).to_owned()
}

/// Writes the variables of VS Code and Cursor as ours.
fn translated(text: &str, project: &Path) -> String {
    let project = project.to_string_lossy().replace("${", "$${");
    text.replace("${env:", "${")
        .replace("${workspaceFolder}", &project)
        .replace("${workspaceRoot}", &project)
        .replace("${userHome}", "${HOME}")
        .replace("${pathSeparator}", std::path::MAIN_SEPARATOR_STR)
        .replace("${/}", std::path::MAIN_SEPARATOR_STR)
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
fn without_comments(text: &str) -> String {
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
