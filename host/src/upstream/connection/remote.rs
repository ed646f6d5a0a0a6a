//! A connection to a server outside of this process: what is asked over it, and when an answer is
//! given up.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::attempt::Way;
use super::faults::{Fault, Faults};
use super::lists::Lists;
use super::params::{Meta, Params, Round};
use crate::ids::UpstreamName;
use crate::tool::{Json, Phase, ToolOutput};
use crate::upstream::answer;
use crate::upstream::client::CallContext;
use crate::upstream::error::UpstreamError;
use crate::upstream::handshake::{Era, RequestMeta, ServerInfo};
use crate::upstream::inbox::{Inbox, Watch};
use crate::upstream::message::AnswerFault;
use crate::upstream::param_headers;
use crate::upstream::redact::Redactor;
use crate::upstream::settings::{Timeouts, ToolSettings};
use crate::upstream::transport::{Request, Transport, TransportError};

/// How often a server may ask for more before it answers.
const MAX_ROUNDS: usize = 10;

/// How many things it may ask for at once.
const MAX_INPUTS: usize = 32;

/// A connection to a server outside of this process.
pub(in crate::upstream) struct Remote {
    pub(super) server: UpstreamName,
    pub(super) way: Way,
    pub(super) link: Arc<dyn Transport>,
    pub(super) info: ServerInfo,
    pub(super) inbox: Arc<Inbox>,
    pub(super) redactor: Arc<Redactor>,
    pub(super) timeouts: Timeouts,
    pub(super) tools: Arc<std::collections::BTreeMap<String, ToolSettings>>,
    pub(super) meta: Option<RequestMeta>,
    /// Whether calls carry headers that tools ask for.
    pub(super) sends_headers: bool,
    pub(super) lists: Lists,
    pub(super) _listener: Option<AbortOnDropHandle<()>>,
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.inbox.shut();
        // The listener may hold the link for a moment longer; the process must not live on so long.
        self.link.abandon();
    }
}

/// How long an answer is waited for.
#[derive(Clone, Copy)]
pub(in crate::upstream) struct Patience {
    /// The end, except for the time that somebody is being asked.
    pub(in crate::upstream) deadline: Instant,
    /// How long that was at the beginning, for the error's text.
    pub(in crate::upstream) total: Duration,
    /// What is being done, for the same.
    pub(in crate::upstream) phase: Phase,
}

/// What can be asked besides calls of tools and lists. All of it may be asked twice.
#[derive(Clone, Copy)]
pub(in crate::upstream) enum Question<'a> {
    /// `resources/read`
    Read { uri: &'a str },
    /// `prompts/get`; the arguments are a JSON object.
    Prompt { name: &'a str, arguments: &'a RawValue },
    /// `completion/complete`
    Complete { reference: &'a RawValue, argument: &'a RawValue, context: Option<&'a RawValue> },
    /// `resources/subscribe`, in the legacy era.
    Subscribe { uri: &'a str },
    /// `resources/unsubscribe`, in the legacy era.
    Unsubscribe { uri: &'a str },
}

impl Question<'_> {
    fn method(&self) -> &'static str {
        match self {
            Self::Read { .. } => "resources/read",
            Self::Prompt { .. } => "prompts/get",
            Self::Complete { .. } => "completion/complete",
            Self::Subscribe { .. } => "resources/subscribe",
            Self::Unsubscribe { .. } => "resources/unsubscribe",
        }
    }
}

/// One request to the server.
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    pub(super) own: &'a [(&'static str, &'a RawValue)],
    pub(super) headers: &'a [(http::HeaderName, http::HeaderValue)],
}

impl Remote {
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: &RawValue,
        context: &CallContext,
        patience: Patience,
    ) -> Result<ToolOutput, Fault> {
        let headers = self.headers(tool, arguments).await.map_err(Fault::of_list)?;
        let name = to_raw_value(tool).map_err(|error| self.unwritable(&error))?;
        let own = [("name", &*name), ("arguments", arguments)];
        let ask = Ask { method: "tools/call", own: &own, headers: &headers };
        let result = self.ask(&ask, context, patience).await?;
        answer::read(result).map_err(|problem| Fault::Final(self.faults().bad_answer(&problem)))
    }

    /// One question other than a tool's call; its result as it came.
    pub(super) async fn put(
        &self,
        question: &Question<'_>,
        context: &CallContext,
        patience: Patience,
    ) -> Result<Json, Fault> {
        let text = |text: &str| to_raw_value(text).map_err(|error| self.unwritable(&error));
        let subject = match question {
            Question::Read { uri }
            | Question::Subscribe { uri }
            | Question::Unsubscribe { uri } => Some(("uri", text(uri)?)),
            Question::Prompt { name, .. } => Some(("name", text(name)?)),
            Question::Complete { .. } => None,
        };
        let mut own: Vec<(&'static str, &RawValue)> = Vec::with_capacity(3);
        own.extend(subject.as_ref().map(|(member, value)| (*member, &**value)));
        match question {
            Question::Prompt { arguments, .. } => own.push(("arguments", arguments)),
            Question::Complete { reference, argument, context } => {
                own.extend([("ref", *reference), ("argument", *argument)]);
                own.extend(context.map(|context| ("context", context)));
            }
            _ => {}
        }
        let ask = Ask { method: question.method(), own: &own, headers: &[] };
        self.ask(&ask, context, patience).await
    }

    /// Only the tool's schema tells which arguments are headers, so it has to be known.
    async fn headers(
        &self,
        tool: &str,
        arguments: &RawValue,
    ) -> Result<param_headers::Headers, UpstreamError> {
        if !self.sends_headers {
            return Ok(Vec::new());
        }
        let catalog = self.catalog().await?;
        let tool = catalog.tool(tool);
        let headers = tool.map(|tool| param_headers::of_call(&tool.input_schema, arguments));
        Ok(headers.unwrap_or_default())
    }

    /// Whether the server answers at all: the cheapest question of its era.
    pub(super) async fn ping(&self) -> Result<(), UpstreamError> {
        let method = match self.info.era {
            Era::Legacy => "ping",
            Era::Modern => "server/discover",
        };
        let total = self.timeouts.handshake;
        let deadline = super::deadline_after(total);
        let patience = Patience { deadline, total, phase: Phase::Probe };
        let ask = Ask { method, own: &[], headers: &[] };
        let watch = self.watch(CallContext::default());
        match self.request(&ask, None, &watch, patience).await {
            // Whatever it says, it is there.
            Ok(_) | Err(Waited::Failed(TransportError::Answer(AnswerFault::Rejected(_)))) => Ok(()),
            Err(error) => Err(self.judge(error, patience).into_error()),
        }
    }

    /// Asks, and asks again with what the server wants to know before it answers.
    pub(super) async fn ask(
        &self,
        ask: &Ask<'_>,
        context: &CallContext,
        patience: Patience,
    ) -> Result<Json, Fault> {
        let watch = self.watch(context.clone());
        let mut round = None;
        for _ in 0..MAX_ROUNDS {
            let outcome = self.request(ask, round.as_ref(), &watch, patience).await;
            let result = outcome.map_err(|error| self.judge(error, patience))?;
            match InputRequired::read(&result) {
                None => return Ok(result),
                Some(Err(problem)) => return Err(Fault::Final(self.faults().bad_answer(&problem))),
                Some(Ok(wanted)) => round = Some(self.gather(wanted, &watch).await?),
            }
        }
        let problem = format!("it asked for more input {MAX_ROUNDS} times and never answered");
        Err(Fault::Final(self.faults().bad_answer(&problem)))
    }

    /// Has the server's questions answered, all at once. Nobody's time runs meanwhile.
    async fn gather(&self, wanted: InputRequired, watch: &Arc<Watch>) -> Result<Round, Fault> {
        let _paused = watch.pause();
        let answers = wanted.requests.into_iter().map(|(key, (method, params))| async move {
            let answer = self.inbox.ask(&key, &method, params, watch).await;
            answer.map(|answer| (key, answer)).map_err(|refusal| (method, refusal))
        });
        let answers = futures::future::try_join_all(answers).await;
        let responses = answers.map_err(|(method, refusal)| {
            let why = refusal.message;
            let problem = format!("it asks for {method} before it answers, and {why}");
            Fault::Final(self.faults().bad_answer(&problem))
        })?;
        Ok(Round { responses: responses.into_iter().collect(), state: wanted.state })
    }

    /// One request, until its answer, the deadline or too long a silence.
    pub(super) async fn request(
        &self,
        ask: &Ask<'_>,
        round: Option<&Round>,
        watch: &Arc<Watch>,
        patience: Patience,
    ) -> Result<Json, Waited> {
        let token = (patience.phase == Phase::Call).then_some(watch.token);
        let caller = watch.context().meta.as_deref();
        let protocol = self.meta.as_ref().map(|meta| meta.on_behalf_of(watch.context()));
        let wants_log = watch.context().events.is_some();
        let protocol = protocol.as_deref();
        let meta = Meta { caller, protocol, progress_token: token, wants_log };
        let params = to_raw_value(&Params { own: ask.own, round, meta }).map_err(|error| {
            Waited::Failed(TransportError::Answer(AnswerFault::Malformed(error.to_string())))
        })?;
        let mut headers = ask.headers.to_vec();
        if self.sends_headers {
            headers.extend(param_headers::of_target(ask.method, ask.own));
        }
        let request = Request {
            method: ask.method,
            params: &params,
            headers: &headers,
            cancellable: true,
            watch: Some(watch),
        };
        watch.touch();
        let mut answer = self.link.request(request);
        loop {
            let silence = super::later(watch.last_sign(), self.timeouts.read);
            let deadline = super::later(patience.deadline, watch.pauses().before());
            tokio::select! {
                biased;
                answer = &mut answer => return answer.map_err(Waited::Failed),
                () = tokio::time::sleep_until(silence.min(deadline)) => {}
            }
            if watch.pauses().is_open() {
                // Somebody is being asked; that takes its time, which is added afterwards.
                tokio::select! {
                    biased;
                    answer = &mut answer => return answer.map_err(Waited::Failed),
                    () = watch.pauses().over() => continue,
                }
            }
            if Instant::now() >= super::later(patience.deadline, watch.pauses().before()) {
                return Err(Waited::TooLong);
            }
            if Instant::now() >= super::later(watch.last_sign(), self.timeouts.read) {
                return Err(Waited::Silence);
            }
        }
    }

    pub(super) fn watch(&self, context: CallContext) -> crate::upstream::inbox::Watching {
        self.inbox.watch(context)
    }

    pub(super) fn faults(&self) -> Faults<'_> {
        Faults { server: &self.server, redactor: &self.redactor }
    }

    fn unwritable(&self, error: &serde_json::Error) -> Fault {
        Fault::Final(self.faults().bad_answer(&error.to_string()))
    }

    pub(super) fn judge(&self, waited: Waited, patience: Patience) -> Fault {
        let (server, hint) = (self.server.clone(), self.link.hint());
        let (phase, after) = match waited {
            Waited::Failed(error) => return self.faults().judge(patience.phase, error),
            Waited::TooLong => (patience.phase, patience.total),
            Waited::Silence => (Phase::Read, self.timeouts.read),
        };
        Fault::Ambiguous(UpstreamError::TimedOut { server, phase, after, hint })
    }
}

/// Why a request has no answer.
pub(super) enum Waited {
    Failed(TransportError),
    /// Its time is over.
    TooLong,
    /// The server gave no sign for too long.
    Silence,
}

/// What a server wants to know before it answers.
struct InputRequired {
    /// Method and params by the server's name for the question.
    requests: Vec<(String, (String, Option<Json>))>,
    state: Option<Json>,
}

impl InputRequired {
    /// `None` if the result is an answer.
    fn read(result: &RawValue) -> Option<Result<Self, String>> {
        #[derive(Deserialize)]
        struct Kind<'a> {
            #[serde(borrow, rename = "resultType")]
            kind: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Written {
            #[serde(default)]
            input_requests: indexmap::IndexMap<String, Question>,
            request_state: Option<Json>,
        }
        #[derive(Deserialize)]
        struct Question {
            method: String,
            params: Option<Json>,
        }
        // Most results say nothing of the kind, and need not be read for it.
        if !result.get().contains("input_required") {
            return None;
        }
        let kind = serde_json::from_str::<Kind<'_>>(result.get()).ok()?.kind?;
        if kind.get() != "\"input_required\"" {
            return None;
        }
        if crate::upstream::message::too_deep(result.get()) {
            return Some(Err("what it asks for is nested too deeply".to_owned()));
        }
        let written: Written = match serde_json::from_str(result.get()) {
            Ok(written) => written,
            Err(error) => return Some(Err(format!("what it asks for cannot be read: {error}"))),
        };
        if written.input_requests.len() > MAX_INPUTS {
            return Some(Err(format!("it asks for more than {MAX_INPUTS} things at once")));
        }
        let requests = written.input_requests.into_iter();
        let requests = requests.map(|(key, asked)| (key, (asked.method, asked.params))).collect();
        Some(Ok(Self { requests, state: written.request_state }))
    }
}
