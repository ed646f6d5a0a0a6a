//! The preflight of one upstream: can it be reached, does it speak MCP, what does it offer, and how
//! long does each step take?

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::ids::UpstreamName;
use crate::limits::as_milliseconds;
use crate::tool::Phase;
use crate::upstream::caller::Caller;
use crate::upstream::connection::{self, Client};
use crate::upstream::error::UpstreamError;
use crate::upstream::handshake::Era;
use crate::upstream::settings::UpstreamSettings;

/// How one upstream is.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// Which one.
    pub server: UpstreamName,
    /// The steps that were begun, in order, the failed one included.
    pub phases: Vec<PhaseTime>,
    /// Which kind of MCP it speaks, once it shook hands.
    pub era: Option<Era>,
    /// Its own name for itself.
    pub server_name: Option<String>,
    /// Its own version.
    pub server_version: Option<String>,
    /// How many tools it offers that can be used.
    pub tool_count: usize,
    /// What is wrong with single tools.
    pub problems: Vec<String>,
    /// Why it is of no use, in words; `None` if it is healthy.
    pub failure: Option<String>,
}

/// How long one step took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PhaseTime {
    /// The step's name, as [`Phase::name`].
    pub phase: &'static str,
    /// Its time.
    #[serde(rename = "ms", serialize_with = "as_milliseconds")]
    pub took: Duration,
}

impl CheckReport {
    /// Whether the upstream can be used. One without tools cannot.
    pub fn is_healthy(&self) -> bool {
        self.failure.is_none()
    }

    fn new(server: UpstreamName) -> Self {
        Self {
            server,
            phases: Vec::new(),
            era: None,
            server_name: None,
            server_version: None,
            tool_count: 0,
            problems: Vec::new(),
            failure: None,
        }
    }

    pub(super) fn failed(server: UpstreamName, error: UpstreamError) -> Self {
        Self { failure: Some(error.to_string()), ..Self::new(server) }
    }
}

/// Connects, shakes hands, lists, wants at least one tool, and closes. Cancel-safe.
pub(super) async fn check(
    settings: &UpstreamSettings,
    client: &Client,
    caller: &Caller,
    within: Option<Duration>,
) -> CheckReport {
    let mut report = CheckReport::new(settings.name.clone());
    let watch = Stopwatch::default();
    let examination = examine(settings, client, caller, &watch, &mut report);
    let failure = match within {
        None => examination.await.err(),
        Some(within) => match tokio::time::timeout(within, examination).await {
            Ok(outcome) => outcome.err(),
            Err(_) => Some(abandoned(&settings.name, within, watch.under_way())),
        },
    };
    report.phases = watch.finish();
    report.failure = failure;
    report
}

fn abandoned(server: &UpstreamName, after: Duration, phase: Option<Phase>) -> String {
    let doing = match phase {
        Some(Phase::Connect) => "it was still connecting",
        Some(Phase::Handshake) => "it was still silent in the MCP handshake",
        Some(Phase::List) => "it was still listing its tools",
        _ => "it was still being closed",
    };
    format!(
        "server {server} was not checked to the end within {} ms: {doing}; a server that is slow to \
         start needs a longer --timeout",
        after.as_millis()
    )
}

async fn examine(
    settings: &UpstreamSettings,
    client: &Client,
    caller: &Caller,
    watch: &Stopwatch,
    report: &mut CheckReport,
) -> Result<(), String> {
    let transport = settings.transport.for_caller(caller).map_err(|cause| {
        let name = &settings.name;
        format!(
            "server {name} cannot be checked for this caller: {cause}; give what a caller would \
             with --caller-token-env and --caller-id"
        )
    })?;
    let settings = &UpstreamSettings { transport, ..settings.clone() };
    let connection = connection::open(settings, None, client, &|phase| watch.begin(phase))
        .await
        .map_err(|error| error.to_string())?;
    report.era = Some(connection.era());
    watch.begin(Phase::List);
    let catalog = connection.catalog().await;
    watch.stop();
    connection.close().await;
    let catalog = catalog.map_err(|error| error.to_string())?;
    report.server_name = catalog.server_name.clone();
    report.server_version = catalog.server_version.clone();
    report.tool_count = catalog.tools.len();
    report.problems = catalog.problems.clone();
    if catalog.tools.is_empty() {
        return Err(format!(
            "server {} is reachable but offers no tools; is it configured to, and may we see them?",
            settings.name
        ));
    }
    Ok(())
}

/// Measures steps that follow each other.
#[derive(Default)]
struct Stopwatch {
    steps: Mutex<Steps>,
}

#[derive(Default)]
struct Steps {
    finished: Vec<PhaseTime>,
    under_way: Option<(Phase, Instant)>,
}

impl Stopwatch {
    fn begin(&self, phase: Phase) {
        self.stop();
        self.steps().under_way = Some((phase, Instant::now()));
    }

    fn under_way(&self) -> Option<Phase> {
        self.steps().under_way.map(|(phase, _)| phase)
    }

    fn stop(&self) {
        let mut steps = self.steps();
        if let Some((phase, started)) = steps.under_way.take() {
            steps.finished.push(PhaseTime { phase: phase.name(), took: started.elapsed() });
        }
    }

    fn finish(self) -> Vec<PhaseTime> {
        self.stop();
        std::mem::take(&mut self.steps().finished)
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
