//! `plugin_folder`, `plugins_locked` and `[plugins.NAME]` as written become [`PluginsSettings`].

use std::path::PathBuf;

use super::error::{KeyPath, Place, Problem};
use super::findings::{Findings, suggestion};
use super::limits::{apply, server_duration};
use super::profiles::{ServerNames, patterns, resources};
use super::surroundings::Surroundings;
use super::written::{WrittenConfig, WrittenPlugin};
use crate::grants::Policy;
use crate::ids::UpstreamName;
use crate::limits::Limits;
use crate::plugins::installed::PluginFolder;
use crate::plugins::lock::LOCK_FILE;
use crate::plugins::settings::{PluginSettings, PluginsSettings};

/// The folder beside the configuration in which plugins are installed.
const FOLDER: &str = "plugins";

/// Where plugins are, and which.
pub(super) struct FoundPlugins {
    folder: Option<PathBuf>,
    lock_file: PathBuf,
    installed: Vec<UpstreamName>,
    signed_by: Vec<(String, PathBuf)>,
}

/// Looks where plugins are installed, and what lies there.
pub(super) fn find(
    written: &WrittenConfig,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> FoundPlugins {
    let folder = match &written.plugin_folder {
        None => Some(surroundings.folder.join(FOLDER)),
        Some(template) => surroundings.path(template, &KeyPath::of(["plugin_folder"]), findings),
    };
    let installed = folder.iter().flat_map(|folder| {
        surroundings.providers.folder(folder);
        PluginFolder::new(folder).names()
    });
    let installed = installed.collect();
    let lock_file = surroundings.folder.join(LOCK_FILE);
    // Taken note of, so that a change of it is noticed; what is wrong with it stops plugins alone.
    let _ = surroundings.providers.read(&lock_file);
    let path = KeyPath::of(["plugins"]);
    let signed_by = written.plugins.iter().filter_map(|(name, plugin)| {
        let path = path.key(name).key("signed_by");
        let file = surroundings.path(plugin.signed_by.as_ref()?, &path, findings)?;
        if let Err(error) = surroundings.providers.read(&file) {
            findings.problem(&path, format!("{} cannot be read: {error}", file.display()));
        }
        Some((name.clone(), file))
    });
    let signed_by = signed_by.collect();
    FoundPlugins { folder, lock_file, installed, signed_by }
}

impl FoundPlugins {
    /// All names that a pattern may mean: of what is installed, and of what has a section.
    pub(super) fn names<'a>(&'a self, written: &'a WrittenConfig) -> Vec<&'a str> {
        let installed = self.installed.iter().map(UpstreamName::as_str);
        let is_new = |name: &&str| !self.installed.iter().any(|known| known.as_str() == *name);
        installed.chain(written.plugins.keys().map(String::as_str).filter(is_new)).collect()
    }
}

/// A call of a plugin may use this part of a run's fuel where its operator does not say how much.
const FUEL_SHARE: u64 = 10;

/// Checks all sections. `servers` are the names that patterns may mean, plugins' included;
/// `configured` are the servers alone, each with its place.
pub(super) fn resolve(
    written: &WrittenConfig,
    found: &FoundPlugins,
    servers: &ServerNames<'_>,
    configured: &[(&str, &Place)],
    findings: &mut Findings<'_>,
) -> PluginsSettings {
    let mut limits = Limits::default();
    // What is wrong with it is told by the profiles, which have it too.
    let mut told = Findings::new(std::path::Path::new(""), |_| None);
    apply(&mut limits, &written.limits, &KeyPath::of(["limits"]), &mut told);
    // A call reserves its fuel of its caller's, and several shall be able to be under way.
    limits.fuel = (limits.fuel / FUEL_SHARE).max(1);
    let path = KeyPath::of(["plugins"]);
    let mut settings = PluginsSettings {
        folder: found.folder.clone(),
        lock_file: Some(found.lock_file.clone()),
        locked: written.plugins_locked,
        limits,
        ..PluginsSettings::default()
    };
    for (text, plugin) in &written.plugins {
        let path = path.key(text);
        let Ok(name) = UpstreamName::try_new(text) else {
            let cause = format!("{text:?} is no plugin's name");
            findings.problem_with(&path, cause, "use 1 to 64 of A-Z a-z 0-9 _ -");
            continue;
        };
        if let Some((_, server)) = configured.iter().find(|(server, _)| server == text) {
            let cause = format!("a server is called `{text}`: {server}");
            findings.problem_with(&path, cause, way_out_of_clash(text));
        }
        if !found.installed.contains(&name) {
            let names = found.installed.iter().map(UpstreamName::as_str);
            let text = format!(
                "no plugin `{name}` is installed, so this grants nothing; {}",
                suggestion(text, names)
            );
            findings.notice(&path, text);
        }
        let mut one = resolve_one(name.clone(), plugin, &settings.limits, &path, servers, findings);
        let signed_by = found.signed_by.iter().find(|(signed, _)| signed == text);
        one.signed_by = signed_by.map(|(_, file)| file.clone());
        settings.named.insert(name, one);
    }
    for name in &found.installed {
        let server = configured.iter().find(|(server, _)| *server == name.as_str());
        // Where there is a section it was told already.
        if let Some((_, place)) = server.filter(|_| !settings.named.contains_key(name)) {
            let folder = settings.folder.as_deref().map(|folder| folder.display().to_string());
            let folder = folder.unwrap_or_default();
            findings.problems.push(Problem {
                place: (*place).clone(),
                cause: format!("an installed plugin is called `{name}`, too (in {folder})"),
                way_out: Some(way_out_of_clash(name.as_str())),
            });
        }
    }
    settings
}

fn way_out_of_clash(name: &str) -> String {
    format!(
        "scripts could not tell them apart: rename the server, or install the plugin under another \
         name (`toolcell plugin remove {name}`, `toolcell plugin add … --name OTHER`)"
    )
}

fn resolve_one(
    name: UpstreamName,
    written: &WrittenPlugin,
    defaults: &Limits,
    path: &KeyPath,
    servers: &ServerNames<'_>,
    findings: &mut Findings<'_>,
) -> PluginSettings {
    let tools = patterns(&written.tools, &path.key("tools"), servers, findings);
    let prompts = patterns(&written.prompts, &path.key("prompts"), servers, findings);
    let resources = resources(&written.resources, &path.key("resources"), servers, findings);
    let mut limits = defaults.clone();
    apply(&mut limits, &written.limits, &path.key("limits"), findings);
    let stateful = written.stateful.as_ref();
    let stateful =
        stateful.and_then(|idle| findings.check(&path.key("stateful"), server_duration(&idle.0)));
    PluginSettings {
        policy: Policy::new(tools, Vec::new()).with_resources(resources).with_prompts(prompts),
        questions: written.questions,
        limits,
        stateful,
        enabled: written.enabled.unwrap_or(true),
        ..PluginSettings::new(name, Limits::default())
    }
}
