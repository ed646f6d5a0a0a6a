//! Has a session's user answer what servers ask meanwhile: a person with a form (elicitation), and, where
//! the client has one, a model (sampling).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::frames::{self, Frame, Object, Received};
use super::outlet::Outlet;
use super::{dump, lock};
use crate::server::mcp::wire::RpcError;
use crate::server::random::uuid;
use crate::tool::Json;
use crate::upstream::{ClientCapabilities, ClientHandler, Refusal, ServerRequest};

/// Questions that one session may have open at once.
const MAX_OPEN: usize = 32;

/// Bytes of one question: it is shown to a person.
const MAX_QUESTION_BYTES: usize = 256 << 10;

const ELICIT: &str = "elicitation/create";
const SAMPLE: &str = "sampling/createMessage";

/// What a model is said to have said where there is none. Servers that know the original know it too.
const PLACEHOLDER: &str = "[AutoGen Studio Default Sampling Response - This is a placeholder response \
                           for AI sampling requests. In a production setup, this would be handled by \
                           your configured LLM.]";

/// Answers for one session.
pub(super) struct Asker {
    outlet: Arc<Outlet>,
    timeout: Duration,
    /// The client said that it takes what is asked of a model.
    has_model: AtomicBool,
    open: Mutex<HashMap<String, Open>>,
}

struct Open {
    method: &'static str,
    answer: oneshot::Sender<Result<Json, Refusal>>,
}

impl Asker {
    pub(super) fn new(outlet: Arc<Outlet>, timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            outlet,
            timeout,
            has_model: AtomicBool::new(false),
            open: Mutex::default(),
        })
    }

    /// The client says what it can do.
    pub(super) fn take_capabilities(&self, frame: &Received) {
        self.has_model.store(frame.value("sampling") == json!(true), Ordering::Relaxed);
    }

    /// Whether a question is open.
    pub(super) fn waits(&self) -> bool {
        !lock(&self.open).is_empty()
    }

    /// The client answers a person's question.
    pub(super) fn take_elicitation(&self, frame: &Received) {
        let id = frame.value("request_id");
        if is_nothing(&id) {
            let words = "Missing request_id in elicitation response";
            return self.outlet.send(frames::error(words));
        }
        let Some(open) = self.take(&id, ELICIT) else {
            return self.unknown("elicitation", &id);
        };
        let answer = match frame.text("action").as_deref() {
            Some("accept") => accepted(frame),
            Some("decline") => Ok(Object::default().with("action", &"decline").finish()),
            _ => Ok(Object::default().with("action", &"cancel").finish()),
        };
        let _ = open.answer.send(answer.map_err(internal));
    }

    /// The client answers for a model.
    pub(super) fn take_sampling(&self, frame: &Received) {
        let id = frame.value("request_id");
        if is_nothing(&id) {
            return self.outlet.send(frames::error("Missing request_id in sampling response"));
        }
        let Some(open) = self.take(&id, SAMPLE) else { return self.unknown("sampling", &id) };
        let answer = match (frame.raw("result"), frame.raw("error")) {
            (Some(result), _) => check_sampled(result).map(|()| result.to_owned()),
            (None, Some(_)) => Err(match frame.value("error") {
                Value::String(words) => words,
                other => {
                    other.get("message").and_then(Value::as_str).unwrap_or("refused").to_owned()
                }
            }),
            (None, None) => Err("the answer has neither a result nor an error".to_owned()),
        };
        let _ = open.answer.send(answer.map_err(internal));
    }

    fn take(&self, id: &Value, method: &str) -> Option<Open> {
        let id = id.as_str()?;
        let mut open = lock(&self.open);
        open.get(id).filter(|open| open.method == method)?;
        open.remove(id)
    }

    fn unknown(&self, what: &str, id: &Value) {
        let words = format!("Unknown {what} request_id: {}", frames::as_python(id));
        self.outlet.send(Frame::new("operation_error").with("error", &words).finish());
    }

    async fn elicit(&self, params: Json) -> Result<Json, Refusal> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Written {
            #[serde(default)]
            mode: Option<String>,
            message: String,
            #[serde(default)]
            requested_schema: Option<Json>,
        }
        let written: Written = serde_json::from_str(params.get())
            .map_err(|error| invalid(format!("`params` cannot be used: {error}")))?;
        if written.mode.is_some_and(|mode| mode != "form") {
            return Err(Refusal::nobody(ELICIT));
        }
        let (id, answer) = self.ask(ELICIT)?;
        let Written { message, requested_schema: schema, .. } = written;
        // Of Python's texts, empty objects are none.
        let schema = schema.filter(|schema| schema.get() != "{}");
        let details = Object::default()
            .with("request_id", &id.0)
            .with("message", &message)
            .with("requestedSchema", &schema)
            .with("context", &"Tool is requesting additional information from user");
        let words = format!("Tool requesting user input: {message}");
        self.outlet.announce("elicitation", &words, &details);
        let asked = Frame::new("elicitation_request")
            .with("request_id", &id.0)
            .with("message", &message)
            .with("requestedSchema", &schema)
            .with("session_id", &self.outlet.session);
        self.outlet.send(asked.finish());
        let Some(answer) = self.wait(answer).await? else {
            return Err(self.timed_out(&id.0, "elicitation request", "Elicitation timeout"));
        };
        let response = match &answer {
            Ok(answer) => dump::elicited(answer),
            Err(refusal) => {
                let error =
                    json!({ "code": refusal.code, "message": refusal.message, "data": null });
                to_raw_value(&error).unwrap_or_default()
            }
        };
        let details = Object::default()
            .with("request_id", &id.0)
            .with("response", &response)
            .with("status", &"completed");
        self.outlet.activity("elicitation", "User responded to elicitation request", &details);
        answer
    }

    async fn sample(&self, params: Json) -> Result<Json, Refusal> {
        let shown = dump::sampling(&params);
        #[derive(Deserialize)]
        struct Written {
            messages: Vec<Json>,
        }
        let Written { messages } = serde_json::from_str(params.get())
            .map_err(|error| invalid(format!("`params` cannot be used: {error}")))?;
        let count = messages.len();
        let (id, answer) = self.ask(SAMPLE)?;
        let words = format!("Tool requested AI sampling for {count} message(s)");
        let details = Object::default()
            .with("request_id", &id.0)
            .with("params", &shown)
            .with("context", &"Tool is requesting AI to generate a response");
        self.outlet.announce("sampling", &words, &details);
        if !self.has_model.load(Ordering::Relaxed) {
            return Ok(self.placeholder(&id.0));
        }
        let asked = Frame::new("sampling_request")
            .with("request_id", &id.0)
            .with("params", &params)
            .with("session_id", &self.outlet.session);
        self.outlet.send(asked.finish());
        let Some(answer) = self.wait(answer).await? else {
            return Err(self.timed_out(&id.0, "sampling request", "Sampling timeout"));
        };
        if let Ok(answer) = &answer {
            let details = Object::default()
                .with("request_id", &id.0)
                .with("response", &dump::sampled(answer));
            self.outlet.activity("sampling", "Client responded to sampling request", &details);
        }
        answer
    }

    fn placeholder(&self, id: &str) -> Json {
        let answer = json!({
            "role": "assistant",
            "content": { "type": "text", "text": PLACEHOLDER },
            "model": "autogen-studio-default",
        });
        let answer = to_raw_value(&answer).unwrap_or_default();
        let details = json!({
            "request_id": id, "response": dump::sampled(&answer),
            "note": "This is a placeholder response - configure an LLM for real sampling",
        });
        self.outlet.announce("sampling", "Provided default sampling response to tool", &details);
        answer
    }

    fn ask(&self, method: &'static str) -> Result<(Asked<'_>, Answer), Refusal> {
        let (sender, answer) = oneshot::channel();
        let mut open = lock(&self.open);
        if open.len() >= MAX_OPEN {
            let message = format!("{MAX_OPEN} questions are open; ask again later");
            return Err(Refusal { code: RpcError::BUSY, message });
        }
        let id = uuid();
        open.insert(id.clone(), Open { method, answer: sender });
        Ok((Asked(id, self), answer))
    }

    /// Waits for an answer; gives nothing if there is none in time.
    async fn wait(&self, answer: Answer) -> Result<Option<Result<Json, Refusal>>, Refusal> {
        let gone = || internal("the client went away before it answered".to_owned());
        tokio::select! {
            answered = tokio::time::timeout(self.timeout, answer) => match answered {
                Ok(answer) => answer.map(Some).map_err(|_| gone()),
                Err(_) => Ok(None),
            },
            () = self.outlet.gone.cancelled() => Err(gone()),
        }
    }

    fn timed_out(&self, id: &str, what: &str, heading: &str) -> Refusal {
        let seconds = self.timeout.as_secs_f64();
        let words = format!("User did not respond to {what} within {seconds} seconds");
        let details = json!({ "request_id": id, "error": words, "timeout": seconds });
        // A whole number where it is one, as people write it.
        let details = match self.timeout.subsec_nanos() {
            0 => json!({ "request_id": id, "error": words, "timeout": self.timeout.as_secs() }),
            _ => details,
        };
        self.outlet.announce("error", &format!("{heading}: {words}"), &details);
        internal(words)
    }
}

type Answer = oneshot::Receiver<Result<Json, Refusal>>;

/// A question that is open as long as somebody waits for its answer.
struct Asked<'a>(String, &'a Asker);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        lock(&self.1.open).remove(&self.0);
    }
}

#[async_trait]
impl ClientHandler for Asker {
    fn capabilities(&self) -> ClientCapabilities {
        ClientCapabilities { sampling: true, elicitation: true, ..ClientCapabilities::default() }
    }

    async fn answer(&self, request: ServerRequest) -> Result<Json, Refusal> {
        let ServerRequest { method, params, .. } = request;
        let params = params.ok_or_else(|| invalid("`params` is missing".to_owned()))?;
        if params.get().len() > MAX_QUESTION_BYTES {
            return Err(invalid(format!("a question may have {MAX_QUESTION_BYTES} bytes")));
        }
        match &*method {
            ELICIT => self.elicit(params).await,
            SAMPLE => self.sample(params).await,
            _ => Err(Refusal::nobody(&method)),
        }
    }
}

/// What counts as no id, as in Python.
fn is_nothing(id: &Value) -> bool {
    matches!(id, Value::Null | Value::Bool(false)) || *id == json!("") || *id == json!(0)
}

/// An accepted form. Its values are what a form can hold.
fn accepted(frame: &Received) -> Result<Json, String> {
    let wrong = |why: &str| Err(format!("Error processing elicitation response: {why}"));
    let accept = || Object::default().with("action", &"accept");
    if !frame.has("data") {
        return Ok(accept().with("content", &json!({})).finish());
    }
    let Some(data) = frame.raw("data") else { return Ok(accept().finish()) };
    let Ok(members) = serde_json::from_str::<IndexMap<String, Json>>(data.get()) else {
        return wrong("data has to be an object");
    };
    let is_texts = |raw: &RawValue| serde_json::from_str::<Vec<String>>(raw.get()).is_ok();
    let fits = |raw: &Json| match raw.get().bytes().next() {
        Some(b'{') => false,
        Some(b'[') => is_texts(raw),
        _ => true,
    };
    match members.iter().find(|(_, value)| !fits(value)) {
        Some((name, _)) => {
            let name: String = name.chars().take(100).collect();
            wrong(&format!("{name:?} has a value that no form has"))
        }
        None => Ok(accept().with("content", &members).finish()),
    }
}

fn check_sampled(result: &RawValue) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Sampled {
        role: String,
        #[serde(rename = "content")]
        _content: Json,
        #[serde(default)]
        model: Option<String>,
    }
    let sampled: Sampled = serde_json::from_str(result.get())
        .map_err(|error| format!("the answer cannot be used: {error}"))?;
    let complete = !sampled.role.is_empty() && sampled.model.is_some();
    complete.then_some(()).ok_or_else(|| "the answer lacks its role or model".to_owned())
}

fn internal(message: String) -> Refusal {
    Refusal { code: RpcError::INTERNAL, message }
}

fn invalid(message: String) -> Refusal {
    Refusal { code: RpcError::INVALID_PARAMS, message }
}
