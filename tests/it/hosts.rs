//! Hosts in this process, and what a test does with them. Many small runs are cheaper here than in
//! processes of their own.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use toolcell::{Host, RunReport, Script};
use toolcell_tests::fixtures::RealHttp;

/// The cache that all tests share.
///
/// # Panics
/// The tests were not started by `cargo xtask test`.
#[track_caller]
pub(crate) fn cache_folder() -> PathBuf {
    let folder = std::env::var_os("TOOLCELL_CACHE_DIR");
    folder.expect("TOOLCELL_CACHE_DIR is not set: run `cargo xtask test`").into()
}

/// Waits for a future on the runtime that all tests share.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime starts")).block_on(future)
}

/// Runs a script in a host without servers.
#[track_caller]
pub(crate) fn run(script: Script) -> RunReport {
    static HOST: OnceLock<Host> = OnceLock::new();
    let host = HOST.get_or_init(|| {
        let host = Host::builder().cache_folder(cache_folder()).ready_instances(2);
        block_on(host.build()).expect("a host starts")
    });
    block_on(host.run(script)).expect("the run starts")
}

/// Runs Python in a host without servers.
#[track_caller]
pub(crate) fn python(source: &str) -> RunReport {
    run(Script::python(source))
}

/// A host with a configuration of its own, in a folder of its own.
pub(crate) struct Configured {
    pub(crate) host: Host,
    folder: TempDir,
}

impl Configured {
    /// Where a host's folder will be is part of some configurations.
    #[track_caller]
    pub(crate) fn new(toml: impl FnOnce(&Path) -> String) -> Self {
        let folder = TempDir::with_prefix("toolcell-host-").expect("a temporary folder");
        let file = folder.path().join("toolcell.toml");
        std::fs::write(&file, toml(folder.path())).expect("a temporary file can be written");
        let host = Host::builder().config_file(file).cache_folder(cache_folder());
        // The host starts its engine on this thread, and its workers need a runtime around them.
        let host = block_on(host.ready_instances(0).build()).expect("a host starts");
        Self { host, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is in a file of the folder, nothing if it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn run(&self, script: Script) -> RunReport {
        block_on(self.host.run(script)).expect("the run starts")
    }

    #[track_caller]
    pub(crate) fn python(&self, source: &str) -> RunReport {
        self.run(Script::python(source))
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        block_on(self.host.close());
    }
}

/// The value of a run that came to its end.
#[track_caller]
pub(crate) fn value(report: &RunReport) -> Value {
    assert!(report.ok, "the run failed: {:#?}", report.error);
    report
        .value
        .as_ref()
        .map_or(Value::Null, |value| serde_json::from_str(value.get()).expect("a value is JSON"))
}

/// The error's kind, message and traceback of a run that failed.
#[track_caller]
pub(crate) fn failure(report: &RunReport) -> (String, &str, &str) {
    let Some(error) = &report.error else { panic!("the run did not fail: {report:#?}") };
    (error.kind.to_string(), &error.message, error.traceback.as_deref().unwrap_or_default())
}

/// npm's server-everything answers a script, one that was restarted too, and one that is stopped is
/// told as such.
#[track_caller]
pub(crate) fn survives_restarts(mut server: RealHttp) {
    let host = Configured::new(|_| server.server().toml("everything"));
    let code = "import asyncio\nfrom tools import aio\n\
                await asyncio.gather(aio.everything.echo(message=inputs), aio.everything.get_sum(a=1, b=2))";
    let answers = |message: &str| {
        let report = host.run(Script::python(code).input(json!(message)));
        value(&report)[0].clone()
    };
    assert_eq!(answers("one"), "Echo: one");
    // The new one knows nothing of what was agreed with the old one.
    server.restart();
    assert_eq!(answers("two"), "Echo: two");
    server.stop();
    let report = host.run(Script::python(code).input(json!("three")));
    let (kind, message, _) = failure(&report);
    assert_eq!(kind, "tool.unavailable");
    assert!(message.contains("nothing listens at 127.0.0.1:"), "{message}");
    server.restart();
    assert_eq!(answers("four"), "Echo: four");
}
