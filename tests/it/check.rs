//! `toolcell check`: a preflight whose exit code a script can trust and whose words help a person.

use std::time::Duration;

use toolcell_tests::tiny_mcp::Eras;
use toolcell_tests::{Cli, HttpFault, Marker, Server, fixtures};

#[test]
fn healthy_servers_are_a_table_for_people_and_json_for_scripts() {
    let marker = Marker::new();
    let http = HttpFault::behaving(Eras::Legacy);
    let toml = fixtures::misbehaving("modern-only").marked(&marker).toml("new")
        + &fixtures::misbehaving("legacy-only").marked(&marker).toml("old")
        + &http.server().toml("web")
        + "[servers.files]\nbuiltin = \"files\"\nroots = { here = \".\" }\n";
    let check = Cli::new("check").config(&toml).run().success();
    let state = |name: &str| {
        let line = check.stdout.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no line for {name}\n{check}"));
        line.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
    };
    assert_eq!([state("new"), state("old"), state("web")], ["new ok 9", "old ok 9", "web ok 9"]);
    assert_eq!(state("files"), "files ok 7");
    assert_eq!(check.stderr, "", "{check}");

    let check = Cli::new("check").config(&toml).arg("--json").run().success().json();
    assert_eq!(check["ok"], true);
    let servers = check["servers"].as_array().expect("a list");
    let eras: Vec<_> = servers.iter().map(|server| &server["era"]).collect();
    assert_eq!(eras[..3], ["modern", "legacy", "legacy"]);
    for server in servers {
        assert_eq!(server["failure"], serde_json::Value::Null);
        assert!(server["phases"][0]["ms"].is_number(), "{server}");
    }
    marker.assert_nothing_survives();
}

#[test]
fn one_sick_server_among_healthy_ones_is_exit_code_1_and_the_cause_in_words() {
    let marker = Marker::new();
    let toml = fixtures::misbehaving("ok").marked(&marker).toml("good")
        + &fixtures::misbehaving("exit-at-start").marked(&marker).toml("bad");
    let check = Cli::new("check").config(&toml).run().expect_code(1);
    assert!(check.stdout.contains("good    ok"), "{check}");
    assert!(check.stdout.contains("bad     FAILED"), "{check}");
    assert!(check.stdout.contains("cannot open database \"/nowhere/data.db\""), "{check}");
    let check = Cli::new("check").config(&toml).args(["--json", "bad"]).run().expect_code(1);
    let json = check.json();
    assert_eq!((&json["ok"], json["servers"].as_array().map(Vec::len)), (&false.into(), Some(1)));
    let only_good = Cli::new("check").config(&toml).arg("good").run().success();
    assert!(!only_good.stdout.contains("bad"), "{only_good}");
    marker.assert_nothing_survives();
}

#[test]
fn a_server_without_tools_is_unhealthy() {
    let script = r#"while read -r line; do
        id=$(printf %s "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
        case $line in
            *'"initialize"'*) result='{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"empty","version":"1"}}' ;;
            *tools/list*) result='{"tools":[]}' ;;
            *notifications*) continue ;;
            *) echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"no\"}}"; continue ;;
        esac
        echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":$result}"
    done"#;
    let server = Server::stdio("sh", &["-c", script]);
    let check = Cli::new("check").config(&server.toml("empty")).run().expect_code(1);
    assert!(check.stdout.contains("server empty is reachable but offers no tools"), "{check}");
}

#[test]
fn a_program_that_is_not_there_or_not_a_program_is_named() {
    #[track_caller]
    fn check(command: &str, expected: &str) {
        let server = Server::stdio(command, &[]);
        let cli = Cli::new("check").file("notes.txt", "no program").config(&server.toml("x"));
        let check = cli.run().expect_code(1);
        assert!(check.stdout.contains(expected), "{check}");
        let cli = Cli::new("run").file("notes.txt", "no program").config(&server.toml("x"));
        let run = cli.args(["-c", "tools['x']['y']()"]).run().expect_code(4);
        assert!(run.stderr.contains(expected), "{run}");
    }
    check(
        "no-such-program",
        "the command \"no-such-program\" was not found in PATH; install it, or give its full path",
    );
    check("./no-such-program", "/no-such-program\" does not exist");
    check("./notes.txt", "/notes.txt\" is not an executable file");
}

#[test]
fn the_time_for_all_is_kept_and_what_is_late_is_named() {
    let marker = Marker::new();
    let toml = fixtures::misbehaving("silent").marked(&marker).toml("late")
        + &fixtures::misbehaving("ok").marked(&marker).toml("good");
    let cli = Cli::new("check").config(&toml).args(["--timeout", "700ms"]);
    let check = cli.run().expect_code(1);
    assert!(check.elapsed < Duration::from_secs(8), "{:?}", check.elapsed);
    assert!(
        check.stdout.contains(
            "server late was not checked to the end within 700 ms: it was still silent in the MCP \
             handshake"
        ),
        "{check}"
    );
    assert!(check.stdout.contains("a longer --timeout"), "{check}");
    assert!(check.stdout.contains("good    ok"), "{check}");
    marker.assert_nothing_survives();
}

#[test]
fn a_server_that_nobody_configured_cannot_be_checked() {
    let toml = fixtures::misbehaving("ok").toml("good");
    let check = Cli::new("check").config(&toml).arg("god").run().expect_code(2);
    assert!(check.stderr.contains("no server \"god\" is configured (there are: good)"), "{check}");
}

#[test]
fn a_preflight_that_fails_runs_nothing_and_names_every_sick_server() {
    let marker = Marker::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let good = fixtures::misbehaving("ok").env("MISBEHAVING_LOG", log.to_str().expect("UTF-8"));
    let toml = good.marked(&marker).toml("good")
        + &fixtures::misbehaving("exit-at-start").marked(&marker).toml("bad")
        + &Server::stdio("no-such-program", &[]).toml("absent");
    let run = |args: &[&str]| {
        let cli = Cli::new("run").config(&toml).args(["-c", "tools.good.add(a=1)", "--preflight"]);
        cli.args(args.iter().copied()).run()
    };
    let failed = run(&[]).expect_code(4);
    for part in [
        "the preflight failed, so nothing was run: 2 of 3 servers cannot be used",
        "cannot open database \"/nowhere/data.db\"",
        "\"no-such-program\" was not found in PATH",
    ] {
        assert!(failed.stderr.contains(part), "{part:?} is missing: {failed}");
    }
    let log = || std::fs::read_to_string(&log).unwrap_or_default();
    assert!(!log().contains("tools/call") && log().contains("tools/list"), "{}", log());
    let json = run(&["--json"]).expect_code(4).json();
    assert_eq!((&json["ok"], &json["error"]["kind"]), (&false.into(), &"preflight".into()));
    // Servers that the run may not call do not matter.
    let passed = run(&["--grant", "good.*"]).success();
    assert!(log().contains("tools/call add"), "{passed}");
    marker.assert_nothing_survives();
}

#[test]
fn a_server_that_wants_the_callers_token_is_checked_with_one() {
    let web = HttpFault::behaving(Eras::Legacy);
    let toml = web.server().toml("web")
        + "[servers.web.headers]\nAuthorization = \"Bearer ${caller.token}\"\n";
    let check = Cli::new("check").config(&toml).run().expect_code(1);
    assert!(check.stdout.contains("it needs the caller's own token"), "{check}");
    assert!(check.stdout.contains("--caller-token-env"), "{check}");
    let cli = Cli::new("check").config(&toml).env("MY_TOKEN", "t0ken-of-ada");
    let check = cli.args(["--caller-token-env", "MY_TOKEN"]).run().success();
    let sent = web.received();
    assert!(!sent.is_empty(), "{check}");
    for request in sent {
        assert_eq!(request.header("authorization"), Some("Bearer t0ken-of-ada"));
    }
    let check = Cli::new("check").config(&toml).args(["--caller-token-env", "NONE"]).run();
    assert!(check.expect_code(2).stderr.contains("NONE is not set"));
}
