//! The run's clock, which the host answers.

/// Nanoseconds since some moment.
#[cfg(target_os = "wasi")]
pub(crate) fn now_ns() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;

    static FIRST: OnceLock<Instant> = OnceLock::new();
    let passed = FIRST.get_or_init(Instant::now).elapsed();
    u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds since some moment. The standard library has no clock on this target.
#[cfg(not(target_os = "wasi"))]
pub(crate) fn now_ns() -> u64 {
    bindings::wasi::clocks::monotonic_clock::now()
}

#[cfg(not(target_os = "wasi"))]
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package wasi:clocks@0.2.0;

            interface monotonic-clock {
                type instant = u64;
                now: func() -> instant;
            }

            world clock {
                import monotonic-clock;
            }
        ",
    });
}
