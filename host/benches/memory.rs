//! What a sandbox costs in memory: private bytes of one that is ready, of one that waits in the
//! middle of a run, and of an idle session, of which there are a thousand. Prints one JSON object.
//!
//! `cargo bench --bench memory`

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use toolcell::language::Language;
use toolcell::runs::SessionSettings;
use toolcell::upstream::Caller;
use toolcell::{Host, Script};

const READY: usize = 50;
const WAITING: usize = 1000;
const SESSIONS: usize = 1000;

/// Anonymous memory of this process in bytes: what is not backed by a file that others share.
fn anonymous_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux tells");
    let line = text.lines().find(|line| line.starts_with("Anonymous:")).expect("has the line");
    let kib = line.split_whitespace().nth(1).expect("has a number");
    kib.parse::<u64>().expect("is a number") * 1024
}

fn host(ready: usize) -> Host {
    let mut builder = Host::builder().ready_instances(ready);
    #[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration")]
    if let Some(folder) = std::env::var_os("TOOLCELL_CACHE_DIR") {
        builder = builder.cache_folder(folder);
    }
    builder.build_lazily().expect("the host starts")
}

async fn per_ready_instance() -> u64 {
    // The first use of a runtime loads it; what that costs is not an instance's.
    let host = host(0);
    host.run(Script::python("1")).await.expect("runs");
    drop(host);
    let host = self::host(READY);
    let before = anonymous_bytes();
    host.prepare(Language::Python, |step| eprintln!("{step}")).await.expect("is prepared");
    (anonymous_bytes() - before) / READY as u64
}

/// Private bytes of a run that waits in an `await`, and the time to start and to end them all.
async fn per_waiting_run() -> (u64, Duration, Duration) {
    let host = host(0);
    host.run(Script::python("1")).await.expect("runs");
    let before = anonymous_bytes();
    let cancel = CancellationToken::new();
    let waiting = Arc::new(tokio::sync::Semaphore::new(0));
    let start = std::time::Instant::now();
    let runs: Vec<_> = (0..WAITING)
        .map(|_| {
            let (host, waiting, cancel) = (host.clone(), Arc::clone(&waiting), cancel.clone());
            tokio::spawn(async move {
                let script = "import asyncio\nprint('waiting')\nawait asyncio.sleep(3600)";
                let mut run = host.start(Script::python(script)).expect("starts");
                run.next_event().await;
                waiting.add_permits(1);
                cancel.cancelled().await;
                run.cancellation().cancel();
                run.await.expect("reports")
            })
        })
        .collect();
    let all = waiting.acquire_many(WAITING as u32).await.expect("is not closed");
    let started = start.elapsed();
    all.forget();
    let bytes = (anonymous_bytes() - before) / WAITING as u64;
    let start = std::time::Instant::now();
    cancel.cancel();
    for run in runs {
        run.await.expect("does not panic");
    }
    (bytes, started, start.elapsed())
}

/// Private bytes of a session that nobody uses just now, with a few things defined in it.
async fn per_idle_session() -> u64 {
    let host = host(0);
    let settings = SessionSettings { per_caller: SESSIONS, ..SessionSettings::default() };
    host.sessions().set_settings(settings);
    host.run(Script::python("1")).await.expect("runs");
    let before = anonymous_bytes();
    for number in 0..SESSIONS {
        let script = "import json, re\nrows = [{'n': n} for n in range(100)]\ndef total(): return sum(row['n'] for row in rows)\ntotal()";
        let report = host.run(Script::python(script).session(format!("s{number}"))).await;
        assert!(report.expect("runs").ok);
    }
    let kept = host.sessions().list(&Caller::anonymous(), None).len();
    assert_eq!(kept, SESSIONS, "all of them are there");
    (anonymous_bytes() - before) / SESSIONS as u64
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let ready = runtime.block_on(per_ready_instance());
    let (waiting, started, ended) = runtime.block_on(per_waiting_run());
    let session = runtime.block_on(per_idle_session());
    println!(
        "{{\"ready_instance_bytes\": {ready}, \"waiting_run_bytes\": {waiting}, \
         \"idle_session_bytes\": {session}, \
         \"start_1000_waiting_ms\": {}, \"cancel_1000_waiting_ms\": {}}}",
        started.as_millis(),
        ended.as_millis()
    );
}
