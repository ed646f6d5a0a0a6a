//! The one place where a transport's error becomes an error in words, and where it is decided
//! whether what failed may have taken effect.

use std::time::Duration;

use crate::ids::UpstreamName;
use crate::tool::Phase;
use crate::upstream::error::{Cause, UpstreamError};
use crate::upstream::message::{AnswerFault, MAX_MESSAGE_BYTES, RpcError};
use crate::upstream::redact::Redactor;
use crate::upstream::transport::TransportError;

/// Why a request has no answer, by what that means for trying again.
#[derive(Debug)]
pub(in crate::upstream) enum Fault {
    /// The server did nothing: it was not reached, or said so. The time is how long it wishes to be
    /// left alone; zero if it can be asked again at once.
    NotDone { error: UpstreamError, pause: Option<Duration> },
    /// The server may have done what was asked.
    Ambiguous(UpstreamError),
    /// The server answered, or nothing can be gained by asking again.
    Final(UpstreamError),
}

impl Fault {
    pub(in crate::upstream) fn error(&self) -> &UpstreamError {
        match self {
            Self::NotDone { error, .. } | Self::Ambiguous(error) | Self::Final(error) => error,
        }
    }

    /// What it means that a server did not say what it offers: that changes nothing, so a lost
    /// answer can be asked for again. But who was silent once will be so twice.
    pub(in crate::upstream) fn of_list(error: UpstreamError) -> Self {
        match &error {
            UpstreamError::Unavailable { cause, .. } if !cause.is_permanent() => {
                let pause = cause.retry_after();
                Self::NotDone { error, pause }
            }
            _ => Self::Final(error),
        }
    }

    pub(in crate::upstream) fn into_error(self) -> UpstreamError {
        match self {
            Self::NotDone { error, .. } | Self::Ambiguous(error) | Self::Final(error) => error,
        }
    }
}

/// Turns transport errors into errors for people.
pub(super) struct Faults<'a> {
    pub(super) server: &'a UpstreamName,
    pub(super) redactor: &'a Redactor,
}

impl Faults<'_> {
    /// What a failed request means.
    pub(super) fn judge(&self, phase: Phase, error: TransportError) -> Fault {
        let pause = match &error {
            TransportError::Unreachable(_) | TransportError::ConnectTimedOut(_) => Some(None),
            TransportError::SessionLost(_) => Some(Some(Duration::ZERO)),
            TransportError::Busy(cause) => Some(cause.retry_after()),
            _ => None,
        };
        let ambiguous = matches!(error, TransportError::Lost(_));
        let error = self.explain(phase, error);
        match pause {
            Some(pause) => Fault::NotDone { error, pause },
            None if ambiguous => Fault::Ambiguous(error),
            None => Fault::Final(error),
        }
    }

    pub(super) fn explain(&self, phase: Phase, error: TransportError) -> UpstreamError {
        let server = self.server.clone();
        match error {
            TransportError::Answer(fault) => self.explain_answer(phase, fault),
            TransportError::Unreachable(cause) => {
                UpstreamError::Unavailable { server, phase: Phase::Connect, cause }
            }
            TransportError::Unauthorized(cause) => UpstreamError::Unauthorized { server, cause },
            TransportError::Lost(cause)
            | TransportError::SessionLost(cause)
            | TransportError::Busy(cause)
            | TransportError::Http(cause)
            | TransportError::NoEndpoint(cause) => {
                UpstreamError::Unavailable { server, phase, cause }
            }
            TransportError::ConnectTimedOut(after) => {
                UpstreamError::TimedOut { server, phase: Phase::Connect, after, hint: None }
            }
            TransportError::WriteTimedOut(after) => {
                UpstreamError::TimedOut { server, phase: Phase::Write, after, hint: None }
            }
            TransportError::Closed => UpstreamError::Closed { server },
        }
    }

    pub(super) fn bad_answer(&self, problem: &str) -> UpstreamError {
        let problem = self.redactor.clean(problem).into_owned();
        UpstreamError::BadAnswer { server: self.server.clone(), problem }
    }

    fn explain_answer(&self, phase: Phase, fault: AnswerFault) -> UpstreamError {
        let server = self.server.clone();
        match fault {
            AnswerFault::TooLarge => {
                UpstreamError::AnswerTooLarge { server, limit_bytes: MAX_MESSAGE_BYTES }
            }
            AnswerFault::Malformed(problem) => self.bad_answer(&problem),
            // Nobody asked for this handshake or list; that it is refused is the server's trouble.
            AnswerFault::Rejected(error) if phase != Phase::Call => {
                let message = self.redactor.clean(&error.message);
                let text = format!("it answers {message:?} (JSON-RPC error {})", error.code);
                UpstreamError::Unavailable { server, phase, cause: Cause::new(text) }
            }
            AnswerFault::Rejected(RpcError { code, message, data }) => {
                let message = self.redactor.clean(&message).into_owned();
                // Cutting a secret out of JSON could break it.
                let data = data.filter(|data| self.redactor.clean(data.get()) == data.get());
                UpstreamError::Rejected { server, code, message, data }
            }
        }
    }
}
