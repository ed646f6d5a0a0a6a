//! `[servers.NAME]`: how a server is reached, and how its connections behave.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::json;

use super::values::{DurationOrNever, DurationText, Template};

/// `[servers.NAME]`: a server to run (`command`), to call (`url`), or built in (`builtin`).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenServer {
    /// The program of a server on stdio: a name in `PATH`, or a path.
    #[schemars(example = &"uvx")]
    pub command: Option<Template>,
    /// Its arguments.
    #[schemars(example = json!(["mcp-server-time", "--local-timezone=${TZ:-UTC}"]))]
    pub args: Option<Vec<Template>>,
    /// Its environment variables, besides a few harmless ones of ours. The values are kept secret.
    #[schemars(example = json!({"API_KEY": "${file:/run/secrets/api-key}"}))]
    pub env: Option<IndexMap<String, Template>>,
    /// A file of `NAME=value` lines with more of them; `env` wins.
    #[schemars(example = &".env")]
    pub env_file: Option<Template>,
    /// Its working directory.
    #[schemars(example = &"work")]
    pub cwd: Option<Template>,
    /// The endpoint of a server over HTTP.
    #[schemars(example = &"https://mcp.example.org/mcp")]
    pub url: Option<Template>,
    /// How to speak with the server. With `url` and without this it is found out: streamable HTTP,
    /// or HTTP+SSE where a server refuses that.
    #[schemars(example = &"streamable-http")]
    pub transport: Option<WrittenTransport>,
    /// Headers of every HTTP request. The values are kept secret.
    #[schemars(example = json!({"Authorization": "Bearer ${caller.token}"}))]
    pub headers: Option<IndexMap<String, Template>>,
    /// A proxy for HTTP requests; the environment's (`HTTPS_PROXY`, `NO_PROXY`) without it. Kept
    /// secret.
    #[schemars(example = &"http://proxy.example.org:3128")]
    pub proxy: Option<Template>,
    /// A file of certificates (PEM) of authorities to trust besides the system's.
    #[schemars(example = &"company-ca.pem")]
    pub ca_file: Option<Template>,
    /// OAuth, for servers that want it.
    pub auth: Option<WrittenAuth>,
    /// Time to wait for a free connection.
    #[schemars(example = &"5s")]
    pub pool_timeout: Option<DurationText>,
    /// Time to start the process, or for TCP and TLS. If it is given and `handshake_timeout` is not,
    /// the handshake and each list have this time too.
    #[schemars(example = &"10s")]
    pub connect_timeout: Option<DurationText>,
    /// Time for the MCP handshake, and for each list of tools.
    #[schemars(example = &"30s")]
    pub handshake_timeout: Option<DurationText>,
    /// Time to write one message.
    #[schemars(example = &"10s")]
    pub write_timeout: Option<DurationText>,
    /// Silence while an answer is expected: any byte of it, and any progress of it, starts this time
    /// anew. If `call_timeout` is longer than the default of this and this is not given, it is as
    /// long as `call_timeout`.
    #[schemars(example = &"1m")]
    pub read_timeout: Option<DurationText>,
    /// Time for one call, where the run allows more.
    #[schemars(example = &"2m")]
    pub call_timeout: Option<DurationText>,
    /// A connection that nobody used for this long is closed.
    #[schemars(example = &"never")]
    pub idle_timeout: Option<DurationOrNever>,
    /// How long a connection lives.
    #[schemars(example = &"on-demand")]
    pub lifecycle: Option<WrittenLifecycle>,
    /// The most connections at once. Who needs one more waits for `pool_timeout`.
    #[schemars(example = 10)]
    pub max_connections: Option<u32>,
    /// Of them, the most that are kept while nobody uses them.
    #[schemars(example = 5)]
    pub max_idle_connections: Option<u32>,
    /// What is tried again: only what surely was not done yet, and tools that may be repeated.
    /// `false` or `1` for never.
    pub retry: Option<WrittenRetry>,
    /// When the server, or one of its tools, is taken to be down, so that calls are answered at once.
    /// `false` for never.
    pub breaker: Option<WrittenBreaker>,
    /// How often the monitor probes the server; `[monitor]` `interval` without it.
    #[schemars(example = &"30s")]
    pub probe_interval: Option<DurationOrNever>,
    /// What a model is told when something fails.
    pub hints: Option<WrittenHints>,
    /// What differs for single tools, by the server's name for them.
    pub tools: Option<IndexMap<String, WrittenTool>>,
    /// A server that is part of toolcell.
    #[schemars(example = &"files")]
    pub builtin: Option<WrittenBuiltin>,
    /// The directories of `builtin = "files"`, by the name under which tools see them.
    #[schemars(example = json!({"repo": {"path": ".", "read_only": true}}))]
    pub roots: Option<IndexMap<String, WrittenRoot>>,
}

/// `transport = "…"`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenTransport {
    /// A child process, on its stdin and stdout.
    Stdio,
    /// MCP's streamable HTTP.
    StreamableHttp,
    /// HTTP+SSE, which streamable HTTP replaced.
    Sse,
}

/// `lifecycle = "…"`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenLifecycle {
    /// One connection per caller's credentials, kept until it is idle for too long.
    Pooled,
    /// Opened at a run's first call and closed at its end; no other run uses it.
    OnDemand,
    /// Opened for each call and closed after it.
    Fresh,
}

/// `builtin = "…"`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenBuiltin {
    /// Directories of this machine.
    Files,
}

/// `auth = { … }`: OAuth to a server over HTTP.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenAuth {
    /// Who agrees that we get a token.
    #[schemars(example = &"client-credentials")]
    pub grant: Option<WrittenGrant>,
    /// The client's id, if toolcell is registered there.
    #[schemars(example = &"toolcell")]
    pub client_id: Option<Template>,
    /// Its secret.
    #[schemars(example = &"${command:pass show mcp/toolcell}")]
    pub client_secret: Option<Template>,
    /// Where the client's metadata document is published, for servers that take its URL as an id.
    #[schemars(example = &"https://example.org/toolcell.json")]
    pub client_metadata_url: Option<Template>,
    /// The scopes to ask for; the server's own wish without them.
    #[schemars(example = json!(["mcp:tools"]))]
    pub scopes: Option<Vec<String>>,
    /// The port on loopback to which the browser comes back; any free one without it.
    #[schemars(example = 8765)]
    pub redirect_port: Option<u16>,
}

/// `grant = "…"`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenGrant {
    /// A person in a browser, once (`toolcell login`).
    AuthorizationCode,
    /// Nobody: the client has a secret.
    ClientCredentials,
}

/// `hints = { … }`: words for a model that meets an error.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenHints {
    /// The call took too long.
    #[schemars(example = &"Ask for fewer rows.")]
    pub on_timeout: Option<String>,
    /// The server cannot be reached.
    #[schemars(example = &"The nightly backup runs until 03:00; try again then.")]
    pub on_unavailable: Option<String>,
    /// The tool itself says that it failed, or refuses the arguments.
    #[schemars(example = &"Check the names of tables with list_tables.")]
    pub on_tool_error: Option<String>,
    /// A tool to use instead, `server.tool`.
    #[schemars(example = &"cache.search")]
    pub fallback: Option<String>,
}

/// `[servers.NAME.tools.TOOL]`: what differs for one tool.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenTool {
    /// Not offered at all.
    #[schemars(example = true)]
    pub hidden: Option<bool>,
    /// Instead of the server's title.
    #[schemars(example = &"Search the archive")]
    pub title: Option<String>,
    /// Instead of the server's description.
    #[schemars(example = &"Use when a question is about documents before 2020.")]
    pub description: Option<String>,
    /// Instead of the descriptions of single parameters.
    #[schemars(example = json!({"query": "Words to look for, in English."}))]
    pub parameters: Option<IndexMap<String, String>>,
    /// Instead of the server's `readOnlyHint`: the tool changes nothing, so it may be called again.
    #[schemars(example = true)]
    pub read_only: Option<bool>,
    /// Instead of the server's `idempotentHint`: calling it twice does no more than once.
    #[schemars(example = true)]
    pub idempotent: Option<bool>,
    /// Time for one call of it, instead of the server's `call_timeout`.
    #[schemars(example = &"5m")]
    pub call_timeout: Option<DurationText>,
    /// Instead of the server's hints, one by one.
    pub hints: Option<WrittenHints>,
}

/// `retry = { … }`, a number of attempts, or `false`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[schemars(transform = allow_number_or_false)]
pub struct WrittenRetry {
    /// How often something is tried in all; `1` for never again.
    #[schemars(example = 3)]
    pub attempts: Option<u32>,
    /// The longest pause before the second attempt; each later one is twice as long.
    #[schemars(example = &"250ms")]
    pub base: Option<DurationText>,
    /// No pause is longer.
    #[schemars(example = &"10s")]
    pub cap: Option<DurationText>,
}

/// `breaker = { … }`, or `false`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, remote = "Self")]
#[schemars(transform = allow_false)]
pub struct WrittenBreaker {
    /// After so many failures in a row; `0` for never.
    #[schemars(example = 5)]
    pub failures: Option<u32>,
    /// For how long, at first; twice as long after each trial that fails.
    #[schemars(example = &"5s")]
    pub cooldown: Option<DurationText>,
    /// Never longer.
    #[schemars(example = &"60s")]
    pub max_cooldown: Option<DurationText>,
}

fn allow_number_or_false(schema: &mut Schema) {
    schema.insert("type".to_owned(), json!(["object", "integer", "boolean"]));
}

fn allow_false(schema: &mut Schema) {
    schema.insert("type".to_owned(), json!(["object", "boolean"]));
}

/// A table, or one word for all of it.
trait Short: Sized {
    const EXPECTED: &'static str;
    fn from_bool(value: bool) -> Self;
    fn from_number(number: u32) -> Option<Self>;
}

impl Short for WrittenRetry {
    const EXPECTED: &'static str = "a table { attempts = 3 }, a number of attempts, or false";

    fn from_bool(value: bool) -> Self {
        Self { attempts: (!value).then_some(1), ..Self::default() }
    }

    fn from_number(number: u32) -> Option<Self> {
        Some(Self { attempts: Some(number), ..Self::default() })
    }
}

impl Short for WrittenBreaker {
    const EXPECTED: &'static str = "a table { failures = 5 }, or false";

    fn from_bool(value: bool) -> Self {
        Self { failures: (!value).then_some(0), ..Self::default() }
    }

    fn from_number(_: u32) -> Option<Self> {
        None
    }
}

/// Reads what is written short, and hands a table to `$type`'s own reader.
macro_rules! read_short {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct ShortVisitor;

                impl<'de> Visitor<'de> for ShortVisitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(<$type as Short>::EXPECTED)
                    }

                    fn visit_bool<E: Error>(self, value: bool) -> Result<$type, E> {
                        Ok(<$type as Short>::from_bool(value))
                    }

                    fn visit_u64<E: Error>(self, number: u64) -> Result<$type, E> {
                        let short = u32::try_from(number).ok().and_then(<$type as Short>::from_number);
                        short.ok_or_else(|| {
                            E::invalid_type(serde::de::Unexpected::Unsigned(number), &self)
                        })
                    }

                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$type, A::Error> {
                        <$type>::deserialize(MapAccessDeserializer::new(map))
                    }
                }

                deserializer.deserialize_any(ShortVisitor)
            }
        }
    )*};
}

read_short!(WrittenRetry, WrittenBreaker);

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

impl JsonSchema for WrittenRoot {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "WrittenRoot".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "object"],
            "properties": { "path": { "type": "string" }, "read_only": { "type": "boolean" } },
            "required": ["path"],
            "additionalProperties": false,
            "x-type": "path, or { path, read_only }",
        })
    }
}
