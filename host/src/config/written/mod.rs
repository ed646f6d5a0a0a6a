//! `toolcell.toml` as people write it: every key that there is, and nothing about what it means.
//!
//! Unknown keys are errors. Every key may be left out; the defaults are those of the settings that
//! these become. The reference page and the JSON schema are made from these types, so the comments
//! are written for operators.
//!
//! - `server` is `[servers.NAME]`, `plugin` is `[plugins.NAME]`, `serving` is `[server]`, `values` are the texts that stand for something else.

mod plugin;
mod server;
mod serving;
mod values;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Number, Value, json};

pub use plugin::WrittenPlugin;
pub use server::{
    WrittenAuth, WrittenBreaker, WrittenBuiltin, WrittenGrant, WrittenHints, WrittenLifecycle,
    WrittenRetry, WrittenRoot, WrittenServer, WrittenTool, WrittenTransport,
};
pub use serving::{
    WrittenAllowed, WrittenBridge, WrittenCallerToken, WrittenJwt, WrittenQuotas, WrittenServing,
    WrittenSessions, WrittenToken,
};
use values::{CountSchema, DurationSchema, SizeSchema};
pub use values::{DurationOrNever, DurationText, OneOrMany, Quantity, Template};

use crate::grants::Effect;
use crate::language::Language;

/// A whole file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenConfig {
    /// The profile of runs that name none; not needed if there is only one.
    #[schemars(example = &"researcher")]
    pub default_profile: Option<String>,
    /// A file of `mcpServers` JSON whose servers are added.
    #[schemars(example = &".mcp.json")]
    pub mcp_config: Option<Template>,
    /// More such files.
    #[schemars(example = json!(["${HOME}/.cursor/mcp.json"]))]
    pub include_mcp_servers: Vec<Template>,
    /// The servers by name.
    pub servers: IndexMap<String, WrittenServer>,
    /// The profiles by name.
    pub profiles: IndexMap<String, WrittenProfile>,
    /// The folder in which plugins are installed; `plugins` beside this file if left out.
    #[schemars(example = &"/var/lib/toolcell/plugins")]
    pub plugin_folder: Option<Template>,
    /// Whether only those plugins are loaded that `toolcell.lock` names. Otherwise one that was merely
    /// put into the folder is loaded too, with a warning.
    #[schemars(example = true)]
    pub plugins_locked: bool,
    /// What the installed plugins may do at most, by name.
    pub plugins: IndexMap<String, WrittenPlugin>,
    /// Limits of all profiles, and of all calls of plugins, where they have none of their own.
    pub limits: WrittenLimits,
    /// How servers are watched, and who is told when one goes down or comes back.
    pub monitor: WrittenMonitor,
    /// How toolcell serves, and who may come in over HTTP.
    pub server: WrittenServing,
}

/// `[monitor]`: how servers are watched, and who is told when one goes down or comes back.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenMonitor {
    /// How often each server is probed that has no `probe_interval` of its own.
    #[schemars(example = &"60s")]
    pub interval: Option<DurationText>,
    /// How long one alert may take: the webhook's answer, or the command's end.
    #[schemars(example = &"10s")]
    pub timeout: Option<DurationText>,
    /// After so many failed probes in a row a server is told to be down.
    #[schemars(example = 2)]
    pub down_after: Option<u32>,
    /// A URL to which each transition is posted as JSON, or a list of such URLs.
    #[schemars(example = &"https://hooks.example.org/${HOOK_TOKEN}")]
    pub webhook: Option<OneOrMany>,
    /// A program and its arguments, started for each transition.
    #[schemars(example = json!(["notify-send", "toolcell"]))]
    pub command: Option<Vec<Template>>,
    /// A file in which the state of the servers is kept, for `toolcell status`.
    #[schemars(example = &"/var/lib/toolcell/state.json")]
    pub state_file: Option<Template>,
}

/// `[profiles.NAME]`: what a run may do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenProfile {
    /// Patterns of the tools that are granted (`server.tool`, with `*`), or with `!` taken back.
    #[schemars(example = json!(["search.*", "files.read_*", "!search.delete_*"]))]
    pub tools: Vec<String>,
    /// Patterns of the resources that are granted (`server:URI`, with `*`), or with `!` taken back.
    #[schemars(example = json!(["docs:*", "files:file:///pub/*"]))]
    pub resources: Vec<String>,
    /// Patterns of the prompts that are granted (`server.prompt`, with `*`), or with `!` taken back.
    #[schemars(example = json!(["docs.*"]))]
    pub prompts: Vec<String>,
    /// The languages in which code may be written; all if left out.
    #[schemars(example = json!(["python"]))]
    pub runtimes: Option<Vec<Language>>,
    /// The Python modules that code may import; all that there are if left out.
    #[schemars(example = json!(["json", "re"]))]
    pub imports: Option<Vec<String>>,
    /// Whether agents have the tools of code mode (`search_tools`, `describe_tools`, `run_python`,
    /// `run_typescript`); yes if left out.
    #[schemars(example = false)]
    pub code: Option<bool>,
    /// Whether agents also see the granted tools, resources and prompts of the servers themselves,
    /// tools and prompts as `SERVER_NAME`; no if left out.
    #[schemars(example = true)]
    pub gateway: Option<bool>,
    /// Whether the server's name stands before the names that the gateway shows; yes if left out.
    /// Without it, of several servers' tools of one name the first server's keeps the name, in the
    /// order of this file, and the others are shown as `SERVER_NAME`.
    #[schemars(example = false)]
    pub prefix: Option<bool>,
    /// Whether clients of the gateway are told when its lists change; yes if left out.
    #[schemars(example = false)]
    pub list_changed: Option<bool>,
    /// The limits of a run.
    pub limits: WrittenLimits,
    /// With which arguments tools may be called.
    pub rules: Vec<WrittenRule>,
}

/// `[[profiles.NAME.rules]]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenRule {
    /// A pattern of the tools that it is about.
    #[schemars(example = &"database.run_query")]
    pub tool: Option<String>,
    /// What it asks of arguments, by their names (`NAME`, `"NAME.INNER"`, `"/NAME/INNER"`).
    pub args: IndexMap<String, WrittenConstraint>,
    /// What it does.
    #[schemars(example = &"allow")]
    pub effect: Option<Effect>,
}

/// What is asked of one argument: all of it at once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenConstraint {
    /// A regular expression that is found in the text.
    #[schemars(example = &"(?i)^\\s*select\\b")]
    pub pattern: Option<String>,
    /// The values that it may have.
    #[schemars(example = json!(["metric", "imperial"]))]
    pub one_of: Option<Vec<Value>>,
    /// The greatest number.
    #[schemars(example = 100)]
    pub max: Option<Number>,
    /// The least number.
    #[schemars(example = 1)]
    pub min: Option<Number>,
    /// The most characters of a text, or elements of a list.
    #[schemars(example = 200)]
    pub max_length: Option<u64>,
    /// How the text begins.
    #[schemars(example = &"https://example.org/")]
    pub starts_with: Option<String>,
    /// The only value that it may have.
    #[schemars(example = &"production")]
    pub equals: Option<Value>,
    /// The argument may be missing.
    #[schemars(example = true)]
    pub optional: bool,
}

/// `[limits]` and a profile's `limits`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenLimits {
    /// Units of compute: `"20G"`.
    #[schemars(with = "Option<CountSchema>", example = &"20G")]
    pub fuel: Option<Quantity>,
    /// Wall time inside of the guest: `"10s"`.
    #[schemars(with = "Option<DurationSchema>", example = &"10s")]
    pub compute_time: Option<Quantity>,
    /// Wall time of the whole run, without the time in which its user is asked something: `"60s"`.
    #[schemars(with = "Option<DurationSchema>", example = &"60s")]
    pub deadline: Option<Quantity>,
    /// Memory: `"256MiB"`.
    #[schemars(with = "Option<SizeSchema>", example = &"256MiB")]
    pub memory: Option<Quantity>,
    /// Calls of a run.
    #[schemars(with = "Option<CountSchema>", example = 100)]
    pub tool_calls: Option<Quantity>,
    /// Calls of a run that are under way at once.
    #[schemars(with = "Option<CountSchema>", example = 16)]
    pub concurrent_calls: Option<Quantity>,
    /// Wall time of one call: `"30s"`.
    #[schemars(with = "Option<DurationSchema>", example = &"30s")]
    pub call_timeout: Option<Quantity>,
    /// Bytes of the value, and of stdout and stderr: `"256KiB"`.
    #[schemars(with = "Option<SizeSchema>", example = &"256KiB")]
    pub output: Option<Quantity>,
    /// Bytes of one call's arguments.
    #[schemars(with = "Option<SizeSchema>", example = &"1MiB")]
    pub argument: Option<Quantity>,
    /// Bytes of one call's answer.
    #[schemars(with = "Option<SizeSchema>", example = &"8MiB")]
    pub answer: Option<Quantity>,
}
