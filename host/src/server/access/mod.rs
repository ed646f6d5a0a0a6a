//! Who comes in over HTTP: whom a request's credentials make it, and what such a one may have.
//!
//! A caller is who their bearer token says that they are: one that the operator handed out
//! (`[server.tokens]`), or one that an authorization server issued for us (`[server.jwt]`). Nothing
//! but `Authorization` is looked at; a token in a URL ends up in logs. Whatever is wrong with a token
//! is said without it.
//!
//! - `settings` is what the operator decided, `digest` what is kept of tokens.
//! - `jwt` checks tokens of an authorization server, by the keys that `keys` fetches.
//! - `challenge` is what a refused client is told, so that it can get a token.
//! - `quotas` bounds what each caller takes.

mod challenge;
mod digest;
mod jwt;
mod keys;
pub(crate) mod quotas;
mod settings;

use std::sync::{Arc, PoisonError, RwLock};

use axum::http::{HeaderMap, HeaderName, header};
use serde_json::Value;

pub(crate) use challenge::METADATA_PATH;
pub use digest::TokenDigest;
pub(crate) use jwt::is_caller;
pub use settings::{AccessSettings, CallerToken, JwtSettings, QuotaLimits, StaticToken};

use crate::upstream::Caller;
use crate::upstream::settings::Secret;
use challenge::Fault;
use jwt::JwtChecks;

/// Bytes of a token that are looked at. Those of authorization servers have two or three thousand.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// Characters of a caller's name: it goes into logs and headers.
pub(crate) const MAX_CALLER_CHARS: usize = 200;

/// Somebody who was let in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visitor {
    /// For whom calls are made.
    pub(crate) caller: Caller,
    /// The profiles that it may use; all if absent.
    pub(crate) profiles: Option<Vec<String>>,
}

/// Why somebody is not let in: an HTTP answer.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// 401, 403, or 503 while an authorization server cannot be reached.
    pub(crate) status: u16,
    /// `WWW-Authenticate`, for whoever may come back with a token.
    pub(crate) challenge: Option<String>,
    /// What is wrong, without the credential itself.
    pub(crate) message: String,
}

/// Decides who may come in.
#[derive(Debug, Default)]
pub(crate) struct Doorkeeper {
    /// Replaced as a whole when the configuration changes.
    rules: RwLock<Arc<Rules>>,
}

/// The rules in force at one time.
#[derive(Debug, Default)]
struct Rules {
    settings: AccessSettings,
    jwt: Option<Arc<JwtChecks>>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    /// The profile that its path names.
    pub(crate) named: Option<&'a str>,
    /// The profile that this comes to, if there is one.
    pub(crate) profile: Option<&'a str>,
}

impl Doorkeeper {
    /// Fetches nothing yet.
    pub(crate) fn new(settings: AccessSettings) -> Self {
        let jwt = settings.jwt.clone().map(|settings| Arc::new(JwtChecks::new(settings)));
        Self { rules: RwLock::new(Arc::new(Rules { settings, jwt })) }
    }

    /// Puts other rules in force: a token that was taken back opens nothing from now on. Where
    /// credentials were asked for that stays so, whatever is written now; `false` says that nothing
    /// changed for that reason.
    pub(crate) fn replace(&self, settings: AccessSettings) -> bool {
        let old = self.rules();
        if old.settings.asks_for_credentials() && !settings.asks_for_credentials() {
            return false;
        }
        let is_same = old.settings.jwt == settings.jwt;
        // With the keys that are known already.
        let jwt =
            old.jwt.clone().filter(|_| is_same).or_else(|| {
                settings.jwt.clone().map(|settings| Arc::new(JwtChecks::new(settings)))
            });
        let rules = Arc::new(Rules { settings, jwt });
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        true
    }

    /// Whether anybody has to say who they are. Where nobody has to, only programs of this machine
    /// may come.
    pub(crate) fn asks_for_credentials(&self) -> bool {
        self.rules().settings.asks_for_credentials()
    }

    /// What a client reads to learn where it gets a token (RFC 9728), about the endpoint at `url`.
    /// There is nothing to read where no authorization server issues tokens for us.
    pub(crate) fn protected_resource(&self, url: &str) -> Option<Value> {
        let rules = self.rules();
        let jwt = rules.settings.jwt.as_ref()?;
        Some(challenge::protected_resource(&rules.settings, jwt, url))
    }

    /// Looks at a request's credentials.
    pub(crate) async fn admit(
        &self,
        headers: &HeaderMap,
        asked: Asked<'_>,
    ) -> Result<Visitor, Refused> {
        let rules = self.rules();
        rules.admit(headers, asked).await.map_err(|fault| {
            let refused = fault.refused(&rules.settings, headers, asked.named);
            tracing::info!(target: "toolcell::audit", status = refused.status,
                profile = asked.profile, reason = %refused.message, "not let in");
            refused
        })
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Rules {
    async fn admit(&self, headers: &HeaderMap, asked: Asked<'_>) -> Result<Visitor, Fault> {
        let mut visitor = self.identify(headers, asked.named).await?;
        if let Some(open) = &visitor.profiles
            && !asked.profile.is_some_and(|profile| open.iter().any(|name| name == profile))
        {
            return Err(Fault::profile(open, asked.profile));
        }
        if visitor.caller.token.is_none() {
            visitor.caller.token = upstream_token(headers)?;
        }
        Ok(visitor)
    }

    /// Who it is, by `Authorization` alone.
    async fn identify(&self, headers: &HeaderMap, named: Option<&str>) -> Result<Visitor, Fault> {
        if !self.settings.asks_for_credentials() {
            return Ok(Visitor::default());
        }
        let token = bearer(headers)?;
        let mut visitor = match (self.holder(token), &self.jwt) {
            (Some(holder), _) => Visitor {
                caller: Caller { id: Some(Arc::clone(&holder.caller)), token: None },
                profiles: holder.profiles.clone(),
            },
            (None, Some(jwt)) if jwt::has_shape(token) => {
                let endpoint = challenge::public_endpoint(&self.settings, named);
                let visitor = jwt.check(token, endpoint.as_deref()).await?;
                self.refuse_borrowed_name(visitor)?
            }
            (None, _) => return Err(Fault::invalid("the token is not known here")),
        };
        if self.settings.caller_token == CallerToken::Bearer {
            visitor.caller.token = Some(Secret::new(token));
        }
        Ok(visitor)
    }

    /// The one of the operator's tokens that this is. All are compared, whichever it is.
    fn holder(&self, token: &str) -> Option<&StaticToken> {
        let digest = TokenDigest::of(token);
        let tokens = self.settings.tokens.iter();
        tokens.fold(
            None,
            |found, known| if known.digest.is_same(&digest) { Some(known) } else { found },
        )
    }

    /// Nobody becomes a caller of the operator's by a name that they chose for themselves elsewhere.
    fn refuse_borrowed_name(&self, visitor: Visitor) -> Result<Visitor, Fault> {
        let taken = |token: &StaticToken| visitor.caller.id.as_ref() == Some(&token.caller);
        if self.settings.tokens.iter().any(taken) {
            return Err(Fault::invalid("the caller that it names has a token of the operator's"));
        }
        Ok(visitor)
    }
}

/// The token of `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Result<&str, Fault> {
    let Some(value) = one(headers, &header::AUTHORIZATION)? else { return Err(Fault::Missing) };
    let Some((scheme, token)) = value.split_once(' ') else {
        return Err(Fault::invalid("`Authorization` has to be `Bearer` and a token"));
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Fault::invalid("`Authorization` has to be `Bearer` and a token"));
    }
    Ok(token.trim_matches(' '))
}

/// What the caller has for upstreams.
fn upstream_token(headers: &HeaderMap) -> Result<Option<Secret>, Fault> {
    let name = HeaderName::from_static(CallerToken::HEADER);
    Ok(one(headers, &name)?.filter(|value| !value.is_empty()).map(Secret::new))
}

/// A header that may stand once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Fault> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Fault::invalid(format!("`{name}` stands more than once")));
    }
    if value.len() > MAX_TOKEN_BYTES {
        return Err(Fault::invalid(format!("`{name}` may have {MAX_TOKEN_BYTES} bytes")));
    }
    let text = value
        .to_str()
        .map_err(|_| Fault::invalid(format!("`{name}` has characters that no token has")))?;
    Ok(Some(text.trim()))
}

#[cfg(test)]
mod tests;
