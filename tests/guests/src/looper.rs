//! Never ends.

use std::time::Duration;

/// Computes for ever.
#[toolcell::tool]
fn compute() -> u64 {
    let mut sum = 0_u64;
    loop {
        sum = std::hint::black_box(sum.wrapping_add(1));
    }
}

/// Waits for a time.
#[toolcell::tool]
async fn wait(seconds: u64) -> String {
    toolcell::sleep(Duration::from_secs(seconds)).await;
    "awake".to_owned()
}

/// Waits for what cannot come.
#[toolcell::tool]
async fn stall() -> String {
    std::future::pending().await
}

toolcell::plugin!(compute, wait, stall);
