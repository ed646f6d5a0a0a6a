//! A server that somebody keeps at hand: connected, and known to be there or not.

use std::sync::Arc;

use super::scope::Scope;
use super::server::{Server, Used};
use crate::upstream::about::About;
use crate::upstream::error::UpstreamError;
use crate::upstream::settings::Lifecycle;

/// A connection that is kept open for one user of it, whoever else uses it. Of a server whose
/// connections do not outlive a call only what it said about itself is kept.
pub struct Held {
    about: About,
    connection: Option<Used>,
}

impl Held {
    /// What the server says about itself.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Whether the connection is gone. A call opens another one, which can be held in its place.
    pub fn is_lost(&self) -> bool {
        self.connection.as_ref().is_some_and(|used| used.get().is_lost())
    }
}

impl Server {
    /// Connects, if nobody has, and keeps the connection.
    pub(super) async fn hold(self: &Arc<Self>, scope: &Scope) -> Result<Held, UpstreamError> {
        let line = self.line(&scope.caller)?;
        self.with_retries(&line, None, self.deadline_of_list(), || async {
            let used = self.connection(&line, scope).await?;
            let about = used.get().about();
            let keeps = self.settings().lifecycle == Lifecycle::Pooled;
            Ok(Held { about, connection: keeps.then_some(used) })
        })
        .await
    }
}
