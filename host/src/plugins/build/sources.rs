//! The author's files, copied to where they are built: nothing is built in his folder, and what is
//! there besides sources stays out.

use std::fs;
use std::path::Path;

use super::BuildError;
use crate::sandbox::Cache;

/// More than this is no plugin's sources, but a folder that was not meant.
const MAX_FILES: usize = 2_000;
const MAX_BYTES: u64 = 32 << 20;

/// Folders in folders, to this depth.
const MAX_DEPTH: usize = 16;

/// A place for a build in the cache folder, removed when dropped.
pub(super) fn work_folder(cache: &Cache) -> Result<tempfile::TempDir, BuildError> {
    tempfile::Builder::new()
        .prefix("build-")
        .tempdir_in(cache.folder())
        .map_err(BuildError::file("make a folder in", cache.folder()))
}

/// Which files are sources.
pub(super) struct Sources<'a> {
    /// Names that are none, wherever they are. Hidden ones are none either.
    pub(super) skipped: &'a [&'a str],
}

impl Sources<'_> {
    /// Copies them. Links are not followed.
    ///
    /// # Errors
    /// They cannot be read, or are too many.
    pub(super) fn copy(&self, from: &Path, to: &Path) -> Result<(), BuildError> {
        let mut left = Left { files: MAX_FILES, bytes: MAX_BYTES };
        self.copy_folder(from, to, &mut left, MAX_DEPTH)
    }

    fn copy_folder(
        &self,
        from: &Path,
        to: &Path,
        left: &mut Left,
        depth: usize,
    ) -> Result<(), BuildError> {
        let depth = depth.checked_sub(1).ok_or_else(|| too_much(from))?;
        fs::create_dir_all(to).map_err(BuildError::file("make", to))?;
        for entry in fs::read_dir(from).map_err(BuildError::file("read", from))? {
            let entry = entry.map_err(BuildError::file("read", from))?;
            let (name, path) = (entry.file_name(), entry.path());
            let shown = name.to_string_lossy();
            if shown.starts_with('.') || self.skipped.contains(&&*shown) {
                continue;
            }
            let kind = entry.file_type().map_err(BuildError::file("look at", &path))?;
            if kind.is_dir() {
                self.copy_folder(&path, &to.join(&name), left, depth)?;
            } else if kind.is_file() {
                let size = entry.metadata().map_err(BuildError::file("look at", &path))?.len();
                left.take(size).ok_or_else(|| too_much(from))?;
                fs::copy(&path, to.join(&name)).map_err(BuildError::file("copy", &path))?;
            }
        }
        Ok(())
    }
}

struct Left {
    files: usize,
    bytes: u64,
}

impl Left {
    fn take(&mut self, size: u64) -> Option<()> {
        self.files = self.files.checked_sub(1)?;
        self.bytes = self.bytes.checked_sub(size)?;
        Some(())
    }
}

fn too_much(folder: &Path) -> BuildError {
    BuildError::Source(format!(
        "{} holds more than the sources of a plugin: at most {MAX_FILES} files of {} MiB in all, in at \
         most {MAX_DEPTH} levels of folders (hidden ones, `dist`, `tests` and the like do not count)",
        folder.display(),
        MAX_BYTES >> 20,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_copied_and_nothing_else() {
        let from = tempfile::tempdir().unwrap();
        for path in ["plugin.py", "data/words.txt", "dist/x.wasm", ".git/config", "a/dist/y"] {
            let path = from.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink("/", from.path().join("world")).unwrap();
        let to = tempfile::tempdir().unwrap();
        Sources { skipped: &["dist"] }.copy(from.path(), to.path()).unwrap();
        let names = |folder: &Path| {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = entries.map(|it| it.into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(to.path()), ["a", "data", "plugin.py"]);
        assert_eq!(names(&to.path().join("data")), ["words.txt"]);
        assert!(names(&to.path().join("a")).is_empty());
    }

    #[test]
    fn a_folder_that_was_not_meant_is_refused() {
        let from = tempfile::tempdir().unwrap();
        let deep = (0..20).fold(from.path().to_owned(), |path, _| path.join("a"));
        fs::create_dir_all(deep).unwrap();
        let to = tempfile::tempdir().unwrap();
        let refused = Sources { skipped: &[] }.copy(from.path(), to.path()).unwrap_err();
        assert!(refused.to_string().contains("levels of folders"), "{refused}");
    }
}
