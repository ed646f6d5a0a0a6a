//! Who may come in over HTTP, as the operator decided it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::digest::TokenDigest;

/// Callers and what each may take (`[server]`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSettings {
    /// By which URL clients reach us from outside, where that is another than the one that they name
    /// in `Host`: behind a reverse proxy. Without a slash at its end.
    pub public_url: Option<String>,
    /// Tokens that the operator handed out, by the names that they have in the configuration.
    pub tokens: Vec<StaticToken>,
    /// Tokens of an authorization server.
    pub jwt: Option<JwtSettings>,
    /// Where `${caller.token}` comes from.
    pub caller_token: CallerToken,
    /// What every caller may take who has no quotas of their own.
    pub quotas: QuotaLimits,
}

impl AccessSettings {
    /// Whether anybody has to say who they are.
    pub fn asks_for_credentials(&self) -> bool {
        !self.tokens.is_empty() || self.jwt.is_some()
    }

    /// The quotas of callers that differ from everybody's.
    pub(in crate::server) fn quotas_by_caller(&self) -> HashMap<Arc<str>, QuotaLimits> {
        let mut all: HashMap<Arc<str>, QuotaLimits> = HashMap::new();
        for StaticToken { caller, quotas, .. } in &self.tokens {
            // A caller who has two tokens, while one replaces the other, is one caller all the same.
            let known = all.entry(Arc::clone(caller)).or_default();
            *known = known.or(*quotas);
        }
        all
    }
}

/// A token that the operator handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticToken {
    /// Its name in the configuration.
    pub name: String,
    /// What is kept of it.
    pub digest: TokenDigest,
    /// Who comes with it.
    pub caller: Arc<str>,
    /// The profiles that it opens; all if absent.
    pub profiles: Option<Vec<String>>,
    /// What its caller may take.
    pub quotas: QuotaLimits,
}

/// Which tokens of which authorization server are good here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSettings {
    /// Who issues them: the claim `iss`, to the letter.
    pub issuer: String,
    /// For whom they have to be issued: one of these has to be in `aud`. If there is none, the
    /// public URL of the endpoint itself.
    pub audiences: Vec<String>,
    /// Where its keys are; found by the issuer's metadata if absent.
    pub jwks_url: Option<String>,
    /// The algorithms that are accepted, as a token's header names them.
    pub algorithms: Vec<String>,
    /// The claim that says who the caller is.
    pub caller_claim: String,
    /// The claim that lists the profiles that are open to the caller; all are if absent.
    pub profiles_claim: Option<String>,
    /// Scopes that a token must have, all of them.
    pub scopes: Vec<String>,
    /// By how much clocks may differ.
    pub leeway: Duration,
}

impl Default for JwtSettings {
    /// Of nobody: without an issuer no token is accepted.
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audiences: Vec::new(),
            jwks_url: None,
            algorithms: Self::ALGORITHMS.map(str::to_owned).to_vec(),
            caller_claim: "sub".to_owned(),
            profiles_claim: None,
            scopes: Vec::new(),
            leeway: Duration::from_secs(60),
        }
    }
}

impl JwtSettings {
    /// What can be accepted: signatures that somebody who knows our keys cannot make.
    pub const ALGORITHMS: [&str; 9] =
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
}

/// Where `${caller.token}` comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerToken {
    /// From a header of its own, [`CallerToken::HEADER`]: the token that the upstream itself issued.
    #[default]
    Header,
    /// The token with which the caller came to us. MCP forbids to hand on what was issued for us, so
    /// this is for operators whose upstreams are audiences of the same token.
    Bearer,
}

impl CallerToken {
    /// Carries a caller's token for upstreams.
    pub const HEADER: &str = "x-toolcell-upstream-token";
}

/// What one caller may take. What is absent is not limited but by the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Runs at once.
    pub concurrent_runs: Option<u32>,
    /// Calls of our tools at once, runs included.
    pub concurrent_calls: Option<u32>,
    /// Sessions of Python that are kept.
    pub sessions: Option<u32>,
    /// Fuel within any minute.
    pub fuel_per_minute: Option<u64>,
}

impl QuotaLimits {
    /// These, with another's where these say nothing.
    pub fn or(self, other: Self) -> Self {
        Self {
            concurrent_runs: self.concurrent_runs.or(other.concurrent_runs),
            concurrent_calls: self.concurrent_calls.or(other.concurrent_calls),
            sessions: self.sessions.or(other.sessions),
            fuel_per_minute: self.fuel_per_minute.or(other.fuel_per_minute),
        }
    }
}
