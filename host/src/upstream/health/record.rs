//! What a server's answers and failures make of its state: a function of values, with no clock of
//! its own.
//!
//! - One answer and it is up, whatever it was before.
//! - So many failures in a row as the operator says, and it is down, since the first of them. Many
//!   calls that fail together, because the one connection below them broke, are one failure.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Observation, ServerHealth, ServerState, Transition};
use crate::ids::UpstreamName;

/// Failures within this time after one that counted are the same failure.
const SAME_FAILURE: Duration = Duration::from_millis(50);

/// What is known of one server, and what decides about its next state.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) health: ServerHealth,
    /// Failures in a row, those that happened together counted once.
    strikes: u32,
    first_failure: Option<SystemTime>,
    last_strike: Option<SystemTime>,
}

impl Record {
    pub(super) fn new(server: UpstreamName, now: SystemTime) -> Self {
        let health = ServerHealth {
            server,
            state: ServerState::Unknown,
            since: now,
            last_answer: None,
            last_asked: None,
            last_error: None,
            failures: 0,
            unprobed: None,
        };
        Self { health, strikes: 0, first_failure: None, last_strike: None }
    }

    /// Takes note of what somebody saw. Gives the transition if this makes one.
    pub(super) fn observe(
        &mut self,
        seen: Observation,
        now: SystemTime,
        down_after: u32,
    ) -> Option<Transition> {
        self.health.last_asked = Some(now);
        match seen {
            Observation::Answered => {
                self.health.last_answer = Some(now);
                self.health.failures = 0;
                self.strikes = 0;
                self.first_failure = None;
                self.last_strike = None;
                self.turn(ServerState::Up, now, now, None)
            }
            Observation::Failed(cause) => {
                self.health.failures = self.health.failures.saturating_add(1);
                self.health.last_error = Some(Arc::clone(&cause));
                let since = *self.first_failure.get_or_insert(now);
                if self.is_another_failure(now) {
                    self.strikes = self.strikes.saturating_add(1);
                    self.last_strike = Some(now);
                }
                if self.strikes < down_after.max(1) {
                    return None;
                }
                self.turn(ServerState::Down, now, since, Some(cause))
            }
        }
    }

    fn is_another_failure(&self, now: SystemTime) -> bool {
        // A clock that was set back makes it another one.
        let since = |last| now.duration_since(last).ok();
        self.last_strike.and_then(since).is_none_or(|since| since >= SAME_FAILURE)
    }

    fn turn(
        &mut self,
        to: ServerState,
        now: SystemTime,
        since: SystemTime,
        cause: Option<Arc<str>>,
    ) -> Option<Transition> {
        if self.health.state == to {
            return None;
        }
        let from = std::mem::replace(&mut self.health.state, to);
        let before = std::mem::replace(&mut self.health.since, since);
        Some(Transition {
            server: self.health.server.clone(),
            from,
            to,
            at: now,
            since,
            lasted: since.duration_since(before).unwrap_or_default(),
            cause,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ServerState::{Down, Unknown, Up};
    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    fn record() -> Record {
        Record::new(UpstreamName::try_new("s").unwrap(), at(0))
    }

    /// Plays what was seen at which millisecond (`+` an answer, `-` a failure) and gives the
    /// transitions: from, to, when, since when.
    fn play(down_after: u32, seen: &[(u64, char)]) -> Vec<(ServerState, ServerState, u64, u64)> {
        let mut record = record();
        let milliseconds = |time: SystemTime| {
            u64::try_from(time.duration_since(at(0)).unwrap().as_millis()).unwrap()
        };
        let transitions = seen.iter().filter_map(|(time, what)| {
            let seen = match what {
                '+' => Observation::Answered,
                _ => Observation::Failed("refused".into()),
            };
            record.observe(seen, at(*time), down_after)
        });
        transitions
            .map(|it| (it.from, it.to, milliseconds(it.at), milliseconds(it.since)))
            .collect()
    }

    #[test]
    fn states_turn_as_the_table_says() {
        #[track_caller]
        fn check(
            down_after: u32,
            seen: &[(u64, char)],
            expected: &[(ServerState, ServerState, u64, u64)],
        ) {
            assert_eq!(play(down_after, seen), expected, "{down_after} {seen:?}");
        }
        check(2, &[], &[]);
        check(2, &[(100, '+'), (200, '+')], &[(Unknown, Up, 100, 100)]);
        // One failure is none; an answer between two starts the count anew.
        check(2, &[(100, '+'), (200, '-')], &[(Unknown, Up, 100, 100)]);
        check(2, &[(100, '-'), (200, '+'), (300, '-')], &[(Unknown, Up, 200, 200)]);
        // Down since the first of the failures, told at the one that decides.
        check(2, &[(100, '-'), (200, '-'), (300, '-')], &[(Unknown, Down, 200, 100)]);
        check(
            2,
            &[(100, '+'), (200, '-'), (300, '-'), (400, '-'), (500, '+'), (600, '+')],
            &[(Unknown, Up, 100, 100), (Up, Down, 300, 200), (Down, Up, 500, 500)],
        );
        check(1, &[(100, '-'), (200, '+')], &[(Unknown, Down, 100, 100), (Down, Up, 200, 200)]);
        check(3, &[(100, '-'), (200, '-')], &[]);
        check(3, &[(100, '-'), (200, '-'), (300, '-')], &[(Unknown, Down, 300, 100)]);
        // Nobody can ask for no failure at all.
        check(0, &[(100, '-')], &[(Unknown, Down, 100, 100)]);
        // Sixty calls that fail because their one connection broke are one failure.
        check(2, &[(100, '-'), (101, '-'), (102, '-'), (149, '-')], &[]);
        check(2, &[(100, '-'), (101, '-'), (150, '-')], &[(Unknown, Down, 150, 100)]);
        // A clock that was set back.
        check(2, &[(100, '-'), (50, '-')], &[(Unknown, Down, 50, 100)]);
    }

    #[test]
    fn a_transition_tells_how_long_the_state_before_it_lasted() {
        let mut record = record();
        let failed = || Observation::Failed("refused".into());
        record.observe(Observation::Answered, at(1_000), 2);
        assert!(record.observe(failed(), at(61_000), 2).is_none());
        let down = record.observe(failed(), at(62_000), 2).unwrap();
        assert_eq!((down.lasted, down.since), (Duration::from_secs(60), at(61_000)));
        let up = record.observe(Observation::Answered, at(121_000), 2).unwrap();
        assert_eq!((up.lasted, up.cause), (Duration::from_secs(60), None));
        assert_eq!(record.health.last_error.as_deref(), Some("refused"), "it is kept");
        assert_eq!(record.health.failures, 0);
    }
}
