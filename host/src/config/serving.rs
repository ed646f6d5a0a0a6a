//! `[server]` as written becomes [`ServerSettings`].

mod bridge;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use reqwest::Url;

use super::error::KeyPath;
use super::findings::{Findings, listed, suggestion};
use super::limits::{bounded, count, duration, size};
use super::surroundings::Surroundings;
use super::written::{
    DurationText, Quantity, Template, WrittenCallerToken, WrittenJwt, WrittenQuotas,
    WrittenServing, WrittenSessions, WrittenToken,
};
use crate::server::access::{
    AccessSettings, CallerToken, JwtSettings, QuotaLimits, StaticToken, TokenDigest, is_caller,
};
use crate::server::settings::{ServerSettings, SessionSettings};

const MAX_BODY_BYTES: u64 = 256 << 20;
const MAX_RESULT_BYTES: u64 = 64 << 20;
const MAX_CONNECTIONS: u32 = 1_000_000;
const MAX_SESSIONS: u32 = 1_000_000;
const MAX_FUEL_PER_MINUTE: u64 = 1_000_000_000_000_000_000;
const MAX_LEEWAY: Duration = Duration::from_secs(10 * 60);

/// The shortest token that nobody guesses.
const MIN_TOKEN_CHARS: usize = 16;

/// Checks `[server]`. `profiles` are the names of those that there are.
pub(super) fn resolve(
    written: &WrittenServing,
    profiles: &[&str],
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> ServerSettings {
    let path = KeyPath::of(["server"]);
    let reading = &mut Reading { profiles, surroundings, findings };
    let mut settings = ServerSettings::default();
    reading.listen(written, &path, &mut settings);
    reading.names(written, &path, &mut settings);
    reading.bounds(written, &path, &mut settings);
    settings.sessions = reading.sessions(&written.sessions, &path.key("sessions"));
    if let Some(wanted) = written.list_changed {
        settings.list_changed = wanted;
    }
    reading.access(written, &path, &mut settings.access);
    let bridge = written.bridge.as_ref();
    settings.bridge = bridge.map(|bridge| reading.bridge(bridge, &path.key("bridge")));
    if !settings.is_on_loopback() && !settings.access.asks_for_credentials() {
        let path = path.key("listen");
        if !reading.findings.is_faulty(&KeyPath::of(["server"])) {
            let text = "beyond this machine a token is required, so `toolcell serve` will refuse to \
                        start: write [server.tokens.NAME] or [server.jwt]";
            reading.findings.notice(&path, text);
        }
    }
    settings
}

/// What every step needs.
struct Reading<'r, 'f> {
    profiles: &'r [&'r str],
    surroundings: &'r Surroundings<'r>,
    findings: &'r mut Findings<'f>,
}

impl Reading<'_, '_> {
    fn text(&mut self, template: &Template, path: &KeyPath) -> Option<String> {
        self.surroundings.text(template, path, self.findings)
    }

    fn listen(&mut self, written: &WrittenServing, path: &KeyPath, settings: &mut ServerSettings) {
        let Some(template) = &written.listen else { return };
        let path = path.key("listen");
        let Some(text) = self.text(template, &path) else { return };
        match parse_address(&text) {
            Some(address) => settings.listen = address,
            None => {
                let cause = format!("{text:?} is no address and port");
                let way_out = "write for example \"127.0.0.1:7420\", or \"0.0.0.0:7420\" for all";
                self.findings.problem_with(&path, cause, way_out);
            }
        }
    }

    /// By which names we may be called, and from where.
    fn names(&mut self, written: &WrittenServing, path: &KeyPath, settings: &mut ServerSettings) {
        if let Some(template) = &written.public_url {
            let path = path.key("public_url");
            let url = self.text(template, &path).and_then(|text| self.public_url(&text, &path));
            if let Some(url) = url {
                settings.allowed_hosts.extend(url.host_str().map(str::to_owned));
                settings.access.public_url = Some(url.as_str().trim_end_matches('/').to_owned());
            }
        }
        let hosts_path = path.key("allowed_hosts");
        for (nth, template) in written.allowed_hosts.iter().enumerate() {
            let path = hosts_path.index(nth);
            let Some(host) = self.text(template, &path) else { continue };
            let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
            if !host.is_empty() && host.chars().all(fits) {
                settings.allowed_hosts.push(host.to_ascii_lowercase());
            } else {
                let way_out = "write a name without scheme and path, for example tools.example.org";
                self.findings.problem_with(&path, format!("{host:?} is no host"), way_out);
            }
        }
        let origins_path = path.key("allowed_origins");
        for (nth, template) in written.allowed_origins.iter().enumerate() {
            let path = origins_path.index(nth);
            let Some(text) = self.text(template, &path) else { continue };
            let origin = Url::parse(&text).ok().filter(|url| url.has_host());
            let origin = origin.map(|url| url.origin().ascii_serialization());
            match origin {
                // A browser never sends a path, so one that is written would never fit.
                Some(origin) if origin.eq_ignore_ascii_case(text.trim_end_matches('/')) => {
                    settings.allowed_origins.push(origin);
                }
                _ => {
                    let way_out = "write scheme, host and port alone: https://app.example.org";
                    let cause = format!("{text:?} is no origin of a web page");
                    self.findings.problem_with(&path, cause, way_out);
                }
            }
        }
    }

    fn public_url(&mut self, text: &str, path: &KeyPath) -> Option<Url> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let plain = |url: &Url| {
            url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        };
        let way_out = "write for example https://tools.example.org";
        match url.filter(plain) {
            None => {
                let cause = "this is no URL of http or https with nothing but a host and a path";
                self.findings.problem_with(path, cause, way_out);
                None
            }
            Some(url) if url.path().trim_end_matches('/').ends_with("/mcp") => {
                self.findings.problem_with(path, "leave out `/mcp` at the end", way_out);
                None
            }
            Some(url) => Some(url),
        }
    }

    fn bounds(&mut self, written: &WrittenServing, path: &KeyPath, settings: &mut ServerSettings) {
        let ServerSettings {
            max_body_bytes,
            request_timeout,
            max_connections,
            max_mcp_sessions,
            mcp_session_idle,
            result_bytes,
            ..
        } = settings;
        self.size(&written.max_body, MAX_BODY_BYTES, &path.key("max_body"), max_body_bytes);
        self.size(&written.max_result, MAX_RESULT_BYTES, &path.key("max_result"), result_bytes);
        self.time(&written.request_timeout, &path.key("request_timeout"), request_timeout);
        self.time(&written.mcp_session_idle, &path.key("mcp_session_idle"), mcp_session_idle);
        let connections_path = path.key("max_connections");
        self.number(written.max_connections, MAX_CONNECTIONS, &connections_path, max_connections);
        let sessions_path = path.key("max_mcp_sessions");
        self.number(written.max_mcp_sessions, MAX_SESSIONS, &sessions_path, max_mcp_sessions);
    }

    fn sessions(&mut self, written: &WrittenSessions, path: &KeyPath) -> SessionSettings {
        let WrittenSessions { per_caller, total, idle } = written;
        let mut settings = SessionSettings::default();
        let per_caller_path = path.key("per_caller");
        self.number(*per_caller, MAX_SESSIONS, &per_caller_path, &mut settings.per_caller);
        self.number(*total, MAX_SESSIONS, &path.key("total"), &mut settings.total);
        self.time(idle, &path.key("idle"), &mut settings.idle);
        settings
    }

    fn size(&mut self, written: &Option<Quantity>, max: u64, path: &KeyPath, setting: &mut usize) {
        let Some(written) = written else { return };
        if let Some(bytes) = self.findings.check(path, size(written, max)) {
            *setting = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
    }

    fn time(&mut self, written: &Option<DurationText>, path: &KeyPath, setting: &mut Duration) {
        let Some(DurationText(text)) = written else { return };
        let time = duration(&Quantity::Text(text.clone()));
        if let Some(time) = self.findings.check(path, time) {
            *setting = time;
        }
    }

    fn number(&mut self, written: Option<u32>, max: u32, path: &KeyPath, setting: &mut usize) {
        let Some(number) = written else { return };
        if let Some(number) = self.at_least_one(number, max, path) {
            *setting = number as usize;
        }
    }

    fn at_least_one(&mut self, number: u32, max: u32, path: &KeyPath) -> Option<u32> {
        let number = bounded(number, max, |number| number.to_string());
        self.findings.check(path, number)
    }

    fn access(&mut self, written: &WrittenServing, path: &KeyPath, access: &mut AccessSettings) {
        access.caller_token = match written.caller_token {
            None => CallerToken::default(),
            Some(WrittenCallerToken::Header) => CallerToken::Header,
            Some(WrittenCallerToken::Bearer) => CallerToken::Bearer,
        };
        access.quotas = self.quotas(&written.quotas, &path.key("quotas"));
        access.tokens = self.tokens(&written.tokens, &path.key("tokens"));
        let jwt = written.jwt.as_ref();
        let public = access.public_url.is_some();
        access.jwt = jwt.and_then(|jwt| self.jwt(jwt, public, &path.key("jwt")));
    }

    fn quotas(&mut self, written: &WrittenQuotas, path: &KeyPath) -> QuotaLimits {
        let WrittenQuotas { concurrent_runs, concurrent_calls, sessions, fuel_per_minute } =
            written;
        let mut number = |written: Option<u32>, key: &str| {
            written.and_then(|number| self.at_least_one(number, MAX_SESSIONS, &path.key(key)))
        };
        let concurrent_runs = number(*concurrent_runs, "concurrent_runs");
        let concurrent_calls = number(*concurrent_calls, "concurrent_calls");
        let sessions = number(*sessions, "sessions");
        let fuel = fuel_per_minute.as_ref().map(|fuel| count(fuel, MAX_FUEL_PER_MINUTE));
        let fuel_path = path.key("fuel_per_minute");
        let fuel_per_minute = fuel.and_then(|fuel| self.findings.check(&fuel_path, fuel));
        QuotaLimits { concurrent_runs, concurrent_calls, sessions, fuel_per_minute }
    }

    fn tokens(
        &mut self,
        written: &IndexMap<String, WrittenToken>,
        path: &KeyPath,
    ) -> Vec<StaticToken> {
        let mut tokens: Vec<StaticToken> = Vec::new();
        for (name, written) in written {
            let path = path.key(name);
            let Some(token) = self.token(name, written, &path) else { continue };
            if let Some(other) = tokens.iter().find(|other| other.digest == token.digest) {
                let cause = format!("it is the same token as that of `{}`", other.name);
                let way_out =
                    "give everybody a token of their own: `openssl rand -hex 32` makes one";
                self.findings.problem_with(&path, cause, way_out);
            }
            tokens.push(token);
        }
        tokens
    }

    fn token(&mut self, name: &str, written: &WrittenToken, path: &KeyPath) -> Option<StaticToken> {
        let WrittenToken { token, sha256, caller, profiles, quotas } = written;
        let digest = match (token, sha256) {
            (Some(token), None) => self.plain_token(token, &path.key("token")),
            (None, Some(hex)) => {
                let digest = TokenDigest::parse(hex);
                digest.or_else(|| {
                    let way_out = "`printf %s TOKEN | sha256sum` prints it";
                    let cause = "this is no SHA-256 in hexadecimal: it has 64 digits";
                    self.findings.problem_with(&path.key("sha256"), cause, way_out);
                    None
                })
            }
            (Some(_), Some(_)) => {
                let way_out = "write either `token` or `sha256`";
                self.findings.problem_with(
                    path,
                    "it has both a token and the SHA-256 of one",
                    way_out,
                );
                None
            }
            (None, None) => {
                if !self.findings.is_faulty(path) {
                    let way_out = "write token = \"${NAME_OF_A_VARIABLE}\" or sha256 = \"…\"";
                    self.findings.problem_with(path, "it has no token", way_out);
                }
                None
            }
        };
        let (caller, caller_path) = match caller {
            Some(caller) => (caller.as_str(), path.key("caller")),
            None => (name, path.clone()),
        };
        if !is_caller(caller) {
            let cause = "a caller's name has 1 to 200 characters, none of them a space";
            self.findings.problem(&caller_path, cause);
        }
        let profiles_path = path.key("profiles");
        for (nth, profile) in profiles.iter().flatten().enumerate() {
            if !self.profiles.contains(&profile.as_str()) {
                let cause = format!("there is no profile {profile:?}");
                let way_out = suggestion(profile, self.profiles.iter().copied());
                self.findings.problem_with(&profiles_path.index(nth), cause, way_out);
            }
        }
        let quotas = self.quotas(quotas, &path.key("quotas"));
        Some(StaticToken {
            name: name.to_owned(),
            digest: digest?,
            caller: Arc::from(caller),
            profiles: profiles.clone(),
            quotas,
        })
    }

    fn plain_token(&mut self, template: &Template, path: &KeyPath) -> Option<TokenDigest> {
        let token = self.text(template, path)?;
        let way_out = "`openssl rand -hex 32` makes one";
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let cause = "it has characters that no token has in a header";
            self.findings.problem_with(path, cause, way_out);
            return None;
        }
        if token.len() < MIN_TOKEN_CHARS {
            let cause =
                format!("a token of fewer than {MIN_TOKEN_CHARS} characters can be guessed");
            self.findings.problem_with(path, cause, way_out);
            return None;
        }
        Some(TokenDigest::of(&token))
    }

    fn jwt(&mut self, written: &WrittenJwt, public: bool, path: &KeyPath) -> Option<JwtSettings> {
        let WrittenJwt {
            issuer,
            audience,
            jwks_url,
            algorithms,
            caller_claim,
            profiles_claim,
            scopes,
            leeway,
        } = written;
        let issuer = match issuer {
            Some(template) => {
                let path = path.key("issuer");
                let issuer = self.text(template, &path);
                // Without an address of keys it has to be one itself.
                issuer.filter(|issuer| jwks_url.is_some() || self.is_key_url(issuer, &path))
            }
            None => {
                if !self.findings.is_faulty(path) {
                    let way_out = "write issuer = \"https://…\", as it stands in the claim `iss`";
                    self.findings.problem_with(path, "it names no issuer", way_out);
                }
                None
            }
        };
        let audience_path = path.key("audience");
        let written_audiences = audience.iter().flat_map(|audience| &audience.0);
        let audiences: Vec<String> =
            written_audiences.filter_map(|text| self.text(text, &audience_path)).collect();
        if audiences.is_empty() && !public && !self.findings.is_faulty(&audience_path) {
            let cause = "it does not say for whom a token has to be, so one for anybody would do";
            let way_out = "write `audience`, or `public_url` of [server]";
            self.findings.problem_with(path, cause, way_out);
        }
        let url_path = path.key("jwks_url");
        let jwks_url = jwks_url.as_ref().and_then(|template| self.text(template, &url_path));
        let jwks_url = jwks_url.filter(|url| self.is_key_url(url, &url_path));
        let algorithms = self.algorithms(algorithms.as_deref(), &path.key("algorithms"));
        let defaults = JwtSettings::default();
        let mut allowed = defaults.leeway;
        let leeway_path = path.key("leeway");
        self.time(leeway, &leeway_path, &mut allowed);
        if allowed > MAX_LEEWAY {
            self.findings.problem(&leeway_path, "the greatest value is 10m");
        }
        Some(JwtSettings {
            issuer: issuer?,
            audiences,
            jwks_url,
            algorithms,
            caller_claim: caller_claim.clone().unwrap_or(defaults.caller_claim),
            profiles_claim: profiles_claim.clone(),
            scopes: scopes.clone(),
            leeway: allowed,
        })
    }

    /// Whether keys can be fetched from there. Over plain HTTP anybody on the way could replace them,
    /// which some networks rule out.
    fn is_key_url(&mut self, text: &str, path: &KeyPath) -> bool {
        let url = Url::parse(text).ok().filter(|url| url.has_host());
        match url {
            Some(url) if url.scheme() == "https" => true,
            Some(url) if url.scheme() == "http" => {
                let host = url.host_str().unwrap_or_default();
                if !matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
                    let text = "whoever is on the way can replace keys that come over plain HTTP, and \
                                sign tokens: use https";
                    self.findings.notice(path, text);
                }
                true
            }
            _ => {
                let cause = "this is no URL that begins with https://";
                let way_out = "write for example https://login.example.org";
                self.findings.problem_with(path, cause, way_out);
                false
            }
        }
    }

    fn algorithms(&mut self, written: Option<&[String]>, path: &KeyPath) -> Vec<String> {
        let known = JwtSettings::ALGORITHMS;
        let Some(written) = written else { return JwtSettings::default().algorithms };
        for (nth, name) in written.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let cause = format!("{name:?} is no algorithm that can be accepted");
                let way_out = format!("there are {}", listed(known));
                self.findings.problem_with(&path.index(nth), cause, way_out);
            }
        }
        if written.is_empty() {
            self.findings.problem(path, "with no algorithm no token could be accepted");
        }
        written.to_vec()
    }
}

/// An address and a port. `localhost` is written where people know no address.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let address = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    address.parse().ok()
}
