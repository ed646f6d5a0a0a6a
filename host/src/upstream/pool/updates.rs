//! Who is told when a resource changes.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::server::Used;
use crate::upstream::connection::{Fault, Patience};

/// Changes that wait for their reader. Further ones are dropped: whoever is so far behind has to
/// read the resource anyway.
const QUEUE: usize = 64;

/// How often a quiet connection is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The changes of one resource, as its server tells them. The connection stays open meanwhile;
/// dropping this tells the server that nobody listens any more.
pub struct ResourceUpdates {
    uri: String,
    updated: mpsc::Receiver<String>,
    connection: Option<Used>,
    listening: Option<AbortOnDropHandle<()>>,
}

impl ResourceUpdates {
    pub(super) async fn begin(
        connection: Used,
        uri: &str,
        patience: Patience,
    ) -> Result<Self, Fault> {
        let (to, updated) = mpsc::channel(QUEUE);
        let listening = connection.get().updates(uri, to, patience).await?;
        Ok(Self { uri: uri.to_owned(), updated, connection: Some(connection), listening })
    }

    /// Whether nothing more can come.
    fn is_over(&self) -> bool {
        let lost = self.connection.as_ref().is_none_or(|used| used.get().is_lost());
        lost || self.listening.as_ref().is_some_and(AbortOnDropHandle::is_finished)
    }

    /// The URI of what changed: the resource's, or that of a part of it. Nothing once the connection
    /// is gone, or the server does not tell; then the resource may have changed unseen, and can be listened to anew.
    ///
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            match tokio::time::timeout(LOOK, self.updated.recv()).await {
                Ok(uri) => return uri,
                Err(_) if self.is_over() => return None,
                Err(_) => {}
            }
        }
    }
}

impl Drop for ResourceUpdates {
    fn drop(&mut self) {
        self.updated.close();
        if let (Some(connection), Ok(runtime)) =
            (self.connection.take(), tokio::runtime::Handle::try_current())
        {
            let uri = std::mem::take(&mut self.uri);
            runtime.spawn(async move { connection.get().stop_updates(&uri).await });
        }
    }
}
