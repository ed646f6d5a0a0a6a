//! What is remembered of one server: who we are to its authorization server, and what was granted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rmcp::transport::auth::StoredCredentials;
use serde::{Deserialize, Serialize};

use crate::upstream::settings::HttpSettings;

/// Renewed so long before its end; a tenth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(30);

/// One entry of the store. It has no `Debug`: most of it is secret.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) client: RegisteredClient,
    /// All the scopes that were ever asked for here.
    pub(super) requested: Vec<String>,
    /// Scopes that a server wanted in a call when nobody could be asked; for the next login.
    #[serde(default)]
    pub(super) wanted: Vec<String>,
    pub(super) credentials: StoredCredentials,
}

/// Who we are to an authorization server.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct RegisteredClient {
    pub(super) id: String,
    pub(super) secret: Option<String>,
    pub(super) redirect_uri: String,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    refresh_token: Option<String>,
    expires_in: Option<u64>,
}

impl Record {
    /// Under which name it is kept. Another client at the same server has other tokens. The
    /// authorization server's issuer is inside: a server has one at a time, and what came from
    /// another is never used.
    pub(super) fn key(http: &HttpSettings) -> String {
        let client = http
            .auth
            .as_ref()
            .and_then(|auth| auth.client_id.as_deref().or(auth.client_metadata_url.as_deref()));
        format!("{} {}", http.url, client.unwrap_or_default())
    }

    pub(super) fn issuer(&self) -> Option<&str> {
        self.credentials.issuer.as_deref()
    }

    /// The token for requests, if there is one.
    pub(super) fn access_token(&self) -> Option<String> {
        self.granted().map(|granted| granted.access_token)
    }

    pub(super) fn has_refresh_token(&self) -> bool {
        self.granted().is_some_and(|granted| granted.refresh_token.is_some())
    }

    /// The token response in its form on the wire.
    fn granted(&self) -> Option<Granted> {
        let response = serde_json::to_value(self.credentials.token_response.as_ref()?).ok()?;
        serde_json::from_value(response).ok()
    }

    /// Everything in it that must never be shown.
    pub(super) fn secrets(&self) -> Vec<String> {
        let (access, refresh) = match self.granted() {
            Some(granted) => (Some(granted.access_token), granted.refresh_token),
            None => (None, None),
        };
        [access, refresh, self.client.secret.clone()].into_iter().flatten().collect()
    }

    /// When the token should be replaced, if it says when it ends.
    pub(super) fn renew_at(&self) -> Option<SystemTime> {
        let life = Duration::from_secs(self.granted()?.expires_in?);
        let received = Duration::from_secs(self.credentials.token_received_at?);
        let margin = MARGIN.min(life / 10);
        UNIX_EPOCH.checked_add(received)?.checked_add(life.checked_sub(margin)?)
    }

    pub(super) fn is_old(&self) -> bool {
        self.renew_at().is_some_and(|at| at <= SystemTime::now())
    }

    /// Whether asking for these scopes can bring nothing new.
    pub(super) fn covers(&self, scopes: &[String]) -> bool {
        let granted = &self.credentials.granted_scopes;
        scopes.iter().all(|scope| self.requested.contains(scope) || granted.contains(scope))
    }
}
