//! The agent frameworks that are toolcell's clients in tests: each folder of `tests/clients/` that has
//! pins is installed into a folder of its own below `target/fixtures/clients/`, so that a framework
//! that moves on does not touch the others.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result};

use crate::fixtures::{self, Fnv};
use crate::process::step;
use crate::workspace::Workspace;

/// How many are installed at a time: most of it is waiting for a registry.
const AT_ONCE: usize = 3;

/// One framework: its pins and where it is installed.
struct Framework {
    pins: PathBuf,
    to: PathBuf,
    /// Of the pins. The file `installed` has that of the ones that were installed.
    hash: String,
}

/// Installs what is not installed as it is pinned now.
///
/// # Errors
/// As [`fixtures::install`].
pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    let to = workspace.target.join("fixtures/clients");
    fs::create_dir_all(&to).with_context(|| format!("failed to create {}", to.display()))?;
    let lock = File::create(to.join("lock"))?;
    lock.lock().context("failed to lock the clients' folder")?;
    let mut missing = Vec::new();
    for folder in fs::read_dir(workspace.root.join("tests/clients"))? {
        let framework = Framework::of(&folder?.path(), &to)?;
        missing.extend(framework.filter(|framework| !framework.is_installed()));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let title = format!("installing {} agent frameworks from PyPI and npm", missing.len());
    step(&title, || all(missing))
}

fn all(frameworks: Vec<Framework>) -> Result<()> {
    let queue = Mutex::new(frameworks);
    let next = || queue.lock().ok()?.pop();
    let work = || {
        while let Some(framework) = next() {
            framework.install()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

impl Framework {
    /// The framework that is pinned in this folder, if one is.
    fn of(pins: &Path, root: &Path) -> Result<Option<Self>> {
        let mut hash = Fnv::new();
        let mut pinned = false;
        for name in ["requirements.txt", "package.json", "package-lock.json"] {
            let path = pins.join(name);
            if path.is_file() {
                let text = fs::read(&path);
                hash.write(&text.with_context(|| format!("failed to read {}", path.display()))?);
                pinned = true;
            }
        }
        let name = pins.file_name().context("a folder has a name")?;
        let to = root.join(name);
        Ok(pinned.then(|| Self { pins: pins.to_owned(), to, hash: hash.to_string() }))
    }

    fn is_installed(&self) -> bool {
        fs::read_to_string(self.to.join("installed")).is_ok_and(|hash| hash == self.hash)
    }

    fn install(&self) -> Result<()> {
        let to = &self.to;
        if to.exists() {
            fs::remove_dir_all(to).with_context(|| format!("failed to clear {}", to.display()))?;
        }
        fs::create_dir_all(to)?;
        let requirements = self.pins.join("requirements.txt");
        if requirements.is_file() {
            // Little of it is ever imported, and that is compiled when it is. The pins are complete, but
            // for what a package asks for and the tests have no use for.
            fixtures::venv(&requirements, to, &["--no-compile", "--no-deps"])?;
        } else {
            fixtures::npm_ci(&self.pins, to)?;
        }
        fs::write(to.join("installed"), &self.hash)?;
        Ok(())
    }
}
