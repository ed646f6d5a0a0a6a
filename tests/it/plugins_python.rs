//! Plugins in Python: an author's way from nothing to a tool, and what he is told when he errs.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use toolcell::Script;
use toolcell::ids::UpstreamName;
use toolcell::plugins::build::{BuildProgress, Project};
use toolcell::plugins::manifest::PluginLanguage;
use toolcell::plugins::templates::write_project;
use toolcell::sandbox::Cache;
use toolcell_tests::{Cli, Marker, Server, fixtures};

use crate::facade::{first_text, session as agent};
use crate::hosts::{Configured, block_on, cache_folder, failure, value};

/// A build takes its time where others build too.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) fn plugin(arguments: &[&str]) -> Cli {
    Cli::new("plugin").args(arguments.iter().copied()).limit(PATIENCE)
}

/// Search servers over corpora of their own.
pub(crate) fn search_servers(marker: &Marker) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/search");
    let server = |name: &str| {
        let corpus = folder.join(format!("{name}.jsonl"));
        let script = folder.join("search_server.py");
        let arguments = [script.to_str().expect("UTF-8"), corpus.to_str().expect("UTF-8")];
        Server::stdio(fixtures::python_with_mcp(), &arguments).marked(marker).toml(name)
    };
    ["papers", "wiki"].map(server).concat()
}

#[test]
fn an_authors_way_in_python_takes_four_commands() {
    let home = tempfile::tempdir().expect("a folder");
    let project = home.path().join("finder");
    let project = project.to_str().expect("UTF-8");
    let marker = Marker::new();
    let config = home.path().join("toolcell.toml");
    fs::write(&config, search_servers(&marker)).expect("writes");
    let config = config.to_str().expect("UTF-8");

    plugin(&["new", "finder", "--lang", "python", "--dir", project]).run().success();
    let built = plugin(&["build", project]).run().success();
    assert!(Path::new(project).join("dist/finder.wasm").is_file(), "{built}");
    let manifest = fs::read_to_string(Path::new(project).join("dist/finder.toml")).expect("reads");
    assert!(manifest.contains("tools = [\"ask_all\"]"), "{manifest}");
    plugin(&["test", project]).run().success();
    plugin(&["add", project, "--grant", "--config", config]).run().success();

    let code = "from tools import finder
found = finder.ask_all(question='sandbox', limit=3)
[sorted({hit['server'] for hit in found['hits']}), found['failed']]";
    let run = Cli::new("run").args(["--json", "-c", code, "--config", config]).run();
    assert_eq!(run.success().json()["value"], json!([["papers", "wiki"], {}]));

    let toml = fs::read_to_string(config).expect("reads");
    let folder = home.path().join("plugins");
    let toml = format!("plugin_folder = {:?}\n{toml}", folder.to_str().expect("UTF-8"));
    let program = json!([
        ["finder_ask_all", { "question": "sandbox", "limit": 1 }],
        ["finder_ask_all", { "question": "sandbox", "limit": "many" }],
        ["finder_ask_all", { "query": "sandbox" }],
    ]);
    let seen = agent(&toml, "auto", &program);
    assert!(seen["tools"].as_array().expect("a list").contains(&json!("finder_ask_all")), "{seen}");
    let answers = seen["answers"].as_array().expect("a list");
    assert_eq!(answers[0]["structuredContent"]["hits"].as_array().map(Vec::len), Some(1));
    for wrong in [1, 2] {
        assert_eq!(answers[wrong]["isError"], true, "{}", answers[wrong]);
        assert!(first_text(&answers[wrong]).contains(["", "limit", "question"][wrong]), "{seen}");
    }
    marker.assert_nothing_survives();
}

#[test]
fn a_plugin_in_python_asks_servers_side_by_side_for_scripts_and_clients() {
    let marker = Marker::new();
    let project = tempfile::tempdir().expect("a folder");
    let name = UpstreamName::try_new("finder").expect("a name");
    let folder = project.path().join("finder");
    write_project(&folder, &name, PluginLanguage::Python).expect("writes");
    let project = Project::open(&folder).expect("a project");
    let cache = Cache::open(&cache_folder()).expect("a cache");
    let progress: BuildProgress = Arc::new(|_: &str| {});
    let wasm = block_on(project.build(&cache, progress)).expect("builds");
    let host = Configured::new(|folder| {
        let plugins = folder.join("plugins");
        fs::create_dir(&plugins).expect("a folder");
        fs::write(plugins.join("finder.wasm"), &wasm).expect("writes");
        fs::copy(project.folder.join("plugin.toml"), plugins.join("finder.toml")).expect("writes");
        search_servers(&marker) + "[plugins.finder]\ntools = [\"papers.*\", \"wiki.*\"]\n"
    });
    block_on(host.host.load_plugins());
    let code = "from tools import finder
found = finder.ask_all(question='sandbox', limit=3)
[sorted({hit['server'] for hit in found['hits']}), found['failed']]";
    let report = host.run(Script::python(code));
    assert_eq!(value(&report), json!([["papers", "wiki"], {}]));
    let wrong = host.run(Script::python("tools.finder.ask_all(question='x', limit='many')"));
    assert!(failure(&wrong).1.contains("limit"), "{wrong:?}");
}

/// Builds a project of these files and gives what its author is told.
pub(crate) fn fault(files: &[(&str, &str)]) -> String {
    let home = tempfile::tempdir().expect("a folder");
    fs::write(home.path().join("plugin.toml"), "name = \"faulty\"\nversion = \"0.1.0\"\n")
        .expect("writes");
    for (name, text) in files {
        fs::write(home.path().join(name), text).expect("writes");
    }
    let folder = home.path().to_str().expect("UTF-8");
    let failed = plugin(&["build", folder, "--log", "off"]).run();
    assert_ne!(failed.code(), Some(0), "{failed}");
    assert!(!home.path().join("dist/faulty.wasm").exists(), "nothing half built");
    failed.stderr
}

#[test]
fn an_author_is_told_what_is_wrong_with_his_lines() {
    let told =
        fault(&[("plugin.py", "from toolcell import tool\n\n@tool\ndef f(x: complex): pass\n")]);
    assert!(
        told.contains("plugin.py, line 3, `f`: parameter `x`: `complex` has no form"),
        "{told}"
    );
    let told =
        fault(&[("plugin.py", "import rank\n"), ("rank.py", "def f():\n    return 1\n1 / 0\n")]);
    assert!(told.contains("File \"plugin.py\", line 1, in <module>\n    import rank"), "{told}");
    assert!(told.contains("File \"rank.py\", line 3, in <module>\n    1 / 0"), "{told}");
    assert!(!told.contains("wasm backtrace"), "{told}");
    let told = fault(&[
        ("plugin.py", "from toolcell import tool\n@tool\ndef f(): pass\n"),
        ("requirements.txt", "numpy\n"),
    ]);
    assert!(told.contains("wheel of pure Python") && told.contains("numpy"), "{told}");
}
