//! Plugins in TypeScript: an author's way from nothing to a tool, and what he is told when he errs.

use std::fs;
use std::path::Path;

use serde_json::json;
use toolcell_tests::{Cli, Marker};

use crate::plugins_python::{fault, plugin, search_servers};

#[test]
fn an_authors_way_in_typescript_takes_four_commands() {
    let home = tempfile::tempdir().expect("a folder");
    let project = home.path().join("finder");
    let project = project.to_str().expect("UTF-8");
    let marker = Marker::new();
    let config = home.path().join("toolcell.toml");
    fs::write(&config, search_servers(&marker)).expect("writes");
    let config = config.to_str().expect("UTF-8");

    plugin(&["new", "finder", "--lang", "javascript", "--dir", project]).run().success();
    plugin(&["build", project]).run().success();
    let manifest = fs::read_to_string(Path::new(project).join("dist/finder.toml")).expect("reads");
    assert!(manifest.contains("tools = [\"askAll\"]"), "{manifest}");
    plugin(&["test", project]).run().success();
    plugin(&["add", project, "--grant", "--config", config]).run().success();

    let code = "from tools import finder
found = finder.ask_all(question='sandbox', limit=3)
[sorted({hit['server'] for hit in found['hits']}), found['failed']]";
    let run = Cli::new("run").args(["--json", "-c", code, "--config", config]).run();
    assert_eq!(run.success().json()["value"], json!([["papers", "wiki"], {}]));
    marker.assert_nothing_survives();
}

#[test]
fn an_author_is_told_what_is_wrong_with_his_lines() {
    let told = fault(&[("plugin.ts", "export async function f() {}\nconst x: = 1;\n")]);
    assert!(told.contains("plugin.ts:2") || told.contains("line 2"), "{told}");
    let told = fault(&[("plugin.ts", "const x = 1;\n")]);
    assert!(told.contains("exports no tool"), "{told}");
    let told = fault(&[
        ("plugin.ts", "\nimport * as rank from \"./rank.ts\";\nexport function f() {}\n"),
        ("rank.ts", "export const a = 1;\n"),
    ]);
    assert!(told.contains("plugin.ts:2") && told.contains("esbuild"), "{told}");
}
