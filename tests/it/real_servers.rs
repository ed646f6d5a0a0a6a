//! Servers as they are in the world: connected, listed, called, killed or restarted, called again,
//! closed.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use toolcell::upstream::settings::TransportSettings;
use toolcell::upstream::{CallContext, Era};
use toolcell_tests::fixtures::{self, RealHttp};
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::{Marker, Server};

use crate::door::{anybody, list, server, settings, until, upstreams};
use crate::hosts::block_on;

/// What is asked of a server, and what its answer has.
struct Story<'a> {
    name: &'a str,
    era: Era,
    tool: &'a str,
    arguments: Value,
    part: &'a str,
}

impl Story<'_> {
    /// Tells it; `hurt` kills or restarts the server in the middle.
    async fn tell(&self, transport: TransportSettings, hurt: impl AsyncFnOnce()) {
        let upstreams = upstreams(settings(transport));
        let Self { name, era, tool, .. } = self;
        let report = upstreams.check(&server()).await;
        assert_eq!(report.era, Some(*era), "{name}: {report:?}");
        let access = anybody(&upstreams);
        let catalog = list(&access).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(catalog.tool(tool).is_some(), "{name} has no {tool}");
        self.call(&access).await;
        hurt().await;
        // A call in this very moment might be one that the old server has taken; a question is not.
        let probe =
            upstreams.probe(&server(), PATIENCE).await.expect("it takes nothing of its callers");
        probe.unwrap_or_else(|error| panic!("{name}: {error}"));
        self.call(&access).await;
        upstreams.close().await;
    }

    async fn call(&self, access: &toolcell::upstream::Access) {
        let Self { name, tool, part, .. } = self;
        let tool = toolcell::ids::ToolName::new(server(), *tool);
        let arguments = serde_json::value::to_raw_value(&self.arguments).expect("JSON is JSON");
        let answer = access.call(&tool, &arguments, PATIENCE, CallContext::default()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        let text = format!("{:?}", answer.content);
        assert!(!answer.is_error && text.contains(part), "{name}: {answer:?}");
    }

    fn on_pipes(&self, server: Server) {
        let marker = Marker::new();
        let transport = server.marked(&marker).transport();
        let killed = async || {
            marker.kill();
            until("it is dead", || marker.processes().is_empty()).await;
        };
        block_on(self.tell(transport, killed));
        marker.assert_nothing_survives();
    }

    fn over_http(&self, mut server: RealHttp) {
        let transport = server.server().transport();
        block_on(self.tell(transport, async || server.restart()));
    }
}

#[test]
fn servers_from_npm_are_called_killed_and_called_again() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    fs::write(folder.path().join("a.txt"), "one line").expect("a temporary file can be written");
    let echo = |name| Story {
        name,
        era: Era::Legacy,
        tool: "echo",
        arguments: json!({"message": "hi"}),
        part: "Echo: hi",
    };
    echo("everything on stdio").on_pipes(fixtures::everything_stdio());
    echo("everything on streamable HTTP").over_http(fixtures::everything_http());
    Story {
        name: "filesystem",
        era: Era::Legacy,
        tool: "read_text_file",
        arguments: json!({"path": folder.path().join("a.txt")}),
        part: "one line",
    }
    .on_pipes(fixtures::filesystem(&[folder.path()]));
    Story {
        name: "memory",
        era: Era::Legacy,
        tool: "create_entities",
        arguments: json!({"entities": [{"name": "ada", "entityType": "person", "observations": []}]}),
        part: "",
    }
    .on_pipes(fixtures::memory(&folder.path().join("graph.json")));
}

#[test]
fn servers_from_pypi_are_called_killed_and_called_again() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let init = Command::new("git").args(["init", "-q"]).current_dir(folder.path()).status();
    assert!(init.expect("git starts").success());
    Story {
        name: "time",
        era: Era::Modern,
        tool: "get_current_time",
        arguments: json!({"timezone": "UTC"}),
        part: "UTC",
    }
    .on_pipes(fixtures::time());
    Story {
        name: "git",
        era: Era::Modern,
        tool: "git_status",
        arguments: json!({"repo_path": folder.path()}),
        part: "status",
    }
    .on_pipes(fixtures::git(folder.path()));
}

#[test]
fn a_server_of_the_python_is_called_in_the_new_era_on_pipes_and_over_http() {
    let story = |name| Story {
        name,
        era: Era::Modern,
        tool: "add",
        arguments: json!({"a": 2, "b": 3}),
        part: "5",
    };
    story("the Python SDK on stdio").on_pipes(fixtures::python_stdio());
    story("the Python SDK on streamable HTTP").over_http(fixtures::python_http());
}

#[test]
fn the_transport_of_2024_is_spoken_with_servers_that_have_no_other() {
    let story =
        |name, tool, arguments, part| Story { name, era: Era::Legacy, tool, arguments, part };
    story("everything on SSE", "echo", json!({"message": "hi"}), "Echo: hi")
        .over_http(fixtures::everything_sse());
    story("the Python SDK on SSE", "add", json!({"a": 2, "b": 3}), "5")
        .over_http(fixtures::python_sse());
}
