//! The work on one request of a modern client, which may go on over several requests.

use std::sync::Arc;

use indexmap::IndexMap;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::GATHERING;
use super::board::Board;
use super::relay::Relay;
use crate::server::mcp::request::{Exchange, Outcome, Peer, Request};
use crate::server::mcp::wire::RpcError;
use crate::tool::Json;

/// Work under way. Dropping it cancels it, and with it its calls upstream.
pub(in crate::server::mcp) struct Work {
    board: Arc<Board>,
    relay: Arc<Relay>,
    worker: AbortOnDropHandle<Outcome>,
    _cancel: DropGuard,
}

/// To what a request's waiting for the work came.
pub(super) enum Round {
    Done(Outcome),
    /// The client has to answer first.
    Asks(Box<Work>),
}

impl Work {
    /// Begins the work of a request. It gets an exchange and a cancellation of its own, because it may
    /// outlive the request's.
    pub(super) fn begin<W, F>(request: Request, given: IndexMap<String, Json>, work: W) -> Self
    where
        W: FnOnce(Request) -> F,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let board = Arc::new(Board::new(request.client.capabilities, given));
        let relay = Arc::new(Relay::default());
        relay.attach(&request);
        // Nothing is ever sent to it but by the relay.
        let peer = Peer::new(mpsc::channel(1).0);
        let cancel = peer.gone.clone();
        let request = Request {
            exchange: Exchange::relayed(peer, Arc::clone(&relay)),
            handler: Arc::clone(&board) as _,
            cancel: cancel.child_token(),
            ..request
        };
        let worker = AbortOnDropHandle::new(tokio::spawn(work(request)));
        Self { board, relay, worker, _cancel: cancel.drop_guard() }
    }

    /// The client came back with this request.
    pub(super) fn resume(&self, request: &Request, answers: IndexMap<String, Json>) {
        self.relay.attach(request);
        self.board.take(answers);
        self.board.set_capabilities(request.client.capabilities);
    }

    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    /// Waits until it is done or has something to ask; `None` if the request is cancelled before.
    pub(super) async fn round(mut self, cancel: &CancellationToken) -> Option<Round> {
        loop {
            let gathered = async {
                self.board.asks().await;
                tokio::time::sleep(GATHERING).await;
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return None,
                ended = &mut self.worker => {
                    let broken = |_| {
                        let words = "the work on this request failed; that is toolcell's fault";
                        Err(RpcError::new(RpcError::INTERNAL, words))
                    };
                    return Some(Round::Done(ended.unwrap_or_else(broken)));
                }
                () = gathered => {}
            }
            // Whoever asked may have given up meanwhile.
            if !self.board.is_empty() {
                self.relay.detach();
                return Some(Round::Asks(Box::new(self)));
            }
        }
    }
}
