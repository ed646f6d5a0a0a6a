//! The plugins of `tests/guests/`, as `cargo xtask test` has built them, and what builds others.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The `.wasm` of a guest. One that is built as a core module too has it as `NAME.core`.
///
/// # Panics
/// It was not built.
#[track_caller]
pub fn guest(name: &str) -> PathBuf {
    let folder = told("TOOLCELL_GUESTS", "cargo xtask guests");
    let path = folder.join(format!("{name}.wasm"));
    assert!(
        path.is_file(),
        "there is no {}: is `{name}` an example of tests/guests/Cargo.toml?",
        path.display()
    );
    path
}

/// cargo in a folder, with what compiles for wasm32 here: the variables that a machine needs whose
/// rustup has no wasm target, and none elsewhere.
#[track_caller]
pub fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(folder).env_remove("RUSTFLAGS").envs(toolchain());
    cargo
}

/// The variables with which cargo compiles for wasm32.
///
/// # Panics
/// `cargo xtask wasm-toolchain` has not run.
#[track_caller]
pub fn toolchain() -> Vec<(String, String)> {
    let path = told("TOOLCELL_WASM_ENV", "cargo xtask wasm-toolchain");
    let text = std::fs::read_to_string(&path).expect("the file that the variable names is there");
    let variables = text.lines().map(|line| {
        let (name, value) = line
            .strip_prefix("export ")
            .and_then(|line| line.split_once('='))
            .expect("each line is an export");
        let value = value.trim_matches('\'').replace(r"'\''", "'");
        (name.to_owned(), value)
    });
    variables.collect()
}

#[track_caller]
fn told(variable: &str, chore: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(
        || {
            panic!(
                "{variable} is not set: run `cargo xtask test`, or set it to what `{chore}` prints"
            )
        },
        PathBuf::from,
    )
}
