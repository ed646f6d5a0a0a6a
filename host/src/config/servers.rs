//! One server as written becomes [`UpstreamSettings`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::{HeaderName, HeaderValue, Uri};
use indexmap::IndexMap;

use super::env::{ExpandError, Lookup, expand};
use super::error::KeyPath;
use super::findings::Findings;
use super::limits::server_duration;
use super::written::{Template, WrittenRoot, WrittenServer, WrittenTransport};
use crate::ids::UpstreamName;
use crate::upstream::settings::{
    FilesRoot, HttpSettings, Secret, TransportSettings, UpstreamSettings,
};

/// What the values of a file refer to.
pub(super) struct Surroundings<'a> {
    /// The folder of the file: relative paths start here.
    pub(super) folder: &'a Path,
    /// The environment.
    pub(super) lookup: &'a Lookup<'a>,
}

impl Surroundings<'_> {
    /// The text with its variables replaced.
    pub(super) fn text(
        &self,
        template: &Template,
        path: &KeyPath,
        findings: &mut Findings<'_>,
    ) -> Option<String> {
        match expand(&template.0, self.lookup) {
            Ok(text) => return Some(text),
            Err(error) => match &error {
                ExpandError::Unset { name } => {
                    let way_out = format!("set it, or write a default: ${{{name}:-…}}");
                    findings.problem_with(path, error, way_out);
                }
                ExpandError::Unclosed | ExpandError::NotAName => {
                    let way_out = "write ${NAME} or ${NAME:-default}, and $${ for ${ itself";
                    findings.problem_with(path, error, way_out);
                }
                ExpandError::Caller => findings.problem(path, error),
            },
        }
        None
    }

    /// The path with its variables replaced, from the file's folder.
    pub(super) fn path(
        &self,
        template: &Template,
        path: &KeyPath,
        findings: &mut Findings<'_>,
    ) -> Option<PathBuf> {
        let text = self.text(template, path, findings)?;
        if text.is_empty() {
            findings.problem(path, "the path is empty");
            return None;
        }
        if text == "~" || text.starts_with("~/") {
            let cause = "`~` is not replaced in paths";
            findings.problem_with(path, cause, "write ${HOME} for the home directory");
            return None;
        }
        Some(self.folder.join(text).components().collect())
    }
}

/// Checks one server and puts its settings together.
pub(super) fn resolve(
    name: &str,
    written: &WrittenServer,
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<UpstreamSettings> {
    let name = findings.check(path, UpstreamName::try_new(name));
    let mut timeout = |key: &str, text: &Option<String>| {
        let text = text.as_deref()?;
        findings.check(&path.key(key), server_duration(text))
    };
    let connect_timeout = timeout("connect_timeout", &written.connect_timeout);
    let call_timeout = timeout("call_timeout", &written.call_timeout);
    let transport = transport(written, path, surroundings, findings);
    let mut settings = UpstreamSettings::new(name?, transport?);
    if let Some(connect_timeout) = connect_timeout {
        settings.timeouts.connect = connect_timeout;
        settings.timeouts.handshake = connect_timeout;
    }
    settings.timeouts.call = call_timeout;
    Some(settings)
}

/// The three kinds of servers, by the key that makes them so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Command,
    Url,
    Builtin,
}

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Url => "url",
            Self::Builtin => "builtin",
        }
    }
}

fn transport(
    written: &WrittenServer,
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<TransportSettings> {
    let kinds = [
        (Kind::Command, written.command.is_some()),
        (Kind::Url, written.url.is_some()),
        (Kind::Builtin, written.builtin.is_some()),
    ];
    let mut kinds = kinds.into_iter().filter(|(_, is_there)| *is_there).map(|(kind, _)| kind);
    let Some(kind) = kinds.next() else {
        if !findings.is_faulty(path) {
            let cause = "nothing says how to reach the server";
            let way_out = "give `command` (a program to start), `url` (an endpoint) or `builtin`";
            findings.problem_with(path, cause, way_out);
        } else {
            // The key that says it could not be read; the others are checked all the same.
            stdio(written, path, surroundings, findings);
            streamable_http(written, path, surroundings, findings);
        }
        return None;
    };
    if let Some(other) = kinds.next() {
        let cause = format!("`{}` and `{}` exclude each other", kind.key(), other.key());
        findings.problem_with(path, cause, "make two servers of it");
        return None;
    }
    refuse_foreign_keys(kind, written, path, findings);
    refuse_foreign_transport(kind, written.transport, &path.key("transport"), findings);
    match kind {
        Kind::Command => stdio(written, path, surroundings, findings),
        Kind::Url => streamable_http(written, path, surroundings, findings),
        Kind::Builtin => files(written, path, surroundings, findings),
    }
}

fn refuse_foreign_keys(
    kind: Kind,
    written: &WrittenServer,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) {
    let keys = [
        ("args", Kind::Command, written.args.is_some()),
        ("env", Kind::Command, written.env.is_some()),
        ("cwd", Kind::Command, written.cwd.is_some()),
        ("headers", Kind::Url, written.headers.is_some()),
        ("roots", Kind::Builtin, written.roots.is_some()),
    ];
    for (key, owner, is_there) in keys {
        if is_there && owner != kind {
            let (owner, kind) = (owner.key(), kind.key());
            let cause =
                format!("`{key}` belongs to servers with `{owner}`, and this one has `{kind}`");
            findings.problem_with(&path.key(key), cause, "remove it");
        }
    }
}

fn refuse_foreign_transport(
    kind: Kind,
    transport: Option<WrittenTransport>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) {
    match (kind, transport) {
        (_, None)
        | (Kind::Command, Some(WrittenTransport::Stdio))
        | (Kind::Url, Some(WrittenTransport::StreamableHttp)) => {}
        (Kind::Url, Some(WrittenTransport::Sse)) => {
            let cause = "the legacy SSE transport is not built yet";
            findings.problem_with(path, cause, "use streamable-http");
        }
        (Kind::Command, Some(_)) => {
            findings.problem_with(path, "a server with `command` speaks stdio", "remove it");
        }
        (Kind::Url, Some(WrittenTransport::Stdio)) => {
            let cause = "a server with `url` does not speak stdio";
            findings.problem_with(path, cause, "use streamable-http");
        }
        (Kind::Builtin, Some(_)) => {
            findings.problem_with(path, "a server with `builtin` has no transport", "remove it");
        }
    }
}

fn stdio(
    written: &WrittenServer,
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<TransportSettings> {
    let command = written
        .command
        .as_ref()
        .and_then(|command| program(command, &path.key("command"), surroundings, findings));
    let args_path = path.key("args");
    let args: Vec<Option<String>> = written
        .args
        .iter()
        .flatten()
        .enumerate()
        .map(|(index, arg)| surroundings.text(arg, &args_path.index(index), findings))
        .collect();
    let env = secrets(&written.env, &path.key("env"), surroundings, findings, |name, _| {
        let fits = !name.is_empty() && !name.contains(['=', '\0']);
        fits.then_some(()).ok_or("this is no name of an environment variable")
    });
    let cwd = match &written.cwd {
        Some(cwd) => Some(surroundings.path(cwd, &path.key("cwd"), findings)?),
        None => None,
    };
    let args = args.into_iter().collect::<Option<_>>()?;
    Some(TransportSettings::Stdio { command: command?, args, env: env?, cwd })
}

/// A name to look up in `PATH` stays as it is; a path starts at the file's folder.
fn program(
    command: &Template,
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<String> {
    let text = surroundings.text(command, path, findings)?;
    if text.trim().is_empty() {
        findings.problem(path, "the command is empty");
        return None;
    }
    if !text.contains(std::path::is_separator) {
        return Some(text);
    }
    let program = surroundings.path(command, path, findings)?;
    match program.into_os_string().into_string() {
        Ok(program) => Some(program),
        Err(_) => {
            findings.problem(path, "the folder of this file has a name that is not UTF-8");
            None
        }
    }
}

fn streamable_http(
    written: &WrittenServer,
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<TransportSettings> {
    let url_path = path.key("url");
    let url = written.url.as_ref().and_then(|url| surroundings.text(url, &url_path, findings));
    // A URL can carry a password, so it is never quoted.
    let url = url.filter(|url| {
        let fits = is_http_url(url);
        if !fits {
            let cause = "this is no URL that begins with http:// or https://";
            findings.problem_with(&url_path, cause, "write for example http://127.0.0.1:8000/mcp");
        }
        fits
    });
    let check = |name: &str, value: &str| {
        HeaderName::try_from(name).map_err(|_| "this is no name of a header")?;
        HeaderValue::try_from(value).map_err(|_| "the value has characters that no header has")?;
        Ok(())
    };
    let headers = secrets(&written.headers, &path.key("headers"), surroundings, findings, check);
    Some(TransportSettings::Http(HttpSettings { headers: headers?, ..HttpSettings::new(url?) }))
}

/// Whether it is an absolute URL of the web.
pub(super) fn is_http_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let reachable = uri.host().is_some_and(|host| !host.is_empty());
    reachable && matches!(uri.scheme_str(), Some("http" | "https"))
}

/// Expands and checks values that may be credentials; they are secrets from here on.
fn secrets(
    written: &Option<IndexMap<String, Template>>,
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
    check: impl Fn(&str, &str) -> Result<(), &'static str>,
) -> Option<BTreeMap<String, Secret>> {
    let mut secrets = BTreeMap::new();
    let mut all_fit = true;
    for (name, template) in written.iter().flatten() {
        let path = path.key(name);
        let value = surroundings.text(template, &path, findings);
        let value = value.filter(|value| findings.check(&path, check(name, value)).is_some());
        match value {
            Some(value) => {
                secrets.insert(name.clone(), Secret::new(value));
            }
            None => all_fit = false,
        }
    }
    all_fit.then_some(secrets)
}

fn files(
    written: &WrittenServer,
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<TransportSettings> {
    let path = path.key("roots");
    let written = written.roots.iter().flatten();
    let roots: Vec<Option<FilesRoot>> = written
        .map(|(name, root)| files_root(name, root, &path.key(name), surroundings, findings))
        .collect();
    if roots.is_empty() && !findings.is_faulty(&path) {
        let way_out =
            "write for example roots = { notes = { path = \"notes\", read_only = true } }";
        findings.problem_with(&path, "there is no directory to serve", way_out);
        return None;
    }
    Some(TransportSettings::Files { roots: roots.into_iter().collect::<Option<_>>()? })
}

fn files_root(
    name: &str,
    root: &WrittenRoot,
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<FilesRoot> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let named =
        (1..=64).contains(&name.len()) && name.chars().all(fits) && name.chars().any(|c| c != '.');
    if !named {
        findings.problem(path, "a root's name is 1 to 64 of A-Z a-z 0-9 _ - .");
    }
    let Some(template) = &root.path else {
        findings.problem_with(path, "the root has no path", "write path = \"…\"");
        return None;
    };
    let directory = surroundings.path(template, path, findings)?;
    let root = FilesRoot { name: name.to_owned(), directory, read_only: root.read_only };
    named.then_some(root)
}
