//! `toolcell plugin add`: everything is checked before anything is written.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;
use toolcell::ids::{ToolName, UpstreamName};
use toolcell::plugins::growth::{Growth, NewVersion, ToolFacts, digests};
use toolcell::plugins::installed::write_whole;
use toolcell::plugins::lock::LockedPlugin;
use toolcell::plugins::manifest::Manifest;
use toolcell::sandbox::Sandbox;

use super::args::AddArgs;
use super::grant::{Section, Standing, answered};
use super::source::Candidate;
use super::{Place, check_tools, count, facts, load, reread, sandbox, tool_line};
use crate::cli::args::Cli;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

/// What a configuration begins with that is made here.
const NEW_CONFIG: &str = "# toolcell's configuration; `toolcell init` writes one with examples.\n";

pub(super) async fn add(cli: &Cli, args: &AddArgs) -> Result<Exit, Failure> {
    let place = Place::open(cli)?;
    let candidate =
        Candidate::find(&args.source, args.name.as_deref(), &args.registry, &place, args.accept)
            .await?;
    let name = candidate.name(args.name.as_deref())?;
    check_name(&name, &place)?;
    let sandbox = sandbox(cli)?;
    let loaded = load(&sandbox, &args.source, &candidate.component).await?;
    let tools = facts(&loaded);
    let names = tools.iter().map(|tool| tool.name.clone()).collect();
    let manifest = match &candidate.manifest {
        Some(manifest) => {
            check_tools(manifest, &tools)?;
            Manifest { tools: names, build: None, ..manifest.clone() }
        }
        None => Manifest::unversioned(name.clone(), names),
    };
    check_flat_names(&name, &tools, &place)?;
    let growth = growth(&place, &name, &tools, &manifest, &candidate, &sandbox).await;
    if let Some(growth) = growth.filter(|growth| !growth.is_nothing() && !args.accept) {
        return Ok(refused(&name, &place, &manifest, &growth, args.json));
    }
    let sha256 = loaded.inspection().sha256.clone();
    let locked = LockedPlugin {
        version: candidate.manifest.as_ref().map(|manifest| manifest.version.clone()),
        source: candidate.source.clone(),
        sha256: sha256.clone(),
        signed_by: candidate.signed_by.clone(),
        asks: manifest.asks.clone(),
        tools: digests(&tools),
    };
    let mut lock = place.lock.clone();
    let replaced = lock.plugins.insert(name.to_string(), locked);
    let section = Section::of(&manifest.asks, &place.config, &place.installed_names());
    let before = args.grant.then(|| std::fs::read(&place.config_file).ok());
    if let Some(before) = &before {
        grant(cli, &place, &section, &name, before.as_deref())?;
    } else if !place.config_file.exists() {
        // Without a file of ours there is no folder of plugins either.
        write_whole(&place.config_file, NEW_CONFIG.as_bytes())?;
    }
    let installed = place.folder.install(
        &name,
        &candidate.component,
        &manifest,
        candidate.signature.as_deref(),
        (&place.lock_file, &lock),
    );
    if let Err(error) = installed {
        if let Some(before) = &before {
            put_back(&place, before.as_deref());
        }
        return Err(error.into());
    }
    let report = Report { place: &place, name: &name, manifest: &manifest, tools: &tools };
    let granted = reread(cli)?;
    if args.json {
        let shown = json!({
            "name": name,
            "version": manifest.version,
            "source": candidate.source,
            "sha256": sha256,
            "signed_by": candidate.signed_by,
            "replaced": replaced.and_then(|old| old.version),
            "tools": manifest.tools,
            "asks": manifest.asks,
            "missing": report.missing(&granted).iter().map(|(_, text)| text).collect::<Vec<_>>(),
            "section": section.text(&name),
        });
        println!("{shown:#}");
    } else {
        let old = replaced.and_then(|old| old.version).map(|old| format!(" in place of {old}"));
        let old = old.unwrap_or_default();
        println!("{name} {}{old}: {}", manifest.version, count(tools.len(), "tool"));
        print!("{}", report.text(&granted, &section, args.grant));
    }
    Ok(Exit::Done)
}

/// A plugin's name is a server's, for everybody who calls it.
fn check_name(name: &UpstreamName, place: &Place) -> Result<(), Failure> {
    let server = place.config.servers.iter().position(|server| server.name == *name);
    let Some(at) = server else { return Ok(()) };
    let source = place.config.server_sources.get(at);
    let at = source.map(|source| format!(" ({})", source.place)).unwrap_or_default();
    Err(Failure::usage(format!(
        "a server is called `{name}`{at}, and a plugin cannot have the same name: give it another with \
         --name"
    )))
}

/// Agents see `PLUGIN_TOOL`, so that two plugins may not have tools whose flat names are the same.
fn check_flat_names(
    name: &UpstreamName,
    tools: &[ToolFacts],
    place: &Place,
) -> Result<(), Failure> {
    let flat = |plugin: &str, tool: &str| format!("{plugin}_{tool}").replace(['.', '-'], "_");
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for (other, locked) in place.lock.plugins.iter().filter(|(other, _)| *other != name.as_str()) {
        let names = locked.tools.keys();
        taken.extend(names.map(|tool| (flat(other, tool), format!("{other}.{tool}"))));
    }
    for tool in tools {
        let shown = flat(name.as_str(), &tool.name);
        if let Some(other) = taken.get(&shown) {
            let own = ToolName::new(name.clone(), tool.name.as_str());
            return Err(Failure::usage(format!(
                "agents would see `{own}` and `{other}` of another plugin under one name, `{shown}`: \
                 install one of the two under another name with --name"
            )));
        }
    }
    Ok(())
}

/// What this version has beyond the accepted one, if one was accepted.
async fn growth(
    place: &Place,
    name: &UpstreamName,
    tools: &[ToolFacts],
    manifest: &Manifest,
    candidate: &Candidate,
    sandbox: &Sandbox,
) -> Option<Growth> {
    let accepted = place.lock.get(name)?;
    // Its tools in full, if what lies there is still what was accepted.
    let mut old_tools = None;
    if let Ok(old) = place.folder.get(name).and_then(|plugin| plugin.read())
        && toolcell::plugins::lock::sha256(&old) == accepted.sha256
        && let Ok(loaded) = sandbox.load_plugin(name.as_str(), &old).await
    {
        old_tools = Some(facts(&loaded));
    }
    let signed_by = candidate.signed_by.as_deref();
    let new = NewVersion { tools, asks: &manifest.asks, signed_by };
    Some(Growth::between(accepted, old_tools.as_deref(), new))
}

fn refused(
    name: &UpstreamName,
    place: &Place,
    manifest: &Manifest,
    growth: &Growth,
    json: bool,
) -> Exit {
    let old = place.lock.get(name).and_then(|locked| locked.version.clone());
    let old = old.map_or_else(|| "the accepted version".to_owned(), |old| format!("version {old}"));
    if json {
        let refused = json!({
            "refused": true,
            "name": name,
            "version": manifest.version,
            "new_tools": growth.new_tools,
            "changed_tools": growth.changed_tools.iter().map(|(tool, lines)| {
                json!({ "tool": tool, "difference": lines })
            }).collect::<Vec<_>>(),
            "asks": growth.asks,
            "signature": growth.signature,
        });
        println!("{refused:#}");
    }
    eprintln!(
        "toolcell: {name} {} has or asks for more than {old}, and nothing was installed:",
        manifest.version
    );
    eprint!("{growth}");
    eprintln!("if that is meant, add it with --accept");
    Exit::Failed
}

/// Writes the section, and takes it back if the configuration cannot be used with it.
fn grant(
    cli: &Cli,
    place: &Place,
    section: &Section,
    name: &UpstreamName,
    before: Option<&[u8]>,
) -> Result<(), Failure> {
    section.write(&place.config_file, name)?;
    if let Err(failure) = reread(cli) {
        put_back(place, before);
        return Err(failure);
    }
    Ok(())
}

fn put_back(place: &Place, before: Option<&[u8]>) {
    let _ = match before {
        Some(bytes) => write_whole(&place.config_file, bytes).map_err(drop),
        None => std::fs::remove_file(&place.config_file).map_err(drop),
    };
}

/// What is told after an installation.
struct Report<'a> {
    place: &'a Place,
    name: &'a UpstreamName,
    manifest: &'a Manifest,
    tools: &'a [ToolFacts],
}

impl Report<'_> {
    /// What it asks for and does not have, all of it.
    fn missing(&self, config: &toolcell::config::Config) -> Vec<(Standing, String)> {
        let settings = config.plugins.of(self.name);
        let answered = answered(&self.manifest.asks, &settings);
        let missing = answered.into_iter().filter(|wish| wish.standing != Standing::Granted);
        missing.map(|wish| (wish.standing, format!("{} {}", wish.kind, wish.pattern))).collect()
    }

    fn text(
        &self,
        config: &toolcell::config::Config,
        section: &Section,
        was_granted: bool,
    ) -> String {
        let mut text = String::new();
        for tool in self.tools {
            let _ = writeln!(text, "{}", tool_line(&tool.name, tool.description.as_deref()));
        }
        let missing = self.missing(config);
        for (standing, wish) in &missing {
            let _ = writeln!(text, "  ! it asks for {wish}: {}", standing.name());
        }
        for pattern in &section.unknown {
            let _ = writeln!(text, "  ! no server fits `{pattern}`");
        }
        if !missing.is_empty() && !was_granted {
            let file = self.place.config_file.display();
            let _ = writeln!(text, "to grant it, add this to {file} (or add with --grant):\n");
            let _ = writeln!(text, "{}", section.text(self.name).trim());
        }
        if let Ok(profile) = config.profile(None) {
            let granted = |tool: &ToolFacts| {
                profile.policy.grants(&ToolName::new(self.name.clone(), tool.name.as_str()))
            };
            if !self.tools.iter().any(granted) {
                let (name, profile) = (self.name, &profile.name);
                let _ = writeln!(
                    text,
                    "  ! the profile `{profile}` grants none of its tools: add \"{name}.*\" to them"
                );
            }
        }
        text
    }
}
