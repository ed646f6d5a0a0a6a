//! One request of a client, and what there is between it and us while it is worked on. Over which
//! wire it came, pipes or HTTP, makes no difference from here on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use indexmap::IndexMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::asking::Relay;
use super::gateway::Watched;
use super::wire::{self, RpcError};
use crate::ids::RunId;
use crate::tool::Json;
use crate::upstream::{Caller, ClientCapabilities, ClientHandler, Era, Refusal};

/// The members of a request's `params`, not decoded.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Params {
    members: IndexMap<String, Json>,
    pub(in crate::server) meta: Meta,
}

/// The members of `_meta`, not decoded.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Meta(IndexMap<String, Json>);

impl Meta {
    pub(in crate::server) const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    pub(in crate::server) const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    pub(in crate::server) const CLIENT: &str = "io.modelcontextprotocol/clientInfo";
    pub(in crate::server) const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    pub(in crate::server) const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
    pub(in crate::server) const SERVER: &str = "io.modelcontextprotocol/serverInfo";
    const PROGRESS_TOKEN: &str = "progressToken";

    pub(in crate::server) fn raw(&self, name: &str) -> Option<&RawValue> {
        self.0.get(name).map(|value| &**value)
    }

    pub(in crate::server) fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.raw(name)?.get()).ok()
    }

    /// With what progress is to be told, if the client wants it to be.
    pub(in crate::server) fn progress_token(&self) -> Option<&RawValue> {
        self.raw(Self::PROGRESS_TOKEN)
    }

    /// What belongs to whoever works on the request in the end: trace context and the like. Our own
    /// client adds what the protocol needs.
    pub(in crate::server) fn for_upstreams(&self) -> serde_json::Map<String, serde_json::Value> {
        let members = self.0.iter().filter(|(name, _)| passes(name));
        let decoded = |(name, value): (&String, &Json)| {
            Some((name.clone(), serde_json::from_str(value.get()).ok()?))
        };
        members.filter_map(decoded).collect()
    }

    /// The same to the letter, for a single request, with the level of log entries that is wanted.
    pub(in crate::server) fn to_pass(&self, log_level: Option<&str>) -> Option<Json> {
        let mut members: IndexMap<&str, Json> = IndexMap::new();
        for (name, value) in self.0.iter().filter(|(name, _)| passes(name)) {
            members.insert(name, value.clone());
        }
        if let Some(level) = log_level.and_then(|level| to_raw_value(level).ok()) {
            members.insert(Self::LOG_LEVEL, level);
        }
        if members.is_empty() { None } else { to_raw_value(&members).ok() }
    }
}

/// Whether a member of `_meta` is for whoever works on the request, and not for us.
fn passes(name: &str) -> bool {
    name != Meta::PROGRESS_TOKEN && !name.starts_with("io.modelcontextprotocol/")
}

impl Params {
    /// Takes `params` apart.
    pub(in crate::server) fn read(params: Option<&RawValue>) -> Result<Self, RpcError> {
        let Some(params) = params else { return Ok(Self::default()) };
        let invalid = |error| RpcError::invalid_params(format!("`params` is no object: {error}"));
        let mut members: IndexMap<String, Json> =
            serde_json::from_str(params.get()).map_err(invalid)?;
        let meta = match members.shift_remove("_meta") {
            None => Meta::default(),
            Some(meta) => Meta(serde_json::from_str(meta.get()).map_err(|error| {
                RpcError::invalid_params(format!("`_meta` is no object: {error}"))
            })?),
        };
        Ok(Self { members, meta })
    }

    /// The same, with progress told under this token.
    pub(in crate::server) fn with_progress_token(mut self, token: &str) -> Self {
        let token = to_raw_value(token).unwrap_or_default();
        self.meta.0.insert(Meta::PROGRESS_TOKEN.to_owned(), token);
        self
    }

    pub(in crate::server) fn raw(&self, name: &str) -> Option<&RawValue> {
        self.members.get(name).map(|value| &**value).filter(|value| value.get() != "null")
    }

    /// All members but `_meta`.
    pub(in crate::server) fn members(&self) -> &IndexMap<String, Json> {
        &self.members
    }

    /// One member, if it is there.
    pub(in crate::server) fn get<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, RpcError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        let read = serde_json::from_str(raw.get());
        read.map(Some)
            .map_err(|error| RpcError::invalid_params(format!("`{name}` cannot be used: {error}")))
    }

    /// One member that has to be there.
    pub(in crate::server) fn need<T: DeserializeOwned>(&self, name: &str) -> Result<T, RpcError> {
        let member = self.get(name)?;
        member.ok_or_else(|| RpcError::invalid_params(format!("`{name}` is missing")))
    }
}

/// What is known of the program at the other end.
#[derive(Clone, Debug)]
pub(in crate::server) struct Client {
    /// In which way it speaks.
    pub(in crate::server) era: Era,
    /// The protocol's revision that was agreed on, or that the request names.
    pub(in crate::server) revision: String,
    /// What it can be asked.
    pub(in crate::server) capabilities: ClientCapabilities,
    /// What it calls itself, `name version`.
    pub(in crate::server) name: Option<String>,
}

impl Client {
    /// One that said nothing: a POST of its own with no handshake before it.
    pub(in crate::server) fn unknown() -> Self {
        Self {
            era: Era::Legacy,
            revision: "2025-03-26".to_owned(),
            capabilities: ClientCapabilities::default(),
            name: None,
        }
    }

    pub(in crate::server) fn is_modern(&self) -> bool {
        self.era == Era::Modern
    }
}

/// Where messages to the client go. Bounded: when a client reads nothing, whoever writes waits.
pub(in crate::server) type Outbox = mpsc::Sender<Vec<u8>>;

/// The client at the other end, as far as it outlives one request: a process that started us, or a
/// session over HTTP. Requests that stand alone have one of their own each.
pub(in crate::server) struct Peer {
    client: RwLock<Option<Arc<Client>>>,
    /// For what belongs to no request: changes of lists, updates.
    pub(in crate::server) outbox: Outbox,
    /// The questions that it has not answered yet.
    questions: Mutex<HashMap<u64, oneshot::Sender<Result<Json, RpcError>>>>,
    next_question: AtomicU64,
    /// The requests that are worked on, by their ids.
    under_way: Mutex<HashMap<String, CancellationToken>>,
    /// What it wants to hear of logs (`logging/setLevel`).
    log_level: Mutex<Option<String>>,
    /// What it was shown of the servers, and what it wants to hear of.
    pub(in crate::server::mcp) watched: Watched,
    /// Ends with it.
    pub(in crate::server) gone: CancellationToken,
    /// Whether all requests of its client come through it, so that nobody comes back once it is gone.
    is_the_client: bool,
    /// A name that no other peer has.
    name: Arc<str>,
}

impl Peer {
    pub(in crate::server) fn new(outbox: Outbox) -> Arc<Self> {
        Self::made(outbox, false)
    }

    /// A client that has no other way to us: the process at the other end of our pipes.
    pub(in crate::server) fn only(outbox: Outbox) -> Arc<Self> {
        Self::made(outbox, true)
    }

    fn made(outbox: Outbox, is_the_client: bool) -> Arc<Self> {
        Arc::new(Self {
            client: RwLock::default(),
            outbox,
            questions: Mutex::default(),
            next_question: AtomicU64::new(1),
            under_way: Mutex::default(),
            log_level: Mutex::default(),
            watched: Watched::default(),
            gone: CancellationToken::new(),
            is_the_client,
            name: RunId::random().to_string().into(),
        })
    }

    /// Ends when the client can never come back, as far as that can be known.
    pub(in crate::server) fn gone_for_good(&self) -> Option<&CancellationToken> {
        self.is_the_client.then_some(&self.gone)
    }

    /// Its name, if it outlives one request: what plugins keep for a client is kept under this.
    pub(in crate::server) fn connection(&self) -> Option<Arc<str>> {
        // Who never introduced itself may be there for this one request only.
        let lasts = self.is_the_client || self.client().is_some();
        lasts.then(|| Arc::clone(&self.name))
    }

    /// Who it is, once it has said so.
    pub(in crate::server) fn client(&self) -> Option<Arc<Client>> {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::server) fn introduce(&self, client: Client) {
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(client));
    }

    pub(in crate::server) fn log_level(&self) -> Option<String> {
        lock(&self.log_level).clone()
    }

    pub(in crate::server) fn set_log_level(&self, level: String) {
        *lock(&self.log_level) = Some(level);
    }

    /// Begins a request: until the guard is dropped, `notifications/cancelled` reaches it. Gives
    /// nothing if there is one with this id already.
    pub(in crate::server) fn begin(self: &Arc<Self>, id: &RawValue) -> Option<UnderWay> {
        let token = self.gone.child_token();
        let mut under_way = lock(&self.under_way);
        if under_way.contains_key(id.get()) {
            return None;
        }
        under_way.insert(id.get().to_owned(), token.clone());
        Some(UnderWay { peer: Arc::clone(self), id: id.get().to_owned(), token })
    }

    /// How many requests are worked on.
    pub(in crate::server) fn under_way(&self) -> usize {
        lock(&self.under_way).len()
    }

    /// Takes `notifications/cancelled`. One that names nothing that is worked on is no mistake: the
    /// answer may be on its way.
    pub(in crate::server) fn cancel(&self, params: Option<&RawValue>) {
        let Ok(params) = Params::read(params) else { return };
        if let Some(id) = params.raw("requestId") {
            self.cancel_request(id);
        }
    }

    /// Cancels a request, if it is worked on.
    pub(in crate::server) fn cancel_request(&self, id: &RawValue) {
        if let Some(token) = lock(&self.under_way).get(id.get()) {
            token.cancel();
        }
    }

    /// Takes an answer to a question of ours. One that comes too late, or twice, is dropped.
    pub(in crate::server) fn take_answer(&self, id: &RawValue, outcome: Result<Json, RpcError>) {
        let Ok(id) = id.get().parse::<u64>() else { return };
        let waiting = lock(&self.questions).remove(&id);
        if let Some(waiting) = waiting {
            let _ = waiting.send(outcome);
        }
    }
}

/// A request that is worked on.
pub(in crate::server) struct UnderWay {
    peer: Arc<Peer>,
    id: String,
    pub(in crate::server) token: CancellationToken,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.peer.under_way).remove(&self.id);
    }
}

/// What goes back and forth about one request before it is answered.
#[derive(Clone)]
pub(in crate::server) struct Exchange {
    pub(in crate::server) peer: Arc<Peer>,
    outlet: Outlet,
    /// Whether what a script prints is told while it runs, as entries of a log.
    pub(in crate::server) streams_output: bool,
}

/// Where what belongs to a request goes.
#[derive(Clone)]
enum Outlet {
    /// Over HTTP, into its own response.
    Own(Outbox),
    /// To whichever request waits for the work.
    Relay(Arc<Relay>),
}

impl Exchange {
    pub(in crate::server) fn new(peer: Arc<Peer>, outbox: Outbox) -> Self {
        Self { peer, outlet: Outlet::Own(outbox), streams_output: false }
    }

    /// For work that outlives the request that began it.
    pub(in crate::server) fn relayed(peer: Arc<Peer>, relay: Arc<Relay>) -> Self {
        Self { peer, outlet: Outlet::Relay(relay), streams_output: false }
    }

    /// Where messages go as they are.
    pub(in crate::server) fn outbox(&self) -> Option<&Outbox> {
        match &self.outlet {
            Outlet::Own(outbox) => Some(outbox),
            Outlet::Relay(_) => None,
        }
    }

    /// Sends a notification. If the client is gone, that is noticed elsewhere.
    pub(in crate::server) async fn notify(&self, method: &str, params: &impl Serialize) {
        match &self.outlet {
            Outlet::Own(outbox) => {
                let _ = outbox.send(wire::notification(method, params)).await;
            }
            Outlet::Relay(relay) => relay.notify(method, params).await,
        }
    }

    /// Asks the client something, as revisions up to 2025-11-25 do. Cancel-safe: the client is told
    /// when nobody waits for its answer any more.
    pub(in crate::server) async fn ask(
        &self,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<Json, Refusal> {
        let outbox = self.outbox().ok_or_else(|| Refusal::nobody(method))?;
        let id = self.peer.next_question.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.peer.questions).insert(id, sender);
        let asked = Asked { peer: &self.peer, outbox, id };
        let gone = || Refusal {
            code: RpcError::INTERNAL,
            message: "the client went away before it answered".to_owned(),
        };
        let sent = outbox.send(wire::question(id, method, params)).await;
        sent.map_err(|_| gone())?;
        let outcome = tokio::select! {
            outcome = answer => outcome.map_err(|_| gone())?,
            () = self.peer.gone.cancelled() => return Err(gone()),
        };
        drop(asked);
        outcome.map_err(|error| Refusal { code: error.code, message: error.message })
    }
}

/// A question that has not been answered.
struct Asked<'a> {
    peer: &'a Peer,
    outbox: &'a Outbox,
    id: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if lock(&self.peer.questions).remove(&self.id).is_some() {
            let params = serde_json::json!({ "requestId": self.id, "reason": "no longer needed" });
            let message = wire::notification("notifications/cancelled", &params);
            // Whoever is dropped cannot wait; a client that reads nothing loses nothing.
            let _ = self.outbox.try_send(message);
        }
    }
}

/// One request, read and admitted.
pub(in crate::server) struct Request {
    /// As the client wrote it.
    pub(in crate::server) id: Json,
    pub(in crate::server) method: String,
    pub(in crate::server) params: Params,
    /// The program that asks.
    pub(in crate::server) client: Arc<Client>,
    /// For whom it asks.
    pub(in crate::server) caller: Caller,
    pub(in crate::server) exchange: Exchange,
    /// Answers what servers ask while they work on it. Nobody does, unless the request is worked on in
    /// [`with_questions`](super::Facade::with_questions).
    pub(in crate::server) handler: Arc<dyn ClientHandler>,
    /// The client does not want it any more, or is gone.
    pub(in crate::server) cancel: CancellationToken,
}

/// What a request comes to.
pub(in crate::server) type Outcome = Result<Json, RpcError>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
