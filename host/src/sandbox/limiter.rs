//! Bounds a guest's memory: linear memories and tables together, by bytes.

use wasmtime::ResourceLimiter;

/// A table's element as wasmtime stores it.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// Counts what a guest has and refuses what would exceed its limit. The guest sees a refused
/// `memory.grow`, which Python turns into `MemoryError`.
#[derive(Debug)]
pub(super) struct MemoryLimiter {
    limit_bytes: u64,
    used_bytes: u64,
    peak_bytes: u64,
    /// The total that the guest asked for when it was last refused.
    refused_bytes: Option<u64>,
}

impl MemoryLimiter {
    /// A limiter that lets an instance come into being; [`Self::set_limit`] follows.
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, used_bytes: 0, peak_bytes: 0, refused_bytes: None }
    }

    /// Sets the limit for what comes now, and forgets what was refused before. What the guest has
    /// already is not taken away.
    pub(super) fn set_limit(&mut self, limit_bytes: u64) {
        self.limit_bytes = limit_bytes;
        self.peak_bytes = self.used_bytes;
        self.refused_bytes = None;
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub(super) fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// What the guest would have had if its last refused wish had been granted.
    pub(super) fn refused_bytes(&self) -> Option<u64> {
        self.refused_bytes
    }

    fn grow(&mut self, current_bytes: u64, desired_bytes: u64) -> bool {
        let total = self.used_bytes.saturating_add(desired_bytes.saturating_sub(current_bytes));
        if total > self.limit_bytes {
            self.refused_bytes = Some(total);
            return false;
        }
        self.used_bytes = total;
        self.peak_bytes = self.peak_bytes.max(total);
        true
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current as u64, desired as u64))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| (elements as u64).saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(self.grow(bytes(current), bytes(desired)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_counted_over_all_memories_and_refused_past_the_limit() {
        let mut limiter = MemoryLimiter::new(1000);
        assert!(limiter.grow(0, 400));
        assert!(limiter.grow(0, 500));
        assert!(!limiter.grow(400, 600));
        assert_eq!(limiter.refused_bytes(), Some(1100));
        assert!(limiter.grow(400, 500));
        assert_eq!(limiter.peak_bytes(), 1000);
        limiter.set_limit(1000);
        assert_eq!(limiter.refused_bytes(), None, "an earlier run's refusal is not this one's");
    }
}
