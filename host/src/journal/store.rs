//! Where records are kept.

use async_trait::async_trait;

use super::entry::Entry;
use super::error::JournalError;
use crate::ids::RunId;

/// A place for records. An entry is kept when `append` returns; a store that promises durability
/// has it on the disk by then, which is why a call goes out only after its request was appended.
#[async_trait]
pub trait JournalStore: Send + Sync + 'static {
    /// Adds an entry to a run's record. The first one makes the record.
    ///
    /// # Errors
    /// The store cannot keep it.
    async fn append(&self, run: &RunId, entry: Entry) -> Result<(), JournalError>;

    /// A run's record so far, in order.
    ///
    /// # Errors
    /// The run is not known.
    async fn entries(&self, run: &RunId) -> Result<Vec<Entry>, JournalError>;
}
