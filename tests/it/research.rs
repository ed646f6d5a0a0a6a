//! The plugin `research` against real search servers: one is killed while it is asked, another hangs,
//! and whoever asked has the others' hits and the names of those that failed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use toolcell_tests::examples;
use toolcell_tests::fixtures::{self, corpus};
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::{Cli, Marker, Talking, wait_until};

const GRANTED: &str = "[plugins.research]\ntools = [\"*.search\", \"*.search_*\"]\n\
                       [profiles.reader]\ntools = [\"research.*\", \"*.search\", \"*.search_*\"]\n";

/// Three servers with corpora of their own.
fn library() -> String {
    ["papers", "wiki", "notes"].map(|name| fixtures::search(&corpus(name)).toml(name)).concat()
}

fn with_research(subcommand: &str) -> Cli {
    let cli = Cli::new(subcommand);
    examples::install("research", cli.folder());
    cli
}

/// Storage that never answers: whoever opens it to read waits.
fn hanging_corpus(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo starts");
    assert!(made.success());
}

fn titles(answer: &Value) -> Vec<&str> {
    let hits = answer["hits"].as_array().unwrap_or_else(|| panic!("no hits: {answer}"));
    hits.iter().map(|hit| hit["title"].as_str().expect("a title")).collect()
}

#[test]
fn one_is_killed_while_it_is_asked_another_hangs_and_the_others_answer() {
    let cli = with_research("mcp");
    let folder = cli.folder().to_owned();
    let (dying, hanging, asked) =
        (folder.join("dying.jsonl"), folder.join("hanging.jsonl"), folder.join("asked"));
    hanging_corpus(&dying);
    hanging_corpus(&hanging);
    let marker = Marker::new();
    let log = asked.to_str().expect("UTF-8");
    let toml = library()
        + &fixtures::search(&dying)
            .arg("--log")
            .arg(log)
            .marked(&marker)
            .setting("retry = false")
            .toml("dying")
        + &fixtures::search(&hanging).toml("hanging")
        + GRANTED;
    let mut client = Talking::modern(cli.config(&toml));
    // Without `sources`: every search that is granted.
    let arguments = json!({ "question": "webassembly sandbox", "timeout_ms": 5000 });
    let id =
        client.begin("tools/call", json!({ "name": "research_research", "arguments": arguments }));
    wait_until(PATIENCE, "the question has reached the one that dies", || asked.exists());
    marker.kill();

    let result = client.answer(id);
    assert_ne!(result["isError"], true, "{result}");
    let answer = &result["structuredContent"];
    let titles = titles(answer);
    for title in ["Pooling instances for fast starts", "WebAssembly", "Notes on sandboxes"] {
        assert!(titles.contains(&title), "{title}: {answer:#}");
    }
    let failures = answer["failures"].as_array().expect("a list");
    let failed = |server: &str| {
        let failure = failures.iter().find(|failure| failure["server"] == server);
        failure.unwrap_or_else(|| panic!("{server} is not named: {answer:#}"))
    };
    assert_eq!(failures.len(), 2, "{answer:#}");
    assert_eq!(failed("dying")["kind"], "unavailable", "{answer:#}");
    assert_eq!(failed("dying")["tool"], "dying.search");
    assert_eq!(failed("hanging")["kind"], "timed-out", "{answer:#}");
    assert!(failed("hanging")["after_ms"].as_u64() >= Some(5000), "{answer:#}");
}

#[test]
fn what_several_servers_found_is_one_hit_and_comes_first() {
    let cli = with_research("call").config(&(library() + GRANTED));
    let arguments = json!({ "question": "component model capability security" });
    let cli = cli.args(["research.research", "--args", &arguments.to_string(), "--json"]);
    let answer = cli.run().success().json();
    let answer = answer.get("structured").unwrap_or(&answer);
    assert_eq!(answer["failures"], json!([]), "{answer:#}");
    let hits = answer["hits"].as_array().expect("a list");
    // By its URL, which one of them writes otherwise, and by its title.
    for title in ["Capability security in practice", "The WebAssembly component model"] {
        let hit = hits.iter().find(|hit| hit["title"] == title);
        let found_by = &hit.unwrap_or_else(|| panic!("no {title}: {answer:#}"))["found_by"];
        let tools = found_by.as_array().expect("a list").iter().map(|rank| rank["tool"].as_str());
        let tools: BTreeSet<_> = tools.collect();
        assert_eq!(tools, [Some("papers.search"), Some("wiki.search")].into(), "{answer:#}");
    }
    let mut seen: Vec<&str> = titles(answer);
    seen.truncate(2);
    seen.sort_unstable();
    assert_eq!(seen, ["Capability security in practice", "The WebAssembly component model"]);
}

#[test]
fn a_second_choice_answers_in_place_of_the_one_that_is_down() {
    let toml = library() + "[servers.down]\ncommand = \"/no/such/program\"\n" + GRANTED;
    let script = r#"
from tools import research
research.research(question="fuel", sources=["down.search"], fallbacks={"down.search": "notes.search"})
"#;
    let cli = with_research("run").config(&toml).file("ask.py", script);
    let report = cli.args(["ask.py", "--json"]).run().success().json();
    let answer = &report["value"];
    assert_eq!(titles(answer), ["Notes on fuel"]);
    let failure = &answer["failures"][0];
    assert_eq!(failure["server"], "down");
    assert_eq!(failure["kind"], "unavailable");
    assert_eq!(failure["instead"], "notes.search");
    assert!(failure["message"].as_str().is_some_and(|words| words.contains("/no/such/program")));
}

#[test]
fn searches_of_all_sorts_are_read() {
    let cli = with_research("run");
    let notes = cli.folder().join("notes");
    fs::create_dir(&notes).expect("a folder can be made");
    fs::write(notes.join("wasm-notes.md"), "on wasm").expect("a file can be written");
    let graph = cli.folder().join("memory.json");
    let entity = json!({ "type": "entity", "name": "wasm", "entityType": "topic", "observations": ["a format"] });
    fs::write(&graph, format!("{entity}\n")).expect("a file can be written");
    let files = "[servers.files]\nbuiltin = \"files\"\nroots = { notes = \"notes\" }\n";
    // A graph, a list of paths from our own server, and one from npm's.
    let toml = fixtures::memory(&graph).toml("memory")
        + &fixtures::filesystem(&[&notes]).toml("fs")
        + files
        + GRANTED;
    let script = r#"
from tools import research
research.research(question="wasm", sources=["memory.search_nodes", "files.search_files", "fs.search_files"])
"#;
    let report = cli.config(&toml).file("ask.py", script).args(["ask.py", "--json"]).run();
    let answer = report.success().json()["value"].take();
    assert!(titles(&answer).contains(&"wasm"), "{answer:#}");
}
