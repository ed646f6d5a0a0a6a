//! The configuration as it is used, after defaults, variables and checks.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use super::error::{Notice, Place};
use super::findings::{listed, suggestion};
use super::monitor::MonitorSettings;
use super::written::WrittenServer;
use crate::grants::Policy;
use crate::language::Language;
use crate::limits::Limits;
use crate::plugins::settings::PluginsSettings;
use crate::server::settings::ServerSettings;
use crate::upstream::settings::UpstreamSettings;

/// Everything that the operator configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// The servers, in the order of the files. Their names differ.
    pub servers: Vec<UpstreamSettings>,
    /// Where each of them stands, in the same order.
    pub server_sources: Vec<ServerSource>,
    /// The profiles by name, in the order of the file; at least one.
    pub profiles: IndexMap<ProfileName, Profile>,
    /// The profile of runs that name none.
    pub default_profile: Option<ProfileName>,
    /// How the servers are watched.
    pub monitor: MonitorSettings,
    /// Where plugins are, and what they may do.
    pub plugins: PluginsSettings,
    /// How toolcell serves, and who may come in.
    pub server: ServerSettings,
    /// The files that were read.
    pub sources: Vec<PathBuf>,
    /// What the operator should know.
    pub notices: Vec<Notice>,
}

/// Where a server stands, and in which words.
#[derive(Clone, Debug)]
pub struct ServerSource {
    /// Where.
    pub place: Place,
    /// The words, with `${NAME}` as it is written.
    pub written: Arc<WrittenServer>,
}

/// Names a profile: `[A-Za-z0-9_-]{1,64}`, so that it can stand in a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProfileName(Arc<str>);

/// Why a text is not a [`ProfileName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a profile's name: use 1 to 64 of A-Z a-z 0-9 _ -")]
pub struct InvalidProfileName {
    name: String,
}

impl ProfileName {
    /// The name of the profile of a configuration that names none.
    pub const DEFAULT: &str = "default";

    /// Checks a name as written.
    ///
    /// # Errors
    /// The name is empty, longer than 64 bytes, or has a character outside `[A-Za-z0-9_-]`.
    pub fn try_new(name: &str) -> Result<Self, InvalidProfileName> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidProfileName { name: name.chars().take(80).collect() })
        }
    }

    pub(super) fn default_name() -> Self {
        Self(Self::DEFAULT.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ProfileName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What the runs of one kind of agent may do.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: ProfileName,
    /// Which tools they may call, and how.
    pub policy: Policy,
    /// What they may use.
    pub limits: Limits,
    /// The languages in which their code may be written: all that there are by default, since a
    /// language alone gives access to nothing.
    pub runtimes: Vec<Language>,
    /// The Python modules that their code may import; `None` for all that there are.
    pub imports: Option<Vec<String>>,
    /// What agents see of it.
    pub endpoint: Endpoint,
    /// The operator named no profile and no grant, so this one grants every tool. Whoever starts
    /// runs by it says so.
    pub all_granted_by_default: bool,
}

/// What agents see of a profile when they connect to `toolcell mcp` or `toolcell serve`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The tools of code mode.
    pub code: bool,
    /// What is granted of the servers' own tools, resources and prompts.
    pub gateway: bool,
    /// The server's name stands before the names that the gateway shows.
    pub prefix: bool,
    /// Clients of the gateway are told when its lists change.
    pub list_changed: bool,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self { code: true, gateway: false, prefix: true, list_changed: true }
    }
}

impl Profile {
    /// Grants every tool, within the given limits.
    pub(super) fn granting_everything(limits: Limits) -> Self {
        Self {
            name: ProfileName::default_name(),
            policy: Policy::everything(),
            limits,
            runtimes: Language::ALL.to_vec(),
            imports: None,
            endpoint: Endpoint::default(),
            all_granted_by_default: true,
        }
    }
}

/// Why there is no profile to run by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProfile {
    /// The named one does not exist.
    #[error("there is no profile `{name}`; {suggestion}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What may be meant, or all that there are.
        suggestion: String,
    },
    /// None was named, and there are several.
    #[error("there are several profiles and no default_profile: name one of {names}")]
    Ambiguous {
        /// All there are.
        names: String,
    },
}

impl Default for Config {
    /// No servers, and one profile that grants everything there is: nothing.
    fn default() -> Self {
        let profile = Profile::granting_everything(Limits::default());
        Self {
            servers: Vec::new(),
            server_sources: Vec::new(),
            default_profile: Some(profile.name.clone()),
            profiles: IndexMap::from([(profile.name.clone(), profile)]),
            monitor: MonitorSettings::default(),
            plugins: PluginsSettings::default(),
            server: ServerSettings::default(),
            sources: Vec::new(),
            notices: Vec::new(),
        }
    }
}

impl Config {
    /// The languages that some profile allows; nothing else needs a runtime.
    pub fn languages(&self) -> Vec<Language> {
        let allowed = |language: &Language| {
            self.profiles.values().any(|profile| profile.runtimes.contains(language))
        };
        Language::ALL.into_iter().filter(allowed).collect()
    }

    /// The profile of a name, or the one of runs that name none.
    ///
    /// # Errors
    /// There is no such profile, or none was named and none is the default.
    pub fn profile(&self, name: Option<&str>) -> Result<&Profile, NoProfile> {
        let names = || self.profiles.keys().map(ProfileName::as_str);
        let name = match (name, &self.default_profile) {
            (Some(name), _) => name,
            (None, Some(default)) => default.as_str(),
            (None, None) => return Err(NoProfile::Ambiguous { names: listed(names()) }),
        };
        self.profiles.get(name).ok_or_else(|| NoProfile::Unknown {
            name: name.to_owned(),
            suggestion: suggestion(name, names()),
        })
    }
}
