//! The steps that take a conversation with an authorization server: find it, then refresh a token,
//! exchange the client's own credentials, or have a person agree. Each gives a whole [`Record`].

use std::time::Duration;

use reqwest::Url;
use rmcp::transport::auth::{
    AuthError, AuthorizationCallback, AuthorizationManager, AuthorizationMetadata,
    ClientCredentialsConfig, CredentialStore, InMemoryCredentialStore, OAuthClientConfig,
};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::record::{Record, RegisteredClient};
use super::{AuthorizationPrompt, cause, client, too_slow};
use crate::ids::UpstreamName;
use crate::upstream::error::Cause;
use crate::upstream::settings::{AuthSettings, HttpSettings};

/// For a person to agree.
const PROMPT_TIME: Duration = Duration::from_secs(5 * 60);

/// For finding the authorization server, in up to a dozen requests.
const DISCOVERY_TIME: Duration = Duration::from_secs(25);

/// Who we say we are where we register.
const CLIENT_NAME: &str = "toolcell";

/// A conversation with the authorization server of one MCP server.
pub(super) struct Conversation {
    manager: AuthorizationManager,
    metadata: AuthorizationMetadata,
    /// Whether the server published anything about OAuth.
    pub(super) is_published: bool,
    /// Where rmcp puts what it is granted; from there it goes into the store.
    granted: InMemoryCredentialStore,
    auth: AuthSettings,
    resource: String,
}

/// Why a token could not be refreshed.
pub(super) enum RefreshFault {
    /// What we have is worth nothing any more.
    Rejected,
    /// It may work another time.
    Failed(Cause),
}

impl Conversation {
    /// Finds the authorization server. `challenge` is the `WWW-Authenticate` of a refusal.
    pub(super) async fn begin(http: &HttpSettings, challenge: Option<&str>) -> Result<Self, Cause> {
        let mut manager = client::manager(http).await?;
        let granted = InMemoryCredentialStore::new();
        manager.set_credential_store(granted.clone());
        let finding = manager.resolve_metadata_from_challenge(challenge);
        let found = tokio::time::timeout(DISCOVERY_TIME, finding).await;
        let found = found.map_err(|_| too_slow(DISCOVERY_TIME))?.map_err(|error| {
            cause("what it publishes about its authorization server cannot be used", &error)
        })?;
        manager.set_metadata(found.metadata.clone());
        Ok(Self {
            manager,
            metadata: found.metadata,
            is_published: found.source.is_discovered(),
            granted,
            auth: http.auth.clone().unwrap_or_default(),
            resource: http.url.clone(),
        })
    }

    /// Who the authorization server says it is.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.metadata.issuer.as_deref()
    }

    /// Whether a record comes from this authorization server. What came from another must not be
    /// shown to this one.
    pub(super) fn knows(&self, record: &Record) -> bool {
        record.issuer() == self.issuer()
    }

    /// Spends the refresh token.
    pub(super) async fn refresh(mut self, record: &Record) -> Result<Record, RefreshFault> {
        let failed = |error: &AuthError| {
            RefreshFault::Failed(cause("its token could not be renewed", error))
        };
        self.configure(&record.client).map_err(RefreshFault::Failed)?;
        let put = self.granted.save(record.credentials.clone()).await;
        put.map_err(|error| failed(&error))?;
        // rmcp's log lines tell too much for a log.
        let refreshed = self.manager.refresh_token().with_subscriber(Dispatch::none()).await;
        match refreshed {
            Ok(_) => {
                let (client, requested) = (record.client.clone(), record.requested.clone());
                self.record(client, requested).await.map_err(RefreshFault::Failed)
            }
            Err(AuthError::TokenRefreshRejected(_) | AuthError::AuthorizationRequired) => {
                Err(RefreshFault::Rejected)
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// Exchanges the client's own id and secret.
    pub(super) async fn client_credentials(mut self, more: &[String]) -> Result<Record, Cause> {
        let (Some(id), Some(secret)) = (self.auth.client_id.clone(), &self.auth.client_secret)
        else {
            return Err(Cause::new(
                "the grant client_credentials needs client_id and client_secret in its settings",
            ));
        };
        let secret = secret.expose().into_owned();
        let scopes = self.scopes(None, more).await;
        let resource = Some(self.resource.clone());
        let config = ClientCredentialsConfig::ClientSecret {
            client_id: id.clone(),
            client_secret: secret.clone(),
            scopes: scopes.clone(),
            resource,
        };
        let refused = |error: AuthError| cause("its authorization server gave no token", &error);
        self.manager.validate_client_credentials_metadata(&config).map_err(refused)?;
        self.manager.configure_client_credentials(&config).map_err(refused)?;
        let exchange = self.manager.exchange_client_credentials(&config);
        exchange.with_subscriber(Dispatch::none()).await.map_err(refused)?;
        let client = RegisteredClient { id, secret: Some(secret), redirect_uri: String::new() };
        self.record(client, scopes).await
    }

    /// Has a person agree. `known` is what was granted here before, `more` what is needed beyond.
    pub(super) async fn authorize(
        mut self,
        server: &UpstreamName,
        prompt: &dyn AuthorizationPrompt,
        known: Option<&Record>,
        more: &[String],
    ) -> Result<Record, Cause> {
        let known = known.filter(|record| self.knows(record));
        let scopes = self.scopes(known, more).await;
        let client = self.client(prompt.redirect_uri(), known, &scopes).await?;
        self.configure(&client)?;
        let wanted: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let url = self.manager.get_authorization_url(&wanted).await;
        let url = url.map_err(|error| cause("its authorization server cannot be used", &error))?;
        let answer = tokio::time::timeout(PROMPT_TIME, prompt.authorize(server, &url)).await;
        let back = match answer {
            Ok(Ok(back)) => back,
            Ok(Err(error)) => return Err(cause("nobody agreed", &error)),
            Err(_) => {
                let minutes = PROMPT_TIME.as_secs() / 60;
                return Err(Cause::new(format!("nobody agreed within {minutes} minutes")));
            }
        };
        if let Some(error) = refusal_in(&back) {
            return Err(Cause::new(format!("its authorization server refused: {error}")));
        }
        let refused = |error: AuthError| match error {
            AuthError::InternalError(_) => {
                Cause::new("the browser came back with a state that is not ours")
            }
            error => cause("its authorization server's answer is refused", &error),
        };
        let callback = AuthorizationCallback::from_redirect_url(&back).map_err(refused)?;
        let (code, state) = (&callback.code, &callback.csrf_token);
        let issuer = callback.issuer.as_deref();
        let exchange = self.manager.exchange_code_for_token_with_issuer(code, state, issuer);
        exchange.with_subscriber(Dispatch::none()).await.map_err(refused)?;
        self.record(client, scopes).await
    }

    /// What is asked for: the operator's choice, or the server's wish; what was asked for before, and
    /// what is needed now.
    async fn scopes(&self, known: Option<&Record>, more: &[String]) -> Vec<String> {
        let mut scopes = match self.auth.scopes.as_slice() {
            [] => self.manager.select_initial_scopes(&[]).await,
            chosen => chosen.to_vec(),
        };
        let before = known.into_iter().flat_map(|record| record.requested.iter());
        let wanted = known.into_iter().flat_map(|record| record.wanted.iter());
        for scope in before.chain(wanted).chain(more) {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        scopes
    }

    /// Who we are to this authorization server: registered by hand, by a document of our own, before,
    /// or now.
    async fn client(
        &mut self,
        redirect_uri: String,
        known: Option<&Record>,
        scopes: &[String],
    ) -> Result<RegisteredClient, Cause> {
        let documents =
            self.metadata.additional_fields.get("client_id_metadata_document_supported");
        let takes_documents = documents.and_then(serde_json::Value::as_bool).unwrap_or_default();
        if let Some(id) = &self.auth.client_id {
            let secret =
                self.auth.client_secret.as_ref().map(|secret| secret.expose().into_owned());
            return Ok(RegisteredClient { id: id.clone(), secret, redirect_uri });
        }
        if let Some(url) = self.auth.client_metadata_url.as_ref().filter(|_| takes_documents) {
            return Ok(RegisteredClient { id: url.clone(), secret: None, redirect_uri });
        }
        if let Some(record) = known.filter(|record| record.client.redirect_uri == redirect_uri) {
            return Ok(record.client.clone());
        }
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let registering = self.manager.register_client(CLIENT_NAME, &redirect_uri, &scopes);
        let registered = registering.with_subscriber(Dispatch::none()).await.map_err(|error| {
            let text = "its authorization server does not register us; \
                        get a client_id from it and put it into the server's auth settings";
            cause(text, &error)
        })?;
        let (id, secret) = (registered.client_id, registered.client_secret);
        Ok(RegisteredClient { id, secret, redirect_uri })
    }

    fn configure(&mut self, client: &RegisteredClient) -> Result<(), Cause> {
        // What was registered without a redirect never needs one; rmcp wants a URL all the same.
        let redirect_uri = match client.redirect_uri.as_str() {
            "" => self.resource.clone(),
            uri => uri.to_owned(),
        };
        let mut config = OAuthClientConfig::new(client.id.clone(), redirect_uri);
        if let Some(secret) = &client.secret {
            config = config.with_client_secret(secret.clone());
        }
        let configured = self.manager.configure_client(config);
        configured.map_err(|error| cause("its authorization server cannot be used", &error))
    }

    async fn record(
        &self,
        client: RegisteredClient,
        requested: Vec<String>,
    ) -> Result<Record, Cause> {
        let granted = self.granted.load().await.ok().flatten();
        let credentials = granted.ok_or_else(|| Cause::new("no token was granted"))?;
        Ok(Record { client, requested, wanted: Vec::new(), credentials })
    }
}

/// The error with which an authorization server sent the browser back.
fn refusal_in(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let value = |wanted: &str| {
        let found = url.query_pairs().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.chars().take(200).collect::<String>())
    };
    let error = value("error")?;
    Some(match value("error_description") {
        Some(description) => format!("{error}: {description}"),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        #[track_caller]
        fn check(url: &str, expected: Option<&str>) {
            assert_eq!(refusal_in(url).as_deref(), expected, "{url}");
        }
        check("http://127.0.0.1/callback?code=1&state=2", None);
        check("http://127.0.0.1/callback?error=access_denied", Some("access_denied"));
        check(
            "http://127.0.0.1/callback?error=access_denied&error_description=not+today",
            Some("access_denied: not today"),
        );
        check("nonsense", None);
    }
}
