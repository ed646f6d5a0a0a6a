//! Works on a client's requests while their answers are carried away, or nobody waits for them any
//! more.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::events::EventLog;
use crate::server::mcp::Facade;
use crate::server::mcp::request::{Exchange, Outbox, Outcome, Peer};
use crate::server::mcp::wire;
use crate::tool::Json;
use crate::upstream::Caller;

/// Messages of one request between whoever works on it and its log.
const OUTBOX: usize = 16;

/// How long what was cancelled may take to end in good order before it is dropped.
pub(super) const END_GRACE: Duration = Duration::from_secs(5);

/// One request.
pub(super) struct Asked {
    pub(super) id: Json,
    pub(super) method: String,
    pub(super) params: Option<Json>,
}

/// Requests that came in one POST.
pub(super) struct Work {
    pub(super) facade: Facade,
    pub(super) peer: Arc<Peer>,
    pub(super) caller: Caller,
    pub(super) asked: Vec<Asked>,
    /// Where the answers go, and what is said before them.
    pub(super) log: Arc<EventLog>,
    /// Where the latter goes instead, for a client that takes nothing but the answer.
    pub(super) elsewhere: Option<Outbox>,
}

impl Work {
    /// Works until all is answered or nobody waits: then what is under way is cancelled.
    pub(super) async fn run(self) {
        let (outbox, mut said) = mpsc::channel(OUTBOX);
        let abandoned = CancellationToken::new();
        let mut answering: FuturesUnordered<_> = self
            .asked
            .into_iter()
            .map(|asked| {
                let to = self.elsewhere.clone().unwrap_or_else(|| outbox.clone());
                let exchange = Exchange::new(Arc::clone(&self.peer), to);
                answer(&self.facade, &self.peer, self.caller.clone(), asked, exchange, &abandoned)
            })
            .collect();
        let log = &self.log;
        let mut answers = Vec::new();
        loop {
            tokio::select! {
                biased;
                Some(message) = said.recv(), if log.has_room() => log.push(message),
                answered = answering.next() => match answered {
                    Some(answer) => answers.extend(answer),
                    None => break,
                },
                () = log.room(), if !log.has_room() => {}
                () = log.abandoned(), if !abandoned.is_cancelled() => abandoned.cancel(),
            }
        }
        while let Ok(message) = said.try_recv() {
            log.push(message);
        }
        log.end(answers);
    }
}

async fn answer(
    facade: &Facade,
    peer: &Arc<Peer>,
    caller: Caller,
    asked: Asked,
    exchange: Exchange,
    abandoned: &CancellationToken,
) -> Option<Vec<u8>> {
    let Asked { id, method, params } = asked;
    let answering = facade.answer(&id, method, params, caller, exchange);
    let ended = async {
        tokio::select! {
            () = abandoned.cancelled() => peer.cancel_request(&id),
            () = peer.gone.cancelled() => {}
        }
    };
    let outcome: Outcome = in_good_order(answering, ended).await??;
    Some(wire::answer(&id, &outcome))
}

/// Waits for an answer; once it is not wanted any more, only for a while.
pub(super) async fn in_good_order<T>(
    answering: impl Future<Output = T>,
    unwanted: impl Future<Output = ()>,
) -> Option<T> {
    let mut answering = pin!(answering);
    tokio::select! {
        biased;
        answer = &mut answering => Some(answer),
        () = unwanted => tokio::time::timeout(END_GRACE, answering).await.ok(),
    }
}
