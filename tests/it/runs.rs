//! Runs that call tools: by all their names, one by one and at once, refused and cancelled.

use serde_json::{Value, json};
use toolcell::Script;
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::{fixtures, wait_until};

use crate::hosts::{Configured, failure, value};

/// A server of ours that keeps a log of what arrives, a folder of files, and one with that log, so that
/// a script can see what has arrived.
fn servers(mode: &'static str) -> Configured {
    Configured::new(|folder| {
        std::fs::create_dir(folder.join("docs")).expect("a folder can be made");
        std::fs::write(folder.join("docs/a.txt"), "hello\n").expect("a file can be written");
        std::fs::create_dir(folder.join("seen")).expect("a folder can be made");
        std::fs::write(folder.join("seen/log"), "").expect("a file can be written");
        let log = folder.join("seen/log");
        let log = log.to_str().expect("UTF-8");
        let fake = fixtures::misbehaving(mode).env("MISBEHAVING_LOG", log).toml("fake");
        let roots = "{ docs = \"docs\", seen = \"seen\" }";
        format!("{fake}\n[servers.files]\nbuiltin = \"files\"\nroots = {roots}\n")
    })
}

/// The lines of the server's log that begin so.
fn logged(servers: &Configured, start: &str) -> Vec<String> {
    let lines = servers.read("seen/log");
    lines.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

#[test]
fn tools_are_functions_under_all_their_names() {
    let servers = servers("ok");
    let report = servers.python(
        r#"from tools import aio, fake, files
import tools as module
[
    files.read_file(path="docs/a.txt")["text"],
    fake.echo(text="by keyword"),
    fake.echo("by position"),
    fake.echo({"text": "by dict"}),
    tools["fake"]["echo"](text="by name"),
    tools.fake.add(a=1),
    module.call("fake.add", {"a": 1, "b": 2}) if hasattr(module, "call") else None,
    await aio.fake.echo(text="awaited"),
    await aio["fake"]["add"](a=2),
]"#,
    );
    assert_eq!(
        value(&report),
        json!([
            "hello\n",
            "by keyword",
            "by position",
            "by dict",
            "by name",
            {"sum": 2},
            {"sum": 3},
            "awaited",
            {"sum": 3},
        ])
    );
    assert_eq!(report.usage.tool_calls, 9);
    assert!(report.calls.iter().all(|call| call.ok) && report.calls.len() == 9);
}

#[test]
fn answers_become_native_values() {
    let servers = servers("ok");
    let report = servers.python(
        r#"answer = tools.fake.structured()
assert answer["integer"] == 9007199254740993, answer
text, image = tools.fake.image()
[answer, text, type(image).__name__, image]"#,
    );
    let value = value(&report);
    assert_eq!(value[0]["text"], "Grüße, 世界 \u{1F30D}");
    assert_eq!(value[0]["integer"], 9_007_199_254_740_993_i64);
    assert_eq!(value[0]["object"], json!({"a.b": {"": 0}}));
    assert_eq!((&value[1], &value[2]), (&json!("one pixel"), &json!("Image")));
    assert_eq!(value[3]["mimeType"], "image/png");
}

#[test]
fn any_name_is_reachable() {
    let servers = Configured::new(|_| fixtures::misbehaving("bad-names").toml("odd-names"));
    let report = servers.python(
        r#"server = tools["odd-names"]
[server[name]() for name in ["a.b", "with space", "ünï", "class", "1st", "__class__"]] + [
    tools.odd_names.plain(), tools.odd_names.a_b(), tools.odd_names.class_(), tools.odd_names._1st()]"#,
    );
    let names =
        ["a.b", "with space", "ünï", "class", "1st", "__class__", "plain", "a.b", "class", "1st"];
    let expected: Vec<Value> = names.iter().map(|name| json!(format!("called {name:?}"))).collect();
    assert_eq!(value(&report), Value::from(expected));
}

#[test]
fn calls_are_made_at_once() {
    // Nothing is answered, so that the second and third call can only have left beside the first.
    let servers = servers("never-answers-call");
    let report = servers.python(
        r#"import asyncio
done = []
async def one(text):
    try:
        await aio.fake.echo(text=text)
    finally:
        done.append(text)

try:
    async with asyncio.timeout(0.3):
        await asyncio.gather(*(one(text) for text in "abc"))
except TimeoutError:
    done.append("timeout")
done"#,
    );
    assert_eq!(value(&report), json!(["a", "b", "c", "timeout"]));
    assert_eq!(logged(&servers, "tools/call").len(), 3);
    wait_until(PATIENCE, "all three are cancelled at the server", || {
        logged(&servers, "notifications/cancelled").len() == 3
    });
    let kinds = report.calls.iter().map(|call| call.error.as_ref().map(|error| error.kind));
    assert_eq!(kinds.collect::<Vec<_>>(), [Some("cancelled"); 3]);
}

#[test]
fn answers_are_taken_as_they_come() {
    let report = servers("ok").python(
        r#"import asyncio
first = [await next_ for next_ in asyncio.as_completed(
    [aio.fake.slow(ms=400), aio.fake.slow(ms=1), aio.fake.echo(text="echo")])]
async with asyncio.TaskGroup() as group:
    tasks = [group.create_task(aio.fake.add(a=n)) for n in range(20)]
results = await asyncio.gather(
    aio.fake.echo(text="ok"), aio.fake.fail(message="no"), return_exceptions=True)
done, pending = await asyncio.wait(
    [asyncio.ensure_future(aio.fake.slow(ms=60000)), asyncio.ensure_future(aio.fake.echo(text="x"))],
    return_when=asyncio.FIRST_COMPLETED)
[first[-1], [task.result()["sum"] for task in tasks], results[0], repr(results[1]),
    [task.result() for task in done], len(pending)]"#,
    );
    let sums: Vec<u64> = (1..=20).collect();
    assert_eq!(value(&report), json!(["after 400 ms", sums, "ok", "ToolError('no')", ["x"], 1]));
}

#[test]
fn one_call_is_cancelled_and_the_others_go_on() {
    let servers = servers("ok");
    let report = servers.python(
        r#"import asyncio

# One that is cancelled before it left is nothing that a server could hear of.
async def has_arrived(ms):
    while f'slow {{"ms":{ms}}}' not in (await aio.files.read_file(path="seen/log"))["text"]:
        await asyncio.sleep(0.01)

async def fail_after(ms):
    await has_arrived(ms)
    await aio.fake.fail(message="the group ends")

task = asyncio.create_task(aio.fake.slow(ms=60_000))
await aio.fake.echo(text="beside")
await has_arrived(60_000)
task.cancel()
try:
    await task
except asyncio.CancelledError:
    print("cancelled")
task = asyncio.create_task(aio.fake.slow(ms=50_000))
await has_arrived(50_000)
try:
    await asyncio.wait_for(task, 0.05)
except TimeoutError:
    print("timed out")
try:
    async with asyncio.TaskGroup() as group:
        group.create_task(aio.fake.slow(ms=40_000))
        group.create_task(fail_after(40_000))
except* tools.ToolError as group:
    print(group.exceptions[0])
await aio.fake.add(a=1, b=2)"#,
    );
    assert_eq!(value(&report), json!({"sum": 3}));
    assert_eq!(report.stdout, "cancelled\ntimed out\nthe group ends\n");
    wait_until(PATIENCE, "three calls are cancelled at the server", || {
        logged(&servers, "notifications/cancelled").len() == 3
    });
    let cancelled = report.calls.iter().filter(|call| {
        !call.ok && call.error.as_ref().is_some_and(|error| error.kind == "cancelled")
    });
    assert!(cancelled.clone().all(|call| call.tool == "fake.slow"), "{:#?}", report.calls);
    assert_eq!(cancelled.count(), 3);
    assert_eq!(report.calls.len() as u64, report.usage.tool_calls);
}

#[test]
fn arguments_are_checked_before_they_leave() {
    let servers = servers("ok");
    for (source, path, words) in [
        ("tools.fake.add(a='x')", "/a", "is not of type \"integer\""),
        ("tools.fake.add()", "", "\"a\" is a required property"),
        ("tools.fake.add(a=1, c=2)", "", "'c' was unexpected"),
        ("tools.fake.nested(filter={'field': 'x', 'range': [1]})", "/filter/range", ""),
        ("tools.fake.nested(filter={'field': 'x'}, order='up')", "/order", ""),
    ] {
        let report = servers.python(&format!(
            "try:\n    {source}\nexcept tools.InvalidArguments as error:\n    result = [error.path, str(error)]"
        ));
        let value = value(&report);
        assert_eq!(value[0], path, "{value}");
        let message = value[1].as_str().expect("a text");
        assert!(message.contains(words), "{message}");
    }
    let report = servers.python("tools.fake.add(a=object())");
    assert!(!report.ok, "{report:#?}");
    let (kind, ..) = failure(&servers.python("tools.fake.add(a='x')"));
    assert_eq!(kind, "tool.invalid-arguments");
    assert_eq!(logged(&servers, "tools/call"), [""; 0], "nothing left");
    servers.python("tools.fake.add(a=1)");
    assert_eq!(logged(&servers, "tools/call"), [r#"tools/call add {"a":1}"#]);
}

#[test]
fn a_tools_own_failure_is_told_in_its_words() {
    let servers = servers("ok");
    let report = servers.python("print('before')\ntools.fake.fail(message='the index is gone')");
    let (kind, message, traceback) = failure(&report);
    assert_eq!((kind.as_str(), message), ("tool.error", "tools.ToolError: the index is gone"));
    assert!(traceback.contains("line 2, in <module>"), "{traceback}");
    assert!(!traceback.contains("toolcell_runtime"), "{traceback}");
    assert_eq!(report.stdout, "before\n");
    let call = &report.calls[0];
    assert_eq!((call.tool.as_str(), call.ok), ("fake.fail", false));
    assert_eq!(call.error.as_ref().map(|error| error.kind), Some("tool"));

    let report = servers.python(
        "from tools import ToolError\ntry:\n    tools.fake.fail(message='x')\nexcept ToolError as error:\n    result = [error.message, error.tool, error.kind]",
    );
    assert_eq!(value(&report), json!(["x", "fake.fail", "tool"]));
}

#[test]
fn every_kind_of_failure_has_a_class_of_its_own() {
    let servers = Configured::new(|_| {
        let servers = [
            fixtures::misbehaving("ok").toml("fake"),
            fixtures::misbehaving("json-rpc-error").toml("rejecting"),
            fixtures::misbehaving("exit-in-call").toml("dying"),
            fixtures::misbehaving("never-answers-call")
                .setting("call_timeout = \"100ms\"")
                .toml("hanging"),
            "[servers.absent]\ncommand = \"/no/such/program\"\n".to_owned(),
            "[profiles.p]\ntools = [\"*.*\", \"!fake.big\"]\n".to_owned(),
            "[[profiles.p.rules]]\ntool = \"fake.slow\"\neffect = \"deny\"\n".to_owned(),
        ];
        servers.concat()
    });
    let report = servers.python(
        r#"answers = []
for call, kinds in [
    (lambda: tools["fake"]["big"](bytes=1), (tools.UnknownTool, LookupError)),
    (lambda: tools["fake"]["nope"](), (tools.UnknownTool, LookupError)),
    (lambda: tools.fake.slow(ms=1), (tools.ToolDenied, tools.ToolError)),
    (lambda: tools.rejecting.echo(text="x"), (tools.ToolRejected, tools.ToolError)),
    (lambda: tools.dying.add(a=1), (tools.ToolUnavailable, ConnectionError)),
    (lambda: tools.hanging.add(a=1), (tools.ToolTimeout, TimeoutError)),
    (lambda: tools["absent"]["x"](), (tools.ToolUnavailable, ConnectionError)),
]:
    try:
        call()
        answers.append("no error")
    except Exception as error:
        answers.append(type(error).__name__)
        if not all(isinstance(error, kind) for kind in kinds):
            answers.append(f"{type(error).__mro__}: {error}")
answers"#,
    );
    let expected = [
        "UnknownTool",
        "UnknownTool",
        "ToolDenied",
        "ToolRejected",
        "ToolUnavailable",
        "ToolTimeout",
        "ToolUnavailable",
    ];
    let got = value(&report);
    let got: Vec<&str> = got.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(got, expected);
}

#[test]
fn a_call_that_is_out_when_the_run_ends_is_in_the_report() {
    let servers = servers("ok");
    let report = servers.python(
        "import asyncio\ntask = asyncio.create_task(aio.fake.slow(ms=60_000))\nawait aio.fake.echo(text='x')\n1 / 0",
    );
    assert_eq!(failure(&report).0, "exception");
    let calls: Vec<_> = report.calls.iter().map(|call| (call.tool.as_str(), call.ok)).collect();
    assert_eq!(calls, [("fake.echo", true), ("fake.slow", false)]);
    wait_until(PATIENCE, "the call is cancelled at the server", || {
        logged(&servers, "notifications/cancelled").len() == 1
    });
}

#[test]
fn a_wait_that_nothing_can_end_is_an_error_there() {
    let report = servers("ok").python("import asyncio\nawait asyncio.Event().wait()");
    assert!(failure(&report).1.starts_with("RuntimeError: deadlock"), "{:?}", report.error);
}

#[test]
fn one_run_leaves_nothing_for_the_next() {
    let servers = servers("ok");
    servers.python("import builtins, json, sys\nleft = 1\nbuiltins.left2 = 1\njson.dumps = None\nsys.left3 = 1\ntools.fake.echo.x = 1 if False else None");
    let report = servers.run(Script::python(
        "import json, sys\n['left' in globals(), 'left2' in dir(__builtins__), json.dumps(1), hasattr(sys, 'left3')]",
    ));
    assert_eq!(value(&report), json!([false, false, "1", false]));
}
