//! Plugins in TypeScript: an author's way from nothing to a tool, and what he is told when he errs.

use std::fs;
use std::path::Path;

use serde_json::json;
use toolcell_tests::clients::tsc;
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
fn an_author_has_state_and_questions_and_the_compiler_knows_them() {
    let home = tempfile::tempdir().expect("a folder");
    let project = home.path().join("counter");
    let shown = project.to_str().expect("UTF-8");
    plugin(&["new", "counter", "--lang", "javascript", "--dir", shown]).run().success();
    let compiled = |source: &str| {
        fs::write(project.join("plugin.ts"), source).expect("writes");
        Cli::of(tsc()).args(["--project", shown, "--pretty", "false"]).run()
    };
    let source = fs::read_to_string(project.join("plugin.ts")).expect("reads");
    compiled(&source).success();
    let source = "import { abilities, elicit, sample } from \"asks\";
import { get, set, keys, delete as forget } from \"state\";
import { ToolError } from \"tools\";

/** How often it was called in this session. */
export function count(): { calls: number; keys: string[] } {
  const calls = ((get(\"calls\") as number | undefined) ?? 0) + 1;
  set(\"calls\", calls);
  set(\"last\", calls);
  const gone: boolean = forget(\"last\");
  return { calls, keys: gone ? keys() : [] };
}

/** Asks the person, or says why it cannot. */
export async function ask(given: { message: string }): Promise<{ said: string; able: boolean }> {
  const able = abilities().elicitation;
  try {
    const answer = await elicit(given.message, { type: \"object\", properties: { city: { type: \"string\" } } });
    if (answer.action === \"accept\") return { said: String(answer.content.city), able };
    await sample({ messages: [], maxTokens: 1 });
    return { said: answer.action, able };
  } catch (error) {
    return { said: error instanceof ToolError ? `${error.kind}: ${error.message}` : String(error), able };
  }
}
";
    compiled(source).success();
    let wrong = compiled(&source.replace("set(\"calls\", calls)", "set(calls)")).expect_code(2);
    assert!(wrong.stdout.contains("plugin.ts(8,"), "{wrong}");

    compiled(source).success();
    // What its tests ask for was the template's own tool.
    fs::remove_dir_all(project.join("tests")).expect("removes");
    let config = home.path().join("toolcell.toml");
    fs::write(&config, "[plugins.counter]\nquestions = true\n").expect("writes");
    let config = config.to_str().expect("UTF-8");
    let manifest = "name = \"counter\"\nversion = \"0.1.0\"\n[asks]\nquestions = true\n";
    fs::write(project.join("plugin.toml"), manifest).expect("writes");
    plugin(&["build", shown]).run().success();
    plugin(&["add", shown, "--config", config]).run().success();
    let code = "from tools import counter
[counter.count(), counter.count(), counter.ask(message='Where to?')]";
    let run = Cli::new("run").args(["--json", "-c", code, "--config", config]).run();
    let value = &run.success().json()["value"];
    assert_eq!(value[0], json!({ "calls": 1, "keys": ["calls"] }), "{value}");
    assert_eq!(value[1]["calls"], 2, "{value}");
    assert_eq!(value[2]["able"], false, "{value}");
    let said = value[2]["said"].as_str().unwrap_or_default();
    assert!(said.contains("nobody behind this call answers questions"), "{value}");
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
