//! The only door outward: the component's imports. While the snapshot is made it is shut, and what the
//! warm-up asks for is answered here. Compiled for anything but wasm, it stays shut: so tests run.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::bindings::toolcell::guest::{console, tools};
use crate::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use crate::bindings::wasi::random::random;

static OPEN: AtomicBool = AtomicBool::new(false);

/// From now on imports are called.
#[cfg(target_arch = "wasm32")]
pub(crate) fn open() {
    OPEN.store(true, Ordering::Relaxed);
}

/// Until [`open`] no import is called: a snapshot is being made.
#[cfg(target_arch = "wasm32")]
pub(crate) fn shut() {
    OPEN.store(false, Ordering::Relaxed);
}

/// Whether imports can be called.
pub(crate) fn is_open() -> bool {
    OPEN.load(Ordering::Relaxed)
}

/// Microseconds since 1970.
pub(crate) fn wall_us() -> f64 {
    if !is_open() {
        return 0.0;
    }
    let now = wall_clock::now();
    now.seconds as f64 * 1e6 + f64::from(now.nanoseconds / 1000)
}

/// Milliseconds since some instant.
pub(crate) fn monotonic_ms() -> f64 {
    if is_open() { monotonic_clock::now() as f64 / 1e6 } else { 0.0 }
}

pub(crate) fn random_u64() -> u64 {
    if is_open() { random::get_random_u64() } else { 4 }
}

pub(crate) fn random_bytes(count: usize) -> Vec<u8> {
    if is_open() { random::get_random_bytes(count as u64) } else { vec![4; count] }
}

pub(crate) fn write(to: console::Stream, data: &[u8]) {
    if is_open() {
        console::write(to, data);
    } else if cfg!(not(target_arch = "wasm32")) {
        print!("{}", String::from_utf8_lossy(data));
    }
}

pub(crate) fn wait(timeout_ns: Option<u64>) -> Vec<tools::Completion> {
    if is_open() { tools::wait(timeout_ns) } else { Vec::new() }
}

pub(crate) fn servers() -> Vec<String> {
    if is_open() { tools::servers() } else { Vec::new() }
}
