//! Counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use toolcell::{CallError, state};

static CALLS: AtomicU64 = AtomicU64::new(0);

/// How often it was called in this session.
#[toolcell::tool]
fn count() -> Result<String, CallError> {
    let calls = state::get::<u64>("calls")?.unwrap_or(0) + 1;
    state::set("calls", &calls)?;
    Ok(calls.to_string())
}

/// How often this instance was called.
#[toolcell::tool]
fn count_here() -> String {
    (CALLS.fetch_add(1, Ordering::Relaxed) + 1).to_string()
}

/// Keeps a value.
#[toolcell::tool]
fn keep(key: String, value: Value) -> Result<(), CallError> {
    state::set(&key, &value)
}

/// Gives it back.
#[toolcell::tool]
fn recall(key: String) -> Result<String, CallError> {
    Ok(state::get::<Value>(&key)?.unwrap_or_default().to_string())
}

/// Forgets it.
#[toolcell::tool]
fn forget(key: String) -> String {
    state::delete(&key).to_string()
}

/// All keys.
#[toolcell::tool]
fn keys() -> String {
    state::keys().join(",")
}

/// Keeps so many bytes.
#[toolcell::tool]
fn fill(bytes: usize) -> Result<(), CallError> {
    state::set("filling", &"x".repeat(bytes))
}

/// Breaks down with these words, after it was counted.
#[toolcell::tool]
fn break_down(words: String) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    panic!("{words}");
}

toolcell::plugin!(count, count_here, keep, recall, forget, keys, fill, break_down);
