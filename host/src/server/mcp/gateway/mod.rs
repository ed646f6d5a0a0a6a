//! The gateway: what the servers offer themselves, shown to the clients of a profile. What is granted
//! of their tools, resources, templates and prompts is listed as they list it, and whatever is asked
//! of it takes the road of a script's calls: grants, schema, limits, journal.
//!
//! - `names` decides under which names, `definition` how an entry looks, `lists` gathers and pages.
//! - `tools`, `resources`, `prompts` and `completion` are what can be listed and asked.
//! - `changes` tells clients when a list is another now, `subscriptions` whatever else they want to
//!   hear of.
//! - `forward` tells a client what its server says meanwhile, `failure` what went wrong.
//!
//! Nothing is connected before a client's first list or call.

mod changes;
mod completion;
mod definition;
mod failure;
mod forward;
mod lists;
mod names;
mod prompts;
mod resources;
mod subscriptions;
mod tools;
mod uris;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::mpsc;

pub(super) use changes::Watched;
pub(in crate::server) use definition::Definition;
pub(in crate::server) use failure::of_other;
pub(super) use forward::gravity;
pub(super) use lists::{Missing, gather};
pub(in crate::server) use resources::Place;
pub(in crate::server) use subscriptions::{follow, uri_to_watch};
pub(in crate::server) use tools::as_result;
pub use tools::{GatewayName, gateway_names};

use super::Facade;
use super::code::definitions;
use super::lifecycle::raw_of;
use super::request::{Outcome, Request};
use super::wire::RpcError;
use crate::CallOptions;
use crate::broker::Catalogs;
use crate::config::{Config, Endpoint, Profile};
use crate::ids::{ToolName, UpstreamName};
use crate::tool::{CallAnswer, CallMethod};
use crate::upstream::{Access, Caller, ServerHealth, ServerState};
use changes::List;
use forward::Forward;
use lists::{Gathered, Item};
use tools::Shelves;

/// Servers that the instructions name.
const NAMED_SERVERS: usize = 30;

/// Things that were told once; beyond, they are told again.
const MAX_TOLD: usize = 10_000;

/// What the gateways of a host's profiles have in common.
#[derive(Default)]
pub(super) struct Gateway {
    shelves: Mutex<Shelves>,
    /// Names that clash, and were told of.
    told: Mutex<HashSet<String>>,
}

/// What one request sees of the host: one configuration, and the servers for one caller.
#[derive(Clone)]
struct View {
    config: Arc<Config>,
    profile: Profile,
    access: Access,
    /// Those servers, and the plugins.
    catalogs: Catalogs,
}

impl View {
    /// The servers of which something may be granted, in the operator's order.
    fn servers(&self, may_grant: impl Fn(&str) -> bool) -> Vec<UpstreamName> {
        self.access.names().filter(|name| may_grant(name.as_str())).cloned().collect()
    }

    /// Whose tools are shown: the servers' by a gateway, and the plugins' always.
    fn of_tools(&self) -> impl Iterator<Item = &UpstreamName> {
        let servers = self.access.names().filter(|_| self.profile.endpoint.gateway);
        let all = servers.chain(self.catalogs.plugin_names());
        all.filter(|name| self.profile.policy.may_grant_server(name.as_str()))
    }
}

impl Facade {
    /// All tools of the profile: our own first, then the servers'.
    pub(super) async fn list_tools(&self, request: &Request) -> Outcome {
        self.list(request, List::Tools, "tools").await
    }

    pub(super) async fn list_resources(&self, request: &Request) -> Outcome {
        self.list(request, List::Resources, "resources").await
    }

    pub(super) async fn list_templates(&self, request: &Request) -> Outcome {
        self.list(request, List::Templates, "resourceTemplates").await
    }

    pub(super) async fn list_prompts(&self, request: &Request) -> Outcome {
        self.list(request, List::Prompts, "prompts").await
    }

    async fn list(&self, request: &Request, list: List, plural: &'static str) -> Outcome {
        let view = self.view(&request.caller)?;
        let items = unless_cancelled(request, self.items(&view, list)).await?;
        self.note_shown(request, &view, list, &items);
        let cursor: Option<String> = request.params.get("cursor")?;
        lists::page(plural, &items, cursor.as_deref())
    }

    /// A list as clients see it.
    async fn items(&self, view: &View, list: List) -> Vec<Item> {
        match list {
            List::Tools => self.tools_of(view).await,
            _ if !view.profile.endpoint.gateway => Vec::new(),
            List::Resources => self.upstream_resources(view).await,
            List::Templates => self.upstream_templates(view).await,
            List::Prompts => self.upstream_prompts(view).await,
        }
    }

    async fn tools_of(&self, view: &View) -> Vec<Item> {
        let Endpoint { code, .. } = view.profile.endpoint;
        let own = definitions::tools(&view.profile.runtimes);
        let own = own.iter().filter(|_| code).filter_map(|tool| {
            let name = tool.get("name").and_then(Value::as_str)?;
            Some(Item { key: name.into(), raw: raw_of(tool).into() })
        });
        let mut items: Vec<Item> = own.collect();
        if view.of_tools().next().is_some() {
            items.extend(self.upstream_tools(view).await);
        }
        items
    }

    /// Calls a tool of a server or plugin, if the name can be one's.
    pub(super) async fn call_if_upstream(&self, name: &str, request: &Request) -> Option<Outcome> {
        let view = self.view(&request.caller).ok()?;
        let Endpoint { code, gateway, .. } = view.profile.endpoint;
        let is_own = code && definitions::NAMES.contains(&name);
        if is_own || view.of_tools().next().is_none() {
            return None;
        }
        // Where only plugins are shown beside our own tools, these tell what there is.
        self.call_upstream_tool(&view, name, request, gateway || !code).await
    }

    /// What a gateway adds to the instructions: what else there is, and which servers are known not
    /// to work.
    pub(super) fn gateway_instructions(&self, profile: &Profile) -> String {
        let Endpoint { code, prefix, .. } = profile.endpoint;
        let servers = self.granted_servers();
        let named = if prefix { " as SERVER_TOOL" } else { "" };
        let mut text = match code {
            true => format!("\nThe servers' own tools can be called directly too{named}."),
            false => format!(
                "The tools{named}, resources and prompts of these MCP servers: {}.",
                servers.iter().take(NAMED_SERVERS).cloned().collect::<Vec<_>>().join(", ")
            ),
        };
        let health = self.host().upstreams().health().snapshot();
        let is_down = |known: &&ServerHealth| known.state == ServerState::Down;
        let down = health.iter().filter(is_down).map(|known| known.server.to_string());
        let down: Vec<String> = down.filter(|server| servers.contains(server)).collect();
        if !down.is_empty() {
            text.push_str(&format!(" Not available just now: {}.", down.join(", ")));
        }
        text
    }

    /// What plugins add to the instructions where they stand beside our own tools only.
    pub(super) fn plugin_instructions(&self, profile: &Profile) -> String {
        let plugins = self.granted_plugins(profile);
        if plugins.is_empty() {
            return String::new();
        }
        let named = if profile.endpoint.prefix { " as PLUGIN_TOOL" } else { "" };
        let shown = plugins.iter().take(NAMED_SERVERS).cloned().collect::<Vec<_>>().join(", ");
        let space = if profile.endpoint.code { "\n" } else { "" };
        format!("{space}The tools of these plugins can be called directly{named}: {shown}.")
    }

    /// What a gateway adds to what is said at the beginning about what we can do.
    pub(super) fn gateway_capabilities(&self, capabilities: &mut Value) {
        let Ok(profile) = self.profile() else { return };
        let plugins = self.granted_plugins(&profile);
        if !profile.endpoint.gateway && plugins.is_empty() && !self.may_have_plugins() {
            return;
        }
        capabilities["logging"] = json!({});
        let servers = self.host().upstreams().names();
        let any = |may_grant: &dyn Fn(&str) -> bool| {
            servers.iter().any(|server| may_grant(server.as_str()))
        };
        let resources = any(&|server| profile.policy.may_grant_resources(server));
        let prompts = any(&|server| profile.policy.may_grant_prompts(server));
        let tells = profile.endpoint.list_changed && self.settings().list_changed;
        let or_not = |mut members: Value| {
            if tells {
                members["listChanged"] = json!(true);
            }
            members
        };
        capabilities["tools"] = or_not(json!({}));
        if !profile.endpoint.gateway {
            return;
        }
        if resources {
            capabilities["resources"] = or_not(json!({ "subscribe": true }));
        }
        if prompts {
            capabilities["prompts"] = or_not(json!({}));
        }
        if resources || prompts {
            capabilities["completions"] = json!({});
        }
    }

    /// Whether plugins may be installed while a client is there, if none are yet.
    fn may_have_plugins(&self) -> bool {
        self.host().config().plugins.folder.is_some()
    }

    fn view(&self, caller: &Caller) -> Result<View, RpcError> {
        let config = self.host().config();
        let profile =
            self.profile_of(&config).map_err(|words| RpcError::new(RpcError::INTERNAL, words))?;
        let catalogs = self.host().catalogs(caller.clone());
        let access = catalogs.servers().clone();
        Ok(View { config, profile, access, catalogs })
    }

    /// The same, if the profile shows what the servers offer.
    fn gateway_view(&self, caller: &Caller) -> Result<Option<View>, RpcError> {
        let view = self.view(caller)?;
        Ok(Some(view).filter(|view| view.profile.endpoint.gateway))
    }

    /// The plugins of which the profile grants something.
    pub(super) fn granted_plugins(&self, profile: &Profile) -> Vec<String> {
        let catalogs = self.host().catalogs(Caller::anonymous());
        let names = catalogs.plugin_names().iter().map(ToString::to_string);
        names.filter(|name| profile.policy.may_grant_server(name)).collect()
    }

    fn gateway(&self) -> &Gateway {
        &self.shared.gateway
    }

    /// One call, as a script would make it, until the client does not want it any more.
    async fn make_call(
        &self,
        view: &View,
        method: CallMethod,
        what: (&str, &str),
        request: &Request,
    ) -> Result<CallAnswer, RpcError> {
        let forward = Forward::new(request);
        let (events, mut said) = mpsc::channel(forward::QUEUE);
        let options = CallOptions {
            caller: request.caller.clone(),
            handler: Some(Arc::clone(&request.handler)),
            meta: forward.meta(request),
            events: forward.wants_any().then_some(events),
            connection: request.exchange.peer.connection(),
        };
        let mut call = std::pin::pin!(self.host().call(&view.profile, method, what, options));
        let answer = loop {
            tokio::select! {
                biased;
                () = request.cancel.cancelled() => return Err(failure::cancelled()),
                Some(event) = said.recv() => forward.tell(&event).await,
                answer = &mut call => break answer,
            }
        };
        while let Ok(event) = said.try_recv() {
            forward.tell(&event).await;
        }
        Ok(answer)
    }

    /// Tells once under which name something is shown whose own name is another's.
    fn tell_clash(&self, what: &str, name: &ToolName, shown: Option<&str>) {
        let key = format!("{what} {name:?} {shown:?}");
        let mut told = lock(&self.gateway().told);
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        if told.insert(key) {
            let how = shown.map_or("not shown".to_owned(), |shown| format!("shown as {shown}"));
            let ToolName { upstream, tool } = name;
            tracing::warn!("{what} {tool:?} of server {upstream} is {how}: its name is another's");
        }
    }
}

/// Does something until the client does not want it any more.
async fn unless_cancelled<T>(
    request: &Request,
    work: impl Future<Output = T>,
) -> Result<T, RpcError> {
    tokio::select! {
        biased;
        () = request.cancel.cancelled() => Err(failure::cancelled()),
        done = work => Ok(done),
    }
}

/// Which lists are missing is told in the log, where the operator looks.
fn tell_missing<T>(what: &str, gathered: &Gathered<T>) {
    for (server, listed) in gathered {
        if let Err(missing) = listed {
            tracing::warn!(%server, "its {what} are not listed: {missing}");
        }
    }
}

/// Why the lists of some servers are missing.
fn in_words<T>(gathered: &Gathered<T>) -> Vec<String> {
    let missing = gathered.iter().filter_map(|(server, listed)| {
        listed.as_ref().err().map(|why| format!("server {server} cannot be used now: {why}"))
    });
    missing.collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
