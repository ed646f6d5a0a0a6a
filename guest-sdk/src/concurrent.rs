//! Several futures at once.

use std::pin::Pin;
use std::task::Poll;

/// Awaits all, and gives their values in the order of the futures.
///
/// ```
/// # use toolcell_guest as toolcell;
/// # use serde_json::json;
/// # let host = toolcell::testing::Host::new().answer("clock.now", json!("12:00"));
/// # host.run(async {
/// let zones = ["Asia/Tokyo", "Europe/Rome"];
/// let calls = zones.map(|zone| toolcell::tools::call("clock.now", &json!({"zone": zone})).text());
/// let times = toolcell::join_all(calls).await;
/// assert_eq!(times, [Ok("12:00".to_owned()), Ok("12:00".to_owned())]);
/// # });
/// ```
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    let mut values: Vec<_> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (slot, value) in running.iter_mut().zip(&mut values) {
            let Some(future) = slot else { continue };
            match future.as_mut().poll(context) {
                Poll::Ready(done) => {
                    *value = Some(done);
                    *slot = None;
                }
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    values.into_iter().flatten().collect()
}

/// Awaits the first that is done, and gives its place and its value. The others are dropped, and their
/// calls cancelled upstream. Of no futures, none is ever done.
///
/// ```
/// # use toolcell_guest as toolcell;
/// # use serde_json::json;
/// # use std::time::Duration;
/// # let host = toolcell::testing::Host::new()
/// #     .answer("mirror.get", json!("slow")).after(Duration::from_secs(2))
/// #     .answer("origin.get", json!("fast"));
/// # host.run(async {
/// let calls = ["mirror.get", "origin.get"].map(|tool| toolcell::tools::call(tool, &json!({})).text());
/// let (which, text) = toolcell::race(calls).await;
/// assert_eq!((which, text), (1, Ok("fast".to_owned())));
/// # });
/// ```
pub async fn race<F: Future>(futures: impl IntoIterator<Item = F>) -> (usize, F::Output) {
    let mut running: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        for (index, future) in running.iter_mut().enumerate() {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                return Poll::Ready((index, value));
            }
        }
        Poll::Pending
    })
    .await
}

/// Awaits the first success. The others are dropped then, and their calls cancelled upstream.
///
/// # Errors
/// All failed: what each had to say, in the order of the futures.
pub async fn first_ok<T, E, F>(futures: impl IntoIterator<Item = F>) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut running: Vec<Option<Pin<Box<F>>>> =
        futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    let mut errors: Vec<Option<E>> = running.iter().map(|_| None).collect();
    let first = std::future::poll_fn(|context| {
        let mut pending = false;
        for (slot, error) in running.iter_mut().zip(&mut errors) {
            let Some(future) = slot else { continue };
            match future.as_mut().poll(context) {
                Poll::Ready(Ok(value)) => return Poll::Ready(Some(value)),
                Poll::Ready(Err(failure)) => {
                    *error = Some(failure);
                    *slot = None;
                }
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(None) }
    })
    .await;
    first.ok_or_else(|| errors.into_iter().flatten().collect())
}
