//! Puts `${NAME}` where a literal credential stands.

use std::collections::BTreeMap;

/// The variables that stand for credentials. The values are kept to tell equal ones from others, and
/// never leave.
#[derive(Default)]
pub(super) struct Secrets(BTreeMap<String, Option<String>>);

/// Parts of names that credentials have.
const NAMES: [&str; 9] =
    ["key", "token", "secret", "passw", "pwd", "auth", "credential", "cookie", "dsn"];

impl Secrets {
    /// The names.
    pub(super) fn variables(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// The value of an environment variable: as it is when it is no secret, else a reference.
    pub(super) fn variable(&mut self, server: &str, name: &str, value: &str) -> String {
        if is_reference(value) || is_plain(name, value) {
            return value.to_owned();
        }
        self.moved(server, identifier(name), value)
    }

    /// What is a credential whatever it looks like.
    pub(super) fn credential(&mut self, server: &str, name: &str, value: &str) -> String {
        match is_reference(value) {
            true => value.to_owned(),
            false => self.moved(server, joined(server, name), value),
        }
    }

    /// The value of a header, likewise. A word such as `Bearer` stays.
    pub(super) fn header(&mut self, server: &str, name: &str, value: &str) -> String {
        if is_reference(value) || is_plain(name, value) {
            return value.to_owned();
        }
        let (scheme, secret) = match value.split_once(' ') {
            Some((scheme, secret)) if !secret.is_empty() && !secret.contains(' ') => {
                (format!("{scheme} "), secret)
            }
            _ => (String::new(), value),
        };
        let variable = match name.eq_ignore_ascii_case("authorization") {
            true => joined(server, "TOKEN"),
            false => joined(server, name),
        };
        format!("{scheme}{}", self.moved(server, variable, secret))
    }

    /// Arguments: what stands behind `--token`, `--api-key=` or `--header` is a credential.
    pub(super) fn args<'a>(
        &mut self,
        server: &str,
        args: impl Iterator<Item = &'a str>,
    ) -> Vec<String> {
        let mut before = "";
        let args = args.map(|arg| {
            let flag = std::mem::replace(&mut before, arg);
            self.arg(server, flag, arg)
        });
        args.collect()
    }

    fn arg(&mut self, server: &str, before: &str, arg: &str) -> String {
        if is_reference(arg) {
            return arg.to_owned();
        }
        if matches!(before, "--header" | "-H")
            && let Some((name, value)) = arg.split_once(':')
        {
            let value = self.header(server, name, value.trim_start());
            return format!("{name}: {value}");
        }
        match arg.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') && is_secret_name(flag) => {
                format!("{flag}={}", self.moved(server, joined(server, flag), value))
            }
            None if before.starts_with('-') && !arg.starts_with('-') && is_secret_name(before) => {
                self.moved(server, joined(server, before), arg)
            }
            _ => arg.to_owned(),
        }
    }

    /// A URL: what it has between `//` and `@`, and in `?api_key=`.
    pub(super) fn url(&mut self, server: &str, url: &str) -> String {
        let mut url = url.to_owned();
        if let Some((scheme, rest)) = url.split_once("://")
            && let Some((user, host)) = rest.split_once('@')
            && !user.contains('/')
            && !is_reference(user)
        {
            let user = self.moved(server, joined(server, "LOGIN"), user);
            url = format!("{scheme}://{user}@{host}");
        }
        let Some((start, query)) = url.split_once('?') else { return url };
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) if is_secret_name(name) && !is_reference(value) => {
                format!("{name}={}", self.moved(server, joined(server, name), value))
            }
            _ => pair.to_owned(),
        });
        let query = pairs.collect::<Vec<_>>().join("&");
        format!("{start}?{query}")
    }

    /// VS Code asks for `${input:NAME}`; here it is a variable.
    pub(super) fn inputs(&mut self, text: &str) -> String {
        let mut parts = text.split("${input:");
        let mut replaced = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let Some((name, rest)) = part.split_once('}') else {
                replaced.push_str("${input:");
                replaced.push_str(part);
                continue;
            };
            let name = identifier(name);
            replaced.push_str(&format!("${{{name}}}{rest}"));
            self.0.entry(name).or_default();
        }
        replaced
    }

    /// A reference to a variable with this value, of this name if that is not taken by another value.
    fn moved(&mut self, server: &str, name: String, value: &str) -> String {
        let value = Some(value.to_owned());
        let longer = joined(server, &name);
        let numbered = (2_u32..).map(|n| format!("{longer}_{n}"));
        let mut names = [name, longer.clone()].into_iter().chain(numbered);
        let free = names.find(|name| self.0.get(name).is_none_or(|taken| *taken == value));
        let name = free.unwrap_or(longer);
        let reference = format!("${{{name}}}");
        self.0.insert(name, value);
        reference
    }
}

fn is_reference(value: &str) -> bool {
    value.contains("${")
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    NAMES.iter().any(|part| name.contains(part)) || words.any(|word| word == "pat")
}

/// Whether a value is plainly a setting: a number, a word, a path. Anything else is taken for a secret,
/// because a variable too many does less harm than a credential in a repository.
fn is_plain(name: &str, value: &str) -> bool {
    if value.is_empty() {
        return true;
    }
    if is_secret_name(name) {
        return false;
    }
    let is_number = value.len() <= 6 && value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let is_word = value.len() <= 16 && value.bytes().all(|b| b.is_ascii_alphabetic());
    let is_path = ["/", "./", "../", "~"].iter().any(|start| value.starts_with(start));
    let is_media_type =
        name.eq_ignore_ascii_case("accept") || name.eq_ignore_ascii_case("content-type");
    is_number || is_word || is_path || is_media_type
}

fn joined(server: &str, name: &str) -> String {
    identifier(&format!("{server}_{}", name.trim_start_matches('-')))
}

/// A text as the name of a variable.
fn identifier(text: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = text.chars().map(fits).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
        format!("_{name}")
    } else {
        name
    }
}
