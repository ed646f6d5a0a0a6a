//! One configured server: its connections, one per caller's credentials, and what is known of it.

mod probe;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as StdInstant, SystemTime};

use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::backoff;
use super::breaker::{Record, Refused};
use super::link::{Link, Open};
use super::scope::Scope;
use crate::ids::ToolName;
use crate::tool::{Phase, ToolOutput};
use crate::upstream::caller::Caller;
use crate::upstream::catalog::Catalog;
use crate::upstream::client::CallContext;
use crate::upstream::connection::{self, Client, Connection, Fault, Known, Patience};
use crate::upstream::error::{Cause, UpstreamError};
use crate::upstream::health::{Health, Observation};
use crate::upstream::settings::{Lifecycle, Timeouts, TransportSettings, UpstreamSettings};

/// Lines without a connection that are kept for what is held against them.
const MAX_EMPTY_LINES: usize = 1000;

/// One configured server.
pub(super) struct Server {
    settings: UpstreamSettings,
    client: Client,
    health: Health,
    /// One per set of credentials.
    lines: Mutex<HashMap<Credentials, Arc<Line>>>,
    places: Arc<Semaphore>,
    /// How the last connection went; saves questions at the next one.
    known: Mutex<Option<Known>>,
    /// The last list of its tools, for what it says about repeating a call.
    catalog: Mutex<Option<Arc<Catalog>>>,
    reaper: Mutex<Option<AbortOnDropHandle<()>>>,
    /// Connections that are being closed.
    closings: TaskTracker,
    closing: CancellationToken,
}

/// What a server's settings take from the caller: no more and no less decides who shares a
/// connection.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Credentials(Option<TransportSettings>);

/// The road to a server with one set of credentials.
pub(super) struct Line {
    pub(super) link: Arc<Link>,
    breaker: Mutex<Record>,
    tools: Mutex<HashMap<Arc<str>, Record>>,
    /// Whether a failure here says something about the server and not about credentials.
    is_common: bool,
}

/// One call, as the pool sees it.
pub(super) struct Call<'a> {
    pub(super) tool: &'a ToolName,
    pub(super) arguments: &'a RawValue,
    pub(super) context: &'a CallContext,
    pub(super) deadline: Instant,
    pub(super) timeout: Duration,
}

impl Server {
    pub(super) fn new(settings: UpstreamSettings, client: Client, health: Health) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(settings.connections.max.max(1))),
            settings,
            client,
            health,
            lines: Mutex::default(),
            known: Mutex::default(),
            catalog: Mutex::default(),
            reaper: Mutex::default(),
            closings: TaskTracker::new(),
            closing: CancellationToken::new(),
        })
    }

    pub(super) fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn known(&self) -> Option<Known> {
        *lock(&self.known)
    }

    pub(super) fn set_known(&self, known: Option<Known>) {
        *lock(&self.known) = known;
    }

    /// The tools, over a connection of the scope's caller.
    pub(super) async fn catalog(
        self: &Arc<Self>,
        scope: &Scope,
    ) -> Result<Arc<Catalog>, UpstreamError> {
        let line = self.line(&scope.caller)?;
        let deadline = self.deadline_of_list();
        let list = || self.list(&line, scope);
        let catalog = self.with_retries(&line, None, deadline, list).await;
        if let Ok(catalog) = &catalog {
            let before = lock(&self.catalog).replace(Arc::clone(catalog));
            if before.is_none_or(|before| !before.has_same_tools(catalog)) {
                self.client.news.tell();
            }
        }
        catalog
    }

    /// The last list of its tools, where that is the same for all callers.
    pub(super) fn known_catalog(&self) -> Option<Arc<Catalog>> {
        let is_common = !self.settings.transport.refers_to_caller();
        lock(&self.catalog).clone().filter(|_| is_common)
    }

    /// Until when connecting, handshake and listing together are tried again.
    pub(super) fn deadline_of_list(&self) -> Instant {
        let Timeouts { connect, handshake, .. } = self.settings.timeouts;
        connection::deadline_after(connect + handshake.saturating_mul(2))
    }

    async fn list(self: &Arc<Self>, line: &Line, scope: &Scope) -> Result<Arc<Catalog>, Fault> {
        let connection = self.connection(line, scope).await?;
        let held = Arc::new(connection);
        let worker = Arc::clone(&held);
        // In a worker: others wait for the same listing, so it has to go on whatever this caller
        // does meanwhile.
        let listing = tokio::spawn(async move { worker.get().catalog().await });
        let listed = AbortOnDropHandle::new(listing).await.unwrap_or_else(|_| Err(self.closed()));
        listed.map_err(|error| when_listing(&held, error))
    }

    /// One call, with everything that may be tried again.
    pub(super) async fn call(
        self: &Arc<Self>,
        scope: &Scope,
        call: &Call<'_>,
    ) -> Result<ToolOutput, UpstreamError> {
        let line = self.line(&scope.caller)?;
        let once = || self.once(&line, scope, call);
        self.with_retries(&line, Some(&call.tool.tool), call.deadline, once).await
    }

    async fn once(
        self: &Arc<Self>,
        line: &Line,
        scope: &Scope,
        call: &Call<'_>,
    ) -> Result<ToolOutput, Fault> {
        let connection = self.connection_by(line, scope, call.deadline, call.timeout).await?;
        let patience =
            Patience { deadline: call.deadline, total: call.timeout, phase: Phase::Call };
        connection.get().call(&call.tool.tool, call.arguments, call.context, patience).await
    }

    /// A connection, in time.
    pub(super) async fn connection_by(
        self: &Arc<Self>,
        line: &Line,
        scope: &Scope,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<Used, Fault> {
        let connection = self.connection(line, scope);
        tokio::time::timeout_at(deadline, connection).await.unwrap_or_else(|_| {
            let server = self.settings.name.clone();
            let (phase, after) = (line.link.phase(), timeout);
            Err(Fault::Final(UpstreamError::TimedOut { server, phase, after, hint: None }))
        })
    }

    /// A connection as the server's lifecycle says.
    pub(super) async fn connection(
        self: &Arc<Self>,
        line: &Line,
        scope: &Scope,
    ) -> Result<Used, Fault> {
        let used = match self.settings.lifecycle {
            Lifecycle::Pooled => line.link.lease().await.map(Used::Lease),
            Lifecycle::OnDemand => scope.link(self, &line.link).lease().await.map(Used::Lease),
            Lifecycle::Fresh => {
                let open = line.link.open_new(self).await;
                open.map(|open| Used::Own { open: Some(Arc::new(open)), server: Arc::clone(self) })
            }
        };
        used.map_err(|error| match &error {
            UpstreamError::Unavailable { phase, cause, .. } if self.may_come(*phase, cause) => {
                let pause = cause.retry_after();
                Fault::NotDone { error, pause }
            }
            UpstreamError::TimedOut { phase: Phase::Connect, .. } => {
                Fault::NotDone { error, pause: None }
            }
            _ => Fault::Final(error),
        })
    }

    /// Whether a server that could not be reached just now may be there in a moment.
    fn may_come(&self, phase: Phase, cause: &Cause) -> bool {
        // A program that started and then failed would do so again.
        let starts = matches!(self.settings.transport, TransportSettings::Stdio { .. });
        let fails_alike = starts && phase == Phase::Handshake;
        !cause.is_permanent() && !fails_alike
    }

    /// Does something until it succeeds, or must not or cannot be tried again.
    pub(super) async fn with_retries<T, F>(
        &self,
        line: &Arc<Line>,
        tool: Option<&Arc<str>>,
        deadline: Instant,
        mut work: impl FnMut() -> F,
    ) -> Result<T, UpstreamError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let retry = &self.settings.retry;
        // One call is one success or one failure, however often it was tried.
        let pass = self.admit(line, tool)?;
        let mut attempt = 1;
        let fault = loop {
            let fault = match work().await {
                Ok(done) => {
                    pass.answered(self);
                    return Ok(done);
                }
                Err(fault) => fault,
            };
            let pause = match &fault {
                Fault::NotDone { pause: Some(wish), .. } if attempt == 1 => *wish,
                Fault::NotDone { pause, .. } => {
                    let own = backoff::pause(retry, attempt, backoff::draw());
                    pause.unwrap_or_default().max(own)
                }
                Fault::Ambiguous(_) if tool.is_none_or(|tool| self.may_repeat(tool)) => {
                    backoff::pause(retry, attempt, backoff::draw())
                }
                Fault::Ambiguous(_) | Fault::Final(_) => break fault,
            };
            let too_late = Instant::now() + pause >= deadline;
            if attempt >= retry.attempts || too_late || pause > retry.cap {
                break fault;
            }
            tracing::debug!(server = %self.settings.name, error = %fault.error(), "trying again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        };
        pass.failed(self, fault.error());
        Err(fault.into_error())
    }

    /// Whether a call that may have taken effect can be made again.
    fn may_repeat(&self, tool: &str) -> bool {
        if let Some(own) = self.settings.tools.get(tool)
            && (own.read_only.is_some() || own.idempotent.is_some())
        {
            return own.read_only == Some(true) || own.idempotent == Some(true);
        }
        let catalog = lock(&self.catalog);
        let tool = catalog.as_ref().and_then(|catalog| catalog.tool(tool));
        tool.is_some_and(|tool| tool.hints.read_only || tool.hints.idempotent)
    }

    fn observe(&self, line: &Line, error: Option<&UpstreamError>) {
        let seen = match error {
            None => Observation::Answered,
            Some(error) if line.is_common || error.phase() == Some(Phase::Connect) => {
                Observation::Failed(error.to_string().into())
            }
            Some(_) => return,
        };
        self.health.observe(&self.settings.name, seen);
    }

    /// The line of a caller.
    pub(super) fn line(self: &Arc<Self>, caller: &Caller) -> Result<Arc<Line>, UpstreamError> {
        let own = self.settings.transport.refers_to_caller();
        let transport = match own {
            true => {
                let resolved = self.settings.transport.for_caller(caller);
                Some(resolved.map_err(|cause| UpstreamError::Caller {
                    server: self.settings.name.clone(),
                    cause,
                })?)
            }
            false => None,
        };
        let credentials = Credentials(transport);
        let mut lines = lock(&self.lines);
        if let Some(line) = lines.get(&credentials) {
            return Ok(Arc::clone(line));
        }
        if lines.len() >= MAX_EMPTY_LINES {
            lines.retain(|_, line| !line.link.is_empty() || Arc::strong_count(line) > 1);
        }
        let mut settings = self.settings.clone();
        if let Some(transport) = &credentials.0 {
            settings.transport = transport.clone();
        }
        let line = Arc::new(Line {
            link: Link::new(self, settings),
            breaker: Mutex::default(),
            tools: Mutex::default(),
            is_common: !own,
        });
        lines.insert(credentials, Arc::clone(&line));
        Ok(line)
    }

    fn admit(&self, line: &Arc<Line>, tool: Option<&Arc<str>>) -> Result<Pass, UpstreamError> {
        let now = StdInstant::now();
        let server = &self.settings.name;
        let down = |what, refused| self.down(what, refused);
        lock(&line.breaker)
            .admit(now)
            .map_err(|refused| down(format!("server {server}"), refused))?;
        let pass = Pass { line: Arc::clone(line), tool: None, began: now, done: false };
        let Some(tool) = tool else { return Ok(pass) };
        if let Some(record) = lock(&line.tools).get_mut(tool) {
            record.admit(now).map_err(|refused| down(format!("tool {server}.{tool}"), refused))?;
        }
        let mut pass = pass;
        pass.tool = Some(Arc::clone(tool));
        Ok(pass)
    }

    fn down(&self, what: String, refused: Refused) -> UpstreamError {
        UpstreamError::Down {
            server: self.settings.name.clone(),
            what,
            since: refused.since,
            retry_at: SystemTime::now() + refused.wait,
            cause: refused.cause,
        }
    }

    /// A place for one more connection. Somebody's idle one has to make room if need be.
    pub(super) async fn place(self: &Arc<Self>) -> Result<OwnedSemaphorePermit, UpstreamError> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        if let Some(open) = self.idle_links().first().and_then(|(_, link)| link.take_idle()) {
            self.close_aside(open);
        }
        let after = self.settings.timeouts.pool;
        match tokio::time::timeout(after, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => {
                let hint = format!(
                    "all of its {} connections are in use; is max_connections large enough?",
                    self.settings.connections.max
                );
                let server = self.settings.name.clone();
                Err(UpstreamError::TimedOut { server, phase: Phase::Pool, after, hint: Some(hint) })
            }
        }
    }

    /// Nobody uses some connection any more: closes those that are too many, and sees to it that
    /// the others are closed in time.
    pub(super) fn became_idle(self: &Arc<Self>) {
        let watched = lock(&self.reaper).as_ref().is_some_and(|reaper| !reaper.is_finished());
        let few = self.open_connections() <= self.settings.connections.max_idle;
        if few && (watched || self.settings.timeouts.idle.is_none()) {
            return;
        }
        let idle = self.idle_links();
        let too_many = idle.len().saturating_sub(self.settings.connections.max_idle);
        for (_, link) in idle.iter().take(too_many) {
            if let Some(open) = link.take_idle() {
                self.close_aside(open);
            }
        }
        let Some(limit) = self.settings.timeouts.idle else { return };
        let mut reaper = lock(&self.reaper);
        if reaper.as_ref().is_none_or(AbortOnDropHandle::is_finished)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let server = Arc::downgrade(self);
            *reaper = Some(AbortOnDropHandle::new(runtime.spawn(async move {
                while let Some(next) = server.upgrade().and_then(|server| server.reap(limit)) {
                    tokio::time::sleep_until(next).await;
                }
            })));
        }
    }

    /// Closes what is idle for too long. Gives the moment for the next look; nothing if there is no
    /// connection left.
    fn reap(self: &Arc<Self>, limit: Duration) -> Option<Instant> {
        let now = Instant::now();
        for (since, link) in self.idle_links() {
            if now.saturating_duration_since(since) >= limit
                && let Some(open) = link.take_idle()
            {
                tracing::debug!(server = %self.settings.name, "closing an idle connection");
                self.close_aside(open);
            }
        }
        let links: Vec<_> = lock(&self.lines).values().map(|line| Arc::clone(&line.link)).collect();
        let next = links.iter().filter(|link| !link.is_empty());
        let next = next.map(|link| link.idle_since().unwrap_or(now) + limit).min()?;
        Some(next.max(now + Duration::from_millis(10)))
    }

    /// The links that nobody uses, the longest unused first.
    fn idle_links(&self) -> Vec<(Instant, Arc<Link>)> {
        let lines = lock(&self.lines);
        let idle = lines
            .values()
            .filter_map(|line| line.link.idle_since().map(|since| (since, Arc::clone(&line.link))));
        let mut idle: Vec<_> = idle.collect();
        idle.sort_by_key(|(since, _)| *since);
        idle
    }

    /// Closes a connection in good order while its owner goes on.
    pub(super) fn close_aside(&self, open: Arc<Open>) {
        // Outside of a runtime it is dropped, which ends it as well.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.closings.spawn_on(async move { open.connection.close().await }, &runtime);
        }
    }

    /// Ends all connections, in good order where they take part in it. Calls under way end.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.places.close();
        let lines: Vec<_> = lock(&self.lines).drain().map(|(_, line)| line).collect();
        for open in lines.iter().filter_map(|line| line.link.shut()) {
            self.close_aside(open);
        }
        self.closings.close();
        self.closings.wait().await;
    }

    /// Ends when the server is closed.
    pub(super) async fn unless_closing<T>(
        &self,
        work: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(self.closed()),
            outcome = work => outcome,
        }
    }

    pub(super) fn closed(&self) -> UpstreamError {
        UpstreamError::Closed { server: self.settings.name.clone() }
    }

    /// How many connections are open or being opened.
    pub(super) fn open_connections(&self) -> usize {
        self.settings.connections.max.max(1).saturating_sub(self.places.available_permits())
    }
}

impl Drop for Server {
    /// A server that was taken out of the configuration ends with the last run that knows it.
    fn drop(&mut self) {
        let lines = self.lines.get_mut().unwrap_or_else(PoisonError::into_inner);
        let open: Vec<_> = lines.drain().filter_map(|(_, line)| line.link.shut()).collect();
        open.into_iter().for_each(|open| self.close_aside(open));
    }
}

/// What a failed listing means.
pub(super) fn when_listing(held: &Used, error: UpstreamError) -> Fault {
    match held.get().is_lost() {
        // A restarted server forgot our MCP session, say. Listing again changes nothing.
        true => Fault::NotDone { error, pause: Some(Duration::ZERO) },
        false => Fault::of_list(error),
    }
}

/// A connection as somebody holds it.
pub(super) enum Used {
    Lease(super::link::Lease),
    /// For one call only.
    Own {
        open: Option<Arc<Open>>,
        server: Arc<Server>,
    },
}

impl Used {
    pub(super) fn get(&self) -> &Connection {
        match self {
            Self::Lease(lease) => lease,
            Self::Own { open, .. } => match open {
                Some(open) => &open.connection,
                None => unreachable!("it is taken out only when this is dropped"),
            },
        }
    }
}

impl Drop for Used {
    fn drop(&mut self) {
        if let Self::Own { open, server } = self
            && let Some(open) = open.take()
        {
            server.close_aside(open);
        }
    }
}

/// The right to make one call. What comes of it has to be told.
struct Pass {
    line: Arc<Line>,
    tool: Option<Arc<str>>,
    began: StdInstant,
    done: bool,
}

impl Pass {
    fn answered(mut self, server: &Server) {
        self.done = true;
        lock(&self.line.breaker).succeed();
        if let Some(tool) = &self.tool {
            lock(&self.line.tools).remove(tool);
        }
        server.observe(&self.line, None);
    }

    fn failed(mut self, server: &Server, error: &UpstreamError) {
        let settings = &server.settings.breaker;
        let blame = Blame::of(error);
        let (began, now, text) = (self.began, StdInstant::now(), error.to_string());
        match blame {
            // Dropped undone, the pass is given back.
            Blame::Nobody => return,
            Blame::Server => {
                lock(&self.line.breaker).fail(settings, began, now, &text);
                server.observe(&self.line, Some(error));
                self.give_up_tool();
            }
            // Whether the server is there remains to be seen.
            Blame::Silence => lock(&self.line.breaker).give_up(),
            Blame::Tool | Blame::Arguments => {
                lock(&self.line.breaker).succeed();
                server.observe(&self.line, None);
            }
        }
        self.done = true;
        match (&self.tool, blame) {
            (Some(tool), Blame::Tool | Blame::Silence) => {
                let mut tools = lock(&self.line.tools);
                tools.entry(Arc::clone(tool)).or_default().fail(settings, began, now, &text);
            }
            (Some(tool), Blame::Arguments) => drop(lock(&self.line.tools).remove(tool)),
            _ => {}
        }
    }

    fn give_up_tool(&self) {
        if let Some(tool) = &self.tool
            && let Some(record) = lock(&self.line.tools).get_mut(tool)
        {
            record.give_up();
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.done {
            lock(&self.line.breaker).give_up();
            self.give_up_tool();
        }
    }
}

/// Whose failure an error is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// It says nothing: our own doing, or the caller's.
    Nobody,
    /// The server cannot be used.
    Server,
    /// This tool gives no answer, and perhaps the whole server does not.
    Silence,
    /// The server is there; this tool of it does not do its work.
    Tool,
    /// The server is there, and refused what it was asked.
    Arguments,
}

impl Blame {
    fn of(error: &UpstreamError) -> Self {
        /// JSON-RPC's "internal error".
        const INTERNAL_ERROR: i64 = -32603;
        match error {
            UpstreamError::Unavailable { .. } => Self::Server,
            UpstreamError::TimedOut { phase, .. } => match phase {
                Phase::Call | Phase::Read | Phase::Queue => Self::Silence,
                Phase::Pool => Self::Nobody,
                _ => Self::Server,
            },
            UpstreamError::Rejected { code: INTERNAL_ERROR, .. }
            | UpstreamError::BadAnswer { .. } => Self::Tool,
            UpstreamError::Rejected { .. } | UpstreamError::AnswerTooLarge { .. } => {
                Self::Arguments
            }
            // One caller's bad credentials are no matter of the others.
            UpstreamError::Unauthorized { .. }
            | UpstreamError::UnknownServer { .. }
            | UpstreamError::Down { .. }
            | UpstreamError::Caller { .. }
            | UpstreamError::Closed { .. }
            | UpstreamError::Plugin { .. } => Self::Nobody,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
