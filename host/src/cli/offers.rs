//! `toolcell resources` and `toolcell prompts`: what servers offer besides tools.

use std::fmt::Write as _;
use std::sync::Arc;

use futures::future::join_all;
use serde_json::{Value, json};
use toolcell::config::Profile;
use toolcell::ids::{ToolName, UpstreamName};
use toolcell::offers::{Offers, Prompt, Resource, ResourceTemplate};
use toolcell::upstream::{Access, Caller, UpstreamError};

use super::args::{Cli, OffersArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::{setup, tools};

/// What one server offers, as lines for people and as JSON.
struct Listed {
    server: UpstreamName,
    found: Result<Vec<Line>, UpstreamError>,
    problems: Vec<String>,
}

struct Line {
    granted: bool,
    text: String,
    json: Value,
}

pub(super) async fn resources(cli: &Cli, args: &OffersArgs) -> Result<Exit, Failure> {
    list(cli, args, "resources", async |access, server, profile| {
        let (resources, templates) =
            futures::try_join!(access.resources(server), access.resource_templates(server))?;
        let mut lines: Vec<Line> =
            resources.items.iter().map(|it| resource(server, it, profile)).collect();
        lines.extend(templates.items.iter().map(|it| template(server, it, profile)));
        Ok((lines, [problems(&resources), problems(&templates)].concat()))
    })
    .await
}

pub(super) async fn prompts(cli: &Cli, args: &OffersArgs) -> Result<Exit, Failure> {
    list(cli, args, "prompts", async |access, server, profile| {
        let prompts = access.prompts(server).await?;
        let lines = prompts.items.iter().map(|it| prompt(server, it, profile)).collect();
        Ok((lines, problems(&prompts)))
    })
    .await
}

type Found = (Vec<Line>, Vec<String>);

async fn list(
    cli: &Cli,
    args: &OffersArgs,
    what: &str,
    one: impl AsyncFn(&Access, &UpstreamName, &Profile) -> Result<Found, UpstreamError>,
) -> Result<Exit, Failure> {
    let config = setup::config(cli)?;
    let profile = config.profile(args.profile.as_deref())?.clone();
    let host = setup::host(cli, config)?;
    let servers = tools::chosen(host.upstreams(), &args.servers)?;
    let access = host.upstreams().access(Caller::anonymous());
    let listing = join_all(servers.into_iter().map(async |server| {
        let found = one(&access, &server, &profile).await;
        let (found, problems) = match found {
            Ok((lines, problems)) => (Ok(lines), problems),
            Err(error) => (Err(error), Vec::new()),
        };
        Listed { server, found, problems }
    }));
    let listed = setup::until_cancelled(async { Ok(listing.await) }).await?;
    if args.json {
        println!("{}", as_json(&listed, &profile, what));
    } else {
        print!("{}", as_text(&listed, &profile, what));
    }
    host.close().await;
    let failed = listed.iter().any(|one| one.found.is_err());
    Ok(if failed { Exit::Upstream } else { Exit::Done })
}

fn problems<T>(offers: &Arc<Offers<T>>) -> Vec<String> {
    offers.problems.clone()
}

fn resource(server: &UpstreamName, it: &Resource, profile: &Profile) -> Line {
    let granted = profile.policy.grants_resource(server.as_str(), &it.uri);
    let words = it.description.as_deref().or(it.title.as_deref()).unwrap_or(&it.name);
    Line {
        granted,
        text: format!("{}  {}", tools::shown(&it.uri), tools::first_line(words)),
        json: json!({ "uri": &*it.uri, "granted": granted, "listed": it.raw }),
    }
}

fn template(server: &UpstreamName, it: &ResourceTemplate, profile: &Profile) -> Line {
    let granted = profile.policy.may_grant_template(server.as_str(), &it.uri_template);
    let words = it.description.as_deref().or(it.title.as_deref()).unwrap_or(&it.name);
    Line {
        granted,
        text: format!("{}  {}", tools::shown(&it.uri_template), tools::first_line(words)),
        json: json!({ "uri_template": &*it.uri_template, "granted": granted, "listed": it.raw }),
    }
}

fn prompt(server: &UpstreamName, it: &Prompt, profile: &Profile) -> Line {
    let name = ToolName::new(server.clone(), Arc::clone(&it.name));
    let granted = profile.policy.grants_prompt(&name);
    let words = it.description.as_deref().or(it.title.as_deref()).unwrap_or_default();
    let arguments: Vec<String> = it
        .arguments
        .iter()
        .map(|one| format!("{}{}", tools::shown(&one.name), if one.required { "" } else { "?" }))
        .collect();
    let (name, words) = (tools::shown(&it.name), tools::first_line(words));
    Line {
        granted,
        text: format!("{name}({})  {words}", arguments.join(", ")),
        json: json!({ "name": &*it.name, "granted": granted, "listed": it.raw }),
    }
}

fn as_text(listed: &[Listed], profile: &Profile, what: &str) -> String {
    let mut text = String::new();
    if listed.is_empty() {
        text.push_str("no servers are configured; see `toolcell --help` for --config\n");
    }
    for Listed { server, found, problems } in listed {
        match found {
            Err(error) => {
                let _ = writeln!(text, "{server}: cannot be used\n  {error}");
            }
            Ok(lines) => {
                let _ = writeln!(text, "{server} ({} {what})", lines.len());
                for line in lines {
                    let mark = if line.granted { '+' } else { '-' };
                    let _ = writeln!(text, "  {mark} {}", line.text.trim_end());
                }
            }
        }
        for problem in problems {
            let _ = writeln!(text, "  ! {problem}");
        }
    }
    if !listed.is_empty() {
        let _ = writeln!(text, "(+ granted by profile {}, - not granted)", profile.name);
    }
    text
}

fn as_json(listed: &[Listed], profile: &Profile, what: &str) -> Value {
    let servers: Vec<Value> = listed
        .iter()
        .map(|Listed { server, found, problems }| {
            let lines = found.as_ref().map(Vec::as_slice).unwrap_or_default();
            let all: Vec<&Value> = lines.iter().map(|line| &line.json).collect();
            let error = found.as_ref().err().map(ToString::to_string);
            json!({ "server": server, "error": error, "problems": problems, what: all })
        })
        .collect();
    json!({ "profile": profile.name.as_str(), "servers": servers })
}
