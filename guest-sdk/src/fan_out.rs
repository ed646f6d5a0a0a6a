//! One question to several servers, each a branch of its own: none cancels or delays another, and
//! whoever fails is named, with why and after how long.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::{Sleep, sleep};
use crate::{CallError, imports};

/// Branches that are to run at once. Awaiting it gives what became of [each](Branches).
///
/// ```
/// # use toolcell_guest as toolcell;
/// # use serde_json::json;
/// # use toolcell::CallError;
/// # let host = toolcell::testing::Host::new()
/// #     .answer("search.search", json!(["a"]))
/// #     .answer("wiki.search", json!(["b"])).after(std::time::Duration::from_secs(9))
/// #     .fail("papers.find", CallError::Unavailable("papers cannot be reached".into()));
/// # host.run(async {
/// use std::time::Duration;
/// use toolcell::{FanOut, tools};
///
/// let question = json!({"query": "wasm"});
/// let branches = FanOut::<Vec<String>>::new()
///     .branch("search", tools::call("search.search", &question).json())
///     .branch("wiki", tools::call("wiki.search", &question).json())
///     .branch("papers", tools::call("papers.find", &question).json())
///     .each_within(Duration::from_secs(2))
///     .await;
/// assert_eq!(branches.answers().collect::<Vec<_>>(), [("search", &vec!["a".to_owned()])]);
///
/// let failures: Vec<_> = branches.failures().iter().map(ToString::to_string).collect();
/// assert_eq!(failures, [
///     "wiki: no answer within 2s",
///     "papers: papers cannot be reached (after 0 ms)",
/// ]);
/// # });
/// ```
#[must_use = "the branches start when it is awaited"]
pub struct FanOut<'a, T> {
    branches: Vec<Planned<'a, T>>,
    each_within: Option<Duration>,
}

type Fallible<'a, T> = Pin<Box<dyn Future<Output = Result<T, CallError>> + 'a>>;

struct Planned<'a, T> {
    name: String,
    future: Fallible<'a, T>,
    within: Option<Duration>,
}

/// The branches of an iterator, each with its name: for servers that are known only when it runs.
///
/// ```
/// # use toolcell_guest as toolcell;
/// # use serde_json::json;
/// # let host = toolcell::testing::Host::new()
/// #     .answer("search.search", json!("a")).answer("wiki.search", json!("b"));
/// # host.run(async {
/// let servers = toolcell::tools::servers().into_iter().map(|server| {
///     let call = toolcell::tools::server(&server).call("search", &json!({"query": "wasm"}));
///     (server, call.text())
/// });
/// let branches = toolcell::fan_out(servers).await;
/// assert_eq!(branches.answers().count(), 2);
/// # });
/// ```
pub fn fan_out<'a, T, N, F>(branches: impl IntoIterator<Item = (N, F)>) -> FanOut<'a, T>
where
    N: Into<String>,
    F: Future<Output = Result<T, CallError>> + 'a,
{
    branches.into_iter().fold(FanOut::new(), |fan, (name, future)| fan.branch(name, future))
}

impl<'a, T> FanOut<'a, T> {
    /// Of no branch yet.
    pub fn new() -> Self {
        Self { branches: Vec::new(), each_within: None }
    }

    /// Adds a branch: a call, or any future that may fail as one.
    pub fn branch(
        mut self,
        name: impl Into<String>,
        future: impl Future<Output = Result<T, CallError>> + 'a,
    ) -> Self {
        self.branches.push(Planned { name: name.into(), future: Box::pin(future), within: None });
        self
    }

    /// Gives the branch that was added last a time of its own. Its calls are cancelled then.
    pub fn within(mut self, time: Duration) -> Self {
        if let Some(last) = self.branches.last_mut() {
            last.within = Some(time);
        }
        self
    }

    /// Gives every branch that has no time of its own so long.
    pub fn each_within(mut self, time: Duration) -> Self {
        self.each_within = Some(time);
        self
    }
}

impl<T> Default for FanOut<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for FanOut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.branches.iter().map(|branch| &branch.name)).finish()
    }
}

impl<'a, T: 'a> IntoFuture for FanOut<'a, T> {
    type Output = Branches<T>;
    type IntoFuture = Pin<Box<dyn Future<Output = Branches<T>> + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let begun = imports::now_ns();
            let each_within = self.each_within;
            let mut running: Vec<_> = self
                .branches
                .into_iter()
                .map(|planned| {
                    let within = planned.within.or(each_within);
                    Running {
                        name: planned.name,
                        future: Some(planned.future),
                        limit: within.map(|within| (within, sleep(within))),
                        ended: None,
                    }
                })
                .collect();
            std::future::poll_fn(|context| {
                let mut pending = false;
                for branch in &mut running {
                    pending |= branch.poll(context, begun).is_pending();
                }
                if pending { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            let ended = running.into_iter().filter_map(|branch| {
                let (outcome, after) = branch.ended?;
                Some(Branch { name: branch.name, outcome, after })
            });
            Branches { all: ended.collect() }
        })
    }
}

struct Running<'a, T> {
    name: String,
    /// Dropped as soon as the branch has ended.
    future: Option<Fallible<'a, T>>,
    limit: Option<(Duration, Sleep)>,
    ended: Option<(Outcome<T>, Duration)>,
}

impl<T> Running<'_, T> {
    fn poll(&mut self, context: &mut Context<'_>, begun: u64) -> Poll<()> {
        let Some(future) = &mut self.future else { return Poll::Ready(()) };
        let outcome = match future.as_mut().poll(context) {
            Poll::Ready(Ok(value)) => Outcome::Answered(value),
            Poll::Ready(Err(error)) => Outcome::Failed(error),
            Poll::Pending => match &mut self.limit {
                Some((within, over)) => match Pin::new(over).poll(context) {
                    Poll::Ready(()) => Outcome::TimedOut(*within),
                    Poll::Pending => return Poll::Pending,
                },
                None => return Poll::Pending,
            },
        };
        let after = Duration::from_nanos(imports::now_ns().saturating_sub(begun));
        self.ended = Some((outcome, after));
        self.future = None;
        self.limit = None;
        Poll::Ready(())
    }
}

/// What became of one branch.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<T> {
    /// It has a value.
    Answered(T),
    /// It failed by itself.
    Failed(CallError),
    /// The plugin gave it this long, and that was over first. Its calls were cancelled.
    TimedOut(Duration),
}

/// A branch that has ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Branch<T> {
    /// As it was named.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome<T>,
    /// How long it took, on the run's clock.
    pub after: Duration,
}

/// Why a branch has no value, in a form that can stand in a tool's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Failure {
    /// The branch's name.
    pub branch: String,
    /// The error's name, as [`CallError::kind`] has it.
    pub kind: String,
    /// The error in words.
    pub why: String,
    /// After how many milliseconds.
    pub after_ms: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.branch, self.why)?;
        // A time-out says itself how long it was.
        if self.kind == "timed-out" { Ok(()) } else { write!(f, " (after {} ms)", self.after_ms) }
    }
}

impl<T> Branch<T> {
    /// The value, if it has one.
    #[must_use]
    pub fn answer(&self) -> Option<&T> {
        match &self.outcome {
            Outcome::Answered(value) => Some(value),
            _ => None,
        }
    }

    /// Why it has none.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        let (kind, why) = match &self.outcome {
            Outcome::Answered(_) => return None,
            Outcome::Failed(error) => (error.kind(), error.to_string()),
            Outcome::TimedOut(within) => ("timed-out", format!("no answer within {within:?}")),
        };
        Some(Failure {
            branch: self.name.clone(),
            kind: kind.to_owned(),
            why,
            after_ms: u64::try_from(self.after.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// All branches of a [`FanOut`], in the order in which they were added.
#[derive(Clone, Debug, PartialEq)]
pub struct Branches<T> {
    all: Vec<Branch<T>>,
}

impl<T> Branches<T> {
    /// Every branch.
    pub fn iter(&self) -> std::slice::Iter<'_, Branch<T>> {
        self.all.iter()
    }

    /// The names and values of those that have one.
    pub fn answers(&self) -> impl Iterator<Item = (&str, &T)> {
        self.all.iter().filter_map(|branch| Some((branch.name.as_str(), branch.answer()?)))
    }

    /// The others.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        self.all.iter().filter_map(Branch::failure).collect()
    }

    /// Whether there is not one value: time for another way.
    #[must_use]
    pub fn all_failed(&self) -> bool {
        self.answers().next().is_none()
    }

    /// The names with their values, and the failures.
    #[must_use]
    pub fn split(self) -> (Vec<(String, T)>, Vec<Failure>) {
        let failures = self.failures();
        let answers = self.all.into_iter().filter_map(|branch| match branch.outcome {
            Outcome::Answered(value) => Some((branch.name, value)),
            _ => None,
        });
        (answers.collect(), failures)
    }
}

impl<T> IntoIterator for Branches<T> {
    type Item = Branch<T>;
    type IntoIter = std::vec::IntoIter<Branch<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Branches<T> {
    type Item = &'a Branch<T>;
    type IntoIter = std::slice::Iter<'a, Branch<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}
