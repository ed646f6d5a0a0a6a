//! The environment: every variable that toolcell reads, and `${NAME}` in configuration files.
//!
//! Only `main` reads the process's environment. Everything else is given a [`Lookup`], so that
//! tests bring their own.

use super::template::{Part, parts};

/// Path of the configuration file, where no `--config` is given.
pub const TOOLCELL_CONFIG: &str = "TOOLCELL_CONFIG";

/// Directory of compiled language runtimes; the user's cache directory if unset.
pub const TOOLCELL_CACHE_DIR: &str = "TOOLCELL_CACHE_DIR";

/// Where the key of the token store is kept: `keyring` or `file`. Unset it is the keyring where that
/// works, and a file elsewhere.
pub const TOOLCELL_TOKEN_STORE: &str = "TOOLCELL_TOKEN_STORE";

/// The key of the token store itself: 64 hexadecimal digits, or 32 bytes in Base64.
pub const TOOLCELL_TOKEN_KEY: &str = "TOOLCELL_TOKEN_KEY";

/// What to log, as `tracing` filters: `info`, `toolcell=debug,rmcp=warn`.
pub const TOOLCELL_LOG: &str = "TOOLCELL_LOG";

/// Any value but the empty one turns colours off (<https://no-color.org>).
pub const NO_COLOR: &str = "NO_COLOR";

/// The folders in which programs are found by their names.
pub const PATH: &str = "PATH";

/// The user's home folder.
pub const HOME: &str = "HOME";

/// The user's home folder on Windows.
pub const USERPROFILE: &str = "USERPROFILE";

/// Where programs keep their configuration on Linux; `~/.config` if unset.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";

/// Where programs keep their configuration on Windows.
pub const APPDATA: &str = "APPDATA";

/// The folder of Docker's `config.json`, whose logins are used for registries; `~/.docker` if unset.
pub const DOCKER_CONFIG: &str = "DOCKER_CONFIG";

/// The content of such a `config.json`, in its place.
pub const DOCKER_AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";

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
    /// `${caller.…}` other than the two that there are.
    #[error("of the caller there are only `${{caller.token}}` and `${{caller.id}}`")]
    UnknownOfCaller,
    /// Something else than a variable, where only variables are replaced.
    #[error("only environment variables have a value here")]
    NotAVariable,
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
    let parts = parts(template)?;
    let values = parts.into_iter().map(|part| match part {
        Part::Text(text) => Ok(text.to_owned()),
        Part::Variable { name, default } => variable(name, default, lookup),
        _ => Err(ExpandError::NotAVariable),
    });
    values.collect()
}

/// The value of a variable.
pub(super) fn variable(
    name: &str,
    default: Option<&str>,
    lookup: &Lookup<'_>,
) -> Result<String, ExpandError> {
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
        check("${caller.name}", ExpandError::UnknownOfCaller);
        check("${caller.token}", ExpandError::NotAVariable);
        check("${file:x}", ExpandError::NotAVariable);
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
