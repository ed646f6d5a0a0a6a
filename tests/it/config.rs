//! The configuration as an operator meets it: shown, checked, documented, and changed while runs are
//! under way.

use std::path::{Path, PathBuf};

use toolcell::config::Config;
use toolcell::events::RunEvent;
use toolcell::{Reloaded, Script};
use toolcell_tests::{Cli, Marker, fixtures};

use crate::hosts::{Configured, block_on, failure, value};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root")
}

const TWO_SERVERS: &str = r#"
[servers.search]
command = "search-server"
args = ["--token=${SEARCH_TOKEN}", "--verbose"]
env = { SEARCH_KEY = "${SEARCH_TOKEN}" }
call_timeout = "2m"

[servers.web]
url = "https://me:${SEARCH_TOKEN}@mcp.example.org/mcp"
headers = { Authorization = "Bearer ${SEARCH_TOKEN}" }
retry = false

[profiles.reader]
tools = ["search.*"]
"#;

fn config(subcommand: &str) -> Cli {
    let cli = Cli::new("config").arg(subcommand).config(TWO_SERVERS);
    cli.env("SEARCH_TOKEN", "hunter22")
}

#[test]
fn what_is_in_force_is_shown_with_its_defaults_and_without_secrets() {
    let shown = config("show").run().success();
    assert!(!shown.stdout.contains("hunter22"), "{shown}");
    for line in [
        "# origin: toolcell.toml:2:10: servers.search",
        "[servers.search]",
        "args = [\"--token=${SEARCH_TOKEN}\", \"--verbose\"]",
        "env = { SEARCH_KEY = \"<secret>\" }",
        "call_timeout = \"2m\"",
        "read_timeout = \"2m\"",
        "pool_timeout = \"5s\"",
        "max_connections = 10",
        "max_idle_connections = 5",
        "idle_timeout = \"15m\"",
        "lifecycle = \"pooled\"",
        "url = \"https://<secret>@mcp.example.org/mcp\"",
        "headers = { Authorization = \"<secret>\" }",
        "retry = { attempts = 1, base = \"250ms\", cap = \"10s\" }",
        "[profiles.reader]",
        "tools = [\"search.*\"]",
    ] {
        assert!(shown.stdout.lines().any(|shown| shown == line), "{line} is not in {shown}");
    }
}

#[test]
fn one_server_is_shown_alone_and_an_unknown_one_is_told() {
    let shown = config("show").args(["--json", "--server", "web"]).run().success();
    let json = shown.json();
    let servers = json["servers"].as_object().expect("servers");
    assert_eq!(servers.keys().collect::<Vec<_>>(), ["web"]);
    assert_eq!(servers["web"]["headers"]["Authorization"], "<secret>");
    assert_eq!(servers["web"]["read_timeout"], "30s");
    let refused = config("show").args(["--server", "serach"]).run().expect_code(2);
    assert!(refused.stderr.contains("did you mean `search`?"), "{refused}");
}

#[test]
fn what_is_shown_can_be_read_back() {
    let toml = "[servers.a]\ncommand = \"x\"\nhints = { on_timeout = \"a \\\"b\\\"\\n\" }\n\
                [servers.a.tools.\"odd.name\"]\nread_only = true\n";
    let show = |toml: &str| Cli::new("config").arg("show").config(toml).run().success().stdout;
    let settings = |shown: &str| -> Vec<String> {
        shown.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let first = show(toml);
    assert_eq!(settings(&show(&first)), settings(&first));
}

#[test]
fn a_check_tells_notices_and_problems_and_starts_nothing() {
    let marker = Marker::new();
    let server = fixtures::misbehaving("ok").marked(&marker).toml("x");
    let check = |toml: &str| Cli::new("config").arg("check").config(toml);
    let good = check(&format!("{server}[profiles.p]\n")).run().success();
    let lines: Vec<&str> = good.stdout.lines().collect();
    assert!(lines[0].starts_with("notice: toolcell.toml:"), "{good}");
    assert!(lines[1].starts_with("ok: 1 server, 1 profile in "), "{good}");

    let toml = format!("{server}[limits]\nfuell = 1\ndeadline = 3\n");
    let bad = check(&toml).run().expect_code(2);
    assert!(bad.stderr.contains("it has 2 problems:"), "{bad}");
    let json = check(&toml).arg("--json").run().expect_code(2).json();
    assert_eq!(json["ok"], false);
    let problem = &json["problems"][0];
    assert_eq!(problem["path"], "limits.fuell");
    assert_eq!(problem["way_out"], "did you mean `fuel`?");
    assert_eq!(problem["file"], "toolcell.toml");
    assert!(problem["line"].as_u64().is_some_and(|line| line > 1), "{json}");
    assert_eq!(marker.processes(), []);
}

#[test]
fn the_generated_pages_are_up_to_date() {
    for (command, file) in [("reference", "docs/config.md"), ("schema", "docs/config.schema.json")]
    {
        let made = Cli::new("config").arg(command).run().success().stdout;
        let kept = std::fs::read_to_string(root().join(file)).expect("the page is in the tree");
        assert!(made == kept, "{file} is stale: run `cargo xtask docs`");
    }
}

#[test]
fn the_reference_has_every_key_with_an_example_and_the_schema_its_defaults() {
    let schema = Cli::new("config").arg("schema").run().success().json();
    let page = Cli::new("config").arg("reference").run().success().stdout;
    let definitions = schema["definitions"].as_object().expect("definitions");
    let tables = definitions.values().chain([&schema]);
    let mut count = 0;
    for (key, property) in tables.flat_map(|table| table["properties"].as_object()).flatten() {
        count += 1;
        assert!(page.contains(&format!("\n| `{key}` |")), "{key}");
        let is_table = property.get("allOf").is_some_and(|all| {
            let name = all[0]["$ref"].as_str().expect("a reference");
            let name = name.rsplit('/').next().expect("a name");
            definitions[name]["properties"].is_object()
        });
        let holds_tables = ["items", "additionalProperties"]
            .iter()
            .any(|of| property[of]["$ref"].as_str().is_some());
        let has_example = property["examples"].as_array().is_some_and(|some| !some.is_empty());
        assert!(has_example || is_table || holds_tables, "{key} has no example: {property}");
        assert!(property["description"].is_string(), "{key} has no description");
    }
    assert!(count > 80, "{count} keys");
    let default =
        |table: &str, key: &str| &schema["definitions"][table]["properties"][key]["default"];
    assert_eq!(default("Server", "pool_timeout"), "5s");
    assert_eq!(default("Server", "max_connections"), 10);
    assert_eq!(default("Retry", "attempts"), 3);
    assert_eq!(default("Limits", "memory"), "256MiB");
    assert_eq!(default("Monitor", "interval"), "1m");
}

#[test]
fn the_examples_of_this_repository_have_no_problem() {
    let mut examples: Vec<PathBuf> = Vec::new();
    for folder in std::fs::read_dir(root().join("examples")).expect("there are examples") {
        let file = folder.expect("an entry").path().join("toolcell.toml");
        examples.extend(file.exists().then_some(file));
    }
    assert!(examples.len() > 1, "{examples:?}");
    for example in examples {
        let check = Cli::new("config").args(["check", "--config"]).arg(&example);
        let variables =
            ["DEMO_GIT", "DEMO_TIME", "DEMO_REPOSITORY"].map(|name| format!("TOOLCELL_{name}"));
        let check = variables.into_iter().fold(check, |check, name| check.env(name, "x"));
        let check = check.env("TOOLCELL_DEMO_EVERYTHING_URL", "http://127.0.0.1:1/mcp");
        check.run().success();
    }
}

/// Reads another configuration for a host, as it stands in its file now.
fn reload(configured: &Configured, toml: &str) -> Reloaded {
    let file = configured.path("toolcell.toml");
    std::fs::write(&file, toml).expect("a file can be written");
    let folder = file.parent().expect("a file has a folder");
    let config: Config =
        toolcell::config::load(Some(&file), folder, &|_| None).expect("it can be used");
    configured.host.reload(config).expect("names are unique")
}

#[test]
fn a_run_under_way_keeps_what_it_has_and_the_next_one_has_what_is_new() {
    let (gone, changed, kept) = (Marker::new(), Marker::new(), Marker::new());
    let server = |marker: &Marker, name: &str, more: &str| {
        fixtures::misbehaving("ok").marked(marker).toml(name) + more
    };
    let kept_toml = server(&kept, "kept", "");
    let before = format!(
        "{}{}{kept_toml}",
        server(&gone, "gone", ""),
        fixtures::misbehaving("ok").marked(&changed).toml("changed"),
    );
    let again = Marker::new();
    let after = format!(
        "{}{kept_toml}{}[profiles.p]\ntools = [\"changed\", \"kept\", \"new\"]\n",
        fixtures::misbehaving("ok").marked(&again).toml("changed"),
        fixtures::misbehaving("ok").toml("new"),
    );
    let configured = Configured::new(|_| before);
    let source = "\
tools.gone.add(a=1); tools.changed.add(a=1); tools.kept.add(a=1)
tools.gone.slow(ms=300)
[tools.gone.add(a=1)['sum'], tools.changed.add(a=1)['sum'], tools.kept.add(a=1)['sum']]
";
    let (reloaded, report) = block_on(async {
        let mut run = configured.host.start(Script::python(source)).expect("starts");
        let mut reloaded = None;
        while let Some(event) = run.next_event().await {
            // The fourth call is under way, and three follow.
            if matches!(&event, RunEvent::CallStarted { id, .. } if id.0 == 4) {
                reloaded = Some(reload(&configured, &after));
            }
        }
        (reloaded.expect("the event came"), run.await.expect("has run"))
    });
    assert_eq!(reloaded.to_string(), "added: new; changed: changed; removed: gone");
    assert_eq!(value(&report), serde_json::json!([2, 2, 2]));
    assert_eq!(report.calls.len(), 7);
    // Nobody has them any more.
    gone.assert_nothing_survives();
    changed.assert_nothing_survives();

    let processes = kept.processes();
    let next = configured.python("[tools.new.add(a=1)['sum'], tools.kept.add(a=1)['sum']]");
    assert_eq!(value(&next), serde_json::json!([2, 2]));
    assert_eq!(kept.processes(), processes, "the same connection");
    let refused = configured.python("tools.gone.add(a=1)");
    assert!(failure(&refused).1.contains("gone"), "{refused:#?}");
    assert_eq!(configured.host.config().servers.len(), 3);
}

#[test]
fn servers_whose_settings_stay_are_not_touched_by_a_reload() {
    let toml = fixtures::misbehaving("ok").toml("x");
    let configured = Configured::new(|_| toml.clone());
    let first = configured.host.config();
    let reloaded = reload(&configured, &format!("# a comment\n{toml}"));
    assert_eq!((reloaded.to_string(), reloaded), ("no server changed".into(), Reloaded::default()));
    // Whoever holds the old one still has it.
    assert_eq!(first.servers, configured.host.config().servers);
}
