//! `cargo xtask docs`: the pages that are made from the code.

use anyhow::{Context, Result, ensure};

use crate::process::{self, step};
use crate::workspace::Workspace;

/// Writes `docs/config.md` and `docs/config.schema.json`; a test fails when they are stale.
pub(crate) fn docs(workspace: &Workspace) -> Result<()> {
    step("building toolcell", || {
        process::run(workspace.cargo().args([
            "build",
            "--locked",
            "--workspace",
            "--bins",
            "--tests",
        ]))
    })?;
    for (command, file) in [("reference", "config.md"), ("schema", "config.schema.json")] {
        let printed = workspace.toolcell("debug").args(["config", command]).output();
        let printed = printed.context("toolcell cannot be started")?;
        ensure!(
            printed.status.success(),
            "`toolcell config {command}` ended with {}",
            printed.status
        );
        let path = workspace.root.join("docs").join(file);
        std::fs::write(&path, printed.stdout)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        eprintln!("==> {}", path.display());
    }
    Ok(())
}
