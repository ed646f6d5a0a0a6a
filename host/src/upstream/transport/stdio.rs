//! MCP over the stdin and stdout of a child process: one message per line.
//!
//! Two workers belong to a link: one writes, so that a caller who goes away cannot leave half a
//! line behind, and one reads and hands each answer to whoever waits for it. Both end when the link
//! is dropped. When the process ends, everyone who waits is told at once how it ended and what it
//! last wrote to stderr.

use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::upstream::encoding::TextEncoding;
use crate::upstream::error::Cause;
use crate::upstream::inbox::Inbox;
use crate::upstream::message::{self, AnswerFault, Incoming, MAX_MESSAGE_BYTES};
use crate::upstream::process::{Pipes, Process};
use crate::upstream::redact::Redactor;
use crate::upstream::transport::waiting::{Outcome, Waiting};
use crate::upstream::transport::{Request, Transport, TransportError};

/// Messages that wait for a server which does not read its stdin. Callers beyond that wait, within
/// their own deadlines.
const WRITE_QUEUE: usize = 64;

/// Bytes of text that is not JSON-RPC which a server may write to stdout between two messages. A
/// banner or a stray print is common; a server that only talks is none.
const MAX_NOISE_BYTES: usize = 1 << 20;

/// How much of such text is kept for the error message.
const NOISE_EXCERPT_BYTES: usize = 300;

/// The longest wait for a server that is being closed to read what is cancelled with it.
const FAREWELL_TIME: Duration = Duration::from_millis(500);

/// The longest wait for the exit status after stdout was closed, and for the rest of stdout after
/// the exit.
const EXIT_NEWS_TIME: Duration = Duration::from_millis(1500);

/// A link to a child process.
pub(in crate::upstream) struct Stdio {
    shared: Arc<Shared>,
    next_id: AtomicU64,
    /// `None` once the link is closed, which closes the server's stdin.
    outbox: Mutex<Option<mpsc::Sender<Bytes>>>,
    _writer: AbortOnDropHandle<()>,
    _reader: AbortOnDropHandle<()>,
}

/// What the workers and the callers share.
struct Shared {
    process: Process,
    inbox: Arc<Inbox>,
    redactor: Arc<Redactor>,
    waiting: Waiting,
    encoding: TextEncoding,
    noise: Mutex<String>,
}

impl Stdio {
    /// Takes over a process.
    pub(in crate::upstream) fn new(
        process: Process,
        pipes: Pipes,
        (write_timeout, encoding): (Duration, TextEncoding),
        inbox: Arc<Inbox>,
        redactor: Arc<Redactor>,
    ) -> Self {
        let shared = Arc::new(Shared {
            process,
            inbox,
            redactor,
            waiting: Waiting::default(),
            encoding,
            noise: Mutex::default(),
        });
        let (outbox, queue) = mpsc::channel(WRITE_QUEUE);
        let writer =
            tokio::spawn(write(pipes.stdin, queue, write_timeout, Arc::downgrade(&shared)));
        let reader = tokio::spawn(read(pipes.stdout, Arc::clone(&shared), outbox.downgrade()));
        Self {
            shared,
            next_id: AtomicU64::new(1),
            outbox: Mutex::new(Some(outbox)),
            _writer: AbortOnDropHandle::new(writer),
            _reader: AbortOnDropHandle::new(reader),
        }
    }

    fn outbox(&self) -> Option<mpsc::Sender<Bytes>> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Queues one message.
    async fn send(&self, message: Vec<u8>) -> Result<(), TransportError> {
        let outbox = self.outbox().ok_or(TransportError::Closed)?;
        // The queue ends with the writer, which ends when the server closes its stdin.
        let message = self.shared.encoding.encode(message);
        outbox.send(message.into()).await.map_err(|_| {
            TransportError::Lost(Cause::new(self.shared.explain("it closed its stdin")))
        })
    }
}

#[async_trait]
impl Transport for Stdio {
    async fn request(&self, request: Request<'_>) -> Outcome {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let answer = self.shared.waiting.expect(id, None)?;
        let mut ticket = Ticket { link: self, id, tell_server: false };
        let message = message::request(id, request.method, request.params);
        if let Err(error) = self.send(message).await {
            // If the process has ended, the reader knows better why.
            return Err(self.shared.loss_soon().await.unwrap_or(error));
        }
        ticket.tell_server = request.cancellable;
        let outcome = answer.await;
        ticket.tell_server = false;
        outcome.unwrap_or(Err(TransportError::Closed))
    }

    async fn notify(&self, method: &str) -> Result<(), TransportError> {
        self.send(message::notification(method, &serde_json::Value::Null)).await
    }

    fn settle(&self, _version: &str, _modern: bool) {}

    fn is_lost(&self) -> bool {
        self.shared.waiting.loss().is_some()
    }

    fn hint(&self) -> Option<String> {
        let noise = self.shared.noise();
        let noise = (!noise.is_empty())
            .then(|| format!("its stdout has text that is not MCP, starting with {noise:?}"));
        let tail = self.shared.process.stderr_tail();
        let tail = (!tail.is_empty()).then(|| format!("its stderr ends with:\n{tail}"));
        let hints: Vec<String> = noise.into_iter().chain(tail).collect();
        (!hints.is_empty()).then(|| hints.join("; "))
    }

    fn abandon(&self) {
        self.shared.process.cut_lifeline();
    }

    async fn close(&self) {
        let waited = self.shared.waiting.lose(TransportError::Closed);
        let outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(outbox) = outbox {
            // Whose callers have not gone yet: they could tell the server no more.
            let telling = async {
                for id in waited {
                    let message = self.shared.encoding.encode(message::cancelled(id));
                    if outbox.send(message.into()).await.is_err() {
                        return;
                    }
                }
            };
            let _ = tokio::time::timeout(FAREWELL_TIME, telling).await;
        }
        // Without a sender the writer ends and closes the server's stdin.
        self.shared.process.close().await;
    }
}

/// One request under way. Dropped early, it forgets the request and tells the server.
struct Ticket<'a> {
    link: &'a Stdio,
    id: u64,
    tell_server: bool,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.tell_server
            && let Some(outbox) = self.link.outbox()
        {
            let message = self.link.shared.encoding.encode(message::cancelled(self.id));
            // A full queue means that the server reads nothing; it would not read this either.
            let _ = outbox.try_send(message.into());
        }
        // Not before: whoever closes the link tells the server of what is not forgotten yet.
        self.link.shared.waiting.forget(self.id);
    }
}

impl Shared {
    fn noise(&self) -> String {
        self.noise.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the link is lost, if that becomes known soon.
    async fn loss_soon(&self) -> Option<TransportError> {
        let _ = tokio::time::timeout(EXIT_NEWS_TIME, self.process.ended()).await;
        for _ in 0..20 {
            if let Some(error) = self.waiting.loss() {
                return Some(error);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    /// What happened, with the process's last words.
    fn explain(&self, what: &str) -> String {
        let noise = self.noise();
        let noise = if noise.is_empty() {
            String::new()
        } else {
            format!("; its stdout has text that is not MCP, starting with {noise:?}")
        };
        match self.process.stderr_tail() {
            tail if tail.is_empty() => format!("{what}, with nothing on stderr{noise}"),
            tail => format!("{what}{noise}; its stderr ends with:\n{tail}"),
        }
    }
}

/// Writes what is queued, one line per message, until the queue or the pipe is closed.
async fn write(
    mut stdin: ChildStdin,
    mut queue: mpsc::Receiver<Bytes>,
    timeout: Duration,
    shared: Weak<Shared>,
) {
    while let Some(message) = queue.recv().await {
        let written = async {
            stdin.write_all(&message).await?;
            stdin.write_all(b"\n").await?;
            stdin.flush().await
        };
        match tokio::time::timeout(timeout, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "an upstream closed its stdin");
                return;
            }
            Err(_) => {
                // Half a line is written: nothing that follows could be understood.
                if let Some(shared) = shared.upgrade() {
                    shared.waiting.lose(TransportError::WriteTimedOut(timeout));
                }
                return;
            }
        }
    }
}

/// Reads messages until the process ends or breaks the protocol beyond repair.
async fn read(stdout: ChildStdout, shared: Arc<Shared>, outbox: mpsc::WeakSender<Bytes>) {
    let mut lines = Lines::new(stdout);
    let mut noise_bytes = 0;
    let mut exited = std::pin::pin!(after_exit(&shared.process));
    let why = loop {
        let line = tokio::select! {
            biased;
            line = lines.next() => line,
            // A process that ended may have left its stdout to one that lives on.
            () = &mut exited => break "it ended",
        };
        let Some(line) = line else { break "it closed its stdout" };
        match line {
            Line::Whole(text) => match read_line(&shared, text) {
                Ok(messages) => {
                    noise_bytes = 0;
                    for message in messages {
                        take(&shared, &outbox, message);
                    }
                }
                Err(message::NotAMessage) => {
                    noise_bytes += text.len() + 1;
                    note_noise(&shared, text);
                }
            },
            Line::TooLong { head, tail } => match message::find_id(&head, &tail) {
                Some(id) => {
                    shared.waiting.answer(id, Err(TransportError::Answer(AnswerFault::TooLarge)));
                }
                None => shared.waiting.answer_everyone(&AnswerFault::TooLarge),
            },
        }
        if noise_bytes > MAX_NOISE_BYTES {
            break "it writes text that is not MCP to its stdout, without end";
        }
    };
    let status = tokio::time::timeout(EXIT_NEWS_TIME, shared.process.ended()).await;
    let what = match status {
        Ok(Some(status)) => describe(status),
        _ => why.to_owned(),
    };
    // stderr is read by another worker, which may be a moment behind.
    tokio::time::sleep(Duration::from_millis(20)).await;
    shared.waiting.lose(TransportError::Lost(Cause::new(shared.explain(&what))));
}

/// The messages of a line.
fn read_line(shared: &Shared, line: &[u8]) -> Result<Vec<Incoming>, message::NotAMessage> {
    let Ok(text) = shared.encoding.decode(line) else {
        if let Some(id) = message::find_id(line, line) {
            let why = "it has bytes that are no characters of its encoding".to_owned();
            shared.waiting.answer(id, Err(TransportError::Answer(AnswerFault::Malformed(why))));
        }
        return Err(message::NotAMessage);
    };
    message::read(&text)
}

/// Resolves when the process has ended and its stdout was given time to run dry.
async fn after_exit(process: &Process) {
    process.ended().await;
    tokio::time::sleep(EXIT_NEWS_TIME).await;
}

fn take(shared: &Shared, outbox: &mpsc::WeakSender<Bytes>, message: Incoming) {
    if let Incoming::Answer { id, outcome } = message {
        shared.waiting.answer(id, outcome.map_err(TransportError::Answer));
        return;
    }
    let (outbox, encoding) = (outbox.clone(), shared.encoding);
    shared.inbox.take(message, None, move |answer| async move {
        if let Some(outbox) = outbox.upgrade() {
            let _ = outbox.send(encoding.encode(answer).into()).await;
        }
    });
}

fn note_noise(shared: &Shared, text: &[u8]) {
    let text = String::from_utf8_lossy(&text[..text.len().min(NOISE_EXCERPT_BYTES)]);
    let text = shared.redactor.clean(text.trim());
    if !text.is_empty() {
        shared.inbox.note_malformed(&text);
    }
    let mut noise = shared.noise.lock().unwrap_or_else(PoisonError::into_inner);
    if noise.is_empty() {
        *noise = text.into_owned();
    }
}

/// How a server ended. The guard reports death by a signal as shells do.
fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(0) => "the process ended (exit status 0)".to_owned(),
        Some(code @ 129..=192) => format!("the process was killed by signal {}", code - 128),
        Some(code) => format!("the process failed with exit status {code}"),
        None => "the process was killed".to_owned(),
    }
}

enum Line<'a> {
    Whole(&'a [u8]),
    TooLong { head: Vec<u8>, tail: Vec<u8> },
}

/// Splits a stream into lines of bounded length. Cancel-safe: a half-read line is kept.
struct Lines<R> {
    from: BufReader<R>,
    line: Vec<u8>,
    /// The last line was handed out; the next read starts a new one.
    handed_out: bool,
    /// The beginning of a line that is too long, while its rest is being skipped.
    skipping: Option<Vec<u8>>,
}

/// Enough of a message's end to find an id there.
const ENDS_BYTES: usize = 512;

impl<R: tokio::io::AsyncRead + Unpin> Lines<R> {
    fn new(from: R) -> Self {
        let from = BufReader::with_capacity(64 << 10, from);
        Self { from, line: Vec::new(), handed_out: false, skipping: None }
    }

    /// The next line, or `None` at the end of the stream; an unfinished line is dropped.
    async fn next(&mut self) -> Option<Line<'_>> {
        if std::mem::take(&mut self.handed_out) {
            self.line.clear();
            // One huge answer must not occupy its memory for as long as the server lives.
            self.line.shrink_to(1 << 20);
        }
        loop {
            let available = self.from.fill_buf().await.ok()?;
            if available.is_empty() {
                return None;
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let used = newline.map_or(available.len(), |at| at + 1);
            self.line.extend_from_slice(&available[..newline.unwrap_or(used)]);
            self.from.consume(used);
            if self.line.len() > MAX_MESSAGE_BYTES && self.skipping.is_none() {
                self.skipping = Some(self.line[..ENDS_BYTES].to_vec());
            }
            if self.skipping.is_some() && self.line.len() > ENDS_BYTES {
                self.line.drain(..self.line.len() - ENDS_BYTES);
            }
            if newline.is_some() {
                self.handed_out = true;
                return Some(match self.skipping.take() {
                    Some(head) => Line::TooLong { head, tail: self.line.clone() },
                    None => Line::Whole(&self.line),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_is_skipped_and_keeps_its_ends() {
        let mut text = br#"{"id":5,"result":""#.to_vec();
        text.extend(std::iter::repeat_n(b'x', MAX_MESSAGE_BYTES));
        text.extend_from_slice(b"\"}\nshort\nunfinished");
        let mut lines = Lines::new(&text[..]);
        let Some(Line::TooLong { head, tail }) = lines.next().await else { panic!("not noticed") };
        assert_eq!(message::find_id(&head, &tail), Some(5));
        assert!(tail.ends_with(b"x\"}"));
        let Some(Line::Whole(line)) = lines.next().await else { panic!("no next line") };
        assert_eq!(line, b"short");
        assert!(lines.next().await.is_none());
    }
}
