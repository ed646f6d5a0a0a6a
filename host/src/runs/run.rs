//! A run under way: from a script to its report.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use serde_json::value::to_raw_value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::report::{Degraded, RunReport, value_and_error};
use super::script::Script;
use super::sessions::{
    Admission, SessionError, SessionName, SessionReport, Sessions, Turn, Wanted,
};
use crate::broker::{Broker, CallLog, RunContext, Session, SessionScope};
use crate::config::{NoProfile, Profile};
use crate::events::RunEvent;
use crate::ids::RunId;
use crate::journal::EntryKind;
use crate::language::Language;
use crate::sandbox::{Execution, Program, RunCalls, Sandbox, SandboxError, Surroundings};

/// Events that wait for their reader; a run that is further ahead waits too.
const EVENT_QUEUE: usize = 64;

/// A run could not be started. Nothing of it ran.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such profile, or several and none was named.
    #[error(transparent)]
    NoProfile(#[from] NoProfile),
    /// The profile does not allow this language.
    #[error("profile {profile:?} does not allow {language} (its `runtimes` are: {allowed})")]
    RuntimeNotAllowed {
        /// The profile.
        profile: String,
        /// The language.
        language: &'static str,
        /// What it allows.
        allowed: String,
    },
    /// The source is too long.
    #[error(
        "the source of {name} is {bytes} bytes long and may be {limit}; hand data in as its input \
         instead of writing it into the script"
    )]
    SourceTooLarge {
        /// The script's name.
        name: String,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// What is to go along with its requests is too long.
    #[error("the script's meta is {bytes} bytes of JSON and may be {limit}")]
    MetaTooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Its calls are to be checked, and its language does not tell them from its text.
    #[error(
        "the calls of a script in Python cannot be checked before it runs, those of one in TypeScript \
         or JavaScript can: run it without the check"
    )]
    CannotCheck,
    /// It cannot have the session that it asks for.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// No sandbox could be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// A run under way. Await it for its report; drop it to cancel it.
#[derive(Debug)]
pub struct Run {
    id: RunId,
    events: mpsc::Receiver<RunEvent>,
    cancel: CancellationToken,
    task: JoinHandle<Result<RunReport, StartError>>,
    _cancel_on_drop: DropGuard,
}

impl Run {
    /// Its name.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The next thing that happens in it; nothing once it is over. A run waits for a reader that
    /// falls behind, so either read to the end or await the report, which stops reading.
    pub async fn next_event(&mut self) -> Option<RunEvent> {
        self.events.recv().await
    }

    /// Stops it from elsewhere. Its report then has the kind `cancelled` and all that was done.
    pub fn cancellation(&self) -> CancellationToken {
        self.cancel.clone()
    }
}

impl IntoFuture for Run {
    type Output = Result<RunReport, StartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            // All of it: field by field, the guard would stay outside and cancel the run at once.
            let mut run = self;
            // Nobody will read events from here on; the run must not wait for a reader.
            run.events.close();
            match (&mut run.task).await {
                Ok(report) => report,
                // Only a panic of ours can end the task otherwise: we hold the only handle.
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            }
        })
    }
}

/// What a host lends to its runs.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) sandbox: Sandbox,
    pub(crate) broker: Broker,
    pub(crate) sessions: Sessions,
}

/// Starts a script under a profile that was found for it.
pub(crate) fn start(parts: Parts, profile: &Profile, script: Script) -> Result<Run, StartError> {
    let bytes = script.source.len();
    if bytes > Script::MAX_SOURCE_BYTES {
        let limit = Script::MAX_SOURCE_BYTES;
        return Err(StartError::SourceTooLarge { name: script.name, bytes, limit });
    }
    let bytes = script.meta.as_ref().and_then(|meta| serde_json::to_vec(meta).ok());
    let (bytes, limit) = (bytes.map_or(0, |json| json.len()), Script::MAX_META_BYTES);
    if bytes > limit {
        return Err(StartError::MetaTooLarge { bytes, limit });
    }
    if !profile.runtimes.contains(&script.language) {
        return Err(StartError::RuntimeNotAllowed {
            profile: profile.name.to_string(),
            language: script.language.name(),
            allowed: profile
                .runtimes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        });
    }
    if script.check && script.language == Language::Python {
        return Err(StartError::CannotCheck);
    }
    let session = admission(&parts.sessions, profile, &script)?;
    let id = RunId::random();
    let cancel = CancellationToken::new();
    let (sender, events) = mpsc::channel(EVENT_QUEUE);
    let meta = script.meta.as_ref().and_then(|meta| to_raw_value(meta).ok());
    // Now and not in the task: a reload in between must not give the run one configuration's profile
    // and another's servers.
    let seed = script.seed.unwrap_or_else(random_seed);
    let scope = match (&script.session, &script.connection) {
        (Some(name), _) => SessionScope::Named(name.as_str().into()),
        (None, Some(connection)) => SessionScope::Connection(Arc::clone(connection)),
        (None, None) => SessionScope::Run(id.clone()),
    };
    let road = parts.broker.open(RunContext {
        id: id.clone(),
        policy: profile.policy.clone(),
        limits: script.limits.clone().unwrap_or_else(|| profile.limits.clone()),
        caller: script.caller.clone(),
        handler: script.client_handler.clone(),
        meta,
        events: Some(sender.clone()),
        session: Session {
            caller: script.caller.identity(),
            profile: profile.name.as_str().into(),
            scope,
        },
        seed,
        repeatable: script.seed.is_some(),
    });
    let place = Place { sandbox: parts.sandbox, session, cancel: cancel.clone() };
    let task =
        tokio::spawn(drive(place, road, profile.clone(), script, (id.clone(), seed), sender));
    let cancel_on_drop = cancel.clone().drop_guard();
    Ok(Run { id, events, cancel, task, _cancel_on_drop: cancel_on_drop })
}

fn admission(
    sessions: &Sessions,
    profile: &Profile,
    script: &Script,
) -> Result<Option<Admission>, SessionError> {
    let Some(name) = &script.session else { return Ok(None) };
    let name = SessionName::try_new(name)?;
    if !script.directories.is_empty() {
        return Err(SessionError::Directories);
    }
    let wanted = Wanted {
        caller: &script.caller,
        profile: profile.name.as_str(),
        language: script.language,
        name,
        share: script.session_share,
    };
    sessions.admit(wanted).map(Some)
}

async fn drive(
    place: Place,
    (calls, log): (Box<dyn RunCalls>, CallLog),
    profile: Profile,
    script: Script,
    (id, seed): (RunId, u64),
    events: mpsc::Sender<RunEvent>,
) -> Result<RunReport, StartError> {
    let limits = script.limits.unwrap_or_else(|| profile.limits.clone());
    let repeatable = script.seed.is_some();
    let replayable = script.directories.is_empty() && script.session.is_none();
    let input = script.input.map(|input| input.to_string());
    log.journal(EntryKind::Started {
        language: script.language.name(),
        name: script.name.clone(),
        source: script.source.as_str().into(),
        input: input.clone(),
        seed,
        profile: profile.name.to_string(),
        caller: script.caller.id,
        client: script.client,
        plugin: None,
    })
    .await;
    let program = Program {
        language: script.language,
        name: script.name,
        source: script.source,
        input,
        allowed_imports: profile.imports.clone(),
        check: script.check,
    };
    let surroundings = Surroundings {
        limits,
        calls,
        live: Some(events),
        directories: script.directories,
        seed,
        repeatable,
    };
    let (execution, session) = place.execute(program, surroundings).await?;
    let (value, error) = value_and_error(execution.outcome);
    let outcome = error.as_ref().map_or_else(|| "ok".to_owned(), |error| error.kind.to_string());
    log.journal(EntryKind::Ended { outcome }).await;
    Ok(RunReport {
        ok: error.is_none(),
        value,
        stdout: execution.stdout,
        stderr: execution.stderr,
        error,
        usage: execution.usage,
        calls: log.records(),
        run: id,
        seed,
        replayable,
        degraded: Degraded::of(log.outages()),
        session,
    })
}

/// Where a program runs: in a guest of its own, or in that of a session.
struct Place {
    sandbox: Sandbox,
    session: Option<Admission>,
    cancel: CancellationToken,
}

impl Place {
    async fn execute(
        self,
        program: Program,
        surroundings: Surroundings,
    ) -> Result<(Execution, Option<SessionReport>), StartError> {
        let Self { sandbox, session, cancel } = self;
        let Some(admission) = session else {
            let execution = sandbox.execute(program, surroundings, &cancel).await?;
            return Ok((execution, None));
        };
        match admission.turn(&cancel).await {
            Some(turn) => in_session(&sandbox, turn, program, surroundings, &cancel).await,
            None => Ok((Execution::never_begun(), None)),
        }
    }
}

async fn in_session(
    sandbox: &Sandbox,
    mut turn: Turn,
    mut program: Program,
    surroundings: Surroundings,
    cancel: &CancellationToken,
) -> Result<(Execution, Option<SessionReport>), StartError> {
    if Script::is_unnamed(&program.name) {
        program.name = format!("cell {}", turn.number);
    }
    let guest = match turn.take_guest() {
        Some(guest) => guest,
        None => sandbox.open(program.language).await?,
    };
    let stop = turn.ended().child_token();
    let mut execution = std::pin::pin!(sandbox.execute_kept(guest, program, surroundings, &stop));
    let (execution, guest) = tokio::select! {
        done = &mut execution => done?,
        () = cancel.cancelled() => {
            stop.cancel();
            execution.await?
        }
    };
    Ok((execution, Some(turn.finish(guest))))
}

/// Seeds are printed and typed again: 53 bits, so that a JSON reader keeps every digit.
pub(crate) fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    u64::from_le_bytes(bytes) >> 11
}
