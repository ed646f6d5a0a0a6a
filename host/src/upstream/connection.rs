//! One live connection to an upstream: opened in either era, listed, called, closed.
//!
//! Here the transports' errors become [`UpstreamError`]s and every wait gets its deadline.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::ids::UpstreamName;
use crate::tool::{Json, Phase, ToolOutput};
use crate::upstream::answer;
use crate::upstream::catalog::{self, Catalog};
use crate::upstream::error::{Cause, UpstreamError};
use crate::upstream::files::Files;
use crate::upstream::handshake::{Era, RequestMeta, ServerInfo, shake_hands};
use crate::upstream::message::{AnswerFault, MAX_MESSAGE_BYTES, METHOD_NOT_FOUND, RpcError};
use crate::upstream::param_headers;
use crate::upstream::process::{Process, Program};
use crate::upstream::redact::Redactor;
use crate::upstream::settings::{TransportSettings, UpstreamSettings};
use crate::upstream::transport::stdio::Stdio;
use crate::upstream::transport::streamable_http::StreamableHttp;
use crate::upstream::transport::{CLOSE_TIME, News, Request, Transport, TransportError};

/// Between two attempts to hear about changes from a modern server.
const LISTEN_PAUSE: Duration = Duration::from_secs(5);

/// After so many attempts that ended at once, a server is taken not to support it.
const LISTEN_ATTEMPTS: u32 = 5;

/// Takes note of the phase in which an opening is, so that whoever gives up can say what it was
/// waiting for.
pub(super) type OnPhase<'a> = &'a (dyn Fn(Phase) + Send + Sync);

/// A connection to an upstream of any kind.
pub(super) enum Connection {
    Remote(Box<Remote>),
    /// In this process; never lost.
    Files(Files),
}

impl Connection {
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Remote(remote) => remote.link.is_lost(),
            Self::Files(_) => false,
        }
    }

    pub(super) fn era(&self) -> Era {
        match self {
            Self::Remote(remote) => remote.info.era,
            Self::Files(_) => Era::Modern,
        }
    }

    /// The tools. Listed once, and again when the server said that they changed. Concurrent callers
    /// share one listing.
    pub(super) async fn catalog(&self) -> Result<Arc<Catalog>, UpstreamError> {
        match self {
            Self::Remote(remote) => remote.catalog().await,
            Self::Files(files) => Ok(files.catalog()),
        }
    }

    /// One call. It has no deadline here.
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: &RawValue,
    ) -> Result<ToolOutput, CallFault> {
        match self {
            Self::Remote(remote) => remote.call(tool, arguments).await,
            Self::Files(files) => Ok(files.call(tool, arguments).await),
        }
    }

    /// What is known about the reason for a silence.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Remote(remote) => remote.link.hint(),
            Self::Files(_) => None,
        }
    }

    /// Ends the connection in an orderly way, in bounded time.
    pub(super) async fn close(&self) {
        if let Self::Remote(remote) = self {
            let _ = tokio::time::timeout(CLOSE_TIME, remote.link.close()).await;
        }
    }
}

/// The end of a wait that begins now. Whoever configures a thousand years gets one.
pub(super) fn deadline_after(wait: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + wait.min(LONGEST)
}

/// Why a call has no answer.
pub(super) enum CallFault {
    /// The server does not know our MCP session any more and did not look at the call; on a new
    /// connection it can be made again.
    NotSeen(UpstreamError),
    /// Anything else.
    Final(UpstreamError),
}

/// A connection to a server outside of this process.
pub(super) struct Remote {
    server: UpstreamName,
    link: Arc<dyn Transport>,
    info: ServerInfo,
    news: Arc<News>,
    redactor: Arc<Redactor>,
    list_timeout: Duration,
    /// Whether calls carry headers that tools ask for.
    sends_headers: bool,
    listed: Mutex<Option<Listed>>,
    /// Held across the listing, so that concurrent callers share it.
    listing: tokio::sync::Mutex<()>,
    _listener: Option<AbortOnDropHandle<()>>,
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The listener may hold the link for a moment longer; the process must not live on so long.
        self.link.abandon();
    }
}

/// A catalog, and how many changes the server had announced before it was listed.
#[derive(Clone)]
struct Listed {
    changes: u64,
    catalog: Arc<Catalog>,
}

/// Opens a connection: connect, then shake hands, each within `connect_timeout`.
///
/// Cancel-safe: dropped half-way, it leaves no process and no socket behind.
pub(super) async fn open(
    settings: &UpstreamSettings,
    remembered: Option<Era>,
    on_phase: OnPhase<'_>,
) -> Result<Connection, UpstreamError> {
    if let TransportSettings::Files { roots } = &settings.transport {
        on_phase(Phase::Connect);
        let files =
            Files::open(&settings.name, roots).map_err(|cause| UpstreamError::Unavailable {
                server: settings.name.clone(),
                phase: Phase::Connect,
                cause,
            })?;
        return Ok(Connection::Files(files));
    }
    let redactor = Arc::new(Redactor::new(&settings.transport));
    let faults = Faults { server: &settings.name, redactor: &redactor };
    on_phase(Phase::Connect);
    let mut attempt = Attempt::connect(settings, &redactor)?;
    on_phase(Phase::Handshake);
    let deadline = deadline_after(settings.connect_timeout);
    let mut outcome = attempt.shake_hands(settings, remembered, deadline).await?;
    let second_try = match (&outcome, remembered) {
        (Ok(_), _) => None,
        // The server may have changed since.
        (Err(_), Some(Era::Legacy)) => Some(None),
        // The question about its era may have killed it, or set its mind on the wrong one. Over
        // HTTP each request stands for itself.
        (Err(_), _) if attempt.is_process => Some(Some(Era::Legacy)),
        (Err(_), _) => None,
    };
    if let Some(era) = second_try {
        tracing::debug!(server = %settings.name, "second handshake, on a new connection");
        attempt.link.abandon();
        attempt = Attempt::connect(settings, &redactor)?;
        outcome = attempt.shake_hands(settings, era, deadline).await?;
    }
    let info = outcome.map_err(|error| faults.explain(Phase::Handshake, error))?;
    Ok(Connection::Remote(Box::new(attempt.into_remote(settings, info, redactor))))
}

/// A link that has not shaken hands. Dropping it ends what it started.
struct Attempt {
    link: Arc<dyn Transport>,
    news: Arc<News>,
    is_process: bool,
}

impl Attempt {
    fn connect(
        settings: &UpstreamSettings,
        redactor: &Arc<Redactor>,
    ) -> Result<Self, UpstreamError> {
        let news = Arc::new(News::default());
        let (link, is_process): (Result<Arc<dyn Transport>, Cause>, bool) =
            match &settings.transport {
                TransportSettings::Stdio { command, args, env, cwd } => {
                    let program = Program { command, args, env, cwd: cwd.as_deref() };
                    let process =
                        Process::start(&program, Arc::clone(redactor), settings.name.as_str());
                    let link = process.map(|(process, pipes)| {
                        let redactor = Arc::clone(redactor);
                        Arc::new(Stdio::new(process, pipes, Arc::clone(&news), redactor)) as _
                    });
                    (link, true)
                }
                TransportSettings::StreamableHttp { url, headers } => {
                    let link = StreamableHttp::new(
                        url,
                        headers,
                        settings.connect_timeout,
                        Arc::clone(&news),
                        Arc::clone(redactor),
                    );
                    (link.map(|link| Arc::new(link) as _), false)
                }
                TransportSettings::Files { .. } => {
                    (Err(Cause::new("the files upstream has no connection")), false)
                }
            };
        let link = link.map_err(|cause| UpstreamError::Unavailable {
            server: settings.name.clone(),
            phase: Phase::Connect,
            cause,
        })?;
        Ok(Self { link, news, is_process })
    }

    /// The outer error is the deadline.
    async fn shake_hands(
        &self,
        settings: &UpstreamSettings,
        remembered: Option<Era>,
        deadline: Instant,
    ) -> Result<Result<ServerInfo, TransportError>, UpstreamError> {
        let handshake = shake_hands(&*self.link, remembered);
        tokio::time::timeout_at(deadline, handshake).await.map_err(|_| {
            let silent =
                "it wrote nothing; is it an MCP server, and is connect_timeout long enough?";
            UpstreamError::TimedOut {
                server: settings.name.clone(),
                phase: Phase::Handshake,
                after: settings.connect_timeout,
                hint: Some(self.link.hint().unwrap_or_else(|| silent.to_owned())),
            }
        })
    }

    fn into_remote(
        self,
        settings: &UpstreamSettings,
        info: ServerInfo,
        redactor: Arc<Redactor>,
    ) -> Remote {
        // Older servers tell without being asked.
        let listener = (info.era == Era::Modern && info.tells_tool_changes)
            .then(|| AbortOnDropHandle::new(tokio::spawn(listen(Arc::clone(&self.link)))));
        Remote {
            server: settings.name.clone(),
            sends_headers: info.era == Era::Modern && !self.is_process,
            link: Arc::clone(&self.link),
            info,
            news: Arc::clone(&self.news),
            redactor,
            list_timeout: settings.connect_timeout,
            listed: Mutex::default(),
            listing: tokio::sync::Mutex::default(),
            _listener: listener,
        }
    }
}

/// Asks a modern server to tell when its tools change, again and again. The notifications arrive
/// like all others; the request itself is answered only when the server ends the subscription.
async fn listen(link: Arc<dyn Transport>) {
    #[derive(Serialize)]
    struct Params {
        notifications: serde_json::Value,
        #[serde(rename = "_meta")]
        meta: RequestMeta,
    }
    let wanted = serde_json::json!({ "toolsListChanged": true });
    let params = Params { notifications: wanted, meta: RequestMeta::new() };
    let Ok(params) = to_raw_value(&params) else { return };
    let mut attempts = 0;
    while attempts < LISTEN_ATTEMPTS && !link.is_lost() {
        let started = Instant::now();
        let method = "subscriptions/listen";
        let request = Request { method, params: &params, headers: &[], cancellable: true };
        let outcome = link.request(request).await;
        if let Err(TransportError::Answer(fault)) = &outcome {
            tracing::debug!(?fault, "an upstream does not tell about changes");
            return;
        }
        // A subscription that held for a while was a good one; the network ended it.
        attempts = if started.elapsed() > LISTEN_PAUSE { 0 } else { attempts + 1 };
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

#[derive(Serialize)]
struct ListParams<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<RequestMeta>,
}

#[derive(Serialize)]
struct CallParams<'a> {
    name: &'a str,
    arguments: &'a RawValue,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<RequestMeta>,
}

impl Remote {
    async fn catalog(&self) -> Result<Arc<Catalog>, UpstreamError> {
        if let Some(catalog) = self.fresh_catalog() {
            return Ok(catalog);
        }
        let deadline = deadline_after(self.list_timeout);
        let listing = async {
            let _turn = self.listing.lock().await;
            match self.fresh_catalog() {
                Some(catalog) => Ok(catalog),
                None => self.list().await,
            }
        };
        tokio::time::timeout_at(deadline, listing).await.unwrap_or_else(|_| {
            Err(UpstreamError::TimedOut {
                server: self.server.clone(),
                phase: Phase::List,
                after: self.list_timeout,
                hint: self.link.hint(),
            })
        })
    }

    fn fresh_catalog(&self) -> Option<Arc<Catalog>> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = listed.as_ref()?;
        (listed.changes == self.news.tool_list_changes()).then(|| Arc::clone(&listed.catalog))
    }

    async fn list(&self) -> Result<Arc<Catalog>, UpstreamError> {
        // Read before the first page: a change while we list makes the list old.
        let changes = self.news.tool_list_changes();
        let mut builder = catalog::Builder::new(self.server.clone(), self.sends_headers);
        let mut cursor: Option<String> = None;
        loop {
            let params = ListParams { cursor: cursor.as_deref(), meta: self.meta() };
            let page = match self.request("tools/list", &params, &[]).await {
                Ok(page) => page,
                Err(error) if self.has_no_tools(&error) => break,
                Err(error) => return Err(self.faults().explain(Phase::List, error)),
            };
            let next = builder.add(&page).map_err(|problem| self.bad_answer(&problem))?;
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        let catalog = Arc::new(builder.finish(&self.info));
        let listed = Listed { changes, catalog: Arc::clone(&catalog) };
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some(listed);
        Ok(catalog)
    }

    /// A server may have only prompts or resources. It need not know `tools/list` then.
    fn has_no_tools(&self, error: &TransportError) -> bool {
        let unknown = matches!(
            error,
            TransportError::Answer(AnswerFault::Rejected(RpcError { code: METHOD_NOT_FOUND, .. }))
        );
        unknown && !self.info.has_tools
    }

    async fn call(&self, tool: &str, arguments: &RawValue) -> Result<ToolOutput, CallFault> {
        let headers = self.headers(tool, arguments).await.map_err(CallFault::Final)?;
        let params = CallParams { name: tool, arguments, meta: self.meta() };
        let result = self.request("tools/call", &params, &headers).await.map_err(|error| {
            let not_seen = matches!(error, TransportError::SessionLost(_));
            let error = self.faults().explain(Phase::Call, error);
            if not_seen { CallFault::NotSeen(error) } else { CallFault::Final(error) }
        })?;
        answer::read(&result).map_err(|problem| CallFault::Final(self.bad_answer(&problem)))
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
        let mut headers = catalog
            .tool(tool)
            .map(|tool| param_headers::of_call(&tool.input_schema, arguments))
            .unwrap_or_default();
        if let Some(name) = param_headers::header_value(tool) {
            headers.push((http::HeaderName::from_static("mcp-name"), name));
        }
        Ok(headers)
    }

    async fn request(
        &self,
        method: &str,
        params: &(impl Serialize + Sync),
        headers: &[(http::HeaderName, http::HeaderValue)],
    ) -> Result<Json, TransportError> {
        let params = to_raw_value(params)
            .map_err(|error| TransportError::Answer(AnswerFault::Malformed(error.to_string())))?;
        self.link.request(Request { method, params: &params, headers, cancellable: true }).await
    }

    fn meta(&self) -> Option<RequestMeta> {
        (self.info.era == Era::Modern).then(RequestMeta::new)
    }

    fn faults(&self) -> Faults<'_> {
        Faults { server: &self.server, redactor: &self.redactor }
    }

    fn bad_answer(&self, problem: &str) -> UpstreamError {
        let problem = self.redactor.clean(problem).into_owned();
        UpstreamError::BadAnswer { server: self.server.clone(), problem }
    }
}

/// Turns transport errors into errors for people.
struct Faults<'a> {
    server: &'a UpstreamName,
    redactor: &'a Redactor,
}

impl Faults<'_> {
    fn explain(&self, phase: Phase, error: TransportError) -> UpstreamError {
        let server = self.server.clone();
        match error {
            TransportError::Answer(fault) => self.explain_answer(phase, fault),
            TransportError::Unreachable(cause) => {
                UpstreamError::Unavailable { server, phase: Phase::Connect, cause }
            }
            TransportError::Lost(cause)
            | TransportError::SessionLost(cause)
            | TransportError::Http(cause) => UpstreamError::Unavailable { server, phase, cause },
            TransportError::Closed => UpstreamError::Closed { server },
        }
    }

    fn explain_answer(&self, phase: Phase, fault: AnswerFault) -> UpstreamError {
        let server = self.server.clone();
        match fault {
            AnswerFault::TooLarge => {
                UpstreamError::AnswerTooLarge { server, limit_bytes: MAX_MESSAGE_BYTES }
            }
            AnswerFault::Malformed(problem) => {
                let problem = self.redactor.clean(&problem).into_owned();
                UpstreamError::BadAnswer { server, problem }
            }
            // Nobody asked for this handshake or list; that it is refused is the server's trouble.
            AnswerFault::Rejected(error) if phase != Phase::Call => {
                let message = self.redactor.clean(&error.message);
                let text = format!("it answers {message:?} (JSON-RPC error {})", error.code);
                UpstreamError::Unavailable { server, phase, cause: Cause::new(text) }
            }
            AnswerFault::Rejected(RpcError { code, message, data }) => {
                let message = self.redactor.clean(&message).into_owned();
                // Cutting a secret out of JSON could break it.
                let data = data.filter(|data| self.redactor.clean(data.get()) == data.get());
                UpstreamError::Rejected { server, code, message, data }
            }
        }
    }
}
