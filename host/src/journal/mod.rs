//! The durable record of what left a run and what came back, in the order in which the guest saw it.
//!
//! A guest has no other source of chance: its random numbers come from the recorded seed, and its
//! clock moves with its own compute and with its waits. So the record is enough to run it again and
//! to answer each of its calls from here. No credential is ever in an entry: guests have none, and
//! upstreams add theirs behind the broker.

mod entry;
mod error;
mod memory;
mod store;

pub use entry::{Entry, EntryKind, PluginOrigin};
pub use error::JournalError;
pub use memory::MemoryStore;
pub use store::JournalStore;
