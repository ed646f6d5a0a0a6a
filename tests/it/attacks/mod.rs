//! Attacks, written as the attacker.
//!
//! **Threat model.** The attacker wrote the script: any Python, with every trick that CPython allows,
//! its own runtime's internals included. Now and then the attacker also wrote an MCP server that the
//! script may call. What is to be had: the host's files, network, environment and processes; the
//! credentials of connections; tools that were not granted; another run's data; the host's time and
//! memory. `docs/threat-model.md` says what is promised; each file here tries one kind of thing.
//!
//! An attack that is stopped has to be stopped *well*: by the limit that it reached, with the numbers,
//! keeping what was printed before, in time, and without a trace in the next run.

mod confused_deputy;
mod escape;
mod exfiltrate;
mod exhaust;

use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use toolcell::limits::Limits;
use toolcell::runs::RunError;
use toolcell::{Host, RunReport, Script};
use toolcell_tests::fixtures;

use crate::hosts::{block_on, cache_folder};

/// How much later than its limit a run may end here, on two cores under twenty tests. The 50 ms that
/// the design promises are for a benchmark to show.
const LATE: Duration = Duration::from_secs(5);

/// The host that most attacks share: what one of them breaks, others notice. `good` is a server that
/// behaves, `mute` one that never answers a call.
fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (good, mute) =
            (fixtures::misbehaving("ok"), fixtures::misbehaving("never-answers-call"));
        // A key of the root stands before all tables.
        let toml = format!(
            "default_profile = \"all\"\n{}{}\
             [profiles.all]\ntools = [\"*.*\"]\n\
             [profiles.good]\ntools = [\"good.*\", \"!good.fail\"]\n\
             [profiles.none]\ntools = []\n",
            good.toml("good"),
            mute.toml("mute")
        );
        build(folder.path(), &toml)
    })
}

fn build(folder: &Path, toml: &str) -> Host {
    let file = folder.join("toolcell.toml");
    std::fs::write(&file, toml).expect("a temporary file can be written");
    let host = Host::builder().config_file(file).cache_folder(cache_folder()).ready_instances(2);
    block_on(host.build()).expect("a host starts")
}

/// Limits that keep an attack short.
fn tight() -> Limits {
    Limits {
        fuel: 20_000_000_000,
        compute_time: Duration::from_secs(10),
        deadline: Duration::from_secs(20),
        memory_bytes: 96 << 20,
        ..Limits::default()
    }
}

/// What became of an attack.
struct Attack {
    report: RunReport,
    elapsed: Duration,
}

/// Runs the attack in the shared host, then an innocent script, which has to notice nothing.
#[track_caller]
fn attack(limits: Limits, source: &str) -> Attack {
    attack_with(Script::python(source).limits(limits))
}

#[track_caller]
fn attack_with(script: Script) -> Attack {
    let started = Instant::now();
    let report = block_on(host().run(script)).expect("the run starts");
    let elapsed = started.elapsed();
    assert_next_run_is_unaffected();
    Attack { report, elapsed }
}

#[track_caller]
fn assert_next_run_is_unaffected() {
    let next = "import json, re, sys\njson.dumps([sum(range(1000)), re.sub('a', 'b', 'aa'), sys.getrecursionlimit()])";
    let report = block_on(host().run(Script::python(next))).expect("the next run starts");
    assert!(report.ok, "the next run is affected: {report:#?}");
    assert_eq!(value(&report), "[499500, \"bb\", 1000]");
    assert_eq!((report.stdout.as_str(), report.stderr.as_str()), ("", ""));
}

/// The value of a run, `null` if it has none.
fn value(report: &RunReport) -> Value {
    let value = report.value.as_ref();
    value.map_or(Value::Null, |value| serde_json::from_str(value.get()).expect("values are JSON"))
}

impl Attack {
    /// Asserts that this limit of this size stopped it, within `time` and a little.
    #[track_caller]
    fn stopped_by(&self, kind: &str, limit: u64, time: Duration) -> &RunError {
        let error = self.failed_as(kind);
        assert_eq!(error.limit, Some(limit), "{error:#?}");
        let used = error.used.expect("a limit has a `used`");
        assert!(used >= limit, "used {used} of {limit}: {error:#?}");
        assert!(error.hint.is_some(), "{error:#?}");
        assert!(
            self.elapsed < time + LATE,
            "it took {:?}, and {time:?} were allowed: {error:#?}",
            self.elapsed
        );
        error
    }

    #[track_caller]
    fn failed_as(&self, kind: &str) -> &RunError {
        let error = self.report.error.as_ref();
        let error = error.unwrap_or_else(|| panic!("nothing stopped it: {:#?}", self.report));
        assert_eq!(error.kind.to_string(), kind, "{error:#?}");
        assert!(self.report.value.is_none() && !self.report.ok);
        error
    }

    /// Asserts that what it printed first is there.
    #[track_caller]
    fn printed(&self, text: &str) -> &Self {
        assert!(self.report.stdout.starts_with(text), "stdout: {:?}", self.report.stdout);
        self
    }

    /// The value of an attack that came to its end.
    #[track_caller]
    fn value(&self) -> Value {
        assert!(self.report.ok, "{:#?}", self.report.error);
        value(&self.report)
    }
}

/// A lock for the few attacks that measure time against each other.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
