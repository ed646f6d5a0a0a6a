//! Time that does not count: while a person is asked, the clocks of whoever waits for the answer
//! stand still.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The pauses of one thing that has a deadline: a call, a run. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pauses {
    times: Arc<watch::Sender<Times>>,
    /// Those of what this is a part of: its time stands still too.
    outer: Option<Arc<Pauses>>,
}

#[derive(Debug, Default)]
struct Times {
    /// How many reasons there are to wait just now.
    open: usize,
    /// Since when there is one.
    since: Option<Instant>,
    /// The length of all pauses that are over.
    before: Duration,
}

impl Pauses {
    /// The pauses of a part of something: while it waits, so does the whole. What else the whole waits
    /// for does not stop the part's clock.
    #[must_use]
    pub fn of_part(&self) -> Self {
        Self { times: Arc::default(), outer: Some(Arc::new(self.clone())) }
    }

    /// Time stands still until the guard is dropped. Pauses may overlap, and count once then.
    pub fn begin(&self) -> Pause {
        self.times.send_modify(|times| {
            times.open += 1;
            times.since.get_or_insert_with(Instant::now);
        });
        let outer = self.outer.as_ref().map(|outer| Box::new(outer.begin()));
        Pause { pauses: self.clone(), _outer: outer }
    }

    /// How long all pauses were, as far as they are over.
    pub fn before(&self) -> Duration {
        self.times.borrow().before
    }

    /// Whether time stands still.
    pub fn is_open(&self) -> bool {
        self.times.borrow().open > 0
    }

    /// Resolves when time goes on.
    pub async fn over(&self) {
        // The sender is part of us.
        let _ = self.times.subscribe().wait_for(|times| times.open == 0).await;
    }

    /// Resolves when so much time has passed since then, without the pauses. Cancel-safe.
    pub async fn elapse(&self, from: Instant, limit: Duration) {
        loop {
            let Some(end) = from.checked_add(limit.saturating_add(self.before())) else {
                return std::future::pending().await;
            };
            tokio::time::sleep_until(end).await;
            self.over().await;
            // A pause may have begun and ended meanwhile.
            if from.checked_add(limit.saturating_add(self.before())) == Some(end) {
                return;
            }
        }
    }
}

/// See [`Pauses::begin`].
#[derive(Debug)]
pub struct Pause {
    pauses: Pauses,
    _outer: Option<Box<Pause>>,
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.pauses.times.send_modify(|times| {
            times.open -= 1;
            if times.open == 0
                && let Some(since) = times.since.take()
            {
                times.before += since.elapsed();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn pauses_do_not_count_and_overlapping_ones_count_once() {
        let (pauses, start) = (Pauses::default(), Instant::now());
        let waiting = pauses.elapse(start, MOMENT);
        let pausing = async {
            let one = pauses.begin();
            tokio::time::sleep(MOMENT).await;
            let other = pauses.begin();
            drop(one);
            assert!(pauses.is_open());
            tokio::time::sleep(MOMENT).await;
            drop(other);
            pauses.before()
        };
        let (before, ()) = tokio::join!(pausing, waiting);
        assert!(!pauses.is_open() && before >= 2 * MOMENT && before <= start.elapsed());
        assert!(start.elapsed() >= before + MOMENT, "all of the limit is left after the pause");
    }

    #[tokio::test]
    async fn the_whole_waits_with_its_part_and_not_the_other_way_round() {
        let whole = Pauses::default();
        let (part, sibling) = (whole.of_part(), whole.of_part());
        let pause = part.of_part().begin();
        assert!(whole.is_open() && part.is_open() && !sibling.is_open());
        drop(pause);
        assert!(!whole.is_open() && !part.is_open());
        let _pause = whole.begin();
        assert!(!part.is_open());
    }

    #[tokio::test]
    async fn a_limit_beyond_all_clocks_never_passes() {
        let endless = Pauses::default();
        let waiting = endless.elapse(Instant::now(), Duration::MAX);
        assert!(tokio::time::timeout(MOMENT, waiting).await.is_err());
    }
}
