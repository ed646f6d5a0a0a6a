//! `${…}` in the values of a file: what a text is made of, before any of it has a value.

use super::env::ExpandError;

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'t> {
    /// As it is.
    Text(&'t str),
    /// `${NAME}` or `${NAME:-default}`: an environment variable.
    Variable {
        /// Its name.
        name: &'t str,
        /// What stands for it if it is unset or empty.
        default: Option<&'t str>,
    },
    /// `${file:PATH}`: the content of a file.
    File(&'t str),
    /// `${command:PROGRAM ARGUMENTS…}`: what a program prints.
    Command(&'t str),
    /// `${caller.token}`: the token with which the caller came.
    CallerToken,
    /// `${caller.id}`: who the caller is.
    CallerId,
}

/// Takes a text apart. `$${` stands for `${`; every other `$` for itself. What stands inside of the
/// braces ends at the first `}`.
pub(super) fn parts(template: &str) -> Result<Vec<Part<'_>>, ExpandError> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            // `$${`: one of the two dollars goes.
            parts.push(Part::Text(&rest[..start - 1]));
            parts.push(Part::Text("${"));
            rest = &rest[start + 2..];
            continue;
        }
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or(ExpandError::Unclosed)?;
        parts.push(Part::Text(&rest[..start]));
        parts.push(part(&inner[..end])?);
        rest = &inner[end + 1..];
    }
    parts.push(Part::Text(rest));
    parts.retain(|part| *part != Part::Text(""));
    Ok(parts)
}

/// Whether anything in a text stands for something else.
pub(super) fn is_literal(template: &str) -> bool {
    let text = |part: &Part<'_>| matches!(part, Part::Text(_));
    parts(template).is_ok_and(|parts| parts.iter().all(text))
}

fn part(inner: &str) -> Result<Part<'_>, ExpandError> {
    if let Some(path) = inner.strip_prefix("file:") {
        return Ok(Part::File(path.trim()));
    }
    if let Some(line) = inner.strip_prefix("command:") {
        return Ok(Part::Command(line.trim()));
    }
    match inner {
        "caller.token" => return Ok(Part::CallerToken),
        "caller.id" => return Ok(Part::CallerId),
        _ if inner.starts_with("caller.") => return Err(ExpandError::UnknownOfCaller),
        _ => {}
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on_well = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match starts_well && goes_on_well {
        true => Ok(Part::Variable { name, default }),
        false => Err(ExpandError::NotAName),
    }
}
