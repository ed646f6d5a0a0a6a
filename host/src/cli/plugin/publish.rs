//! `toolcell plugin push` and `keygen`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use toolcell::plugins::registry::{About, Package, PluginReference};
use toolcell::plugins::signature::SigningKey;
use toolcell::plugins::signed::read_text;

use super::args::{KeygenArgs, PushArgs};
use super::source::{Candidate, registry};
use super::{check_tools, facts, load, sandbox};
use crate::cli::args::Cli;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::setup;

pub(super) async fn push(cli: &Cli, args: &PushArgs) -> Result<Exit, Failure> {
    let reference: PluginReference = args.reference.parse()?;
    let key = args.key.as_deref().map(signing_key).transpose()?;
    let candidate = Candidate::local(&args.plugin)?;
    // Nobody should find out only after pulling it.
    let what = args.plugin.display().to_string();
    let tools = facts(&load(&sandbox(cli)?, &what, &candidate.component).await?);
    let mut about = About::default();
    if let Some(manifest) = &candidate.manifest {
        check_tools(manifest, &tools)?;
        about.title = Some(manifest.name.to_string());
        about.version = Some(manifest.version.to_string());
        about.description.clone_from(&manifest.description);
    }
    let manifest = candidate.manifest.as_ref().map(|manifest| manifest.to_toml());
    let package = Package { wasm: &candidate.component, manifest: manifest.as_deref(), about };
    let registry = registry(&reference, &args.registry).await?;
    setup::progress(&format!("pushing {reference}"));
    let pushed = registry.push(&reference, &package).await?;
    if let Some(key) = &key {
        registry.sign(&reference, &pushed.digest, key).await?;
    }
    let pinned = reference.pinned(&pushed.digest);
    let signed_by = key.map(|key| key.public().sha256().to_owned());
    if args.json {
        let shown = json!({
            "reference": pinned.to_string(),
            "digest": pushed.digest,
            "signed_by": signed_by,
        });
        println!("{shown:#}");
    } else {
        println!("{pinned}");
        if let Some(key) = signed_by {
            println!("  signed by the key {key}");
        }
    }
    Ok(Exit::Done)
}

fn signing_key(file: &Path) -> Result<SigningKey, Failure> {
    let text = read_text(file).map_err(|error| {
        Failure::usage(format!("the key {} cannot be read: {error}", file.display()))
    })?;
    let key = SigningKey::from_pem(&text);
    key.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

pub(super) fn keygen(args: &KeygenArgs) -> Result<Exit, Failure> {
    let file = |ending: &str| {
        let mut name = args.prefix.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let (private, public) = (file(".key"), file(".pub"));
    let (key, pem) = SigningKey::generate()?;
    write_new(&private, &pem, true)?;
    write_new(&public, &key.public().to_pem(), false)?;
    println!(
        "{}: keep it to yourself; `toolcell plugin push --key` signs with it",
        private.display()
    );
    println!("{}: give it away; operators write it as signed_by", public.display());
    Ok(Exit::Done)
}

/// Writes a file that does not exist yet.
fn write_new(path: &Path, text: &str, private: bool) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(if private { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = private;
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written
        .map_err(|error| Failure::usage(format!("{} cannot be written: {error}", path.display())))
}
