//! An author's tests: tools run natively, with `cargo test`, against answers that the test prepared.
//!
//! ```
//! # extern crate toolcell_guest as toolcell;
//! use serde_json::json;
//! use toolcell::testing::Host;
//! use toolcell::{CallError, tools};
//!
//! /// Asks the first server, and the second if the first is down.
//! #[toolcell::tool]
//! async fn find(query: String) -> Result<String, CallError> {
//!     match tools::call("search.find", &json!({"query": query})).text().await {
//!         Err(error) if error.is_transient() => {
//!             tools::call("wiki.find", &json!({"query": query})).text().await
//!         }
//!         answer => answer,
//!     }
//! }
//!
//! # fn main() {
//! let host = Host::new()
//!     .fail("search.find", CallError::Unavailable("search is down".to_owned()))
//!     .answer("wiki.find", json!("found it"));
//!
//! // The function is still a function.
//! assert_eq!(host.run(find("wasm".to_owned())), Ok("found it".to_owned()));
//! // And a tool, with its arguments as JSON.
//! let output = host.call::<find>(json!({"query": "wasm"})).unwrap();
//! assert_eq!(output.text(), "found it");
//! assert_eq!(host.calls()[1].tool, "wiki.find");
//! # }
//! ```
//!
//! Time is made up: an answer that comes [after](Host::after) a minute comes at once, and whoever
//! waited has waited for a minute. So time-outs can be tested without waiting for them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::asks::{Abilities, Elicited};
use crate::executor::{self, Answer};
use crate::log::Level;
use crate::prompts::Prompt;
use crate::resources::Resource;
use crate::tool::{Arguments, Definition, Refusal, Tool};
use crate::{CallError, Output, tools};

thread_local! {
    static CURRENT: RefCell<Option<Rc<RefCell<Double>>>> = const { RefCell::new(None) };
}

/// What the tools of a test see in place of the real host.
#[derive(Clone, Debug, Default)]
pub struct Host {
    double: Rc<RefCell<Double>>,
}

/// A call that a tool made, as [`Host::calls`] gives it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Called {
    /// The tool, `server.tool`.
    pub tool: String,
    /// Its arguments.
    pub arguments: Value,
    /// What became of it.
    pub end: End,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is out.
    Open,
    /// It was answered, or failed.
    Answered,
    /// Nobody waited for it any more.
    Cancelled,
}

impl Host {
    /// A host that grants nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Grants a tool, `server.tool`, and lets it answer so: a string as a text, an object as structured
    /// content. Where several answers fit a call, the one that was added last is given.
    #[must_use]
    pub fn answer(self, tool: &str, value: Value) -> Self {
        self.rule(tool, None, Reply::Value(value))
    }

    /// As [`answer`](Self::answer), for calls of which the arguments have these members.
    #[must_use]
    pub fn answer_when(self, tool: &str, arguments: Value, value: Value) -> Self {
        self.rule(tool, Some(arguments), Reply::Value(value))
    }

    /// Grants a tool that answers as a function of its arguments does.
    #[must_use]
    pub fn answer_with(
        self,
        tool: &str,
        answer: impl Fn(&Value) -> Result<Output, CallError> + 'static,
    ) -> Self {
        self.rule(tool, None, Reply::With(Rc::new(answer)))
    }

    /// Grants a tool of which calls fail.
    #[must_use]
    pub fn fail(self, tool: &str, error: CallError) -> Self {
        self.rule(tool, None, Reply::Error(error))
    }

    /// Lets the answer that was added last come after a time.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        if let Some(rule) = self.double.borrow_mut().rules.last_mut() {
            rule.after = time;
        }
        self
    }

    /// Adds the `calls` of a test or a recording of `toolcell plugin test`, written as JSON. Each of
    /// these answers is given once, in the order in which they stand, before any other.
    ///
    /// ```
    /// # use toolcell_guest as toolcell;
    /// let host = toolcell::testing::Host::new().recorded(r#"{"calls": [
    ///     {"tool": "search.find", "arguments": {"query": "wasm"}, "text": "found it"},
    ///     {"tool": "wiki.find", "after": "300ms", "unavailable": "wiki is down"}
    /// ]}"#);
    /// ```
    ///
    /// # Panics
    /// The text is something else.
    #[must_use]
    #[track_caller]
    pub fn recorded(self, json: &str) -> Self {
        let recording: Recording = match serde_json::from_str(json) {
            Ok(recording) => recording,
            Err(error) => panic!("the recorded calls cannot be read: {error}"),
        };
        for call in recording.calls {
            let (after, rule) = (call.after.as_deref().map_or(Duration::ZERO, duration), call);
            let reply = if let Some(message) = rule.error {
                Reply::With(Rc::new(move |_| Ok(Output::error(&message))))
            } else if let Some(message) = rule.unavailable {
                Reply::Error(CallError::Unavailable(message))
            } else if let Some(message) = rule.rejected {
                Reply::Error(CallError::Rejected { code: -32000, message, data: None })
            } else if rule.timed_out {
                let message = format!("{} did not answer in time", rule.tool);
                Reply::Error(CallError::TimedOut { after, phase: "call".to_owned(), message })
            } else {
                let text = rule.text.map(Value::String);
                Reply::Value(rule.answer.or(text).unwrap_or_default())
            };
            let rule = Rule {
                tool: rule.tool,
                when: rule.arguments,
                reply,
                after,
                once: true,
                given: false,
            };
            self.double.borrow_mut().rules.push(rule);
        }
        self
    }

    /// Grants a resource with this text.
    #[must_use]
    pub fn resource(self, server: &str, uri: &str, text: &str) -> Self {
        let key = (server.to_owned(), uri.to_owned());
        self.double.borrow_mut().resources.insert(key, text.to_owned());
        self
    }

    /// Grants a prompt, `server.prompt`, that becomes this text whatever is filled in.
    #[must_use]
    pub fn prompt(self, name: &str, text: &str) -> Self {
        self.double.borrow_mut().prompts.insert(name.to_owned(), text.to_owned());
        self
    }

    /// There is a person, who fills in every form so.
    #[must_use]
    pub fn person(self, form: Value) -> Self {
        self.double.borrow_mut().person = Some(Elicited::Accepted(form.to_string()));
        self
    }

    /// There is a person, who declines.
    #[must_use]
    pub fn person_declines(self) -> Self {
        self.double.borrow_mut().person = Some(Elicited::Declined);
        self
    }

    /// There is a model, which answers so.
    #[must_use]
    pub fn model(self, text: &str) -> Self {
        self.double.borrow_mut().model = Some(text.to_owned());
        self
    }

    /// An earlier call has kept this value.
    #[must_use]
    pub fn state(self, key: &str, value: Value) -> Self {
        self.double.borrow_mut().state.insert(key.to_owned(), value.to_string());
        self
    }

    /// Runs a future, such as a tool's function, with this host.
    ///
    /// # Panics
    /// The future waits for what cannot come: for no call and for no time.
    #[track_caller]
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        match self.inside(|| executor::run(future)) {
            Ok(value) => value,
            Err(executor::Stalled) => panic!("the future waits for no call and for no time"),
        }
    }

    /// Calls a tool as the host would, with arguments as JSON.
    ///
    /// # Errors
    /// The arguments do not fit.
    #[track_caller]
    pub fn call<T: Tool>(&self, arguments: Value) -> Result<Output, Refusal> {
        let arguments = Arguments::parse(&arguments.to_string())?;
        self.run(async { T::call(arguments).await })
    }

    /// The calls that were made, in the order in which they began.
    #[must_use]
    pub fn calls(&self) -> Vec<Called> {
        self.double.borrow().calls.clone()
    }

    /// What was logged.
    #[must_use]
    pub fn logged(&self) -> Vec<(Level, String)> {
        self.double.borrow().log.clone()
    }

    /// The progress that was told: how far, of how much, and with which words.
    #[must_use]
    pub fn progress(&self) -> Vec<(f64, Option<f64>, Option<String>)> {
        self.double.borrow().progress.clone()
    }

    /// A value that a tool has kept.
    #[must_use]
    pub fn kept(&self, key: &str) -> Option<Value> {
        let double = self.double.borrow();
        double.state.get(key).and_then(|json| serde_json::from_str(json).ok())
    }

    /// The time that has passed on the run's clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.double.borrow().now)
    }

    fn rule(self, tool: &str, when: Option<Value>, reply: Reply) -> Self {
        assert!(tool.contains('.'), "a tool is named `server.tool`, and {tool:?} is not");
        let tool = tool.to_owned();
        let rule = Rule { tool, when, reply, after: Duration::ZERO, once: false, given: false };
        self.double.borrow_mut().rules.push(rule);
        self
    }

    /// Makes this host the one of the thread meanwhile.
    fn inside<T>(&self, perform: impl FnOnce() -> T) -> T {
        struct Restore(Option<Rc<RefCell<Double>>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(Rc::clone(&self.double))));
        perform()
    }
}

/// How a tool is listed: to look at its name, its description and its schemas.
///
/// ```
/// # extern crate toolcell_guest as toolcell;
/// /// Adds two numbers.
/// #[toolcell::tool(read_only)]
/// fn add(a: i64, b: i64) -> String {
///     (a + b).to_string()
/// }
/// # fn main() {
/// let definition = toolcell::testing::definition::<add>();
/// assert_eq!(definition.description.as_deref(), Some("Adds two numbers."));
/// assert_eq!(definition.input_schema["required"], serde_json::json!(["a", "b"]));
/// # }
/// ```
#[must_use]
pub fn definition<T: Tool>() -> Definition {
    T::definition()
}

/// Uses the host of the test that runs on this thread.
#[track_caller]
pub(crate) fn with_double<T>(perform: impl FnOnce(&mut Double) -> T) -> T {
    match try_with_double(perform) {
        Some(value) => value,
        None => panic!(
            "there is no toolcell around: in a test, do this inside `toolcell::testing::Host::run`"
        ),
    }
}

/// The same where it does not matter if there is none.
pub(crate) fn try_with_double<T>(perform: impl FnOnce(&mut Double) -> T) -> Option<T> {
    let double = CURRENT.with_borrow(Clone::clone)?;
    let mut double = double.borrow_mut();
    Some(perform(&mut double))
}

#[derive(Debug)]
struct Rule {
    tool: String,
    when: Option<Value>,
    reply: Reply,
    after: Duration,
    /// It is recorded: given once, in order.
    once: bool,
    given: bool,
}

/// What `toolcell plugin test` records, as far as it matters here.
#[derive(Deserialize)]
struct Recording {
    calls: Vec<RecordedCall>,
}

#[derive(Deserialize)]
struct RecordedCall {
    tool: String,
    arguments: Option<Value>,
    after: Option<String>,
    answer: Option<Value>,
    text: Option<String>,
    error: Option<String>,
    unavailable: Option<String>,
    rejected: Option<String>,
    #[serde(default)]
    timed_out: bool,
}

/// `300ms`, `2s` or `1m`.
#[track_caller]
fn duration(text: &str) -> Duration {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_secs(60),
        _ => panic!("{text:?} is no time: write it as \"300ms\", \"2s\" or \"1m\""),
    };
    match digits.parse::<u32>() {
        Ok(count) => unit * count,
        Err(_) => panic!("{text:?} is no time: write it as \"300ms\", \"2s\" or \"1m\""),
    }
}

type Answering = dyn Fn(&Value) -> Result<Output, CallError>;

#[derive(Clone)]
enum Reply {
    Value(Value),
    Error(CallError),
    With(Rc<Answering>),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Error(error) => error.fmt(f),
            Self::With(_) => f.write_str("a function"),
        }
    }
}

impl Rule {
    fn fits(&self, tool: &str, arguments: &Value) -> bool {
        let members = self.when.as_ref().and_then(Value::as_object).into_iter().flatten();
        self.tool == tool
            && members.into_iter().all(|(name, value)| arguments.get(name) == Some(value))
    }
}

/// What a test prepared, and what has happened since.
#[derive(Debug, Default)]
pub(crate) struct Double {
    rules: Vec<Rule>,
    resources: BTreeMap<(String, String), String>,
    prompts: BTreeMap<String, String>,
    person: Option<Elicited<String>>,
    model: Option<String>,
    state: BTreeMap<String, String>,
    calls: Vec<Called>,
    log: Vec<(Level, String)>,
    progress: Vec<(f64, Option<f64>, Option<String>)>,
    now: u64,
    started: u64,
    /// Calls that are out: when their answers come, by the call's number; and which of `calls` it is.
    out: BTreeMap<u64, (u64, Answer, Option<usize>)>,
}

fn once_each<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.fold(Vec::new(), |mut all: Vec<String>, name| {
        if !all.iter().any(|known| known == name) {
            all.push(name.to_owned());
        }
        all
    })
}

impl Double {
    pub(crate) fn servers(&self) -> Vec<String> {
        once_each(self.rules.iter().filter_map(|rule| Some(rule.tool.split_once('.')?.0)))
    }

    pub(crate) fn names(&self, server: &str) -> Result<Vec<String>, CallError> {
        let tools = self.rules.iter().filter_map(|rule| rule.tool.split_once('.'));
        let names = once_each(tools.filter(|(of, _)| *of == server).map(|(_, tool)| tool));
        if names.is_empty() {
            return Err(CallError::UnknownTool(format!(
                "no tool of {server} is granted to this test"
            )));
        }
        Ok(names)
    }

    pub(crate) fn describe(&self, name: &str) -> Result<tools::Tool, CallError> {
        if !self.rules.iter().any(|rule| rule.tool == name) {
            return Err(self.not_granted(name));
        }
        Ok(tools::Tool {
            name: name.to_owned(),
            title: None,
            description: None,
            input_schema: json!({"type": "object"}),
            output_schema: None,
            read_only: false,
            idempotent: false,
            destructive: false,
        })
    }

    fn not_granted(&self, name: &str) -> CallError {
        let granted = once_each(self.rules.iter().map(|rule| rule.tool.as_str())).join(", ");
        CallError::UnknownTool(format!(
            "no tool `{name}` is granted to this test, which has prepared: {granted}"
        ))
    }

    pub(crate) fn start(&mut self, name: &str, arguments: &str) -> u64 {
        let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
        let fits = |rule: &Rule| rule.fits(name, &arguments);
        let recorded = self.rules.iter().position(|rule| rule.once && !rule.given && fits(rule));
        let chosen =
            recorded.or_else(|| self.rules.iter().rposition(|rule| !rule.once && fits(rule)));
        if let Some(chosen) = chosen {
            self.rules[chosen].given = true;
        }
        let (answer, after) = match chosen.map(|chosen| &self.rules[chosen]) {
            None => (Err(self.not_granted(name)), Duration::ZERO),
            Some(rule) => {
                let answer = match &rule.reply {
                    Reply::Value(value) => Output::of(value),
                    Reply::Error(error) => Err(error.clone()),
                    Reply::With(answer) => answer(&arguments),
                };
                (answer, rule.after)
            }
        };
        self.calls.push(Called { tool: name.to_owned(), arguments, end: End::Open });
        self.begin(answer, after, Some(self.calls.len() - 1))
    }

    pub(crate) fn start_read(&mut self, server: &str, uri: &str) -> u64 {
        let text = self.resources.get(&(server.to_owned(), uri.to_owned()));
        let answer = match text {
            Some(text) => Output::of(&json!({"contents": [{"uri": uri, "text": text}]})),
            None => Err(CallError::UnknownTool(format!(
                "no resource {uri} of {server} is granted to this test"
            ))),
        };
        self.begin(answer, Duration::ZERO, None)
    }

    pub(crate) fn start_prompt(&mut self, name: &str, _arguments: &str) -> u64 {
        let answer = match self.prompts.get(name) {
            Some(text) => Output::of(&json!({
                "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
            })),
            None => {
                Err(CallError::UnknownTool(format!("no prompt `{name}` is granted to this test")))
            }
        };
        self.begin(answer, Duration::ZERO, None)
    }

    fn begin(&mut self, answer: Answer, after: Duration, call: Option<usize>) -> u64 {
        self.started += 1;
        let at = self.now + u64::try_from(after.as_nanos()).unwrap_or(u64::MAX / 2);
        self.out.insert(self.started, (at, answer, call));
        self.started
    }

    pub(crate) fn wait(&mut self, timeout_ns: Option<u64>) -> Vec<(u64, Answer)> {
        let over = timeout_ns.map(|timeout| self.now.saturating_add(timeout));
        let next = self.out.values().map(|(at, ..)| *at).min();
        let until = match (next, over) {
            (Some(next), Some(over)) => next.min(over),
            (Some(until), None) | (None, Some(until)) => until,
            (None, None) => return Vec::new(),
        };
        self.now = self.now.max(until);
        let now = self.now;
        let due: Vec<u64> =
            self.out.iter().filter(|(_, (at, ..))| *at <= now).map(|(id, _)| *id).collect();
        let answers = due.into_iter().filter_map(|id| {
            let (_, answer, call) = self.out.remove(&id)?;
            if let Some(call) = call {
                self.calls[call].end = End::Answered;
            }
            Some((id, answer))
        });
        answers.collect()
    }

    pub(crate) fn cancel(&mut self, id: u64) {
        if let Some((_, _, Some(call))) = self.out.remove(&id) {
            self.calls[call].end = End::Cancelled;
        }
    }

    pub(crate) fn resource_servers(&self) -> Vec<String> {
        once_each(self.resources.keys().map(|(server, _)| server.as_str()))
    }

    pub(crate) fn resources_listed(&self, server: &str) -> Result<Vec<Resource>, CallError> {
        let of_server = self.resources.keys().filter(|(of, _)| of == server);
        let listed = of_server.map(|(_, uri)| Resource {
            uri: uri.clone(),
            name: uri.clone(),
            title: None,
            description: None,
            mime_type: None,
            size: None,
        });
        Ok(listed.collect())
    }

    pub(crate) fn prompt_servers(&self) -> Vec<String> {
        once_each(self.prompts.keys().filter_map(|name| Some(name.split_once('.')?.0)))
    }

    pub(crate) fn prompts_listed(&self, server: &str) -> Result<Vec<Prompt>, CallError> {
        let names = self.prompts.keys().filter_map(|name| name.split_once('.'));
        let listed = names.filter(|(of, _)| *of == server).map(|(_, name)| Prompt {
            name: name.to_owned(),
            title: None,
            description: None,
            arguments: Vec::new(),
        });
        Ok(listed.collect())
    }

    pub(crate) fn log(&mut self, level: Level, message: &str) {
        self.log.push((level, message.to_owned()));
    }

    pub(crate) fn progress(&mut self, done: f64, total: Option<f64>, message: Option<&str>) {
        self.progress.push((done, total, message.map(str::to_owned)));
    }

    pub(crate) fn state_get(&self, key: &str) -> Option<String> {
        self.state.get(key).cloned()
    }

    pub(crate) fn state_set(&mut self, key: &str, value: &str) {
        self.state.insert(key.to_owned(), value.to_owned());
    }

    pub(crate) fn state_delete(&mut self, key: &str) -> bool {
        self.state.remove(key).is_some()
    }

    pub(crate) fn state_keys(&self) -> Vec<String> {
        self.state.keys().cloned().collect()
    }

    pub(crate) fn abilities(&self) -> Abilities {
        Abilities { elicitation: self.person.is_some(), sampling: self.model.is_some() }
    }

    pub(crate) fn elicit(&self, message: &str) -> Result<Elicited<String>, CallError> {
        self.person.clone().ok_or_else(|| {
            CallError::Unavailable(format!("nobody is there to be asked {message:?}"))
        })
    }

    pub(crate) fn sample(&self) -> Result<String, CallError> {
        let text = self.model.as_ref();
        let text = text.ok_or_else(|| CallError::Unavailable("no model is there".to_owned()))?;
        let content = json!({"type": "text", "text": text});
        Ok(json!({"role": "assistant", "content": content}).to_string())
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now
    }
}
