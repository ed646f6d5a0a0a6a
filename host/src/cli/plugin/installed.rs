//! `toolcell plugin list` and `remove`. Nothing is compiled and nothing is called.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;
use toolcell::grants::nearest;
use toolcell::ids::UpstreamName;
use toolcell::plugins::lock::{Standing as Accepted, sha256};
use toolcell::plugins::signed;

use super::args::{ListArgs, RemoveArgs};
use super::grant::{Standing, answered};
use super::{Place, count, reread};
use crate::cli::args::Cli;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

/// One plugin of the listing.
#[derive(Serialize)]
struct Line {
    name: String,
    state: State,
    version: Option<String>,
    source: Option<String>,
    sha256: Option<String>,
    signed_by: Option<String>,
    tools: Vec<String>,
    /// Of its wishes, how many are wholly granted.
    granted: usize,
    asked: usize,
    missing: Vec<String>,
    problem: Option<String>,
}

/// How a plugin is, as far as its files tell.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// It is what was accepted.
    Accepted,
    /// It was put into the folder, and is loaded all the same.
    Dropped,
    /// The operator turned it off.
    Disabled,
    /// It is not loaded.
    Refused,
    /// Its file is gone.
    Missing,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Accepted => "ok",
            Self::Dropped => "dropped",
            Self::Disabled => "disabled",
            Self::Refused => "REFUSED",
            Self::Missing => "MISSING",
        }
    }
}

pub(super) fn list(cli: &Cli, args: &ListArgs) -> Result<Exit, Failure> {
    let place = Place::open(cli)?;
    let listing = place.folder.list()?;
    let faulty = listing.faulty.iter().map(|(name, _)| name);
    let mut names: BTreeSet<UpstreamName> =
        listing.plugins.iter().map(|plugin| &plugin.name).chain(faulty).cloned().collect();
    let locked = place.lock.plugins.keys().filter_map(|name| UpstreamName::try_new(name).ok());
    names.extend(locked);
    let lines: Vec<Line> = names.iter().map(|name| line(&place, name)).collect();
    if args.json {
        let misnamed: Vec<_> = listing.misnamed.iter().collect();
        let folder = place.folder.path();
        println!("{:#}", json!({ "folder": folder, "plugins": lines, "misnamed": misnamed }));
    } else {
        print!("{}", as_text(&place, &lines));
        for path in &listing.misnamed {
            println!(
                "! {} is not loaded: its name is none of a plugin (A-Z a-z 0-9 _ -)",
                path.display()
            );
        }
    }
    let bad = lines.iter().any(|line| matches!(line.state, State::Refused | State::Missing));
    Ok(if bad { Exit::Failed } else { Exit::Done })
}

fn line(place: &Place, name: &UpstreamName) -> Line {
    let locked = place.lock.get(name);
    let settings = place.config.plugins.of(name);
    let mut line = Line {
        name: name.to_string(),
        state: State::Accepted,
        version: locked.and_then(|locked| locked.version.as_ref()).map(ToString::to_string),
        source: locked.map(|locked| locked.source.clone()),
        sha256: None,
        signed_by: locked.and_then(|locked| locked.signed_by.clone()),
        tools: locked.map(|locked| locked.tools.keys().cloned().collect()).unwrap_or_default(),
        granted: 0,
        asked: 0,
        missing: Vec::new(),
        problem: None,
    };
    if !place.folder.component(name).exists() {
        line.state = State::Missing;
        line.problem = Some(format!(
            "toolcell.lock names it, and {} is not there; add it again, or `toolcell plugin remove {name}`",
            place.folder.component(name).display()
        ));
        return line;
    }
    let read = place.folder.get(name).and_then(|plugin| Ok((plugin.read()?, plugin.manifest)));
    let (bytes, manifest) = match read {
        Ok(read) => read,
        Err(error) => {
            line.state = State::Refused;
            line.problem = Some(Failure::from(error).text());
            return line;
        }
    };
    if let Some(manifest) = &manifest {
        line.version = Some(manifest.version.to_string());
        line.tools.clone_from(&manifest.tools);
        let answers = answered(&manifest.asks, &settings);
        line.asked = answers.len();
        let missing = answers.iter().filter(|wish| wish.standing != Standing::Granted);
        line.missing = missing.map(|wish| format!("{} {}", wish.kind, wish.pattern)).collect();
        line.granted = line.asked - line.missing.len();
    }
    let signed = settings
        .signed_by
        .as_deref()
        .map(|key| signed::check(name, key, &place.folder.signature(name), &bytes));
    let digest = sha256(&bytes);
    let only_locked = place.config.plugins.locked;
    match place.lock.check(name, &digest, manifest.as_ref(), only_locked) {
        Ok(Accepted::Accepted) => {}
        Ok(Accepted::Dropped) => line.state = State::Dropped,
        Err(error) => {
            line.state = State::Refused;
            line.problem = Some(error.to_string());
        }
    }
    if let Some(Err(error)) = signed {
        line.state = State::Refused;
        line.problem = Some(error.to_string());
    }
    line.sha256 = Some(digest);
    if !settings.enabled {
        line.state = State::Disabled;
    }
    line
}

fn as_text(place: &Place, lines: &[Line]) -> String {
    if lines.is_empty() {
        let folder = place.folder.path().display();
        return format!("no plugins are installed in {folder}; see `toolcell plugin --help`\n");
    }
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0).max(6);
    let mut text =
        format!("{:width$}  {:8}  {:8}  {:>5}  granted\n", "plugin", "version", "state", "tools");
    for line in lines {
        let version = line.version.as_deref().unwrap_or("-");
        let granted = match line.asked {
            0 => "asks for nothing".to_owned(),
            asked => {
                format!("{} of {}", line.granted, count(asked, "wish").replace("wishs", "wishes"))
            }
        };
        let _ = writeln!(
            text,
            "{:width$}  {version:8}  {:8}  {:>5}  {granted}",
            line.name,
            line.state.name(),
            line.tools.len()
        );
        for missing in &line.missing {
            let _ = writeln!(text, "{:width$}  - {missing}: not granted", "");
        }
        if let Some(problem) = &line.problem {
            let _ = writeln!(text, "{:width$}  ! {problem}", "");
        }
    }
    text
}

pub(super) fn remove(cli: &Cli, args: &RemoveArgs) -> Result<Exit, Failure> {
    let place = Place::open(cli)?;
    let names = place.installed_names();
    let name = UpstreamName::try_new(&args.name)?;
    let mut lock = place.lock.clone();
    let was_locked = lock.plugins.remove(name.as_str()).is_some();
    if !names.contains(&name) && !was_locked {
        return Err(unknown(&name, &names));
    }
    // A profile that names it would have no meaning without it: that is told before anything is gone.
    let component = place.folder.component(&name);
    let aside = place.folder.path().join(format!(".{name}.removed"));
    if component.exists() {
        std::fs::rename(&component, &aside)?;
        if let Err(failure) = reread(cli) {
            std::fs::rename(&aside, &component)?;
            let text = failure.text();
            return Err(Failure::usage(format!("without the plugin `{name}` {text}")));
        }
        std::fs::rename(&aside, &component)?;
    }
    place.folder.remove(&name, (&place.lock_file, &lock))?;
    let section = place.config.plugins.named.contains_key(&name);
    if args.json {
        println!("{:#}", json!({ "removed": name, "section_left": section }));
        return Ok(Exit::Done);
    }
    println!("{name} is removed");
    if section {
        let file = place.config_file.display();
        println!("  [plugins.{name}] is still in {file}, and grants nothing now");
    }
    Ok(Exit::Done)
}

/// Nobody is called so.
pub(super) fn unknown(name: &UpstreamName, names: &[UpstreamName]) -> Failure {
    let known: Vec<&str> = names.iter().map(UpstreamName::as_str).collect();
    let hint = match nearest(name.as_str(), known.iter().copied(), 1).first() {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "none is".to_owned(),
        None => format!("there are {}", known.join(", ")),
    };
    Failure::usage(format!("no plugin `{name}` is installed; {hint}"))
}
