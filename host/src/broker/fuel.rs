//! The fuel of one run, while it waits: plugins that it calls compute on what it has left.
//!
//! Whoever computes holds what it may use, so that all of them together never use more than the run
//! was given:
//! * the **owner**, the run's own guest, holds everything while it computes. When it begins to wait it
//!   lends what it has left, and when it goes on it takes back what is there then;
//! * a **reservation** is what one call of a plugin holds. What it did not use comes back at its end.
//!
//! A call for which nothing is left waits as long as somebody else holds some that may come back, in
//! the order in which calls asked, and so does the owner, which goes first: only once nobody holds any
//! is the fuel used up. Reservations never wait for their owner's other calls, so all of this ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Less than this is not worth beginning with as long as more may come back; a hundredth of a second's
/// compute.
const WORTHWHILE: u64 = 100_000_000;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct FuelPool {
    pool: Arc<Mutex<Pool>>,
}

struct Pool {
    /// What the run was given.
    total: u64,
    /// There is an owner that will want it back.
    is_owned: bool,
    /// What nobody holds.
    free: u64,
    /// What reservations hold.
    held: u64,
    /// The owner waits: what it had left is in `free`.
    lent: bool,
    /// What the owner takes back at the end of its wait.
    for_owner: u64,
    /// The owner wants to go on, and there is nothing for it yet.
    owner: Option<oneshot::Sender<()>>,
    queue: VecDeque<Waiter>,
}

/// A call that waits for its fuel.
struct Waiter {
    want: u64,
    to: oneshot::Sender<Result<Reservation, UsedUp>>,
}

/// Nothing is left, and nobody holds any that could come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UsedUp {
    /// What there was.
    pub(super) total: u64,
}

/// What one call of a plugin may use.
pub(super) struct Reservation {
    pool: Arc<Mutex<Pool>>,
    amount: u64,
    /// What does not come back.
    used: u64,
}

impl FuelPool {
    /// The fuel of a guest, which holds all of it.
    pub(super) fn of_guest(total: u64) -> Self {
        Self::new(total, 0, true)
    }

    /// The fuel of a call behind which there is no guest.
    pub(super) fn of_nobody(total: u64) -> Self {
        Self::new(total, total, false)
    }

    fn new(total: u64, free: u64, is_owned: bool) -> Self {
        let (lent, for_owner, held) = (!is_owned, 0, 0);
        let (owner, queue) = (None, VecDeque::new());
        let pool = Pool { total, is_owned, free, held, lent, for_owner, owner, queue };
        Self { pool: Arc::new(Mutex::new(pool)) }
    }

    /// Up to `want`; less if less is left. Waits while others hold what may come back.
    ///
    /// Cancel-safe: what was reserved for whoever went away comes back.
    ///
    /// # Errors
    /// The fuel is used up.
    pub(super) async fn reserve(&self, want: u64) -> Result<Reservation, UsedUp> {
        let (to, from) = oneshot::channel();
        let total = {
            let mut pool = lock(&self.pool);
            pool.queue.push_back(Waiter { want, to });
            pool.total
        };
        serve(&self.pool);
        // The sender goes away only with the pool, which we hold.
        from.await.unwrap_or(Err(UsedUp { total }))
    }

    /// The owner begins to wait.
    pub(super) fn lend(&self, left: u64) {
        {
            let mut pool = lock(&self.pool);
            pool.free = pool.free.saturating_add(left);
            pool.lent = true;
        }
        serve(&self.pool);
    }

    /// The owner wants to go on: waits until there is something for it, or nobody holds any that may
    /// come back. Cancel-safe.
    pub(super) async fn owners_turn(&self) {
        let from = {
            let mut pool = lock(&self.pool);
            if !pool.is_owned || !pool.lent || pool.hand_over() {
                return;
            }
            let (to, from) = oneshot::channel();
            pool.owner = Some(to);
            from
        };
        let _ = from.await;
    }

    /// The owner goes on, with this.
    pub(super) fn reclaim(&self) -> u64 {
        let mut pool = lock(&self.pool);
        pool.lent = false;
        pool.owner = None;
        let free = std::mem::take(&mut pool.free);
        std::mem::take(&mut pool.for_owner).saturating_add(free)
    }
}

impl Pool {
    /// Whether it is worth beginning with what is there.
    fn is_enough(&self, want: u64) -> bool {
        let worth = WORTHWHILE.min(self.total / 16).max(1).min(want);
        self.held == 0 || self.free >= worth
    }

    /// Puts what is there aside for the owner, if that is enough.
    fn hand_over(&mut self) -> bool {
        let enough = self.is_enough(u64::MAX);
        if enough {
            self.lent = false;
            self.for_owner = self.for_owner.saturating_add(std::mem::take(&mut self.free));
        }
        enough
    }
}

/// Gives what is free to those who wait for it. Answers go out without the lock: one that nobody takes
/// comes back to us at once.
fn serve(shared: &Arc<Mutex<Pool>>) {
    let mut answers = Vec::new();
    {
        let mut pool = lock(shared);
        // It may have given up waiting.
        pool.owner.take_if(|owner| owner.is_closed());
        if pool.owner.is_some() && pool.hand_over() {
            answers.push(Answer::Owner(pool.owner.take()));
        }
        pool.queue.retain(|waiter| !waiter.to.is_closed());
        while let Some(want) = pool.queue.front().map(|waiter| waiter.want) {
            let answer = if pool.free > 0 && pool.is_enough(want) {
                let amount = want.min(pool.free);
                pool.free -= amount;
                pool.held += amount;
                Ok(Reservation { pool: Arc::clone(shared), amount, used: 0 })
            } else if pool.free == 0 && pool.held == 0 && pool.lent {
                Err(UsedUp { total: pool.total })
            } else {
                break;
            };
            if let Some(waiter) = pool.queue.pop_front() {
                answers.push(Answer::Call(waiter, answer));
            }
        }
    }
    for answer in answers {
        match answer {
            Answer::Owner(to) => {
                let _ = to.map(|to| to.send(()));
            }
            Answer::Call(waiter, answer) => drop(waiter.to.send(answer)),
        }
    }
}

enum Answer {
    Owner(Option<oneshot::Sender<()>>),
    Call(Waiter, Result<Reservation, UsedUp>),
}

impl Reservation {
    /// How much it is.
    pub(super) fn amount(&self) -> u64 {
        self.amount
    }

    /// The call begins: from here on, all of it counts as used unless somebody says better.
    pub(super) fn begin(&mut self) {
        self.used = self.amount;
    }

    /// The call is over and has used so much.
    pub(super) fn settle(mut self, used: u64) {
        self.used = used.min(self.amount);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        {
            let mut pool = lock(&self.pool);
            pool.held -= self.amount;
            pool.free += self.amount - self.used;
        }
        serve(&self.pool);
    }
}

fn lock(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::future::BoxFuture;
    use proptest::prelude::*;

    use super::*;

    /// What a future answers now, if it does.
    fn now<T>(future: &mut BoxFuture<'static, T>) -> Option<T> {
        future.now_or_never()
    }

    type Asking = BoxFuture<'static, Result<Reservation, UsedUp>>;

    fn reserving(pool: &FuelPool, want: u64) -> Asking {
        let pool = pool.clone();
        async move { pool.reserve(want).await }.boxed()
    }

    #[test]
    fn a_call_has_its_share_and_gives_back_what_it_did_not_use() {
        let pool = FuelPool::of_guest(100);
        let mut call = reserving(&pool, 30);
        assert!(now(&mut call).is_none(), "the guest computes and holds everything");
        pool.lend(90);
        let mut reservation = now(&mut call).expect("is served").expect("there is enough");
        assert_eq!(reservation.amount(), 30);
        assert!(pool.owners_turn().now_or_never().is_some());
        assert_eq!(pool.reclaim(), 60, "the guest goes on with the rest");
        reservation.begin();
        reservation.settle(10);
        pool.lend(50);
        assert_eq!(pool.reclaim(), 70);
    }

    #[test]
    fn with_nothing_left_calls_wait_for_one_another_and_then_hear_that_it_is_used_up() {
        let pool = FuelPool::of_nobody(100);
        let first = now(&mut reserving(&pool, 1000)).expect("at once").expect("all of it");
        assert_eq!(first.amount(), 100);
        let (mut second, mut third) = (reserving(&pool, 40), reserving(&pool, 40));
        assert!(now(&mut second).is_none() && now(&mut third).is_none());
        first.settle(60);
        let second = now(&mut second).expect("comes first").expect("there is enough");
        assert_eq!(second.amount(), 40);
        assert!(now(&mut third).is_none(), "something may come back");
        second.settle(40);
        assert_eq!(now(&mut third).map(|third| third.err()), Some(Some(UsedUp { total: 100 })));
        assert!(now(&mut reserving(&pool, 1)).expect("at once").is_err());
    }

    #[test]
    fn what_was_begun_and_never_settled_counts_as_used_and_what_was_not_begun_does_not() {
        let pool = FuelPool::of_nobody(100);
        let mut lost = now(&mut reserving(&pool, 60)).expect("at once").expect("there is enough");
        lost.begin();
        drop(lost);
        let unused = now(&mut reserving(&pool, 60)).expect("at once").expect("the rest");
        assert_eq!(unused.amount(), 40);
        drop(unused);
        assert_eq!(now(&mut reserving(&pool, 60)).expect("at once").expect("all").amount(), 40);
    }

    #[test]
    fn whoever_goes_away_leaves_nothing_behind() {
        let pool = FuelPool::of_guest(100);
        let mut gone = reserving(&pool, 100);
        let mut other = reserving(&pool, 100);
        assert!(now(&mut gone).is_none() && now(&mut other).is_none());
        drop(gone);
        pool.lend(100);
        let all = now(&mut other).expect("is served").expect("all of it");
        assert_eq!(all.amount(), 100);
        // Served, and gone before it looked.
        let mut late = reserving(&pool, 50);
        assert!(now(&mut late).is_none());
        drop(all);
        drop(late);
        // An owner that gave up does not stand in the way of calls.
        let one = now(&mut reserving(&pool, 100)).expect("at once").expect("all of it");
        assert!(pool.owners_turn().now_or_never().is_none());
        let mut next = reserving(&pool, 100);
        assert!(now(&mut next).is_none());
        drop(one);
        assert!(now(&mut next).is_some());
        assert_eq!(pool.reclaim(), 100);
    }

    #[test]
    fn the_owner_goes_on_before_further_calls_begin() {
        let pool = FuelPool::of_guest(1600);
        pool.lend(1600);
        let all = now(&mut reserving(&pool, 1600)).expect("at once").expect("all");
        let mut next = reserving(&pool, 1600);
        assert!(now(&mut next).is_none());
        let mut turn = {
            let pool = pool.clone();
            async move { pool.owners_turn().await }.boxed()
        };
        assert!(now(&mut turn).is_none(), "a guest with no fuel would be stopped");
        all.settle(600);
        assert!(now(&mut turn).is_some() && now(&mut next).is_none());
        assert_eq!(pool.reclaim(), 1000);
        assert!(now(&mut next).is_none());
        // A wait of no length is enough for those who queue.
        pool.lend(900);
        assert_eq!(pool.reclaim(), 0);
        assert_eq!(now(&mut next).expect("is served").expect("the rest").amount(), 900);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Lend,
        /// Computes so many hundredths of what the owner has.
        Reclaim(u64),
        Ask(u64),
        /// Which, and how many hundredths it used.
        Settle(usize, u64),
        Abandon(usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Lend),
            (0u64..100).prop_map(Step::Reclaim),
            (1u64..2000).prop_map(Step::Ask),
            (0usize..8, 0u64..130).prop_map(|(which, used)| Step::Settle(which, used)),
            (0usize..8).prop_map(Step::Abandon),
        ]
    }

    proptest! {
        #[test]
        fn never_more_than_all_is_used_and_everybody_has_an_answer_in_the_end(
            steps in prop::collection::vec(any_step(), 0..60)
        ) {
            const TOTAL: u64 = 1000;
            let pool = FuelPool::of_guest(TOTAL);
            let (mut has, mut used) = (TOTAL, 0);
            let mut is_waiting = false;
            let mut queue: Vec<Asking> = Vec::new();
            let mut at_work: Vec<Reservation> = Vec::new();
            let take = |queue: &mut Vec<Asking>, at_work: &mut Vec<Reservation>| {
                queue.retain_mut(|call| match now(call) {
                    Some(Ok(mut reservation)) => {
                        reservation.begin();
                        at_work.push(reservation);
                        false
                    }
                    Some(Err(_)) => false,
                    None => true,
                });
            };
            for step in steps {
                match step {
                    Step::Lend if !is_waiting => {
                        pool.lend(std::mem::take(&mut has));
                        is_waiting = true;
                    }
                    Step::Reclaim(hundredths)
                        if is_waiting && pool.owners_turn().now_or_never().is_some() =>
                    {
                        has = pool.reclaim();
                        let computed = has * hundredths / 100;
                        has -= computed;
                        used += computed;
                        is_waiting = false;
                    }
                    Step::Ask(want) => {
                        let mut call = reserving(&pool, want);
                        match now(&mut call) {
                            Some(Ok(mut reservation)) => {
                                prop_assert!(reservation.amount() > 0);
                                reservation.begin();
                                at_work.push(reservation);
                            }
                            Some(Err(_)) => prop_assert!(at_work.is_empty()),
                            None => queue.push(call),
                        }
                    }
                    Step::Settle(which, hundredths) if which < at_work.len() => {
                        let reservation = at_work.swap_remove(which);
                        let amount = reservation.amount();
                        used += (amount * hundredths / 100).min(amount);
                        reservation.settle(amount * hundredths / 100);
                    }
                    Step::Abandon(which) if which < queue.len() => drop(queue.swap_remove(which)),
                    _ => {}
                }
                take(&mut queue, &mut at_work);
                let held: u64 = at_work.iter().map(Reservation::amount).sum();
                let (free, aside) = {
                    let pool = lock(&pool.pool);
                    prop_assert_eq!(pool.held, held);
                    (pool.free, pool.for_owner)
                };
                prop_assert_eq!(has + used + held + free + aside, TOTAL);
            }
            // The owner waits for all, and each call ends in its time.
            if !is_waiting {
                pool.lend(std::mem::take(&mut has));
            }
            for _ in 0..1000 {
                take(&mut queue, &mut at_work);
                match at_work.pop() {
                    Some(reservation) => reservation.settle(0),
                    None => break,
                }
                if pool.owners_turn().now_or_never().is_some() {
                    let left = pool.reclaim();
                    pool.lend(left);
                }
            }
            prop_assert!(queue.is_empty(), "{} calls never had an answer", queue.len());
            prop_assert!(pool.owners_turn().now_or_never().is_some());
            prop_assert_eq!(pool.reclaim(), TOTAL - used);
        }
    }
}
