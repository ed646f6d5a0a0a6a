//! Limits as written become [`Limits`]: units, least and greatest values.

use std::time::Duration;

use super::error::KeyPath;
use super::findings::{Findings, suggestion};
use super::units::{self, InvalidQuantity};
use super::written::{Quantity, WrittenLimits};
use crate::limits::Limits;

/// The least memory of a profile that may run Python: the interpreter alone takes about 32 MiB.
pub const MIN_PYTHON_MEMORY_BYTES: u64 = 48 << 20;

/// Names of all limits in configuration, in the order in which documentation lists them.
pub const LIMIT_NAMES: [&str; 10] = [
    "fuel",
    "compute_time",
    "deadline",
    "memory",
    "tool_calls",
    "concurrent_calls",
    "call_timeout",
    "output",
    "argument",
    "answer",
];

const MAX_FUEL: u64 = 1_000_000_000_000_000;
const MAX_TIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MAX_TOOL_CALLS: u64 = 1_000_000;
const MAX_CONCURRENT_CALLS: u64 = 1_000;
const MAX_OUTPUT_BYTES: u64 = 64 << 20;
const MAX_ARGUMENT_BYTES: u64 = 64 << 20;
const MAX_ANSWER_BYTES: u64 = 256 << 20;

/// Why a limit cannot be set so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLimit {
    /// There is no such limit.
    #[error("there is no limit `{name}`; {suggestion}")]
    Unknown {
        /// What is written.
        name: String,
        /// What may be meant.
        suggestion: String,
    },
    /// The value is no quantity of the right kind.
    #[error(transparent)]
    Quantity(#[from] InvalidQuantity),
    /// A duration without a unit.
    #[error("{number} has no unit: write for example \"{number}s\"")]
    NoUnit {
        /// What is written.
        number: u64,
    },
    /// Zero: nothing could run.
    #[error("0 would let nothing run: every limit is at least 1")]
    Zero,
    /// Too little for the Python runtime to exist in.
    #[error("Python does not run in so little memory: give at least {min}")]
    TooSmall {
        /// The least value, as it would be written.
        min: String,
    },
    /// Above what can be granted.
    #[error("the greatest value is {max}")]
    TooLarge {
        /// The greatest value, as it would be written.
        max: String,
    },
}

/// Sets one limit by its name in configuration, as `--limit NAME=VALUE` does.
///
/// # Errors
/// There is no such limit, the value has no meaning, is zero, or is above what can be granted.
pub fn set_limit(limits: &mut Limits, name: &str, value: &str) -> Result<(), InvalidLimit> {
    set(limits, name, &Quantity::Text(value.to_owned()))
}

fn set(limits: &mut Limits, name: &str, value: &Quantity) -> Result<(), InvalidLimit> {
    match name {
        "fuel" => limits.fuel = count(value, MAX_FUEL)?,
        "compute_time" => limits.compute_time = duration(value)?,
        "deadline" => limits.deadline = duration(value)?,
        "memory" => limits.memory_bytes = size(value, Limits::MAX_MEMORY_BYTES)?,
        "tool_calls" => limits.tool_calls = count(value, MAX_TOOL_CALLS)?,
        "concurrent_calls" => limits.concurrent_calls = count(value, MAX_CONCURRENT_CALLS)?,
        "call_timeout" => limits.call_timeout = duration(value)?,
        "output" => limits.output_bytes = size(value, MAX_OUTPUT_BYTES)?,
        "argument" => limits.argument_bytes = size(value, MAX_ARGUMENT_BYTES)?,
        "answer" => limits.answer_bytes = size(value, MAX_ANSWER_BYTES)?,
        _ => {
            let suggestion = suggestion(name, LIMIT_NAMES);
            return Err(InvalidLimit::Unknown { name: name.to_owned(), suggestion });
        }
    }
    Ok(())
}

pub(super) fn count(value: &Quantity, max: u64) -> Result<u64, InvalidLimit> {
    let count = match value {
        Quantity::Number(count) => *count,
        Quantity::Text(text) => units::parse_count(text)?,
    };
    bounded(count, max, units::format_count)
}

pub(super) fn size(value: &Quantity, max: u64) -> Result<u64, InvalidLimit> {
    let bytes = match value {
        Quantity::Number(bytes) => *bytes,
        Quantity::Text(text) => units::parse_size(text)?,
    };
    bounded(bytes, max, units::format_size)
}

pub(super) fn duration(value: &Quantity) -> Result<Duration, InvalidLimit> {
    match value {
        Quantity::Number(number) => Err(InvalidLimit::NoUnit { number: *number }),
        Quantity::Text(text) => {
            bounded(units::parse_duration(text)?, MAX_TIME, units::format_duration)
        }
    }
}

pub(super) fn bounded<T: PartialOrd + Default>(
    value: T,
    max: T,
    written: fn(T) -> String,
) -> Result<T, InvalidLimit> {
    if value == T::default() {
        Err(InvalidLimit::Zero)
    } else if value > max {
        Err(InvalidLimit::TooLarge { max: written(max) })
    } else {
        Ok(value)
    }
}

/// Reads the duration of a server's setting, with the same bounds.
pub(super) fn server_duration(text: &str) -> Result<Duration, InvalidLimit> {
    duration(&Quantity::Text(text.to_owned()))
}

/// Sets what is written and leaves the rest as it is.
pub(super) fn apply(
    limits: &mut Limits,
    written: &WrittenLimits,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) {
    let WrittenLimits {
        fuel,
        compute_time,
        deadline,
        memory,
        tool_calls,
        concurrent_calls,
        call_timeout,
        output,
        argument,
        answer,
    } = written;
    let values = [
        fuel,
        compute_time,
        deadline,
        memory,
        tool_calls,
        concurrent_calls,
        call_timeout,
        output,
        argument,
        answer,
    ];
    for (name, value) in LIMIT_NAMES.into_iter().zip(values) {
        if let Some(value) = value {
            findings.check(&path.key(name), set(limits, name, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_can_be_set_by_its_name() {
        let mut limits = Limits::default();
        let values = ["20G", "1s", "2s", "64MiB", "3", "4", "5s", "6KiB", "7KiB", "8KiB"];
        for (name, value) in LIMIT_NAMES.into_iter().zip(values) {
            set_limit(&mut limits, name, value).expect(name);
        }
        let expected = Limits {
            fuel: 20_000_000_000,
            compute_time: Duration::from_secs(1),
            deadline: Duration::from_secs(2),
            memory_bytes: 64 << 20,
            tool_calls: 3,
            concurrent_calls: 4,
            call_timeout: Duration::from_secs(5),
            output_bytes: 6 << 10,
            argument_bytes: 7 << 10,
            answer_bytes: 8 << 10,
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn limits_without_sense_are_refused() {
        #[track_caller]
        fn check(name: &str, value: &str, expected: &str) {
            let refused = set_limit(&mut Limits::default(), name, value).expect_err("refused");
            assert_eq!(refused.to_string(), expected);
        }
        check("fule", "1", "there is no limit `fule`; did you mean `fuel`?");
        check("fuel", "0", "0 would let nothing run: every limit is at least 1");
        check("deadline", "0s", "0 would let nothing run: every limit is at least 1");
        check("memory", "5GiB", "the greatest value is 4GiB");
        check("deadline", "31d", "the greatest value is 30d");
        check("concurrent_calls", "2000", "the greatest value is 1k");
    }

    #[test]
    fn the_defaults_are_within_their_own_bounds() {
        let Limits { fuel, tool_calls, concurrent_calls, output_bytes, .. } = Limits::default();
        assert!(fuel <= MAX_FUEL && tool_calls <= MAX_TOOL_CALLS);
        assert!(concurrent_calls <= MAX_CONCURRENT_CALLS && output_bytes <= MAX_OUTPUT_BYTES);
        assert!(MAX_OUTPUT_BYTES.checked_mul(Limits::OUTPUT_FLOOD_FACTOR).is_some());
    }
}
