//! One client over a pair of streams, a message a line.

use std::sync::Arc;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Facade;
use super::request::{Exchange, Peer};
use super::wire::{self, Incoming, Read, RpcError};
use crate::upstream::Caller;

/// The longest line that is read.
const MAX_LINE_BYTES: usize = 16 << 20;

/// Messages that wait for a client that does not read.
const OUTBOX: usize = 256;

/// Requests of one client that are worked on at once.
const MAX_UNDER_WAY: usize = 1_000;

/// Why serving ended before the client did.
#[derive(Debug, thiserror::Error)]
#[error("the client's stream failed: {0}")]
pub struct ServeError(#[from] std::io::Error);

impl Facade {
    /// Serves one client over a pair of streams, stdin and stdout usually, until it closes its end
    /// or `stop` is cancelled. What it asked for and has not got yet is cancelled then.
    ///
    /// # Errors
    /// A stream fails.
    pub async fn serve(
        self,
        from: impl AsyncRead + Send + Unpin + 'static,
        to: impl AsyncWrite + Send + Unpin + 'static,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let (outbox, waiting) = mpsc::channel(OUTBOX);
        let peer = Peer::only(outbox);
        let _gone = peer.gone.clone().drop_guard();
        let reading = self.read_all(BufReader::new(from), &peer);
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            read = reading => read,
            written = write_all(to, waiting) => written,
        }
        .or_else(|error| match error.kind() {
            // It went away without a word, which it may.
            std::io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(ServeError(error)),
        })
    }

    async fn read_all(
        &self,
        mut from: impl AsyncBufRead + Unpin,
        peer: &Arc<Peer>,
    ) -> std::io::Result<()> {
        let mut work = JoinSet::new();
        let mut line = Vec::new();
        loop {
            let read = read_line(&mut from, &mut line);
            let read = tokio::select! {
                read = read => read?,
                Some(_) = work.join_next(), if !work.is_empty() => continue,
            };
            match read {
                Line::End => return Ok(()),
                Line::TooLong => {
                    let words = format!("a message may have {MAX_LINE_BYTES} bytes");
                    let error = RpcError::new(RpcError::INVALID_REQUEST, words);
                    let _ = peer.outbox.send(wire::refusal(None, &error)).await;
                }
                Line::Whole if line.trim_ascii().is_empty() => {}
                Line::Whole => match wire::read(&line) {
                    Read::One(incoming) => self.take(incoming, peer, &mut work).await,
                    Read::Batch(all) => {
                        for incoming in all {
                            self.take(incoming, peer, &mut work).await;
                        }
                    }
                },
            }
            line.clear();
            line.shrink_to(64 << 10);
        }
    }

    async fn take(&self, incoming: Incoming, peer: &Arc<Peer>, work: &mut JoinSet<()>) {
        match incoming {
            Incoming::Request { id, method, params } => {
                if peer.under_way() >= MAX_UNDER_WAY {
                    let words = format!("{MAX_UNDER_WAY} requests are worked on; wait for some");
                    let error = RpcError::new(RpcError::BUSY, words);
                    let _ = peer.outbox.send(wire::refusal(Some(&id), &error)).await;
                    return;
                }
                let begins = method == "initialize";
                let (facade, outbox) = (self.clone(), peer.outbox.clone());
                let exchange = Exchange::new(Arc::clone(peer), outbox.clone());
                let answering = async move {
                    let answered =
                        facade.answer(&id, method, params, Caller::anonymous(), exchange).await;
                    // Nobody waits for the answer to what was cancelled.
                    if let Some(outcome) = answered {
                        let _ = outbox.send(wire::answer(&id, &outcome)).await;
                    }
                };
                // What comes after `initialize` depends on it. Others are begun at once, so that a
                // cancellation that follows closely finds what it cancels.
                let mut answering = Box::pin(answering);
                if begins {
                    answering.await;
                } else if futures::poll!(&mut answering).is_pending() {
                    work.spawn(answering);
                }
            }
            Incoming::Notification { method, params } => {
                self.take_notification(&method, params.as_deref(), peer);
            }
            Incoming::Answer { id, outcome } => peer.take_answer(&id, outcome),
            Incoming::Unusable { id, error } => {
                let _ = peer.outbox.send(wire::refusal(id.as_deref(), &error)).await;
            }
        }
    }
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads up to the next end of a line. Cancel-safe: what was read is in `line`. Of a line that is
/// too long only the end is looked for.
async fn read_line(
    from: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<Line> {
    loop {
        let available = from.fill_buf().await?;
        if available.is_empty() {
            return Ok(if line.is_empty() { Line::End } else { Line::Whole });
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        let room = (MAX_LINE_BYTES + 1).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = part.len() + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() {
            let whole = line.len() <= MAX_LINE_BYTES;
            return Ok(if whole { Line::Whole } else { Line::TooLong });
        }
    }
}

async fn write_all(
    mut to: impl AsyncWrite + Unpin,
    mut waiting: mpsc::Receiver<Vec<u8>>,
) -> std::io::Result<()> {
    while let Some(message) = waiting.recv().await {
        write_line(&mut to, message).await?;
        while let Ok(message) = waiting.try_recv() {
            write_line(&mut to, message).await?;
        }
        to.flush().await?;
    }
    Ok(())
}

async fn write_line(to: &mut (impl AsyncWrite + Unpin), mut line: Vec<u8>) -> std::io::Result<()> {
    line.push(b'\n');
    to.write_all(&line).await
}
