//! The plugins of `plugins/`, built by `toolcell plugin build` as their authors build them: once for
//! as long as their sources stay what they are, whoever asks first.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::{profile_folder, toolcell};
use crate::guests;

/// What is built into plugins, besides their own sources: in Rust, and in the other languages.
const SDK: [&str; 1] = ["guest-sdk"];
const RUNTIMES: [&str; 4] =
    ["guest-sdk/wit", "plugins/python-plugin", "plugins/python-runtime", "plugins/js-runtime"];

/// Folders that are no sources.
const BUILT: [&str; 5] = ["target", "dist", "__pycache__", "node_modules", "tests"];

/// The folder of a built example, with `NAME.wasm` and `NAME.toml`.
///
/// # Panics
/// It does not build.
#[track_caller]
pub fn example(name: &str) -> PathBuf {
    let root = root();
    let mut hash = DefaultHasher::new();
    let is_rust = root.join("plugins").join(name).join("Cargo.toml").is_file();
    let ingredients = if is_rust { &SDK[..] } else { &RUNTIMES[..] };
    for ingredient in ingredients.iter().copied().chain([format!("plugins/{name}").as_str()]) {
        for file in files(&root.join(ingredient)) {
            hash.write(file.to_string_lossy().as_bytes());
            hash.write(&fs::read(&file).expect("a file of the tree can be read"));
        }
    }
    let target = profile_folder();
    let examples = target.parent().expect("a profile has a folder").join("guests/examples");
    fs::create_dir_all(&examples).expect("a folder can be made");
    let lock = File::create(examples.join(format!("{name}.lock"))).expect("a file can be made");
    lock.lock().expect("a file can be locked");
    let built = examples.join(format!("{name}-{:016x}", hash.finish()));
    if !built.is_dir() {
        build(name, &examples, &built);
    }
    built
}

/// Installs an example beside the configuration of this folder, as `toolcell plugin add` does.
///
/// # Panics
/// It does not build.
#[track_caller]
pub fn install(name: &str, folder: &Path) {
    let plugins = folder.join("plugins");
    fs::create_dir_all(&plugins).expect("a folder can be made");
    for file in [format!("{name}.wasm"), format!("{name}.toml")] {
        fs::copy(example(name).join(&file), plugins.join(&file)).expect("it is built");
    }
}

/// Builds in a copy, so that the tree stays as it is.
#[track_caller]
fn build(name: &str, examples: &Path, built: &Path) {
    let work = tempfile::tempdir_in(examples).expect("a temporary folder");
    let project = work.path().join("plugins").join(name);
    copy(&root().join("plugins").join(name), &project);
    let mut build = Command::new(toolcell());
    build.args(["plugin", "build"]).current_dir(&project);
    if project.join("Cargo.toml").is_file() {
        copy(&root().join("guest-sdk"), &work.path().join("guest-sdk"));
        build.env_remove("RUSTFLAGS").env("CARGO_TARGET_DIR", examples.join("target"));
        build.envs(guests::toolchain());
    }
    let output = build.output().expect("toolcell starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`toolcell plugin build` in plugins/{name}:\n{words}");
    fs::rename(project.join("dist"), built).expect("what was built can be moved");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root")
}

/// All sources below a folder, sorted; none if it is not there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in entries.map(|entry| entry.expect("an entry of the tree can be read")) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if !BUILT.iter().any(|built| name == *built) {
                found.extend(files(&path));
            }
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[track_caller]
fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let path = to.join(file.strip_prefix(from).expect("it lies below"));
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::copy(&file, &path).expect("a file of the tree can be copied");
    }
}
