//! Resources and templates of the servers: listed with their own URIs, and read from whoever has
//! them.

use std::collections::HashSet;
use std::sync::Arc;

use super::definition::Definition;
use super::lists::{self, Gathered, Item};
use super::{View, failure, tell_missing, unless_cancelled, uris};
use crate::ids::{ToolName, UpstreamName};
use crate::offers::{Offers, Resource, ResourceTemplate};
use crate::server::mcp::Facade;
use crate::server::mcp::request::{Outcome, Request};
use crate::tool::{CallError, CallMethod};

/// Servers that are asked for a resource that none of them lists.
const MAX_ASKED: usize = 8;

/// A server that may have a resource, and the resource's URI there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Place {
    pub(in crate::server) server: UpstreamName,
    pub(in crate::server) uri: String,
}

impl Facade {
    /// The granted resources of all servers.
    pub(super) async fn upstream_resources(&self, view: &View) -> Vec<Item> {
        let gathered = resources(view).await;
        tell_missing("resources", &gathered);
        let mut items = Items::new(self, "resource", "uri");
        for (server, offers) in listed(&gathered) {
            for resource in offers.items.iter() {
                if view.profile.policy.grants_resource(server.as_str(), &resource.uri) {
                    let definition = Definition::of(&resource.raw);
                    items.add(server, &resource.uri, &resource.name, definition);
                }
            }
        }
        items.all
    }

    /// The templates of all servers of which some resource may be granted.
    pub(super) async fn upstream_templates(&self, view: &View) -> Vec<Item> {
        let gathered = templates(view).await;
        tell_missing("resource templates", &gathered);
        let mut items = Items::new(self, "resource template", "uriTemplate");
        for (server, offers) in listed(&gathered) {
            for template in offers.items.iter() {
                let policy = &view.profile.policy;
                if policy.may_grant_template(server.as_str(), &template.uri_template) {
                    let definition = Definition::of(&template.raw);
                    items.add(server, &template.uri_template, &template.name, definition);
                }
            }
        }
        items.all
    }

    /// Reads a resource from the server that has it.
    pub(in crate::server::mcp) async fn read_resource(&self, request: &Request) -> Outcome {
        let uri: String = request.params.need("uri")?;
        let unknown = || failure::no_resource(&request.client, &uri);
        let view = self.gateway_view(&request.caller)?.ok_or_else(unknown)?;
        let places = unless_cancelled(request, find(&view, &uri)).await?;
        for place in places {
            let what = (place.server.as_str(), &*place.uri);
            match self.make_call(&view, CallMethod::Resource, what, request).await? {
                Ok(output) => return output.structured.ok_or_else(unknown),
                // Another one may have it.
                Err(CallError::UnknownTool(_)) => {}
                Err(error) => return Err(failure::of_other(&error)),
            }
        }
        Err(unknown())
    }
}

/// Puts a list of several servers' together.
struct Items<'a> {
    facade: &'a Facade,
    what: &'static str,
    member: &'static str,
    seen: HashSet<Arc<str>>,
    all: Vec<Item>,
}

impl<'a> Items<'a> {
    fn new(facade: &'a Facade, what: &'static str, member: &'static str) -> Self {
        Self { facade, what, member, seen: HashSet::new(), all: Vec::new() }
    }

    fn add(&mut self, server: &UpstreamName, uri: &Arc<str>, name: &str, mut entry: Definition) {
        entry.need_text("name", name);
        let mut key = Arc::clone(uri);
        if self.seen.contains(uri) {
            key = uris::qualify(server.as_str(), uri).into();
            let name = ToolName::new(server.clone(), Arc::clone(uri));
            self.facade.tell_clash(self.what, &name, Some(&key));
            entry.set(self.member, &*key);
        }
        if self.seen.insert(Arc::clone(&key)) {
            self.all.push(Item { key, raw: entry.finish() });
        }
    }
}

/// The servers that may have a resource, the likeliest first. One that lists it has it; then counts
/// whose templates fit, then who has others of its kind.
pub(super) async fn find(view: &View, uri: &str) -> Vec<Place> {
    let grants = |server: &UpstreamName, uri: &str| {
        view.profile.policy.grants_resource(server.as_str(), uri)
    };
    let place = |server: &UpstreamName| Place { server: server.clone(), uri: uri.to_owned() };
    if let Some((server, own)) = uris::qualified(uri)
        && let Some(server) = view.access.names().find(|name| name.as_str() == server)
    {
        let granted = grants(server, own);
        let place = Place { server: server.clone(), uri: own.to_owned() };
        return Vec::from_iter(granted.then_some(place));
    }
    let servers = view.servers(|server| view.profile.policy.grants_resource(server, uri));
    if let [only] = &*servers {
        return vec![place(only)];
    }
    let (resources, templates) = futures::future::join(resources(view), templates(view)).await;
    let has = |offers: &Offers<Resource>| offers.items.iter().any(|it| &*it.uri == uri);
    let mut listing = listed(&resources).filter(|(server, _)| grants(server, uri));
    if let Some((server, _)) = listing.find(|(_, offers)| has(offers)) {
        return vec![place(server)];
    }
    let fitting = fitting(&templates, uri).into_iter().filter(|server| grants(server, uri));
    let fitting: Vec<Place> = fitting.map(place).collect();
    if !fitting.is_empty() {
        return fitting;
    }
    let Some(scheme) = uris::scheme(uri) else { return Vec::new() };
    let kin = |server: &UpstreamName| has_kin(&resources, &templates, server, scheme);
    servers.iter().filter(|server| kin(server)).take(MAX_ASKED).map(place).collect()
}

/// The servers whose templates fit, the best fit first and then in the operator's order.
fn fitting<'a>(
    templates: &'a Gathered<Arc<Offers<ResourceTemplate>>>,
    uri: &str,
) -> Vec<&'a UpstreamName> {
    let best = |offers: &Offers<ResourceTemplate>| {
        offers.items.iter().filter_map(|template| uris::fit(&template.uri_template, uri)).max()
    };
    let fits = listed(templates).filter_map(|(server, offers)| Some((best(offers)?, server)));
    let mut fits: Vec<_> = fits.collect();
    fits.sort_by_key(|(fit, _)| std::cmp::Reverse(*fit));
    fits.into_iter().map(|(_, server)| server).collect()
}

/// Whether a server has anything with this scheme.
fn has_kin(
    resources: &Gathered<Arc<Offers<Resource>>>,
    templates: &Gathered<Arc<Offers<ResourceTemplate>>>,
    server: &UpstreamName,
    scheme: &str,
) -> bool {
    let is_kin = |uri: &str| uris::scheme(uri) == Some(scheme);
    let mut own = listed(resources).filter(|(name, _)| *name == server);
    let mut own_templates = listed(templates).filter(|(name, _)| *name == server);
    own.any(|(_, offers)| offers.items.iter().any(|it| is_kin(&it.uri)))
        || own_templates.any(|(_, offers)| offers.items.iter().any(|it| is_kin(&it.uri_template)))
}

/// The server of a template, and the template there.
pub(super) async fn find_template(view: &View, template: &str) -> Option<Place> {
    let may = |server: &UpstreamName, template: &str| {
        view.profile.policy.may_grant_template(server.as_str(), template)
    };
    if let Some((server, own)) = uris::qualified(template) {
        let server = view.access.names().find(|name| name.as_str() == server)?;
        let place = Place { server: server.clone(), uri: own.to_owned() };
        return may(server, own).then_some(place);
    }
    let gathered = templates(view).await;
    let has = |offers: &Offers<ResourceTemplate>| {
        offers.items.iter().any(|it| &*it.uri_template == template)
    };
    let mut listing = listed(&gathered).filter(|(server, _)| may(server, template));
    let (server, _) = listing.find(|(_, offers)| has(offers))?;
    Some(Place { server: server.clone(), uri: template.to_owned() })
}

fn listed<T>(gathered: &Gathered<Arc<T>>) -> impl Iterator<Item = (&UpstreamName, &T)> {
    gathered.iter().filter_map(|(server, listed)| Some((server, &**listed.as_ref().ok()?)))
}

async fn resources(view: &View) -> Gathered<Arc<Offers<Resource>>> {
    lists::gather(servers(view), |server| {
        let access = view.access.clone();
        async move { access.resources(&server).await }
    })
    .await
}

async fn templates(view: &View) -> Gathered<Arc<Offers<ResourceTemplate>>> {
    lists::gather(servers(view), |server| {
        let access = view.access.clone();
        async move { access.resource_templates(&server).await }
    })
    .await
}

fn servers(view: &View) -> Vec<UpstreamName> {
    view.servers(|server| view.profile.policy.may_grant_resources(server))
}
