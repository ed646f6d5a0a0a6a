//! Notices that a configuration changed, and reads it anew.
//!
//! The files themselves are looked at every two seconds, by content: that works on every file system,
//! with editors that replace files, and with secrets that are mounted. SIGHUP asks at once, and also
//! where no file changed, so that `${command:…}` is asked again. The files are the configuration, what
//! it includes, what `${file:…}` and `env_file` name, the lock file, and the folder of plugins, in which
//! sizes and times tell of a change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use super::error::ConfigError;
use super::load::load_watched;
use super::providers::FileState;
use super::resolved::Config;

/// How often the files are looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// A file that is being written is read when it stayed the same for this long.
const SETTLED_AFTER: Duration = Duration::from_millis(200);

/// After so many looks at a file that never rests it is read all the same.
const MAX_LOOKS: usize = 10;

/// An environment that can be asked from any thread.
pub type SharedLookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Watches what one configuration was read from.
pub struct Watch {
    explicit: Option<PathBuf>,
    cwd: PathBuf,
    lookup: SharedLookup,
    files: Vec<FileState>,
    ticks: Interval,
    hangups: Hangups,
    /// A hangup was heard, and what it asks for is not done yet.
    asked: bool,
}

impl Watch {
    /// Reads a configuration as [`load`](super::load()) does, and watches it from then on. From now on
    /// SIGHUP no longer ends this process.
    ///
    /// # Errors
    /// As [`load`](super::load()).
    ///
    /// # Panics
    /// There is no tokio runtime around.
    pub fn start(
        explicit: Option<&Path>,
        cwd: &Path,
        lookup: SharedLookup,
    ) -> Result<(Config, Self), ConfigError> {
        Self::start_every(PERIOD, explicit, cwd, lookup)
    }

    /// As [`Watch::start`], with a period of its own.
    pub(super) fn start_every(
        period: Duration,
        explicit: Option<&Path>,
        cwd: &Path,
        lookup: SharedLookup,
    ) -> Result<(Config, Self), ConfigError> {
        let (result, files) = load_watched(explicit, cwd, &*lookup);
        let config = result?;
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watch = Self {
            explicit: explicit.map(Path::to_owned),
            cwd: cwd.to_owned(),
            lookup,
            files,
            ticks,
            hangups: hangups(),
            asked: false,
        };
        Ok((config, watch))
    }

    /// Waits for a change, and answers what the files say then. A problem is told once, and again
    /// only after a further change or a hangup.
    ///
    /// Cancel-safe: what was noticed and not answered is answered by the next call.
    ///
    /// # Errors
    /// As [`load`](super::load()). The configuration in force is the caller's, and stays.
    pub async fn next(&mut self) -> Result<Config, ConfigError> {
        loop {
            if !self.asked {
                self.asked = tokio::select! {
                    () = hangup(&mut self.hangups) => true,
                    _ = self.ticks.tick() => false,
                };
            }
            if !self.asked && !self.has_changed().await {
                continue;
            }
            let (explicit, cwd) = (self.explicit.clone(), self.cwd.clone());
            let lookup = Arc::clone(&self.lookup);
            // Reading waits for files and commands.
            let read = tokio::task::spawn_blocking(move || {
                load_watched(explicit.as_deref(), &cwd, &*lookup)
            });
            let Ok((result, files)) = read.await else { continue };
            self.files = files;
            self.asked = false;
            return result;
        }
    }

    /// Whether the files differ from what was read, and no longer change.
    async fn has_changed(&self) -> bool {
        let mut now = states(&self.files).await;
        if now == self.files {
            return false;
        }
        for _ in 0..MAX_LOOKS {
            tokio::time::sleep(SETTLED_AFTER).await;
            let later = states(&now).await;
            if later == now {
                break;
            }
            now = later;
        }
        now != self.files
    }
}

#[cfg(unix)]
type Hangups = Option<tokio::signal::unix::Signal>;

/// Nothing asks for a reload but the files.
#[cfg(not(unix))]
type Hangups = ();

#[cfg(unix)]
fn hangups() -> Hangups {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok()
}

#[cfg(not(unix))]
fn hangups() -> Hangups {}

/// Waits for SIGHUP.
#[cfg(unix)]
async fn hangup(hangups: &mut Hangups) {
    let heard = match hangups {
        Some(hangups) => hangups.recv().await,
        None => None,
    };
    if heard.is_none() {
        std::future::pending().await
    }
}

#[cfg(not(unix))]
async fn hangup(_: &mut Hangups) {
    std::future::pending().await
}

/// The same files as they are now.
async fn states(files: &[FileState]) -> Vec<FileState> {
    let before = files.to_vec();
    let read = move || before.iter().map(FileState::again).collect();
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| files.to_vec())
}
