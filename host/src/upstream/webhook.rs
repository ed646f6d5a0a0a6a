//! Posting JSON to a URL that is itself a credential, as those of chat programs are.

use std::time::Duration;

use reqwest::{Client, Url, redirect};
use serde_json::Value;

use crate::upstream::settings::Secret;

/// A place that is told of things by HTTP.
pub(crate) struct Webhook {
    client: Client,
    url: Url,
}

/// Why a post did not arrive. The URL is not in the text.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct PostError {
    text: String,
    /// Whether it may go better later.
    pub(crate) is_passing: bool,
}

impl Webhook {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub(crate) fn new(url: &Secret) -> Result<Self, PostError> {
        let lasting = |text: String| PostError { text, is_passing: false };
        let url = Url::parse(&url.expose())
            .map_err(|error| lasting(format!("the webhook's URL cannot be read: {error}")))?;
        // By ring, unless somebody has chosen something else before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            // The body, and a token in the path, are for the one who was named.
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("toolcell/", env!("CARGO_PKG_VERSION")));
        if matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            // A proxy's loopback is another machine's.
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|error| lasting(format!("the HTTP client cannot be made: {error}")))?;
        Ok(Self { client, url })
    }

    /// Scheme, host and port: the rest may be the credential.
    pub(crate) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Posts once, within a time for everything. Cancel-safe.
    ///
    /// # Errors
    /// No answer came, or one that is not a success.
    pub(crate) async fn post(&self, body: &Value, within: Duration) -> Result<(), PostError> {
        let post = self.client.post(self.url.clone()).timeout(within).json(body);
        let answer = post.send().await.map_err(|error| {
            let text = match error.is_timeout() {
                true => format!("it did not answer within {} ms", within.as_millis()),
                false => chain(&error.without_url()),
            };
            PostError { text, is_passing: true }
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let is_passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
        Err(PostError { text: format!("it answered with HTTP status {status}"), is_passing })
    }
}

/// An error and its causes, outermost first.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
