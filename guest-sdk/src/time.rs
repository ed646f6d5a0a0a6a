//! Waiting on the run's clock. While a tool waits, its calls go on, and no compute is used.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::executor::{self, TimerId};
use crate::{CallError, imports};

/// Waits for a time.
///
/// ```
/// # use toolcell_guest as toolcell;
/// # use std::time::Duration;
/// # toolcell::testing::Host::new().run(async {
/// toolcell::sleep(Duration::from_millis(100)).await;
/// # });
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Sleep { at: imports::now_ns().saturating_add(nanoseconds), timer: None }
}

/// The future of [`sleep`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    at: u64,
    timer: Option<TimerId>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if imports::now_ns() >= self.at {
            return Poll::Ready(());
        }
        self.timer = Some(executor::wake_at(self.at, self.timer, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            executor::forget_timer(timer);
        }
    }
}

/// Gives a future so long, and drops it then: calls that it has out are cancelled upstream.
///
/// ```
/// # use toolcell_guest as toolcell;
/// # use std::time::Duration;
/// # use serde_json::json;
/// # let host = toolcell::testing::Host::new()
/// #     .answer("wiki.search", json!({"hits": []})).after(Duration::from_secs(60));
/// # host.run(async {
/// let call = toolcell::tools::call("wiki.search", &json!({"query": "wasm"}));
/// let error = toolcell::timeout(Duration::from_secs(2), call).await.unwrap_err();
/// assert_eq!(error.to_string(), "no answer within 2s");
/// # });
/// ```
///
/// # Errors
/// [`Elapsed`] when the time was over first.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = std::pin::pin!(future);
    let mut over = sleep(duration);
    std::future::poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut over).poll(context).map(|()| Err(Elapsed { after: duration }))
    })
    .await
}

/// A [`timeout`] was over before its future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed {
    /// How long was waited.
    pub after: Duration,
}

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no answer within {:?}", self.after)
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for CallError {
    fn from(elapsed: Elapsed) -> Self {
        Self::TimedOut {
            after: elapsed.after,
            phase: "branch".to_owned(),
            message: elapsed.to_string(),
        }
    }
}
