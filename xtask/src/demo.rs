//! `cargo xtask demo`: from a fresh clone to a script that calls real MCP servers.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::fixtures;
use crate::process::{self, Guarded, step};
use crate::workspace::Workspace;

/// Builds toolcell, installs the demo's servers, and runs `examples/demo/briefing.py`.
pub(crate) fn demo(workspace: &Workspace) -> Result<()> {
    process::output("cc", &["--version"])
        .context("a C compiler is needed (Debian, Ubuntu: `apt install gcc libc6-dev`)")?;
    let fixtures = fixtures::install(workspace)?;
    step("building toolcell (the first time takes some minutes)", || {
        let package = ["--package", "toolcell", "--bin", "toolcell"];
        process::run(workspace.cargo().args(["build", "--locked", "--release"]).args(package))
    })?;
    step("building the Python runtime (once)", || {
        process::run(workspace.toolcell("release").args(["runtimes", "build"]))
    })?;

    let (everything, address) = step("starting server-everything on streamable HTTP", || {
        let mut server = Command::new("node");
        server
            .arg("--import")
            .arg(workspace.root.join("tests/fixtures/npm/loopback.mjs"))
            .arg(fixtures.npm("server-everything", "dist/index.js"))
            .arg("streamableHttp")
            .env("PORT", "0");
        Guarded::start(&server, "listening at ", Duration::from_secs(30))
    })?;

    eprintln!("==> toolcell run --config examples/demo/toolcell.toml examples/demo/briefing.py");
    process::run(
        workspace
            .toolcell("release")
            .args(["run", "--config", "examples/demo/toolcell.toml", "examples/demo/briefing.py"])
            .env("TOOLCELL_DEMO_REPOSITORY", &workspace.root)
            .env("TOOLCELL_DEMO_EVERYTHING_URL", format!("http://{address}/mcp"))
            .env("TOOLCELL_DEMO_GIT", fixtures.python("mcp-server-git"))
            .env("TOOLCELL_DEMO_TIME", fixtures.python("mcp-server-time")),
    )?;
    drop(everything);
    Ok(())
}
