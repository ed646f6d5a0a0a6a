//! Which processes live, and waiting for conditions.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{process, thread};

/// The longest that a test waits for what must happen at once. Only failures take so long. It is shorter
/// than the host's own limits on calls, which would bring about some of it in the end.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds.
///
/// # Panics
/// It does not hold within `limit`. `what` says what was waited for.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "waited {limit:?} in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A unique text. A process that has it in its arguments or in its environment belongs to one test,
/// and so do its children, which inherit the environment.
#[derive(Clone, Debug)]
pub struct Marker(String);

impl Marker {
    /// The variable that carries a marker.
    pub const VARIABLE: &str = "TOOLCELL_TEST_MARKER";

    /// A marker that nobody else has.
    #[expect(clippy::new_without_default, reason = "two new markers are never equal")]
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("marker-{}-{count}-of-a-test", process::id()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The living processes that carry the marker: ids and command lines. This one is left out.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let entries = fs::read_dir("/proc").expect("/proc can be read");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != process::id())
            .filter_map(|pid: u32| {
                // A process that ends while we look is one that does not live. A zombie has neither
                // arguments nor environment, so it does not count either.
                let read = |name| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
                let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
                let environment = read("environ");
                let carries = command.contains(&self.0)
                    || environment.windows(self.0.len()).any(|text| text == self.0.as_bytes());
                carries.then_some((pid, command))
            })
            .collect()
    }

    /// Waits until a process carries the marker.
    #[track_caller]
    pub fn wait_for_one(&self) {
        wait_until(PATIENCE, "a marked process lives", || !self.processes().is_empty());
    }

    /// Waits until no process carries the marker.
    ///
    /// # Panics
    /// Some live on. They are named, and killed.
    #[track_caller]
    pub fn assert_nothing_survives(&self) {
        self.assert_nothing_survives_within(PATIENCE);
    }

    /// As [`Marker::assert_nothing_survives`], with a limit of its own.
    #[track_caller]
    pub fn assert_nothing_survives_within(&self, limit: Duration) {
        let start = Instant::now();
        while !self.processes().is_empty() {
            if start.elapsed() > limit {
                let survivors = self.processes();
                self.kill();
                panic!("{limit:?} later there still lived {survivors:#?}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills whatever carries the marker.
    pub fn kill(&self) {
        for (pid, _) in self.processes() {
            if let Ok(pid) = i32::try_from(pid) {
                // SAFETY: kill has no preconditions.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_finds_children_of_children() {
        let marker = Marker::new();
        let mut shell = process::Command::new("sh")
            .args(["-c", "sleep 600 & setsid sleep 600 & wait"])
            .env(Marker::VARIABLE, marker.as_str())
            .spawn()
            .expect("sh starts");
        wait_until(PATIENCE, "the shell and two sleeps live", || {
            marker.processes().iter().filter(|(_, command)| command.starts_with("sleep")).count()
                == 2
        });
        marker.kill();
        marker.assert_nothing_survives();
        shell.wait().expect("the shell was killed");
    }
}
