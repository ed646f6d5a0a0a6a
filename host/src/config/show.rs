//! What is in force, in the words of the file, with every default filled in and without any secret.
//!
//! A value that holds `${…}` is shown as it is written: what stands for it may be a credential
//! wherever it stands. Environment variables, headers and the like are not shown at all, nor are the
//! parts of URLs and arguments that commonly carry credentials. The same functions tell the defaults
//! to the reference and to the schema.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::findings::suggestion;
use super::monitor::MonitorSettings;
use super::resolved::{Config, Endpoint, Profile};
use super::template::is_literal;
use super::units::{format_count, format_duration, format_size};
use super::written::{Template, WrittenServer};
use crate::limits::Limits;
use crate::plugins::settings::PluginSettings;
use crate::server::access::{AccessSettings, CallerToken, JwtSettings, QuotaLimits, StaticToken};
use crate::server::settings::{ServerSettings, SessionSettings};
use crate::upstream::settings::{
    AuthGrant, AuthSettings, Breaker, Hints, HttpFlavour, HttpSettings, Lifecycle, Retry,
    ToolSettings, TransportSettings, UpstreamSettings,
};

/// How the bridge is.
mod bridge;

pub(super) use bridge::show as bridge;

/// Stands for what is not shown.
const SECRET: &str = "<secret>";

/// There is no such server to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no server is called `{name}`; {suggestion}")]
pub struct UnknownServer {
    name: String,
    suggestion: String,
}

/// A configuration as JSON: where it was read, the servers, each with its `origin`, the profiles, the
/// plugins and the monitor; or one server alone.
///
/// # Errors
/// There is no server of that name.
pub fn show(config: &Config, server: Option<&str>) -> Result<Value, UnknownServer> {
    let mut servers = Map::new();
    for (settings, source) in config.servers.iter().zip(&config.server_sources) {
        let name = settings.name.as_str();
        if server.is_none_or(|wanted| wanted == name) {
            let mut shown = Map::new();
            shown.insert("origin".into(), source.place.to_string().into());
            shown.append(&mut transport(&settings.transport, &source.written));
            shown.append(&mut behaviour(settings));
            servers.insert(name.to_owned(), shown.into());
        }
    }
    if let Some(name) = server {
        if servers.is_empty() {
            let names = config.servers.iter().map(|server| server.name.as_str());
            let suggestion = suggestion(name, names);
            return Err(UnknownServer { name: name.to_owned(), suggestion });
        }
        return Ok(json!({ "servers": servers }));
    }
    let profiles = config.profiles.iter();
    let profiles: Map<String, Value> =
        profiles.map(|(name, shown)| (name.to_string(), profile(shown).into())).collect();
    let plugins = config.plugins.named.iter();
    let plugins: Map<String, Value> =
        plugins.map(|(name, shown)| (name.to_string(), plugin(shown).into())).collect();
    let sources: Vec<Value> = config.sources.iter().map(|file| path(file)).collect();
    Ok(json!({
        "sources": sources,
        "default_profile": config.default_profile.as_ref().map(ToString::to_string),
        "monitor": monitor(&config.monitor),
        "server": serving(&config.server),
        "plugin_folder": config.plugins.folder.as_deref().map(path),
        "plugins_locked": config.plugins.locked,
        "plugins": plugins,
        "servers": servers,
        "profiles": profiles,
    }))
}

/// Collects keys that have a value.
#[derive(Default)]
struct Table(Map<String, Value>);

impl Table {
    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    fn with_some(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    fn with_table(self, key: &str, table: Map<String, Value>) -> Self {
        if table.is_empty() { self } else { self.with(key, table) }
    }
}

fn path(path: &Path) -> Value {
    path.to_string_lossy().into_owned().into()
}

fn time(duration: Duration) -> Value {
    format_duration(duration).into()
}

fn or_never(duration: Option<Duration>) -> Value {
    duration.map_or_else(|| "never".into(), time)
}

fn secrets<'a>(names: impl Iterator<Item = &'a String>) -> Map<String, Value> {
    names.map(|name| (name.clone(), SECRET.into())).collect()
}

/// What is written, if something stands for something else in it; else what it came to.
fn unless_literal(written: Option<&Template>, resolved: impl FnOnce() -> Value) -> Value {
    match written {
        Some(template) if !is_literal(&template.0) => template.0.clone().into(),
        _ => resolved(),
    }
}

/// How the server is reached.
fn transport(settings: &TransportSettings, written: &WrittenServer) -> Map<String, Value> {
    match settings {
        TransportSettings::Stdio { command, args, env, cwd } => {
            let cwd = cwd.as_ref().map(|cwd| unless_literal(written.cwd.as_ref(), || path(cwd)));
            let command = unless_literal(written.command.as_ref(), || command.clone().into());
            let templates = written.args.iter().flatten().map(|arg| arg.0.as_str());
            Table::default()
                .with("transport", "stdio")
                .with("command", command)
                .with_some("args", (!args.is_empty()).then(|| arguments(templates)))
                .with_table("env", secrets(env.keys()))
                .with_some("env_file", written.env_file.as_ref().map(|file| file.0.clone()))
                .with_some("cwd", cwd)
                .0
        }
        TransportSettings::Http(http) => over_http(http, written),
        TransportSettings::Files { roots } => {
            let shown = roots.iter().map(|root| {
                let written = written.roots.iter().flatten();
                let written = written.filter(|(name, _)| **name == root.name);
                let template = written.filter_map(|(_, root)| root.path.as_ref()).next();
                let directory = unless_literal(template, || path(&root.directory));
                (root.name.clone(), json!({ "path": directory, "read_only": root.read_only }))
            });
            let shown: Map<String, Value> = shown.collect();
            Table::default().with("builtin", "files").with("roots", shown).0
        }
        TransportSettings::Recorded(_) => Table::default().with("builtin", "recorded").0,
    }
}

fn over_http(http: &HttpSettings, written: &WrittenServer) -> Map<String, Value> {
    let HttpSettings { url, flavour, headers, proxy, ca_file, auth, says_goodbye: _ } = http;
    // What is not said is found out at the first connection.
    let transport = match flavour {
        HttpFlavour::Detect => None,
        HttpFlavour::StreamableHttp => Some("streamable-http"),
        HttpFlavour::Sse => Some("sse"),
    };
    let template = written.url.as_ref().map_or(url.as_str(), |url| url.0.as_str());
    let ca_file = ca_file.as_ref();
    let ca_file = ca_file.map(|file| unless_literal(written.ca_file.as_ref(), || path(file)));
    Table::default()
        .with_some("transport", transport)
        .with("url", shown_url(template))
        .with_table("headers", secrets(headers.keys()))
        .with_some("proxy", proxy.as_ref().map(|_| SECRET))
        .with_some("ca_file", ca_file)
        .with_some("auth", auth.as_ref().map(|settings| authorization(settings, written)))
        .0
}

fn authorization(settings: &AuthSettings, written: &WrittenServer) -> Map<String, Value> {
    let AuthSettings {
        grant,
        client_id,
        client_secret,
        client_metadata_url,
        scopes,
        redirect_port,
    } = settings;
    let written = written.auth.as_ref();
    let client_id = client_id.as_ref().map(|id| {
        unless_literal(written.and_then(|auth| auth.client_id.as_ref()), || id.clone().into())
    });
    let template = written.and_then(|auth| auth.client_metadata_url.as_ref());
    let url = client_metadata_url.as_ref().and(template).map(|url| shown_url(&url.0));
    Table::default()
        .with("grant", grant_name(*grant))
        .with_some("client_id", client_id)
        .with_some("client_secret", client_secret.as_ref().map(|_| SECRET))
        .with_some("client_metadata_url", url)
        .with_some("scopes", (!scopes.is_empty()).then(|| scopes.clone()))
        .with_some("redirect_port", *redirect_port)
        .0
}

pub(super) fn grant_name(grant: AuthGrant) -> &'static str {
    match grant {
        AuthGrant::AuthorizationCode => "authorization-code",
        AuthGrant::ClientCredentials => "client-credentials",
    }
}

/// Words that stand in the name of a flag whose value nobody should see.
const TELLTALES: [&str; 7] =
    ["token", "secret", "password", "passwd", "key", "credential", "authorization"];

/// Arguments as they are written, without what a flag such as `--api-key` is followed by.
fn arguments<'a>(written: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut shown = Vec::new();
    let mut hide_next = false;
    for argument in written {
        let name = argument.split(['=', ':']).next().unwrap_or_default();
        let telltale = |name: &str| {
            let name = name.to_ascii_lowercase();
            TELLTALES.iter().any(|word| name.contains(word))
        };
        let is_flag = name.starts_with('-');
        shown.push(if !is_literal(argument) {
            argument.to_owned()
        } else if std::mem::take(&mut hide_next) && !is_flag {
            SECRET.to_owned()
        } else if name.len() < argument.len() && telltale(name) {
            format!("{name}{}{SECRET}", &argument[name.len()..=name.len()])
        } else if argument.contains("://") {
            shown_url(argument)
        } else {
            argument.to_owned()
        });
        hide_next = is_flag && name.len() == argument.len() && telltale(name);
    }
    shown
}

/// A URL as it is written, without a password, and without the literal values of its query.
fn shown_url(written: &str) -> String {
    let (front, fragment) = match written.split_once('#') {
        Some((front, _)) => (front, format!("#{SECRET}")),
        None => (written, String::new()),
    };
    let (address, query) = match front.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (front, None),
    };
    let address = match address.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            // The last one: a password may hold it too.
            match authority.rsplit_once('@') {
                Some((_, host)) => format!("{scheme}://{SECRET}@{host}{path}"),
                None => address.to_owned(),
            }
        }
        None => address.to_owned(),
    };
    let query = query.map(|query| {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) if is_literal(value) => format!("{name}={SECRET}"),
            Some(_) => pair.to_owned(),
            None if is_literal(pair) => SECRET.to_owned(),
            None => pair.to_owned(),
        });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    });
    format!("{address}{}{fragment}", query.unwrap_or_default())
}

/// How a server's connections behave.
pub(super) fn behaviour(settings: &UpstreamSettings) -> Map<String, Value> {
    let UpstreamSettings {
        name: _,
        transport: _,
        encoding: _,
        timeouts,
        lifecycle,
        connections,
        retry,
        breaker,
        probe_interval,
        hints: for_all,
        tools,
    } = settings;
    let lifecycle = match lifecycle {
        Lifecycle::Pooled => "pooled",
        Lifecycle::OnDemand => "on-demand",
        Lifecycle::Fresh => "fresh",
    };
    let tools = tools.iter().map(|(name, settings)| (name.clone(), tool(settings).into()));
    Table::default()
        .with("lifecycle", lifecycle)
        .with("pool_timeout", time(timeouts.pool))
        .with("connect_timeout", time(timeouts.connect))
        .with("handshake_timeout", time(timeouts.handshake))
        .with("write_timeout", time(timeouts.write))
        .with("read_timeout", time(timeouts.read))
        .with_some("call_timeout", timeouts.call.map(time))
        .with("idle_timeout", or_never(timeouts.idle))
        .with("max_connections", connections.max)
        .with("max_idle_connections", connections.max_idle)
        .with("retry", retries(retry))
        .with("breaker", break_off(breaker))
        .with("probe_interval", or_never(*probe_interval))
        .with_table("hints", hints(for_all))
        .with_table("tools", tools.collect())
        .0
}

pub(super) fn retries(retry: &Retry) -> Map<String, Value> {
    let Retry { attempts, base, cap } = retry;
    let table = Table::default().with("attempts", *attempts);
    table.with("base", time(*base)).with("cap", time(*cap)).0
}

pub(super) fn break_off(breaker: &Breaker) -> Map<String, Value> {
    let Breaker { failures, cooldown, max_cooldown } = breaker;
    let table = Table::default().with("failures", *failures);
    table.with("cooldown", time(*cooldown)).with("max_cooldown", time(*max_cooldown)).0
}

fn hints(hints: &Hints) -> Map<String, Value> {
    let Hints { on_timeout, on_unavailable, on_tool_error, fallback } = hints;
    Table::default()
        .with_some("on_timeout", on_timeout.clone())
        .with_some("on_unavailable", on_unavailable.clone())
        .with_some("on_tool_error", on_tool_error.clone())
        .with_some("fallback", fallback.clone())
        .0
}

pub(super) fn tool(settings: &ToolSettings) -> Map<String, Value> {
    let ToolSettings {
        hidden,
        title,
        description,
        parameters,
        read_only,
        idempotent,
        call_timeout,
        hints: own,
    } = settings;
    let parameters = parameters.iter().map(|(name, text)| (name.clone(), text.clone().into()));
    Table::default()
        .with("hidden", *hidden)
        .with_some("title", title.clone())
        .with_some("description", description.clone())
        .with_table("parameters", parameters.collect())
        .with_some("read_only", *read_only)
        .with_some("idempotent", *idempotent)
        .with_some("call_timeout", call_timeout.map(time))
        .with_table("hints", hints(own))
        .0
}

pub(super) fn monitor(settings: &MonitorSettings) -> Map<String, Value> {
    let MonitorSettings { interval, timeout, down_after, webhooks, command, state_file } = settings;
    let webhooks: Vec<&str> = webhooks.iter().map(|_| SECRET).collect();
    // Its arguments may hold what a variable stood for.
    let command = command.as_ref().map(|words| {
        let words = words.iter().enumerate();
        words.map(|(nth, word)| if nth == 0 { word.as_str() } else { SECRET }).collect::<Vec<_>>()
    });
    Table::default()
        .with("interval", time(*interval))
        .with("timeout", time(*timeout))
        .with("down_after", *down_after)
        .with_some("webhook", (!webhooks.is_empty()).then_some(webhooks))
        .with_some("command", command)
        .with_some("state_file", state_file.as_ref().map(|file| path(file)))
        .0
}

pub(super) fn serving(settings: &ServerSettings) -> Map<String, Value> {
    let ServerSettings {
        listen,
        allowed_hosts,
        allowed_origins,
        max_body_bytes,
        request_timeout,
        max_connections,
        max_mcp_sessions,
        mcp_session_idle,
        sessions: of_python,
        result_bytes,
        list_changed,
        access,
        bridge: web,
    } = settings;
    let AccessSettings { public_url, tokens, jwt, caller_token, quotas: for_all } = access;
    let tokens = tokens.iter().map(|shown| (shown.name.clone(), token(shown).into()));
    Table::default()
        .with("listen", listen.to_string())
        .with_some("public_url", public_url.clone())
        .with("allowed_hosts", allowed_hosts.clone())
        .with("allowed_origins", allowed_origins.clone())
        .with("max_body", format_size(*max_body_bytes as u64))
        .with("request_timeout", time(*request_timeout))
        .with("max_connections", *max_connections)
        .with("max_mcp_sessions", *max_mcp_sessions)
        .with("mcp_session_idle", time(*mcp_session_idle))
        .with("max_result", format_size(*result_bytes as u64))
        .with("list_changed", *list_changed)
        .with("caller_token", caller_token_name(*caller_token))
        .with("sessions", sessions(of_python))
        .with_table("quotas", quotas(for_all))
        .with_table("tokens", tokens.collect())
        .with_some("jwt", jwt.as_ref().map(self::jwt))
        .with_some("bridge", web.as_ref().map(bridge))
        .0
}

fn caller_token_name(from: CallerToken) -> &'static str {
    match from {
        CallerToken::Header => "header",
        CallerToken::Bearer => "bearer",
    }
}

pub(super) fn sessions(settings: &SessionSettings) -> Map<String, Value> {
    let SessionSettings { per_caller, total, idle } = settings;
    let table = Table::default().with("per_caller", *per_caller);
    table.with("total", *total).with("idle", time(*idle)).0
}

fn quotas(limits: &QuotaLimits) -> Map<String, Value> {
    let QuotaLimits { concurrent_runs, concurrent_calls, sessions, fuel_per_minute } = limits;
    Table::default()
        .with_some("concurrent_runs", *concurrent_runs)
        .with_some("concurrent_calls", *concurrent_calls)
        .with_some("sessions", *sessions)
        .with_some("fuel_per_minute", fuel_per_minute.map(format_count))
        .0
}

fn token(token: &StaticToken) -> Map<String, Value> {
    let StaticToken { name: _, digest: _, caller, profiles, quotas: own } = token;
    Table::default()
        .with("token", SECRET)
        .with("caller", &**caller)
        .with_some("profiles", profiles.clone())
        .with_table("quotas", quotas(own))
        .0
}

fn jwt(settings: &JwtSettings) -> Map<String, Value> {
    let JwtSettings {
        issuer,
        audiences,
        jwks_url,
        algorithms,
        caller_claim,
        profiles_claim,
        scopes,
        leeway,
    } = settings;
    Table::default()
        .with("issuer", shown_url(issuer))
        .with_some("audience", (!audiences.is_empty()).then(|| audiences.clone()))
        .with_some("jwks_url", jwks_url.as_deref().map(shown_url))
        .with("algorithms", algorithms.clone())
        .with("caller_claim", caller_claim.clone())
        .with_some("profiles_claim", profiles_claim.clone())
        .with("scopes", scopes.clone())
        .with("leeway", time(*leeway))
        .0
}

/// What holds where `[server.jwt]` says nothing.
pub(super) fn jwt_defaults() -> Map<String, Value> {
    let mut table = jwt(&JwtSettings::default());
    table.remove("issuer");
    table
}

fn profile(profile: &Profile) -> Map<String, Value> {
    let Profile {
        name: _,
        policy,
        limits: own,
        runtimes,
        imports,
        endpoint: Endpoint { code, gateway, prefix, list_changed },
        all_granted_by_default: _,
    } = profile;
    let tools: Vec<String> = policy.patterns().iter().map(ToString::to_string).collect();
    let resources: Vec<String> = policy.resources().iter().map(ToString::to_string).collect();
    let prompts: Vec<String> = policy.prompts().iter().map(ToString::to_string).collect();
    let runtimes: Vec<&str> = runtimes.iter().map(|language| language.name()).collect();
    let rules = policy.rules().iter().map(|rule| {
        let args = rule.constraints.iter().map(|constraint| constraint.path().to_string());
        json!({
            "tool": rule.tools.to_string(),
            "args": args.collect::<Vec<_>>(),
            "effect": rule.effect.name(),
        })
    });
    let rules: Vec<Value> = rules.collect();
    Table::default()
        .with("tools", tools)
        .with("resources", resources)
        .with("prompts", prompts)
        .with("runtimes", runtimes)
        .with_some("imports", imports.clone())
        .with_some("code", (!*code).then_some(false))
        .with_some("gateway", gateway.then_some(true))
        .with_some("prefix", gateway.then_some(*prefix))
        .with_some("list_changed", gateway.then_some(*list_changed))
        .with_some("rules", (!rules.is_empty()).then_some(rules))
        .with("limits", limits(own))
        .0
}

fn plugin(settings: &PluginSettings) -> Map<String, Value> {
    let PluginSettings { name: _, policy, questions, limits: own, stateful, enabled, signed_by } =
        settings;
    let some = |patterns: Vec<String>| (!patterns.is_empty()).then_some(patterns);
    let tools: Vec<String> = policy.patterns().iter().map(ToString::to_string).collect();
    let resources = policy.resources().iter().map(ToString::to_string).collect();
    let prompts = policy.prompts().iter().map(ToString::to_string).collect();
    Table::default()
        .with("tools", tools)
        .with_some("resources", some(resources))
        .with_some("prompts", some(prompts))
        .with_some("questions", questions.then_some(true))
        .with_some("stateful", stateful.map(time))
        .with_some("enabled", (!*enabled).then_some(false))
        .with_some("signed_by", signed_by.as_deref().map(path))
        .with("limits", limits(own))
        .0
}

pub(super) fn limits(limits: &Limits) -> Map<String, Value> {
    let Limits {
        fuel,
        compute_time,
        deadline,
        memory_bytes,
        tool_calls,
        concurrent_calls,
        call_timeout,
        output_bytes,
        argument_bytes,
        answer_bytes,
    } = limits;
    Table::default()
        .with("fuel", format_count(*fuel))
        .with("compute_time", time(*compute_time))
        .with("deadline", time(*deadline))
        .with("memory", format_size(*memory_bytes))
        .with("tool_calls", *tool_calls)
        .with("concurrent_calls", *concurrent_calls)
        .with("call_timeout", time(*call_timeout))
        .with("output", format_size(*output_bytes))
        .with("argument", format_size(*argument_bytes))
        .with("answer", format_size(*answer_bytes))
        .0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_what_may_be_secret() {
        #[track_caller]
        fn check(written: &str, shown: &str) {
            assert_eq!(shown_url(written), shown);
        }
        check("https://x.example/mcp", "https://x.example/mcp");
        check("https://me:pw@x.example/mcp", "https://<secret>@x.example/mcp");
        check("https://me:p@w@x.example", "https://<secret>@x.example");
        check("https://x.example/a@b", "https://x.example/a@b");
        check(
            "https://x/?key=abc&k=${KEY}&abc#frag",
            "https://x/?key=<secret>&k=${KEY}&<secret>#<secret>",
        );
        check("https://${HOST}/${PATH:-mcp}", "https://${HOST}/${PATH:-mcp}");
    }

    #[test]
    fn arguments_are_shown_without_what_may_be_secret() {
        #[track_caller]
        fn check(written: &[&str], shown: &[&str]) {
            assert_eq!(arguments(written.iter().copied()), shown);
        }
        check(&["-y", "server", "--port=80"], &["-y", "server", "--port=80"]);
        check(&["--token=abc", "--t=${TOKEN}"], &["--token=<secret>", "--t=${TOKEN}"]);
        check(&["--api-key", "abc", "x"], &["--api-key", "<secret>", "x"]);
        check(&["--api-key", "${KEY}"], &["--api-key", "${KEY}"]);
        check(&["--keyless", "--verbose"], &["--keyless", "--verbose"]);
        check(&["--header", "Authorization: Bearer abc"], &["--header", "Authorization:<secret>"]);
        check(&["postgres://me:pw@db/x"], &["postgres://<secret>@db/x"]);
    }
}
