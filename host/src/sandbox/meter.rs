//! Measures how long a guest computes, and lets others have their turn.
//!
//! wasmtime makes a guest yield every [`YIELD_INTERVAL_FUEL`]; every poll of the guest's future is
//! thus short, and the time inside polls is the time the guest computed: while it waits for a tool,
//! nobody polls it. So one meter serves for the compute limit, for the fair sharing of a thread, and
//! for telling computing and waiting apart in the report.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Fuel between two yields. The slowest code we know of (chained divisions, loads that miss every
/// cache) spends up to 25 nanoseconds per unit, so a slice lasts 25 ms at the very worst and a tenth
/// of a millisecond as a rule.
pub(super) const YIELD_INTERVAL_FUEL: u64 = 1_000_000;

/// How long a guest may compute before its thread looks after others.
const TURN: Duration = Duration::from_millis(1);

/// Why a metered future ended.
pub(super) enum Metered<T> {
    Done(T),
    /// The compute limit was reached.
    OutOfTime,
}

/// Polls `inner`, adds the time to `computed`, and ends with [`Metered::OutOfTime`] at `limit`.
/// Cancel-safe: dropping it drops the guest.
pub(super) struct Meter<'a, F> {
    pub(super) inner: Pin<&'a mut F>,
    pub(super) computed: &'a mut Duration,
    pub(super) limit: Duration,
}

impl<T, F: Future<Output = T>> Future for Meter<'_, F> {
    type Output = Metered<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let turn_start = Instant::now();
        let mut slice_start = turn_start;
        let wakes = Arc::new(Wakes::new(cx.waker().clone()));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut inner_cx = Context::from_waker(&waker);
        loop {
            if *this.computed >= this.limit {
                return Poll::Ready(Metered::OutOfTime);
            }
            let polled = this.inner.as_mut().poll(&mut inner_cx);
            let now = Instant::now();
            *this.computed += now - slice_start;
            slice_start = now;
            match polled {
                Poll::Ready(done) => return Poll::Ready(Metered::Done(done)),
                // A yield wakes its own task from inside the poll; a wait does not.
                Poll::Pending if now - turn_start < TURN && wakes.take() => {}
                Poll::Pending => {
                    wakes.forward();
                    return Poll::Pending;
                }
            }
        }
    }
}

/// Holds wakes back while the guest is being polled, and passes them on afterwards. Without it each
/// yield would queue our task once more although we poll on at once.
struct Wakes {
    woken: AtomicBool,
    forwarding: AtomicBool,
    outer: Waker,
}

impl Wakes {
    fn new(outer: Waker) -> Self {
        Self { woken: AtomicBool::new(false), forwarding: AtomicBool::new(false), outer }
    }

    fn take(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }

    /// From here on wakes go straight through. The order matters: `forwarding` is set before
    /// `woken` is read, and a waker does it the other way round, so that no wake is lost between.
    fn forward(&self) {
        self.forwarding.store(true, Ordering::SeqCst);
        if self.take() {
            self.outer.wake_by_ref();
        }
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        if self.forwarding.load(Ordering::SeqCst) {
            self.outer.wake_by_ref();
        }
    }
}
