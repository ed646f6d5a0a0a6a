//! What a command line changes about a profile.
//!
//! `--deny` always removes. `--grant` adds to a profile that is named on the same command line;
//! where none is named, it narrows: the run then has only the tools that `--grant` names, within
//! the limits and rules of the default profile. Rules stay in force in either case. Since the
//! operator's own hand writes these, a `--grant` wins over a `!` pattern of the profile.

use super::findings::suggestion;
use super::limits::{InvalidLimit, MIN_PYTHON_MEMORY_BYTES, set_limit};
use super::profiles::matches_one;
use super::resolved::{Config, NoProfile, Profile};
use super::units::format_size;
use crate::grants::{InvalidPattern, ToolGlob};
use crate::language::Language;

/// The flags, as written.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--grant PATTERN`
    pub grants: Vec<String>,
    /// `--deny PATTERN`, without a `!`.
    pub denials: Vec<String>,
    /// Limits by their name in configuration, and their values.
    pub limits: Vec<(String, String)>,
}

/// Why the flags have no meaning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOverride {
    /// There is no profile that they could change.
    #[error(transparent)]
    NoProfile(#[from] NoProfile),
    /// A pattern is none.
    #[error("{flag} {text:?}")]
    Pattern {
        /// `--grant` or `--deny`.
        flag: &'static str,
        /// What was written.
        text: String,
        /// Why.
        #[source]
        source: InvalidPattern,
    },
    /// A pattern can match no server.
    #[error("{flag} {text:?}: no server is called `{server}`; {suggestion}")]
    UnknownServer {
        /// `--grant` or `--deny`.
        flag: &'static str,
        /// What was written.
        text: String,
        /// Its part about servers.
        server: String,
        /// What may be meant.
        suggestion: String,
    },
    /// A limit cannot be set so.
    #[error("limit {name} = {value:?}")]
    Limit {
        /// The limit's name.
        name: String,
        /// What was written.
        value: String,
        /// Why.
        #[source]
        source: InvalidLimit,
    },
}

impl Config {
    /// The profile by which a command runs: the named one or the default, changed by the flags.
    ///
    /// # Errors
    /// There is no such profile, or a flag has no meaning.
    pub fn profile_with(
        &self,
        name: Option<&str>,
        overrides: &Overrides,
    ) -> Result<Profile, InvalidOverride> {
        let mut profile = self.profile(name)?.clone();
        let parse = |flag, text: &String| {
            let glob: ToolGlob = text.parse().map_err(|source| InvalidOverride::Pattern {
                flag,
                text: text.clone(),
                source,
            })?;
            let names = self.servers.iter().map(|server| server.name.as_str());
            if matches_one(&glob, names.clone()) {
                return Ok(glob);
            }
            let suggestion = suggestion(glob.server(), names);
            let server = glob.server().to_owned();
            Err(InvalidOverride::UnknownServer { flag, text: text.clone(), server, suggestion })
        };
        if !overrides.grants.is_empty() {
            if name.is_none() {
                profile.policy.clear_grants();
            }
            profile.all_granted_by_default = false;
        }
        for text in &overrides.grants {
            profile.policy.grant(parse("--grant", text)?);
        }
        for text in &overrides.denials {
            profile.policy.deny(parse("--deny", text)?);
        }
        for (name, value) in &overrides.limits {
            let set = set_limit(&mut profile.limits, name, value).and_then(|()| {
                let python = profile.runtimes.contains(&Language::Python);
                if python && profile.limits.memory_bytes < MIN_PYTHON_MEMORY_BYTES {
                    return Err(InvalidLimit::TooSmall {
                        min: format_size(MIN_PYTHON_MEMORY_BYTES),
                    });
                }
                Ok(())
            });
            set.map_err(|source| InvalidOverride::Limit {
                name: name.clone(),
                value: value.clone(),
                source,
            })?;
        }
        Ok(profile)
    }
}
