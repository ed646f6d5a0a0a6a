//! The monitor's report: a JSON file that `toolcell status` and other programs read while the
//! monitor runs, and that the next monitor goes on from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::delivery::ChannelReport;
use crate::upstream::{ServerState, Transition};

/// A file that is larger is none of ours.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// How far behind its own rhythm a report may be before it is called stale.
const MISSED_BEATS: u32 = 3;

/// A moment, written as `2026-07-28T12:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IsoTime(pub SystemTime);

impl IsoTime {
    /// Now.
    pub fn now() -> Self {
        Self(SystemTime::now())
    }

    /// How long ago it was; 0 if it is yet to come.
    pub fn age(&self) -> Duration {
        self.0.elapsed().unwrap_or_default()
    }
}

impl fmt::Display for IsoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.0).fmt(f)
    }
}

impl Serialize for IsoTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        crate::upstream::iso_time(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for IsoTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339(&text).map(Self).map_err(de::Error::custom)
    }
}

/// What a monitor knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MonitorReport {
    /// [`MonitorReport::VERSION`].
    pub version: u32,
    /// The monitor's process.
    pub pid: u32,
    /// When it began.
    pub started: IsoTime,
    /// When this was written.
    pub written: IsoTime,
    /// How often it is written while nothing changes.
    pub heartbeat_ms: u64,
    /// When the monitor ended, if it did so in good order.
    pub ended: Option<IsoTime>,
    /// The configuration that names the servers.
    pub config: Option<PathBuf>,
    /// The servers, in the operator's order.
    pub servers: Vec<ServerReport>,
    /// The last changes, oldest first, also of monitors before this one.
    pub transitions: Vec<TransitionReport>,
    /// Who is told.
    pub alerts: Vec<ChannelReport>,
}

/// What a monitor knows of one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerReport {
    /// Its name.
    pub server: String,
    /// How it is.
    pub state: ServerState,
    /// Since when.
    pub since: IsoTime,
    /// When it last answered.
    pub last_answer: Option<IsoTime>,
    /// When it was last asked.
    pub last_asked: Option<IsoTime>,
    /// Its last failure, in words; kept after it is up again.
    pub last_error: Option<String>,
    /// How often in a row it failed.
    pub failures: u32,
    /// Whether it changes so often that its changes are not told at present.
    pub flapping: bool,
    /// How often it is probed.
    pub interval_ms: Option<u64>,
    /// Why it is not, if it is not.
    pub unprobed: Option<String>,
    /// The monitor's open connections to it.
    pub open_connections: usize,
}

/// A change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TransitionReport {
    /// Of which server.
    pub server: String,
    /// How it was.
    pub from: ServerState,
    /// How it was from then on.
    pub to: ServerState,
    /// When it was noticed.
    pub at: IsoTime,
    /// Since when it was so.
    pub since: IsoTime,
    /// How long it was as it was before.
    pub lasted_ms: f64,
    /// Why, if it went down.
    pub cause: Option<String>,
}

impl From<&Transition> for TransitionReport {
    fn from(transition: &Transition) -> Self {
        Self {
            server: transition.server.to_string(),
            from: transition.from,
            to: transition.to,
            at: IsoTime(transition.at),
            since: IsoTime(transition.since),
            lasted_ms: transition.lasted.as_micros() as f64 / 1000.0,
            cause: transition.cause.as_deref().map(ToOwned::to_owned),
        }
    }
}

/// Why there is no report to read.
#[derive(Debug, thiserror::Error)]
pub enum NoReport {
    /// No monitor has written one there.
    #[error("there is no report of a monitor at {}", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read.
    #[error("the monitor's report {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The file is something else, or of another version.
    #[error("{} is no monitor's report of this version", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: serde_json::Error,
    },
}

impl MonitorReport {
    /// The version of the format. Fields may be added without a new one; readers ignore those that
    /// they do not know.
    pub const VERSION: u32 = 1;

    /// Reads a report.
    ///
    /// # Errors
    /// There is none, or it is none of ours.
    pub fn read(path: &Path) -> Result<Self, NoReport> {
        let unreadable = |error| NoReport::Unreadable { path: path.to_owned(), error };
        let foreign = |error| NoReport::Foreign { path: path.to_owned(), error };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(NoReport::Missing(path.to_owned()));
            }
            Err(error) => return Err(unreadable(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
        let report: Self = serde_json::from_slice(&bytes).map_err(foreign)?;
        if report.version != Self::VERSION {
            let version = report.version;
            return Err(foreign(de::Error::custom(format!("it has version {version}"))));
        }
        Ok(report)
    }

    /// Writes it in one step: who reads sees the old one or the new one, for the owner's eyes only.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Whether the monitor that wrote it still runs, on this machine.
    pub fn is_of_a_living_monitor(&self) -> bool {
        self.ended.is_none() && is_alive(self.pid)
    }

    /// Whether it is older than a monitor that works would leave it.
    pub fn is_stale(&self) -> bool {
        let heartbeat = Duration::from_millis(self.heartbeat_ms);
        self.written.age() > (heartbeat * MISSED_BEATS).max(Duration::from_secs(5))
    }
}

/// Whether there is a process of this number.
fn is_alive(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 is sent to nobody.
    let outcome = unsafe { libc::kill(pid, 0) };
    outcome == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Where the monitor of a configuration keeps its report unless the operator says otherwise: in the
/// user's state folder, under a name that is the configuration's own.
pub fn default_state_file(config: Option<&Path>) -> Option<PathBuf> {
    let folder = dirs::state_dir().or_else(dirs::cache_dir)?.join("toolcell");
    let name = match config {
        Some(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let hash = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
            format!("monitor-{}.json", &hash[..16])
        }
        None => "monitor.json".to_owned(),
    };
    Some(folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> MonitorReport {
        MonitorReport {
            version: MonitorReport::VERSION,
            pid: std::process::id(),
            started: IsoTime::now(),
            written: IsoTime::now(),
            heartbeat_ms: 1000,
            ended: None,
            config: None,
            servers: Vec::new(),
            transitions: Vec::new(),
            alerts: Vec::new(),
        }
    }

    #[test]
    fn a_report_is_written_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/report.json");
        assert!(matches!(MonitorReport::read(&path), Err(NoReport::Missing(_))));
        let written = report();
        written.write(&path).unwrap();
        written.write(&path).unwrap();
        let read = MonitorReport::read(&path).unwrap();
        assert!(read.is_of_a_living_monitor() && !read.is_stale());
        assert_eq!(read.started.to_string(), written.started.to_string());
        let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "no temporary file is left: {left:?}");
        for foreign in ["", "{}", "[]", "{\"version\": 2}"] {
            std::fs::write(&path, foreign).unwrap();
            assert!(matches!(MonitorReport::read(&path), Err(NoReport::Foreign { .. })));
        }
        let newer = MonitorReport { version: 2, ..report() };
        newer.write(&path).unwrap();
        assert!(matches!(MonitorReport::read(&path), Err(NoReport::Foreign { .. })));
    }

    #[test]
    fn old_reports_and_those_of_the_dead_are_known_as_such() {
        let old = IsoTime(SystemTime::now() - Duration::from_secs(60));
        assert!(MonitorReport { written: old, ..report() }.is_stale());
        assert!(!MonitorReport { written: old, heartbeat_ms: 30_000, ..report() }.is_stale());
        let ended = MonitorReport { ended: Some(IsoTime::now()), ..report() };
        assert!(!ended.is_of_a_living_monitor());
        // No process has the largest number that there is.
        let dead = MonitorReport { pid: i32::MAX.cast_unsigned(), ..report() };
        assert!(!dead.is_of_a_living_monitor());
    }

    #[test]
    fn each_configuration_has_a_report_of_its_own() {
        let [one, other] = ["/a/toolcell.toml", "/b/toolcell.toml"]
            .map(|path| default_state_file(Some(Path::new(path))));
        assert_ne!(one, other);
    }
}
