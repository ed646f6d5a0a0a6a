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

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, header};
use serde_json::Value;

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

/// Decides who may come in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doorkeeper {
    settings: Arc<AccessSettings>,
    jwt: Option<Arc<JwtChecks>>,
}

impl Doorkeeper {
    /// Fetches nothing yet.
    pub(crate) fn new(settings: AccessSettings) -> Self {
        let jwt = settings.jwt.clone().map(|settings| Arc::new(JwtChecks::new(settings)));
        Self { settings: Arc::new(settings), jwt }
    }

    /// Whether anybody has to say who they are. Where nobody has to, only programs of this machine
    /// may come.
    pub(crate) fn asks_for_credentials(&self) -> bool {
        self.settings.asks_for_credentials()
    }

    /// What a client reads to learn where it gets a token (RFC 9728), about the endpoint at `url`.
    /// There is nothing to read where no authorization server issues tokens for us.
    pub(crate) fn protected_resource(&self, url: &str) -> Option<Value> {
        let jwt = self.settings.jwt.as_ref()?;
        Some(challenge::protected_resource(&self.settings, jwt, url))
    }

    /// Looks at a request's credentials. `profile` is the one that its path names.
    pub(crate) async fn admit(
        &self,
        headers: &HeaderMap,
        profile: Option<&str>,
    ) -> Result<Visitor, Refused> {
        let refused = |fault: Fault| {
            let refused = fault.refused(&self.settings, headers, profile);
            tracing::info!(target: "toolcell::audit", status = refused.status, profile,
                reason = %refused.message, "not let in");
            refused
        };
        let mut visitor = self.identify(headers, profile).await.map_err(refused)?;
        let wanted = profile.or(self.settings.default_profile.as_deref());
        if let Some(open) = &visitor.profiles
            && !wanted.is_some_and(|wanted| open.iter().any(|name| name == wanted))
        {
            return Err(refused(Fault::profile(&visitor, wanted)));
        }
        if visitor.caller.token.is_none() {
            visitor.caller.token = upstream_token(headers).map_err(refused)?;
        }
        Ok(visitor)
    }

    /// Who it is, by `Authorization` alone.
    async fn identify(&self, headers: &HeaderMap, profile: Option<&str>) -> Result<Visitor, Fault> {
        if !self.asks_for_credentials() {
            return Ok(Visitor::default());
        }
        let token = bearer(headers)?;
        let mut visitor = match (self.holder(token), &self.jwt) {
            (Some(holder), _) => Visitor {
                caller: Caller { id: Some(Arc::clone(&holder.caller)), token: None },
                profiles: holder.profiles.clone(),
            },
            (None, Some(jwt)) if jwt::has_shape(token) => {
                let endpoint = challenge::public_endpoint(&self.settings, profile);
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
