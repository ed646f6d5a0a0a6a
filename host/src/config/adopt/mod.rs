//! The servers of other programs' files, written anew as tables of `toolcell.toml`.
//!
//! What is written may end up in a repository, so no literal credential is part of it: `secrets` puts
//! `${NAME}` in its place and remembers which variables have to be set. No value is ever told. What is
//! `${…}` already stays, and what VS Code asks its user for (`${input:NAME}`) becomes a variable.

mod secrets;

use std::path::Path;

use serde_json::{Map, Value, json};

use super::env::Lookup;
use super::json::{self, Imported};
use super::providers::Providers;
use super::reference::{bare, inline};
use super::surroundings::{Origin, Surroundings};
use super::written::{Template, WrittenAuth, WrittenServer, WrittenTransport};
use secrets::Secrets;

/// The largest file of another program that is read: Claude Code keeps much more than servers in its own.
pub const MAX_FOREIGN_BYTES: u64 = 16 << 20;

/// What was taken over so far.
#[derive(Default)]
pub struct Adoption {
    servers: Vec<AdoptedServer>,
    notes: Vec<String>,
    secrets: Secrets,
}

/// One server.
#[derive(Clone, Debug)]
pub struct AdoptedServer {
    /// Its name here.
    pub name: String,
    /// The file that it is from.
    pub from: String,
    /// Its table. No literal credential is in it.
    pub toml: String,
}

impl Adoption {
    /// Takes over the servers of a file that other programs read. Of those that Claude Code has for each
    /// project, it takes those of `project`.
    pub fn file(&mut self, file: &Path, text: &str, project: &Path, lookup: &Lookup<'_>) {
        let plain = json::without_comments(text);
        let top: Value = match serde_json::from_str(&plain) {
            Ok(top) => top,
            Err(error) => {
                // An error about syntax quotes nothing.
                let (line, column) = (error.line(), error.column());
                self.notes.push(format!("{}:{line}:{column}: not JSON", file.display()));
                return;
            }
        };
        if json::TABLES.iter().chain(&["mcp"]).any(|table| top.get(table).is_some()) {
            self.servers(file, &plain, lookup);
        }
        let projects = top.get("projects").and_then(|all| all.get(project.to_str()?));
        if let Some(servers) = projects.and_then(|project| project.get("mcpServers")) {
            self.servers(file, &json!({ "mcpServers": servers }).to_string(), lookup);
        }
    }

    /// The servers, in the order in which they were found.
    pub fn found(&self) -> &[AdoptedServer] {
        &self.servers
    }

    /// What was left out or changed, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Variables that have to be set, because what stood for them is a credential.
    pub fn variables(&self) -> Vec<String> {
        self.secrets.variables()
    }

    fn servers(&mut self, file: &Path, text: &str, lookup: &Lookup<'_>) {
        let text = self.secrets.inputs(text);
        // What a variable stands for is not looked at here, only that something does.
        let any = |name: &str| Some(lookup(name).unwrap_or_else(|| "localhost".to_owned()));
        let surroundings = Surroundings {
            folder: file.parent().unwrap_or(file),
            lookup: &any,
            origin: Origin::Foreign,
            providers: &Providers::default(),
            probe_interval: None,
        };
        let Imported { servers, problems, notices, .. } = json::import(file, &text, &surroundings);
        self.notes.extend(problems.iter().map(|problem| format!("{problem}; it is left out")));
        let is_about_inputs = |path: &str| path == "inputs";
        let notices =
            notices.iter().filter(|notice| !is_about_inputs(&notice.place.path.to_string()));
        self.notes.extend(notices.map(ToString::to_string));
        for server in servers {
            let name = server.settings.name.to_string();
            self.server(name, file, surroundings.folder, &server.source.written);
        }
    }

    fn server(&mut self, name: String, file: &Path, folder: &Path, written: &WrittenServer) {
        let from = file.display().to_string();
        if is_toolcell(written) {
            self.notes.push(format!("{from}: `{name}` is toolcell itself, so it is left out"));
            return;
        }
        let members = self.members(&name, written, folder);
        let lines =
            members.iter().map(|(key, value)| format!("{} = {}\n", bare(key), inline(value)));
        let toml = format!("[servers.{}]\n{}", bare(&name), lines.collect::<String>());
        match self.servers.iter().find(|server| server.name == name) {
            Some(same) if same.toml == toml => {}
            Some(other) => self.notes.push(format!(
                "{from}: another server is called `{name}` in {}, which is taken; rename one of them",
                other.from
            )),
            None => self.servers.push(AdoptedServer { name, from, toml }),
        }
    }

    /// What our file says of a server: all that the file of another program can say.
    fn members(
        &mut self,
        name: &str,
        written: &WrittenServer,
        folder: &Path,
    ) -> Map<String, Value> {
        let secrets = &mut self.secrets;
        let text = |text: &Option<Template>| text.as_ref().map(|text| text.0.clone().into());
        let mut members = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            members.extend(value.map(|value| (key.to_owned(), value)));
        };
        put("command", text(&written.command));
        let args = written.args.iter().flatten().map(|arg| arg.0.as_str());
        put("args", written.args.is_some().then(|| secrets.args(name, args).into()));
        put("cwd", written.cwd.as_ref().map(|cwd| from_folder(folder, &cwd.0)));
        put("env_file", written.env_file.as_ref().map(|file| from_folder(folder, &file.0)));
        put("url", written.url.as_ref().map(|url| secrets.url(name, &url.0).into()));
        put("transport", written.transport.map(|transport| word(transport).into()));
        let mut table = |table: &Option<indexmap::IndexMap<String, Template>>, header| {
            let members = table.iter().flatten();
            let members = members.map(|(key, value)| {
                let value = match header {
                    true => secrets.header(name, key, &value.0),
                    false => secrets.variable(name, key, &value.0),
                };
                (key.clone(), value.into())
            });
            table.is_some().then(|| Value::Object(members.collect()))
        };
        put("env", table(&written.env, false));
        put("headers", table(&written.headers, true));
        put("auth", written.auth.as_ref().map(|auth| authorization(name, auth, secrets)));
        let times = [
            ("connect_timeout", &written.connect_timeout),
            ("read_timeout", &written.read_timeout),
            ("call_timeout", &written.call_timeout),
        ];
        for (key, time) in times {
            put(key, time.as_ref().map(|time| time.0.clone().into()));
        }
        let hidden = written
            .tools
            .iter()
            .flatten()
            .map(|(tool, _)| (tool.clone(), json!({ "hidden": true })));
        put("tools", written.tools.is_some().then(|| Value::Object(hidden.collect())));
        members
    }
}

/// A relative path starts at the folder of the file that it was in, which ours may not lie in.
fn from_folder(folder: &Path, path: &str) -> Value {
    if path.starts_with("${") || Path::new(path).is_absolute() {
        return path.into();
    }
    folder.join(path).to_string_lossy().into()
}

fn word(transport: WrittenTransport) -> &'static str {
    match transport {
        WrittenTransport::Stdio => "stdio",
        WrittenTransport::StreamableHttp => "streamable-http",
        WrittenTransport::Sse => "sse",
    }
}

fn authorization(server: &str, auth: &WrittenAuth, secrets: &mut Secrets) -> Value {
    let text = |text: &Option<Template>| text.as_ref().map(|text| text.0.clone());
    let secret = text(&auth.client_secret);
    let secret = secret.map(|secret| secrets.credential(server, "CLIENT_SECRET", &secret));
    json!({
        "client_id": text(&auth.client_id),
        "client_secret": secret,
        "client_metadata_url": text(&auth.client_metadata_url),
        "scopes": auth.scopes,
        "redirect_port": auth.redirect_port,
    })
}

/// Whether a server is ourselves: toolcell behind toolcell shows an agent nothing but itself.
fn is_toolcell(written: &WrittenServer) -> bool {
    let command = written.command.as_ref().map(|command| command.0.replace('\\', "/"));
    let name = command.as_deref().and_then(|command| command.rsplit('/').next());
    matches!(name, Some("toolcell" | "toolcell.exe"))
}

#[cfg(test)]
mod tests;
