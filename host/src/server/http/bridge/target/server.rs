//! A session's server: one of the operator's, or one of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::fault::refused;
use super::{Fault, Welcome, World};
use crate::config::Profile;
use crate::events::RunEvent;
use crate::grants::{Pattern, Policy, ResourcePattern, ToolGlob};
use crate::ids::{ToolName, UpstreamName};
use crate::offers::Offers;
use crate::server::http::bridge::asking::Asker;
use crate::server::http::bridge::frames::Object;
use crate::server::http::bridge::lock;
use crate::server::mcp::request::Params;
use crate::server::mcp::wire::RpcError;
use crate::server::mcp::{AuditLine, Definition, Facade, Place, as_result, follow, uri_to_watch};
use crate::server::random;
use crate::tool::{CallError, CallMethod, Json};
use crate::upstream::settings::UpstreamSettings;
use crate::upstream::{
    About, Access, CallContext, Caller, ClientHandler, Held, Listening, ServerNotice, UpstreamError,
};
use crate::{CallOptions, Host};

/// What clients of the bridge are called in records.
const CLIENT: &str = "bridge";

/// Events that wait while one is told.
const QUEUE: usize = 64;

/// Resources that one session may watch at once.
const MAX_WATCHED: usize = 100;

/// What a session talks to.
pub(in crate::server::http::bridge) struct Server {
    name: UpstreamName,
    facade: Facade,
    /// The listener's, or one with the session's own server alone.
    host: Host,
    is_own: bool,
    caller: Caller,
    handler: Arc<dyn ClientHandler>,
    connection: Arc<str>,
    held: Mutex<Link>,
    /// The resources whose changes the client is told, by their URIs.
    watched: Mutex<BTreeMap<String, AbortOnDropHandle<()>>>,
}

/// Whether the server is there.
#[derive(Default)]
enum Link {
    /// It has no connection that could be lost.
    #[default]
    Unheld,
    Held(Held),
    /// It had one. Whoever calls next opens another.
    Lost,
}

impl Server {
    /// One that the operator named.
    pub(super) fn of_operator(
        name: UpstreamName,
        facade: Facade,
        caller: Caller,
        asker: &Arc<Asker>,
    ) -> Self {
        let host = facade.host().clone();
        Self::made(name, facade, (host, false), caller, asker)
    }

    /// One of the session's own.
    pub(super) fn own(
        settings: UpstreamSettings,
        facade: Facade,
        caller: Caller,
        asker: &Arc<Asker>,
    ) -> Result<Self, String> {
        let name = settings.name.clone();
        let handler = Arc::clone(asker) as Arc<dyn ClientHandler>;
        let host = facade.host().with_own_server(settings, handler);
        let host = host.map_err(|error| error.to_string())?;
        Ok(Self::made(name, facade, (host, true), caller, asker))
    }

    fn made(
        name: UpstreamName,
        facade: Facade,
        (host, is_own): (Host, bool),
        caller: Caller,
        asker: &Arc<Asker>,
    ) -> Self {
        let handler = Arc::clone(asker) as Arc<dyn ClientHandler>;
        let connection = random::uuid().into();
        let (held, watched) = (Mutex::default(), Mutex::default());
        Self { name, facade, host, is_own, caller, handler, connection, held, watched }
    }

    pub(super) async fn connect(&self) -> Result<Welcome, UpstreamError> {
        let catalogs = self.host.catalogs(self.caller.clone());
        let about = match catalogs.is_plugin(self.name.as_str()) {
            true => About::of_tools(),
            false => {
                let held = catalogs.servers().hold(&self.name).await?;
                let about = held.about().clone();
                *lock(&self.held) = Link::Held(held);
                about
            }
        };
        let About { name, version, instructions, capabilities } = about;
        Ok(Welcome { capabilities, name, version, instructions })
    }

    /// Gives a lost connection up, so that there is room for the next.
    pub(super) fn is_lost(&self) -> bool {
        let mut held = lock(&self.held);
        if matches!(&*held, Link::Held(held) if held.is_lost()) {
            *held = Link::Lost;
        }
        matches!(&*held, Link::Lost)
    }

    /// Has the client told what the server says that belongs to no call. What others' calls brought
    /// about is none of its business.
    pub(super) fn listen(&self, hear: impl Fn(&ServerNotice) + Send + Sync + 'static) -> Listening {
        let (name, is_own, handler) = (self.name.clone(), self.is_own, Arc::clone(&self.handler));
        self.host.upstreams().listen(move |notice| {
            let is_ours = is_own || notice.is_for_all() || notice.is_about_a_call_of(&handler);
            if notice.server == name && is_ours {
                hear(notice);
            }
        })
    }

    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }

    /// What a page may read of a fault.
    pub(super) fn told(&self, fault: Fault) -> Fault {
        if self.is_own { fault } else { fault.for_page(&self.name) }
    }

    pub(super) async fn close(&self) {
        *lock(&self.held) = Link::Unheld;
        lock(&self.watched).clear();
        if self.is_own {
            self.host.upstreams().close().await;
        }
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        params: &Params,
        world: &World,
    ) -> Result<Json, Fault> {
        let profile = self.profile()?;
        self.is_lost();
        let answered = match method {
            "tools/list" => self.tools(&profile).await,
            "resources/list" => self.resources(&profile).await,
            "resources/templates/list" => self.templates(&profile).await,
            "prompts/list" => self.prompts(&profile).await,
            "tools/call" => self.call_tool(&profile, params, world).await,
            "resources/read" => self.read(&profile, params, world).await,
            "prompts/get" => self.prompt(&profile, params, world).await,
            "completion/complete" => self.complete(&profile, params).await,
            "resources/subscribe" => self.subscribe(&profile, params, world).await,
            "resources/unsubscribe" => self.unsubscribe(params),
            // What a session hears of logs is what its calls bring about.
            "ping" | "logging/setLevel" => Ok(raw(&json!({}))),
            other => Err(Fault::mcp(RpcError::no_method(other))),
        };
        if answered.is_ok() && self.is_lost() {
            self.hold_again().await;
        }
        answered
    }

    /// Somebody connected anew, so the connection is there to be held.
    async fn hold_again(&self) {
        let access = self.access();
        if let Ok(held) = access.hold(&self.name).await {
            *lock(&self.held) = Link::Held(held);
        }
    }

    fn access(&self) -> Access {
        self.host.catalogs(self.caller.clone()).servers().clone()
    }

    /// What the session may do, as it is now. Whoever admits a server that clients name themselves grants
    /// all of it, within the profile's rules and limits.
    fn profile(&self) -> Result<Profile, Fault> {
        let profile = self.facade.profile();
        let mut profile =
            profile.map_err(|words| Fault::mcp(RpcError::new(RpcError::INTERNAL, words)))?;
        if self.is_own {
            let rules = profile.policy.rules().to_vec();
            let all = || vec![Pattern::Include(ToolGlob::everything())];
            profile.policy = Policy::new(all(), rules)
                .with_resources(vec![ResourcePattern::everything()])
                .with_prompts(all());
        }
        Ok(profile)
    }

    async fn tools(&self, profile: &Profile) -> Result<Json, Fault> {
        let catalogs = self.host.catalogs(self.caller.clone());
        let catalog = catalogs.catalog(&self.name).await.map_err(Fault::of_upstream)?;
        let settings = catalogs.servers().settings(&self.name);
        let granted = catalog.tools.iter().filter(|tool| profile.policy.grants(&tool.name));
        let tools: Vec<Arc<RawValue>> = granted
            .map(|tool| {
                let own = settings.and_then(|settings| settings.tools.get(&*tool.name.tool));
                Definition::of_tool(tool, own).finish()
            })
            .collect();
        Ok(list("tools", &tools))
    }

    async fn resources(&self, profile: &Profile) -> Result<Json, Fault> {
        let Some(access) = self.access_of_server() else { return Ok(list("resources", &[])) };
        let listed = access.resources(&self.name).await.map_err(Fault::of_upstream)?;
        let (policy, name) = (&profile.policy, self.name.as_str());
        let all = entries(&listed, |it| policy.grants_resource(name, &it.uri), |it| &it.raw);
        Ok(list("resources", &all))
    }

    async fn templates(&self, profile: &Profile) -> Result<Json, Fault> {
        let none = || Ok(list("resourceTemplates", &[]));
        let Some(access) = self.access_of_server() else { return none() };
        let listed = access.resource_templates(&self.name).await.map_err(Fault::of_upstream)?;
        let (policy, name) = (&profile.policy, self.name.as_str());
        let may = |template: &str| policy.may_grant_template(name, template);
        let all = entries(&listed, |it| may(&it.uri_template), |it| &it.raw);
        Ok(list("resourceTemplates", &all))
    }

    async fn prompts(&self, profile: &Profile) -> Result<Json, Fault> {
        let Some(access) = self.access_of_server() else { return Ok(list("prompts", &[])) };
        let listed = access.prompts(&self.name).await.map_err(Fault::of_upstream)?;
        let full = |name: &Arc<str>| ToolName::new(self.name.clone(), Arc::clone(name));
        let policy = &profile.policy;
        let all = entries(&listed, |it| policy.grants_prompt(&full(&it.name)), |it| &it.raw);
        Ok(list("prompts", &all))
    }

    /// Nothing for a plugin, which has tools only.
    fn access_of_server(&self) -> Option<Access> {
        let access = self.access();
        access.settings(&self.name).is_some().then_some(access)
    }

    async fn call_tool(
        &self,
        profile: &Profile,
        params: &Params,
        world: &World,
    ) -> Result<Json, Fault> {
        let tool: String = params.need("name").map_err(Fault::mcp)?;
        let line = AuditLine::begin(&self.caller, CLIENT, self.facade.profile_name(), &tool);
        let place = self.facade.quotas().begin_call(self.caller.id.as_ref(), Instant::now());
        let outcome = match place {
            Ok(_place) => {
                let full = format!("{}.{tool}", self.name);
                let arguments = params.raw("arguments").map_or("{}", |arguments| arguments.get());
                let what = (&*full, arguments);
                let called = self.call(profile, CallMethod::Tool, what, params, world).await;
                match called {
                    Ok(output) => Ok(as_result(output)),
                    // As servers say it themselves, for whoever chose the arguments.
                    Err(
                        CallError::InvalidArguments { message, .. } | CallError::Denied(message),
                    ) => Ok(raw(&refused(&message))),
                    Err(error) => {
                        let shown: String = tool.chars().take(100).collect();
                        let unknown = format!("Unknown tool: {shown}");
                        Err(Fault::of_call(&self.name, &unknown, &error))
                    }
                }
            }
            Err(over) => Ok(raw(&refused(&over.to_string()))),
        };
        match &outcome {
            Ok(result) => line.end(&Ok(result.clone())),
            Err(fault) => line.end(&Err(fault.error.clone())),
        }
        outcome
    }

    async fn read(&self, profile: &Profile, params: &Params, world: &World) -> Result<Json, Fault> {
        let uri: String = params.need("uri").map_err(Fault::mcp)?;
        let what = (self.name.as_str(), &*uri);
        let shown: String = uri.chars().take(100).collect();
        let unknown = format!("Unknown resource: {shown}");
        let read = self.call(profile, CallMethod::Resource, what, params, world).await;
        self.structured(read, &unknown)
    }

    /// The client hears of it in JSON-RPC, which is what it asked in.
    async fn subscribe(
        &self,
        profile: &Profile,
        params: &Params,
        world: &World,
    ) -> Result<Json, Fault> {
        let uri = uri_to_watch(params).map_err(Fault::mcp)?;
        let unknown = || {
            let shown: String = uri.chars().take(100).collect();
            Fault::mcp(RpcError::invalid_params(format!("Unknown resource: {shown}")))
        };
        let granted = profile.policy.grants_resource(self.name.as_str(), &uri);
        let access = self.access_of_server().filter(|_| granted).ok_or_else(unknown)?;
        let time = profile.limits.call_timeout;
        let updates = access.resource_updates(&self.name, &uri, time).await;
        let updates = updates.map_err(Fault::of_upstream)?;
        let place = Place { server: self.name.clone(), uri: uri.clone() };
        let (to, mut updated) = mpsc::channel::<String>(QUEUE);
        let following = follow(access, place, uri.clone(), time, Some(updates), to);
        let outlet = Arc::clone(&world.outlet);
        let telling = tokio::spawn(async move {
            let telling = async {
                while let Some(uri) = updated.recv().await {
                    outlet.message("notifications/resources/updated", &json!({ "uri": uri }));
                }
            };
            tokio::select! {
                () = outlet.gone.cancelled() => {}
                () = telling => {}
                () = following => {}
            }
        });
        let telling = AbortOnDropHandle::new(telling);
        let mut watched = lock(&self.watched);
        watched.retain(|_, telling| !telling.is_finished());
        if watched.len() >= MAX_WATCHED && !watched.contains_key(&uri) {
            let words = format!("{MAX_WATCHED} resources may be watched at once");
            return Err(Fault::mcp(RpcError::new(RpcError::BUSY, words)));
        }
        watched.insert(uri, telling);
        Ok(raw(&json!({})))
    }

    fn unsubscribe(&self, params: &Params) -> Result<Json, Fault> {
        let uri: String = params.need("uri").map_err(Fault::mcp)?;
        lock(&self.watched).remove(&uri);
        Ok(raw(&json!({})))
    }

    async fn prompt(
        &self,
        profile: &Profile,
        params: &Params,
        world: &World,
    ) -> Result<Json, Fault> {
        let prompt: String = params.need("name").map_err(Fault::mcp)?;
        let full = format!("{}.{prompt}", self.name);
        let arguments = params.raw("arguments").map_or("{}", |arguments| arguments.get());
        let shown: String = prompt.chars().take(100).collect();
        let unknown = format!("Unknown prompt: {shown}");
        let got = self.call(profile, CallMethod::Prompt, (&full, arguments), params, world).await;
        self.structured(got, &unknown)
    }

    fn structured(&self, answer: crate::tool::CallAnswer, unknown: &str) -> Result<Json, Fault> {
        let output = answer.map_err(|error| Fault::of_call(&self.name, unknown, &error))?;
        output.structured.ok_or_else(|| Fault::mcp(RpcError::invalid_params(unknown)))
    }

    /// One call by the road of all calls; what its server says meanwhile is told.
    async fn call(
        &self,
        profile: &Profile,
        method: CallMethod,
        what: (&str, &str),
        params: &Params,
        world: &World,
    ) -> crate::tool::CallAnswer {
        let (events, mut said) = mpsc::channel(QUEUE);
        let options = CallOptions {
            caller: self.caller.clone(),
            handler: Some(Arc::clone(&self.handler)),
            meta: params.meta.to_pass(None),
            events: Some(events),
            connection: Some(Arc::clone(&self.connection)),
        };
        let mut call = std::pin::pin!(self.host.call(profile, method, what, options));
        let answer = loop {
            tokio::select! {
                biased;
                () = world.cancel.cancelled() => return Err(CallError::Cancelled),
                Some(event) = said.recv() => tell(world, &event),
                answer = &mut call => break answer,
            }
        };
        while let Ok(event) = said.try_recv() {
            tell(world, &event);
        }
        answer
    }

    async fn complete(&self, profile: &Profile, params: &Params) -> Result<Json, Fault> {
        let reference: Json = params.need("ref").map_err(Fault::mcp)?;
        let argument: Json = params.need("argument").map_err(Fault::mcp)?;
        let unknown =
            || Fault::mcp(RpcError::invalid_params("`ref` names nothing that there is here"));
        let named: Value = serde_json::from_str(reference.get()).map_err(|_| unknown())?;
        let text = |member: &str| named.get(member).and_then(Value::as_str).unwrap_or_default();
        let (policy, server) = (&profile.policy, self.name.as_str());
        let granted = match text("type") {
            "ref/prompt" => policy.grants_prompt(&ToolName::new(self.name.clone(), text("name"))),
            "ref/resource" => {
                let uri = text("uri");
                policy.grants_resource(server, uri) || policy.may_grant_template(server, uri)
            }
            _ => false,
        };
        let access = self.access_of_server().filter(|_| granted).ok_or_else(unknown)?;
        let asked = (&*reference, &*argument, params.raw("context"));
        let timeout = profile.limits.call_timeout;
        let context = CallContext { meta: params.meta.to_pass(None), ..CallContext::default() };
        access.complete(&self.name, asked, timeout, context).await.map_err(Fault::of_upstream)
    }
}

fn entries<'a, T>(
    listed: &'a Offers<T>,
    is_granted: impl Fn(&T) -> bool,
    raw: impl Fn(&'a T) -> &'a Arc<RawValue>,
) -> Vec<Arc<RawValue>> {
    let granted = listed.items.iter().filter(|item| is_granted(item));
    granted.map(|item| Definition::of(raw(item)).finish()).collect()
}

/// Tells what happens while a call is under way.
fn tell(world: &World, event: &RunEvent) {
    match event {
        // The client is shown these as they come, in one order with all that the server says.
        RunEvent::Progress { params: Some(params), .. } => {
            world.answers("notifications/progress", params);
        }
        RunEvent::Log { params: Some(params), .. } => {
            world.answers("notifications/message", params);
        }
        // What a plugin says came in no message yet.
        RunEvent::Progress { progress, total, message, params: None, .. } => {
            let params = json!({ "progress": progress, "total": total, "message": message });
            world.heard("notifications/progress", &raw(&params));
        }
        RunEvent::Log { level, logger, data, params: None, .. } => {
            let params =
                Object::default().with("level", level).with("logger", logger).with("data", data);
            world.heard("notifications/message", &params.finish());
        }
        _ => {}
    }
}

fn list(name: &'static str, items: &[Arc<RawValue>]) -> Json {
    Object::default().with(name, &items).finish()
}

fn raw(value: &Value) -> Json {
    to_raw_value(value).unwrap_or_default()
}
