//! Carries rmcp's OAuth requests where the settings name a proxy or authorities of their own. Without
//! them rmcp's own client does, which also refuses addresses that a stranger's metadata must not
//! make us visit.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use reqwest::{Client, Url, redirect};
use rmcp::transport::auth::{
    AuthorizationManager, OAuthHttpClient, OAuthHttpClientError, OAuthHttpClientFuture,
    OAuthHttpRedirectPolicy, OAuthHttpRequest,
};

use super::cause;
use crate::upstream::error::Cause;
use crate::upstream::settings::HttpSettings;
use crate::upstream::transport::http::client::{builder, install_crypto};

/// For one request to an authorization server.
const REQUEST_TIME: Duration = Duration::from_secs(15);

/// The most that is read of an answer.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// rmcp's side of a conversation about one server.
pub(super) async fn manager(http: &HttpSettings) -> Result<AuthorizationManager, Cause> {
    install_crypto();
    let bad = |error: &dyn std::error::Error| cause("OAuth cannot be set up", error);
    let mut url = Url::parse(&http.url).map_err(|error| bad(&error))?;
    // Both fail only for URLs that cannot have a user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    let manager = if http.proxy.is_some() || http.ca_file.is_some() {
        let client = |policy: redirect::Policy| -> Result<Client, Cause> {
            let (builder, _) = builder(http, &url)?;
            let built = builder.redirect(policy).timeout(REQUEST_TIME).build();
            built.map_err(|error| bad(&error.without_url()))
        };
        let (follows, stays) =
            (client(redirect::Policy::limited(4))?, client(redirect::Policy::none())?);
        let carrier = Arc::new(Carrier { follows, stays });
        AuthorizationManager::new_with_oauth_http_client(url, carrier).await
    } else {
        AuthorizationManager::new(url).await
    };
    manager.map_err(|error| bad(&error))
}

struct Carrier {
    follows: Client,
    stays: Client,
}

impl OAuthHttpClient for Carrier {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        let client = match request.redirect_policy {
            OAuthHttpRedirectPolicy::Follow => &self.follows,
            _ => &self.stays,
        };
        async move {
            let boxed = |error: reqwest::Error| Box::new(error) as OAuthHttpClientError;
            let request = reqwest::Request::try_from(request.request).map_err(boxed)?;
            let mut response = client.execute(request).await.map_err(boxed)?;
            let mut answer = http::Response::builder().status(response.status());
            for (name, value) in response.headers() {
                answer = answer.header(name, value);
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(boxed)? {
                if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                    return Err("the answer is too large".into());
                }
                body.extend_from_slice(&chunk);
            }
            answer.body(body).map_err(|error| Box::new(error) as OAuthHttpClientError)
        }
        .boxed()
    }
}
