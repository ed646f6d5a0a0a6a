//! Bodies that know how far they were taken, so that a server which reads nothing is noticed.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

/// One piece of a body. The connection takes a piece only when it has room for it.
const PIECE_BYTES: usize = 64 << 10;

/// How far a body was taken.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// There is no connection yet.
    Waiting,
    Begun,
    /// To its end; or it is not needed any more.
    Taken,
}

/// A body of known length.
struct Upload {
    rest: Bytes,
    stage: watch::Sender<Stage>,
}

/// Tells how far a body was taken.
pub(super) struct Progress(watch::Receiver<Stage>);

/// A request's body.
pub(super) fn body(bytes: Bytes) -> (reqwest::Body, Progress) {
    let (stage, progress) = watch::channel(Stage::Waiting);
    (reqwest::Body::wrap(Upload { rest: bytes, stage }), Progress(progress))
}

impl Progress {
    /// Resolves when so much time passed since the body began to be taken, and a part of it still
    /// was not. Never resolves otherwise.
    pub(super) async fn stuck(mut self, limit: Duration) {
        let begun = self.0.wait_for(|stage| *stage != Stage::Waiting).await.is_ok();
        if begun {
            let taken = self.0.wait_for(|stage| *stage == Stage::Taken);
            if tokio::time::timeout(limit, taken).await.is_err() {
                return;
            }
        }
        std::future::pending().await
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        let stage = if self.rest.is_empty() { Stage::Taken } else { Stage::Begun };
        self.stage.send_if_modified(|known| std::mem::replace(known, stage) != stage);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
