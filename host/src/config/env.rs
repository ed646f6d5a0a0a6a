//! The environment: every variable that toolcell reads, and `${NAME}` in configuration files.
//!
//! Only `main` reads the process's environment. Everything else is given a [`Lookup`], so that
//! tests bring their own.

/// Path of the configuration file, where no `--config` is given.
pub const TOOLCELL_CONFIG: &str = "TOOLCELL_CONFIG";

/// Directory of compiled language runtimes; the user's cache directory if unset.
pub const TOOLCELL_CACHE_DIR: &str = "TOOLCELL_CACHE_DIR";

/// What to log, as `tracing` filters: `info`, `toolcell=debug,rmcp=warn`.
pub const TOOLCELL_LOG: &str = "TOOLCELL_LOG";

/// Any value but the empty one turns colours off (<https://no-color.org>).
pub const NO_COLOR: &str = "NO_COLOR";

/// Finds the value of an environment variable.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The [`Lookup`] of this process's own environment. A value that is not UTF-8 counts as unset.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn of_process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Why a text with `${…}` has no value. Only names of variables are told, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The variable is not set, and no default is given.
    #[error("the environment variable `{name}` is not set")]
    Unset {
        /// Its name.
        name: String,
    },
    /// `${` without `}`.
    #[error("a `${{` is never closed by `}}`")]
    Unclosed,
    /// What stands inside of the braces is no variable's name.
    #[error("what stands between `${{` and `}}` is not the name of an environment variable")]
    NotAName,
    /// `${caller.…}`.
    #[error("`${{caller.…}}` is not built yet")]
    Caller,
}

/// Replaces `${NAME}` by the value of a variable and `${NAME:-default}` by its value or, if it is
/// unset or empty, by the default. `$${` stands for `${`; every other `$` for itself. Values are not
/// expanded again, and a default ends at the first `}`.
///
/// ```
/// use toolcell::config::env::expand;
///
/// let environment = |name: &str| (name == "USER").then(|| "ada".to_owned());
/// assert_eq!(expand("${USER}@${HOST:-localhost}", &environment).unwrap(), "ada@localhost");
/// ```
///
/// # Errors
/// A variable is unset, or a `${` begins something else than a variable.
pub fn expand(template: &str, lookup: &Lookup<'_>) -> Result<String, ExpandError> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            text.push_str(before);
            text.push_str("${");
            rest = &from[2..];
            continue;
        }
        text.push_str(before);
        let (inner, after) = from[2..].split_once('}').ok_or(ExpandError::Unclosed)?;
        text.push_str(&variable(inner, lookup)?);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn variable(inner: &str, lookup: &Lookup<'_>) -> Result<String, ExpandError> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if name.starts_with("caller.") {
        return Err(ExpandError::Caller);
    }
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(ExpandError::NotAName);
    }
    match (lookup(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ExpandError::Unset { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "TOKEN" => Some("s3cret".into()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${TOKEN}".into()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced() {
        #[track_caller]
        fn check(template: &str, expected: &str) {
            assert_eq!(expand(template, &environment).as_deref(), Ok(expected), "{template}");
        }
        check("plain $HOME $", "plain $HOME $");
        check("Bearer ${TOKEN}", "Bearer s3cret");
        check("${TOKEN}${TOKEN}", "s3crets3cret");
        check("${MISSING:-a:-b}", "a:-b");
        check("${MISSING:-}", "");
        check("${EMPTY}", "");
        check("${EMPTY:-x}", "x");
        check("$${TOKEN} ${TOKEN}", "${TOKEN} s3cret");
        check("$$${TOKEN}", "$${TOKEN}");
        check("${NESTED}", "${TOKEN}");
    }

    #[test]
    fn what_has_no_value_is_refused() {
        #[track_caller]
        fn check(template: &str, expected: ExpandError) {
            assert_eq!(expand(template, &environment), Err(expected), "{template}");
        }
        check("${MISSING}", ExpandError::Unset { name: "MISSING".into() });
        check("${TOKEN", ExpandError::Unclosed);
        check("${}", ExpandError::NotAName);
        check("${1A}", ExpandError::NotAName);
        check("${input:key}", ExpandError::NotAName);
        check("${caller.token}", ExpandError::Caller);
    }

    proptest! {
        #[test]
        fn texts_without_variables_stay(text in "[^$]*") {
            prop_assert_eq!(expand(&text, &environment), Ok(text));
        }

        #[test]
        fn no_template_makes_it_panic(text in "[$A-E{}:-]{0,20}") {
            let _ = expand(&text, &|name| Some(name.to_owned()));
        }
    }
}
