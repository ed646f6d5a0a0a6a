//! How long to wait before the next attempt: exponential with a cap and full jitter, so that many
//! who were thrown out together do not come back together.
//! <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>

use std::time::Duration;

use crate::upstream::settings::Retry;

/// The pause before the attempt after number `attempt`, which is counted from 1. `draw` is a random
/// number from 0 to 1.
pub(super) fn pause(settings: &Retry, attempt: u32, draw: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(30);
    let longest = settings.base.saturating_mul(1 << doublings).min(settings.cap);
    longest.mul_f64(draw.clamp(0.0, 1.0))
}

/// A random number from 0 to 1.
pub(super) fn draw() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the whole pause is waited, which is safe.
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap() {
        let settings = Retry {
            attempts: 9,
            base: Duration::from_millis(100),
            cap: Duration::from_millis(700),
        };
        let longest: Vec<_> = (1..=5).map(|n| pause(&settings, n, 1.0).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 700, 700]);
        assert_eq!(pause(&settings, 3, 0.5).as_millis(), 200);
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_the_cap(attempt: u32, draw in 0.0..1.0, cap in 0u64..100_000) {
            let cap = Duration::from_millis(cap);
            let settings = Retry { attempts: 3, base: Duration::from_secs(3), cap };
            prop_assert!(pause(&settings, attempt, draw) <= cap);
        }
    }
}
