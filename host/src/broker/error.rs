//! The one place where an upstream's error becomes the error that a guest sees.

use crate::limits::{LimitKind, LimitReached};
use crate::tool::{CallError, Phase};
use crate::upstream::UpstreamError;

impl From<UpstreamError> for CallError {
    fn from(error: UpstreamError) -> Self {
        let message = error.to_string();
        match error {
            UpstreamError::TimedOut { after, phase, .. } => {
                Self::TimedOut { after, phase, message }
            }
            UpstreamError::Rejected { code, data, .. } => Self::Rejected { code, message, data },
            UpstreamError::AnswerTooLarge { limit_bytes, .. } => {
                let limit = limit_bytes as u64;
                let reached =
                    LimitReached { kind: LimitKind::Answer, limit, used: limit.saturating_add(1) };
                Self::Exhausted { reached, message }
            }
            // What is left cannot be cured by other arguments: the server is the matter.
            _ => Self::Unavailable(message),
        }
    }
}

/// The text for a call that found no free place in time.
pub(super) fn queued_too_long(after: std::time::Duration, places: u64) -> CallError {
    CallError::TimedOut {
        after,
        phase: Phase::Queue,
        message: format!(
            "the call waited {} ms for one of the run's {places} concurrent calls to end; start \
             fewer at once, or cancel what is not needed any more",
            after.as_millis()
        ),
    }
}
