//! Sessions of Python: what scripts of one name leave to each other, and what they never do.

use std::time::Duration;

use serde_json::{Value, json};
use toolcell::events::RunEvent;
use toolcell::limits::Limits;
use toolcell::runs::{SessionName, SessionSettings, SessionState};
use toolcell::upstream::Caller;
use toolcell::{RunReport, Script};
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::{Marker, fixtures, wait_until};

use crate::facade::{first_text, session as agent};
use crate::hosts::{Configured, block_on, failure, value};

fn without_servers() -> Configured {
    Configured::new(|_| String::new())
}

fn with_server(marker: &Marker) -> Configured {
    Configured::new(|folder| {
        let log = folder.join("log");
        let server = fixtures::misbehaving("ok").marked(marker);
        server.env("MISBEHAVING_LOG", log.to_str().expect("UTF-8")).toml("fake")
    })
}

fn cell(source: &str) -> Script {
    Script::python(source).session("a")
}

fn caller(id: &str) -> Caller {
    Caller { id: Some(id.into()), ..Caller::anonymous() }
}

fn name(text: &str) -> SessionName {
    SessionName::try_new(text).expect("a name")
}

#[track_caller]
fn state(report: &RunReport) -> SessionState {
    report.session.as_ref().expect("it ran in a session").state
}

#[test]
fn an_agent_keeps_its_variables_looks_at_its_sessions_and_ends_one() {
    for mode in ["legacy", "auto"] {
        let program = json!([
            ["run_python", { "code": "import math\nx = 20\ndef double(n): return 2 * n", "session": "work" }],
            ["run_python", { "code": "double(x) + math.floor(2.5)", "session": "work" }],
            ["run_python", { "code": "x", "session": "other" }],
            ["run_python", { "code": "x" }],
            ["sessions", {}],
            ["sessions", { "reset": "work" }],
            ["run_python", { "code": "x", "session": "work" }],
            ["sessions", { "reset": "gone" }],
            ["run_python", { "code": "1", "session": "a/b" }],
            ["run_python", { "code": "1", "session": 7 }],
        ]);
        let seen = agent("", mode, &program);
        let answers = seen["answers"].as_array().expect("a list");
        let session = |at: usize| &answers[at]["structuredContent"]["session"];
        assert_eq!(session(0)["state"], "new", "{}", answers[0]);
        assert!(first_text(&answers[0]).contains("`work` is new"), "{}", answers[0]);
        assert_eq!(answers[1]["structuredContent"]["value"], 42);
        assert_eq!(first_text(&answers[1]), "42");
        assert_eq!((&session(1)["state"], &session(1)["runs"]), (&json!("kept"), &json!(2)));
        assert!(session(1)["idle_expires"].is_string());
        for stranger in [2, 3, 6] {
            let text = first_text(&answers[stranger]);
            assert!(text.contains("NameError"), "{stranger}: {text}");
        }
        assert_eq!(session(3), &Value::Null);
        assert_eq!(session(6)["state"], "new", "{}", answers[6]);
        let listed = first_text(&answers[4]);
        assert!(
            listed.contains("work (python): 2 runs") && listed.contains("other (python): 1 run,"),
            "{listed}"
        );
        let left = &answers[5]["structuredContent"]["sessions"];
        assert_eq!(left.as_array().map(Vec::len), Some(1), "{left}");
        for (at, part) in
            [(7, "no session `gone`; there are `other`, `work`"), (8, "\"a/b\""), (9, "`session`")]
        {
            assert_eq!(answers[at]["isError"], true, "{}", answers[at]);
            assert!(first_text(&answers[at]).contains(part), "{}", answers[at]);
        }
    }
}

#[test]
fn variables_imports_functions_and_classes_stay_and_inputs_do_not() {
    let host = without_servers();
    let first = "import json as j
from dataclasses import dataclass
@dataclass
class Point:
    x: int
points = [Point(1)]
def total(): return sum(point.x for point in points)
seen = inputs";
    assert_eq!(state(&host.run(cell(first).input(json!(5)))), SessionState::New);
    let second = "points.append(Point(2))\n[total(), j.dumps(seen), inputs, __name__]";
    let report = host.run(cell(second));
    assert_eq!(value(&report), json!([3, "5", null, "__main__"]));
    assert_eq!(state(&report), SessionState::Kept);
    assert_eq!(report.session.as_ref().map(|session| session.runs), Some(2));
    assert!(!report.replayable);
}

#[test]
fn a_result_of_an_earlier_script_is_a_variable_and_no_value() {
    let host = without_servers();
    assert_eq!(value(&host.run(cell("result = 5"))), json!(5));
    assert!(host.run(cell("x = 1")).value.is_none());
    assert_eq!(value(&host.run(cell("result + 1"))), json!(6));
    assert_eq!(
        value(&host.run(cell("result = 5"))),
        json!(5),
        "the same object, but this script's"
    );
    assert!(host.run(cell("if not result: result = 7")).value.is_none());
    assert_eq!(value(&host.run(cell("result += 1"))), json!(6));
    assert_eq!(
        value(&host.run(cell("def f():\n    global result\n    result = 6\nf()"))),
        json!(6)
    );
    assert!(host.run(cell("del result")).ok);
    assert_eq!(failure(&host.run(cell("result"))).0, "exception");
}

#[test]
fn awaits_work_in_each_and_what_is_left_running_ends_with_its_script() {
    let marker = Marker::new();
    let host = with_server(&marker);
    let first = "import asyncio
ticks = []
async def tick():
    while True:
        ticks.append(1)
        await asyncio.sleep(0.01)
left = asyncio.create_task(tick())
slow = asyncio.create_task(aio.fake.slow(ms=600_000))
await asyncio.sleep(0.03)
len(ticks) > 0";
    assert_eq!(value(&host.run(cell(first))), json!(true));
    wait_until(PATIENCE, "the call is cancelled", || {
        host.read("log").contains("notifications/cancelled")
    });
    let second = "before = len(ticks)
sums = await asyncio.gather(*(aio.fake.add(a=n) for n in range(3)))
await asyncio.sleep(0.05)
[len(ticks) == before, left.cancelled(), slow.cancelled(), [one['sum'] for one in sums]]";
    let report = host.run(cell(second));
    assert_eq!(value(&report), json!([true, true, true, [1, 2, 3]]));
    let calls: Vec<_> = report.calls.iter().map(|call| call.tool.as_str()).collect();
    assert_eq!(calls, ["fake.add"; 3], "the calls of a run are its own");
}

#[test]
fn sessions_are_their_callers_alone() {
    let host = without_servers();
    let of = |who: &str, source: &str| host.run(cell(source).caller(caller(who)));
    of("ann", "x = 'hers'");
    let stranger = of("bob", "x");
    assert_eq!(failure(&stranger).0, "exception");
    assert_eq!(state(&stranger), SessionState::New);
    assert_eq!(value(&of("ann", "x")), json!("hers"));
    let sessions = host.host.sessions();
    assert!(!sessions.reset(&caller("eve"), "default", &name("a")));
    assert!(sessions.list(&caller("eve"), None).is_empty());
    assert_eq!(sessions.list(&caller("ann"), None).len(), 1);
    assert!(sessions.reset(
        &caller("bob"),
        &sessions.list(&caller("bob"), None)[0].profile,
        &name("a")
    ));
    assert_eq!(value(&of("ann", "x")), json!("hers"));
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits { memory_bytes: 128 << 20, ..Limits::default() };
    change(&mut limits);
    limits
}

#[test]
fn what_a_limit_does_to_a_session_is_said() {
    let marker = Marker::new();
    let host = with_server(&marker);
    let little_fuel = limits(|limits| limits.fuel = 300_000_000);
    let one_call = limits(|limits| limits.tool_calls = 1);
    let short = limits(|limits| limits.deadline = Duration::from_millis(300));
    let no_compute = limits(|limits| limits.compute_time = Duration::from_millis(300));
    let plain = || limits(|_| {});
    for (source, limits, kind, expected) in [
        ("x = bytearray(1 << 30)", plain(), "limit.memory", SessionState::Kept),
        ("def f(): f()\nf()", plain(), "limit.stack", SessionState::Kept),
        (
            "[tools.fake.add(a=n) for n in range(3)]",
            one_call,
            "limit.tool_calls",
            SessionState::Kept,
        ),
        ("'x' * 10_000_000", plain(), "limit.output", SessionState::Kept),
        ("raise ValueError('mine')", plain(), "exception", SessionState::Kept),
        ("1 +", plain(), "syntax", SessionState::Kept),
        ("import sys\nsys.exit(3)", plain(), "exit", SessionState::Kept),
        ("while True: pass", little_fuel, "limit.fuel", SessionState::Lost),
        ("while True: pass", no_compute, "limit.compute_time", SessionState::Lost),
        ("import time\ntime.sleep(600)", short, "limit.deadline", SessionState::Lost),
        ("while True: print('x' * 100_000)", plain(), "limit.output", SessionState::Lost),
    ] {
        assert!(host.run(cell("y = 'before'").limits(plain())).ok, "{source}");
        let report = host.run(cell(source).limits(limits));
        assert_eq!(failure(&report).0, kind, "{source}");
        assert_eq!(state(&report), expected, "{source}");
        let after = host.run(cell("y").limits(plain()));
        match expected {
            SessionState::Lost => {
                assert_eq!(state(&after), SessionState::New, "{source}");
                assert!(failure(&after).1.contains("NameError"), "{source}");
            }
            _ => assert_eq!(value(&after), json!("before"), "{source}"),
        }
        host.host.sessions().end_all();
    }
}

#[test]
fn the_memory_limit_is_one_for_the_whole_session_and_can_be_recovered_from() {
    let host = without_servers();
    let run = |source: &str| host.run(cell(source).limits(limits(|_| {})));
    run("kept = []");
    let full = (0..20).map(|_| run("kept.append(bytearray(16 << 20))")).find(|report| !report.ok);
    let full = full.expect("sixteen times as much as the limit does not fit");
    assert_eq!(failure(&full).0, "limit.memory");
    assert_eq!(state(&full), SessionState::Kept);
    let report = run("count = len(kept)\nkept.clear()\ncount");
    assert!(value(&report).as_u64().is_some_and(|count| (2..8).contains(&count)), "{report:#?}");
    assert_eq!(value(&run("len(bytearray(32 << 20))")), json!(32 << 20));
}

#[test]
fn a_cancelled_run_loses_its_session_and_one_that_waits_does_not() {
    let marker = Marker::new();
    let host = with_server(&marker);
    assert!(host.run(cell("x = 1")).ok);
    block_on(async {
        let script = cell("print('on it')\ntools.fake.slow(ms=600_000)");
        let mut first = host.host.start(script).expect("starts");
        while !matches!(first.next_event().await, Some(RunEvent::CallStarted { .. })) {}
        let second = host.host.start(cell("x")).expect("waits");
        second.cancellation().cancel();
        let second = second.await.expect("reports");
        assert_eq!(failure(&second).0, "cancelled");
        assert!(second.session.is_none(), "it never had its turn");
        first.cancellation().cancel();
        let first = first.await.expect("reports");
        assert_eq!((failure(&first).0, state(&first)), ("cancelled".into(), SessionState::Lost));
        assert_eq!(first.stdout, "on it\n");
    });
    assert_eq!(state(&host.run(cell("1"))), SessionState::New);
}

#[test]
fn runs_of_one_session_take_turns_and_waiting_costs_them_nothing() {
    let marker = Marker::new();
    let host = with_server(&marker);
    let reports = block_on(async {
        host.host.run(cell("order = []")).await.expect("runs");
        let slow = "order.append('in')\ntools.fake.slow(ms=200)\norder.append('out')";
        let tight = limits(|limits| limits.deadline = Duration::from_secs(5));
        let runs = (0..4).map(|_| host.host.run(cell(slow).limits(tight.clone())));
        futures::future::join_all(runs).await
    });
    for report in reports {
        let report = report.expect("runs");
        assert!(report.ok, "{report:#?}");
        assert!(report.usage.wall < Duration::from_secs(4), "its own time only");
    }
    assert_eq!(value(&host.run(cell("order"))), json!(["in", "out"].repeat(4)));
}

#[test]
fn idle_sessions_end_by_themselves() {
    let host = without_servers();
    let idle = Duration::from_millis(50);
    assert!(host.run(cell("x = 1")).ok);
    let sessions = host.host.sessions();
    assert_eq!(sessions.list(&Caller::anonymous(), None).len(), 1);
    sessions.set_settings(SessionSettings { idle, ..SessionSettings::default() });
    wait_until(PATIENCE, "it ends", || sessions.list(&Caller::anonymous(), None).is_empty());
    assert_eq!(state(&host.run(cell("1"))), SessionState::New);
}

#[test]
fn a_caller_has_so_many_sessions_and_hears_which() {
    let host = without_servers();
    let settings = SessionSettings { per_caller: 2, total: 3, ..SessionSettings::default() };
    host.host.sessions().set_settings(settings);
    let run = |who: &str, name: &str| {
        let script = Script::python("1").session(name).caller(caller(who));
        block_on(host.host.run(script)).map_err(|error| error.to_string())
    };
    for name in ["one", "two"] {
        run("ann", name).expect("there is room");
    }
    let refused = run("ann", "three").expect_err("there is none");
    for part in ["`three`", "2", "`one`, `two`", "sessions"] {
        assert!(refused.contains(part), "{refused}");
    }
    for name in ["one", "two"] {
        run("bob", name).expect("others have their own share");
    }
    let left = host.host.sessions().list(&caller("ann"), None);
    assert_eq!(left.len(), 1, "the oldest idle one gave way");
    assert_eq!(left[0].name, name("two"));
}

#[test]
fn ending_a_session_ends_the_run_in_it() {
    let marker = Marker::new();
    let host = with_server(&marker);
    block_on(async {
        let mut run = host.host.start(cell("tools.fake.slow(ms=600_000)")).expect("starts");
        while !matches!(run.next_event().await, Some(RunEvent::CallStarted { .. })) {}
        let sessions = host.host.sessions();
        let infos = sessions.list(&Caller::anonymous(), None);
        assert!(infos[0].busy, "{infos:?}");
        assert!(sessions.reset(&Caller::anonymous(), &infos[0].profile, &infos[0].name));
        let report = run.await.expect("reports");
        assert_eq!((failure(&report).0, state(&report)), ("cancelled".into(), SessionState::Lost));
    });
    wait_until(PATIENCE, "the call is cancelled", || {
        host.read("log").contains("notifications/cancelled")
    });
}

#[test]
fn a_traceback_shows_the_lines_of_the_script_that_a_function_came_from() {
    let host = without_servers();
    host.run(cell("def broken(n):\n    return 1 / n  # the place"));
    host.run(cell("def other():\n    pass\n    pass"));
    let report = host.run(cell("print('here')\nbroken(0)"));
    let traceback = report.error.and_then(|error| error.traceback).expect("has one");
    for part in
        ["\"cell 3\", line 2", "broken(0)", "\"cell 1\", line 2", "return 1 / n  # the place"]
    {
        assert!(traceback.contains(part), "{part} is not in\n{traceback}");
    }
}

#[test]
fn each_run_has_its_own_output_clock_and_arguments() {
    let host = without_servers();
    let first = "import sys, time, random, os
random.seed(1); drawn = random.random()
print('first'); started = time.monotonic(); today = time.time()
os.write(1, b'raw ')
sys.stdout.close()";
    let report = host.run(cell(first).name("job.py"));
    assert_eq!(report.stdout, "first\nraw ");
    let second = "print('second'); os.write(1, b'raw')
[time.monotonic() >= started, time.time() >= today, random.random() != drawn, sys.argv, __file__]";
    let report = host.run(cell(second).name("job.py").seed(7));
    assert_eq!(report.stdout, "second\nraw");
    let shown = value(&report);
    assert_eq!((&shown[0], &shown[2]), (&json!(true), &json!(true)), "{shown}");
    assert_eq!(shown[3], json!([shown[4]]));
}

#[test]
fn a_tool_that_was_taken_away_cannot_be_called_through_a_kept_object() {
    let marker = Marker::new();
    let host = with_server(&marker);
    assert!(host.run(cell("from tools import fake\nadd = fake.add\nadd(a=1)")).ok);
    let granted = std::sync::Arc::clone(&host.host.config());
    let mut without = (*granted).clone();
    without.servers.clear();
    host.host.reload(without).expect("reloads");
    let report = host.run(cell("add(a=1)"));
    assert!(failure(&report).1.contains("fake.add"), "{report:#?}");
    let listed = "import tools as t\nlist(t)";
    assert_eq!(value(&host.run(cell(listed))), json!([]), "what there is, is asked anew");
    assert_eq!(failure(&host.run(cell("from tools import fake"))).0, "exception");
}

/// The threat: a script that stays behind in its session. It wants to act when nobody asked it to,
/// to act as a later script, or to take its neighbours or the host with it.
#[test]
fn i_stay_behind_and_act_only_while_somebody_runs_me() {
    let marker = Marker::new();
    let host = with_server(&marker);
    let trap = "import atexit, gc, sys, builtins, asyncio
class Late:
    def __del__(self):
        try:
            tools.fake.add(a=99)
        except BaseException as error:
            print('too late:', type(error).__name__)
held = Late()
atexit.register(lambda: print('at exit'))
real_print = builtins.print
builtins.print = lambda *words, **more: real_print('patched', *words)
class Liar:
    def write(self, text): raise SystemExit('stdout is mine')
    def flush(self): raise SystemExit('stdout is mine')
sys.stdout = Liar()
sys.settrace(lambda *all: None)
async def stubborn():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise SystemExit('not me')
stay = asyncio.create_task(stubborn())
await asyncio.sleep(0)";
    let report = host.run(cell(trap));
    assert!(report.calls.is_empty() && report.ok, "{report:#?}");
    assert_eq!(state(&report), SessionState::New);
    let calls = || host.read("log").matches("tools/call").count();
    let before = calls();
    let next = host.run(cell("real_print('mine')\nstay.done() or stay.get_loop().is_closed()"));
    assert_eq!(next.stdout, "mine\n", "streams are each run's own, and exit functions ran once");
    assert_eq!(calls(), before, "nothing acts between two runs");
    let limits = limits(|limits| limits.tool_calls = 0);
    let last =
        host.run(cell("del held\nimport gc; gc.collect()\nreal_print('end')").limits(limits));
    assert!(last.stdout.contains("too late: LimitExceeded"), "{last:#?}");
    assert_eq!(calls(), before, "a call counts against whoever runs");
    assert!(host.host.sessions().reset(
        &Caller::anonymous(),
        &host.host.sessions().list(&Caller::anonymous(), None)[0].profile,
        &name("a"),
    ));
    assert_eq!(host.run(cell("print('clean')")).stdout, "clean\n");
}

#[test]
fn i_start_threads_and_break_the_runtime_and_hurt_nobody_else() {
    let host = without_servers();
    let other = |source: &str| host.run(Script::python(source).session("other"));
    assert!(other("x = 'unharmed'").ok);
    for attack in [
        "import threading\nthreading.Thread(target=print).start()",
        "import os\nos.fork()",
        "import os\nos._exit(7)",
        "import os\nos.abort()",
        "import sys\nfor name in list(sys.modules):\n    if 'toolcell' in name: del sys.modules[name]",
        "import toolcell_runtime.program as p\np.run_kept = p.run = None\np.main.__dict__.clear()",
        "import toolcell_runtime.program as p\np._bounded = lambda *all: 7",
        "import builtins\nbuiltins.__import__ = None\nbuiltins.len = None",
        "import sys\nsys.modules.clear()",
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    ] {
        let report = host.run(cell(attack).limits(limits(|_| {})));
        let after = host.run(cell("1 + 1").limits(limits(|_| {})));
        // It may have ruined its own session; then that is said, or the next run says what is wrong.
        let told = state(&report) == SessionState::Lost || after.ok || after.error.is_some();
        assert!(told, "{attack}: {report:#?} {after:#?}");
        let sessions = host.host.sessions();
        if let Some(info) =
            sessions.list(&Caller::anonymous(), None).iter().find(|it| it.name == name("a"))
        {
            assert!(sessions.reset(&Caller::anonymous(), &info.profile, &info.name), "{attack}");
        }
        assert_eq!(value(&host.run(cell("1 + 1"))), json!(2), "{attack}");
        assert_eq!(value(&other("x")), json!("unharmed"), "{attack}");
    }
}

#[test]
fn i_keep_handles_to_what_was_given_to_an_earlier_run() {
    let host = without_servers();
    let first = "import sys, os
out = sys.stdout
print('first')";
    assert!(host.run(cell(first)).ok);
    let second = host
        .run(cell("out.write('through an old stream\\n'); out.flush(); os.write(1, b'raw\\n')"));
    assert_eq!(
        second.stdout, "through an old stream\nraw\n",
        "it is this run's output, and counted"
    );
    let refused = Script::python("1").session("a").directory(toolcell::sandbox::GuestDirectory {
        host: host.path(""),
        guest: "/data".into(),
        read_only: true,
    });
    let error = block_on(host.host.run(refused)).expect_err("no directories in a session");
    assert!(error.to_string().contains("sees no directories"), "{error}");
}
