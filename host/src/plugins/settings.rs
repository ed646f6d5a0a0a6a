//! What the operator says of plugins: where they lie, and what each may do at most.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;

use crate::grants::Policy;
use crate::ids::UpstreamName;
use crate::limits::Limits;

/// All that a configuration says of plugins.
#[derive(Clone, Debug, Default)]
pub struct PluginsSettings {
    /// Where plugins are installed; nothing without a `toolcell.toml`, since a folder that merely lies
    /// in the working directory is never read.
    pub folder: Option<PathBuf>,
    /// The lock file, beside the configuration.
    pub lock_file: Option<PathBuf>,
    /// Only what the lock file names is loaded.
    pub locked: bool,
    /// Limits of a call, where a plugin has none of its own: a run's, with a part of its fuel.
    pub limits: Limits,
    /// The plugins that have a section, by name, in the order of the file.
    pub named: IndexMap<UpstreamName, PluginSettings>,
}

impl PluginsSettings {
    /// What holds for a plugin, with or without a section of its own.
    pub fn of(&self, name: &UpstreamName) -> PluginSettings {
        let unnamed = || PluginSettings::new(name.clone(), self.limits.clone());
        self.named.get(name).cloned().unwrap_or_else(unnamed)
    }
}

/// `[plugins.NAME]`: what one plugin may do at most.
#[derive(Clone, Debug)]
pub struct PluginSettings {
    /// Its installed name.
    pub name: UpstreamName,
    /// What it may call and read at most. What its manifest asks for and what its caller may do bound
    /// it further.
    pub policy: Policy,
    /// Whether it may ask the person and the model behind its caller.
    pub questions: bool,
    /// The limits of one call. Those of the caller bound it further.
    pub limits: Limits,
    /// An instance is kept for each session and dropped after this time without a call; without it
    /// each call has a fresh one.
    pub stateful: Option<Duration>,
    /// Whether it is loaded at all.
    pub enabled: bool,
    /// The public key with which it has to be signed.
    pub signed_by: Option<PathBuf>,
}

impl PluginSettings {
    /// A plugin that may do nothing but compute.
    pub fn new(name: UpstreamName, limits: Limits) -> Self {
        Self {
            name,
            policy: Policy::default(),
            questions: false,
            limits,
            stateful: None,
            enabled: true,
            signed_by: None,
        }
    }
}
