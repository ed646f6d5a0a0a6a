//! `toolcell plugin`: the way of a plugin's author, and that of whoever installs it.

mod add;
pub(super) mod args;
mod grant;
mod inspect;
mod installed;
mod project;
mod publish;
mod source;
mod test;

use std::path::{Path, PathBuf};

use toolcell::config::Config;
use toolcell::ids::UpstreamName;
use toolcell::plugins::growth::ToolFacts;
use toolcell::plugins::installed::PluginFolder;
use toolcell::plugins::lock::{LOCK_FILE, Lock};
use toolcell::plugins::manifest::{Asks, Manifest};
use toolcell::sandbox::{Cache, LoadedPlugin, Sandbox};

use super::args::Cli;
use super::exit::Exit;
use super::failure::Failure;
use super::{setup, tools};
use args::{PluginAction, PluginArgs};

pub(super) async fn plugin(cli: &Cli, args: &PluginArgs) -> Result<Exit, Failure> {
    match &args.action {
        PluginAction::New(args) => project::new(args),
        PluginAction::Build(args) => setup::until_cancelled(project::build(cli, args)).await,
        PluginAction::Test(args) => setup::until_cancelled(test::test(cli, args)).await,
        PluginAction::Inspect(args) => setup::until_cancelled(inspect::inspect(cli, args)).await,
        PluginAction::Add(args) => setup::until_cancelled(add::add(cli, args)).await,
        PluginAction::List(args) => installed::list(cli, args),
        PluginAction::Remove(args) => installed::remove(cli, args),
        PluginAction::Push(args) => setup::until_cancelled(publish::push(cli, args)).await,
        PluginAction::Keygen(args) => publish::keygen(args),
    }
}

/// Where plugins are installed, and what the operator says of them.
struct Place {
    config: Config,
    /// The `toolcell.toml`, whether there is one yet or not.
    config_file: PathBuf,
    folder: PluginFolder,
    lock_file: PathBuf,
    lock: Lock,
}

impl Place {
    fn open(cli: &Cli) -> Result<Self, Failure> {
        let config = setup::config(cli)?;
        let here = std::env::current_dir()?;
        let config_file = here.join(cli.config.as_deref().unwrap_or(Path::new("toolcell.toml")));
        let beside = config_file.parent().unwrap_or(&here);
        let folder = match &config.plugins.folder {
            Some(folder) => folder.clone(),
            None if config.sources.is_empty() => beside.join("plugins"),
            None => {
                let shown = config_file.display();
                return Err(Failure::usage(format!(
                    "{shown} is another program's file, and plugins are installed beside a \
                     toolcell.toml: make one with mcp_config = {shown:?} in it",
                    shown = shown.to_string()
                )));
            }
        };
        let lock_file = config.plugins.lock_file.clone().unwrap_or_else(|| beside.join(LOCK_FILE));
        let lock = Lock::load(&lock_file)?;
        Ok(Self { folder: PluginFolder::new(folder), config, config_file, lock_file, lock })
    }

    fn installed_names(&self) -> Vec<UpstreamName> {
        self.folder.names()
    }
}

/// The configuration as it is now. What is worth knowing of it was told when the command began.
fn reread(cli: &Cli) -> Result<Config, Failure> {
    let here = std::env::current_dir()?;
    let lookup = toolcell::config::env::of_process;
    Ok(toolcell::config::load(cli.config.as_deref(), &here, &lookup)?)
}

/// A sandbox for looking at plugins.
fn sandbox(cli: &Cli) -> Result<Sandbox, Failure> {
    Ok(Sandbox::new(Cache::open(&setup::cache_folder(cli)?)?, 0, setup::MAX_GUESTS)?)
}

/// Compiles a plugin and asks it for its tools. `what` is its file, for errors.
async fn load(sandbox: &Sandbox, what: &str, component: &[u8]) -> Result<LoadedPlugin, Failure> {
    let loaded = sandbox.load_plugin(what, component).await;
    loaded.map_err(|error| {
        Failure::usage(format!("{what} is not a plugin that can be used: {error}"))
    })
}

fn facts(loaded: &LoadedPlugin) -> Vec<ToolFacts> {
    loaded.tools().iter().map(ToolFacts::from).collect()
}

/// The manifest says which tools there are, and the component must agree.
fn check_tools(manifest: &Manifest, tools: &[ToolFacts]) -> Result<(), Failure> {
    if manifest.tools.is_empty() {
        return Ok(());
    }
    let missing = manifest.tools.iter().find(|name| !tools.iter().any(|tool| tool.name == **name));
    if let Some(name) = missing {
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        return Err(Failure::usage(format!(
            "the manifest names the tool `{name}`, and the component has no such tool; it has {}",
            names.join(", ")
        )));
    }
    match tools.iter().find(|tool| !manifest.tools.contains(&tool.name)) {
        Some(tool) => Err(Failure::usage(format!(
            "the component has the tool `{}`, which the manifest does not name; leave `tools` out of it, \
             and `toolcell plugin build` fills it in",
            tool.name
        ))),
        None => Ok(()),
    }
}

/// What a manifest asks for, each in one line.
fn asked(asks: &Asks) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(asks.tools.iter().map(|ask| format!("tools {}", ask.0)));
    lines.extend(asks.resources.iter().map(|ask| format!("resources {}", ask.0)));
    lines.extend(asks.prompts.iter().map(|ask| format!("prompts {}", ask.0)));
    lines.extend(asks.questions.then(|| "questions to the person and the model".to_owned()));
    lines
}

/// A tool in a line of a listing.
fn tool_line(name: &str, description: Option<&str>) -> String {
    format!("  {}  {}", tools::shown(name), tools::first_line(description.unwrap_or_default()))
}

/// "1 tool", "2 tools".
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
