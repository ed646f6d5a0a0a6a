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

    /// The cargo that runs us, to be run in the root. It does not inherit what cargo told us about
    /// the package `xtask`: build scripts of some dependencies read these variables, and would run
    /// again, with all that depends on them, whenever cargo is started by hand and by us in turn.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in std::env::vars_os() {
            let about_us = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
            if name.to_str().is_some_and(|name| about_us.iter().any(|part| name.starts_with(part)))
            {
                cargo.env_remove(&name);
            }
        }
        cargo.current_dir(&self.root).env("TOOLCELL_CACHE_DIR", self.cache());
        cargo
    }

    /// Builds the binaries and the tests: the same selection of packages and targets as in
    /// `cargo test`, so that no dependency is compiled twice with different features.
    pub(crate) fn build_tests(&self) -> Command {
        let mut cargo = self.cargo();
        cargo.args(["build", "--locked", "--workspace", "--bins", "--tests"]);
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
