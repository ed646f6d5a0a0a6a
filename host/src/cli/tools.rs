//! `toolcell tools`

use std::collections::HashMap;
use std::fmt::Write as _;

use futures::future::join_all;
use serde_json::json;
use toolcell::broker::Catalogs;
use toolcell::config::Profile;
use toolcell::ids::{ToolName, UpstreamName};
use toolcell::server::mcp::{GatewayName, gateway_names};
use toolcell::tool::ToolDescription;
use toolcell::upstream::{Caller, Catalog, UpstreamError, Upstreams};

use super::args::{Cli, ToolsArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::setup;

/// Characters of a description that the table shows.
const SHOWN_CHARACTERS: usize = 90;

pub(super) async fn tools(cli: &Cli, args: &ToolsArgs) -> Result<Exit, Failure> {
    let config = setup::config(cli)?;
    let profile = setup::profile(&config, &args.grants, Vec::new())?;
    let host = setup::host(cli, config)?;
    // Servers and plugins: for whoever calls their tools they are the same.
    let catalogs = host.catalogs(Caller::anonymous());
    let all: Vec<UpstreamName> = catalogs.names().cloned().collect();
    let servers = chosen_of(&all, &args.servers)?;
    let listing = async { Ok(list(&catalogs, &servers).await) };
    let listed = setup::until_cancelled(listing).await?;
    let names = gateway_names_of(&profile, &all, &listed);
    if args.json {
        println!("{}", as_json(&listed, &profile, &names));
    } else {
        print!("{}", as_text(&listed, &profile, &names));
    }
    host.close().await;
    let failed = listed.iter().any(|(_, catalog)| catalog.is_err());
    Ok(if failed { Exit::Upstream } else { Exit::Done })
}

pub(super) type Listed = Vec<(UpstreamName, Result<std::sync::Arc<Catalog>, UpstreamError>)>;

/// The servers that were named, or all.
pub(super) fn chosen(
    upstreams: &Upstreams,
    named: &[String],
) -> Result<Vec<UpstreamName>, Failure> {
    chosen_of(&upstreams.names(), named)
}

/// The same, of servers and plugins.
pub(super) fn chosen_of(
    names: &[UpstreamName],
    named: &[String],
) -> Result<Vec<UpstreamName>, Failure> {
    if named.is_empty() {
        return Ok(names.to_vec());
    }
    named
        .iter()
        .map(|wanted| {
            names.iter().find(|name| name.as_str() == wanted).cloned().ok_or_else(|| {
                let known: Vec<&str> = names.iter().map(UpstreamName::as_str).collect();
                Failure::usage(format!(
                    "no server {wanted:?} is configured (there are: {})",
                    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                ))
            })
        })
        .collect()
}

/// Lists servers and plugins, all at once.
pub(super) async fn list(catalogs: &Catalogs, names: &[UpstreamName]) -> Listed {
    join_all(names.iter().map(|name| async { (name.clone(), catalogs.catalog(name).await) })).await
}

type GatewayNames = HashMap<ToolName, GatewayName>;

/// Under which names the profile's gateway shows the tools, if it is one.
fn gateway_names_of(profile: &Profile, names: &[UpstreamName], listed: &Listed) -> GatewayNames {
    if !profile.endpoint.gateway {
        return GatewayNames::new();
    }
    let usable = listed.iter().filter_map(|(server, catalog)| {
        Some((server.clone(), std::sync::Arc::clone(catalog.as_ref().ok()?)))
    });
    gateway_names(profile, names, &usable.collect::<Vec<_>>())
}

fn as_text(listed: &Listed, profile: &Profile, names: &GatewayNames) -> String {
    let mut text = String::new();
    if listed.is_empty() {
        text.push_str("no servers are configured; see `toolcell --help` for --config\n");
    }
    for (server, catalog) in listed {
        match catalog {
            Err(error) => {
                let _ = writeln!(text, "{server}: cannot be used\n  {error}");
            }
            Ok(catalog) => {
                let _ = writeln!(text, "{server} ({} tools)", catalog.tools.len());
                for tool in catalog.tools.iter() {
                    let mark = if profile.policy.grants(&tool.name) { '+' } else { '-' };
                    let words = tool.description.as_deref().or(tool.title.as_deref());
                    let words = first_line(words.unwrap_or_default());
                    let _ = writeln!(text, "  {mark} {}  {words}", tool.name.tool);
                }
                for problem in &catalog.problems {
                    let _ = writeln!(text, "  ! {problem}");
                }
                for tool in catalog.tools.iter() {
                    if let Some(GatewayName { name, clashes: true }) = names.get(&tool.name) {
                        let shown = name
                            .as_deref()
                            .map_or("not shown".to_owned(), |name| format!("shown as {name}"));
                        let own = self::shown(&tool.name.tool);
                        let _ = writeln!(
                            text,
                            "  ! {own} is {shown} by the gateway: its own name is another's"
                        );
                    }
                }
            }
        }
    }
    if !listed.is_empty() {
        let _ = writeln!(text, "(+ granted by profile {}, - not granted)", profile.name);
    }
    text
}

/// A stranger's text without what would move a terminal's cursor.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

/// The first line of a description, cut.
pub(super) fn first_line(words: &str) -> String {
    let line = shown(words.lines().next().unwrap_or_default());
    if line.chars().count() > SHOWN_CHARACTERS {
        let cut: String = line.chars().take(SHOWN_CHARACTERS).collect();
        return format!("{cut}...");
    }
    line
}

fn as_json(listed: &Listed, profile: &Profile, names: &GatewayNames) -> serde_json::Value {
    let servers: Vec<_> = listed
        .iter()
        .map(|(server, catalog)| match catalog {
            Err(error) => json!({ "server": server, "error": error.to_string(), "tools": [] }),
            Ok(catalog) => json!({
                "server": server,
                "error": null,
                "problems": catalog.problems,
                "tools": catalog.tools.iter().map(|tool| one(tool, profile, names)).collect::<Vec<_>>(),
            }),
        })
        .collect();
    json!({ "profile": profile.name.as_str(), "servers": servers })
}

fn one(tool: &ToolDescription, profile: &Profile, names: &GatewayNames) -> serde_json::Value {
    json!({
        "name": tool.name,
        "gateway_name": names.get(&tool.name).and_then(|shown| shown.name.as_deref()),
        "granted": profile.policy.grants(&tool.name),
        "title": tool.title,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
        "read_only": tool.hints.read_only,
        "idempotent": tool.hints.idempotent,
        "destructive": tool.hints.destructive,
    })
}
