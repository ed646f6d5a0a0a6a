//! Where a link puts what a server says unasked: notifications, and questions of its own.
//!
//! A link reads in one loop that must never wait, so nothing here does: events go into bounded
//! queues that drop what does not fit, and questions are answered by workers of a bounded number.
//! What belongs to a request under way finds it by the request's [`Watch`]: by its progress token,
//! by the HTTP exchange in which it came, or because no other request is under way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ids::UpstreamName;
use crate::pauses::{Pause, Pauses};
use crate::tool::Json;
use crate::upstream::client::{
    About, CallContext, ClientCapabilities, ClientHandler, Refusal, ServerEvent, ServerNotice,
    ServerRequest,
};
use crate::upstream::connection::{News, Notices};
use crate::upstream::message::{self, Incoming};

/// The most questions of one server that are being answered at once.
const MAX_QUESTIONS: usize = 32;

/// The longest event that is passed on: a queue of them is in our memory.
const MAX_EVENT_BYTES: usize = 64 << 10;

/// How much of what is no message is told.
const MALFORMED_CHARACTERS: usize = 300;

/// How long a question may wait for its answer. Nobody's time runs meanwhile, so it has an end here.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(10 * 60);

/// JSON-RPC code for "ask again later".
const BUSY: i64 = -32000;

/// One request under way, as far as what the server says meanwhile goes.
pub(super) struct Watch {
    /// What the server puts into its progress notifications.
    pub(super) token: u64,
    context: CallContext,
    /// When the server last gave a sign that it works on the request.
    sign: Mutex<Instant>,
    /// When questions about it are being answered.
    pauses: Pauses,
    /// Nobody waits for its answer any more, nor for those to questions about it.
    over: CancellationToken,
}

impl Watch {
    /// The server gave a sign.
    pub(super) fn touch(&self) {
        *self.sign.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When it last did.
    pub(super) fn last_sign(&self) -> Instant {
        *self.sign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request waits for somebody on our side until the guard is dropped: none of the server's
    /// time passes.
    pub(super) fn pause(self: &Arc<Self>) -> Paused {
        Paused {
            watch: Arc::clone(self),
            _own: self.pauses.begin(),
            _outer: self.context.pauses.as_ref().map(Pauses::begin),
        }
    }

    /// When somebody on our side is waited for.
    pub(super) fn pauses(&self) -> &Pauses {
        &self.pauses
    }

    /// What goes along with the request.
    pub(super) fn context(&self) -> &CallContext {
        &self.context
    }

    fn tell(&self, event: ServerEvent) {
        let (ServerEvent::Progress(params) | ServerEvent::Log(params)) = &event;
        let fits = params.get().len() <= MAX_EVENT_BYTES;
        if let Some(events) = &self.context.events
            && (!fits || events.try_send(event).is_err())
        {
            tracing::trace!(token = self.token, "an event that nobody takes");
        }
    }
}

/// See [`Watch::pause`].
pub(super) struct Paused {
    watch: Arc<Watch>,
    _own: Pause,
    _outer: Option<Pause>,
}

impl Drop for Paused {
    fn drop(&mut self) {
        // Before time goes on: the server could give no sign meanwhile.
        self.watch.touch();
    }
}

/// Which lists of a server changed, how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) tools: u64,
    pub(super) resources: u64,
    pub(super) prompts: u64,
}

/// The inbox of one link.
pub(super) struct Inbox {
    server: UpstreamName,
    /// What was said at the handshake about whom the server may ask.
    capabilities: ClientCapabilities,
    /// Who answers where a call brings nobody of its own.
    handler: Option<Arc<dyn ClientHandler>>,
    changes: watch::Sender<Changes>,
    /// Who hears of changes of any server.
    news: News,
    /// Who hears what belongs to no request.
    notices: Notices,
    /// Who is told when single resources change, by the URI that they asked about.
    listeners: Mutex<Vec<Listener>>,
    next_token: AtomicU64,
    under_way: Mutex<HashMap<u64, Arc<Watch>>>,
    questions: Mutex<Questions>,
}

struct Listener {
    uri: String,
    to: mpsc::Sender<String>,
}

#[derive(Default)]
struct Questions {
    workers: JoinSet<()>,
    /// By the server's id for them.
    by_id: HashMap<String, AbortHandle>,
}

impl Inbox {
    pub(super) fn new(server: UpstreamName, handler: Option<Arc<dyn ClientHandler>>) -> Self {
        let capabilities = handler.as_ref().map(|handler| handler.capabilities());
        Self {
            server,
            capabilities: capabilities.unwrap_or_default(),
            handler,
            changes: watch::Sender::default(),
            news: News::default(),
            notices: Notices::default(),
            listeners: Mutex::default(),
            next_token: AtomicU64::new(1),
            under_way: Mutex::default(),
            questions: Mutex::default(),
        }
    }

    /// Tells these too: when a list changed, and what nobody else takes.
    pub(super) fn telling(self, news: News, notices: Notices) -> Self {
        Self { news, notices, ..self }
    }

    /// What is said at the handshake.
    pub(super) fn capabilities(&self) -> ClientCapabilities {
        self.capabilities
    }

    /// The changes announced so far.
    pub(super) fn changes(&self) -> Changes {
        *self.changes.borrow()
    }

    /// Tells of changes of one resource until the other end is dropped.
    pub(super) fn tell_updates_to(&self, uri: &str, to: mpsc::Sender<String>) {
        let mut listeners = self.listeners();
        listeners.retain(|listener| !listener.to.is_closed());
        listeners.push(Listener { uri: uri.to_owned(), to });
    }

    /// Whether somebody still wants to know when the resource changes.
    pub(super) fn is_listened_for(&self, uri: &str) -> bool {
        let listeners = self.listeners();
        listeners.iter().any(|listener| listener.uri == uri && !listener.to.is_closed())
    }

    /// Begins to watch for what belongs to one request, until the guard is dropped.
    pub(super) fn watch(self: &Arc<Self>, context: CallContext) -> Watching {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        let watch = Arc::new(Watch {
            token,
            context,
            sign: Mutex::new(Instant::now()),
            pauses: Pauses::default(),
            over: CancellationToken::new(),
        });
        self.under_way().insert(token, Arc::clone(&watch));
        Watching { inbox: Arc::clone(self), watch }
    }

    /// Takes what is no answer. `origin` is the request in whose exchange it came, where the
    /// transport knows that. `reply` sends one message to the server.
    pub(super) fn take<F>(
        self: &Arc<Self>,
        incoming: Incoming,
        origin: Option<&Arc<Watch>>,
        reply: impl FnOnce(Vec<u8>) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        match incoming {
            Incoming::Request { id, method, params } => {
                let origins = match origin {
                    Some(origin) => Origins::Known(vec![Arc::clone(origin)]),
                    None => self.possible_origins(),
                };
                self.take_question(id, method, params, origins, reply);
            }
            Incoming::Notification { method, params } => self.take_news(&method, params, origin),
            Incoming::ErrorWithoutId(error) => {
                tracing::debug!(server = %self.server, code = error.code, "an error without an id");
            }
            Incoming::Answer { .. } => {}
        }
    }

    /// Answers one question that came inside of a result (`input_required`) under this key. What may
    /// be asked was said with the request.
    pub(super) async fn ask(
        &self,
        key: &str,
        method: &str,
        params: Option<Json>,
        watch: &Watch,
    ) -> Result<Json, Refusal> {
        let handler = watch.context.handler.as_ref().or(self.handler.as_ref());
        let handler = handler.filter(|handler| handler.capabilities().covers(method));
        let handler = handler.ok_or_else(|| Refusal::nobody(method))?;
        let (server, method) = (self.server.clone(), method.to_owned());
        let key = Some(key.to_owned());
        answer_in_time(&**handler, ServerRequest { server, key, method, params }).await
    }

    /// Ends all questions: their link is gone.
    pub(super) fn shut(&self) {
        self.questions().workers.abort_all();
    }

    /// Who answers what a legacy server asks in a request of its own.
    fn handler_for(&self, method: &str, watch: Option<&Watch>) -> Option<Arc<dyn ClientHandler>> {
        // What was not offered at the handshake is not answered either.
        if !self.capabilities.covers(method) {
            return None;
        }
        let own = watch.and_then(|watch| watch.context.handler.clone());
        let handler = own.or_else(|| self.handler.clone())?;
        handler.capabilities().covers(method).then_some(handler)
    }

    fn take_question<F>(
        self: &Arc<Self>,
        id: Json,
        method: String,
        params: Option<Json>,
        origins: Origins,
        reply: impl FnOnce(Vec<u8>) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut questions = self.questions();
        while questions.workers.try_join_next().is_some() {}
        questions.by_id.retain(|_, worker| !worker.is_finished());
        if method == "ping" {
            questions.workers.spawn(reply(message::answer_to_server(&id, &empty())));
            return;
        }
        if questions.workers.len() >= MAX_QUESTIONS {
            // A worker for the refusal would be one too many; a server that asks so much gets none.
            if questions.workers.len() < 2 * MAX_QUESTIONS {
                let refusal = Refusal { code: BUSY, message: "too many questions at once".into() };
                questions.workers.spawn(reply(message::refusal_to_server(&id, &refusal)));
            }
            return;
        }
        let server = self.server.clone();
        let (origins, is_unclear) = match origins {
            Origins::Known(origins) => (origins, false),
            Origins::Unclear => (Vec::new(), true),
        };
        let handler = self.handler_for(&method, origins.first().map(|origin| &**origin));
        let by_id = id.get().to_owned();
        let worker = questions.workers.spawn(async move {
            let answer = match handler {
                Some(_) if is_unclear && method != "roots/list" => Err(whose(&method)),
                Some(handler) if !is_unclear => {
                    let _pauses: Vec<Paused> = origins.iter().map(Watch::pause).collect();
                    let request = ServerRequest { server, key: None, method, params };
                    tokio::select! {
                        biased;
                        answer = answer_in_time(&*handler, request) => answer,
                        () = all_over(&origins) => Err(too_late()),
                    }
                }
                _ if method == "roots/list" => Ok(no_roots()),
                _ => {
                    tracing::debug!(%server, method, "nobody can answer an upstream's question");
                    Err(Refusal::nobody(&method))
                }
            };
            let message = match answer {
                Ok(result) => message::answer_to_server(&id, &result),
                Err(refusal) => message::refusal_to_server(&id, &refusal),
            };
            reply(message).await;
        });
        questions.by_id.insert(by_id, worker);
    }

    fn take_news(&self, method: &str, params: Option<Json>, origin: Option<&Arc<Watch>>) {
        if self.notices.are_heard() {
            let about = self.about(method, params.as_deref(), origin);
            self.give_notice(Some(method), params.clone(), about);
        }
        match method {
            "notifications/tools/list_changed" => self.note_change(|it| it.tools += 1),
            "notifications/resources/list_changed" => self.note_change(|it| it.resources += 1),
            "notifications/prompts/list_changed" => self.note_change(|it| it.prompts += 1),
            "notifications/resources/updated" => self.take_update(params.as_deref()),
            "notifications/progress" => self.take_progress(params),
            "notifications/message" => {
                let bytes = params.as_ref().map_or(0, |params| params.get().len());
                tracing::trace!(server = %self.server, bytes, "an upstream logs over MCP");
                let watch = origin.cloned().or_else(|| self.only_one_under_way());
                if let (Some(watch), Some(params)) = (watch, params) {
                    watch.touch();
                    watch.tell(ServerEvent::Log(params));
                }
            }
            "notifications/cancelled" => self.take_cancellation(params.as_deref()),
            _ => {}
        }
    }

    /// What a notification is about.
    fn about(&self, method: &str, params: Option<&RawValue>, origin: Option<&Arc<Watch>>) -> About {
        let watch = match method {
            "notifications/progress" => self.watch_of_progress(params),
            "notifications/message" => origin.cloned().or_else(|| match self.possible_origins() {
                // All who may be meant are the same one's.
                Origins::Known(origins) => origins.into_iter().next(),
                Origins::Unclear => None,
            }),
            _ => None,
        };
        watch.map_or(About::Nothing, |watch| About::Call(watch.context.handler.clone()))
    }

    /// What came is no message.
    pub(super) fn note_malformed(&self, text: &str) {
        if self.notices.are_heard() {
            let shown: String = text.chars().take(MALFORMED_CHARACTERS).collect();
            self.give_notice(None, to_raw_value(&shown).ok(), About::Nothing);
        }
    }

    fn give_notice(&self, method: Option<&str>, params: Option<Json>, about: About) {
        if params.as_ref().is_some_and(|params| params.get().len() > MAX_EVENT_BYTES) {
            return;
        }
        let (server, method) = (self.server.clone(), method.map(Arc::from));
        self.notices.tell(&ServerNotice { server, method, params: params.map(Arc::new), about });
    }

    fn note_change(&self, count: impl FnOnce(&mut Changes)) {
        self.changes.send_modify(count);
        self.news.tell();
    }

    fn take_progress(&self, params: Option<Json>) {
        if let Some(watch) = self.watch_of_progress(params.as_deref())
            && let Some(params) = params
        {
            watch.touch();
            watch.tell(ServerEvent::Progress(params));
        }
    }

    /// The request that a report of progress is about.
    fn watch_of_progress(&self, params: Option<&RawValue>) -> Option<Arc<Watch>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Progress<'a> {
            #[serde(borrow)]
            progress_token: &'a RawValue,
        }
        let progress = serde_json::from_str::<Progress<'_>>(params?.get()).ok()?;
        let token: u64 = progress.progress_token.get().trim_matches('"').parse().ok()?;
        self.under_way().get(&token).cloned()
    }

    fn take_update(&self, params: Option<&RawValue>) {
        #[derive(Deserialize)]
        struct Updated {
            uri: String,
        }
        let updated = params.and_then(|params| serde_json::from_str::<Updated>(params.get()).ok());
        let Some(Updated { uri }) = updated else { return };
        let listeners = self.listeners();
        // It may be a part of what was asked about, and nothing tells of which.
        let known = listeners.iter().any(|listener| listener.uri == uri);
        for listener in listeners.iter().filter(|listener| !known || listener.uri == uri) {
            let _ = listener.to.try_send(uri.clone());
        }
    }

    /// The server takes a question back.
    fn take_cancellation(&self, params: Option<&RawValue>) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Cancelled<'a> {
            #[serde(borrow)]
            request_id: &'a RawValue,
        }
        let cancelled = params.and_then(|params| serde_json::from_str(params.get()).ok());
        if let Some(Cancelled { request_id }) = cancelled
            && let Some(worker) = self.questions().by_id.remove(request_id.get())
        {
            worker.abort();
        }
    }

    /// The request that what came must belong to, because there is no other.
    fn only_one_under_way(&self) -> Option<Arc<Watch>> {
        let under_way = self.under_way();
        let mut all = under_way.values();
        let one = all.next()?;
        all.next().is_none().then(|| Arc::clone(one))
    }

    /// The requests to which a question may belong. Some servers ask in a stream of their own, and on
    /// pipes there is but one; if all who could be meant would ask the same person, it does not matter
    /// about which request it is.
    fn possible_origins(&self) -> Origins {
        let under_way = self.under_way();
        if under_way.len() == 1 {
            return Origins::Known(under_way.values().cloned().collect());
        }
        let mut asked: Vec<Arc<Watch>> = Vec::new();
        for watch in under_way.values() {
            let Some(handler) = &watch.context.handler else { continue };
            let first = asked.first().and_then(|first| first.context.handler.as_ref());
            if first.is_some_and(|first| !Arc::ptr_eq(first, handler)) {
                return Origins::Unclear;
            }
            asked.push(Arc::clone(watch));
        }
        Origins::Known(asked)
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<u64, Arc<Watch>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// About which requests a question may be.
enum Origins {
    /// About one of these, all of which would ask the same person; or about none.
    Known(Vec<Arc<Watch>>),
    /// Several would ask different ones.
    Unclear,
}

/// A person's answer, for which a call and its run may stand still only so long.
async fn answer_in_time(
    handler: &dyn ClientHandler,
    request: ServerRequest,
) -> Result<Json, Refusal> {
    let method = request.method.clone();
    let answer = tokio::time::timeout(MAX_ANSWER_TIME, handler.answer(request)).await;
    answer.unwrap_or_else(|_| {
        let minutes = MAX_ANSWER_TIME.as_secs() / 60;
        let message = format!("nobody answered {method} within {minutes} minutes");
        Err(Refusal { code: BUSY, message })
    })
}

/// Resolves when nobody waits any more for the requests to which a question may belong.
async fn all_over(origins: &[Arc<Watch>]) {
    if origins.is_empty() {
        std::future::pending::<()>().await;
    }
    for origin in origins {
        origin.over.cancelled().await;
    }
}

fn too_late() -> Refusal {
    let message = "the call about which this is asked is over".to_owned();
    Refusal { code: BUSY, message }
}

/// One caller's question must not reach another.
fn whose(method: &str) -> Refusal {
    let message = format!(
        "calls for several callers are under way, and nothing tells for which of them {method} is; \
         ask again when fewer are"
    );
    Refusal { code: BUSY, message }
}

fn empty() -> Json {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// Some servers ask for roots although nobody offered any.
fn no_roots() -> Json {
    RawValue::from_string(r#"{"roots":[]}"#.to_owned()).unwrap_or_default()
}

/// Watches for what belongs to one request as long as it lives.
pub(super) struct Watching {
    inbox: Arc<Inbox>,
    watch: Arc<Watch>,
}

impl std::ops::Deref for Watching {
    type Target = Arc<Watch>;

    fn deref(&self) -> &Arc<Watch> {
        &self.watch
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.inbox.under_way().remove(&self.watch.token);
        self.watch.over.cancel();
    }
}
