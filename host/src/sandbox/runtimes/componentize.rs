//! componentize-py: makes components of Python sources and CPython 3.14. It is installed into the
//! cache folder, pinned, and serves the Python runtime and plugins in Python alike.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use super::{
    PYTHON_PLUGIN, PYTHON_REQUIREMENTS, PYTHON_RUNTIME, PluginFailure, Progress, SourceFile, WIT,
};
use crate::sandbox::cache::Cache;
use crate::sandbox::error::SandboxError;

/// How much of a failed command's output an error shows.
const SHOWN_BYTES: usize = 2_000;

/// What the Python sources of a plugin put around the words for its author, on stderr.
const MARKS: [char; 2] = ['\u{2}', '\u{3}'];

/// The folder, beside our sources, in which the SDK looks for the author's.
const AUTHOR: &str = "author";

/// What our sources and the plugin SDK share.
const SHARED: &str = "toolcell_runtime/";

/// An installed componentize-py.
pub(crate) struct Componentize {
    tools: PathBuf,
}

/// How a command ended that did not succeed.
struct Failed {
    /// The command as it was given.
    step: String,
    /// What it printed, or why it could not be started.
    detail: String,
}

impl From<Failed> for SandboxError {
    fn from(Failed { step, detail }: Failed) -> Self {
        let from = detail.char_indices().rev().nth(SHOWN_BYTES).map_or(0, |(at, _)| at);
        Self::Build { runtime: "python", step, detail: detail[from..].to_owned() }
    }
}

impl Componentize {
    /// A virtual environment with the pinned requirements. It counts as complete when its stamp says
    /// so. The caller holds the cache's lock.
    pub(super) fn install_locked(
        cache: &Cache,
        progress: Progress<'_>,
    ) -> Result<Self, SandboxError> {
        let hash = blake3::hash(PYTHON_REQUIREMENTS.as_bytes()).to_hex();
        let folder = cache.path(format!("toolchain-python-{}", &hash[..16]));
        let done = folder.join("complete");
        if done.exists() {
            return Ok(Self { tools: folder });
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
            .args(PIP_INSTALL)
            .args(["--requirement", "requirements.txt"])
            .current_dir(&folder))?;
        fs::write(&done, "").map_err(|source| cache_error("write", &done, source))?;
        Ok(Self { tools: folder })
    }

    /// The same, for whoever does not hold the cache's lock.
    pub(crate) fn install(cache: &Cache, progress: Progress<'_>) -> Result<Self, SandboxError> {
        let _alone = cache.lock()?;
        Self::install_locked(cache, progress)
    }

    /// The Python runtime, in `work`.
    pub(super) fn runtime(&self, work: &Path) -> Result<Vec<u8>, SandboxError> {
        let sources = work.join("src");
        write_files(&sources, PYTHON_RUNTIME.iter())?;
        Ok(self.component(work, "script-runtime", "app", &[&sources])??)
    }

    /// Takes the author's packages into `into`: wheels of pure Python, for that is what runs here.
    pub(crate) fn packages(&self, requirements: &Path, into: &Path) -> Result<(), PluginFailure> {
        let folder = requirements.parent().unwrap_or(Path::new("."));
        let installed = run(Command::new(self.tools.join("bin/python"))
            .args(PIP_INSTALL)
            .args(["--python-version", "3.14", "--implementation", "py", "--abi", "none"])
            .args(["--platform", "any", "--only-binary", ":all:", "--no-compile"])
            .arg("--target")
            .arg(into)
            .arg("--requirement")
            .arg(requirements)
            .current_dir(folder));
        installed.map_err(|failed| match failed.detail.contains("No matching distribution") {
            true => PluginFailure::Author(format!(
                "a package cannot be used: there has to be a wheel of pure Python of it\n{}",
                errors_of(&failed.detail)
            )),
            false => PluginFailure::Machine(failed.into()),
        })
    }

    /// A plugin of the sources in [`Self::author_folder`] and the packages in `packages`; built in `work`.
    pub(crate) fn plugin(
        &self,
        work: &Path,
        packages: Option<&Path>,
    ) -> Result<Vec<u8>, PluginFailure> {
        let sources = work.join("src");
        let shared = PYTHON_RUNTIME.iter().filter(|file| file.path.starts_with(SHARED));
        write_files(&sources, shared.chain(PYTHON_PLUGIN))?;
        let paths: Vec<&Path> = std::iter::once(sources.as_path()).chain(packages).collect();
        match self.component(work, "plugin-guest", "guest", &paths)? {
            Ok(wasm) => Ok(wasm),
            Err(failed) => Err(match marked(&failed.detail) {
                Some(words) => PluginFailure::Author(words.to_owned()),
                None => PluginFailure::Machine(failed.into()),
            }),
        }
    }

    /// Where the author's sources have to lie in `work`.
    pub(crate) fn author_folder(work: &Path) -> PathBuf {
        work.join("src").join(AUTHOR)
    }

    fn component(
        &self,
        work: &Path,
        world: &str,
        module: &str,
        paths: &[&Path],
    ) -> Result<Result<Vec<u8>, Failed>, SandboxError> {
        let wit = work.join("wit");
        write_files(&wit, WIT.iter())?;
        let wasm = work.join("component.wasm");
        let mut command = Command::new(self.tools.join("bin/componentize-py"));
        command.arg("--wit-path").arg(&wit).args(["--world", world, "componentize", module]);
        for path in paths {
            command.arg("--python-path").arg(path);
        }
        command
            .arg("--output")
            .arg(&wasm)
            // Packages of ours, such as the time zone data, come from this environment and from no
            // other that may be active.
            .env("VIRTUAL_ENV", &self.tools)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME")
            .current_dir(work);
        if let Err(failed) = run(&mut command) {
            return Ok(Err(failed));
        }
        fs::read(&wasm).map(Ok).map_err(|source| cache_error("read", &wasm, source))
    }
}

const PIP_INSTALL: [&str; 6] =
    ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];

/// What stands between the marks.
fn marked(printed: &str) -> Option<&str> {
    let (_, rest) = printed.split_once(MARKS[0])?;
    rest.split_once(MARKS[1]).map(|(words, _)| words)
}

/// The lines of pip that say what is wrong.
fn errors_of(printed: &str) -> String {
    let errors: Vec<&str> = printed.lines().filter(|line| line.starts_with("ERROR")).collect();
    errors.join("\n")
}

fn write_files<'a>(
    folder: &Path,
    files: impl Iterator<Item = &'a SourceFile>,
) -> Result<(), SandboxError> {
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

/// Runs a build step quietly; what it printed is told only if it fails.
fn run(command: &mut Command) -> Result<(), Failed> {
    let program = command.get_program().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    let step = std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ");
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => ": install Python 3.10 or newer with venv and pip",
                _ => "",
            };
            return Err(Failed { step, detail: format!(": {error}{hint}") });
        }
    };
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&printed);
    Err(Failed { step, detail: format!(" ({}):\n{}", output.status, shown.trim()) })
}

fn cache_error(action: &'static str, path: &Path, source: io::Error) -> SandboxError {
    SandboxError::Cache { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authors_words_are_found_among_the_tools_own() {
        let printed = "Traceback\n\u{2}plugin.py, line 1\n  x\u{3}\n\nCaused by:";
        assert_eq!(marked(printed), Some("plugin.py, line 1\n  x"));
        assert_eq!(marked("Caused by:"), None);
    }

    #[test]
    fn the_end_of_what_a_step_printed_is_shown() {
        let detail = "é".repeat(3 * SHOWN_BYTES) + "the end";
        let SandboxError::Build { detail, .. } = (Failed { step: "x".to_owned(), detail }).into()
        else {
            panic!("it is another error")
        };
        assert!(detail.ends_with("the end") && detail.chars().count() == SHOWN_BYTES + 1);
    }
}
