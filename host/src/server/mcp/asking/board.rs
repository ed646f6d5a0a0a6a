//! The questions that are open about one request of a modern client.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::value::to_raw_value;
use tokio::sync::{Notify, oneshot};

use super::question::{Gate, can_answer, check_answer};
use crate::server::mcp::wire::RpcError;
use crate::tool::Json;
use crate::upstream::{ClientCapabilities, ClientHandler, Refusal, ServerRequest};

/// Questions that may be open at once, and answers that are kept for questions yet to come.
const MAX_OPEN: usize = 64;

/// The longest name of a question that we take over from its server.
const MAX_KEY_BYTES: usize = 128;

/// Takes the servers' questions and hands out the client's answers.
pub(super) struct Board {
    gate: Gate,
    entries: Mutex<Entries>,
    changed: Notify,
}

#[derive(Default)]
struct Entries {
    /// By the name under which the client is asked.
    open: IndexMap<String, Entry>,
    /// Answers that the client sent without having been asked.
    given: IndexMap<String, Json>,
    /// How many there ever were.
    count: u64,
}

struct Entry {
    number: u64,
    method: String,
    params: Option<Json>,
    answer: oneshot::Sender<Result<Json, Refusal>>,
}

impl Board {
    /// `given` are answers that came with the first request already: a client that knows a tool may
    /// save itself a round.
    pub(super) fn new(capabilities: ClientCapabilities, mut given: IndexMap<String, Json>) -> Self {
        given.truncate(MAX_OPEN);
        let entries = Entries { given, ..Entries::default() };
        Self { gate: Gate::new(capabilities), entries: Mutex::new(entries), changed: Notify::new() }
    }

    /// Resolves when there is something to ask. One at a time may wait for it.
    pub(super) async fn asks(&self) {
        while self.is_empty() {
            self.changed.notified().await;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().open.is_empty()
    }

    /// All questions, as the result of a request.
    pub(super) fn as_result(&self, state: &str) -> Json {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct InputRequired<'a> {
            result_type: &'a str,
            input_requests: IndexMap<&'a str, Question<'a>>,
            request_state: &'a str,
        }
        #[derive(Serialize)]
        struct Question<'a> {
            method: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            params: Option<&'a Json>,
        }
        let entries = self.lock();
        let question = |entry: &'_ Entry| (entry.method.clone(), entry.params.clone());
        let open: Vec<_> =
            entries.open.iter().map(|(key, entry)| (key.clone(), question(entry))).collect();
        drop(entries);
        let input_requests = open
            .iter()
            .map(|(key, (method, params))| (&**key, Question { method, params: params.as_ref() }))
            .collect();
        let result =
            InputRequired { result_type: "input_required", input_requests, request_state: state };
        to_raw_value(&result).unwrap_or_default()
    }

    /// Takes a client's answers. What answers nothing, or in a wrong form, is passed over: what stays
    /// open is asked again.
    pub(super) fn take(&self, answers: IndexMap<String, Json>) {
        let mut entries = self.lock();
        for (key, answer) in answers {
            let fits = |entry: &Entry| check_answer(&entry.method, &answer).is_ok();
            if entries.open.get(&key).is_some_and(fits)
                && let Some(entry) = entries.open.shift_remove(&key)
            {
                let _ = entry.answer.send(Ok(answer));
            }
        }
    }

    /// The client came back, and may be able to do more than before, or less.
    pub(super) fn set_capabilities(&self, capabilities: ClientCapabilities) {
        self.gate.set_capabilities(capabilities);
        let mut entries = self.lock();
        let open = std::mem::take(&mut entries.open);
        for (key, entry) in open {
            if can_answer(capabilities, &entry.method, entry.params.as_deref()) {
                entries.open.insert(key, entry);
            } else {
                let _ = entry.answer.send(Err(Refusal::nobody(&entry.method)));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// The name of a question: its server's own, unless another has it.
    fn key_of(&self, request: &ServerRequest) -> String {
        let own = request.key.as_ref().filter(|key| key.len() <= MAX_KEY_BYTES);
        match own.filter(|key| !self.open.contains_key(*key)) {
            Some(key) => key.clone(),
            None => format!("{}-{}", request.server, self.count),
        }
    }
}

#[async_trait]
impl ClientHandler for Board {
    fn capabilities(&self) -> ClientCapabilities {
        self.gate.capabilities()
    }

    async fn answer(&self, request: ServerRequest) -> Result<Json, Refusal> {
        let params = self.gate.admit(&request)?;
        let (sender, answer) = oneshot::channel();
        let asked = {
            let mut entries = self.lock();
            entries.count += 1;
            let key = entries.key_of(&request);
            let given = entries.given.shift_remove(&key);
            if let Some(given) = given.filter(|it| check_answer(&request.method, it).is_ok()) {
                return Ok(given);
            }
            if entries.open.len() >= MAX_OPEN {
                let message = format!("{MAX_OPEN} questions are open; ask again later");
                return Err(Refusal { code: RpcError::BUSY, message });
            }
            let number = entries.count;
            let entry = Entry { number, method: request.method, params, answer: sender };
            entries.open.insert(key.clone(), entry);
            Asked { board: self, key, number }
        };
        self.changed.notify_one();
        let answer = answer.await;
        drop(asked);
        answer.unwrap_or_else(|_| {
            let message = "the client will not answer any more".to_owned();
            Err(Refusal { code: RpcError::INTERNAL, message })
        })
    }
}

/// A question that somebody waits to have answered.
struct Asked<'a> {
    board: &'a Board,
    key: String,
    number: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut entries = self.board.lock();
        // Another may have the name by now.
        if entries.open.get(&self.key).is_some_and(|entry| entry.number == self.number) {
            entries.open.shift_remove(&self.key);
        }
    }
}
