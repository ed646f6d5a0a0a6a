//! Messages on their way to a client in one stream of events.
//!
//! Whoever answers a request and whoever carries the answer away are different parties, and the
//! second may vanish and come back. Between them lies a bounded log: what was sent lately is kept
//! for a client that lost its connection and says which event it saw last.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Messages that wait for a client that does not read.
const MAX_WAITING: u64 = 64;

/// Their bytes, beyond which no further message is taken.
const MAX_WAITING_BYTES: usize = 1 << 20;

/// Messages that were sent and are kept for a client that comes back.
const MAX_KEPT: u64 = 64;

/// Their bytes. The last message is kept however large it is: it may be the answer.
const MAX_KEPT_BYTES: usize = 256 << 10;

/// How long a client that lost its connection may take to come back.
pub(super) const RETURN_GRACE: Duration = Duration::from_secs(5);

/// What happens when nobody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overflow {
    /// Whoever writes waits: the messages belong to one request, and so does the wait.
    Wait,
    /// The oldest goes: whoever writes has others to serve.
    DropOldest,
}

/// One stream's messages.
pub(super) struct EventLog {
    /// Among the streams of its session.
    pub(super) number: u64,
    overflow: Overflow,
    /// Whether events have numbers by which a client can come back for them.
    resumable: bool,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    kept: VecDeque<Bytes>,
    bytes: usize,
    /// The number of the first that is kept. Events count from 1.
    first: u64,
    /// The number of the next to be sent.
    next: u64,
    ended: bool,
    /// Whether all of it are answers, with nothing said before them.
    only_answers: bool,
    /// Whether all of it was read up to the end.
    finished: bool,
    /// Whether a client knows an event by which it can come back.
    may_return: bool,
    /// Those who read, the last one gets the messages. A connection that died without our noticing
    /// is then no hindrance for the one that replaces it.
    readers: Vec<u64>,
    readers_ever: u64,
    /// From when on nobody is waited for.
    given_up_at: Option<Instant>,
}

/// How a response begins.
pub(super) enum Beginning {
    /// With its end: all answers are here, and nothing else was said.
    Answers(Vec<Bytes>),
    /// With messages before the answer.
    Messages,
    /// With silence, so far.
    Silence,
}

/// One event.
pub(super) struct Event {
    pub(super) number: u64,
    pub(super) message: Bytes,
}

impl EventLog {
    pub(super) fn new(number: u64, overflow: Overflow, resumable: bool) -> Arc<Self> {
        Arc::new(Self {
            number,
            overflow,
            resumable,
            state: Mutex::new(State {
                kept: VecDeque::new(),
                bytes: 0,
                first: 1,
                next: 1,
                ended: false,
                only_answers: true,
                finished: false,
                may_return: false,
                readers: Vec::new(),
                readers_ever: 0,
                given_up_at: None,
            }),
            changed: Notify::new(),
        })
    }

    pub(super) fn is_resumable(&self) -> bool {
        self.resumable
    }

    /// Adds a message that is no answer. Whoever is bound to wait asks for [`EventLog::has_room`]
    /// before.
    pub(super) fn push(&self, message: Vec<u8>) {
        let mut state = self.lock();
        state.only_answers = false;
        state.push(message.into());
        if self.overflow == Overflow::DropOldest {
            while state.is_full() {
                state.drop_oldest();
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Adds the last messages, the answers, and ends.
    pub(super) fn end(&self, answers: impl IntoIterator<Item = Vec<u8>>) {
        let mut state = self.lock();
        for answer in answers {
            state.push(answer.into());
        }
        state.ended = true;
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn has_room(&self) -> bool {
        self.overflow == Overflow::DropOldest || !self.lock().is_full()
    }

    /// Waits until there is room for a message. Cancel-safe.
    pub(super) async fn room(&self) {
        self.until(|state| (!state.is_full() || state.ended).then_some(())).await;
    }

    pub(super) fn has_reader(&self) -> bool {
        !self.lock().readers.is_empty()
    }

    /// Waits until nobody reads any more and nobody will. Cancel-safe.
    pub(super) async fn abandoned(&self) {
        loop {
            let changed = self.changed.notified();
            let given_up_at = self.lock().given_up_at;
            match given_up_at {
                Some(at) if at <= Instant::now() => return,
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = changed => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Waits until all was read up to the end, or nobody will. Cancel-safe.
    pub(super) async fn settled(&self) {
        tokio::select! {
            () = self.until(|state| state.finished.then_some(())) => {}
            () = self.abandoned() => {}
        }
    }

    /// Begins to read, after the event that the client saw last if it names one.
    pub(super) fn read(self: &Arc<Self>, after: Option<u64>) -> Reader {
        let mut state = self.lock();
        state.readers_ever += 1;
        let reader = state.readers_ever;
        state.readers.push(reader);
        state.given_up_at = None;
        if let Some(after) = after {
            // What is not kept any more is lost; what was never sent cannot have been seen.
            state.next = after.saturating_add(1).clamp(state.first, state.next);
        }
        drop(state);
        self.changed.notify_waiters();
        Reader { log: Arc::clone(self), reader }
    }

    async fn until<T>(&self, mut found: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = found(&mut self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, message: Bytes) {
        self.bytes += message.len();
        self.kept.push_back(message);
    }

    /// How many have not been sent.
    fn waiting(&self) -> u64 {
        self.first + self.kept.len() as u64 - self.next
    }

    fn is_full(&self) -> bool {
        let waiting = self.waiting();
        waiting > MAX_WAITING || (waiting > 1 && self.bytes > MAX_WAITING_BYTES)
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.kept.pop_front() {
            self.bytes -= oldest.len();
            self.first += 1;
            self.next = self.next.max(self.first);
        }
    }

    fn take(&mut self, keeps: bool) -> Option<Event> {
        let at = usize::try_from(self.next - self.first).ok()?;
        let message = self.kept.get(at)?.clone();
        let event = Event { number: self.next, message };
        self.next += 1;
        self.may_return = keeps;
        let most = if keeps { MAX_KEPT } else { 0 };
        while self.next - self.first > most
            || (self.bytes > MAX_KEPT_BYTES && self.next - self.first > 1)
        {
            self.drop_oldest();
        }
        Some(event)
    }
}

/// Reads a log. As long as it lives somebody is there.
pub(super) struct Reader {
    log: Arc<EventLog>,
    reader: u64,
}

impl Reader {
    pub(super) fn log(&self) -> &EventLog {
        &self.log
    }

    /// Tells that the client is given the number before the first event's, to come back by.
    pub(super) fn is_primed(&self) {
        self.log.lock().may_return = true;
    }

    /// The next event, or nothing when the log has ended. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let (reader, keeps) = (self.reader, self.log.resumable);
        let event = self.log.until(|state| {
            let gets_messages = state.readers.last() == Some(&reader);
            match gets_messages.then(|| state.take(keeps)).flatten() {
                Some(event) => Some(Some(event)),
                None => {
                    state.finished |= state.ended && gets_messages;
                    state.ended.then_some(None)
                }
            }
        });
        let event = event.await;
        // Whoever writes may wait for room.
        self.log.changed.notify_waiters();
        event
    }

    /// Waits until it is known how the response begins; for messages before the answer only if
    /// there is a way to send them. Cancel-safe.
    pub(super) async fn beginning(
        &mut self,
        can_stream: bool,
        patience: Option<Duration>,
    ) -> Beginning {
        let begins = self.log.until(|state| {
            if state.ended && state.only_answers {
                let mut answers = Vec::new();
                while let Some(event) = state.take(false) {
                    answers.push(event.message);
                }
                state.finished = true;
                return Some(Beginning::Answers(answers));
            }
            (can_stream && (state.ended || state.waiting() > 0)).then_some(Beginning::Messages)
        });
        let begins = match patience {
            Some(patience) => tokio::time::timeout(patience, begins).await,
            None => Ok(begins.await),
        };
        self.log.changed.notify_waiters();
        begins.unwrap_or(Beginning::Silence)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.log.lock();
        state.readers.retain(|reader| *reader != self.reader);
        if state.readers.is_empty() {
            // Only whoever was given the number of an event can come back for the next one.
            let grace = if state.may_return { RETURN_GRACE } else { Duration::ZERO };
            state.given_up_at = Some(Instant::now() + grace);
        }
        drop(state);
        self.log.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(overflow: Overflow) -> Arc<EventLog> {
        EventLog::new(0, overflow, true)
    }

    async fn next(reader: &mut Reader) -> Option<(u64, String)> {
        let event = reader.next().await?;
        Some((event.number, String::from_utf8_lossy(&event.message).into_owned()))
    }

    #[tokio::test]
    async fn whoever_comes_back_gets_what_it_missed() {
        let log = log(Overflow::Wait);
        let mut reader = log.read(None);
        for text in ["a", "b", "c"] {
            log.push(text.into());
        }
        assert_eq!(next(&mut reader).await, Some((1, "a".to_owned())));
        assert_eq!(next(&mut reader).await, Some((2, "b".to_owned())));
        drop(reader);
        let mut reader = log.read(Some(1));
        log.end(["d".into()]);
        let mut seen = Vec::new();
        while let Some((number, text)) = next(&mut reader).await {
            seen.push(format!("{number}{text}"));
        }
        assert_eq!(seen, ["2b", "3c", "4d"]);
        // Numbers from nowhere are no way to anything.
        assert_eq!(next(&mut log.read(Some(u64::MAX))).await, None);
    }

    #[tokio::test]
    async fn nobody_reads_and_the_oldest_goes() {
        let log = log(Overflow::DropOldest);
        for number in 0..1_000 {
            log.push(format!("{number}").into_bytes());
        }
        assert!(log.has_room());
        let (first, text) = next(&mut log.read(None)).await.expect("some are left");
        assert_eq!((first, &*text), (1_000 - MAX_WAITING + 1, "936"));
    }

    #[tokio::test]
    async fn whoever_has_to_wait_waits_until_somebody_reads() {
        let log = log(Overflow::Wait);
        let mut reader = log.read(None);
        let mut pushed = 0;
        while log.has_room() {
            log.push(vec![0; 100]);
            pushed += 1;
        }
        assert_eq!(pushed, MAX_WAITING + 1);
        let (room, _) = tokio::join!(log.room(), reader.next());
        assert_eq!(room, ());
    }

    #[tokio::test]
    async fn only_whoever_saw_an_event_is_waited_for() {
        let log = log(Overflow::Wait);
        let given_up = || log.lock().given_up_at.is_some_and(|at| at <= Instant::now());
        drop(log.read(None));
        assert!(given_up());
        log.abandoned().await;
        let mut reader = log.read(None);
        assert!(!given_up());
        log.push("a".into());
        reader.next().await;
        drop(reader);
        assert!(!given_up() && log.lock().given_up_at.is_some());
    }
}
