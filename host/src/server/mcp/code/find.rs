//! `search_tools` and `describe_tools`: what there is, for a model that will write a script.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{Answer, Facade, argument, definitions};
use crate::config::Profile;
use crate::grants::nearest;
use crate::ids::UpstreamName;
use crate::server::mcp::gateway::{self, Missing};
use crate::server::mcp::request::Request;
use crate::server::search;
use crate::stubs::{Detail, tool_declaration, tool_stub};
use crate::tool::ToolDescription;
use crate::upstream::Caller;

/// The most tools in one answer.
const MAX_LIMIT: u64 = 200;

/// Bytes of an answer after which further tools are only named.
const MAX_BYTES: usize = 48 << 10;

/// What the servers of a profile offer just now.
struct Offer {
    tools: Vec<ToolDescription>,
    /// Servers that cannot be used, and why.
    failures: Vec<(UpstreamName, Missing)>,
}

impl Facade {
    pub(super) async fn search_tools(
        &self,
        arguments: &Map<String, Value>,
        request: &Request,
    ) -> Answer {
        let query: String = argument(arguments, "query")?.unwrap_or_default();
        let detail: Option<String> = argument(arguments, "detail")?;
        let detail = match detail.as_deref() {
            None | Some("signatures") => Detail::Signatures,
            Some("names") => Detail::Names,
            Some("full") => Detail::Full,
            Some(other) => {
                return Err(format!(
                    "`detail` is {other:?} and has to be one of names, signatures, full"
                ));
            }
        };
        let limit: u64 = argument(arguments, "limit")?.unwrap_or(10).clamp(1, MAX_LIMIT);
        let profile = self.profile()?;
        let notation = notation(arguments, &profile)?;
        let offer = self.offer(&profile, &request.caller).await;
        let found = search::rank(&offer.tools, &query);
        let mut text = String::new();
        let shown = usize::try_from(limit).unwrap_or(usize::MAX);
        for place in found.iter().take(shown) {
            show(&mut text, &offer.tools[*place], detail, notation);
        }
        match found.len().saturating_sub(shown) {
            0 => {}
            more => {
                let _ = writeln!(text, "… and {more} more; raise `limit` or say more in `query`");
            }
        }
        if found.is_empty() {
            let _ = writeln!(
                text,
                "No tool fits {query:?}. There are {} tools; an empty query lists them.",
                offer.tools.len()
            );
        }
        name_failures(&mut text, &offer);
        Ok(self.tell(text, None, request))
    }

    pub(super) async fn describe_tools(
        &self,
        arguments: &Map<String, Value>,
        request: &Request,
    ) -> Answer {
        let names: Option<Names> = argument(arguments, "names")?;
        let names = names.map(Names::into_list).unwrap_or_default();
        if names.is_empty() {
            return Err("`names` has to name at least one tool, as SERVER.TOOL".to_owned());
        }
        let profile = self.profile()?;
        let notation = notation(arguments, &profile)?;
        let offer = self.offer(&profile, &request.caller).await;
        let mut text = String::new();
        let mut done = BTreeSet::new();
        for name in &names {
            let wanted = offer.tools.iter().enumerate().filter(|(_, tool)| {
                tool.name.upstream.as_str() == name || tool.name.to_string() == *name
            });
            let places: Vec<usize> = wanted.map(|(place, _)| place).collect();
            if places.is_empty() {
                let known: Vec<String> =
                    offer.tools.iter().map(|tool| tool.name.to_string()).collect();
                let near = nearest(name, known.iter().map(String::as_str), 3);
                let _ = writeln!(
                    text,
                    "# no tool {name:?} is granted here; nearest: {}",
                    if near.is_empty() { "none".to_owned() } else { near.join(", ") }
                );
            }
            for place in places.into_iter().filter(|place| done.insert(*place)) {
                show(&mut text, &offer.tools[place], Detail::Full, notation);
            }
        }
        name_failures(&mut text, &offer);
        Ok(self.tell(text, None, request))
    }

    /// Asks all granted servers at once. One that cannot be used is a line in the answer.
    async fn offer(&self, profile: &Profile, caller: &Caller) -> Offer {
        let access = self.host().catalogs(caller.clone());
        let granted = |name: &&UpstreamName| profile.policy.may_grant_server(name.as_str());
        let names: Vec<UpstreamName> = access.names().filter(granted).cloned().collect();
        let listed = gateway::gather(names, |name| {
            let access = access.clone();
            async move { access.catalog(&name).await }
        });
        let mut offer = Offer { tools: Vec::new(), failures: Vec::new() };
        for (name, catalog) in listed.await {
            let known =
                access.known_catalog(&name).filter(|_| matches!(catalog, Err(Missing::Slow)));
            match known.map_or(catalog, Ok) {
                Ok(catalog) => {
                    let tools = catalog.tools.iter();
                    let granted = tools.filter(|tool| profile.policy.grants(&tool.name));
                    offer.tools.extend(granted.cloned());
                }
                Err(error) => offer.failures.push((name, error)),
            }
        }
        offer
    }
}

/// Models write one name where a list is asked for.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Names {
    Many(Vec<String>),
    One(String),
}

impl Names {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::Many(names) => names,
            Self::One(name) => vec![name],
        }
    }
}

/// How tools are written in one language.
struct Notation {
    comment: &'static str,
    stub: fn(&ToolDescription, Detail) -> String,
}

const PYTHON: Notation = Notation { comment: "#", stub: tool_stub };
const TYPESCRIPT: Notation = Notation { comment: "//", stub: tool_declaration };

/// The notation that is asked for; without a wish, that of the profile's first language.
fn notation(
    arguments: &Map<String, Value>,
    profile: &Profile,
) -> Result<&'static Notation, String> {
    let language: Option<String> = argument(arguments, "language")?;
    let first =
        profile.runtimes.first().map_or("python", |language| definitions::name_of(*language));
    match language.as_deref().unwrap_or(first) {
        "python" => Ok(&PYTHON),
        "typescript" | "javascript" => Ok(&TYPESCRIPT),
        other => Err(format!("`language` is {other:?} and has to be python or typescript")),
    }
}

fn show(text: &mut String, tool: &ToolDescription, detail: Detail, notation: &Notation) {
    let detail = if text.len() > MAX_BYTES { Detail::Names } else { detail };
    if detail != Detail::Names {
        let _ = writeln!(text, "{} {}", notation.comment, tool.name);
    }
    text.push_str(&(notation.stub)(tool, detail));
}

fn name_failures(text: &mut String, offer: &Offer) {
    for (server, error) in &offer.failures {
        let words: String = error.to_string().chars().take(400).collect();
        let _ = writeln!(text, "# server {server} cannot be used now: {words}");
    }
}
