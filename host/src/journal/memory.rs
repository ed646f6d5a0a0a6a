//! Records in memory, gone with the process: for runs that nobody will resume.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::entry::Entry;
use super::error::JournalError;
use super::store::JournalStore;
use crate::ids::RunId;

/// Keeps the newest records, up to a number of bytes; the oldest runs are forgotten first.
#[derive(Debug)]
pub struct MemoryStore {
    max_bytes: usize,
    records: Mutex<Records>,
}

/// What the record of a run takes besides its entries: many runs are a single call, and then this is
/// most of it.
const RECORD_BYTES: usize = 512 + 4 * size_of::<Entry>();

#[derive(Debug, Default)]
struct Records {
    by_run: HashMap<RunId, Record>,
    /// Oldest first.
    order: VecDeque<RunId>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Record {
    entries: Vec<Entry>,
    bytes: usize,
}

impl MemoryStore {
    /// How much [`MemoryStore::default`] keeps.
    pub const DEFAULT_MAX_BYTES: usize = 64 << 20;

    /// A store that keeps up to `max_bytes`. The record of the run that was appended to last is
    /// kept whatever its size.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, records: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(Self::DEFAULT_MAX_BYTES)
    }
}

#[async_trait]
impl JournalStore for MemoryStore {
    async fn append(&self, run: &RunId, entry: Entry) -> Result<(), JournalError> {
        let mut bytes = entry.size_bytes();
        let mut records = self.lock();
        let records = &mut *records;
        if !records.by_run.contains_key(run) {
            records.order.push_back(run.clone());
            bytes += RECORD_BYTES;
        }
        let record = records.by_run.entry(run.clone()).or_default();
        record.entries.push(entry);
        record.bytes += bytes;
        records.bytes += bytes;
        while records.bytes > self.max_bytes {
            let Some(oldest) = records.order.iter().position(|other| other != run) else { break };
            if let Some(forgotten) =
                records.order.remove(oldest).and_then(|old| records.by_run.remove(&old))
            {
                records.bytes -= forgotten.bytes;
            }
        }
        Ok(())
    }

    async fn entries(&self, run: &RunId) -> Result<Vec<Entry>, JournalError> {
        let records = self.lock();
        let record = records.by_run.get(run);
        record
            .map(|record| record.entries.clone())
            .ok_or_else(|| JournalError::UnknownRun { run: run.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::EntryKind;

    fn ended(outcome: &str) -> Entry {
        Entry::now(EntryKind::Ended { outcome: outcome.to_owned() })
    }

    #[tokio::test]
    async fn the_oldest_runs_are_forgotten_first_and_the_newest_is_kept_whatever_its_size() {
        let store = MemoryStore::new(2 * (ended("ok").size_bytes() + RECORD_BYTES));
        let (first, second, third) = (RunId::random(), RunId::random(), RunId::random());
        for run in [&first, &second, &third] {
            store.append(run, ended("ok")).await.expect("keeps");
        }
        assert!(matches!(store.entries(&first).await, Err(JournalError::UnknownRun { .. })));
        assert_eq!(store.entries(&second).await.expect("is kept").len(), 1);
        store.append(&third, ended(&"x".repeat(10_000))).await.expect("keeps");
        assert!(store.entries(&second).await.is_err());
        assert_eq!(store.entries(&third).await.expect("is kept").len(), 2);
    }
}
