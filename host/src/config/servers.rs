//! One server as written becomes [`UpstreamSettings`].

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Uri};
use indexmap::IndexMap;

use super::error::KeyPath;
use super::findings::Findings;
use super::surroundings::Surroundings;
use super::tuning;
use super::written::{
    Template, WrittenAuth, WrittenGrant, WrittenRoot, WrittenServer, WrittenTransport,
};
use crate::ids::UpstreamName;
use crate::upstream::settings::{
    AuthGrant, AuthSettings, FilesRoot, HttpFlavour, HttpSettings, Secret, SecretPart,
    TransportSettings, UpstreamSettings,
};

/// Checks one server and puts its settings together.
pub(super) fn resolve(
    name: &str,
    written: &WrittenServer,
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<UpstreamSettings> {
    let name = findings.check(path, UpstreamName::try_new(name));
    let transport = transport(written, path, surroundings, findings);
    // Without a transport the rest is checked all the same.
    let nowhere = TransportSettings::Files { roots: Vec::new() };
    let is_whole = name.is_some() && transport.is_some();
    let name = match name {
        Some(name) => name,
        None => UpstreamName::try_new("unnamed").ok()?,
    };
    let mut settings = UpstreamSettings::new(name, transport.unwrap_or(nowhere));
    tuning::apply(&mut settings, written, path, surroundings, findings);
    is_whole.then_some(settings)
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
            over_http(written, path, surroundings, findings);
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
        Kind::Url => over_http(written, path, surroundings, findings),
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
        ("env_file", Kind::Command, written.env_file.is_some()),
        ("cwd", Kind::Command, written.cwd.is_some()),
        ("headers", Kind::Url, written.headers.is_some()),
        ("proxy", Kind::Url, written.proxy.is_some()),
        ("ca_file", Kind::Url, written.ca_file.is_some()),
        ("auth", Kind::Url, written.auth.is_some()),
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
        | (Kind::Url, Some(WrittenTransport::StreamableHttp | WrittenTransport::Sse)) => {}
        (Kind::Command, Some(_)) => {
            findings.problem_with(path, "a server with `command` speaks stdio", "remove it");
        }
        (Kind::Url, Some(WrittenTransport::Stdio)) => {
            let cause = "a server with `url` does not speak stdio";
            findings.problem_with(path, cause, "use streamable-http or sse, or leave it out");
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
    let from_file = match &written.env_file {
        Some(file) => env_file(file, &path.key("env_file"), surroundings, findings),
        None => Some(BTreeMap::new()),
    };
    let env = secrets(&written.env, &path.key("env"), surroundings, findings, |name, _| {
        let fits = !name.is_empty() && !name.contains(['=', '\0']);
        fits.then_some(()).ok_or("this is no name of an environment variable")
    });
    let cwd = match &written.cwd {
        Some(cwd) => Some(surroundings.path(cwd, &path.key("cwd"), findings)?),
        None => None,
    };
    let args = args.into_iter().collect::<Option<_>>()?;
    let mut all_env = from_file?;
    all_env.extend(env?);
    Some(TransportSettings::Stdio { command: command?, args, env: all_env, cwd })
}

/// Reads lines of `NAME=value`, as `.env` files have them. Nothing in them is replaced.
fn env_file(
    file: &Template,
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<BTreeMap<String, Secret>> {
    let file = surroundings.path(file, path, findings)?;
    let text = findings.check(path, surroundings.providers.file(&file))?;
    let mut env = BTreeMap::new();
    for (nth, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=').filter(|(name, _)| !name.trim().is_empty())
        else {
            let cause = format!("line {} of {} is not NAME=value", nth + 1, file.display());
            findings.problem(path, cause);
            return None;
        };
        let value = value.trim();
        let quoted = ['"', '\''].into_iter().find_map(|quote| {
            value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote))
        });
        env.insert(name.trim().to_owned(), Secret::new(quoted.unwrap_or(value)));
    }
    Some(env)
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

fn over_http(
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
    let proxy_path = path.key("proxy");
    let proxy = written.proxy.as_ref().and_then(|proxy| {
        let proxy = surroundings.text(proxy, &proxy_path, findings)?;
        if !is_http_url(&proxy) {
            let cause = "this is no URL that begins with http:// or https://";
            findings.problem_with(&proxy_path, cause, "write for example http://127.0.0.1:3128");
        }
        Some(Secret::new(proxy))
    });
    let ca_path = path.key("ca_file");
    let ca_file = written.ca_file.as_ref().and_then(|file| {
        let file = surroundings.path(file, &ca_path, findings)?;
        if let Err(error) = std::fs::File::open(&file) {
            findings.problem(&ca_path, format!("{} cannot be read: {error}", file.display()));
        }
        Some(file)
    });
    let auth = written
        .auth
        .as_ref()
        .and_then(|written| auth(written, &path.key("auth"), surroundings, findings));
    let own_token = written.headers.iter().flatten();
    let own_token =
        own_token.map(|(name, _)| name).find(|name| name.eq_ignore_ascii_case("authorization"));
    if let (Some(name), Some(_)) = (own_token, &written.auth) {
        let cause = format!("`auth` and the header `{name}` exclude each other");
        findings.problem_with(&path.key("auth"), cause, "remove one of the two");
    }
    let flavour = match written.transport {
        Some(WrittenTransport::StreamableHttp) => HttpFlavour::StreamableHttp,
        Some(WrittenTransport::Sse) => HttpFlavour::Sse,
        Some(WrittenTransport::Stdio) | None => HttpFlavour::Detect,
    };
    Some(TransportSettings::Http(HttpSettings {
        flavour,
        headers: headers?,
        proxy,
        ca_file,
        auth,
        ..HttpSettings::new(url?)
    }))
}

fn auth(
    written: &WrittenAuth,
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<AuthSettings> {
    let WrittenAuth { grant, client_id, client_secret, client_metadata_url, scopes, redirect_port } =
        written;
    let grant = match grant {
        None => AuthGrant::default(),
        Some(WrittenGrant::AuthorizationCode) => AuthGrant::AuthorizationCode,
        Some(WrittenGrant::ClientCredentials) => AuthGrant::ClientCredentials,
    };
    if grant == AuthGrant::ClientCredentials {
        let given =
            [("client_id", client_id.is_some()), ("client_secret", client_secret.is_some())];
        for (key, _) in given.into_iter().filter(|(_, is_given)| !is_given) {
            let cause = format!("grant = \"client-credentials\" needs `{key}`");
            findings.problem_with(path, cause, format!("write {key} = \"…\""));
        }
    }
    if *redirect_port == Some(0) {
        let way_out = "leave it out for any free port";
        findings.problem_with(&path.key("redirect_port"), "0 is no port", way_out);
    }
    let scopes = scopes.clone().unwrap_or_default();
    for (nth, scope) in scopes.iter().enumerate() {
        if scope.is_empty() || scope.contains(char::is_whitespace) {
            let cause = "a scope is one word";
            findings.problem(&path.key("scopes").index(nth), cause);
        }
    }
    let mut text = |key: &str, template: &Option<Template>| -> Option<Option<String>> {
        match template {
            None => Some(None),
            Some(template) => surroundings.text(template, &path.key(key), findings).map(Some),
        }
    };
    let client_id = text("client_id", client_id);
    let client_secret = text("client_secret", client_secret);
    let client_metadata_url = text("client_metadata_url", client_metadata_url);
    if let Some(Some(url)) = &client_metadata_url
        && !url.starts_with("https://")
    {
        let cause = "the document's URL begins with https://";
        findings.problem(&path.key("client_metadata_url"), cause);
    }
    Some(AuthSettings {
        grant,
        client_id: client_id?,
        client_secret: client_secret?.map(Secret::new),
        client_metadata_url: client_metadata_url?,
        scopes,
        redirect_port: *redirect_port,
    })
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
        let value = surroundings.parts(template, &path, findings);
        let value = value.filter(|parts| {
            let known = |part: &SecretPart| match part {
                SecretPart::Text(text) => text.clone(),
                SecretPart::CallerToken | SecretPart::CallerId => String::new(),
            };
            let known: String = parts.iter().map(known).collect();
            findings.check(&path, check(name, &known)).is_some()
        });
        match value {
            Some(parts) if parts.is_empty() => {
                secrets.insert(name.clone(), Secret::new(""));
            }
            Some(parts) => {
                secrets.insert(name.clone(), Secret::template(parts));
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
