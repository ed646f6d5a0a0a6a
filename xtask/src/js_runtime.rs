//! `cargo xtask js-runtime`: builds the guest that runs JavaScript, which lies built in the tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::fixtures::Fnv;
use crate::process::{self, step};
use crate::wasm_toolchain::WasmToolchain;
use crate::workspace::Workspace;

/// What the guest is compiled for: no WASI, no operating system.
const TARGET: &str = "wasm32-unknown-unknown";

/// What the built guest is made of, from the root. A test reads the same list.
const SOURCES: [&str; 7] = [
    "guest-sdk/wit",
    "plugins/js-runtime/Cargo.lock",
    "plugins/js-runtime/Cargo.toml",
    "plugins/js-runtime/build.rs",
    "plugins/js-runtime/prepare",
    "plugins/js-runtime/src",
    "plugins/js-runtime/wit",
];

/// Builds it into `plugins/js-runtime/js-runtime.wasm`, with the hash of its sources beside it.
///
/// # Errors
/// It does not compile.
pub(crate) fn build(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<PathBuf> {
    let folder = workspace.root.join("plugins/js-runtime");
    let targets = workspace.target.join("js-runtime");
    let wasm = folder.join("js-runtime.wasm");
    step("building the JavaScript runtime (some minutes)", || {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
        let registry = home.unwrap_or_default().join("registry/src");
        let mut cargo = workspace.cargo();
        toolchain
            .apply(&mut cargo)
            .current_dir(&folder)
            // Where things lie on this machine is no part of what is built.
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                format!(
                    "--remap-path-prefix={}=js-runtime\u{1f}--remap-path-prefix={}=registry\
                     \u{1f}--remap-path-prefix={}=toolchain",
                    folder.display(),
                    registry.display(),
                    workspace.target.display()
                ),
            )
            .args(["build", "--locked", "--release", "--target", TARGET, "--target-dir"])
            .arg(&targets);
        process::run(&mut cargo)?;
        let built = targets.join(TARGET).join("release/toolcell_js_runtime.wasm");
        fs::copy(&built, &wasm).with_context(|| format!("failed to copy {}", built.display()))?;
        fs::write(folder.join("js-runtime.sources"), format!("{}\n", sources(&workspace.root)?))?;
        Ok(())
    })?;
    Ok(wasm)
}

/// The hash of all sources: their names from the root, with `/`, and what is in them.
fn sources(root: &Path) -> Result<String> {
    let mut hash = Fnv::new();
    for source in SOURCES {
        read(root, &root.join(source), &mut hash)?;
    }
    Ok(hash.to_string())
}

fn read(root: &Path, path: &Path, hash: &mut Fnv) -> Result<()> {
    if path.is_dir() {
        let entries = fs::read_dir(path)?;
        let mut inside: Vec<PathBuf> =
            entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        inside.sort();
        return inside.iter().try_for_each(|path| read(root, path, hash));
    }
    let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
    hash.write(name.as_bytes());
    let bytes = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
    hash.write(&bytes);
    Ok(())
}
