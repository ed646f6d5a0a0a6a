//! The host as the suite's server scenarios meet it: `toolcell serve` with an ordinary MCP server on
//! stdio behind it, as `tests/conformance/toolcell.toml` says.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::process::Guarded;
use crate::workspace::Workspace;

/// How long the host may take until it listens. It waits for no server, so this is for the machine.
const START: Duration = Duration::from_secs(30);

/// A host that serves, as long as this value lives.
pub(super) struct Gateway {
    /// Where it is.
    pub(super) url: String,
    _host: Guarded,
}

impl Gateway {
    /// Starts a host of its own, on a port that is free.
    pub(super) fn start(workspace: &Workspace) -> Result<Self> {
        let mut host = workspace.toolcell("debug");
        host.args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(workspace.root.join("tests/conformance/toolcell.toml"))
            .env("CONFORMANCE_SERVER", workspace.target.join("debug/conformance-server"));
        let (host, url) = Guarded::start(&host, "listening on ", START)?;
        Ok(Self { url, _host: host })
    }
}

/// The list of failures that are expected, which is empty: with it, warnings count as failures too.
pub(super) fn expected_failures(workspace: &Workspace) -> PathBuf {
    workspace.root.join("tests/conformance/expected-failures.yml")
}
