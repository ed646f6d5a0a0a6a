//! What goes to a client: frames that wait for it, as many as there may be, and then the socket's end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::stream::SplitSink;
use futures::{Sink, SinkExt as _};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::dump;
use super::frames::{Frame, Object};
use super::rpc;
use crate::server::mcp::wire;

/// Bytes that wait for a client, beside one frame of any size.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a session ends, as its client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

impl Ending {
    pub(super) const STOPPING: Self = Self { code: 1001, reason: "the host stops" };
    pub(super) const IDLE: Self = Self { code: 1008, reason: "idle for too long" };
    pub(super) const DEAF: Self = Self { code: 1008, reason: "the client reads too slowly" };
    pub(super) const SILENT: Self = Self { code: 1008, reason: "no sign of the client" };
    pub(super) const TOO_BIG: Self = Self { code: 1009, reason: "the frame is too big" };
    pub(super) const FAILED: Self = Self { code: 1011, reason: "the session cannot go on" };
}

enum Out {
    Text(String),
    Ping,
}

/// The way to a client. What is sent waits in a queue of bounded length.
pub(super) struct Outlet {
    pub(super) session: String,
    queue: mpsc::Sender<Out>,
    bytes: Arc<AtomicUsize>,
    /// Whether the client has asked something in JSON-RPC.
    speaks_rpc: AtomicBool,
    /// There was no room for something that may not be lost.
    pub(super) full: CancellationToken,
    /// The session is over.
    pub(super) gone: CancellationToken,
}

impl Outlet {
    pub(super) fn new(session: &str, most: usize) -> (Arc<Self>, Writer) {
        let (queue, waiting) = mpsc::channel(most.max(1));
        let bytes = Arc::<AtomicUsize>::default();
        let outlet = Self {
            session: session.to_owned(),
            queue,
            bytes: Arc::clone(&bytes),
            speaks_rpc: AtomicBool::new(false),
            full: CancellationToken::new(),
            gone: CancellationToken::new(),
        };
        (Arc::new(outlet), Writer { waiting, bytes, session: session.to_owned() })
    }

    /// Sends a frame that the client waits for. If there is no room, the session ends.
    pub(super) fn send(&self, frame: String) {
        if !self.put(frame) {
            self.full.cancel();
        }
    }

    fn put(&self, frame: String) -> bool {
        let length = frame.len();
        let queued = self.bytes.fetch_add(length, Ordering::AcqRel);
        let fits = queued == 0 || queued.saturating_add(length) <= MAX_QUEUED_BYTES;
        if fits && self.queue.try_send(Out::Text(frame)).is_ok() {
            return true;
        }
        self.bytes.fetch_sub(length, Ordering::AcqRel);
        false
    }

    /// Sends what a client can do without, while there is plenty of room.
    pub(super) fn offer(&self, frame: impl FnOnce() -> String) {
        if self.queue.capacity() * 2 > self.queue.max_capacity() {
            self.put(frame());
        }
    }

    /// From now on the client is told in JSON-RPC too what servers say unasked.
    pub(super) fn speak_rpc(&self) {
        self.speaks_rpc.store(true, Ordering::Relaxed);
    }

    /// Sends a client that speaks JSON-RPC a notification.
    pub(super) fn message(&self, method: &str, params: &impl Serialize) {
        if self.speaks_rpc.load(Ordering::Relaxed) {
            self.offer(|| rpc::text(wire::notification(method, params)));
        }
    }

    /// Asks whether the client is there.
    pub(super) fn ping(&self) {
        let _ = self.queue.try_send(Out::Ping);
    }

    /// Shows something that happens in the session.
    pub(super) fn activity(&self, kind: &str, message: &str, details: &impl Serialize) {
        self.offer(|| self.activity_frame(kind, message, details));
    }

    /// The same of what a client has to see, such as that it was asked something.
    pub(super) fn announce(&self, kind: &str, message: &str, details: &impl Serialize) {
        self.send(self.activity_frame(kind, message, details));
    }

    fn activity_frame(&self, kind: &str, message: &str, details: &impl Serialize) -> String {
        Frame::new("mcp_activity")
            .with("activity_type", &kind)
            .with("message", &message)
            .with("details", details)
            .with("session_id", &self.session)
            .finish()
    }

    /// Shows a notification of the server's.
    pub(super) fn notification(&self, method: &str, params: Option<&RawValue>) {
        self.offer(|| {
            let params = params.map(|params| dump::notification(method, params));
            let content = Object::default()
                .with("method", &method)
                .with("params", &params)
                .with("jsonrpc", &"2.0");
            let details = Object::default()
                .with("message_type", &"ServerNotification")
                .with("content", &content);
            self.activity_frame("protocol", "ServerNotification", &details)
        });
    }
}

/// Carries frames to the client.
pub(super) struct Writer {
    waiting: mpsc::Receiver<Out>,
    bytes: Arc<AtomicUsize>,
    session: String,
}

impl Writer {
    /// Writes until the end comes, and that too. Fails with the socket.
    pub(super) async fn run(
        mut self,
        mut socket: SplitSink<WebSocket, Message>,
        end: oneshot::Receiver<Option<Ending>>,
    ) {
        let mut end = std::pin::pin!(end);
        let ending = loop {
            tokio::select! {
                biased;
                Some(out) = self.waiting.recv() => {
                    if self.write(&mut socket, out).await.is_err() {
                        return;
                    }
                }
                ending = &mut end => break ending.ok().flatten(),
            }
        };
        let last_words = async {
            if let Some(Ending { code, reason }) = ending {
                let frame = Frame::new("closed")
                    .with("code", &code)
                    .with("reason", &reason)
                    .with("session_id", &self.session)
                    .finish();
                socket.send(Message::Text(frame.into())).await?;
                let close = CloseFrame { code, reason: reason.into() };
                socket.send(Message::Close(Some(close))).await?;
            }
            socket.close().await
        };
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
    }

    async fn write<S: Sink<Message> + Unpin>(
        &self,
        socket: &mut S,
        out: Out,
    ) -> Result<(), S::Error> {
        match out {
            Out::Ping => socket.send(Message::Ping(Vec::new().into())).await,
            Out::Text(text) => {
                let length = text.len();
                let written = socket.send(Message::Text(text.into())).await;
                self.bytes.fetch_sub(length, Ordering::AcqRel);
                written
            }
        }
    }
}
