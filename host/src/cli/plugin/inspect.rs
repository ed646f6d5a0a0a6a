//! `toolcell plugin inspect`: what a plugin is. It is asked for its tools, and calls nothing.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use toolcell::config::units::round_size;
use toolcell::ids::UpstreamName;
use toolcell::plugins::growth::ToolFacts;
use toolcell::sandbox::{Inspection, PluginKind};

use super::args::InspectArgs;
use super::grant::{Answered, answered};
use super::source::{Candidate, is_project};
use super::{Place, facts, load, sandbox, tool_line};
use crate::cli::args::Cli;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

pub(super) async fn inspect(cli: &Cli, args: &InspectArgs) -> Result<Exit, Failure> {
    // A file can be looked at whatever is wrong with the configuration.
    let place = Place::open(cli);
    let path = Path::new(&args.plugin);
    let installed = UpstreamName::try_new(&args.plugin).ok().filter(|_| !path.exists());
    let candidate = match (installed, &place) {
        (Some(name), Ok(place)) if place.folder.component(&name).exists() => {
            let plugin = place.folder.get(&name)?;
            Candidate {
                component: plugin.read()?,
                manifest: plugin.manifest,
                source: format!("file:{}", plugin.component.display()),
                stem: name.to_string(),
                signature: None,
                signed_by: None,
            }
        }
        (Some(name), Ok(place)) => {
            let names = place.installed_names();
            return Err(super::installed::unknown(&name, &names));
        }
        _ => Candidate::local(path)?,
    };
    let what = if is_project(path) { "the component" } else { &args.plugin };
    let loaded = load(&sandbox(cli)?, what, &candidate.component).await?;
    let (inspection, tools) = (loaded.inspection(), facts(&loaded));
    let asks = candidate.manifest.as_ref().map(|manifest| manifest.asks.clone());
    let asks = asks.unwrap_or_default();
    let settings = candidate.name(None).ok().zip(place.ok());
    let settings = settings.map(|(name, place)| place.config.plugins.of(&name));
    let answers = settings.map(|settings| answered(&asks, &settings)).unwrap_or_default();
    if args.json {
        println!("{:#}", as_json(&candidate, inspection, &tools, &answers));
    } else {
        print!("{}", as_text(&candidate, inspection, &tools, &answers));
    }
    Ok(Exit::Done)
}

fn kind(inspection: &Inspection) -> String {
    match (inspection.kind, &inspection.wit) {
        (PluginKind::Toolcell, Some(wit)) => format!("toolcell:guest/plugin {wit}"),
        (PluginKind::Toolcell, None) => "toolcell:guest/plugin".to_owned(),
        (PluginKind::Typed, _) => "plain functions".to_owned(),
    }
}

fn as_text(
    candidate: &Candidate,
    inspection: &Inspection,
    tools: &[ToolFacts],
    answers: &[Answered],
) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    if let Some(manifest) = &candidate.manifest {
        let _ = writeln!(text, "{} {}", manifest.name, manifest.version);
        if let Some(description) = &manifest.description {
            let _ = writeln!(text, "  {}", crate::cli::tools::shown(description));
        }
    } else {
        let _ = writeln!(text, "{} (no manifest: it asks for nothing)", candidate.stem);
    }
    let _ = writeln!(text, "kind:    {}", kind(inspection));
    let size = round_size(inspection.size_bytes);
    let _ = writeln!(text, "size:    {size}\nsha256:  {}", inspection.sha256);
    let _ = writeln!(text, "imports: {}", list(&inspection.imports));
    let _ = writeln!(text, "exports: {}", list(&inspection.exports));
    let _ = writeln!(text, "tools:");
    for tool in tools {
        let _ = writeln!(text, "{}", tool_line(&tool.name, tool.description.as_deref()));
        let _ = writeln!(text, "    arguments {}", tool.input_schema);
        if let Some(schema) = &tool.output_schema {
            let _ = writeln!(text, "    result    {schema}");
        }
    }
    if answers.is_empty() {
        let _ = writeln!(text, "asks for nothing");
    } else {
        let _ = writeln!(text, "asks for:");
    }
    for Answered { kind, pattern, standing } in answers {
        let _ = writeln!(text, "  {kind} {pattern}: {}", standing.name());
    }
    text
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|name| crate::cli::tools::shown(name)).collect::<Vec<_>>().join(", ")
}

fn as_json(
    candidate: &Candidate,
    inspection: &Inspection,
    tools: &[ToolFacts],
    answers: &[Answered],
) -> serde_json::Value {
    let tools: Vec<_> = tools
        .iter()
        .map(|tool| {
            json!({
                "name": tool.name,
                "title": tool.title,
                "description": tool.description,
                "input_schema": tool.input_schema,
                "output_schema": tool.output_schema,
                "read_only": tool.hints.read_only,
                "idempotent": tool.hints.idempotent,
                "destructive": tool.hints.destructive,
            })
        })
        .collect();
    let asks: Vec<_> = answers
        .iter()
        .map(|Answered { kind, pattern, standing }| {
            json!({ "kind": kind, "pattern": pattern, "standing": standing.name() })
        })
        .collect();
    json!({
        "manifest": candidate.manifest,
        "kind": inspection.kind,
        "wit": inspection.wit,
        "size_bytes": inspection.size_bytes,
        "sha256": inspection.sha256,
        "imports": inspection.imports,
        "exports": inspection.exports,
        "tools": tools,
        "asks": asks,
    })
}
