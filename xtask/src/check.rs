//! `cargo xtask check`: what must hold before a test is worth running.

use anyhow::Result;

use crate::process::{self, step};
use crate::workspace::Workspace;

/// Formatting, lints, documentation, and, where `cargo deny` is installed, the dependencies.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    step("formatting", || process::run(workspace.cargo().args(["fmt", "--all", "--check"])))?;
    step("lints", || {
        process::run(
            workspace
                .cargo()
                .args(["clippy", "--locked", "--workspace", "--all-targets"])
                .args(["--", "--deny", "warnings"]),
        )
    })?;
    step("documentation", || {
        process::run(
            workspace
                .cargo()
                .args(["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"])
                .env("RUSTDOCFLAGS", "--deny warnings"),
        )
    })?;
    if process::output("cargo-deny", &["--version"]).is_none() {
        eprintln!(
            "==> skipped: licences and advisories of dependencies (`cargo install cargo-deny`)"
        );
        return Ok(());
    }
    step("licences and advisories of dependencies", || {
        process::run(workspace.cargo().args(["deny", "--locked", "check"]))
    })
}
