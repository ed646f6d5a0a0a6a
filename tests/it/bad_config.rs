//! What is wrong with a configuration is told before anything starts: which thing, why, and the way
//! out, all problems at once, and nothing is left behind.

use toolcell_tests::{Cli, Finished, Marker, fixtures};

/// Runs a script with a configuration that cannot be used. The message is what is on stderr.
#[track_caller]
fn refused(toml: &str) -> String {
    message(Cli::new("run").config(toml).args(["-c", "print('it ran')"]).run())
}

#[track_caller]
fn message(finished: Finished) -> String {
    let finished = finished.expect_code(2);
    assert_eq!(finished.stdout, "", "{finished}");
    finished.stderr.trim_end().to_owned()
}

const SERVER: &str = "[servers.search]\ncommand = \"true\"\n";

#[test]
fn each_mistake_has_a_place_a_cause_and_a_way_out() {
    #[track_caller]
    fn check(toml: &str, expected: &str) {
        let expected = format!("toolcell: the configuration cannot be used: {expected}");
        assert_eq!(refused(toml), expected, "{toml}");
    }
    check(
        "[servers.search]\ncomand = \"true\"\n",
        "toolcell.toml:2:1: servers.search.comand: unknown key `comand` in servers.search; did you mean `command`?",
    );
    check(
        "[server.search]\n",
        "toolcell.toml:1:9: server.search: unknown key `search` in server; an MCP server to call is \
         [servers.search]; here there are `listen`, `public_url`, `allowed_hosts`, \
         `allowed_origins`, `max_body`, `request_timeout`, `max_connections`, `max_mcp_sessions`, \
         `mcp_session_idle`, `max_result`, `list_changed`, `caller_token`, `sessions`, `quotas`, \
         `tokens`, `jwt`, `bridge`",
    );
    check(
        &format!("{SERVER}[profiles.reader]\ntools = [\"serach.*\"]\n"),
        "toolcell.toml:4:10: profiles.reader.tools[0]: no server is called `serach`; did you mean `search`?",
    );
    check(
        &format!("{SERVER}{SERVER}"),
        "toolcell.toml:3:10: `servers.search` stands twice, first in line 1; keep one of the two",
    );
    check(
        "[servers.search]\ncommand = \"true\"\nenv = { KEY = \"${SEARCH_KEY}\" }\n",
        "toolcell.toml:3:9: servers.search.env.KEY: the environment variable `SEARCH_KEY` is not set; set it, or write a default: ${SEARCH_KEY:-…}",
    );
    check(
        "[limits]\nmemory = \"12 parsecs\"\n",
        "toolcell.toml:2:1: limits.memory: \"12 parsecs\" has no unit that is known: use one of B, kB, KiB, MB, MiB, GB, GiB, for example \"256MiB\"",
    );
    check(
        "[limits]\nfuel = -1\n",
        "toolcell.toml:2:1: limits.fuel: a whole number of at least 0, or a text with a unit is expected, and this is a negative number",
    );
    check(
        "[servers.search]\ncommand = 3\n",
        "toolcell.toml:2:1: servers.search.command: a text is expected, and this is a whole number",
    );
    check("[servers.search\n", "toolcell.toml:1:16: not TOML: unclosed table, expected `]`");
    check(
        "[servers.search]\n",
        "toolcell.toml:1:10: servers.search: nothing says how to reach the server; give `command` (a program to start), `url` (an endpoint) or `builtin`",
    );
    check(
        "[servers.\"my search\"]\ncommand = \"true\"\n",
        "toolcell.toml:1:10: servers.\"my search\": \"my search\" is not a server name: use 1 to 64 of A-Z a-z 0-9 _ -",
    );
}

#[test]
fn all_problems_are_told_at_once_and_no_value_is_quoted() {
    let told = refused(
        r#"
[servers.a]
command = "true"
url = "https://me:hunter22@example.org/?key=hunter22"
[servers.b]
url = "ftp://me:hunter22@example.org"
headers = { Authorization = "Bearer ${TOKEN_OF_B}" }
[profiles.p]
tools = ["a.*", "c.*"]
limits = { deadlin = "1s" }
"#,
    );
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].ends_with("it has 5 problems:"), "{told}");
    for (line, part) in lines[1..].iter().zip([
        "servers.a: `command` and `url` exclude each other",
        "servers.b.url: this is no URL that begins with http://",
        "`TOKEN_OF_B` is not set",
        "no server is called `c`",
        "did you mean `deadline`?",
    ]) {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(lines.len() == 6 && !told.contains("hunter22"), "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_cause() {
    #[track_caller]
    fn check(cli: Cli, parts: &[&str]) {
        let told = message(cli.args(["-c", "1"]).run());
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    let run = || Cli::new("run");
    check(run().args(["--config", "no.toml"]), &["no.toml cannot be read", "No such file"]);
    check(run().args(["--config", "."]), &["cannot be read", "Is a directory"]);
    check(run().config(&"#".repeat(2 << 20)), &["toolcell.toml: the file is larger than 1MiB"]);
    let latin = run().file("latin.toml", b"# caf\xe9\n").args(["--config", "latin.toml"]);
    check(latin, &["latin.toml: the file is not UTF-8 text"]);
    let json = run().file("mcp.json", "{\"mcpServers\": {").args(["--config", "mcp.json"]);
    check(json, &["mcp.json:1:", "not JSON"]);
    check(run().env("TOOLCELL_CONFIG", "elsewhere.toml"), &["elsewhere.toml cannot be read"]);
}

#[test]
fn flags_that_mean_nothing_are_refused_like_keys() {
    #[track_caller]
    fn check(flags: &[&str], expected: &str) {
        let toml = format!("{SERVER}[profiles.reader]\ntools = [\"search.*\"]\n");
        let told = message(Cli::new("run").config(&toml).args(["-c", "1"]).args(flags).run());
        assert_eq!(told, format!("toolcell: {expected}"));
    }
    check(&["--profile", "raeder"], "there is no profile `raeder`; did you mean `reader`?");
    check(
        &["--profile", "writer-of-all"],
        "there is no profile `writer-of-all`; there is only `reader`",
    );
    check(
        &["--grant", "serach.*"],
        "--grant \"serach.*\": no server is called `serach`; did you mean `search`?",
    );
    check(
        &["--memory", "12parsecs"],
        "limit memory = \"12parsecs\": \"12parsecs\" has no unit that is known: use one of B, kB, KiB, MB, MiB, GB, GiB, for example \"256MiB\"",
    );
}

#[test]
fn several_profiles_and_none_that_is_meant_are_refused_with_their_names() {
    let toml = "[profiles.reader]\ntools = []\n[profiles.writer]\ntools = []\n";
    let told = refused(toml);
    assert!(told.contains("name one of `reader`, `writer`"), "{told}");
}

#[test]
fn a_refused_configuration_starts_no_server_and_says_so_in_json_too() {
    let marker = Marker::new();
    let server = fixtures::misbehaving("ok").marked(&marker);
    let toml = format!("{}[limits]\nfuell = 1\n", server.toml("x"));
    let run = Cli::new("run").config(&toml).args(["--json", "-c", "1"]).run().expect_code(2);
    let report = run.json();
    assert_eq!(report["ok"], false);
    assert_eq!(report["error"]["kind"], "usage");
    let message = report["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("did you mean `fuel`?"), "{run}");
    assert_eq!(marker.processes(), []);
}

#[test]
fn a_config_of_other_programs_works_as_it_is() {
    let server = fixtures::misbehaving("ok");
    let command = server.command().get_program().to_str().expect("UTF-8").to_owned();
    let json = serde_json::json!({
        "mcpServers": {
            "x": { "type": "stdio", "command": command, "args": ["ok"], "alwaysAllow": ["echo"] },
            "off": { "command": "no-such-program", "disabled": true },
        },
        "theme": "dark",
    });
    let cli = Cli::new("run").file("mcp.json", json.to_string()).args(["--config", "mcp.json"]);
    let run = cli.args(["-c", "from tools import x\nx.echo(text='as it is')"]).run().success();
    assert_eq!(run.stdout, "as it is\n", "{run}");
}

#[test]
fn two_servers_of_one_name_are_refused_wherever_they_stand() {
    let json = r#"{"mcpServers": {"x": {"command": "true"}, "x": {"command": "false"}}}"#;
    let cli = Cli::new("run").file("mcp.json", json).args(["--config", "mcp.json", "-c", "1"]);
    let told = message(cli.run());
    assert!(told.contains("a second server is called `x`"), "{told}");
    let toml = "mcp_config = \"mcp.json\"\n[servers.x]\ncommand = \"true\"\n";
    let one = r#"{"mcpServers": {"x": {"command": "true"}}}"#;
    let told = message(Cli::new("run").file("mcp.json", one).config(toml).args(["-c", "1"]).run());
    assert!(told.contains("a second server is called `x`; the first is toolcell.toml:2"), "{told}");
}
