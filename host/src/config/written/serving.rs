//! `[server]`: how toolcell serves, and who may come in.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::values::{CountSchema, DurationText, Quantity, SizeSchema, Template};

/// `[server]`: how `toolcell serve` and `toolcell mcp` serve, and who may come in over HTTP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenServing {
    /// The address and port of `toolcell serve`. Beyond this machine it asks for tokens.
    #[schemars(example = &"0.0.0.0:7420")]
    pub listen: Option<Template>,
    /// The URL by which clients reach this toolcell behind a reverse proxy, without `/mcp`.
    #[schemars(example = &"https://tools.example.org")]
    pub public_url: Option<Template>,
    /// Names by which clients may call (the `Host` header), besides `localhost`, addresses of loopback
    /// and that of `public_url`.
    #[schemars(example = json!(["tools.internal"]))]
    pub allowed_hosts: Vec<Template>,
    /// Origins of web pages that may call, besides those of this machine.
    #[schemars(example = json!(["https://app.example.org"]))]
    pub allowed_origins: Vec<Template>,
    /// The size of one request.
    #[schemars(with = "Option<SizeSchema>", example = &"4MiB")]
    pub max_body: Option<Quantity>,
    /// How long a client may take to send a request.
    #[schemars(example = &"30s")]
    pub request_timeout: Option<DurationText>,
    /// Connections at once.
    #[schemars(example = 1000)]
    pub max_connections: Option<u32>,
    /// Sessions of the MCP protocol at once; the one that was idle for longest gives way.
    #[schemars(example = 1000)]
    pub max_mcp_sessions: Option<u32>,
    /// A session of the MCP protocol that was idle for this long is forgotten.
    #[schemars(example = &"10m")]
    pub mcp_session_idle: Option<DurationText>,
    /// How much of a result a client gets at once; the rest is kept and fetched by pages.
    #[schemars(with = "Option<SizeSchema>", example = &"64KiB")]
    pub max_result: Option<Quantity>,
    /// Whether clients are told that lists have changed. Some cannot bear it.
    #[schemars(example = false)]
    pub list_changed: Option<bool>,
    /// Where `${caller.token}` comes from.
    #[schemars(example = &"bearer")]
    pub caller_token: Option<WrittenCallerToken>,
    /// Sessions of Python.
    pub sessions: WrittenSessions,
    /// What every caller may take who has no quotas of their own.
    pub quotas: WrittenQuotas,
    /// Bearer tokens that you hand out, each under a name of its own.
    pub tokens: IndexMap<String, WrittenToken>,
    /// Bearer tokens of an authorization server.
    pub jwt: Option<WrittenJwt>,
    /// The bridge for web clients; without this table there is none.
    pub bridge: Option<WrittenBridge>,
}

/// Where `${caller.token}` comes from.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenCallerToken {
    /// The header `X-Toolcell-Upstream-Token`: a token that the upstream issued.
    Header,
    /// The caller's bearer token itself. MCP forbids to hand on a token that was issued for somebody
    /// else, so use this only where your upstreams are audiences of it too.
    Bearer,
}

/// `[server.sessions]`: Python sessions, which keep variables between calls.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenSessions {
    /// Of one caller at once.
    #[schemars(example = 16)]
    pub per_caller: Option<u32>,
    /// Of all callers at once.
    #[schemars(example = 1000)]
    pub total: Option<u32>,
    /// One that was idle for this long is ended.
    #[schemars(example = &"30m")]
    pub idle: Option<DurationText>,
}

/// `[server.quotas]` and `[server.tokens.NAME.quotas]`: what one caller may take. Nothing is limited
/// that is not written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenQuotas {
    /// Runs at once.
    #[schemars(example = 4)]
    pub concurrent_runs: Option<u32>,
    /// Calls of tools at once, runs included.
    #[schemars(example = 32)]
    pub concurrent_calls: Option<u32>,
    /// Sessions of Python that are kept, instead of `server.sessions.per_caller`.
    #[schemars(example = 4)]
    pub sessions: Option<u32>,
    /// Fuel of all runs within any minute.
    #[schemars(with = "Option<CountSchema>", example = &"100G")]
    pub fuel_per_minute: Option<Quantity>,
}

/// `[server.tokens.NAME]`: a bearer token that you hand out.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenToken {
    /// The token, at least 16 characters: `openssl rand -hex 32` makes one. Kept secret.
    #[schemars(example = &"${OPS_TOKEN}")]
    pub token: Option<Template>,
    /// The SHA-256 of the token in hexadecimal instead, so that no secret is in the file.
    #[schemars(example = &"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")]
    pub sha256: Option<String>,
    /// Who comes with it: `${caller.id}`; its name in the file without this.
    #[schemars(example = &"ops@example.org")]
    pub caller: Option<String>,
    /// The profiles that it opens; all without this.
    #[schemars(example = json!(["reader"]))]
    pub profiles: Option<Vec<String>>,
    /// What its caller may take, where that differs from `[server.quotas]`.
    pub quotas: WrittenQuotas,
}

/// `[server.jwt]`: which tokens of which authorization server are good here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenJwt {
    /// Who issues them: the claim `iss`, to the letter.
    #[schemars(example = &"https://login.example.org/realms/tools")]
    pub issuer: Option<Template>,
    /// For whom they have to be issued (the claim `aud`), one or several; the endpoint's own public URL
    /// without this.
    #[schemars(example = &"https://tools.example.org/mcp")]
    pub audience: Option<super::OneOrMany>,
    /// Where its keys are; found by the issuer's metadata without this.
    #[schemars(example = &"https://login.example.org/realms/tools/keys")]
    pub jwks_url: Option<Template>,
    /// The algorithms that are accepted.
    #[schemars(example = json!(["RS256", "ES256"]))]
    pub algorithms: Option<Vec<String>>,
    /// The claim that says who the caller is.
    #[schemars(example = &"preferred_username")]
    pub caller_claim: Option<String>,
    /// The claim that lists the profiles that are open to the caller; all are without this.
    #[schemars(example = &"toolcell_profiles")]
    pub profiles_claim: Option<String>,
    /// Scopes that a token must have, all of them.
    #[schemars(example = json!(["tools:use"]))]
    pub scopes: Vec<String>,
    /// By how much the issuer's clock and ours may differ.
    #[schemars(example = &"60s")]
    pub leeway: Option<DurationText>,
}

/// `[server.bridge]`: sessions of web clients such as AutoGen Studio's, each over a WebSocket. A client
/// shows a token: one of this file's, or the one that `toolcell serve` prints where there is none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenBridge {
    /// The profile that says what sessions may reach; that of the listener without this.
    #[schemars(example = &"web")]
    pub profile: Option<String>,
    /// Servers that sessions may name themselves, besides those of this file. None without this: a web
    /// page starts no program and reaches no address that is not written here.
    pub allow: Vec<WrittenAllowed>,
    /// Sessions at once.
    #[schemars(example = 200)]
    pub max_sessions: Option<u32>,
    /// The size of one frame of a client.
    #[schemars(with = "Option<SizeSchema>", example = &"1MiB")]
    pub max_frame: Option<Quantity>,
    /// Operations of one session that are worked on at once.
    #[schemars(example = 16)]
    pub max_in_flight: Option<u32>,
    /// Frames that wait for a client which does not read; with more its session ends.
    #[schemars(example = 256)]
    pub queue: Option<u32>,
    /// A session whose client sent no frame for this long, and waits for nothing, ends.
    #[schemars(example = &"30m")]
    pub idle: Option<DurationText>,
    /// How often a client is asked whether it is there; two questions without an answer end its session.
    #[schemars(example = &"20s")]
    pub heartbeat: Option<DurationText>,
    /// How long the URL that a client was given can be opened, once.
    #[schemars(example = &"60s")]
    pub ticket_lifetime: Option<DurationText>,
    /// Sessions that one client may begin within a minute.
    #[schemars(example = 60)]
    pub connects_per_minute: Option<u32>,
    /// How long a server waits for what it asked the user.
    #[schemars(example = &"60s")]
    pub elicitation_timeout: Option<DurationText>,
}

/// `[[server.bridge.allow]]`: a server that sessions may name themselves. `*` stands for anything within
/// one part of a path, `**` for anything.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenAllowed {
    /// A program, written as clients write it.
    #[schemars(example = &"uvx")]
    pub command: Option<String>,
    /// Its arguments, one pattern for each; `**` as the last one stands for all further ones. Without
    /// this the program has none.
    #[schemars(example = json!(["mcp-server-*"]))]
    pub args: Vec<String>,
    /// The variables that sessions may set for it, by name; none without this. Some make a program run
    /// another one.
    #[schemars(example = json!(["GITHUB_TOKEN"]))]
    pub env: Vec<String>,
    /// The working directories that sessions may name; none without this.
    #[schemars(example = &"/srv/projects/*")]
    pub cwd: Option<String>,
    /// The address of a server on the net.
    #[schemars(example = &"https://*.example.org/mcp")]
    pub url: Option<String>,
}
