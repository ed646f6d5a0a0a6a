//! What a run may use, and what it used. Pure values: enforcing them is the business of
//! `sandbox` (compute, memory, output) and of `broker` (calls).

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// The ceilings of one run. Every one of them is always in force; there is no "unlimited".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Units of compute. One unit is about one WebAssembly instruction, or one byte of a bulk copy;
    /// the same program with the same seed uses the same number on every machine.
    pub fuel: u64,
    /// Wall time spent inside the guest. Waiting for tools, timers or approval does not count.
    pub compute_time: Duration,
    /// Wall time of the whole run, waiting included, but not the time in which its user is asked
    /// something.
    pub deadline: Duration,
    /// Linear memory and tables of the guest in bytes, the language runtime's own included
    /// (Python starts with about 32 MiB).
    pub memory_bytes: u64,
    /// Calls that the run may start.
    pub tool_calls: u64,
    /// Calls that may be under way at once; further ones wait for their turn.
    pub concurrent_calls: u64,
    /// Wall time of one call, its connection's set-up included.
    pub call_timeout: Duration,
    /// Bytes kept of stdout and stderr together, and bytes of the value.
    pub output_bytes: u64,
    /// Bytes of one call's arguments as JSON.
    pub argument_bytes: u64,
    /// Bytes of one call's answer.
    pub answer_bytes: u64,
}

impl Limits {
    /// A run that writes this many times [`Limits::output_bytes`] is stopped.
    pub const OUTPUT_FLOOD_FACTOR: u64 = 64;

    /// Bytes of WebAssembly stack. The same for every run, since compiled code depends on it.
    ///
    /// A guest that recurses deeper in compiled code is stopped by a trap. More would only move the
    /// trap: CPython's own guard counts another stack, the one in linear memory, and with 8 MiB here
    /// `json.loads("[" * 100_000)` and `repr` of a deep list trapped all the same, four times
    /// later. And these bytes are the host's: [`Limits::memory_bytes`] does not count them, and a
    /// place in the pool keeps what a guest once touched of them.
    pub const STACK_BYTES: u64 = 2 << 20;

    /// The largest [`Limits::memory_bytes`] that can be granted: what 32-bit WebAssembly addresses.
    pub const MAX_MEMORY_BYTES: u64 = 4 << 30;
}

impl Limits {
    /// Bounds nothing: what a part of a whole is bounded by that says nothing of its own.
    pub const NO_BOUND: Self = Self {
        fuel: u64::MAX,
        compute_time: Duration::MAX,
        deadline: Duration::MAX,
        memory_bytes: Self::MAX_MEMORY_BYTES,
        tool_calls: u64::MAX,
        concurrent_calls: u64::MAX,
        call_timeout: Duration::MAX,
        output_bytes: u64::MAX,
        argument_bytes: u64::MAX,
        answer_bytes: u64::MAX,
    };

    /// The lower of each: the ceilings of what both of them bound.
    #[must_use]
    pub fn at_most(&self, other: &Self) -> Self {
        Self {
            fuel: self.fuel.min(other.fuel),
            compute_time: self.compute_time.min(other.compute_time),
            deadline: self.deadline.min(other.deadline),
            memory_bytes: self.memory_bytes.min(other.memory_bytes),
            tool_calls: self.tool_calls.min(other.tool_calls),
            concurrent_calls: self.concurrent_calls.min(other.concurrent_calls),
            call_timeout: self.call_timeout.min(other.call_timeout),
            output_bytes: self.output_bytes.min(other.output_bytes),
            argument_bytes: self.argument_bytes.min(other.argument_bytes),
            answer_bytes: self.answer_bytes.min(other.answer_bytes),
        }
    }
}

impl Default for Limits {
    /// Enough for a script of some dozen tool calls; little enough that a mistake costs seconds.
    fn default() -> Self {
        Self {
            fuel: 100_000_000_000,
            compute_time: Duration::from_secs(30),
            deadline: Duration::from_secs(120),
            memory_bytes: 256 << 20,
            tool_calls: 200,
            concurrent_calls: 16,
            call_timeout: Duration::from_secs(30),
            output_bytes: 256 << 10,
            argument_bytes: 1 << 20,
            answer_bytes: 8 << 20,
        }
    }
}

/// Names a limit, as configuration and reports do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// [`Limits::fuel`], in units.
    Fuel,
    /// [`Limits::compute_time`], in milliseconds.
    ComputeTime,
    /// [`Limits::deadline`], in milliseconds.
    Deadline,
    /// [`Limits::memory_bytes`], in bytes.
    Memory,
    /// [`Limits::STACK_BYTES`], in bytes.
    Stack,
    /// A language's own limit on recursion, in frames. It has the name of the stack's: which of the
    /// two a program meets first is an accident.
    Recursion,
    /// [`Limits::output_bytes`], in bytes.
    Output,
    /// [`Limits::tool_calls`].
    ToolCalls,
    /// [`Limits::argument_bytes`], in bytes.
    Argument,
    /// [`Limits::answer_bytes`], in bytes.
    Answer,
    /// What a plugin may keep for one session, in bytes.
    State,
    /// Under how many keys it may keep it.
    StateKeys,
    /// How many plugins may wait for one another, each called by the one before.
    Depth,
}

impl LimitKind {
    /// The name in configuration, reports and `exhausted` errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::ComputeTime => "compute_time",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Stack | Self::Recursion => "stack",
            Self::Output => "output",
            Self::ToolCalls => "tool_calls",
            Self::Argument => "argument",
            Self::Answer => "answer",
            Self::State => "state",
            Self::StateKeys => "state_keys",
            Self::Depth => "depth",
        }
    }

    /// The unit in which [`LimitReached`] counts this limit, or nothing where it counts things.
    pub fn unit(self) -> &'static str {
        match self {
            Self::ComputeTime | Self::Deadline => " ms",
            Self::Memory
            | Self::Stack
            | Self::Output
            | Self::Argument
            | Self::Answer
            | Self::State => " bytes",
            Self::Recursion => " frames",
            Self::Fuel | Self::ToolCalls | Self::StateKeys | Self::Depth => "",
        }
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A limit that was reached, with the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {kind} limit of {limit}{unit} is reached ({used}{unit} used)", unit = kind.unit())]
pub struct LimitReached {
    /// Which one.
    pub kind: LimitKind,
    /// Its value, in [`LimitKind::unit`].
    pub limit: u64,
    /// What was used or asked for when it was noticed.
    pub used: u64,
}

/// What a run consumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Units of [`Limits::fuel`].
    pub fuel: u64,
    /// Time inside the guest.
    #[serde(rename = "compute_ms", serialize_with = "as_milliseconds")]
    pub compute: Duration,
    /// Time from start to end, waiting included.
    #[serde(rename = "wall_ms", serialize_with = "as_milliseconds")]
    pub wall: Duration,
    /// The most linear memory and tables that the guest had, in bytes.
    pub memory_bytes: u64,
    /// Calls that were started.
    pub tool_calls: u64,
    /// Bytes written to stdout and stderr, kept or not.
    pub output_bytes: u64,
}

/// Milliseconds with three decimals, as all reports give times.
pub(crate) fn as_milliseconds<S: serde::Serializer>(
    time: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_micros() as f64 / 1000.0)
}
