//! `toolcell.toml` as people write it: every key that there is, and nothing about what it means.
//!
//! Unknown keys are errors. Every key may be left out; what that means is said in
//! `resolved.rs`, as are the defaults.

use std::fmt;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::grants::Effect;
use crate::language::Language;

/// A whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenConfig {
    /// The profile of runs that name none; not needed if there is only one.
    pub default_profile: Option<String>,
    /// A file of `mcpServers` JSON whose servers are added.
    pub mcp_config: Option<Template>,
    /// More such files.
    pub include_mcp_servers: Vec<Template>,
    /// The servers by name.
    pub servers: IndexMap<String, WrittenServer>,
    /// The profiles by name.
    pub profiles: IndexMap<String, WrittenProfile>,
    /// Limits of all profiles, where a profile has none of its own.
    pub limits: WrittenLimits,
    /// How servers are watched, and who is told when one goes down or comes back.
    pub monitor: WrittenMonitor,
}

/// `[monitor]`: how servers are watched, and who is told when one goes down or comes back.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenMonitor {
    /// How often each server is probed that has no `probe_interval` of its own.
    pub interval: Option<String>,
    /// How long one alert may take: the webhook's answer, or the command's end.
    pub timeout: Option<String>,
    /// After so many failed probes in a row a server is told to be down.
    pub down_after: Option<u32>,
    /// A URL to which each transition is posted as JSON, or a list of such URLs.
    pub webhook: Option<OneOrMany>,
    /// A program and its arguments, started for each transition.
    pub command: Option<Vec<Template>>,
    /// A file in which the state of the servers is kept, for `toolcell status`.
    pub state_file: Option<Template>,
}

/// One text, or a list of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OneOrMany(pub(super) Vec<Template>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor;

        impl<'de> Visitor<'de> for OneOrManyVisitor {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![Template(text.to_owned())]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }

        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

/// `[servers.NAME]`: a server to run (`command`), to call (`url`), or built in (`builtin`).
///
/// `${NAME}` in a value is replaced by the environment variable.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenServer {
    /// The program of a server on stdio: a name in `PATH`, or a path.
    pub command: Option<Template>,
    /// Its arguments.
    pub args: Option<Vec<Template>>,
    /// Its environment variables, besides a few harmless ones of ours.
    pub env: Option<IndexMap<String, Template>>,
    /// Its working directory.
    pub cwd: Option<Template>,
    /// The endpoint of a server over HTTP.
    pub url: Option<Template>,
    /// How to speak with the server; told by `command` or `url` if left out.
    pub transport: Option<WrittenTransport>,
    /// Headers of every HTTP request.
    pub headers: Option<IndexMap<String, Template>>,
    /// Time for starting or connecting, the handshake, and the first list of tools, each.
    pub connect_timeout: Option<String>,
    /// Time for one call, where the run allows more.
    pub call_timeout: Option<String>,
    /// A server that is part of toolcell.
    pub builtin: Option<WrittenBuiltin>,
    /// The directories of `builtin = "files"`, by the name under which tools see them.
    pub roots: Option<IndexMap<String, WrittenRoot>>,
}

/// A text with `${NAME}` in it. It may hold a credential, so it cannot be printed.
#[derive(Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Template(pub(super) String);

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<template>")
    }
}

/// `transport = "…"`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenTransport {
    /// A child process, on its stdin and stdout.
    Stdio,
    /// MCP's streamable HTTP.
    StreamableHttp,
    /// The transport that streamable HTTP replaced.
    Sse,
}

/// `builtin = "…"`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenBuiltin {
    /// Directories of this machine.
    Files,
}

/// One of `roots`: `"PATH"`, which may be written to, or `{ path = "PATH", read_only = true }`.
#[derive(Debug)]
pub struct WrittenRoot {
    /// The directory.
    pub path: Option<Template>,
    /// Refuse everything that writes.
    pub read_only: bool,
}

impl<'de> Deserialize<'de> for WrittenRoot {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            path: Option<Template>,
            #[serde(default)]
            read_only: bool,
        }

        struct RootVisitor;

        impl<'de> Visitor<'de> for RootVisitor {
            type Value = WrittenRoot;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, or a table { path = \"…\", read_only = true }")
            }

            fn visit_str<E: Error>(self, path: &str) -> Result<WrittenRoot, E> {
                Ok(WrittenRoot { path: Some(Template(path.to_owned())), read_only: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WrittenRoot, A::Error> {
                let Table { path, read_only } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(WrittenRoot { path, read_only })
            }
        }

        deserializer.deserialize_any(RootVisitor)
    }
}

/// `[profiles.NAME]`: what a run may do.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenProfile {
    /// Patterns of the tools that are granted (`server.tool`, with `*`), or with `!` taken back.
    pub tools: Vec<String>,
    /// The languages in which code may be written; all if left out.
    pub runtimes: Option<Vec<Language>>,
    /// The Python modules that code may import; all that there are if left out.
    pub imports: Option<Vec<String>>,
    /// The limits of a run.
    pub limits: WrittenLimits,
    /// With which arguments tools may be called.
    pub rules: Vec<WrittenRule>,
}

/// `[[profiles.NAME.rules]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenRule {
    /// A pattern of the tools that it is about.
    pub tool: Option<String>,
    /// What it asks of arguments, by their names (`NAME`, `"NAME.INNER"`, `"/NAME/INNER"`).
    pub args: IndexMap<String, WrittenConstraint>,
    /// What it does.
    pub effect: Option<Effect>,
}

/// What is asked of one argument: all of it at once.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenConstraint {
    /// A regular expression that is found in the text.
    pub pattern: Option<String>,
    /// The values that it may have.
    pub one_of: Option<Vec<Value>>,
    /// The greatest number.
    pub max: Option<Number>,
    /// The least number.
    pub min: Option<Number>,
    /// The most characters of a text, or elements of a list.
    pub max_length: Option<u64>,
    /// How the text begins.
    pub starts_with: Option<String>,
    /// The only value that it may have.
    pub equals: Option<Value>,
    /// The argument may be missing.
    pub optional: bool,
}

/// `[limits]` and a profile's `limits`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenLimits {
    /// Units of compute: `"20G"`.
    pub fuel: Option<Quantity>,
    /// Wall time inside of the guest: `"10s"`.
    pub compute_time: Option<Quantity>,
    /// Wall time of the whole run: `"60s"`.
    pub deadline: Option<Quantity>,
    /// Memory: `"256MiB"`.
    pub memory: Option<Quantity>,
    /// Calls of a run.
    pub tool_calls: Option<Quantity>,
    /// Calls of a run that are under way at once.
    pub concurrent_calls: Option<Quantity>,
    /// Wall time of one call: `"30s"`.
    pub call_timeout: Option<Quantity>,
    /// Bytes of the value, and of stdout and stderr: `"256KiB"`.
    pub output: Option<Quantity>,
    /// Bytes of one call's arguments.
    pub argument: Option<Quantity>,
    /// Bytes of one call's answer.
    pub answer: Option<Quantity>,
}

/// A number, or a text of a number and its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// As it is.
    Number(u64),
    /// With a unit.
    Text(String),
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct QuantityVisitor;

        impl Visitor<'_> for QuantityVisitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of at least 0, or a text with a unit")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity::Number(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(QuantityVisitor)
    }
}
