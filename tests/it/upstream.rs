//! Servers on stdio through the front door: real ones, and one that breaks each rule in turn.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use toolcell_tests::{Cli, Finished, Marker, Server, Signal, fixtures, wait_until};

/// Runs code with the server `x`.
fn run(server: &Server, code: &str) -> Finished {
    Cli::new("run").config(&server.toml("x")).arg("--json").args(["-c", code]).run()
}

/// A function for scripts: the answer of a call, or its failure as a value.
const ASK: &str = "
def ask(tool, **arguments):
    try:
        return tools['x'][tool](**arguments)
    except tools.ToolError as error:
        return [type(error).__name__, str(error), getattr(error, 'code', None), getattr(error, 'data', None)]
";

/// Calls tools of the misbehaving server one after another and gives what the script saw.
#[track_caller]
fn ask(server: &Server, calls: &str) -> Value {
    let run = run(server, &format!("{ASK}\n[{calls}]")).success();
    run.json()["value"].clone()
}

fn check(server: &Server) -> (Option<i32>, Value) {
    let check = Cli::new("check").config(&server.toml("x")).arg("--json").run();
    (check.code(), check.json()["servers"][0].clone())
}

fn log_of(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("log")).unwrap_or_default()
}

fn logging(server: Server, folder: &TempDir) -> Server {
    let path = folder.path().join("log");
    server.env("MISBEHAVING_LOG", path.to_str().expect("paths of tests are UTF-8"))
}

fn repository() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(args);
        let output = git.current_dir(folder.path()).output().expect("git starts");
        assert!(output.status.success(), "{output:?}");
    };
    git(&["init", "-q"]);
    fs::write(folder.path().join("notes.txt"), "one\n").expect("a temporary file can be written");
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "the first of all commits"]);
    folder
}

#[test]
fn one_script_calls_five_real_servers_at_once() {
    let (repository, marker) = (repository(), Marker::new());
    let graph = repository.path().join("graph.json");
    let toml = fixtures::everything_stdio().marked(&marker).toml("everything")
        + &fixtures::time().marked(&marker).toml("time")
        + &fixtures::git(repository.path()).marked(&marker).toml("git")
        + &fixtures::filesystem(&[repository.path()]).marked(&marker).toml("fs")
        + &fixtures::memory(&graph).marked(&marker).toml("memory");
    let script = r#"
import asyncio
from tools import aio, fs

echo, total, weather, tokyo, log, notes, created = await asyncio.gather(
    aio.everything.echo(message="hi"),
    aio.everything.get_sum(a=2, b=3),
    aio.everything.get_structured_content(location="Chicago"),
    aio.time.convert_time(source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo"),
    aio.git.git_log(repo_path=inputs),
    aio.fs.read_text_file(path=inputs + "/notes.txt"),
    aio.memory.create_entities(entities=[{"name": "ada", "entityType": "person", "observations": []}]),
)
try:
    fs.read_text_file(path="/etc/passwd")
except tools.ToolError as error:
    refused = str(error)
{
    "echo": echo, "total": total, "weather": sorted(weather), "tokyo": "21:00" in str(tokyo),
    "log": "the first of all commits" in str(log), "notes": str(notes), "created": "ada" in str(created),
    "refused": refused,
}
"#;
    let path = json!(repository.path()).to_string();
    let cli = Cli::new("run").config(&toml).file("five.py", script).arg("five.py");
    let run = cli.args(["--json", "--input", &path]).run().success();
    let value = &run.json()["value"];
    assert_eq!(value["echo"], "Echo: hi", "{run}");
    assert!(value["total"].as_str().is_some_and(|total| total.contains('5')), "{run}");
    assert_eq!(value["weather"], json!(["conditions", "humidity", "temperature"]), "{run}");
    for key in ["tokyo", "log", "created"] {
        assert_eq!(value[key], true, "{key}\n{run}");
    }
    assert!(value["notes"].as_str().is_some_and(|notes| notes.contains("one")), "{run}");
    assert!(value["refused"].as_str().is_some_and(|text| text.contains("denied")), "{run}");
    marker.assert_nothing_survives();
}

#[test]
fn both_eras_are_spoken_and_a_server_that_ignores_the_question_is_waited_out() {
    #[track_caller]
    fn speaks(server: &Server, era: &str) {
        let (code, report) = check(server);
        assert_eq!((code, &report["era"]), (Some(0), &json!(era)), "{report}");
        assert_eq!(ask(server, "ask('echo', text='hi')"), json!(["hi"]));
    }
    speaks(&fixtures::misbehaving("ok"), "modern");
    speaks(&fixtures::misbehaving("ok").arg("--modern"), "modern");
    speaks(&fixtures::misbehaving("ok").arg("--legacy"), "legacy");
    speaks(&fixtures::misbehaving("silent-on-discover"), "legacy");
}

#[test]
fn a_server_that_never_gets_ready_fails_the_run_and_the_check_with_its_reason() {
    #[track_caller]
    fn fails(mode: &str, parts: &[&str]) {
        let marker = Marker::new();
        let server = fixtures::misbehaving(mode).marked(&marker);
        let server = server.setting("connect_timeout = \"700ms\"");
        let run = run(&server, "tools['x']['echo'](text='hi')").expect_code(4);
        let report = run.json();
        let message = report["error"]["message"].as_str().unwrap_or_default();
        let (code, checked) = check(&server);
        assert_eq!(code, Some(1), "{mode}: {checked}");
        let failure = checked["failure"].as_str().unwrap_or_default();
        for part in parts {
            assert!(message.contains(part), "{mode}: {part:?} is not in {message}");
            assert!(failure.contains(part), "{mode}: {part:?} is not in {failure}");
        }
        assert!(run.elapsed < Duration::from_secs(10), "{mode}: {:?}", run.elapsed);
        marker.assert_nothing_survives();
    }
    fails("exit-at-start", &["exit status 3", "cannot open database \"/nowhere/data.db\""]);
    fails("silent", &["did not answer within 700 ms (in the MCP handshake)", "handshake_timeout"]);
    fails("garbage-only", &["within 700 ms", "text that is not MCP", "npm notice"]);
}

#[test]
fn a_process_that_ends_in_a_call_fails_that_call_at_once_and_the_next_one_starts_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = logging(fixtures::misbehaving("exit-in-call"), &folder);
    // The tool claims that it may be repeated; this is about those that may not.
    let server = server.setting("tools.echo.read_only = false");
    let run = run(&server, &format!("{ASK}\n[ask('echo', text='1'), ask('echo', text='2')]"));
    let value = run.json()["value"].clone();
    for answer in value.as_array().expect("a list") {
        assert_eq!(answer[0], "ToolUnavailable", "{run}");
        let message = answer[1].as_str().unwrap_or_default();
        assert!(message.contains("exit status 4") && message.contains("out of luck"), "{run}");
    }
    // At once: long before the 30 s of a call.
    assert!(run.elapsed < Duration::from_secs(10), "{:?}", run.elapsed);
    let log = log_of(&folder);
    assert!(log.contains("tools/call echo {\"text\":\"2\"}"), "{log}");
    assert_eq!(log.matches("tools/call").count(), 2, "a call is never made twice:\n{log}");
}

#[test]
fn a_call_without_an_answer_ends_with_its_time_and_the_server_is_told() {
    for mode in ["never-answers-call", "wrong-id"] {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let server = logging(fixtures::misbehaving(mode), &folder);
        let server = server.setting("call_timeout = \"400ms\"");
        let seen = ask(&server, "ask('echo', text='1')");
        assert_eq!(seen[0][0], "ToolTimeout", "{mode}: {seen}");
        let message = seen[0][1].as_str().unwrap_or_default();
        assert!(message.contains("did not answer within 400 ms (during a call)"), "{message}");
        let log = log_of(&folder);
        assert!(log.contains("notifications/cancelled"), "{mode}:\n{log}");
        let failed = run(&server, "tools['x']['echo'](text='hi')").expect_code(4);
        assert_eq!(failed.json()["error"]["kind"], "tool.timed-out", "{failed}");
    }
}

#[test]
fn what_is_only_odd_is_lived_with() {
    #[track_caller]
    fn gives(mode: &str, calls: &str, expected: Value) {
        let marker = Marker::new();
        let server = fixtures::misbehaving(mode).marked(&marker);
        assert_eq!(ask(&server, calls), expected, "{mode}");
        let (code, report) = check(&server);
        assert_eq!(code, Some(0), "{mode}: {report}");
        marker.assert_nothing_survives();
    }
    let echo = "ask('echo', text='hi'), ask('echo', text='ho')";
    gives("garbage", echo, json!(["hi", "ho"]));
    gives("asks-client", echo, json!(["hi", "ho"]));
    gives("floods-stderr", echo, json!(["hi", "ho"]));
    gives("grandchild", echo, json!(["hi", "ho"]));
    gives("ignores-eof-and-term", echo, json!(["hi", "ho"]));
    gives("duplicate-id", echo, json!(["first", "first"]));
    gives("slow-start", echo, json!(["hi", "ho"]));
    gives("deep-schema", "ask('shallow')", json!(["the depths are fine"]));
    gives("duplicate-tools", "ask('echo'), ask('other')", json!(["echo", "other"]));
    let hologram = json!({"type": "hologram", "depth": 3, "data": {"points": [1, 2]}});
    gives("unknown-content-type", "ask('show')", json!([["behold", hologram]]));
    let odd = "ask('get-sum'), ask('get_sum'), ask('a.b'), ask('with space'), ask('a\"b\\'c'), ask('class')";
    let called = |name: &str| json!(format!("called {name:?}"));
    let names = ["get-sum", "get_sum", "a.b", "with space", "a\"b'c", "class"];
    gives("bad-names", odd, names.map(called).into());
}

#[test]
fn tools_that_cannot_be_used_are_named_by_the_check() {
    #[track_caller]
    fn names(mode: &str, count: usize, problems: &[&str]) {
        let (code, report) = check(&fixtures::misbehaving(mode));
        assert_eq!((code, &report["tool_count"]), (Some(0), &json!(count)), "{report}");
        let told: Vec<_> = report["problems"].as_array().into_iter().flatten().collect();
        assert_eq!(told.len(), problems.len(), "{report}");
        for (told, expected) in told.iter().zip(problems) {
            assert_eq!(told, expected, "{mode}");
        }
    }
    names("deep-schema", 1, &["tool number 1 was left out: it is nested deeper than 127 levels"]);
    let twice = "tool \"echo\" was left out: another tool has the same name";
    names("duplicate-tools", 2, &[twice]);
    let bad = [
        "tool number 6 was left out: its name has control characters",
        "tool number 7 was left out: it has no name",
        "tool number 8 was left out: its name is longer than 256 bytes",
    ];
    names("bad-names", 17, &bad);
}

#[test]
fn a_megabyte_in_one_line_is_read_and_twenty_are_refused_and_the_connection_stays() {
    let calls = "len(ask('one_mebibyte')), ask('twenty_mebibytes'), len(ask('one_mebibyte'))";
    let server = fixtures::misbehaving("long-line");
    let toml = server.toml("x") + "[limits]\nanswer = \"4MiB\"\n";
    let code = format!("{ASK}\n[{calls}]");
    let run = Cli::new("run").config(&toml).arg("--json").args(["-c", &code]).run().success();
    let seen = run.json()["value"].clone();
    assert_eq!((&seen[0], &seen[2]), (&json!(1 << 20), &json!(1 << 20)), "{seen}");
    let message = seen[1][1].as_str().unwrap_or_default();
    assert!(message.contains("larger than 16777216 bytes; ask it for less at once"), "{seen}");
}

#[test]
fn an_answer_of_hostile_depth_is_a_failure_of_its_call_alone() {
    let seen = ask(&fixtures::misbehaving("deep-json"), "ask('deep'), ask('deep')");
    for answer in seen.as_array().expect("a list") {
        assert_eq!(answer[0], "ToolUnavailable");
        let message = answer[1].as_str().unwrap_or_default();
        assert!(message.contains("nested deeper than 127 levels"), "{message}");
    }
}

#[test]
fn ten_thousand_tools_are_listed_and_called_without_delay() {
    let server = fixtures::misbehaving("many-tools");
    let listed = Cli::new("tools").config(&server.toml("x")).arg("--json").run().success();
    let tools = listed.json()["servers"][0]["tools"].as_array().map(Vec::len);
    assert_eq!(tools, Some(10_000));
    assert!(listed.elapsed < Duration::from_secs(5), "{:?}", listed.elapsed);
    let calls = "from tools import x\n[x.tool_0(), tools['x']['tool_9999'](), x.tool_5000()]";
    let called = run(&server, calls).success();
    assert_eq!(called.json()["value"], json!(["tool_0", "tool_9999", "tool_5000"]));
    assert!(called.elapsed < Duration::from_secs(5), "{:?}", called.elapsed);
}

#[test]
fn a_list_without_end_is_cut() {
    let (code, report) = check(&fixtures::misbehaving("endless-list"));
    assert_eq!((code, &report["tool_count"]), (Some(0), &json!(1000)), "{report}");
    assert_eq!(report["problems"][0], "the list has more than 1000 pages and was cut");
}

#[test]
fn an_error_of_the_protocol_reaches_the_script_with_code_words_and_data() {
    let seen = ask(&fixtures::misbehaving("json-rpc-error"), "ask('echo', text='hi')");
    let words = "server x rejected the request: the index is being rebuilt (JSON-RPC error -32050)";
    assert_eq!(seen[0], json!(["ToolRejected", words, -32050, {"retry_after": 30}]));
    let seen = ask(&fixtures::misbehaving("rejects-arguments"), "ask('echo', text='hi')");
    assert_eq!((&seen[0][0], &seen[0][2]), (&json!("ToolRejected"), &json!(-32602)), "{seen}");
}

#[test]
fn a_list_that_changes_is_seen_by_the_next_run() {
    // Within a run names stay as they are; `call` is a run of its own.
    let server = fixtures::misbehaving("changes-tools");
    let code = "
before = dir(tools['x'])
tools['x']['first']()
[before, dir(tools['x'])]";
    let run = run(&server, code);
    assert_eq!(run.code(), Some(0), "{run}");
    let value = run.json()["value"].clone();
    assert_eq!(value[0], value[1], "{run}");
}

#[test]
fn a_secret_is_in_no_text_of_ours() {
    let secret = "tok-5f2a9c-do-not-tell";
    let server = fixtures::misbehaving("leaks-secret").env("MISBEHAVING_SECRET", "${THE_SECRET}");
    let cli = |command: &str| {
        let cli = Cli::new(command).config(&server.toml("x")).env("THE_SECRET", secret);
        cli.env("TOOLCELL_LOG", "trace,toolcell=trace")
    };
    let code = format!("{ASK}\n[ask('reject'), ask('exit')]");
    let run = cli("run").arg("--json").args(["-c", &code]).run().success();
    let seen = run.json()["value"].to_string();
    assert!(seen.contains("bad token [redacted]"), "{run}");
    assert!(seen.contains("panic while using token [redacted]"), "{run}");
    assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret), "{run}");
    let failed = cli("run").args(["-c", "tools['x']['exit']()"]).run().expect_code(4);
    assert!(!failed.stdout.contains(secret) && !failed.stderr.contains(secret), "{failed}");
    let checked = cli("check").run().success();
    assert!(!checked.stdout.contains(secret) && !checked.stderr.contains(secret), "{checked}");
}

/// A server with two grandchildren and one that is deaf to all requests to end.
fn stubborn(marker: &Marker) -> String {
    fixtures::misbehaving("grandchild").marked(marker).toml("x")
        + &fixtures::misbehaving("ignores-eof-and-term").marked(marker).toml("y")
}

const START_BOTH: &str = "tools['x']['echo'](text='1'); tools['y']['echo'](text='2'); ";

#[test]
fn no_process_is_left_however_the_script_ends() {
    #[track_caller]
    fn ends(code: &str, exit: i32) {
        let marker = Marker::new();
        let cli = Cli::new("run").config(&stubborn(&marker));
        let run = cli.args(["--fuel", "500M", "-c", &format!("{START_BOTH}{code}")]).run();
        marker.assert_nothing_survives_within(Duration::from_secs(5));
        run.expect_code(exit);
    }
    ends("1", 0);
    ends("1 / 0", 1);
    ends("exec('while True: pass')", 3);
}

#[test]
fn no_process_is_left_however_toolcell_ends() {
    #[track_caller]
    fn ends(signal: Signal, code: Option<i32>) {
        let marker = Marker::new();
        let code_text = format!("{START_BOTH}print('ready'); tools['x']['slow'](ms=60000)");
        let cli = Cli::new("run").config(&stubborn(&marker)).args(["-c", &code_text]);
        let running = cli.spawn();
        running.wait_for_line("ready");
        wait_until(Duration::from_secs(5), "both servers and both grandchildren live", || {
            let commands = marker.processes();
            let sleeping = commands.iter().filter(|(_, command)| command.starts_with("sleep"));
            sleeping.count() == 2
        });
        running.signal(signal);
        let finished = running.finish(Duration::from_secs(10));
        assert_eq!(finished.code(), code, "{signal:?}: {finished}");
        marker.assert_nothing_survives_within(Duration::from_secs(5));
    }
    ends(Signal::Interrupt, Some(130));
    ends(Signal::Terminate, Some(130));
    ends(Signal::Kill, None);
}

#[test]
fn ctrl_c_ends_a_check_and_a_list_of_tools_too() {
    for command in ["check", "tools"] {
        let marker = Marker::new();
        let toml = fixtures::misbehaving("silent").marked(&marker).toml("x");
        let running = Cli::new(command).config(&toml).spawn();
        marker.wait_for_one();
        running.signal(Signal::Interrupt);
        running.finish(Duration::from_secs(5)).expect_code(130);
        marker.assert_nothing_survives_within(Duration::from_secs(5));
    }
}

#[test]
fn a_server_gets_its_own_variables_and_folder_and_none_of_the_hosts() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let out = folder.path().join("out");
    let script = format!("env > {0}.new; pwd >> {0}.new; mv {0}.new {0}; exit 9", out.display());
    let server = Server::stdio("sh", &["-c", &script]).env("MINE", "${THE_TOKEN}");
    let server = server.setting(&format!("cwd = {:?}", folder.path().display().to_string()));
    let cli = Cli::new("check").config(&server.toml("x"));
    cli.env("THE_TOKEN", "resolved").env("AWS_SECRET", "of-the-host").run().expect_code(1);
    let seen = fs::read_to_string(&out).expect("the server ran");
    assert!(seen.contains("MINE=resolved\n"), "{seen}");
    assert!(!seen.contains("AWS_SECRET") && !seen.contains("THE_TOKEN"), "{seen}");
    let folder = folder.path().canonicalize().expect("the folder is there");
    assert_eq!(seen.lines().last().map(Path::new), Some(folder.as_path()), "{seen}");
}

#[test]
fn the_operators_word_stands_behind_a_failure_before_a_call_and_in_one() {
    let hints =
        "hints = { on_unavailable = \"the archive has older rates\", fallback = \"ok.echo\" }";
    let toml = Server::stdio("/no/such/program", &[]).setting(hints).toml("missing")
        + &fixtures::misbehaving("exit-in-call").setting(hints).toml("dying")
        + &fixtures::misbehaving("ok").toml("ok");
    let code = "import tools\nseen = []\nfor server in ['missing', 'dying']:\n    try:\n        \
                tools[server]['echo'](text='1')\n    except tools.ToolUnavailable as error:\n        \
                seen.append(str(error))\nseen";
    let run = Cli::new("run").config(&toml).args(["--json", "-c", code]).run().success().json();
    let seen = run["value"].as_array().expect("a list");
    assert_eq!(seen.len(), 2, "{run}");
    for message in seen {
        let message = message.as_str().expect("a text");
        let word = "; the archive has older rates; use `ok.echo` instead";
        assert!(message.ends_with(word), "{message}");
    }
}
