//! A plugin in Rust: cargo builds it, with the toolchain that the author has.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

use super::{BuildError, BuildProgress};
use crate::plugins::installed::read_component;

/// What plugins are compiled for.
const TARGET: &str = "wasm32-wasip2";

/// The longest line of cargo's that is read.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Lines of cargo's words that an error shows.
const SHOWN_LINES: usize = 60;

/// What cargo says of one thing that it built.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    manifest_path: PathBuf,
}

#[derive(Default, Deserialize)]
struct Target {
    #[serde(default)]
    crate_types: Vec<String>,
}

/// Runs `cargo build --release --target wasm32-wasip2` in the project.
pub(super) async fn build(folder: &Path, progress: &BuildProgress) -> Result<Vec<u8>, BuildError> {
    progress(&format!("cargo build --release --target {TARGET}"));
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(folder)
        .args(["build", "--release", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = cargo.spawn().map_err(|error| {
        BuildError::Source(format!(
            "cargo cannot be started ({error}): install Rust from https://rustup.rs, then run \
             `rustup target add {TARGET}`"
        ))
    })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut components = Vec::new();
    let mut said = Vec::new();
    let reading = lines(stdout, |line| components.extend(component_of(line, folder)));
    let telling = lines(stderr, |line| {
        progress(line);
        said.push(line.to_owned());
    });
    let (status, (), ()) = tokio::join!(child.wait(), reading, telling);
    let status = status.map_err(BuildError::file("run cargo in", folder))?;
    if !status.success() {
        return Err(failure(&said));
    }
    components.sort();
    components.dedup();
    match components.as_slice() {
        [component] => {
            let read = read_component(component);
            read.map_err(|error| BuildError::Source(error.to_string()))
        }
        [] => Err(BuildError::Source(format!(
            "cargo built no component in {}: Cargo.toml needs [lib] with crate-type = [\"cdylib\"]",
            folder.display()
        ))),
        several => {
            let names: Vec<String> =
                several.iter().map(|path| path.display().to_string()).collect();
            Err(BuildError::Source(format!(
                "cargo built several components, and a plugin is one: {}",
                names.join(", ")
            )))
        }
    }
}

/// The component of the project itself, if the line tells of one.
fn component_of(line: &str, folder: &Path) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(line).ok()?;
    let is_library = message.target.crate_types.iter().any(|kind| kind == "cdylib");
    // A dependency may have a library of that kind, too.
    let is_ours = match (message.manifest_path.parent()?.canonicalize(), folder.canonicalize()) {
        (Ok(built), Ok(folder)) => built.starts_with(folder),
        _ => true,
    };
    if message.reason != "compiler-artifact" || !is_library || !is_ours {
        return None;
    }
    message.filenames.into_iter().find(|file| file.extension().is_some_and(|kind| kind == "wasm"))
}

/// Why cargo failed, in words that help where its own do not.
fn failure(said: &[String]) -> BuildError {
    let has = |words: &str| said.iter().any(|line| line.contains(words));
    let no_target = has("target may not be installed")
        || (has("can't find crate for `core`") && has(TARGET))
        || has("toolchain does not support target");
    if no_target {
        return BuildError::Source(format!(
            "this Rust cannot compile for {TARGET}: run `rustup target add {TARGET}`"
        ));
    }
    let from = said.len().saturating_sub(SHOWN_LINES);
    BuildError::Source(format!("cargo failed:\n{}", said[from..].join("\n")))
}

/// Hands over each line of a pipe. What is longer than any line of cargo's ends the reading.
async fn lines(pipe: Option<impl AsyncRead + Unpin>, mut each: impl FnMut(&str)) {
    let Some(pipe) = pipe else { return };
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) if line.len() > MAX_LINE_BYTES => continue,
            Ok(_) => each(String::from_utf8_lossy(&line).trim_end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_target_is_told_with_the_way_out() {
        let said = [
            "error[E0463]: can't find crate for `core`".to_owned(),
            "  = note: the `wasm32-wasip2` target may not be installed".to_owned(),
        ];
        let words = failure(&said).to_string();
        assert!(words.ends_with("run `rustup target add wasm32-wasip2`"), "{words}");
        let words = failure(&["error: expected `;`".to_owned()]).to_string();
        assert_eq!(words, "cargo failed:\nerror: expected `;`");
    }
}
