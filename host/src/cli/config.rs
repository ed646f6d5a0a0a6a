//! `toolcell config`: what is in force, what is wrong, and what could be written.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use toolcell::config::{self, Config, ConfigError, Notice, Place, bare, inline};

use super::args::{Cli, ConfigAction, ConfigArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::setup;

pub(super) fn config(cli: &Cli, args: &ConfigArgs) -> Result<Exit, Failure> {
    match &args.action {
        ConfigAction::Show { server, json } => {
            let shown = config::show(&setup::config(cli)?, server.as_deref())?;
            if *json {
                println!("{shown:#}");
            } else {
                print!("{}", as_toml(&shown));
            }
            Ok(Exit::Done)
        }
        ConfigAction::Check { json } => check(cli, *json),
        ConfigAction::Schema => {
            println!("{:#}", config::schema());
            Ok(Exit::Done)
        }
        ConfigAction::Reference => {
            print!("{}", config::reference());
            Ok(Exit::Done)
        }
    }
}

fn check(cli: &Cli, json: bool) -> Result<Exit, Failure> {
    let here = std::env::current_dir()?;
    let lookup = config::env::of_process;
    let loaded = config::load(cli.config.as_deref(), &here, &lookup);
    if json {
        println!("{:#}", report(&loaded));
        return Ok(if loaded.is_ok() { Exit::Done } else { Exit::Usage });
    }
    let config = loaded?;
    for notice in &config.notices {
        println!("notice: {notice}");
    }
    let files: Vec<String> = config.sources.iter().map(|file| file.display().to_string()).collect();
    let files = if files.is_empty() { "no file".to_owned() } else { files.join(", ") };
    let count =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let servers = count(config.servers.len(), "server");
    let profiles = count(config.profiles.len(), "profile");
    println!("ok: {servers}, {profiles} in {files}");
    Ok(Exit::Done)
}

fn report(loaded: &Result<Config, ConfigError>) -> Value {
    let place = |place: &Place| {
        json!({
            "file": place.file.display().to_string(),
            "line": place.position.map(|at| at.line),
            "column": place.position.map(|at| at.column),
            "path": place.path.to_string(),
        })
    };
    let with = |mut at: Value, more: Value| {
        if let (Value::Object(at), Value::Object(more)) = (&mut at, more) {
            at.extend(more);
        }
        at
    };
    let notice = |notice: &Notice| with(place(&notice.place), json!({ "text": notice.text }));
    let problems: Vec<Value> = match loaded {
        Ok(_) => Vec::new(),
        Err(ConfigError::Problems(problems)) => problems
            .as_slice()
            .iter()
            .map(|problem| {
                let told = json!({ "cause": problem.cause, "way_out": problem.way_out });
                with(place(&problem.place), told)
            })
            .collect(),
        Err(error @ ConfigError::Read { path, source }) => {
            let cause = format!("{error}: {source}");
            vec![with(place(&Place::file(path)), json!({ "cause": cause, "way_out": null }))]
        }
    };
    let notices: Vec<Value> =
        loaded.iter().flat_map(|config| &config.notices).map(notice).collect();
    json!({ "ok": loaded.is_ok(), "problems": problems, "notices": notices })
}

/// What is in force, as a file would say it.
fn as_toml(shown: &Value) -> String {
    let mut text = String::new();
    let none = Map::new();
    let members = shown.as_object().unwrap_or(&none);
    if let Some(sources) = members.get("sources").and_then(Value::as_array) {
        let sources: Vec<&str> = sources.iter().filter_map(Value::as_str).collect();
        let sources = if sources.is_empty() { "no file".to_owned() } else { sources.join(", ") };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "# {sources}");
    }
    if let Some(name) = members.get("default_profile").filter(|name| !name.is_null()) {
        let _ = writeln!(text, "default_profile = {}", inline(name));
    }
    if let Some(monitor) = members.get("monitor").and_then(Value::as_object) {
        table(&mut text, "monitor", monitor);
    }
    for tables in ["servers", "plugins", "profiles"] {
        for (name, members) in members.get(tables).and_then(Value::as_object).into_iter().flatten()
        {
            let path = format!("{tables}.{}", bare(name));
            table(&mut text, &path, members.as_object().unwrap_or(&none));
        }
    }
    text.trim_start().to_owned()
}

fn table(text: &mut String, path: &str, members: &Map<String, Value>) {
    text.push('\n');
    for (key, origin) in members.iter().filter(|(key, _)| *key == "origin") {
        let _ = writeln!(text, "# {key}: {}", origin.as_str().unwrap_or_default());
    }
    let _ = writeln!(text, "[{path}]");
    for (key, value) in members.iter().filter(|(key, _)| *key != "origin") {
        let _ = writeln!(text, "{} = {}", bare(key), inline(value));
    }
}
