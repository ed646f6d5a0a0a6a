//! Takes connections, as many as there may be and no longer than they are of use.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stalled::GivesUp;

/// How long to wait when no connection can be taken, mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a client may leave unread what is sent to it.
const UNREAD: Duration = Duration::from_secs(60);

/// Bytes of a request's first line and headers.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// The address of ours to which a request came.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalAddress(pub(super) IpAddr);

/// The address from which a request came.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerAddress(pub(super) IpAddr);

/// Serves connections until `stop` is cancelled. Those that are open then end by themselves.
pub(super) async fn accept(
    listener: &TcpListener,
    router: &Router,
    most: usize,
    head_timeout: Duration,
    workers: &TaskTracker,
    stop: &CancellationToken,
) {
    let room = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
    loop {
        let accepted = async {
            // Further connections wait in the operating system's queue.
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let serving = serve(stream, router.clone(), head_timeout, stop.clone());
                workers.spawn(holding(permit, serving));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn holding(_permit: Option<OwnedSemaphorePermit>, serving: impl Future<Output = ()>) {
    serving.await;
}

async fn serve(stream: TcpStream, router: Router, head_timeout: Duration, stop: CancellationToken) {
    // Answers are small and awaited: they do not wait for more to be sent with them.
    let _ = stream.set_nodelay(true);
    let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(LocalAddress(local.ip().to_canonical()));
        request.extensions_mut().insert(PeerAddress(peer.ip().to_canonical()));
        router.call(request)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(GivesUp::new(stream, UNREAD)), service)
            .with_upgrades()
    );
    // Whatever goes wrong with a connection is its client's business, and mostly its end.
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}
