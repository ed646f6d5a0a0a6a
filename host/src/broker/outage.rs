//! What a run lacks because a server failed it.

use std::time::SystemTime;

use serde::Serialize;

use crate::ids::UpstreamName;
use crate::tool::CallError;
use crate::upstream::{Transition, iso_time};

/// How much of the last error is kept.
const KEPT_CHARACTERS: usize = 500;

/// A server that failed a run.
#[derive(Clone, Debug, Serialize)]
pub struct Outage {
    /// Which one.
    pub server: UpstreamName,
    /// How it failed.
    pub reason: OutageReason,
    /// How many calls failed, or questions for its tools. Arguments that were refused and failures
    /// of a tool's own are not among them.
    pub failed_calls: u64,
    /// The last failure, in words.
    pub last_error: Option<String>,
    /// When the first call failed, or since when the server was down.
    #[serde(serialize_with = "iso_time")]
    pub since: SystemTime,
}

/// How a server failed a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutageReason {
    /// A call had no answer for a reason of the connection or the server.
    CallFailed,
    /// No call failed, but a server that the run may call went down while it ran.
    WentDown,
}

impl Outage {
    /// No call of the server has failed so far.
    pub(super) fn new(server: UpstreamName) -> Self {
        Self {
            server,
            reason: OutageReason::CallFailed,
            failed_calls: 0,
            last_error: None,
            since: SystemTime::now(),
        }
    }

    pub(super) fn add(&mut self, error: &CallError) {
        self.failed_calls += 1;
        self.last_error = Some(error.message().chars().take(KEPT_CHARACTERS).collect());
    }

    pub(super) fn went_down(transition: &Transition) -> Self {
        Self {
            server: transition.server.clone(),
            reason: OutageReason::WentDown,
            failed_calls: 0,
            last_error: transition.cause.as_deref().map(ToOwned::to_owned),
            since: transition.since,
        }
    }
}
