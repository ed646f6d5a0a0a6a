//! `toolcell plugin …`, as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use toolcell::plugins::manifest::PluginLanguage;

/// The way of an author and that of an operator, for `--help`.
const HELP: &str = "An author's way:\n  \
    toolcell plugin new research --lang rust\n  \
    toolcell plugin build research\n  \
    toolcell plugin test research\n  \
    toolcell plugin add research --grant\n\n\
    An operator's:\n  \
    toolcell plugin inspect research.wasm\n  \
    toolcell plugin add oci://ghcr.io/someone/research:0.1.0\n  \
    toolcell plugin list";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct PluginArgs {
    #[command(subcommand)]
    pub(crate) action: PluginAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginAction {
    /// Begin a plugin: a project that builds, and that passes its test
    New(NewArgs),
    /// Build the component of a project: dist/NAME.wasm, and its manifest
    Build(BuildArgs),
    /// Run a project's tests in the real host: against recorded answers, or against real servers
    Test(TestArgs),
    /// Say what a plugin is: imports, exports, tools, size, and what it would need to be granted
    Inspect(InspectArgs),
    /// Install a plugin, or a new version of it
    Add(AddArgs),
    /// List the installed plugins
    List(ListArgs),
    /// Remove an installed plugin
    Remove(RemoveArgs),
    /// Publish a built plugin to a registry, signed if a key is given
    Push(PushArgs),
    /// Make a key pair to sign plugins with
    Keygen(KeygenArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The plugin's name: A-Z a-z 0-9 _ -
    pub(crate) name: String,

    /// What it is written in
    #[arg(long, value_enum, default_value = "rust")]
    pub(crate) lang: PluginLanguage,

    /// The folder to make [default: the plugin's name]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The project
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "A test is a file in tests/ of the project, TOML or JSON:\n\n  \
    tool = \"research\"\n  \
    arguments = { question = \"mcp\" }\n\n  \
    [[calls]]                         # what the tools answer that it calls, each answer once\n  \
    tool = \"search.search\"\n  \
    arguments = { query = \"mcp\" }     # any, if left out\n  \
    answer = { hits = [\"a\"] }         # or text, error, unavailable, timed_out, rejected\n\n  \
    [expect]\n  \
    subset = { hits = [\"a\"] }         # or equals, contains, error\n\n\
    See docs/plugins.md for all of it.")]
pub(crate) struct TestArgs {
    /// The project
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,

    /// Only the tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,

    /// Call the servers of the configuration (--config) instead of the recorded ones
    #[arg(long)]
    pub(crate) real: bool,

    /// As --real, and keep what the servers answer as the tests' recordings
    #[arg(long)]
    pub(crate) record: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A component, a project, or the name of an installed plugin
    #[arg(value_name = "FILE.wasm|DIR|NAME")]
    pub(crate) plugin: String,

    /// Print JSON, schemas included
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// A component, a built project, oci://REGISTRY/NAME:TAG, or with --accept the name of a plugin
    /// whose file was changed or put into the folder
    #[arg(value_name = "FILE.wasm|DIR|oci://…|NAME")]
    pub(crate) source: String,

    /// Install it under this name instead of its own
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Write a [plugins.NAME] section that grants what it asks for into the configuration
    #[arg(long)]
    pub(crate) grant: bool,

    /// Accept a version that has or asks for more than the one before
    #[arg(long)]
    pub(crate) accept: bool,

    #[command(flatten)]
    pub(crate) registry: RegistryArgs,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How registries are spoken with.
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// Speak plain HTTP with a registry that is not on this machine
    #[arg(long)]
    pub(crate) plain_http: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The installed name
    pub(crate) name: String,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// A component, or a built project
    #[arg(value_name = "FILE.wasm|DIR")]
    pub(crate) plugin: PathBuf,

    /// Where it goes, oci://REGISTRY/NAME:TAG
    #[arg(value_name = "oci://…")]
    pub(crate) reference: String,

    /// Sign it with this private key (of `toolcell plugin keygen`)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) registry: RegistryArgs,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// What the two files are called: PREFIX.key and PREFIX.pub
    #[arg(default_value = "toolcell-plugin")]
    pub(crate) prefix: PathBuf,
}
