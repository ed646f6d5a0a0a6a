//! What a server is asked besides its tools: lists of what else it offers, and questions that may be
//! asked again.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::scope::Scope;
use super::server::{Server, when_listing};
use super::updates::ResourceUpdates;
use crate::offers::Offers;
use crate::tool::{Json, Phase};
use crate::upstream::client::CallContext;
use crate::upstream::connection::{self, Listable, Patience, Question};
use crate::upstream::error::UpstreamError;

impl Server {
    /// The resources, or templates, or prompts.
    pub(super) async fn offers<T: Listable>(
        self: &Arc<Self>,
        scope: &Scope,
    ) -> Result<Arc<Offers<T>>, UpstreamError> {
        let line = self.line(&scope.caller)?;
        self.with_retries(&line, None, self.deadline_of_list(), || async {
            let held = Arc::new(self.connection(&line, scope).await?);
            let worker = Arc::clone(&held);
            // In a worker, as tools are.
            let listing = tokio::spawn(async move { worker.get().offers::<T>().await });
            let listed =
                AbortOnDropHandle::new(listing).await.unwrap_or_else(|_| Err(self.closed()));
            listed.map_err(|error| when_listing(&held, error))
        })
        .await
    }

    /// One question other than a call. It may be asked again.
    pub(super) async fn put(
        self: &Arc<Self>,
        scope: &Scope,
        question: &Question<'_>,
        context: &CallContext,
        timeout: Duration,
    ) -> Result<Json, UpstreamError> {
        let line = self.line(&scope.caller)?;
        let deadline = connection::deadline_after(timeout);
        self.with_retries(&line, None, deadline, || async {
            let connection = self.connection_by(&line, scope, deadline, timeout).await?;
            let patience = Patience { deadline, total: timeout, phase: Phase::Call };
            connection.get().put(question, context, patience).await
        })
        .await
    }

    /// Has a resource's changes told, over a connection that lives as long as somebody listens.
    pub(super) async fn updates(
        self: &Arc<Self>,
        scope: &Scope,
        uri: &str,
        timeout: Duration,
    ) -> Result<ResourceUpdates, UpstreamError> {
        let line = self.line(&scope.caller)?;
        let deadline = connection::deadline_after(timeout);
        self.with_retries(&line, None, deadline, || async {
            let connection = self.connection_by(&line, scope, deadline, timeout).await?;
            let patience = Patience { deadline, total: timeout, phase: Phase::Call };
            ResourceUpdates::begin(connection, uri, patience).await
        })
        .await
    }
}
