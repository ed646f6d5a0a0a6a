//! Builds the Python runtime: CPython 3.14 with our Python sources, snapshotted after its imports,
//! as one component. componentize-py does it; it is installed into the cache folder, pinned.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use super::{PYTHON_REQUIREMENTS, PYTHON_RUNTIME, Progress, SourceFile, WIT, hash_files};
use crate::sandbox::cache::Cache;
use crate::sandbox::error::SandboxError;

/// Changes whenever the commands below do.
const RECIPE: &[u8] = b"2";

/// How much of a failed command's output an error shows.
const SHOWN_BYTES: usize = 2_000;

pub(super) fn hash_sources(hasher: &mut blake3::Hasher) {
    hasher.update(RECIPE);
    hasher.update(PYTHON_REQUIREMENTS.as_bytes());
    hash_files(hasher, PYTHON_RUNTIME);
}

/// Builds the component. The caller holds the cache's lock.
pub(super) fn build(cache: &Cache, progress: Progress<'_>) -> Result<Vec<u8>, SandboxError> {
    let tools = install_toolchain(cache, progress)?;
    progress(
        "building the python runtime: CPython 3.14 and its standard library (once, about 15 s)",
    );
    let work = tempfile::Builder::new()
        .prefix("build-")
        .tempdir_in(cache.folder())
        .map_err(|source| cache_error("make a folder in", cache.folder(), source))?;
    let (sources, wit) = (work.path().join("src"), work.path().join("wit"));
    write_files(&sources, PYTHON_RUNTIME)?;
    write_files(&wit, WIT)?;
    let wasm = work.path().join("runtime.wasm");
    run(Command::new(tools.join("bin/componentize-py"))
        .arg("--wit-path")
        .arg(&wit)
        .args(["--world", "script-runtime", "componentize", "app", "--python-path"])
        .arg(&sources)
        .arg("--output")
        .arg(&wasm)
        // The runtime takes its packages, such as the time zone data, from this environment and from
        // no other that may be active.
        .env("VIRTUAL_ENV", &tools)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("PYTHONPATH")
        .env_remove("PYTHONHOME")
        .current_dir(work.path()))?;
    fs::read(&wasm).map_err(|source| cache_error("read", &wasm, source))
}

/// A virtual environment with the pinned requirements. It counts as complete when its stamp says so.
fn install_toolchain(cache: &Cache, progress: Progress<'_>) -> Result<PathBuf, SandboxError> {
    let hash = blake3::hash(PYTHON_REQUIREMENTS.as_bytes()).to_hex();
    let folder = cache.path(format!("toolchain-python-{}", &hash[..16]));
    let done = folder.join("complete");
    if done.exists() {
        return Ok(folder);
    }
    progress("installing componentize-py into the cache folder (once)");
    match fs::remove_dir_all(&folder) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(cache_error("remove the unfinished", &folder, source));
        }
        _ => {}
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, PYTHON_REQUIREMENTS)
        .map_err(|source| cache_error("write", &requirements, source))?;
    run(Command::new(folder.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(["--requirement", "requirements.txt"])
        .current_dir(&folder))?;
    fs::write(&done, "").map_err(|source| cache_error("write", &done, source))?;
    Ok(folder)
}

fn write_files(folder: &Path, files: &[SourceFile]) -> Result<(), SandboxError> {
    for file in files {
        let path = folder.join(file.path);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(&path, file.bytes)
        };
        write().map_err(|source| cache_error("write", &path, source))?;
    }
    Ok(())
}

/// Runs a build step quietly and shows what it printed only if it fails.
fn run(command: &mut Command) -> Result<(), SandboxError> {
    let step = {
        let program = command.get_program().to_string_lossy().into_owned();
        let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
        std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
    };
    let failed =
        |step: String, detail: String| SandboxError::Build { runtime: "python", step, detail };
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => ": install Python 3.10 or newer with venv and pip",
            _ => "",
        };
        failed(step.clone(), format!(": {error}{hint}"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&printed[printed.len().saturating_sub(SHOWN_BYTES)..]);
    Err(failed(step, format!(" ({}):\n{}", output.status, shown.trim())))
}

fn cache_error(action: &'static str, path: &Path, source: io::Error) -> SandboxError {
    SandboxError::Cache { action, path: path.to_owned(), source }
}
