//! What a sandbox asks of the world outside. The broker implements it; the sandbox knows no more.

use std::time::Duration;

use async_trait::async_trait;

use crate::ids::CallId;
use crate::limits::{LimitKind, LimitReached};
use crate::offers::{Prompt, Resource, ResourceTemplate};
use crate::pauses::Pauses;
use crate::tool::{CallAnswer, CallError, CallMethod, Json, ToolDescription};

/// What a guest asks for.
#[derive(Clone, Debug)]
pub struct CallRequest {
    /// What kind of call it is.
    pub method: CallMethod,
    /// The full name of the tool or prompt, as the guest wrote it (cut at 512 characters); for a
    /// read, the server's name.
    pub name: String,
    /// The arguments as JSON text, or the URI; empty if they are longer than the run's limit.
    pub arguments: String,
    /// How long the arguments are.
    pub argument_bytes: u64,
}

/// The calls of one run. One value belongs to one run and is dropped with it; dropping it cancels
/// whatever is under way.
///
/// All methods are called from the guest's own thread of execution, one at a time, so completions
/// have one order: the one in which the guest saw them. That order is what a journal records.
#[async_trait]
pub trait RunCalls: Send + 'static {
    /// The servers of which at least one tool may be granted, in the operator's order.
    fn servers(&self) -> Vec<String>;

    /// The names, without the server's, of the tools granted on one server.
    async fn names(&mut self, server: &str) -> Result<Vec<String>, CallError>;

    /// The servers of which resources may be granted, in the operator's order.
    fn resource_servers(&self) -> Vec<String> {
        Vec::new()
    }

    /// The granted resources that one server lists.
    async fn resources(&mut self, server: &str) -> Result<Vec<Resource>, CallError> {
        Err(nothing_of(server))
    }

    /// The templates that one server lists, of which some resource may be granted.
    async fn templates(&mut self, server: &str) -> Result<Vec<ResourceTemplate>, CallError> {
        Err(nothing_of(server))
    }

    /// The servers of which prompts may be granted, in the operator's order.
    fn prompt_servers(&self) -> Vec<String> {
        Vec::new()
    }

    /// The prompts granted on one server.
    async fn prompts(&mut self, server: &str) -> Result<Vec<Prompt>, CallError> {
        Err(nothing_of(server))
    }

    /// One granted tool in full.
    async fn describe(&mut self, name: &str) -> Result<ToolDescription, CallError>;

    /// Makes a call and waits for its answer. Calls that were started go on meanwhile.
    /// Cancel-safe: dropping the future cancels the call upstream.
    async fn call(&mut self, request: CallRequest) -> CallAnswer;

    /// Starts a call. Never blocks; a refusal too comes as a completion.
    ///
    /// # Errors
    /// The guest keeps starting calls long after its limit, and the host will not remember more of
    /// them: the guest has to be stopped.
    fn start(&mut self, request: CallRequest) -> Result<CallId, LimitReached>;

    /// Waits until a started call is complete or the time is over, and takes all completions there
    /// are. Without a timeout and with nothing under way it returns at once.
    async fn wait(&mut self, timeout: Option<Duration>) -> Vec<(CallId, CallAnswer)>;

    /// Cancels a started call, upstream too. Unknown ids are ignored.
    fn cancel(&mut self, id: CallId);

    /// How many calls were started.
    fn count(&self) -> u64;

    /// A value that the plugin keeps for its caller's session.
    fn state_get(&mut self, _key: &str) -> Option<Json> {
        None
    }

    /// Keeps a value, in place of an earlier one. The key has at most [`MAX_STATE_KEY_BYTES`].
    ///
    /// # Errors
    /// There is no room for it.
    fn state_set(&mut self, _key: &str, value: Json) -> Result<(), Exhausted> {
        let used = value.get().len() as u64;
        drop(value);
        Err(Exhausted {
            reached: LimitReached { kind: LimitKind::State, limit: 0, used },
            message: "this run keeps no state: only plugins do".to_owned(),
        })
    }

    /// Forgets a value; tells whether there was one.
    fn state_delete(&mut self, _key: &str) -> bool {
        false
    }

    /// All keys, sorted.
    fn state_keys(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Which questions somebody behind the caller would answer.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// Asks the person with a form. The schema is JSON, and no more is known of it.
    /// Cancel-safe: dropping the future takes the question back.
    async fn elicit(&mut self, _message: String, _schema: Json) -> Result<Elicited, CallError> {
        Err(nobody_answers("elicitation"))
    }

    /// Asks the model, with the params of `sampling/createMessage`, which are JSON and no more.
    /// Cancel-safe as [`RunCalls::elicit`].
    async fn sample(&mut self, _params: Json) -> Result<Json, CallError> {
        Err(nobody_answers("sampling"))
    }

    /// Whether calls of this run use its fuel while it waits for them, as calls of plugins do. Where
    /// they do, what the guest has left is lent before every wait and reclaimed after it.
    fn lends_fuel(&self) -> bool {
        false
    }

    /// The guest begins to wait and has so much left. All of it is at the disposal of its calls.
    fn lend(&mut self, _fuel_left: u64) {}

    /// The guest goes on: what is left for it. What calls hold that are still under way is not; with
    /// nothing left the guest is stopped at its limit.
    fn reclaim(&mut self) -> u64 {
        0
    }

    /// When a person is asked something on behalf of a call: the run's deadline stands still then.
    /// Whoever asks bounds how long an answer may take.
    fn pauses(&self) -> Pauses {
        Pauses::default()
    }
}

/// As much of a key as can name a value that a plugin keeps.
pub const MAX_STATE_KEY_BYTES: usize = 256;

/// Which questions somebody would answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Forms, by a person.
    pub elicitation: bool,
    /// Prompts, by a model.
    pub sampling: bool,
}

/// What a person did with a form.
#[derive(Clone, Debug)]
pub enum Elicited {
    /// Sent it: a JSON object that fits the form's schema.
    Accepted(Json),
    /// Would not.
    Declined,
    /// Put it away.
    Cancelled,
}

/// A limit of the run that something would have exceeded: it was not done.
#[derive(Clone, Debug)]
pub struct Exhausted {
    /// Which one, with the numbers.
    pub reached: LimitReached,
    /// What to do about it.
    pub message: String,
}

fn nobody_answers(what: &str) -> CallError {
    CallError::Unavailable(format!("nobody behind this run answers questions ({what})"))
}

fn nothing_of(server: &str) -> CallError {
    CallError::UnknownTool(format!("nothing of a server `{server}` is granted to this run"))
}

/// A world without tools, for sandboxes that wait for their run.
pub(super) struct NoCalls;

#[async_trait]
impl RunCalls for NoCalls {
    fn servers(&self) -> Vec<String> {
        Vec::new()
    }

    async fn names(&mut self, server: &str) -> Result<Vec<String>, CallError> {
        Err(CallError::UnknownTool(format!("no server `{server}` is granted to this run")))
    }

    async fn describe(&mut self, name: &str) -> Result<ToolDescription, CallError> {
        Err(CallError::UnknownTool(format!("no tool `{name}` is granted to this run")))
    }

    async fn call(&mut self, request: CallRequest) -> CallAnswer {
        Err(CallError::UnknownTool(format!("no tool `{}` is granted to this run", request.name)))
    }

    fn start(&mut self, _request: CallRequest) -> Result<CallId, LimitReached> {
        Err(LimitReached { kind: LimitKind::ToolCalls, limit: 0, used: 1 })
    }

    async fn wait(&mut self, timeout: Option<Duration>) -> Vec<(CallId, CallAnswer)> {
        if let Some(timeout) = timeout {
            tokio::time::sleep(timeout).await;
        }
        Vec::new()
    }

    fn cancel(&mut self, _id: CallId) {}

    fn count(&self) -> u64 {
        0
    }
}
