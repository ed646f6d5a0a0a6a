//! The question whether a server is there, asked when nobody calls it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Blame, Line, Server};
use crate::tool::Phase;
use crate::upstream::caller::Caller;
use crate::upstream::connection;
use crate::upstream::error::UpstreamError;
use crate::upstream::health::Observation;
use crate::upstream::settings::{Lifecycle, Secret, TransportSettings, UpstreamSettings};

impl Server {
    /// Asks the server whether it is there, and takes note of what it says. One that wants the
    /// caller's own credentials is asked without any: over HTTP, that it refuses us shows that it is
    /// there. Gives nothing where that is no way: a process needs the caller's values to start.
    ///
    /// Cancel-safe: what was opened for the question is closed.
    pub(in crate::upstream::pool) async fn probe(
        self: &Arc<Self>,
        within: Duration,
    ) -> Option<Result<(), UpstreamError>> {
        let began = Instant::now();
        let line = self.line(&Caller::anonymous()).ok();
        let outcome = match &line {
            Some(line) => tokio::time::timeout(within, self.ask(line)).await,
            None => {
                let settings = without_caller(&self.settings)?;
                tokio::time::timeout(within, self.reach(&settings)).await
            }
        };
        let outcome = outcome.unwrap_or_else(|_| {
            let server = self.settings.name.clone();
            Err(UpstreamError::TimedOut { server, phase: Phase::Probe, after: within, hint: None })
        });
        match &outcome {
            Ok(()) => {
                if let Some(line) = &line {
                    super::lock(&line.breaker).succeed();
                }
                self.health.observe(&self.settings.name, Observation::Answered);
            }
            Err(error) => {
                tracing::debug!(server = %self.settings.name, %error, "a probe failed");
                if let (Some(line), true) = (&line, Blame::of(error) != Blame::Nobody) {
                    let (now, text) = (Instant::now(), error.to_string());
                    super::lock(&line.breaker).fail(&self.settings.breaker, began, now, &text);
                }
                if says_something(error) {
                    let cause = error.to_string().into();
                    self.health.observe(&self.settings.name, Observation::Failed(cause));
                }
            }
        }
        Some(outcome)
    }

    /// Over the connection that calls use, where there is one for all of them.
    async fn ask(self: &Arc<Self>, line: &Line) -> Result<(), UpstreamError> {
        if self.settings.lifecycle == Lifecycle::Pooled {
            return match line.link.lease().await?.ping().await {
                // A server that was restarted forgot our session, or a connection was lost while
                // nobody used it. A new one tells whether the server is there.
                Err(UpstreamError::Unavailable { phase: Phase::Probe, .. }) => {
                    line.link.lease().await?.ping().await
                }
                outcome => outcome,
            };
        }
        let open = Arc::new(line.link.open_new(self).await?);
        let answered = open.connection.ping().await;
        self.close_aside(open);
        answered
    }

    /// On a connection of its own, without what the caller would give.
    async fn reach(self: &Arc<Self>, settings: &UpstreamSettings) -> Result<(), UpstreamError> {
        let _place = self.place().await?;
        match connection::open(settings, self.known(), self.client(), &|_| {}).await {
            Ok(connection) => {
                connection.close().await;
                Ok(())
            }
            Err(UpstreamError::Unauthorized { .. } | UpstreamError::Rejected { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether a failed probe says something about the server. That it refuses credentials which are
/// the same for everybody does; that all places are taken, or that we are closing, does not.
fn says_something(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::Unauthorized { .. }) || Blame::of(error) != Blame::Nobody
}

/// The settings without what refers to the caller; nothing for a process.
fn without_caller(settings: &UpstreamSettings) -> Option<UpstreamSettings> {
    let TransportSettings::Http(http) = &settings.transport else { return None };
    let mut http = http.clone();
    http.headers.retain(|_, value| !Secret::refers_to_caller(value));
    Some(UpstreamSettings { transport: TransportSettings::Http(http), ..settings.clone() })
}
