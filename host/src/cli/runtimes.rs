//! `toolcell runtimes`

use serde_json::json;
use toolcell::language::Language;
use toolcell::sandbox::{Cache, CachedRuntime, Sandbox};

use super::args::{Cli, RuntimesAction, RuntimesArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::setup;

pub(super) async fn runtimes(cli: &Cli, args: &RuntimesArgs) -> Result<Exit, Failure> {
    let sandbox = Sandbox::new(Cache::open(&setup::cache_folder(cli)?)?, 0, setup::MAX_GUESTS)?;
    match args.action.unwrap_or(RuntimesAction::List) {
        RuntimesAction::List => print(&sandbox.cached_runtimes(false), args.json),
        RuntimesAction::Build => {
            let progress = std::sync::Arc::new(setup::progress);
            setup::until_cancelled(async {
                for language in Language::ALL {
                    sandbox.prepare(language, progress.clone()).await?;
                }
                Ok(())
            })
            .await?;
            print(&sandbox.cached_runtimes(false), args.json);
        }
        RuntimesAction::Verify => {
            let found = sandbox.cached_runtimes(true);
            print(&found, args.json);
            if found.iter().any(|runtime| runtime.sound == Some(false)) {
                eprintln!("toolcell: what is corrupt is not used, and is rebuilt at its next use");
                return Ok(Exit::Failed);
            }
        }
        RuntimesAction::Remove { all } => {
            let removed = sandbox.remove_runtimes(all)?;
            print(&removed, args.json);
        }
    }
    Ok(Exit::Done)
}

fn print(runtimes: &[CachedRuntime], as_json: bool) {
    if as_json {
        println!("{}", json!({ "runtimes": runtimes }));
        return;
    }
    if runtimes.is_empty() {
        println!("none");
    }
    for runtime in runtimes {
        let condition = match (runtime.sound, runtime.current) {
            (Some(false), _) => "corrupt",
            (_, true) => "current",
            (_, false) => "stale",
        };
        println!(
            "{:28} {condition:8} {:>7.1} MiB  {}",
            runtime.id,
            runtime.size_bytes as f64 / f64::from(1 << 20),
            runtime.folder.display()
        );
    }
}
