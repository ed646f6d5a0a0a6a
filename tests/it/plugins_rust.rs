//! Plugins in Rust with the guest SDK, in the real host: what the SDK's own tests show against a double.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use toolcell::Script;
use toolcell_tests::guests::guest;
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::{Cli, Talking, fixtures, wait_until};

use crate::hosts::{Configured, value};

/// Installs `caller`, which asks for this, and gives the section that grants it the same.
fn caller(folder: &Path, asks: &str) -> String {
    let plugins = folder.join("plugins");
    fs::create_dir_all(&plugins).expect("a folder can be made");
    fs::copy(guest("caller"), plugins.join("caller.wasm")).expect("a file can be copied");
    let manifest = format!("name = \"caller\"\nversion = \"0.1.0\"\n[asks]\n{asks}");
    fs::write(plugins.join("caller.toml"), manifest).expect("a file can be written");
    format!("[plugins.caller]\n{asks}")
}

/// What a tool of it answers a script, or how that fails.
fn call(host: &Configured, tool: &str, arguments: Value) -> Value {
    let code = "
try:
    result = getattr(tools.caller, inputs[0])(**inputs[1])
except tools.ToolError as error:
    result = {'failed': type(error).__name__, 'words': str(error)}";
    let answer = value(&host.run(Script::python(code).input(json!([tool, arguments]))));
    // What is no object is no structured content, and the SDK gives it as a text.
    let list = answer.as_str().filter(|text| text.starts_with('['));
    list.map_or(answer.clone(), |text| serde_json::from_str(text).expect("JSON"))
}

#[test]
fn each_branch_has_its_time_and_an_outcome_of_its_own() {
    let host = Configured::new(|folder| {
        let log = folder.join("log");
        let log = log.to_str().expect("UTF-8");
        fixtures::misbehaving("ok").env("MISBEHAVING_LOG", log).toml("x")
            + "[servers.absent]\ncommand = \"/no/such/program\"\n"
            + &caller(folder, "tools = [\"x.*\", \"absent.*\"]\n")
    });
    let orders = json!([
        { "tool": "x.echo", "arguments": { "text": "here" } },
        // Longer than any test may take, and cut off by its own time alone.
        { "tool": "x.slow", "arguments": { "ms": 600_000 }, "within_ms": 300 },
        { "tool": "absent.search", "within_ms": 60_000 },
        { "tool": "x.add", "arguments": { "a": "one" } },
        { "tool": "mail.send" },
        { "tool": "x.add", "arguments": { "a": 1, "b": 2 }, "within_ms": 60_000 },
    ]);
    let told = call(&host, "outcomes", json!({ "orders": orders }));
    let expected = [
        "x.echo: here",
        "x.slow had 300 ms",
        "absent.search failed: unavailable",
        "x.add failed: invalid-arguments",
        "mail.send failed: unknown-tool",
        "x.add: 3",
    ];
    assert_eq!(told, json!(expected));
    // On a busy machine the time may be over before the call has left: then there is nothing to tell.
    wait_until(PATIENCE, "the server hears that nobody waits for what it got", || {
        let log = host.read("log");
        log.matches("tools/call slow").count() == log.matches("notifications/cancelled").count()
    });
}

#[test]
fn a_branch_that_fails_is_named_in_the_answer_and_the_others_answer() {
    let host = Configured::new(|folder| {
        fixtures::misbehaving("ok").toml("x")
            + "[servers.absent]\ncommand = \"/no/such/program\"\n"
            + &caller(folder, "tools = [\"x.*\", \"absent.*\"]\n")
    });
    let orders =
        json!([{ "tool": "x.echo", "arguments": { "text": "a" } }, { "tool": "absent.any" }]);
    let report = call(&host, "collect", json!({ "orders": orders, "within_ms": 60_000 }));
    assert_eq!(report["answers"], json!(["a"]), "{report}");
    let failure = &report["failures"][0];
    assert_eq!(
        (&failure["branch"], &failure["kind"]),
        (&json!("absent.any"), &json!("unavailable"))
    );
    let words = failure["why"].as_str().unwrap_or_default();
    assert!(words.contains("/no/such/program"), "{report}");
}

#[test]
fn resources_and_prompts_are_read_as_far_as_they_are_granted() {
    let asks = "resources = [\"everything:demo://resource/static/*\"]\n\
                prompts = [\"everything.args-prompt\"]\n";
    let host = Configured::new(|folder| {
        fixtures::everything_stdio().toml("everything") + &caller(folder, asks)
    });
    let features = "demo://resource/static/document/features.md";
    let listed = call(&host, "readable", json!({ "server": "everything" }));
    let uris: Vec<&str> =
        listed.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(uris.contains(&features), "{listed}");
    assert!(uris.iter().all(|uri| uri.starts_with("demo://resource/static/")), "{listed}");
    let read = |uri: &str| call(&host, "read", json!({ "server": "everything", "uri": uri }));
    assert!(
        read(features).as_str().is_some_and(|text| text.contains("Features")),
        "{}",
        read(features)
    );
    let denied = read("demo://resource/dynamic/text/1");
    assert!(denied["words"].as_str().is_some_and(|words| words.contains("granted")), "{denied}");

    let fillable = call(&host, "fillable", json!({ "server": "everything" }));
    assert_eq!(fillable, json!(["args-prompt"]));
    let fill_in = |prompt: &str| {
        let arguments = json!({ "city": "Rome" });
        call(&host, "fill_in", json!({ "prompt": prompt, "arguments": arguments }))
    };
    let filled = fill_in("everything.args-prompt");
    assert!(filled.as_str().is_some_and(|text| text.contains("Rome")), "{filled}");
    let denied = fill_in("everything.simple-prompt");
    assert!(denied["words"].as_str().is_some_and(|words| words.contains("granted")), "{denied}");
}

#[test]
fn logs_of_every_level_and_progress_reach_the_client_that_wants_them() {
    let cli = Cli::new("mcp");
    let toml = caller(cli.folder(), "tools = []\n");
    let (mut client, _) = Talking::legacy(cli.config(&toml));
    let mut call = |level: &str, tool: &str, words: &str| {
        client.ask("logging/setLevel", json!({ "level": level }));
        let params = json!({
            "name": tool, "arguments": { "words": words }, "_meta": { "progressToken": words },
        });
        let answer = client.ask("tools/call", params);
        assert_ne!(answer["isError"], true, "{answer}");
        let said = client.running.stdout();
        let said = said.lines().filter(|line| line.contains("\"method\"") && line.contains(words));
        said.map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<Value>>()
    };
    let levels = |said: &[Value]| -> Vec<String> {
        let logged = said.iter().filter(|it| it["method"] == "notifications/message");
        let level = |it: &Value| it["params"]["level"].as_str().unwrap_or_default().to_owned();
        logged.map(level).collect()
    };
    let all = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    let said = call("debug", "caller_tell_all", "all of it");
    assert_eq!(levels(&said), all, "{said:#?}");
    assert!(said.iter().all(|it| it["params"]["logger"] == "caller"), "{said:#?}");
    assert_eq!(levels(&call("error", "caller_tell_all", "the worst")), all[4..]);

    let said = call("emergency", "caller_tell", "half of it");
    let progress = said.iter().find(|it| it["method"] == "notifications/progress");
    let progress = &progress.unwrap_or_else(|| panic!("no progress: {said:#?}"))["params"];
    assert_eq!(progress["progressToken"], "half of it");
    assert_eq!((&progress["progress"], &progress["total"]), (&json!(1.0), &json!(2.0)));
    assert_eq!(progress["message"], "half of it");
}

#[test]
fn a_panic_is_a_failure_with_its_words_and_its_place() {
    let run = |tool: &str| {
        let wasm = fs::read(guest("trapper")).expect("a guest can be read");
        let cli = Cli::new("call").file("plugins/trapper.wasm", wasm).config("");
        cli.args([tool, "--args", r#"{"words":"the roof is on fire"}"#]).run()
    };
    let panicked = run("trapper.panic");
    assert_ne!(panicked.code(), Some(0), "{panicked}");
    for part in ["`trapper.panic` broke down", "the roof is on fire", "trapper.rs:"] {
        assert!(panicked.stderr.contains(part), "{part}: {panicked}");
    }
    // A failure of the tool's own is none of the host's to explain.
    let failed = run("trapper.fail").expect_code(1);
    assert!(failed.stderr.contains("the roof is on fire"), "{failed}");
    assert!(!failed.stderr.contains("broke down"), "{failed}");
}
