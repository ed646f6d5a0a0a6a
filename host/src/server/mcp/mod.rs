//! toolcell as an MCP server: an agent searches tools, looks at their signatures, and runs one
//! script instead of thirty turns.
//!
//! The tools are few and stay the same however many servers are connected, so a model's context and
//! its prompt cache do too. Whatever goes wrong in a call is a result with words in it
//! (`isError`), never an error of the protocol: most clients show a model nothing of those.
//!
//! - `wire` reads and writes JSON-RPC, `stdio` carries it over pipes; `request` is one request and
//!   what goes back and forth about it, `lifecycle` the two eras of the protocol.
//! - `audit` leaves a line about each call: who, what, and what it came to.
//! - `code` are the tools: search, describe, run; `kept` has what of their results was too long;
//!   `gateway` shows what the servers offer themselves.
//! - `asking` has the client's user answer what servers ask meanwhile, whichever era either speaks.
//!
//! JSON-RPC is our own here too, for the reason that it is in [`crate::upstream`]: what passes
//! through us has to stay what it is, and typed models drop what they do not know.

mod asking;
mod audit;
mod code;
mod gateway;
mod kept;
pub(in crate::server) mod lifecycle;
pub(in crate::server) mod request;
mod stdio;
pub(in crate::server) mod wire;

use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

pub use asking::ForClients;
pub(in crate::server) use gateway::{Definition, Place, as_result, follow, of_other, uri_to_watch};
pub use gateway::{GatewayName, gateway_names};
pub use stdio::ServeError;

use crate::Host;
use crate::config::{Config, NoProfile, Profile};
use crate::tool::Json;
use crate::upstream::Caller;
use asking::{Nobody, Parking};
pub(in crate::server) use audit::AuditLine;
use gateway::Gateway;
use kept::{KeptLimits, KeptResults};
use lifecycle::raw_of;
use request::{Exchange, Outcome, Params, Peer, Request};
use wire::RpcError;

use super::access::quotas::Quotas;
use super::access::{AccessSettings, Doorkeeper};
use super::settings::ServerSettings;

/// What all façades of a host share.
struct Shared {
    host: Host,
    settings: ServerSettings,
    gateway: Gateway,
    doorkeeper: Doorkeeper,
    quotas: Quotas,
    /// Requests that wait for their client to answer a question.
    parking: Arc<Parking>,
    kept: KeptResults,
}

/// One profile of a host as an MCP server. Cheap to clone; it holds nothing of a client.
#[derive(Clone)]
pub struct Facade {
    shared: Arc<Shared>,
    profile: Option<Arc<str>>,
    /// Whatever the profile says, what the servers offer is shown too.
    always_gateway: bool,
}

impl Facade {
    /// The façade for clients of one profile; the configuration's default if none is named.
    ///
    /// # Errors
    /// There is no such profile.
    pub fn new(
        host: Host,
        settings: ServerSettings,
        profile: Option<&str>,
    ) -> Result<Self, NoProfile> {
        host.config().profile(profile)?;
        host.sessions().set_settings(settings.sessions);
        let profile = profile.map(Into::into);
        let quotas = Quotas::new(&settings.access);
        let doorkeeper = Doorkeeper::new(settings.access.clone());
        let (gateway, parking) = (Gateway::default(), Arc::default());
        let kept = KeptResults::new(KeptLimits::default());
        let shared = Shared { host, settings, gateway, doorkeeper, quotas, parking, kept };
        Ok(Self { shared: Arc::new(shared), profile, always_gateway: false })
    }

    /// The same for clients of another profile: sessions, kept results and limits are shared.
    ///
    /// # Errors
    /// There is no such profile.
    pub fn with_profile(&self, profile: Option<&str>) -> Result<Self, NoProfile> {
        self.host().config().profile(profile)?;
        Ok(Self { profile: profile.map(Into::into), ..self.clone() })
    }

    /// The same, but what is granted of the servers' own tools, resources and prompts is shown too,
    /// as a profile with `gateway = true` shows it.
    #[must_use]
    pub fn as_gateway(self) -> Self {
        Self { always_gateway: true, ..self }
    }

    pub(in crate::server) fn host(&self) -> &Host {
        &self.shared.host
    }

    /// What of results was too long for them.
    fn kept(&self) -> &KeptResults {
        &self.shared.kept
    }

    pub(in crate::server) fn settings(&self) -> &ServerSettings {
        &self.shared.settings
    }

    /// Puts other tokens and quotas in force, for all façades that share these. Where credentials are
    /// asked for they always will be: `false` says that the change would have ended that, so that
    /// nothing changed.
    pub fn replace_access(&self, access: AccessSettings) -> bool {
        if !self.shared.doorkeeper.replace(access.clone()) {
            return false;
        }
        self.quotas().replace(&access);
        true
    }

    /// Who decides whom we serve.
    pub(in crate::server) fn doorkeeper(&self) -> &Doorkeeper {
        &self.shared.doorkeeper
    }

    /// What each caller takes of us.
    pub(in crate::server) fn quotas(&self) -> &Quotas {
        &self.shared.quotas
    }

    /// The profile as it is now: a reload may have changed it.
    pub(in crate::server) fn profile(&self) -> Result<Profile, String> {
        self.profile_of(&self.host().config())
    }

    fn profile_of(&self, config: &Config) -> Result<Profile, String> {
        let profile = config.profile(self.profile.as_deref());
        let mut profile = profile.cloned().map_err(|error| error.to_string())?;
        profile.endpoint.gateway |= self.always_gateway;
        Ok(profile)
    }

    /// Answers one request. Gives nothing if the client cancelled it: then nobody waits.
    pub(in crate::server) async fn answer(
        &self,
        id: &RawValue,
        method: String,
        params: Option<Json>,
        caller: Caller,
        exchange: Exchange,
    ) -> Option<Outcome> {
        let params = match Params::read(params.as_deref()) {
            Ok(params) => params,
            Err(error) => return Some(Err(error)),
        };
        let client = match lifecycle::client_of(&exchange.peer, &method, &params) {
            Ok(client) => client,
            Err(error) => return Some(Err(error)),
        };
        let peer = Arc::clone(&exchange.peer);
        let Some(under_way) = peer.begin(id) else {
            let words = "a request with this id is worked on already";
            return Some(Err(RpcError::new(RpcError::INVALID_REQUEST, words)));
        };
        let cancel = under_way.token.clone();
        let id = id.to_owned();
        let handler = Arc::new(Nobody);
        let request = Request { id, method, params, client, caller, exchange, handler, cancel };
        let (client, method) = (Arc::clone(&request.client), request.method.clone());
        let outcome = self.dispatch(request).await;
        if under_way.token.is_cancelled() {
            return None;
        }
        Some(outcome.map(|result| lifecycle::finish(&client, &method, result)))
    }

    /// Does the work of a request that brings its own handler: nothing is asked over its exchange.
    pub(in crate::server) async fn work(&self, request: Request) -> Outcome {
        match &*request.method {
            "tools/call" | "resources/read" | "prompts/get" => self.work_on(request).await,
            _ => self.dispatch(request).await,
        }
    }

    /// The name of the profile, if it is not the default one.
    pub(in crate::server) fn profile_name(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// Takes what wants no answer.
    pub(in crate::server) fn take_notification(
        &self,
        method: &str,
        params: Option<&RawValue>,
        peer: &Peer,
    ) {
        if method == "notifications/cancelled" {
            peer.cancel(params);
        }
    }

    async fn dispatch(&self, request: Request) -> Outcome {
        match &*request.method {
            "initialize" => {
                request.exchange.peer.introduce((*request.client).clone());
                let (capabilities, words) = (self.capabilities(&request), self.instructions());
                Ok(raw_of(&lifecycle::initialized(&request.client, &capabilities, &words)))
            }
            "server/discover" => {
                let (capabilities, words) = (self.capabilities(&request), self.instructions());
                Ok(raw_of(&lifecycle::discovered(&capabilities, &words)))
            }
            "ping" => Ok(raw_of(&json!({}))),
            "tools/list" => self.list_tools(&request).await,
            "tools/call" | "resources/read" | "prompts/get" => {
                let facade = self.clone();
                let work = |request| async move { facade.work_on(request).await };
                self.with_questions(request, work).await
            }
            // Some clients ask for these whatever a server says that it has, and give up at an error.
            "resources/list" => self.list_resources(&request).await,
            "resources/templates/list" => self.list_templates(&request).await,
            "prompts/list" => self.list_prompts(&request).await,
            "resources/subscribe" => self.subscribe(&request).await,
            "resources/unsubscribe" => self.unsubscribe(&request),
            "subscriptions/listen" => self.listen(&request).await,
            "completion/complete" => self.complete(&request).await,
            "logging/setLevel" => {
                let level: String = request.params.need("level")?;
                if gateway::gravity(&level).is_none() {
                    return Err(RpcError::invalid_params("`level` is none of syslog's levels"));
                }
                request.exchange.peer.set_log_level(level);
                Ok(raw_of(&json!({})))
            }
            other => Err(RpcError::no_method(other)),
        }
    }

    /// What may ask the client something before it is done.
    async fn work_on(&self, request: Request) -> Outcome {
        match &*request.method {
            "resources/read" => match self.read_kept(&request) {
                Some(outcome) => outcome,
                None => self.read_resource(&request).await,
            },
            "prompts/get" => self.get_prompt(&request).await,
            _ => self.call_tool(&request).await,
        }
    }

    /// What is said at the beginning about what we can do.
    fn capabilities(&self, _request: &Request) -> Value {
        let mut capabilities = json!({ "tools": {} });
        if self.profile().is_ok_and(|profile| profile.endpoint.code) {
            // What is kept of long results.
            capabilities["resources"] = json!({});
        }
        self.gateway_capabilities(&mut capabilities);
        capabilities
    }

    fn instructions(&self) -> String {
        let Ok(profile) = self.profile() else { return String::new() };
        let mut words = String::new();
        if profile.endpoint.code {
            words.push_str(&code::definitions::instructions(
                &self.granted_servers(),
                &profile.runtimes,
            ));
        }
        if profile.endpoint.gateway {
            words.push_str(&self.gateway_instructions(&profile));
        } else {
            words.push_str(&self.plugin_instructions(&profile));
        }
        words
    }

    /// Calls a tool of whoever has it, within the caller's quotas, and leaves a line about it.
    async fn call_tool(&self, request: &Request) -> Outcome {
        let name: String = request.params.need("name")?;
        let client = request.client.name.as_deref().unwrap_or_default();
        let line = AuditLine::begin(&request.caller, client, self.profile.as_deref(), &name);
        let place = self.quotas().begin_call(request.caller.id.as_ref(), Instant::now());
        let outcome = match place {
            Ok(_place) => self.call_named(name, request).await,
            Err(over) => Ok(raw_of(&code::refused(&over.to_string()))),
        };
        line.end(&outcome);
        outcome
    }

    async fn call_named(&self, name: String, request: &Request) -> Outcome {
        if let Some(outcome) = self.call_if_upstream(&name, request).await {
            return outcome;
        }
        let arguments: Map<String, Value> = request.params.get("arguments")?.unwrap_or_default();
        Ok(raw_of(&self.call_code_tool(&name, &arguments, request).await))
    }

    fn granted_servers(&self) -> Vec<String> {
        let Ok(profile) = self.profile() else { return Vec::new() };
        let catalogs = self.host().catalogs(Caller::anonymous());
        let names = catalogs.names().map(ToString::to_string);
        names.filter(|name| profile.policy.may_grant_server(name)).collect()
    }
}
