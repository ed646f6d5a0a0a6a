//! The tools of servers and plugins: listed under names of ours, called as a script would call them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::definition::Definition;
use super::lists::{self, Gathered, Item, Missing};
use super::names::{self, Original, Shown, Taken};
use super::{View, failure, lock, tell_missing, unless_cancelled};
use crate::config::{Config, Profile};
use crate::grants::nearest;
use crate::ids::{ToolName, UpstreamName};
use crate::server::mcp::Facade;
use crate::server::mcp::code::definitions;
use crate::server::mcp::lifecycle::raw_of;
use crate::server::mcp::request::{Outcome, Request};
use crate::tool::{CallMethod, ContentBlock, Json, ToolDescription, ToolOutput};
use crate::upstream::{Caller, Catalog};

/// How many similar names an error offers.
const NEAREST: usize = 3;

/// The most shelves that are kept: beyond, they are made anew.
const MAX_SHELVES: usize = 1_000;

/// The catalog of one server.
#[derive(Clone)]
struct Source {
    server: UpstreamName,
    catalog: Arc<Catalog>,
    /// Nothing is shown of a server that cannot be used now, but its names stay its own.
    is_up: bool,
}

/// The granted tools of one server, or of all where names have no prefix, as clients see them.
pub(super) struct Shelf {
    /// Of what it was made; another list, another shelf.
    made_of: Vec<Arc<Catalog>>,
    config: Arc<Config>,
    tools: Vec<Shelved>,
    places: HashMap<Arc<str>, usize>,
}

struct Shelved {
    item: Item,
    tool: ToolName,
}

impl Shelf {
    fn find(&self, shown: &str) -> Option<&ToolName> {
        self.places.get(shown).map(|place| &self.tools[*place].tool)
    }
}

/// Shelves that were made, by profile and, with prefixes, server.
#[derive(Default)]
pub(super) struct Shelves(HashMap<(String, Option<UpstreamName>), Arc<Shelf>>);

/// What was found under a name.
enum Found {
    Tool(ToolName),
    /// The server that must have it cannot be listed now; this is the likeliest name.
    Perhaps(ToolName),
    Nothing {
        near: Vec<String>,
        missing: Vec<String>,
    },
}

impl Facade {
    /// The granted tools of all plugins, and of all servers where they are shown, in the operator's order.
    pub(super) async fn upstream_tools(&self, view: &View) -> Vec<Item> {
        let gathered = gather(view).await;
        tell_missing("tools", &gathered);
        let sources = sources(view, &gathered);
        let is_up = |tool: &ToolName| {
            sources.iter().any(|source| source.is_up && source.server == tool.upstream)
        };
        let mut items: Vec<Item> = Vec::new();
        let mut seen = HashSet::new();
        for shelf in self.shelves(view, &sources) {
            for shelved in shelf.tools.iter().filter(|shelved| is_up(&shelved.tool)) {
                if seen.insert(Arc::clone(&shelved.item.key)) {
                    items.push(shelved.item.clone());
                }
            }
        }
        items
    }

    /// Calls a tool by the name that clients see. A server's answer passes as it is. Nothing if there is
    /// no such tool and somebody else is to say so.
    pub(super) async fn call_upstream_tool(
        &self,
        view: &View,
        name: &str,
        request: &Request,
        tells: bool,
    ) -> Option<Outcome> {
        let finding = unless_cancelled(request, self.find_tool(view, name));
        let tool = match finding.await {
            Err(cancelled) => return Some(Err(cancelled)),
            Ok(Found::Tool(tool) | Found::Perhaps(tool)) => tool,
            Ok(Found::Nothing { near, missing }) => {
                return tells.then(|| failure::no_tool(name, &near, &missing));
            }
        };
        Some(self.call_found_tool(view, &tool, request).await)
    }

    async fn call_found_tool(&self, view: &View, tool: &ToolName, request: &Request) -> Outcome {
        let arguments = request.params.raw("arguments").map_or("{}", |arguments| arguments.get());
        let what = (&*tool.to_string(), arguments);
        match self.make_call(view, CallMethod::Tool, what, request).await? {
            Ok(output) if view.catalogs.is_plugin(tool.upstream.as_str()) => {
                Ok(self.result_of_plugin(view, tool, output, request))
            }
            Ok(output) => Ok(as_result(output)),
            Err(error) => failure::of_tool(tool, &error),
        }
    }

    /// A plugin's answer. Where clients can fetch the rest of a long text, as much of it is shown as of
    /// our own tools' results.
    fn result_of_plugin(
        &self,
        view: &View,
        tool: &ToolName,
        mut output: ToolOutput,
        request: &Request,
    ) -> Json {
        let is_long = output.size_bytes() > self.settings().result_bytes;
        if !is_long || !view.profile.endpoint.code {
            return as_result(output);
        }
        // What a tool says that it gives, clients insist on.
        let catalog = view.catalogs.known_catalog(&tool.upstream);
        let is_promised = catalog
            .is_some_and(|it| it.tool(&tool.tool).is_some_and(|tool| tool.output_schema.is_some()));
        let structured = output.structured.take();
        let (texts, others): (Vec<_>, Vec<_>) =
            output.content.drain(..).partition(|block| matches!(block, ContentBlock::Text(_)));
        let texts: Vec<String> = texts
            .into_iter()
            .filter_map(|block| match block {
                ContentBlock::Text(text) => Some(text),
                _ => None,
            })
            .collect();
        let text = match (texts.is_empty(), &structured) {
            (true, Some(structured)) => structured.get().to_owned(),
            _ => texts.join("\n"),
        };
        let told = raw_of(&self.tell(text, None, request));
        let mut told: Value = serde_json::from_str(told.get()).unwrap_or_default();
        if let Some(content) = told.get_mut("content").and_then(Value::as_array_mut) {
            content.extend(others.iter().map(as_json));
        }
        if let Some(structured) = structured.filter(|_| is_promised) {
            told["structuredContent"] = json!(structured);
        }
        told["isError"] = json!(output.is_error);
        raw_of(&told)
    }

    /// The schema of the arguments of a tool, by the name that clients see; nothing if it is one of our
    /// own.
    pub(in crate::server) async fn input_schema(
        &self,
        name: &str,
        caller: &Caller,
    ) -> Option<Arc<Value>> {
        let view = self.view(caller).ok()?;
        if view.profile.endpoint.code && definitions::NAMES.contains(&name) {
            return None;
        }
        let Found::Tool(tool) = self.find_tool(&view, name).await else { return None };
        let catalog = view.catalogs.catalog(&tool.upstream).await.ok()?;
        catalog.tool(&tool.tool).map(|tool| Arc::clone(&tool.input_schema))
    }

    /// With prefixes only the servers are asked whose tool it may be.
    async fn find_tool(&self, view: &View, shown: &str) -> Found {
        if !view.profile.endpoint.prefix {
            return self.find_among_all(view, shown).await;
        }
        let may_be = view.of_tools().filter(|server| names::may_be_of(server.as_str(), shown));
        let mut servers: Vec<UpstreamName> = may_be.cloned().collect();
        servers.sort_by_key(|server| std::cmp::Reverse(server.as_str().len()));
        let (mut perhaps, mut known) = (None, Vec::new());
        for server in servers {
            let Ok(catalog) = view.catalogs.catalog(&server).await else {
                let name = shown.get(server.as_str().len() + 1..).filter(|name| !name.is_empty());
                perhaps = perhaps.or(name.map(|name| ToolName::new(server, name)));
                continue;
            };
            let source = Source { server, catalog, is_up: true };
            for shelf in self.shelves(view, &[source]) {
                if let Some(tool) = shelf.find(shown) {
                    return Found::Tool(tool.clone());
                }
                known.extend(shelf.tools.iter().map(|shelved| shelved.item.key.to_string()));
            }
        }
        perhaps.map_or_else(
            || Found::Nothing { near: near(shown, &known), missing: Vec::new() },
            Found::Perhaps,
        )
    }

    async fn find_among_all(&self, view: &View, shown: &str) -> Found {
        let gathered = gather(view).await;
        let shelves = self.shelves(view, &sources(view, &gathered));
        if let Some(tool) = shelves.iter().find_map(|shelf| shelf.find(shown)) {
            return Found::Tool(tool.clone());
        }
        let known = shelves.iter().flat_map(|shelf| &shelf.tools);
        let known: Vec<String> = known.map(|shelved| shelved.item.key.to_string()).collect();
        Found::Nothing { near: near(shown, &known), missing: super::in_words(&gathered) }
    }

    /// The shelves of these sources: one each, or one for all.
    fn shelves(&self, view: &View, sources: &[Source]) -> Vec<Arc<Shelf>> {
        match view.profile.endpoint.prefix {
            true => sources
                .iter()
                .map(|source| {
                    let server = Some(source.server.clone());
                    self.shelf(view, server, std::slice::from_ref(source))
                })
                .collect(),
            false => vec![self.shelf(view, None, sources)],
        }
    }

    /// A shelf that is kept, or a new one.
    fn shelf(&self, view: &View, server: Option<UpstreamName>, sources: &[Source]) -> Arc<Shelf> {
        let key = (view.profile.name.to_string(), server);
        let made_of: Vec<_> = sources.iter().map(|source| Arc::clone(&source.catalog)).collect();
        let is_same = |shelf: &Arc<Shelf>| {
            let catalogs = shelf.made_of.iter().zip(&made_of);
            shelf.made_of.len() == made_of.len()
                && catalogs.into_iter().all(|(one, other)| Arc::ptr_eq(one, other))
                && Arc::ptr_eq(&shelf.config, &view.config)
        };
        if let Some(shelf) = lock(&self.gateway().shelves).0.get(&key).filter(|it| is_same(it)) {
            return Arc::clone(shelf);
        }
        let shelf = Arc::new(self.fill(view, sources, made_of));
        let mut shelves = lock(&self.gateway().shelves);
        if shelves.0.len() >= MAX_SHELVES {
            shelves.0.clear();
        }
        shelves.0.insert(key, Arc::clone(&shelf));
        shelf
    }

    fn fill(&self, view: &View, sources: &[Source], made_of: Vec<Arc<Catalog>>) -> Shelf {
        let View { config, profile, access, catalogs } = view;
        let config = Arc::clone(config);
        let mut shelf = Shelf { made_of, config, tools: Vec::new(), places: HashMap::new() };
        let servers: Vec<String> = catalogs.names().map(ToString::to_string).collect();
        for (tool, shown) in named(profile, &servers, sources) {
            if shown.clashes {
                self.tell_clash("tool", &tool.name, shown.name.as_deref());
            }
            let (true, Some(name)) = (profile.policy.grants(&tool.name), shown.name) else {
                continue;
            };
            let settings = access.settings(&tool.name.upstream);
            let own = settings.and_then(|settings| settings.tools.get(&*tool.name.tool));
            let mut definition = Definition::of_tool(tool, own);
            definition.set("name", &name);
            let key: Arc<str> = name.into();
            shelf.places.insert(Arc::clone(&key), shelf.tools.len());
            let item = Item { key, raw: definition.finish() };
            shelf.tools.push(Shelved { item, tool: tool.name.clone() });
        }
        shelf
    }
}

/// The tools under the names that clients see. With prefixes, tools that are not granted count too,
/// so that a name is the same in all profiles.
fn named<'a>(
    profile: &Profile,
    servers: &[String],
    sources: &'a [Source],
) -> Vec<(&'a ToolDescription, Shown)> {
    let taken = Taken { reserved: &definitions::NAMES, servers };
    if profile.endpoint.prefix {
        let named = sources.iter().flat_map(|source| {
            let names: Vec<&str> = source.catalog.tools.iter().map(|it| &*it.name.tool).collect();
            let shown = names::with_prefix(source.server.as_str(), &names, taken);
            source.catalog.tools.iter().zip(shown)
        });
        return named.collect();
    }
    let tools = sources.iter().flat_map(|source| source.catalog.tools.iter());
    let tools: Vec<_> = tools.filter(|tool| profile.policy.grants(&tool.name)).collect();
    let originals: Vec<_> = tools
        .iter()
        .map(|tool| Original { server: tool.name.upstream.as_str(), name: &tool.name.tool })
        .collect();
    let shown = names::without_prefix(&originals, taken);
    tools.into_iter().zip(shown).collect()
}

/// Under which name a gateway shows a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayName {
    /// Nothing if there is no free one.
    pub name: Option<String>,
    /// It would have had another name, which is another tool's.
    pub clashes: bool,
}

/// Under which names the gateway of a profile shows what it grants of these catalogs, for reports.
/// `servers` are all that are configured.
pub fn gateway_names(
    profile: &Profile,
    servers: &[UpstreamName],
    catalogs: &[(UpstreamName, Arc<Catalog>)],
) -> HashMap<ToolName, GatewayName> {
    let source = |(server, catalog): &(UpstreamName, Arc<Catalog>)| Source {
        server: server.clone(),
        catalog: Arc::clone(catalog),
        is_up: true,
    };
    let sources: Vec<Source> = catalogs.iter().map(source).collect();
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let named = named(profile, &servers, &sources).into_iter();
    let granted = named.filter(|(tool, _)| profile.policy.grants(&tool.name));
    let names = granted
        .map(|(tool, Shown { name, clashes })| (tool.name.clone(), GatewayName { name, clashes }));
    names.collect()
}

async fn gather(view: &View) -> Gathered<Arc<Catalog>> {
    let servers = view.of_tools().cloned().collect();
    lists::gather(servers, |server| {
        let catalogs = view.catalogs.clone();
        async move { catalogs.catalog(&server).await }
    })
    .await
}

/// What is listed now; of a slow server, what it listed before.
fn sources(view: &View, gathered: &Gathered<Arc<Catalog>>) -> Vec<Source> {
    let source = |(server, listed): &(UpstreamName, Result<Arc<Catalog>, Missing>)| {
        let (catalog, is_up) = match listed {
            Ok(catalog) => (Arc::clone(catalog), true),
            Err(missing) => {
                (view.catalogs.known_catalog(server)?, matches!(missing, Missing::Slow))
            }
        };
        Some(Source { server: server.clone(), catalog, is_up })
    };
    gathered.iter().filter_map(source).collect()
}

fn near(shown: &str, known: &[String]) -> Vec<String> {
    let near = nearest(shown, known.iter().map(String::as_str), NEAREST);
    near.into_iter().map(|name| name.to_owned()).collect()
}

/// The result as its server sent it.
pub(in crate::server) fn as_result(output: ToolOutput) -> Json {
    if let Some(raw) = output.raw {
        return Arc::unwrap_or_clone(raw);
    }
    let content: Vec<Value> = output.content.iter().map(as_json).collect();
    let mut result = json!({ "content": content, "isError": output.is_error });
    if let Some(structured) = &output.structured {
        result["structuredContent"] = json!(structured);
    }
    raw_of(&result)
}

fn as_json(block: &ContentBlock) -> Value {
    let media = |kind: &str, data: &[u8], mime_type: &str| json!({ "type": kind, "data": BASE64_STANDARD.encode(data), "mimeType": mime_type });
    match block {
        ContentBlock::Text(text) => json!({ "type": "text", "text": text }),
        ContentBlock::Image { data, mime_type } => media("image", data, mime_type),
        ContentBlock::Audio { data, mime_type } => media("audio", data, mime_type),
        ContentBlock::Resource(json) | ContentBlock::Other(json) => json!(json),
    }
}
