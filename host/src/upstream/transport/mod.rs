//! Ways to carry MCP messages to a server and back. A transport knows JSON-RPC and how to match
//! answers to requests; it knows nothing of tools, eras or handshakes.

mod event_stream;
pub(super) mod http;
pub(super) mod sse;
pub(super) mod stdio;
pub(super) mod streamable_http;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::value::RawValue;

use crate::tool::Json;
use crate::upstream::error::Cause;
use crate::upstream::inbox::Watch;
use crate::upstream::message::AnswerFault;

/// One request to a server.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) params: &'a RawValue,
    /// Headers that the 2026-07-28 revision derives from the parameters; for HTTP only.
    pub(super) headers: &'a [(::http::HeaderName, ::http::HeaderValue)],
    /// Whether the server is told when nobody waits for the answer any more. Not before the
    /// handshake: an old server would not understand.
    pub(super) cancellable: bool,
    /// What belongs to this request meanwhile; `None` in the handshake.
    pub(super) watch: Option<&'a Arc<Watch>>,
}

/// Why a request has no result.
#[derive(Clone, Debug)]
pub(super) enum TransportError {
    /// An answer came, and it is not a result.
    Answer(AnswerFault),
    /// No connection could be made, so nothing was sent.
    Unreachable(Cause),
    /// The same, because nobody accepted it in this time.
    ConnectTimedOut(Duration),
    /// The connection is gone; the cause says how. The request may have been read.
    Lost(Cause),
    /// The server does not know our MCP session any more, so it did not look at the request. The
    /// connection is of no use; a new one is.
    SessionLost(Cause),
    /// The server answered on the level of HTTP only.
    Http(Cause),
    /// The same, in a way that makes it doubtful that this is an MCP endpoint of the kind that was
    /// tried.
    NoEndpoint(Cause),
    /// The server has no time now, did nothing, and may have said when to come back (429, 503).
    Busy(Cause),
    /// The server wants credentials that we do not have (401, 403).
    Unauthorized(Cause),
    /// The message could not be written in time; the server may have read a part of it.
    WriteTimedOut(Duration),
    /// We closed the connection.
    Closed,
}

/// A live link to a server.
///
/// All methods are cancel-safe: a dropped future leaves the link usable. A dropped `request` tells
/// the server if [`Request::cancellable`] is set. None of them has a deadline of its own; the
/// caller's is around them, except for `close`, which is bounded.
#[async_trait]
pub(super) trait Transport: Send + Sync {
    async fn request(&self, request: Request<'_>) -> Result<Json, TransportError>;

    async fn notify(&self, method: &str) -> Result<(), TransportError>;

    /// Called once, when the protocol revision is settled; HTTP repeats it with every request.
    fn settle(&self, version: &str, modern: bool);

    /// Whether no request can succeed any more.
    fn is_lost(&self) -> bool;

    /// What is known about a server that stays silent: its last words on stderr, say.
    fn hint(&self) -> Option<String>;

    /// Ends the link at once and without waiting, because its owner is being dropped.
    fn abandon(&self);

    /// Ends the link in an orderly way, within [`CLOSE_TIME`].
    async fn close(&self);
}

/// The longest time that closing a link takes.
pub(super) const CLOSE_TIME: Duration = Duration::from_secs(6);
