//! When a server is probed, and how long a probe may take: functions of values.

use std::time::Duration;

/// The first probes of all servers come within this time, or within one interval.
const FIRST_PROBES: Duration = Duration::from_secs(5);

/// The longest pause before a failed probe is repeated.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The shortest: what fails again at once would be one failure, not two.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// No probe gets more time.
const LONGEST_PROBE: Duration = Duration::from_secs(30);

/// No probe gets less time, however often a server is probed.
const SHORTEST_PROBE: Duration = Duration::from_secs(2);

/// How one server is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    interval: Duration,
    /// Failures in a row that make it down.
    down_after: u32,
}

impl Schedule {
    pub(super) fn new(interval: Duration, down_after: u32) -> Self {
        Self { interval, down_after: down_after.max(1) }
    }

    /// Until the first probe; `chance` is between 0 and 1. Many servers are spread over this time.
    pub(super) fn first(&self, chance: f64) -> Duration {
        self.interval.min(FIRST_PROBES).mul_f64(chance)
    }

    /// From one probe's beginning to the next: up to a twentieth less than the interval, so that
    /// servers do not stay in step.
    pub(super) fn next(&self, chance: f64) -> Duration {
        self.interval - (self.interval / 20).mul_f64(chance)
    }

    /// Between a failed probe and its repetition.
    pub(super) fn pause(&self) -> Duration {
        (self.interval / 20).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }

    /// The time for one probe: so much that a server which does not answer is told to be down within
    /// one interval after the first probe that missed it.
    pub(super) fn deadline(&self) -> Duration {
        let pauses = self.pause() * (self.down_after - 1);
        let each = self.interval.saturating_sub(pauses) / self.down_after;
        each.clamp(SHORTEST_PROBE, LONGEST_PROBE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::Health;
    use crate::upstream::settings::UpstreamSettings;

    #[test]
    fn by_default_every_server_is_probed_every_minute() {
        let schedule = Schedule::new(UpstreamSettings::PROBE_INTERVAL, Health::DOWN_AFTER);
        assert_eq!(schedule.next(0.0), Duration::from_secs(60));
        assert_eq!(schedule.next(1.0), Duration::from_secs(57));
        assert_eq!(schedule.first(1.0), Duration::from_secs(5));
        assert_eq!(schedule.pause(), Duration::from_secs(1));
        assert_eq!(schedule.deadline(), Duration::from_millis(29_500));
    }

    proptest! {
        #[test]
        fn silence_is_told_within_one_interval(
            seconds in 10u64..3600, down_after in 1u32..4, chance in 0.0..1.0f64,
        ) {
            let interval = Duration::from_secs(seconds);
            let schedule = Schedule::new(interval, down_after);
            let told = schedule.deadline() * down_after + schedule.pause() * (down_after - 1);
            prop_assert!(told <= interval, "{told:?}");
            prop_assert!(schedule.next(chance) <= interval);
            prop_assert!(schedule.next(chance) >= interval.mul_f64(0.9));
        }
    }
}
