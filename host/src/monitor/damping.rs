//! Whom a flapping server may wake, and how often: a function of values, with no clock of its own.
//!
//! Each change is told, up to [`Damper::MOST`] within [`Damper::WINDOW`]. The next one is told as
//! `flapping`, and from then on nothing, until the server has stayed as it is for
//! [`Damper::CALM`]; that is told as `settled`, with the state in which it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is remembered of one server.
#[derive(Debug, Default)]
pub(super) struct Damper {
    /// The last changes, oldest first; never more than one above [`Damper::MOST`].
    changes: VecDeque<Instant>,
    flaps: Option<Flaps>,
}

/// A server that changes too often.
#[derive(Clone, Copy, Debug)]
struct Flaps {
    last_change: Instant,
    untold: u64,
}

/// What to tell of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The change.
    Tell,
    /// That there are so many of them.
    TellFlapping,
    /// Nothing.
    Silence,
}

impl Damper {
    /// So many changes within [`Damper::WINDOW`] are told one by one.
    pub(super) const MOST: usize = 4;
    /// The time in which changes are counted.
    pub(super) const WINDOW: Duration = Duration::from_secs(10 * 60);
    /// A flapping server that did not change for so long has settled.
    pub(super) const CALM: Duration = Duration::from_secs(5 * 60);

    /// The server changed its state.
    pub(super) fn change(&mut self, now: Instant) -> Verdict {
        if let Some(flaps) = &mut self.flaps {
            flaps.last_change = now;
            flaps.untold += 1;
            return Verdict::Silence;
        }
        self.changes.push_back(now);
        self.changes.retain(|change| now.saturating_duration_since(*change) < Self::WINDOW);
        if self.changes.len() <= Self::MOST {
            return Verdict::Tell;
        }
        self.changes.clear();
        self.flaps = Some(Flaps { last_change: now, untold: 0 });
        Verdict::TellFlapping
    }

    /// When to look whether the server has settled, if it flaps.
    pub(super) fn settles_at(&self) -> Option<Instant> {
        self.flaps.map(|flaps| flaps.last_change + Self::CALM)
    }

    /// Whether the server flapped and has settled now: then the number of changes that nobody was
    /// told.
    pub(super) fn settle(&mut self, now: Instant) -> Option<u64> {
        let flaps = self.flaps.filter(|flaps| now >= flaps.last_change + Self::CALM)?;
        *self = Self::default();
        Some(flaps.untold)
    }

    /// Whether changes are not told at present.
    pub(super) fn is_flapping(&self) -> bool {
        self.flaps.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Silence, Tell, TellFlapping};
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn changes_are_told_or_not_as_the_table_says() {
        #[track_caller]
        fn check(changes_at: &[u64], expected: &[Verdict]) {
            let start = Instant::now();
            let mut damper = Damper::default();
            let told: Vec<_> =
                changes_at.iter().map(|at| damper.change(start + seconds(*at))).collect();
            assert_eq!(told, expected, "{changes_at:?}");
        }
        // Down and up again, twice: no flapping yet.
        check(&[0, 60, 120, 180], &[Tell; 4]);
        check(&[0, 60, 120, 180, 240], &[Tell, Tell, Tell, Tell, TellFlapping]);
        check(
            &[0, 60, 120, 180, 240, 300, 360, 4000],
            &[Tell, Tell, Tell, Tell, TellFlapping, Silence, Silence, Silence],
        );
        // Once in a quarter of an hour, for ever: each is told.
        check(&[0, 900, 1800, 2700, 3600, 4500, 5400], &[Tell; 7]);
        // The window slides: the first change is out of it when the fifth comes.
        check(&[0, 200, 300, 400, 600], &[Tell; 5]);
        check(&[0, 200, 300, 400, 599], &[Tell, Tell, Tell, Tell, TellFlapping]);
    }

    #[test]
    fn a_flapping_server_is_told_once_and_once_more_when_it_has_settled() {
        let start = Instant::now();
        let mut damper = Damper::default();
        // Every second for an hour: 3600 changes.
        let told: Vec<_> = (0..3600)
            .map(|at| {
                let now = start + seconds(at);
                assert_eq!(damper.settle(now), None, "it has not settled at {at}");
                damper.change(now)
            })
            .collect();
        assert_eq!(told.iter().filter(|verdict| **verdict == Tell).count(), Damper::MOST);
        assert_eq!(told.iter().filter(|verdict| **verdict == TellFlapping).count(), 1);
        assert!(damper.is_flapping());
        let settles_at = damper.settles_at().unwrap();
        assert_eq!(settles_at, start + seconds(3599) + Damper::CALM);
        assert_eq!(damper.settle(settles_at - seconds(1)), None);
        assert_eq!(damper.settle(settles_at), Some(3600 - 5));
        assert_eq!((damper.settle(settles_at), damper.settles_at()), (None, None), "only once");
        assert_eq!(damper.change(settles_at), Tell, "from here on it counts anew");
    }

    #[test]
    fn memory_does_not_grow_with_changes() {
        let start = Instant::now();
        let mut damper = Damper::default();
        for at in 0..10_000 {
            damper.change(start + Duration::from_millis(at));
            assert!(damper.changes.len() <= Damper::MOST);
        }
    }
}
