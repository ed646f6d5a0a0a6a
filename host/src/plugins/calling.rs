//! One call of a plugin in the sandbox, in a fresh instance or in its session's, and what its end means
//! for its caller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::kept::{Key, Turn};
use super::set::{Common, KeptOf, Loaded};
use crate::broker::{PluginCall, PluginEnd, Session};
use crate::ids::ToolName;
use crate::limits::{LimitKind, LimitReached, Usage};
use crate::sandbox::{PluginExecution, PluginOutcome, SandboxError, Surroundings};
use crate::tool::{CallAnswer, CallError, Phase};

/// As much of a plugin's last words as stands in an error.
const LAST_WORDS_BYTES: usize = 600;

/// As much of what was printed as anybody looks at.
const PRINTED_BYTES: usize = 64 << 10;

/// Makes a call. It ends when `call.cancel` says so.
pub(super) async fn call(
    loaded: &Arc<Loaded>,
    stateful: Option<Duration>,
    common: &Common,
    call: PluginCall,
) -> PluginEnd {
    let name = call.name.clone();
    let deadline = call.limits.deadline;
    let done = match stateful {
        None => fresh(loaded, call).await,
        Some(idle) => match Waiting::of(&call).turn(idle, common).await {
            Ok(turn) => kept(loaded, turn, call).await,
            Err(error) => return unbegun(Err(error)),
        },
    };
    match done {
        Ok(execution) => end(&name, execution, deadline),
        Err(error) => {
            unbegun(Err(CallError::Unavailable(format!("`{name}` is not called: {error}"))))
        }
    }
}

/// A plugin that is not there any more.
pub(super) fn gone(name: &ToolName) -> PluginEnd {
    unbegun(Err(CallError::Unavailable(format!("plugin {} is gone", name.upstream))))
}

fn unbegun(answer: CallAnswer) -> PluginEnd {
    PluginEnd { answer, usage: Usage::default(), printed: String::new() }
}

async fn fresh(loaded: &Loaded, call: PluginCall) -> Result<PluginExecution, SandboxError> {
    let (tool, arguments, cancel) =
        (call.name.tool.clone(), call.arguments.clone(), call.cancel.clone());
    loaded.plugin.call(&tool, arguments.get(), surroundings(call), &cancel).await
}

/// What of a call is needed until its turn comes.
struct Waiting {
    name: ToolName,
    session: Session,
    calls_itself: bool,
    deadline: Instant,
    cancel: CancellationToken,
}

impl Waiting {
    fn of(call: &PluginCall) -> Self {
        Self {
            name: call.name.clone(),
            session: call.session.clone(),
            calls_itself: call.callers.contains(&call.name.upstream),
            deadline: call.deadline,
            cancel: call.cancel.clone(),
        }
    }

    async fn turn(self, idle: Duration, common: &Common) -> Result<Turn<KeptOf>, CallError> {
        let Self { name, session, calls_itself, deadline, cancel } = self;
        let plugin = name.upstream.clone();
        if calls_itself {
            // It would wait for itself until its time is over.
            return Err(CallError::Unavailable(format!(
                "`{name}` is not called: plugin {plugin} is `stateful`, its instance is at work on the \
                 call that led here, and its calls take turns"
            )));
        }
        let began = Instant::now();
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(CallError::Cancelled),
            turn = common.kept.turn(Key { plugin, session }, idle) => turn.map_err(|error| {
                CallError::Unavailable(format!("`{name}` is not called: {error}"))
            }),
            () = tokio::time::sleep_until(deadline.into()) => Err(CallError::TimedOut {
                after: began.elapsed(),
                phase: Phase::Queue,
                message: format!(
                    "`{name}` waited {} ms for the calls before it to end: calls of a `stateful` \
                     plugin in one session take turns",
                    began.elapsed().as_millis()
                ),
            }),
        }
    }
}

async fn kept(
    loaded: &Arc<Loaded>,
    mut turn: Turn<KeptOf>,
    call: PluginCall,
) -> Result<PluginExecution, SandboxError> {
    // One of an older file is of no use any more.
    let guest = turn.take().filter(|kept| Arc::ptr_eq(&kept.of, loaded));
    let guest = match guest {
        Some(kept) => kept.guest,
        None => loaded.plugin.open().await?,
    };
    let (tool, arguments, cancel) =
        (call.name.tool.clone(), call.arguments.clone(), call.cancel.clone());
    let around = surroundings(call);
    let called = loaded.plugin.call_kept(guest, &tool, arguments.get(), around, &cancel).await?;
    let (execution, guest) = called;
    if let Some(guest) = guest {
        turn.keep(KeptOf { of: Arc::clone(loaded), guest });
    }
    Ok(execution)
}

fn surroundings(call: PluginCall) -> Surroundings {
    // What was waited for a turn is gone from its time.
    let mut limits = call.limits;
    limits.deadline = limits.deadline.min(call.deadline.saturating_duration_since(Instant::now()));
    Surroundings {
        limits,
        calls: call.calls,
        live: call.events,
        directories: Vec::new(),
        seed: call.seed,
        repeatable: call.repeatable,
    }
}

/// What the end of a plugin's call means for its caller.
fn end(name: &ToolName, execution: PluginExecution, deadline: Duration) -> PluginEnd {
    let PluginExecution { outcome, stdout, stderr, usage } = execution;
    let answer = match outcome {
        PluginOutcome::Answered(output) => Ok(output),
        PluginOutcome::InvalidArguments { path, message } => {
            let message = format!("`{name}` does not take these arguments: {message}");
            Err(CallError::InvalidArguments { path, message })
        }
        PluginOutcome::UnknownTool(_) => Err(CallError::Unavailable(format!(
            "`{name}` cannot be called: the plugin lists this tool, and says that it has none of this \
             name; that is a fault of the plugin's"
        ))),
        PluginOutcome::LimitReached(reached) => Err(stopped(name, reached, deadline, &usage)),
        PluginOutcome::Trapped(why) => Err(CallError::Unavailable(format!(
            "`{name}` broke down: {why}{}; that is a fault of the plugin's, and nothing else is harmed",
            last_words(&stderr)
        ))),
        PluginOutcome::Cancelled => Err(CallError::Cancelled),
    };
    let mut printed = stdout;
    printed.push_str(&stderr);
    printed.truncate(printed.floor_char_boundary(PRINTED_BYTES));
    PluginEnd { answer, usage, printed }
}

fn stopped(name: &ToolName, reached: LimitReached, deadline: Duration, usage: &Usage) -> CallError {
    if reached.kind == LimitKind::Deadline {
        return CallError::TimedOut {
            after: usage.wall,
            phase: Phase::Call,
            message: format!(
                "`{name}` had not come to its end after {} ms, the time of its call; ask it for less, \
                 or have the operator raise `call_timeout`",
                deadline.as_millis()
            ),
        };
    }
    CallError::Exhausted {
        reached,
        message: format!(
            "`{name}` was stopped: {reached}; a plugin has the lower one of its caller's limit and its \
             own (`[plugins.{}] limits`)",
            name.upstream
        ),
    }
}

/// The end of what a plugin said before it broke down: a panic's message, as a rule.
fn last_words(stderr: &str) -> String {
    let text = stderr.trim();
    if text.is_empty() {
        return String::new();
    }
    let from = text.ceil_char_boundary(text.len().saturating_sub(LAST_WORDS_BYTES));
    let words: String = text[from..]
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    format!(" (its last words: {words})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::ToolOutput;

    fn ended(outcome: PluginOutcome, stderr: &str) -> PluginEnd {
        let name = ToolName::parse("plug.tool").expect("a name");
        let (stdout, stderr) = ("out\n".to_owned(), stderr.to_owned());
        let execution = PluginExecution { outcome, stdout, stderr, usage: Usage::default() };
        end(&name, execution, Duration::from_millis(30))
    }

    #[test]
    fn each_end_is_an_answer_that_names_the_tool_the_cause_and_the_way_out() {
        #[track_caller]
        fn check(outcome: PluginOutcome, kind: &str, expected: &[&str]) {
            let end = ended(outcome, "thread 'main' panicked at src/lib.rs:1:1:\nboom\n");
            let error = end.answer.expect_err("no answer");
            assert_eq!(error.kind(), kind);
            for part in expected {
                assert!(error.message().contains(part), "{}", error.message());
            }
        }
        let reached = |kind| LimitReached { kind, limit: 30, used: 31 };
        check(
            PluginOutcome::Trapped("wasm trap: unreachable".to_owned()),
            "unavailable",
            &["`plug.tool` broke down: wasm trap: unreachable", "src/lib.rs:1:1: boom", "fault"],
        );
        check(
            PluginOutcome::LimitReached(reached(LimitKind::Deadline)),
            "timed-out",
            &["`plug.tool`", "30 ms", "`call_timeout`"],
        );
        check(
            PluginOutcome::LimitReached(reached(LimitKind::Fuel)),
            "exhausted",
            &["`plug.tool` was stopped: the fuel limit of 30", "[plugins.plug] limits"],
        );
        check(
            PluginOutcome::UnknownTool("x".to_owned()),
            "unavailable",
            &["says that it has none"],
        );
        let (path, message) = ("/n".to_owned(), "too large".to_owned());
        check(
            PluginOutcome::InvalidArguments { path, message },
            "invalid-arguments",
            &["`plug.tool` does not take these arguments: too large"],
        );
        assert!(ended(PluginOutcome::Answered(ToolOutput::text("x")), "").answer.is_ok());
        assert_eq!(ended(PluginOutcome::Cancelled, "err").printed, "out\nerr");
    }

    #[test]
    fn last_words_are_short_and_on_one_line() {
        let words = last_words(&format!("{}é\n\u{1b}[31mend\n", "x".repeat(5000)));
        assert!(words.len() < LAST_WORDS_BYTES + 40 && words.ends_with("é  [31mend)"), "{words}");
    }
}
