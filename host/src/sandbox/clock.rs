//! The run's own clock. It moves in two ways: with the guest's compute, at a fixed rate per unit of
//! fuel, and by the time of each wait. Between two waits a guest therefore reads the same times in
//! every repetition, however busy the machine is, and a journal that records the waits has recorded
//! the clock.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

/// Ten units of fuel take a nanosecond: about what Cranelift's code does on a machine of 2026.
const FUEL_PER_NANOSECOND: u64 = 10;

/// Where the wall clock of a repeatable run starts: 2026-01-01T00:00:00Z.
const REPEATABLE_START: Duration = Duration::from_secs(1_767_225_600);

/// What a wait that ended with a completion takes in a repeatable run, whatever it really took.
const REPEATABLE_COMPLETION: Duration = Duration::from_millis(1);

/// See the module.
#[derive(Debug)]
pub(super) struct RunClock {
    started: Instant,
    wall_start: Duration,
    repeatable: bool,
    /// What the monotonic clock shows at the start: in a guest that is kept it goes on from where the
    /// run before left it.
    offset: Duration,
    waited: Mutex<Duration>,
}

impl RunClock {
    /// A clock that starts now; a repeatable one starts at a fixed instant instead, and its waits
    /// take what they were asked to take. `offset` is what its monotonic time begins with.
    pub(super) fn start(repeatable: bool, offset: Duration) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            started: Instant::now(),
            wall_start: if repeatable { REPEATABLE_START } else { now },
            repeatable,
            offset,
            waited: Mutex::new(Duration::ZERO),
        }
    }

    /// Time since the start of the first run of this guest, given the fuel used so far.
    pub(super) fn monotonic(&self, fuel_used: u64) -> Duration {
        self.offset.saturating_add(self.since_start(fuel_used))
    }

    /// Where the clock of a next run in the same guest goes on: real time passes between two runs,
    /// but not between repeatable ones.
    pub(super) fn handed_over(&self, fuel_used: u64) -> Duration {
        let read = self.monotonic(fuel_used);
        if self.repeatable { read } else { read.max(self.offset + self.started.elapsed()) }
    }

    fn since_start(&self, fuel_used: u64) -> Duration {
        let computed = Duration::from_nanos(fuel_used / FUEL_PER_NANOSECOND);
        self.waited().saturating_add(computed)
    }

    /// Time since the Unix epoch, given the fuel used so far.
    pub(super) fn wall(&self, fuel_used: u64) -> Duration {
        self.wall_start.saturating_add(self.since_start(fuel_used))
    }

    /// Moves the clock after a wait that ended with a completion.
    pub(super) fn completed_wait(&self, fuel_used: u64) {
        if self.repeatable {
            self.advance(REPEATABLE_COMPLETION);
        } else {
            self.catch_up(fuel_used);
        }
    }

    /// Moves the clock after a wait that lasted its whole time.
    pub(super) fn elapsed_wait(&self, asked: Duration, fuel_used: u64) {
        self.advance(asked);
        if !self.repeatable {
            self.catch_up(fuel_used);
        }
    }

    fn advance(&self, by: Duration) {
        let mut waited = self.lock();
        *waited = waited.saturating_add(by);
    }

    /// Brings the clock up to real time. It never goes back: a guest that computed faster than the
    /// nominal rate is ahead, and real time overtakes it at a later wait.
    fn catch_up(&self, fuel_used: u64) {
        let computed = Duration::from_nanos(fuel_used / FUEL_PER_NANOSECOND);
        let real = self.started.elapsed().saturating_sub(computed);
        let mut waited = self.lock();
        *waited = (*waited).max(real);
    }

    fn waited(&self) -> Duration {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Duration> {
        // A poisoned lock holds a duration all the same.
        self.waited.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeatable_clock_depends_on_fuel_and_waits_alone() {
        let read = || {
            let clock = RunClock::start(true, Duration::ZERO);
            clock.elapsed_wait(Duration::from_secs(2), 1_000);
            clock.completed_wait(2_000);
            (clock.monotonic(50_000), clock.wall(50_000))
        };
        assert_eq!(read(), read());
        assert_eq!(
            read().0,
            Duration::from_secs(2) + Duration::from_millis(1) + Duration::from_micros(5)
        );
        assert_eq!(read().1, REPEATABLE_START + read().0);
    }

    #[test]
    fn an_ordinary_clock_never_goes_back() {
        let clock = RunClock::start(false, Duration::ZERO);
        let ahead = clock.monotonic(u64::MAX / 2);
        clock.completed_wait(u64::MAX / 2);
        assert!(clock.monotonic(u64::MAX / 2) >= ahead);
    }

    #[test]
    fn the_clock_of_a_next_run_goes_on_where_the_one_before_ended() {
        for repeatable in [true, false] {
            let first = RunClock::start(repeatable, Duration::ZERO);
            first.elapsed_wait(Duration::from_secs(5), 1_000);
            let last = first.monotonic(70_000);
            let second = RunClock::start(repeatable, first.handed_over(70_000));
            assert!(second.monotonic(0) >= last);
        }
        let second = RunClock::start(true, Duration::from_secs(5));
        assert_eq!(second.wall(0), REPEATABLE_START, "the calendar is the run's own");
    }
}
