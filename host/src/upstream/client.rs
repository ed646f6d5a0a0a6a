//! What servers may ask of their client, and who answers: the user's roots, a model (sampling), the
//! user in person (elicitation). Both eras of the protocol ask the same three things, as requests of
//! their own or as `input_required` rounds of a call; here they look the same.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::ids::UpstreamName;
use crate::pauses::Pauses;
use crate::tool::Json;

/// Answers what servers ask. Supplied by whoever has a user or a model: the embedder, or the façade
/// for its own client. Without one, servers are told at the handshake that nobody can be asked.
#[async_trait]
pub trait ClientHandler: Send + Sync + 'static {
    /// What it can do. Of the host's own handler servers are told at the handshake, so there it must
    /// not change.
    fn capabilities(&self) -> ClientCapabilities;

    /// Answers one request with the JSON of its result.
    ///
    /// # Errors
    /// It will not, or nobody is there; the server is told.
    async fn answer(&self, request: ServerRequest) -> Result<Json, Refusal>;
}

/// Which questions a client can answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientCapabilities {
    /// `roots/list`.
    pub roots: bool,
    /// `sampling/createMessage`.
    pub sampling: bool,
    /// Sampling in which the model may use tools.
    pub sampling_tools: bool,
    /// `elicitation/create` with a form.
    pub elicitation: bool,
    /// `elicitation/create` with a URL to visit.
    pub elicitation_url: bool,
}

impl ClientCapabilities {
    /// Reads what a client says of itself (`ClientCapabilities` of either era). Until revision
    /// 2025-11-25 an empty `elicitation` means forms.
    pub(crate) fn from_json(declared: &Value) -> Self {
        let has = |pointer: &str| declared.pointer(pointer).is_some_and(|it| !it.is_null());
        let elicitation = declared.get("elicitation").and_then(Value::as_object);
        Self {
            roots: has("/roots"),
            sampling: has("/sampling"),
            sampling_tools: has("/sampling/tools"),
            elicitation: elicitation.is_some_and(|it| it.is_empty() || it.contains_key("form")),
            elicitation_url: has("/elicitation/url"),
        }
    }

    /// As it stands in the handshake (`ClientCapabilities` of either era).
    pub(in crate::upstream) fn to_json(self) -> Value {
        let mut all = Map::new();
        if self.roots {
            all.insert("roots".into(), json!({}));
        }
        if self.sampling {
            let tools = if self.sampling_tools { json!({ "tools": {} }) } else { json!({}) };
            all.insert("sampling".into(), tools);
        }
        if self.elicitation || self.elicitation_url {
            let mut modes = Map::new();
            if self.elicitation {
                modes.insert("form".into(), json!({}));
            }
            if self.elicitation_url {
                modes.insert("url".into(), json!({}));
            }
            all.insert("elicitation".into(), Value::Object(modes));
        }
        Value::Object(all)
    }

    /// Whether a request of this method can be answered.
    pub(in crate::upstream) fn covers(self, method: &str) -> bool {
        match method {
            "roots/list" => self.roots,
            "sampling/createMessage" => self.sampling,
            "elicitation/create" => self.elicitation || self.elicitation_url,
            _ => false,
        }
    }
}

/// One question of a server.
#[derive(Clone, Debug)]
pub struct ServerRequest {
    /// Who asks.
    pub server: UpstreamName,
    /// What the server itself calls the question, where it has several at once (`input_required`).
    pub key: Option<String>,
    /// `roots/list`, `sampling/createMessage` or `elicitation/create`.
    pub method: String,
    /// As it came: text from a stranger.
    pub params: Option<Json>,
}

/// Why a question has no answer: a JSON-RPC error for the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// JSON-RPC's code.
    pub code: i64,
    /// In words.
    pub message: String,
}

impl Refusal {
    /// Nobody is there to be asked.
    pub fn nobody(method: &str) -> Self {
        let message = format!("this client has nobody who could answer {method}");
        Self { code: crate::upstream::message::METHOD_NOT_FOUND, message }
    }
}

/// What a server says, while it works on a request, about that request; in its order.
#[derive(Clone, Debug)]
pub enum ServerEvent {
    /// `notifications/progress`, its params as they came.
    Progress(Json),
    /// `notifications/message`: a log entry, its params as they came.
    Log(Json),
}

/// A notification of a server, as it comes.
#[derive(Clone)]
pub struct ServerNotice {
    /// Who says it.
    pub server: UpstreamName,
    /// The notification's method; nothing if what came is no message at all.
    pub method: Option<Arc<str>>,
    /// The notification's params, or the beginning of what came as a JSON text.
    pub params: Option<Arc<Json>>,
    /// Whose call it is about, by whoever answers for them, if it is about one.
    pub(in crate::upstream) about: About,
}

/// What a notification is about.
#[derive(Clone)]
pub(in crate::upstream) enum About {
    /// No call, or none that can be told.
    Nothing,
    /// A call that brought this handler, or none of its own.
    Call(Option<Arc<dyn ClientHandler>>),
}

impl ServerNotice {
    /// Whether it says nothing of anybody's calls: all who use the server may hear it.
    pub fn is_for_all(&self) -> bool {
        self.method.as_ref().is_some_and(|method| method.ends_with("/list_changed"))
    }

    /// Whether it is about a call.
    pub fn is_about_a_call(&self) -> bool {
        matches!(self.about, About::Call(_))
    }

    /// Whether it is about a call for which this handler answers.
    pub fn is_about_a_call_of(&self, handler: &Arc<dyn ClientHandler>) -> bool {
        let About::Call(Some(own)) = &self.about else { return false };
        std::ptr::addr_eq(Arc::as_ptr(own), Arc::as_ptr(handler))
    }
}

/// What goes along with one request to an upstream, besides what it asks.
#[derive(Clone, Default)]
pub struct CallContext {
    /// Members for the request's `_meta`, a JSON object: trace context and the like. What the
    /// protocol itself puts there wins.
    pub meta: Option<Json>,
    /// Where to tell what the server says meanwhile. When it is full, or nobody reads it any more,
    /// what comes is dropped: a slow reader never holds up a server.
    pub events: Option<mpsc::Sender<ServerEvent>>,
    /// Who answers what the server asks meanwhile, instead of the host's own handler. A modern
    /// server is told with each request what this one can do.
    pub handler: Option<Arc<dyn ClientHandler>>,
    /// What stands still while somebody is asked, besides the request itself: a run.
    pub pauses: Option<Pauses>,
}
