//! What runs a tool's future: one thread, many calls out at once.
//!
//! A future that waits for a call or for a time leaves its waker here. When nothing can go on, the
//! host is asked to wait for whichever call or time comes first.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::imports;
use crate::{CallError, Output};

/// How a call ended.
pub(crate) type Answer = Result<Output, CallError>;

thread_local! {
    static WAITING: RefCell<Waiting> = const { RefCell::new(Waiting::new()) };
}

/// What is waited for.
struct Waiting {
    calls: BTreeMap<u64, Slot>,
    /// By the time at which they are over, in nanoseconds of the run's clock, then by age.
    timers: BTreeMap<(u64, u64), Waker>,
    timers_made: u64,
}

enum Slot {
    Out(Option<Waker>),
    Answered(Answer),
}

impl Waiting {
    const fn new() -> Self {
        Self { calls: BTreeMap::new(), timers: BTreeMap::new(), timers_made: 0 }
    }
}

/// The future waits for what can never come: for no call and for no time.
#[derive(Debug)]
pub(crate) struct Stalled;

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future to its end. Calls that it started and that are still out are left to their owners.
pub(crate) fn run<F: Future>(future: F) -> Result<F::Output, Stalled> {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    loop {
        if woken.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return Ok(value);
            }
        }
        let (calls, next_timer) = WAITING.with_borrow(|waiting| {
            (waiting.calls.len(), waiting.timers.keys().next().map(|(at, _)| *at))
        });
        let spinning = woken.0.load(Ordering::Relaxed);
        if calls == 0 && next_timer.is_none() {
            if spinning {
                continue;
            }
            return Err(Stalled);
        }
        let timeout = if spinning {
            Some(0)
        } else {
            next_timer.map(|at| at.saturating_sub(imports::now_ns()))
        };
        for (id, answer) in imports::wait(timeout) {
            deliver(id, answer);
        }
        fire_timers();
    }
}

fn deliver(id: u64, answer: Answer) {
    let waker = WAITING.with_borrow_mut(|waiting| {
        // A cancelled call has no slot.
        let slot = waiting.calls.get_mut(&id)?;
        match std::mem::replace(slot, Slot::Answered(answer)) {
            Slot::Out(waker) => waker,
            Slot::Answered(_) => None,
        }
    });
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn fire_timers() {
    let now = imports::now_ns();
    loop {
        let over = WAITING.with_borrow_mut(|waiting| {
            let first = waiting.timers.first_entry().filter(|entry| entry.key().0 <= now);
            first.map(|entry| entry.remove())
        });
        match over {
            Some(waker) => waker.wake(),
            None => return,
        }
    }
}

/// A call was started.
pub(crate) fn started(id: u64) {
    WAITING.with_borrow_mut(|waiting| waiting.calls.insert(id, Slot::Out(None)));
}

/// Takes a call's answer if it has come, and remembers who waits for it otherwise.
pub(crate) fn poll_call(id: u64, context: &Context<'_>) -> Poll<Answer> {
    WAITING.with_borrow_mut(|waiting| match waiting.calls.remove(&id) {
        Some(Slot::Answered(answer)) => Poll::Ready(answer),
        Some(Slot::Out(_)) | None => {
            waiting.calls.insert(id, Slot::Out(Some(context.waker().clone())));
            Poll::Pending
        }
    })
}

/// Nobody waits for a call any more: cancels it upstream if it is out.
pub(crate) fn forget(id: u64) {
    let slot = WAITING.with_borrow_mut(|waiting| waiting.calls.remove(&id));
    if matches!(slot, Some(Slot::Out(_))) {
        imports::cancel(id);
    }
}

/// A timer that somebody waits for.
pub(crate) type TimerId = (u64, u64);

/// Wakes at a time of the run's clock, in nanoseconds; `replacing` an earlier timer of the same owner.
pub(crate) fn wake_at(at: u64, replacing: Option<TimerId>, waker: Waker) -> TimerId {
    WAITING.with_borrow_mut(|waiting| {
        let id = replacing.unwrap_or_else(|| {
            waiting.timers_made += 1;
            (at, waiting.timers_made)
        });
        waiting.timers.insert(id, waker);
        id
    })
}

/// Forgets a timer.
pub(crate) fn forget_timer(id: TimerId) {
    WAITING.with_borrow_mut(|waiting| waiting.timers.remove(&id));
}
