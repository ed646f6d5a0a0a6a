//! `toolcell plugin new` and `build`.

use std::sync::Arc;

use serde_json::json;
use toolcell::config::units::round_size;
use toolcell::ids::UpstreamName;
use toolcell::plugins::build::Project;
use toolcell::plugins::installed::write_whole;
use toolcell::plugins::manifest::Manifest;
use toolcell::plugins::templates::write_project;
use toolcell::sandbox::Cache;

use super::args::{BuildArgs, NewArgs};
use super::{asked, check_tools, facts, load, sandbox, tool_line};
use crate::cli::args::Cli;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::setup;

pub(super) fn new(args: &NewArgs) -> Result<Exit, Failure> {
    let name = UpstreamName::try_new(&args.name).map_err(|_| {
        Failure::usage(format!(
            "{:?} is no plugin's name: use 1 to 64 of A-Z a-z 0-9 _ -",
            args.name.chars().take(80).collect::<String>()
        ))
    })?;
    let folder = args.dir.clone().unwrap_or_else(|| name.as_str().into());
    let files = write_project(&folder, &name, args.lang)?;
    let shown = folder.display();
    println!("{shown}: a plugin in {}", args.lang.name());
    for file in files {
        println!("  {}", file.display());
    }
    println!("next:\n  toolcell plugin build {shown}\n  toolcell plugin test {shown}");
    println!("  toolcell plugin add {shown} --grant");
    Ok(Exit::Done)
}

pub(super) async fn build(cli: &Cli, args: &BuildArgs) -> Result<Exit, Failure> {
    let project = Project::open(&args.dir)?;
    let cache = Cache::open(&setup::cache_folder(cli)?)?;
    let component = project.build(&cache, Arc::new(setup::progress)).await?;
    let (to, manifest_file) = (project.component(), project.completed_manifest());
    let loaded = load(&sandbox(cli)?, "the component", &component).await?;
    let tools = facts(&loaded);
    check_tools(&project.manifest, &tools)?;
    let manifest = Manifest {
        tools: tools.iter().map(|tool| tool.name.clone()).collect(),
        build: None,
        ..project.manifest.clone()
    };
    let dist = to.parent().unwrap_or(&project.folder);
    std::fs::create_dir_all(dist)?;
    write_whole(&manifest_file, manifest.to_toml().as_bytes())?;
    write_whole(&to, &component)?;
    if args.json {
        let built = json!({
            "component": to,
            "manifest": manifest_file,
            "name": manifest.name,
            "version": manifest.version,
            "size_bytes": component.len(),
            "sha256": loaded.inspection().sha256,
            "tools": manifest.tools,
        });
        println!("{built:#}");
        return Ok(Exit::Done);
    }
    let size = round_size(component.len() as u64);
    println!("{} ({} {}, {size})", to.display(), manifest.name, manifest.version);
    for tool in &tools {
        println!("{}", tool_line(&tool.name, tool.description.as_deref()));
    }
    for line in asked(&manifest.asks) {
        println!("  asks for {line}");
    }
    Ok(Exit::Done)
}
