//! The limits of a run that has tools: each is reported as limit and used, and waiting is not computing.

use std::time::Duration;

use serde_json::json;
use toolcell::limits::Limits;
use toolcell::runs::RunError;
use toolcell::{RunReport, Script};
use toolcell_tests::{Cli, fixtures};

use crate::hosts::{Configured, value};

fn host(mode: &str) -> Configured {
    Configured::new(|_| fixtures::misbehaving(mode).toml("srv"))
}

#[track_caller]
fn run(host: &Configured, limits: Limits, source: &str) -> RunReport {
    host.run(Script::python(source).limits(limits))
}

#[track_caller]
fn reached<'a>(report: &'a RunReport, kind: &str, limit: u64) -> &'a RunError {
    let error = report.error.as_ref().unwrap_or_else(|| panic!("nothing was reached: {report:#?}"));
    assert_eq!((error.kind.to_string().as_str(), error.limit), (kind, Some(limit)), "{error:#?}");
    error
}

#[test]
fn a_tool_that_never_answers_ends_with_the_call_timeout() {
    let host = host("never-answers-call");
    let limits = Limits { call_timeout: Duration::from_millis(300), ..Limits::default() };
    let source = "import tools\ntry: tools['srv']['echo'](text='x')\n\
                  except tools.ToolTimeout as late: result = [late.phase, late.after_ms >= 250]";
    let report = run(&host, limits, source);
    assert_eq!(value(&report), json!(["call", true]));
    assert!(report.usage.wall >= Duration::from_millis(300));
    assert_eq!(report.calls[0].error.as_ref().map(|error| error.kind), Some("timed-out"));
}

#[test]
fn a_tool_that_never_answers_ends_with_the_deadline() {
    let host = host("never-answers-call");
    // Connected and listed beforehand, so that the deadline finds the call and not the handshake.
    let ready = run(&host, Limits::default(), "tools['srv']['echo'].description.name");
    assert_eq!(value(&ready), "srv.echo");
    let limits = Limits {
        deadline: Duration::from_millis(400),
        compute_time: Duration::from_millis(300),
        ..Limits::default()
    };
    let report = run(&host, limits, "print('before')\ntools['srv']['echo'](text='x')");
    let error = reached(&report, "limit.deadline", 400);
    assert!(error.used >= Some(400), "{error:#?}");
    assert_eq!(report.stdout, "before\n");
    assert_eq!((report.usage.tool_calls, report.calls.len()), (1, 1));
    // The whole wait for the tool is missing from what it computed.
    assert!(report.usage.compute < Duration::from_millis(300), "{:?}", report.usage);
}

#[test]
fn computing_is_stopped_while_a_tool_is_still_out() {
    let host = host("never-answers-call");
    let limits = Limits { compute_time: Duration::from_millis(300), ..Limits::default() };
    let source = "import asyncio\n\
                  async def busy():\n    await asyncio.sleep(0)\n    while True: pass\n\
                  await asyncio.gather(aio['srv']['echo'](text='x'), busy())";
    let report = run(&host, limits, source);
    reached(&report, "limit.compute_time", 300);
    assert!(report.usage.wall < Duration::from_secs(15), "{:?}", report.usage);
}

#[test]
fn the_limit_on_calls_can_be_caught_and_is_named_if_it_is_not() {
    let host = host("ok");
    let limits = Limits { tool_calls: 3, ..Limits::default() };
    let endless =
        "n = 0\nwhile True:\n    tools['srv']['echo'](text='x')\n    n += 1\n    print(n)";
    let report = run(&host, limits.clone(), endless);
    let error = reached(&report, "limit.tool_calls", 3);
    assert_eq!(error.used, Some(4));
    assert_eq!(report.stdout, "1\n2\n3\n");
    assert_eq!(report.calls.iter().filter(|call| call.ok).count(), 3);
    let caught = "import tools\nn = 0\ntry:\n    while True:\n        tools['srv']['echo'](text='x')\n\
                  \x20       n += 1\nexcept tools.LimitExceeded as e: result = [n, e.limit_name, e.limit, e.used]";
    assert_eq!(value(&run(&host, limits, caught)), json!([3, "tool_calls", 3, 4]));
}

#[test]
fn a_script_that_does_not_listen_to_refusals_is_stopped() {
    let host = host("ok");
    let limits = Limits { tool_calls: 5, ..Limits::default() };
    for source in [
        // Started and never waited for.
        "print('hello', flush=True)\nfrom wit_world.imports import tools\n\
         while True: tools.start('srv.echo', '{\"text\":\"x\"}')",
        "print('hello', flush=True)\nfrom wit_world.imports import tools\nwhile True: tools.start('no.tool', '{}')",
    ] {
        let report = run(&host, limits.clone(), source);
        let error = reached(&report, "limit.tool_calls", 5);
        assert!(error.used > Some(5), "{error:#?}");
        assert_eq!(report.stdout, "hello\n");
        assert!(report.calls.len() <= 10, "{} records", report.calls.len());
    }
    // One by one they cost the script's own time.
    let limits = Limits { compute_time: Duration::from_millis(300), ..limits };
    let source = "while True:\n    try: tools['no']['tool']()\n    except Exception: pass";
    let report = run(&host, limits, source);
    reached(&report, "limit.compute_time", 300);
    assert!(report.calls.len() <= 10, "{} records", report.calls.len());
}

#[test]
fn arguments_and_answers_have_a_size() {
    let host = host("ok");
    let limits = Limits { argument_bytes: 1000, answer_bytes: 1000, ..Limits::default() };
    let report = run(&host, limits.clone(), "tools['srv']['echo'](text='x' * 2000)");
    assert_eq!(
        reached(&report, "limit.argument", 1000).used,
        Some(2000 + r#"{"text":""}"#.len() as u64)
    );
    // A hundred thousand times too much has the same name.
    let huge = run(&host, limits.clone(), "tools['srv']['echo'](text='x' * 40_000_000)");
    assert!(reached(&huge, "limit.argument", 1000).used > Some(40_000_000));
    let report = run(&host, limits.clone(), "tools['srv']['big'](bytes=2000)");
    assert!(reached(&report, "limit.answer", 1000).used >= Some(1001));
    assert_eq!(value(&run(&host, limits, "tools['srv']['echo'](text='x' * 20)")), "x".repeat(20));
}

#[test]
fn a_limit_is_exit_code_3_and_two_numbers_for_scripts() {
    let cli = Cli::new("run").config(&fixtures::misbehaving("ok").toml("srv"));
    let cli = cli.args(["--json", "--fuel", "200M", "-c", "print('hello')\nwhile True: pass"]);
    let report = cli.run().expect_code(3).json();
    assert_eq!(report["error"]["kind"], "limit.fuel");
    assert_eq!(report["error"]["limit"], 200_000_000);
    assert_eq!(report["error"]["used"], 200_000_000);
    assert_eq!(report["stdout"], "hello\n");
    let cli = Cli::new("run").args(["--memory", "64MiB", "-c", "print('hello')\n'a' * 10 ** 9"]);
    let finished = cli.run().expect_code(3);
    assert_eq!(finished.stdout, "hello\n");
    assert!(
        finished.stderr.contains("the memory limit of 67108864 bytes is reached"),
        "{finished}"
    );
}
