//! Prompts of the servers: named as tools are.

use std::sync::Arc;

use super::definition::Definition;
use super::lists::{self, Gathered, Item};
use super::names::{self, Original, Shown, Taken};
use super::{View, failure, tell_missing, unless_cancelled};
use crate::ids::{ToolName, UpstreamName};
use crate::offers::{Offers, Prompt};
use crate::server::mcp::Facade;
use crate::server::mcp::request::{Outcome, Request};
use crate::server::mcp::wire::RpcError;
use crate::tool::CallMethod;

/// How much of a name is quoted.
const SHOWN_CHARACTERS: usize = 100;

impl Facade {
    /// The granted prompts of all servers.
    pub(super) async fn upstream_prompts(&self, view: &View) -> Vec<Item> {
        let gathered = gather(view, |_| true).await;
        tell_missing("prompts", &gathered);
        let mut items: Vec<Item> = Vec::new();
        for (server, prompt, shown) in named(view, &gathered) {
            let name = ToolName::new(server.clone(), Arc::clone(&prompt.name));
            if shown.clashes {
                self.tell_clash("prompt", &name, shown.name.as_deref());
            }
            if let (true, Some(shown)) = (view.profile.policy.grants_prompt(&name), shown.name) {
                let mut definition = Definition::of(&prompt.raw);
                definition.set("name", &shown);
                items.push(Item { key: shown.into(), raw: definition.finish() });
            }
        }
        items
    }

    /// Fills in a prompt.
    pub(in crate::server::mcp) async fn get_prompt(&self, request: &Request) -> Outcome {
        let name: String = request.params.need("name")?;
        let shown: String = name.chars().take(SHOWN_CHARACTERS).collect();
        let unknown = || RpcError::invalid_params(format!("there is no prompt {shown:?} here"));
        let view = self.gateway_view(&request.caller)?.ok_or_else(unknown)?;
        let prompt = unless_cancelled(request, find(&view, &name)).await?.ok_or_else(unknown)?;
        let arguments = request.params.raw("arguments").map_or("{}", |arguments| arguments.get());
        let what = (&*prompt.to_string(), arguments);
        match self.make_call(&view, CallMethod::Prompt, what, request).await? {
            Ok(output) => output.structured.ok_or_else(unknown),
            Err(error) => Err(failure::of_other(&error)),
        }
    }
}

/// The prompt that clients see under a name.
pub(super) async fn find(view: &View, name: &str) -> Option<ToolName> {
    let prefix = view.profile.endpoint.prefix;
    let gathered = gather(view, |server| !prefix || names::may_be_of(server, name)).await;
    let named = named(view, &gathered).into_iter();
    let found = named.filter(|(.., shown)| shown.name.as_deref() == Some(name));
    let mut found =
        found.map(|(server, prompt, _)| ToolName::new(server.clone(), Arc::clone(&prompt.name)));
    found.find(|prompt| view.profile.policy.grants_prompt(prompt))
}

/// The prompts under the names that clients see.
fn named<'a>(
    view: &View,
    gathered: &'a Gathered<Arc<Offers<Prompt>>>,
) -> Vec<(&'a UpstreamName, &'a Prompt, Shown)> {
    let servers: Vec<String> = view.access.names().map(ToString::to_string).collect();
    let taken = Taken { reserved: &[], servers: &servers };
    let listed = gathered.iter().filter_map(|(server, listed)| {
        let offers = listed.as_ref().ok()?;
        Some(offers.items.iter().map(move |prompt| (server, prompt)))
    });
    if !view.profile.endpoint.prefix {
        let granted = |server: &UpstreamName, prompt: &Prompt| {
            let name = ToolName::new(server.clone(), Arc::clone(&prompt.name));
            view.profile.policy.grants_prompt(&name)
        };
        let all: Vec<_> =
            listed.flatten().filter(|(server, prompt)| granted(server, prompt)).collect();
        let originals = all.iter();
        let originals: Vec<_> = originals
            .map(|(server, prompt)| Original { server: server.as_str(), name: &prompt.name })
            .collect();
        let shown = names::without_prefix(&originals, taken);
        let named = all.into_iter().zip(shown);
        return named.map(|((server, prompt), shown)| (server, prompt, shown)).collect();
    }
    let mut named = Vec::new();
    for prompts in listed {
        let prompts: Vec<_> = prompts.collect();
        let Some((server, _)) = prompts.first() else { continue };
        let names: Vec<&str> = prompts.iter().map(|(_, prompt)| &*prompt.name).collect();
        let shown = names::with_prefix(server.as_str(), &names, taken);
        let all = prompts.iter().zip(shown);
        named.extend(all.map(|((server, prompt), shown)| (*server, *prompt, shown)));
    }
    named
}

async fn gather(view: &View, concerns: impl Fn(&str) -> bool) -> Gathered<Arc<Offers<Prompt>>> {
    let may_grant = |server: &str| view.profile.policy.may_grant_prompts(server);
    let servers = view.servers(|server| may_grant(server) && concerns(server));
    lists::gather(servers, |server| {
        let access = view.access.clone();
        async move { access.prompts(&server).await }
    })
    .await
}
