//! One session: what its client sends is worked on, each thing in a task of its own, until either side
//! goes away. Then whatever is under way is cancelled at its server.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures::StreamExt as _;
use futures::stream::SplitStream;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::asking::Asker;
use super::ear::Ear;
use super::frames::{self, Frame, NoFrame, Object, Received, as_python};
use super::operations::{self, Operation};
use super::outlet::{Ending, Outlet};
use super::settings::BridgeSettings;
use super::table::{Entered, Entry};
use super::target::{Target, Told, Welcome, World, cause, for_page};
use super::tickets::Ticket;
use super::{Bridge, Http, dump, lock, rpc};
use crate::server::mcp::request::Params;
use crate::server::mcp::wire::{self, Incoming, Read, RpcError};
use crate::tool::{Json, Phase};
use crate::upstream::UpstreamError;

/// Frames that a client may send before its server is there. They are worked on then, in their order.
const EARLY: usize = 16;

/// Bytes of such frames.
const EARLY_BYTES: usize = 1 << 20;

/// How long the end of a socket may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often a session is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes of an id that a client gives to an operation.
const MAX_ID_BYTES: usize = 256;

/// A socket that was opened with a ticket.
pub(super) struct Opened {
    pub(super) http: Arc<Http>,
    pub(super) bridge: Arc<Bridge>,
    pub(super) id: String,
    pub(super) ticket: Ticket,
    /// Its place among those that there may be.
    pub(super) _place: OwnedSemaphorePermit,
}

/// Serves a client until its end.
pub(super) async fn run(socket: WebSocket, opened: Opened) {
    let Opened { http, bridge, id, ticket, _place } = opened;
    let settings = bridge.settings.clone();
    let (sink, mut stream) = socket.split();
    let (outlet, writer) = Outlet::new(&id, settings.queue);
    let (end, ended) = oneshot::channel();
    let mut writing = AbortOnDropHandle::new(tokio::spawn(writer.run(sink, ended)));
    let asker = Asker::new(Arc::clone(&outlet), settings.elicitation_timeout);
    let (began, plan) = (Instant::now(), ticket.plan.to_string());
    let caller = ticket.caller.clone();
    tracing::info!(target: "toolcell::audit", session = id, %caller, "a session begins with {plan}");
    let Ticket { plan, facade, caller } = ticket;
    let target = Target::new(plan, facade, caller.clone(), &asker);
    let ending = match &target {
        Ok(target) => {
            let mut session = Session {
                settings,
                outlet: Arc::clone(&outlet),
                asker,
                early: VecDeque::new(),
                early_bytes: 0,
            };
            let serving = session.serve(&mut stream, target, &bridge, &caller, &http.stop);
            tokio::select! {
                ending = serving => ending,
                // The client cannot be reached any more.
                _ = &mut writing => None,
            }
        }
        Err(words) => {
            outlet.send(frames::error(&format!("Connection error: {words}")));
            Some(Ending::FAILED)
        }
    };
    outlet.gone.cancel();
    let _ = end.send(ending);
    // The client answers the close, and is heard so that the connection ends in good order.
    let good_bye = async {
        let hearing = async { while let Some(Ok(_)) = stream.next().await {} };
        futures::future::join(&mut writing, hearing).await
    };
    let _ = tokio::time::timeout(LAST_WORDS, good_bye).await;
    if let Ok(target) = &target {
        target.close().await;
    }
    let (seconds, code) = (began.elapsed().as_secs_f64(), ending.map(|ending| ending.code));
    tracing::info!(target: "toolcell::audit", session = id, seconds, code, "a session ended");
}

/// What a session has besides its server.
struct Session {
    settings: BridgeSettings,
    outlet: Arc<Outlet>,
    asker: Arc<Asker>,
    early: VecDeque<Message>,
    early_bytes: usize,
}

type Flow = ControlFlow<Option<Ending>>;

impl Session {
    /// Gives how it ends; nothing if the client went away.
    async fn serve(
        &mut self,
        stream: &mut SplitStream<WebSocket>,
        target: &Arc<Target>,
        bridge: &Bridge,
        caller: &crate::upstream::Caller,
        stop: &CancellationToken,
    ) -> Option<Ending> {
        // Before anything is connected, so that nothing is missed.
        let ear = Ear::new(Arc::clone(&self.outlet));
        let hearing = Arc::clone(&ear);
        let _listening = target.listen(move |notice| hearing.hear(notice));
        let welcome = match self.connect(stream, target, stop).await {
            Ok(welcome) => welcome,
            Err(ending) => return ending,
        };
        let capabilities = dump::capabilities(&welcome.capabilities);
        let entered =
            bridge.table.enter(Entry::new(&self.outlet.session, caller, &capabilities, target));
        let frame = Frame::new("initialized")
            .with("session_id", &self.outlet.session)
            .with("capabilities", &capabilities);
        self.outlet.send(frame.finish());
        ear.open();
        let live = Live {
            settings: &self.settings,
            outlet: &self.outlet,
            asker: &self.asker,
            target,
            welcome: Arc::new(welcome),
            entered,
            work: JoinSet::new(),
            places: Arc::new(Semaphore::new(self.settings.max_in_flight)),
            under_way: Arc::default(),
            heard: Instant::now(),
            asked: Instant::now(),
            was_lost: false,
        };
        let early = std::mem::take(&mut self.early);
        live.run(stream, early, stop).await
    }

    /// Waits for the server, and hears whether the client goes away meanwhile.
    async fn connect(
        &mut self,
        stream: &mut SplitStream<WebSocket>,
        target: &Target,
        stop: &CancellationToken,
    ) -> Result<Welcome, Option<Ending>> {
        let mut connecting = std::pin::pin!(target.connect());
        let connected = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(Some(Ending::STOPPING)),
                () = self.outlet.full.cancelled() => return Err(Some(Ending::DEAF)),
                connected = &mut connecting => break connected,
                message = stream.next() => match message {
                    Some(Ok(message)) => self.keep(message),
                    Some(Err(error)) => return Err(broken(&error)),
                    None => return Err(None),
                },
            }
        };
        connected.map_err(|error| {
            self.tell_failure(&error, target.is_own());
            Some(Ending::FAILED)
        })
    }

    /// A frame that came before the server was there.
    fn keep(&mut self, message: Message) {
        let bytes = match &message {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
            _ => return,
        };
        if self.early.len() < EARLY && self.early_bytes + bytes <= EARLY_BYTES {
            self.early_bytes += bytes;
            self.early.push_back(message);
        } else {
            self.outlet.send(frames::error("MCP client not initialized"));
        }
    }

    fn tell_failure(&self, error: &UpstreamError, is_own: bool) {
        let shown = |words: String| if is_own { words } else { for_page(&words) };
        tracing::warn!(session = self.outlet.session, %error, "a session's server cannot be used");
        let is_of_handshake = match error {
            UpstreamError::Unavailable { phase, .. } | UpstreamError::TimedOut { phase, .. } => {
                matches!(phase, Phase::Handshake)
            }
            UpstreamError::Rejected { .. } | UpstreamError::BadAnswer { .. } => true,
            _ => false,
        };
        if is_of_handshake {
            self.outlet.send(operations::failed(&json!("initialize"), &shown(cause(error)), None));
        }
        let kind = match error {
            UpstreamError::TimedOut { .. } => "TimeoutError",
            UpstreamError::Rejected { .. } => "McpError",
            _ => "ConnectionError",
        };
        let words = shown(error.to_string());
        self.outlet.send(frames::error(&format!("Connection error: {kind}: {words}")));
    }
}

/// A session whose server is there.
struct Live<'a> {
    settings: &'a BridgeSettings,
    outlet: &'a Arc<Outlet>,
    asker: &'a Arc<Asker>,
    target: &'a Arc<Target>,
    welcome: Arc<Welcome>,
    entered: Entered,
    /// Operations and requests; dropped, they are cancelled.
    work: JoinSet<()>,
    /// As many as may be worked on at once.
    places: Arc<Semaphore>,
    /// Requests of JSON-RPC, by their ids.
    under_way: Arc<Mutex<HashMap<String, CancellationToken>>>,
    /// When the client last gave a sign, and when it last sent a frame.
    heard: Instant,
    asked: Instant,
    was_lost: bool,
}

impl Live<'_> {
    async fn run(
        mut self,
        stream: &mut SplitStream<WebSocket>,
        early: VecDeque<Message>,
        stop: &CancellationToken,
    ) -> Option<Ending> {
        for message in early {
            if let ControlFlow::Break(ending) = self.take(message) {
                return ending;
            }
        }
        let look = LOOK.min(self.settings.heartbeat / 2).min(self.settings.idle / 2);
        let mut ticks = tokio::time::interval(look.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pinged = Instant::now();
        let ending = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Some(Ending::STOPPING),
                () = self.outlet.full.cancelled() => break Some(Ending::DEAF),
                Some(ended) = self.work.join_next(), if !self.work.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "work of a session failed; that is toolcell's fault");
                    }
                }
                _ = ticks.tick() => {
                    if let ControlFlow::Break(ending) = self.look(&mut pinged) {
                        break ending;
                    }
                }
                message = stream.next() => match message {
                    None => break None,
                    Some(Err(error)) => break broken(&error),
                    Some(Ok(message)) => if let ControlFlow::Break(ending) = self.take(message) {
                        break ending;
                    },
                },
            }
        };
        // So that servers hear of it before their connections are closed.
        self.work.shutdown().await;
        ending
    }

    /// Looks after the client and the server.
    fn look(&mut self, pinged: &mut Instant) -> Flow {
        let (now, heartbeat) = (Instant::now(), self.settings.heartbeat);
        let lost = self.target.is_lost();
        if lost && !std::mem::replace(&mut self.was_lost, lost) {
            let words = "The connection to the MCP server was lost";
            let details = Object::default().with("details", &words);
            self.outlet.announce("error", words, &details);
        }
        self.was_lost = lost;
        if now.saturating_duration_since(self.heard) > heartbeat * 2 {
            return ControlFlow::Break(Some(Ending::SILENT));
        }
        let is_idle = self.work.is_empty() && !self.asker.waits();
        if is_idle && now.saturating_duration_since(self.asked) >= self.settings.idle {
            return ControlFlow::Break(Some(Ending::IDLE));
        }
        if now.saturating_duration_since(*pinged) >= heartbeat {
            *pinged = now;
            self.outlet.ping();
        }
        ControlFlow::Continue(())
    }

    fn take(&mut self, message: Message) -> Flow {
        self.heard = Instant::now();
        match message {
            Message::Text(text) => {
                self.asked = self.heard;
                self.entered.entry.touch();
                self.take_text(&text)
            }
            Message::Binary(_) => self.give_up("KeyError: 'text'"),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => ControlFlow::Continue(()),
        }
    }

    /// What the client sent cannot be a frame at all.
    fn give_up(&self, why: &str) -> Flow {
        self.outlet.send(frames::error(&format!("Connection error: {why}")));
        ControlFlow::Break(Some(Ending::FAILED))
    }

    fn take_text(&mut self, text: &str) -> Flow {
        let frame = match Received::read(text) {
            Ok(frame) => frame,
            Err(NoFrame::NotJson) => {
                self.outlet.send(frames::error("Invalid message format"));
                return ControlFlow::Continue(());
            }
            Err(NoFrame::NoObject(kind)) => {
                let why = format!("AttributeError: '{kind}' object has no attribute 'get'");
                return self.give_up(&why);
            }
        };
        if frame.has("jsonrpc") {
            self.take_rpc(text);
            return ControlFlow::Continue(());
        }
        let kind = frame.value("type");
        match kind.as_str() {
            Some("operation") => self.operate(&frame),
            Some("ping") => {
                let id = id_of(&frame);
                self.outlet.send(Frame::new("pong").with_some("request_id", id.as_ref()).finish());
            }
            Some("elicitation_response") => self.asker.take_elicitation(&frame),
            Some("sampling_response") => self.asker.take_sampling(&frame),
            Some("client_capabilities") => self.asker.take_capabilities(&frame),
            _ => {
                let words = format!("Unknown message type: {}", as_python(&kind));
                self.outlet.send(frames::error(&words));
            }
        }
        ControlFlow::Continue(())
    }

    fn operate(&mut self, frame: &Received) {
        let id = id_of(frame);
        let operation = match Operation::read(frame) {
            Ok(operation) => operation,
            Err(unusable) => {
                let failed = operations::failed(&unusable.name, &unusable.words, id.as_ref());
                return self.outlet.send(failed);
            }
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let words = operations::busy(self.settings.max_in_flight).words();
            let failed = operations::failed(&json!(operation.name), &words, id.as_ref());
            return self.outlet.send(failed);
        };
        let told = Told::Frames { operation: operation.name, request_id: id.clone() };
        let world =
            World { outlet: Arc::clone(self.outlet), cancel: CancellationToken::new(), told };
        let target = Arc::clone(self.target);
        self.work.spawn(async move {
            let frame = operation.work(&target, &world, id.as_ref()).await;
            // Before its client can know that it ended.
            drop(place);
            world.outlet.send(frame);
        });
    }

    fn take_rpc(&mut self, text: &str) {
        let incoming = match wire::read(text.as_bytes()) {
            Read::One(incoming) => incoming,
            // An object is no batch.
            Read::Batch(_) => return,
        };
        match incoming {
            Incoming::Request { id, method, params } => {
                self.outlet.speak_rpc();
                self.request(id, method, params.as_deref());
            }
            Incoming::Notification { method, params } => {
                if method == "notifications/cancelled"
                    && let Ok(params) = Params::read(params.as_deref())
                    && let Some(id) = params.raw("requestId")
                    && let Some(cancel) = lock(&self.under_way).get(id.get())
                {
                    cancel.cancel();
                }
            }
            // Nothing is asked in this way.
            Incoming::Answer { .. } => {}
            Incoming::Unusable { id, error } => self.refuse(id.as_deref(), &error),
        }
    }

    fn refuse(&self, id: Option<&RawValue>, error: &RpcError) {
        self.outlet.send(rpc::text(wire::refusal(id, error)));
    }

    fn request(&mut self, id: Json, method: String, params: Option<&RawValue>) {
        let params = match Params::read(params) {
            Ok(params) => params,
            Err(error) => return self.refuse(Some(&id), &error),
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let busy = operations::busy(self.settings.max_in_flight);
            return self.refuse(Some(&id), &busy.error);
        };
        let cancel = CancellationToken::new();
        let key = id.get().to_owned();
        if lock(&self.under_way).contains_key(&key) {
            let words = "a request with this id is worked on already";
            return self.refuse(Some(&id), &RpcError::new(RpcError::INVALID_REQUEST, words));
        }
        lock(&self.under_way).insert(key.clone(), cancel.clone());
        let guard = Noted { under_way: Arc::clone(&self.under_way), id: key };
        let progress_token = params.meta.progress_token().map(ToOwned::to_owned);
        let told = Told::Rpc { progress_token };
        let world = World { outlet: Arc::clone(self.outlet), cancel: cancel.clone(), told };
        let (target, welcome) = (Arc::clone(self.target), Arc::clone(&self.welcome));
        self.work.spawn(async move {
            let answering = rpc::answer(&target, &welcome, &id, &method, params, &world);
            tokio::select! {
                biased;
                // Nobody waits for the answer to what was cancelled.
                () = cancel.cancelled() => drop((guard, place)),
                frame = answering => {
                    // Its client may use the id again as soon as it has the answer.
                    drop((guard, place));
                    world.outlet.send(frame);
                }
            }
        });
    }
}

/// A request that is worked on.
struct Noted {
    under_way: Arc<Mutex<HashMap<String, CancellationToken>>>,
    id: String,
}

impl Drop for Noted {
    fn drop(&mut self) {
        lock(&self.under_way).remove(&self.id);
    }
}

/// The id that a client gave, if it can be given back.
fn id_of(frame: &Received) -> Option<Json> {
    let id = frame.raw("request_id")?;
    let is_scalar = !id.get().starts_with(['{', '[']);
    (is_scalar && id.get().len() <= MAX_ID_BYTES).then(|| id.to_owned())
}

/// How a session ends whose socket broke.
fn broken(error: &axum::Error) -> Option<Ending> {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    if text.contains("Space limit exceeded") {
        Some(Ending::TOO_BIG)
    } else if text.contains("UTF-8") {
        Some(Ending { code: 1007, reason: "a text frame is not UTF-8" })
    } else if text.contains("protocol error") && !text.contains("without closing handshake") {
        Some(Ending { code: 1002, reason: "the client broke the WebSocket protocol" })
    } else {
        None
    }
}
