//! The one road outward: what is counted, recorded, bounded and handed back.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use toolcell::journal::{EntryKind, JournalStore, MemoryStore};
use toolcell::{Host, Script};
use toolcell_tests::{Cli, fixtures};

use crate::hosts::{Configured, block_on, cache_folder, failure, value};

/// The misbehaving server as `x`, with a log, and more lines of configuration.
fn configured(mode: &str, more: &str) -> Configured {
    Configured::new(|folder| {
        let log = folder.join("log");
        let server = fixtures::misbehaving(mode);
        server.env("MISBEHAVING_LOG", log.to_str().expect("UTF-8")).toml("x") + more
    })
}

/// What arrived at the server, without the handshake.
fn calls(host: &Configured) -> Vec<String> {
    let log = host.read("log");
    let lines =
        log.lines().filter(|line| line.starts_with("tools/call") || line.contains("cancelled"));
    lines.map(ToOwned::to_owned).collect()
}

#[test]
fn one_handshake_and_one_list_serve_all_runs_of_a_host() {
    let host = configured("ok", "");
    let code = "import asyncio\nfrom tools import aio\n\
                await asyncio.gather(*(aio.x.echo(text=str(n)) for n in range(5)))";
    for _ in 0..3 {
        assert_eq!(value(&host.python(code)), json!(["0", "1", "2", "3", "4"]));
    }
    let log = host.read("log");
    let count = |method: &str| log.lines().filter(|line| line.starts_with(method)).count();
    let handshakes = count("server/discover") + count("initialize");
    assert_eq!((handshakes, count("tools/list"), count("tools/call")), (1, 1, 15), "{log}");
}

#[test]
fn the_journal_has_what_went_out_and_what_the_script_saw_in_its_order() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("toolcell.toml");
    fs::write(&file, fixtures::misbehaving("ok").toml("x")).expect("a file can be written");
    let store = Arc::new(MemoryStore::default());
    let journal: Arc<dyn JournalStore> = store.clone();
    let builder = Host::builder().config_file(file).cache_folder(cache_folder());
    let host =
        block_on(builder.journal(journal).ready_instances(0).build()).expect("a host starts");
    let code = "
import asyncio
from tools import aio, x
await asyncio.gather(aio.x.slow(ms=400), aio.x.echo(text='quick'))
try:
    tools['x']['nothing']()
except tools.ToolError:
    pass
try:
    x.fail(message='no')
except tools.ToolError:
    pass
task = asyncio.create_task(aio.x.slow(ms=60000))
await asyncio.wait([task], timeout=0.3)
task.cancel()
await asyncio.wait([task])
x.add(a=1)";
    let report = block_on(host.run(Script::python(code).seed(7).name("told.py"))).expect("it runs");
    assert!(report.ok, "{report:#?}");
    let entries = block_on(store.entries(&report.run)).expect("the run has a record");
    let told = entries.iter().map(|entry| match &entry.kind {
        EntryKind::Started { name, seed, profile, .. } => {
            format!("started {name} {seed} {profile}")
        }
        EntryKind::Requested { call, tool, arguments, .. } => {
            format!("{call} requested {tool} {arguments}")
        }
        EntryKind::Refused { call, tool, kind } => format!("{call} refused {tool} {kind}"),
        EntryKind::Completed { call, answer } => match answer.as_ref() {
            Ok(output) if output.is_error => format!("{call} failed {}", output.first_text()),
            Ok(output) => format!("{call} answered {}", output.first_text()),
            Err(error) => format!("{call} error {}", error.kind()),
        },
        EntryKind::Cancelled { call } => format!("{call} cancelled"),
        EntryKind::Ended { outcome } => format!("ended {outcome}"),
    });
    let mut told: Vec<String> = told.collect();
    // The two that go out at once may do so in either order.
    told[1..3].sort();
    assert_eq!(
        told,
        [
            "started told.py 7 default",
            "#1 requested x.slow {\"ms\":400}",
            "#2 requested x.echo {\"text\":\"quick\"}",
            "#2 answered quick",
            "#1 answered after 400 ms",
            "#3 refused x.nothing unknown-tool",
            "#3 error unknown-tool",
            "#4 requested x.fail {\"message\":\"no\"}",
            "#4 failed no",
            "#5 requested x.slow {\"ms\":60000}",
            "#5 cancelled",
            "#6 requested x.add {\"a\":1}",
            "#6 answered 2",
            "ended ok",
        ]
    );
    block_on(host.close());
}

#[test]
fn the_report_lists_every_call_with_its_failure() {
    let host = configured("ok", "");
    let report = host.python(
        "
for name, arguments in (('echo', {'text': 'a'}), ('fail', {'message': 'no'}), ('echo', {'txt': 'b'}), ('none', {})):
    try:
        tools['x'][name](**arguments)
    except tools.ToolError:
        pass
1 / 0",
    );
    assert_eq!(failure(&report).0, "exception");
    let seen: Vec<_> = report
        .calls
        .iter()
        .map(|call| (call.tool.as_str(), call.ok, call.error.as_ref().map(|error| error.kind)))
        .collect();
    let expected = [
        ("x.echo", true, None),
        ("x.fail", false, Some("tool")),
        ("x.echo", false, Some("invalid-arguments")),
        ("x.none", false, Some("unknown-tool")),
    ];
    assert_eq!(seen, expected);
    assert_eq!(report.usage.tool_calls, 4);
    assert_eq!(calls(&host).len(), 2, "what is refused does not leave");
}

#[test]
fn no_more_calls_are_out_at_once_than_the_profile_allows_and_the_others_wait() {
    let host = configured("never-answers-call", "[limits]\nconcurrent_calls = 2\n");
    let code = "
import asyncio
from tools import aio
tasks = [asyncio.create_task(aio.x.echo(text=str(n))) for n in range(5)]
for task in tasks:
    await asyncio.wait([task], timeout=0.3)
    task.cancel()
    await asyncio.wait([task])
[task.cancelled() for task in tasks]";
    assert_eq!(value(&host.python(code)), json!([true, true, true, true, true]));
    let (mut out, mut most, mut made) = (0_i32, 0, 0);
    for line in calls(&host) {
        let is_call = line.starts_with("tools/call");
        made += i32::from(is_call);
        out += if is_call { 1 } else { -1 };
        most = most.max(out);
    }
    // A call that was cancelled while it waited for a place was not made.
    assert!((3..=5).contains(&made) && most == 2, "{:#?}", calls(&host));
}

#[test]
fn calls_that_wait_for_a_place_are_all_made() {
    let host = configured("ok", "[limits]\nconcurrent_calls = 1\n");
    let code = "
import asyncio
from tools import aio
await asyncio.gather(*(aio.x.echo(text=str(n)) for n in range(8)))";
    let expected: Vec<String> = (0..8).map(|n| n.to_string()).collect();
    assert_eq!(value(&host.python(code)), json!(expected));
    let made: Vec<String> =
        expected.iter().map(|n| format!("tools/call echo {{\"text\":\"{n}\"}}")).collect();
    let mut seen = calls(&host);
    seen.sort();
    assert_eq!(seen, made);
}

/// What a script saw of one call that went wrong: its class, kind and text.
#[track_caller]
fn caught(host: &Configured, call: &str) -> Value {
    let code = format!(
        "from tools import x\ntry:\n    seen = {call}\nexcept tools.ToolError as error:\n    \
         seen = [type(error).__name__, error.kind, str(error)]\nseen"
    );
    value(&host.python(&code))
}

#[test]
fn a_call_that_takes_too_long_is_a_value_and_the_connection_stays() {
    let host = configured("ok", "[limits]\ncall_timeout = \"300ms\"\n");
    let seen = caught(&host, "x.slow(ms=60000)");
    assert_eq!((&seen[0], &seen[1]), (&json!("ToolTimeout"), &json!("timed-out")), "{seen}");
    assert_eq!(caught(&host, "x.echo(text='still here')"), "still here");
    let log = host.read("log");
    assert_eq!(log.matches("notifications/cancelled").count(), 1, "{log}");
    assert_eq!(log.matches("tools/list").count(), 1, "the connection is the same:\n{log}");
}

#[test]
fn an_answer_that_is_too_large_is_refused_with_both_sizes() {
    let host = configured("ok", "[limits]\nanswer = \"10KiB\"\n");
    assert_eq!(caught(&host, "len(x.big(bytes=10000))"), 10_000);
    let seen = caught(&host, "x.big(bytes=20000)");
    let words = seen[2].as_str().unwrap_or_default();
    assert_eq!(seen[1], "exhausted");
    assert!(words.contains("20000 bytes") && words.contains("10240"), "{words}");
}

#[test]
fn arguments_that_are_too_large_do_not_leave() {
    let host = configured("ok", "[limits]\nargument = \"1KiB\"\n");
    let seen = caught(&host, "x.echo(text='x' * 2000)");
    let words = seen[2].as_str().unwrap_or_default();
    assert_eq!(seen[1], "exhausted");
    assert!(words.contains("may be 1024; send less at once"), "{words}");
    assert_eq!(calls(&host), [""; 0]);
}

#[test]
fn calls_beyond_their_number_are_refused_and_then_the_limit_is_reached() {
    let host = configured("ok", "[limits]\ntool_calls = 3\n");
    let code = "from tools import x\nfor n in range(5):\n    x.echo(text=str(n))";
    let report = host.python(code);
    let (kind, message, _) = failure(&report);
    assert_eq!(kind, "limit.tool_calls", "{message}");
    assert_eq!(calls(&host).len(), 3);
    let seen = caught(&host, "[x.echo(text='a') for _ in range(4)]");
    assert_eq!(seen[1], "exhausted", "{seen}");
}

#[test]
fn one_broken_server_leaves_the_others_usable() {
    let toml = fixtures::misbehaving("exit-at-start").toml("broken")
        + &fixtures::misbehaving("silent").setting("connect_timeout = \"500ms\"").toml("silent")
        + &fixtures::misbehaving("ok").toml("fine");
    let code = "
import asyncio
async def ask(server):
    try:
        from tools import aio
        return await getattr(aio, server).echo(text='hi')
    except tools.ToolError as error:
        return type(error).__name__
await asyncio.gather(ask('broken'), ask('silent'), ask('fine'))";
    let run = Cli::new("run").config(&toml).arg("--json").args(["-c", code]).run().success();
    assert_eq!(run.json()["value"], json!(["ToolUnavailable", "ToolTimeout", "hi"]), "{run}");
    assert!(run.elapsed < Duration::from_secs(10), "{:?}", run.elapsed);
}

#[test]
fn structured_content_keeps_every_value_and_arguments_every_digit() {
    let host = configured("ok", "");
    let report =
        host.python("from tools import x\n[x.structured(), x.add(a=9007199254740993, b=0)]");
    let expected = json!([
        {
            "text": "Grüße, 世界 \u{1F30D}", "integer": 9_007_199_254_740_993_i64, "float": 0.1, "yes": true,
            "nothing": null, "list": [1, "two", [3]], "object": {"a.b": {"": 0}},
        },
        {"sum": 9_007_199_254_740_993_i64},
    ]);
    assert_eq!(value(&report), expected);
}
