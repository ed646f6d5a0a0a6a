//! OAuth to servers that want it: where tokens come from, where they are kept, and when they are
//! renewed. The protocol itself is rmcp's; nothing here builds or parses an OAuth message.
//!
//! - [`Authorization`] is what a host has of all this: a [`TokenStore`], and perhaps somebody to ask
//!   ([`AuthorizationPrompt`]).
//! - `provider` hands the HTTP transports a token for each request, and a better one when a server
//!   refuses it. Many who wait for a better one share one renewal.
//! - `flow` are the steps that take a conversation with an authorization server.
//! - `store` keeps what was granted, encrypted by `sealed`; `record` is one entry of it.
//! - [`Loopback`] is where a browser comes back to.
//!
//! Nobody is ever asked in the middle of a call unless the embedder supplied a prompt: otherwise a
//! call that needs a person ends at once, and its error names `toolcell login`. Tokens belong to the
//! host's operator and are shared by its callers; a caller's own token is `${caller.token}` in a
//! header. A server with an `Authorization` header in its settings never gets here.

mod client;
mod flow;
mod loopback;
mod provider;
mod record;
mod sealed;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;

pub use loopback::Loopback;
pub(in crate::upstream) use provider::{Bearer, Challenge, Provider};
pub use store::{KeyPlace, TokenStore, TokenStoreError};

use crate::ids::UpstreamName;
use crate::upstream::error::Cause;
use crate::upstream::settings::HttpSettings;

/// Has a person agree that a server is used. Supplied by an embedder that has a person at hand.
#[async_trait]
pub trait AuthorizationPrompt: Send + Sync + 'static {
    /// The URL to which the authorization server sends the browser back. It must not change.
    fn redirect_uri(&self) -> String;

    /// Has the person visit `url` and agree. Gives the whole URL to which the browser came back; its
    /// `state`, `iss` and `error` are examined afterwards. Dropped when nobody waits any more.
    ///
    /// # Errors
    /// Nobody answered.
    async fn authorize(&self, server: &UpstreamName, url: &str) -> Result<String, PromptError>;
}

/// Nobody agreed, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PromptError(pub String);

/// What a host has for servers that want OAuth. Cheap to clone; clones share the tokens.
#[derive(Clone)]
pub struct Authorization {
    inner: Arc<Inner>,
}

struct Inner {
    store: TokenStore,
    prompt: Option<Arc<dyn AuthorizationPrompt>>,
    /// By the settings without their headers: what decides about tokens, and nothing else.
    providers: Mutex<HashMap<HttpSettings, Weak<Provider>>>,
}

impl Authorization {
    /// Keeps tokens in `store`. Where a person has to agree, `prompt` is asked, in the middle of a
    /// call if need be; without one such a call fails.
    pub fn new(store: TokenStore, prompt: Option<Arc<dyn AuthorizationPrompt>>) -> Self {
        Self { inner: Arc::new(Inner { store, prompt, providers: Mutex::default() }) }
    }

    /// Where the tokens for a server come from; `None` if its settings say how it is to be
    /// authorized.
    pub(in crate::upstream) fn provider(
        &self,
        server: &UpstreamName,
        http: &HttpSettings,
    ) -> Option<Arc<Provider>> {
        if http.headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")) {
            return None;
        }
        let key = HttpSettings { headers: BTreeMap::new(), ..http.clone() };
        let mut providers = self.inner.providers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = providers.get(&key).and_then(Weak::upgrade) {
            return Some(known);
        }
        providers.retain(|_, provider| provider.strong_count() > 0);
        let (store, prompt) = (self.inner.store.clone(), self.inner.prompt.clone());
        let provider = Provider::new(server.clone(), key.clone(), store, prompt);
        providers.insert(key, Arc::downgrade(&provider));
        Some(provider)
    }
}

impl Default for Authorization {
    /// Keeps tokens in memory, and has nobody to ask.
    fn default() -> Self {
        Self::new(TokenStore::in_memory(), None)
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").field("store", &self.inner.store).finish_non_exhaustive()
    }
}

/// The way out where a person has to agree.
fn login_hint(server: &UpstreamName) -> String {
    format!("run `toolcell login {server}`")
}

/// An authorization server that does not answer.
fn too_slow(after: Duration) -> Cause {
    Cause::new(format!("its authorization server did not answer within {} s", after.as_secs()))
}

/// A cause in words, from an error of rmcp's that may quote what a stranger sent.
fn cause(doing: &str, error: &dyn std::error::Error) -> Cause {
    let mut text = format!("{doing}: {error}");
    let mut next = error.source();
    while let Some(inner) = next {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        next = inner.source();
    }
    let short: String = text.chars().take(500).collect();
    Cause::new(short)
}
