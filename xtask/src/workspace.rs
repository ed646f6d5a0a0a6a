//! Where things are, and how cargo is called.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

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

    /// Builds toolcell's binary in a profile, `dev` or `release`, and says where it is.
    pub(crate) fn build_toolcell(&self, profile: &str) -> Result<PathBuf> {
        process::run(
            self.cargo()
                .args(["build", "--locked", "--package", "toolcell", "--bin", "toolcell"])
                .args(["--profile", profile]),
        )?;
        let folder = if profile == "dev" { "debug" } else { profile };
        Ok(self.target.join(folder).join("toolcell"))
    }

    /// A command of toolcell's own, to be run in the root.
    pub(crate) fn toolcell(&self, binary: &Path) -> Command {
        let mut toolcell = Command::new(binary);
        toolcell.current_dir(&self.root).env("TOOLCELL_CACHE_DIR", self.cache());
        toolcell
    }
}
