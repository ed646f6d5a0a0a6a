//! How many sessions there may be, and for how long.

use std::time::Duration;

/// What sessions of Python may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Of one caller.
    pub per_caller: usize,
    /// Of all callers together.
    pub total: usize,
    /// How long one is kept that nobody uses.
    pub idle: Duration,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { per_caller: 16, total: 1_000, idle: Duration::from_secs(30 * 60) }
    }
}
