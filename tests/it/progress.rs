//! What is told while a run goes on: how far a call is, what its server logs, what the script says.

use serde_json::Value;
use toolcell::Script;
use toolcell::events::{RunEvent, Stream};
use toolcell_tests::{Server, fixtures};

use crate::hosts::{Configured, block_on, failure, value};

/// Runs a script and gives what was told, a line for each event, and the report.
fn told(host: &Configured, code: &str) -> (Vec<String>, toolcell::RunReport) {
    block_on(async {
        let mut run = host.host.start(Script::python(code)).expect("starts");
        let mut told = Vec::new();
        while let Some(event) = run.next_event().await {
            told.push(match event {
                RunEvent::Printed { to: Stream::Stdout, bytes } => {
                    format!("out {}", String::from_utf8_lossy(&bytes).trim())
                }
                RunEvent::CallStarted { tool, .. } => format!("start {tool}"),
                RunEvent::Progress { call, progress, total, message, params } => {
                    assert_eq!(call.is_some(), params.is_some(), "a server's own words are kept");
                    let call = call.map_or(0, |call| call.0);
                    format!("progress {call} {progress} {total:?} {message:?}")
                }
                RunEvent::Log { call, level, data, .. } => {
                    format!("log {} {level} {data}", call.map_or(0, |call| call.0))
                }
                RunEvent::CallEnded { tool, error, .. } => format!("end {tool} {error:?}"),
                other => format!("{other:?}"),
            });
        }
        (told, run.await.expect("has run"))
    })
}

#[test]
fn a_real_servers_progress_is_told_in_order_between_start_and_end() {
    let host = Configured::new(|_| fixtures::everything_stdio().toml("x"));
    let code = "tools.x.trigger_long_running_operation(duration=0.4, steps=4)";
    let (told, report) = told(&host, code);
    assert!(report.ok, "{report:#?}");
    let name = "x.trigger-long-running-operation";
    let mut expected = vec![format!("start {name}")];
    expected.extend((1..=4).map(|n| format!("progress 1 {n} Some(4.0) None")));
    expected.push(format!("end {name} None"));
    assert_eq!(told, expected);
}

#[test]
fn a_modern_server_logs_for_whoever_listens_and_the_order_stays() {
    const SOURCE: &str = r#"
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("worker")

@server.tool()
async def work(ctx: Context) -> str:
    await ctx.report_progress(1, 2, "begun")
    await ctx.log("warning", "the index is old")
    await ctx.report_progress(2, 2, "done")
    return "worked"

server.run("stdio")
"#;
    let host = Configured::new(|folder| {
        let file = folder.join("server.py");
        std::fs::write(&file, SOURCE).expect("a temporary file can be written");
        let file = file.to_str().expect("UTF-8");
        Server::stdio(fixtures::python_with_mcp(), &[file]).toml("x")
    });
    let (told, report) = told(&host, "tools.x.work()");
    assert_eq!(value(&report)["result"], "worked");
    assert_eq!(
        told,
        [
            "start x.work",
            "progress 1 1 Some(2.0) Some(\"begun\")",
            "log 1 warning \"the index is old\"",
            "progress 1 2 Some(2.0) Some(\"done\")",
            "end x.work None",
        ]
    );
}

#[test]
fn a_script_tells_how_far_it_is_in_order_with_what_it_prints() {
    let host = Configured::new(|_| String::new());
    let code = "
from events import progress, log
print('a', flush=True)
progress(0.5, 'half')
log('warning', 'careful \"now\"')
print('b', flush=True)
progress(3, 10, 'third')";
    let (told, report) = told(&host, code);
    assert!(report.ok, "{report:#?}");
    assert_eq!(
        told,
        [
            "out a",
            "progress 0 0.5 None Some(\"half\")",
            r#"log 0 warning "careful \"now\"""#,
            "out b",
            "progress 0 3 Some(10.0) Some(\"third\")",
        ]
    );
    assert_eq!(report.stdout, "a\nb\n", "events are no output that is kept");
}

#[test]
fn a_flood_of_events_ends_as_a_flood_of_output_does() {
    let host = Configured::new(|_| "[limits]\noutput = \"1KiB\"\n".to_owned());
    let report = host.python("import events\nwhile True:\n    events.progress(1)");
    let (kind, message, _) = failure(&report);
    assert_eq!(kind, "limit.output", "{message}");
    let report = host.python("import events\nevents.log('info', 'x' * 10**7)");
    assert_eq!(report.error.map(|error| error.kind.to_string()), Some("limit.output".to_owned()));
}

#[test]
fn json_output_has_no_progress_in_it() {
    let toml = fixtures::everything_stdio().toml("x");
    let code = "tools.x.trigger_long_running_operation(duration=0.1, steps=2)";
    let run = toolcell_tests::Cli::new("run").config(&toml).args(["--json", "-c", code]).run();
    let run = run.success();
    let report: Value = run.json();
    assert!(report["ok"] == true && run.stderr.is_empty(), "{run}");
}
