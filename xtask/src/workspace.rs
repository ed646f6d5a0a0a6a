//! Where things are, and how cargo is called.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

/// The source tree and its build folder.
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// cargo's build folder.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the tree from what cargo tells the programs that it runs.
    pub(crate) fn locate() -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().context("xtask lies in the workspace's root")?.to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => root.join(dir),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The cargo that runs us, to be run in the root.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root).env("TOOLCELL_CACHE_DIR", self.cache());
        cargo
    }

    /// Where toolcell keeps compiled components: below the build folder, shared by demo and tests.
    pub(crate) fn cache(&self) -> PathBuf {
        self.target.join("toolcell")
    }

    /// toolcell as it was built into a folder of the build folder, to be run in the root.
    pub(crate) fn toolcell(&self, folder: &str) -> Command {
        let mut toolcell = Command::new(self.target.join(folder).join("toolcell"));
        toolcell.current_dir(&self.root).env("TOOLCELL_CACHE_DIR", self.cache());
        toolcell
    }
}
