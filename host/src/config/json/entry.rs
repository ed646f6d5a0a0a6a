//! One server as other hosts write it, read as we would write it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::config::error::KeyPath;
use crate::config::findings::Findings;
use crate::config::units::format_duration;
use crate::config::written::{
    DurationText, Template, WrittenAuth, WrittenServer, WrittenTool, WrittenTransport,
};

/// Keys that only the Python SDK's wrappers write. Their times are in seconds, and their `timeout` is
/// that of an HTTP request.
const PYTHON_KEYS: [&str; 4] =
    ["server_name", "sse_read_timeout", "read_timeout_seconds", "terminate_on_close"];

/// One server.
#[derive(Default)]
pub(super) struct Entry {
    written: WrittenServer,
    /// Why it is no server for us.
    pub(super) left_out: Option<String>,
    /// Keys that mean nothing here.
    pub(super) ignored: Vec<String>,
}

impl Entry {
    /// Reads a server. `timeout` is for one that has none of its own.
    pub(super) fn read(
        members: &Map<String, Value>,
        timeout: Option<&Value>,
        path: &KeyPath,
        findings: &mut Findings<'_>,
    ) -> Self {
        let mut entry = Self::default();
        // Several hosts write `null` for what they do not say.
        for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            entry.key(key, value, &path.key(key), findings);
        }
        let timeout = members.get("timeout").or(timeout).filter(|timeout| !timeout.is_null());
        if let Some(timeout) = timeout {
            let is_python = PYTHON_KEYS.iter().any(|key| members.contains_key(*key));
            entry.timeout(timeout, is_python, &path.key("timeout"), findings);
        }
        entry.settle_transport();
        entry
    }

    fn key(&mut self, key: &str, value: &Value, path: &KeyPath, findings: &mut Findings<'_>) {
        let written = &mut self.written;
        match key {
            "command" => match value {
                // Zed had a table there.
                Value::Object(inner) => {
                    for (key, value) in inner.iter().filter(|(_, value)| !value.is_null()) {
                        let path = path.key(key);
                        match key.as_str() {
                            "path" | "command" => {
                                self.written.command = text(value, &path, findings);
                            }
                            "args" | "env" => self.key(key, value, &path, findings),
                            _ => {}
                        }
                    }
                }
                _ => written.command = text(value, path, findings),
            },
            "args" => written.args = texts(value, path, findings),
            "env" | "environment" => written.env = table(value, path, findings),
            "envFile" | "env_file" => written.env_file = text(value, path, findings),
            "cwd" | "working_dir" | "workingDirectory" => {
                written.cwd = text(value, path, findings);
            }
            "url" | "serverUrl" | "httpUrl" => written.url = text(value, path, findings),
            "headers" => written.headers = table(value, path, findings),
            "requestInit" => {
                let headers = value.get("headers");
                written.headers =
                    headers.and_then(|headers| table(headers, &path.key("headers"), findings));
            }
            "auth" | "oauth" => written.auth = auth(value, path, findings),
            "type" | "transport" => self.transport(value, path, findings),
            "disabled" | "enabled" => {
                if *value == Value::Bool(key == "disabled") {
                    self.leave_out("it is disabled there, so it is left out");
                }
            }
            "disabledTools" | "excludeTools" => {
                let names = texts(value, path, findings).unwrap_or_default();
                let hidden = || WrittenTool { hidden: Some(true), ..WrittenTool::default() };
                let tools = names.into_iter().map(|name| (name.0, hidden()));
                written.tools.get_or_insert_default().extend(tools);
            }
            "sse_read_timeout" => {
                written.read_timeout = seconds(value, path, findings).map(duration);
            }
            "read_timeout_seconds" => {
                written.call_timeout = seconds(value, path, findings).map(duration);
            }
            "source" if value == "extension" => {
                self.leave_out("an extension of Zed brings it, so it is left out");
            }
            // What we do anyway.
            "encoding" if is_word(value, &["utf-8", "utf8"]) => {}
            "encoding_error_handler" if is_word(value, &["strict"]) => {}
            "server_name" | "serverName" | "name" | "title" | "description" | "icon" | "source"
            | "timeout" => {}
            _ => self.ignored.push(key.chars().take(64).collect()),
        }
    }

    fn leave_out(&mut self, why: &str) {
        self.left_out = Some(why.to_owned());
    }

    fn transport(&mut self, value: &Value, path: &KeyPath, findings: &mut Findings<'_>) {
        let word = value.as_str().unwrap_or_default();
        self.written.transport = match &*word.to_ascii_lowercase().replace(['_', '-'], "") {
            "stdio" | "local" => Some(WrittenTransport::Stdio),
            "http" | "streamablehttp" => Some(WrittenTransport::StreamableHttp),
            "sse" => Some(WrittenTransport::Sse),
            // `url` says it as well.
            "remote" => None,
            "ws" | "websocket" => {
                self.leave_out("it is reached over a WebSocket, so it is left out");
                None
            }
            _ => {
                let way_out = "there are stdio, streamable-http (or http) and sse";
                findings.problem_with(path, "the transport is unknown", way_out);
                None
            }
        };
    }

    /// `command` or `url` say it as well, and some hosts write a transport that they do not look at.
    fn settle_transport(&mut self) {
        let WrittenServer { command, url, transport, .. } = &mut self.written;
        let stdio = *transport == Some(WrittenTransport::Stdio);
        if command.is_some() && !stdio || url.is_some() && stdio {
            *transport = None;
        }
    }

    fn timeout(
        &mut self,
        value: &Value,
        is_python: bool,
        path: &KeyPath,
        findings: &mut Findings<'_>,
    ) {
        let Some(number) = seconds(value, path, findings) else { return };
        // Nobody waits a quarter of an hour for a call, nor allows less than a second for one.
        let is_milliseconds = !is_python && number >= 1_000.0;
        let text = duration(if is_milliseconds { number / 1_000.0 } else { number });
        let connects = is_python && self.written.url.is_some();
        let key = if connects { "connect_timeout" } else { "call_timeout" };
        let notice = format!("`timeout` is taken as {key} = \"{}\"", text.0);
        let written = &mut self.written;
        *(if connects { &mut written.connect_timeout } else { &mut written.call_timeout }) =
            Some(text);
        findings.notice(path, notice);
    }

    /// The name of the first `${input:NAME}`: VS Code asks for it.
    pub(super) fn editor_input(&self) -> Option<&str> {
        self.templates().find_map(|text| {
            let (_, after) = text.0.split_once("${input:")?;
            after.split('}').next()
        })
    }

    /// The server, with the variables of editors written as ours.
    pub(super) fn into_written(mut self, folder: &Path) -> WrittenServer {
        let project = project_folder(folder);
        self.templates_mut(|template| template.0 = translated(&template.0, &project));
        self.written
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        let WrittenServer { command, cwd, url, env_file, args, env, headers, auth, .. } =
            &self.written;
        let auth = auth.iter().flat_map(|auth| [&auth.client_id, &auth.client_secret]);
        let single = [command, cwd, url, env_file].into_iter().chain(auth).flatten();
        let tables = [env, headers].into_iter().flatten().flat_map(IndexMap::values);
        single.chain(args.iter().flatten()).chain(tables)
    }

    fn templates_mut(&mut self, change: impl Fn(&mut Template)) {
        let WrittenServer { command, cwd, url, env_file, args, env, headers, auth, .. } =
            &mut self.written;
        let auth = auth.iter_mut();
        let auth = auth.flat_map(|auth| [&mut auth.client_id, &mut auth.client_secret]);
        let single = [command, cwd, url, env_file].into_iter().chain(auth).flatten();
        let tables = [env, headers].into_iter().flatten().flat_map(IndexMap::values_mut);
        single.chain(args.iter_mut().flatten()).chain(tables).for_each(change);
    }
}

fn is_word(value: &Value, words: &[&str]) -> bool {
    value.as_str().is_some_and(|word| words.iter().any(|known| word.eq_ignore_ascii_case(known)))
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

/// A number of seconds, or of something else that only the whole can tell.
fn seconds(value: &Value, path: &KeyPath, findings: &mut Findings<'_>) -> Option<f64> {
    let number = value.as_f64().filter(|number| (0.001..=1e9).contains(number));
    if number.is_none() {
        findings.problem(path, "a number above 0 is expected");
    }
    number
}

fn duration(seconds: f64) -> DurationText {
    DurationText(format_duration(Duration::from_secs_f64(seconds)))
}

/// OAuth as Cursor (`auth`: `CLIENT_ID` …) and Claude Code (`oauth`: `clientId` …) write it. A word
/// alone, such as FastMCP's `"oauth"`, says that it is wanted.
fn auth(value: &Value, path: &KeyPath, findings: &mut Findings<'_>) -> Option<WrittenAuth> {
    let members = match value {
        Value::Object(members) => members,
        Value::String(word) if word.eq_ignore_ascii_case("oauth") => {
            return Some(WrittenAuth::default());
        }
        _ => {
            findings.notice(path, "this kind of authorization means nothing here and is ignored");
            return None;
        }
    };
    if members.get("enabled") == Some(&Value::Bool(false)) {
        return None;
    }
    let mut auth = WrittenAuth::default();
    for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
        let path = path.key(key);
        match &*key.to_ascii_lowercase().replace('_', "") {
            "clientid" => auth.client_id = text(value, &path, findings),
            "clientsecret" => auth.client_secret = text(value, &path, findings),
            "clientmetadataurl" => auth.client_metadata_url = text(value, &path, findings),
            "scope" | "scopes" => {
                auth.scopes = match value {
                    Value::String(words) => {
                        Some(words.split_whitespace().map(str::to_owned).collect())
                    }
                    _ => texts(value, &path, findings)
                        .map(|scopes| scopes.into_iter().map(|scope| scope.0).collect()),
                }
            }
            "callbackport" | "redirectport" => {
                auth.redirect_port = value.as_u64().and_then(|port| u16::try_from(port).ok());
            }
            "enabled" => {}
            _ => findings.notice(&path, "this key means nothing here and is ignored"),
        }
    }
    Some(auth)
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
