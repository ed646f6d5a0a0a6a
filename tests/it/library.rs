//! The host as a service embeds it.

use toolcell::events::{RunEvent, Stream};
use toolcell::runs::ErrorKind;
use toolcell::{Host, Script};
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::{Marker, fixtures, wait_until};

use crate::hosts::{Configured, block_on, cache_folder, failure, value};

/// The example of `Host` and of the README, for real.
#[test]
fn ten_lines_run_a_script() {
    async fn example() -> Result<(), Box<dyn std::error::Error>> {
        let host = Host::builder().cache_folder(cache_folder()).build().await?;
        let report = host.run(Script::python("1 + 1")).await?;
        assert_eq!(report.value.expect("has one").get(), "2");
        host.close().await;
        Ok(())
    }
    block_on(example()).expect("the example runs");
}

fn slow_server(marker: &Marker) -> Configured {
    Configured::new(|folder| {
        let log = folder.join("log");
        let server = fixtures::misbehaving("ok").marked(marker);
        server.env("MISBEHAVING_LOG", log.to_str().expect("UTF-8")).toml("fake")
    })
}

const PRINTS_AND_CALLS: &str = "import sys
print('one')
print('two', file=sys.stderr)
tools.fake.add(a=1)
print('three')
";

#[test]
fn events_come_while_it_runs_and_in_order() {
    let configured = slow_server(&Marker::new());
    let (told, report) = block_on(async {
        let mut run = configured.host.start(Script::python(PRINTS_AND_CALLS)).expect("starts");
        let mut told = Vec::new();
        while let Some(event) = run.next_event().await {
            told.push(match event {
                RunEvent::Printed { to: Stream::Stdout, bytes } => format!("out {bytes:?}"),
                RunEvent::Printed { to: Stream::Stderr, bytes } => format!("err {bytes:?}"),
                RunEvent::CallStarted { id, tool, .. } => format!("start {} {tool}", id.0),
                RunEvent::CallEnded { id, tool, error, .. } => {
                    format!("end {} {tool} {error:?}", id.0)
                }
                other => format!("{other:?}"),
            });
        }
        (told, run.await.expect("has run"))
    });
    assert!(report.ok, "{report:#?}");
    assert_eq!(
        told,
        [
            r#"out b"one\n""#,
            r#"err b"two\n""#,
            "start 1 fake.add",
            "end 1 fake.add None",
            r#"out b"three\n""#,
        ]
    );
}

#[test]
fn output_is_told_before_the_run_goes_on() {
    let configured = slow_server(&Marker::new());
    block_on(async {
        let script = Script::python("print('now')\ntools.fake.slow(ms=600_000)");
        let mut run = configured.host.start(script).expect("starts");
        let Some(RunEvent::Printed { bytes, .. }) = run.next_event().await else {
            panic!("nothing is printed")
        };
        assert_eq!(&bytes[..], b"now\n");
    });
}

#[test]
fn a_cancelled_run_reports_what_it_had_done() {
    let configured = slow_server(&Marker::new());
    let report = block_on(async {
        let source = "print('one')\ntools.fake.add(a=1)\ntools.fake.slow(ms=600_000)";
        let mut run = configured.host.start(Script::python(source)).expect("starts");
        let cancel = run.cancellation();
        while let Some(event) = run.next_event().await {
            if matches!(&event, RunEvent::CallStarted { id, .. } if id.0 == 2) {
                cancel.cancel();
            }
        }
        run.await.expect("has run")
    });
    assert_eq!(failure(&report).0, "cancelled");
    assert_eq!(report.stdout, "one\n");
    let calls: Vec<_> = report.calls.iter().map(|call| (call.tool.as_str(), call.ok)).collect();
    assert_eq!(calls, [("fake.add", true), ("fake.slow", false)]);
    assert_eq!(report.calls[1].error.as_ref().map(|error| error.kind), Some("cancelled"));
}

#[test]
fn a_computing_run_can_be_cancelled_too() {
    let configured = Configured::new(|_| String::new());
    let report = block_on(async {
        let source = "print('on it')\nwhile True:\n    try:\n        while True: pass\n    except BaseException:\n        pass";
        let mut run = configured.host.start(Script::python(source)).expect("starts");
        run.next_event().await.expect("it prints");
        run.cancellation().cancel();
        run.await.expect("has run")
    });
    assert_eq!(report.error.map(|error| error.kind), Some(ErrorKind::Cancelled));
    assert_eq!(report.stdout, "on it\n");
}

#[test]
fn dropping_a_run_cancels_it_at_the_server() {
    let configured = slow_server(&Marker::new());
    block_on(async {
        let script = Script::python("tools.fake.slow(ms=600_000)");
        let mut run = configured.host.start(script).expect("starts");
        while !matches!(run.next_event().await, Some(RunEvent::CallStarted { .. })) {}
        // The event is told just before the call leaves.
        let call = "tools/call slow";
        wait_until(PATIENCE, "the call arrives", || configured.read("log").contains(call));
    });
    wait_until(PATIENCE, "the call is cancelled", || {
        configured.read("log").contains("notifications/cancelled")
    });
    assert_eq!(value(&configured.python("1")), 1);
}

#[test]
fn dropping_the_future_cancels_it_too() {
    let configured = slow_server(&Marker::new());
    block_on(async {
        let host = configured.host.clone();
        let running =
            tokio::spawn(
                async move { host.run(Script::python("tools.fake.slow(ms=600_000)")).await },
            );
        wait_until(PATIENCE, "the call arrives", || configured.read("log").contains("tools/call"));
        running.abort();
    });
    wait_until(PATIENCE, "the call is cancelled", || {
        configured.read("log").contains("notifications/cancelled")
    });
}

#[test]
fn two_hosts_live_side_by_side_and_end_apart() {
    let (marker_one, marker_two) = (Marker::new(), Marker::new());
    let (one, two) = (slow_server(&marker_one), slow_server(&marker_two));
    let script = || Script::python("tools.fake.add(a=1)['sum']");
    let both = block_on(async { futures::join!(one.host.run(script()), two.host.run(script())) });
    assert_eq!(
        (value(&both.0.expect("runs")), value(&both.1.expect("runs"))),
        (2.into(), 2.into())
    );
    marker_one.wait_for_one();
    drop(one);
    marker_one.assert_nothing_survives();
    assert!(!marker_two.processes().is_empty(), "the other host keeps its server");
    assert_eq!(value(&two.run(script())), 2);
    drop(two);
    marker_two.assert_nothing_survives();
}

#[test]
fn a_host_that_is_only_dropped_leaves_no_process() {
    let marker = Marker::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("toolcell.toml");
    let toml = fixtures::misbehaving("grandchild").marked(&marker).toml("fake");
    std::fs::write(&file, toml).expect("writes");
    block_on(async {
        let host = Host::builder().config_file(&file).cache_folder(cache_folder());
        let host = host.ready_instances(0).build().await.expect("builds");
        host.run(Script::python("tools.fake.add(a=1)")).await.expect("runs");
        marker.wait_for_one();
    });
    marker.assert_nothing_survives();
}

#[test]
fn what_cannot_start_says_why_and_runs_nothing() {
    let configured = Configured::new(|_| "[profiles.a]\n[profiles.b]\n".to_owned());
    let start = |script: Script| {
        let error = block_on(configured.host.run(script)).expect_err("does not start");
        error.to_string()
    };
    assert!(start(Script::python("1")).contains("several profiles"));
    assert!(start(Script::python("1").profile("c")).contains("no profile `c`"));
    let long = "#".repeat(Script::MAX_SOURCE_BYTES + 1);
    assert!(
        start(Script::python(long).profile("a")).contains("4194305 bytes long and may be 4194304")
    );
    let full = format!("{}\n1", "#".repeat(Script::MAX_SOURCE_BYTES - 2));
    assert_eq!(value(&configured.run(Script::python(full).profile("a"))), 1);
}

#[test]
fn many_runs_at_once_keep_apart() {
    let configured = Configured::new(|_| String::new());
    let runs = (0..40).map(|n| {
        let source =
            format!("import asyncio, random\nx = {n}\nawait asyncio.sleep(0.01)\nprint(x)\nx");
        configured.host.run(Script::python(source))
    });
    let reports = block_on(futures::future::join_all(runs));
    for (n, report) in reports.into_iter().enumerate() {
        let report = report.expect("runs");
        assert_eq!((value(&report), report.stdout), (n.into(), format!("{n}\n")));
    }
}

#[test]
fn a_host_that_is_full_says_what_makes_room() {
    block_on(async {
        let host = Host::builder().cache_folder(cache_folder()).ready_instances(0).max_guests(1);
        let host = host.build().await.expect("a host");
        let kept = || Script::python("x = 1").session("kept");
        assert!(host.run(kept()).await.expect("has room").ok);
        let full = host.run(Script::python("1")).await.expect_err("the session has the only place");
        assert!(full.to_string().contains("reset a session, then try again"), "{full}");
        assert!(host.run(kept()).await.expect("goes on").ok);
        host.close().await;
    });
}
