//! The guests that tests load: `tests/guests/`, built into `target/guests/NAME.wasm`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::fixtures::Fnv;
use crate::process::{self, step};
use crate::wasm_toolchain::{TARGETS, WasmToolchain};
use crate::workspace::Workspace;

/// The guest that is built as a core module too, as `NAME.core.wasm`: with our WIT in a custom section.
const AS_CORE_MODULE: &str = "echoes";

/// Builds what has changed. Returns the folder with the `.wasm` files.
///
/// # Errors
/// A guest does not compile, or the SDK.
pub(crate) fn build(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<PathBuf> {
    let sources = workspace.root.join("tests/guests");
    let folder = workspace.target.join("guests");
    fs::create_dir_all(&folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock().context("failed to lock the guests' folder")?;
    let mut hash = Fnv::new();
    hash.write(toolchain.shell().as_bytes());
    for target in TARGETS.into_iter().filter(|target| toolchain.has(target)) {
        hash.write(target.as_bytes());
    }
    for folder in [&sources, &workspace.root.join("guest-sdk")] {
        read(folder, &mut hash)?;
    }
    let (hash, stamp) = (hash.to_string(), folder.join("built"));
    if fs::read_to_string(&stamp).is_ok_and(|built| built == hash) {
        return Ok(folder);
    }
    step("building the guests of the tests (the first time takes two minutes)", || {
        let _ = fs::remove_file(&stamp);
        let [components, core_modules, _] = TARGETS;
        let targets = folder.join("build");
        cargo(workspace, toolchain, &sources, &targets, components, &["--examples"])?;
        let built = targets.join(components).join("release/examples");
        for guest in fs::read_dir(&built)? {
            let guest = guest?.path();
            let name = guest.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // Cargo keeps what has a hash in its name for itself.
            if name.ends_with(".wasm") && !name.contains('-') {
                fs::copy(&guest, folder.join(name))?;
            }
        }
        if toolchain.has(core_modules) {
            let only = ["--example", AS_CORE_MODULE];
            cargo(workspace, toolchain, &sources, &targets, core_modules, &only)?;
            let built = targets.join(core_modules).join("release/examples");
            fs::copy(
                built.join(format!("{AS_CORE_MODULE}.wasm")),
                folder.join(format!("{AS_CORE_MODULE}.core.wasm")),
            )?;
        }
        fs::write(&stamp, &hash)?;
        Ok(())
    })?;
    Ok(folder)
}

fn cargo(
    workspace: &Workspace,
    toolchain: &WasmToolchain,
    sources: &Path,
    targets: &Path,
    target: &str,
    which: &[&str],
) -> Result<()> {
    let mut cargo = workspace.cargo();
    toolchain
        .apply(&mut cargo)
        .current_dir(sources)
        .args(["build", "--locked", "--release", "--target", target, "--target-dir"])
        .arg(targets)
        .args(which);
    process::run(&mut cargo)
}

/// Adds every file below a folder, in the order of their names.
fn read(folder: &Path, hash: &mut Fnv) -> Result<()> {
    let entries = fs::read_dir(folder);
    let entries = entries.with_context(|| format!("failed to read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if !path.ends_with("target") {
                read(&path, hash)?;
            }
        } else {
            hash.write(path.to_string_lossy().as_bytes());
            hash.write(&fs::read(&path)?);
        }
    }
    Ok(())
}
