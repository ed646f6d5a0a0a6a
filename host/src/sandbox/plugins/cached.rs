//! The compiled code of plugins in the cache, a folder for each component. Nobody says when a component is
//! needed no more: so the time of its last use is the folder's, and what nobody used for long goes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::sandbox::cache::Cache;

/// How the folders' names begin.
pub(in crate::sandbox) const PREFIX: &str = "plugin-";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Code that was not used for so many days goes.
const KEPT_DAYS: u32 = 30;

/// Keeps a folder from being old. Once a day is enough.
pub(super) fn note_use(code: &Path) {
    let Some(folder) = code.parent().filter(|folder| age(folder) > DAY) else { return };
    // Where this is not allowed, it is compiled anew some day.
    let _ = File::open(folder).and_then(|folder| folder.set_modified(SystemTime::now()));
}

/// Whether nobody used it for long.
pub(in crate::sandbox) fn is_unused(folder: &Path) -> bool {
    age(folder) > DAY * KEPT_DAYS
}

fn age(folder: &Path) -> Duration {
    let modified = fs::metadata(folder).and_then(|metadata| metadata.modified());
    modified.ok().and_then(|modified| modified.elapsed().ok()).unwrap_or_default()
}

/// Removes what nobody used for long. A process that maps such code keeps it; one that looks for it
/// compiles it anew.
pub(super) fn remove_unused(cache: &Cache) {
    for folder in folders(cache).into_iter().filter(|folder| is_unused(folder)) {
        if let Err(error) = fs::remove_dir_all(&folder) {
            tracing::debug!(%error, folder = %folder.display(), "old code cannot be removed");
        }
    }
}

fn folders(cache: &Cache) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache.folder()).into_iter().flatten().flatten();
    let of_plugin = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(PREFIX)) && path.is_dir()
    };
    entries.map(|entry| entry.path()).filter(of_plugin).collect()
}
