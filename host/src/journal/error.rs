//! Why a journal could not be written or read.

use crate::ids::RunId;

/// A journal could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// No such run is recorded, or not any more.
    #[error("no run {run} is recorded")]
    UnknownRun {
        /// The run.
        run: RunId,
    },
}
