//! When to stop asking: a server, or one tool of it, that failed several times in a row is left
//! alone for a while, then tried by one call, and then either back or left alone for longer.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::upstream::settings::Breaker;

/// The record of one server or tool.
#[derive(Debug, Default)]
pub(super) struct Record {
    failures: u32,
    /// When the last of them was counted.
    counted: Option<Instant>,
    since: Option<SystemTime>,
    open: Option<Open>,
}

/// Nobody is let through until `until`; then one, while `trial` is set.
#[derive(Debug)]
struct Open {
    until: Instant,
    cooldown: Duration,
    trial: bool,
    cause: Arc<str>,
}

/// Not now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) since: SystemTime,
    /// How long until the next trial.
    pub(super) wait: Duration,
    pub(super) cause: Arc<str>,
}

impl Record {
    /// Whether one call may pass. If it passes as the trial, [`Record::succeed`], [`Record::fail`] or
    /// [`Record::give_up`] has to follow.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Refused> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if now >= open.until && !open.trial {
            open.trial = true;
            return Ok(());
        }
        Err(Refused {
            since: self.since.unwrap_or_else(SystemTime::now),
            wait: open.until.saturating_duration_since(now),
            cause: Arc::clone(&open.cause),
        })
    }

    /// A call was answered.
    pub(super) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// A call that began at `began` failed in a way that counts. Calls that were under way together
    /// count once: they saw the same trouble.
    pub(super) fn fail(&mut self, settings: &Breaker, began: Instant, now: Instant, cause: &str) {
        if self.counted.is_some_and(|counted| began < counted) {
            return;
        }
        self.counted = Some(now);
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert_with(SystemTime::now);
        let cooldown = match &self.open {
            // A call that was already out when the record was opened says nothing new.
            Some(open) if !open.trial => return,
            Some(open) => open.cooldown.saturating_mul(2).min(settings.max_cooldown),
            None if settings.failures > 0 && self.failures >= settings.failures => {
                settings.cooldown
            }
            None => return,
        };
        self.open =
            Some(Open { until: now + cooldown, cooldown, trial: false, cause: cause.into() });
    }

    /// A call ended without telling anything about the server: it was cancelled, say.
    pub(super) fn give_up(&mut self) {
        if let Some(open) = &mut self.open {
            open.trial = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Breaker = Breaker {
        failures: 3,
        cooldown: Duration::from_secs(5),
        max_cooldown: Duration::from_secs(12),
    };

    fn opened(now: Instant) -> Record {
        let mut record = Record::default();
        for _ in 0..3 {
            assert_eq!(record.admit(now), Ok(()));
            record.fail(&SETTINGS, now, now, "no route");
        }
        record
    }

    #[test]
    fn failures_in_a_row_stop_the_calls_and_an_answer_lets_them_pass_again() {
        let now = Instant::now();
        let mut record = opened(now);
        let refused = record.admit(now + Duration::from_secs(1)).unwrap_err();
        assert_eq!(refused.wait, Duration::from_secs(4));
        assert_eq!(&*refused.cause, "no route");
        assert_eq!(record.admit(now + Duration::from_secs(5)), Ok(()), "the trial");
        assert!(record.admit(now + Duration::from_secs(5)).is_err(), "only one trial at a time");
        record.succeed();
        assert_eq!(record.admit(now), Ok(()));
    }

    #[test]
    fn many_calls_that_fail_together_are_one_failure() {
        let began = Instant::now();
        let mut record = Record::default();
        for n in 1..100 {
            assert_eq!(record.admit(began), Ok(()));
            record.fail(&SETTINGS, began, began + Duration::from_millis(n), "it died");
        }
        assert_eq!(record.admit(began + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn each_failed_trial_makes_the_pause_longer_up_to_its_cap() {
        let mut now = Instant::now();
        let mut record = opened(now);
        for pause in [5, 10, 12, 12] {
            assert!(record.admit(now + Duration::from_secs(pause - 1)).is_err());
            now += Duration::from_secs(pause);
            assert_eq!(record.admit(now), Ok(()));
            record.fail(&SETTINGS, now, now, "still none");
        }
    }

    #[test]
    fn a_trial_that_is_cancelled_leaves_the_next_one_free() {
        let now = Instant::now();
        let mut record = opened(now);
        let later = now + Duration::from_secs(5);
        assert_eq!(record.admit(later), Ok(()));
        record.give_up();
        assert_eq!(record.admit(later), Ok(()));
    }

    #[test]
    fn an_answer_between_failures_starts_the_count_anew() {
        let now = Instant::now();
        let mut record = Record::default();
        for _ in 0..10 {
            record.fail(&SETTINGS, now, now, "x");
            record.fail(&SETTINGS, now, now, "x");
            record.succeed();
        }
        assert_eq!(record.admit(now), Ok(()));
        let never = Breaker { failures: 0, ..SETTINGS };
        for _ in 0..10 {
            record.fail(&never, now, now, "x");
        }
        assert_eq!(record.admit(now), Ok(()));
    }
}
