//! The folder in which built runtimes and compiled code are kept.
//!
//! Compiled code is mapped and executed as it lies there, so a file counts only if it is exactly
//! what we wrote. Each file has a stamp beside it: the hash of its content, and what the file system
//! said of the file when that hash was last found right. As long as the file system still says the
//! same (inode, size, change time), nobody wrote to the file, and it need not be read to be trusted;
//! otherwise it is hashed again, and a file that does not match is as good as absent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::SandboxError;

/// The cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// What a stamp file holds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Stamp {
    blake3: String,
    seen: Seen,
}

/// What the file system says of a file. The change time moves at every write and cannot be set.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Seen {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// How a cached file was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// It is what was written.
    Sound,
    /// It, or its stamp, is not there.
    Absent,
    /// It is something else than what was written.
    Corrupt,
}

impl Cache {
    /// The cache in `folder`, which is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made, or others could write to it.
    pub fn open(folder: &Path) -> Result<Self, SandboxError> {
        // What is built runs with another working directory than ours.
        let folder = &std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let failed =
            |action| move |source| SandboxError::Cache { action, path: folder.to_owned(), source };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed("make the cache folder"))?;
        let metadata = fs::metadata(folder).map_err(failed("look at the cache folder"))?;
        let problem = |problem| SandboxError::CacheNotPrivate { path: folder.to_owned(), problem };
        // SAFETY: geteuid only reads the process's identity and cannot fail.
        let we = unsafe { libc::geteuid() };
        if metadata.uid() != we {
            return Err(problem("belongs to another user"));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(problem("can be written to by other users"));
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A place in the cache.
    pub(super) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.folder.join(relative)
    }

    /// Waits until no other process builds in this cache, and keeps others waiting until dropped.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub(super) fn lock(&self) -> Result<File, SandboxError> {
        let path = self.path("lock");
        let failed = |source| SandboxError::Cache { action: "lock", path: path.clone(), source };
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    /// Whether the file is what was written there. With `thorough` its content is hashed in any
    /// case; without, only if the file system gives a reason.
    pub(super) fn condition(&self, path: &Path, thorough: bool) -> Condition {
        let Ok(stamp) = fs::read(stamp_path(path)) else { return Condition::Absent };
        let Ok(metadata) = fs::metadata(path) else { return Condition::Absent };
        let Ok(stamp) = serde_json::from_slice::<Stamp>(&stamp) else { return Condition::Corrupt };
        let seen = Seen::of(&metadata);
        if !thorough && seen == stamp.seen {
            return Condition::Sound;
        }
        match hash_file(path) {
            Ok(blake3) if blake3 == stamp.blake3 => {
                // Copied or restored from a backup: still right. Without a new stamp it would only
                // be hashed again next time.
                let _ = write_stamp(path, &Stamp { blake3, seen });
                Condition::Sound
            }
            _ => Condition::Corrupt,
        }
    }

    /// Writes a file as a whole or not at all, with its stamp.
    ///
    /// # Errors
    /// The disk is full, or the folder cannot be written to. Nothing is left behind.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), SandboxError> {
        let store = || -> io::Result<()> {
            let parent = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(parent)?;
            // An old stamp must never stand beside new content.
            remove_if_there(&stamp_path(path))?;
            let mut file = tempfile::NamedTempFile::new_in(parent)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            let file = file.persist(path).map_err(|error| error.error)?;
            let stamp = Stamp {
                blake3: blake3::hash(bytes).to_hex().to_string(),
                seen: Seen::of(&file.metadata()?),
            };
            write_stamp(path, &stamp)
        };
        store().map_err(|source| SandboxError::Cache {
            action: "write",
            path: path.to_owned(),
            source,
        })
    }
}

fn stamp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".stamp");
    name.into()
}

fn write_stamp(path: &Path, stamp: &Stamp) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    serde_json::to_writer(&mut file, stamp)?;
    file.persist(stamp_path(path)).map_err(|error| error.error)?;
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = Cache::open(&folder.path().join("cache")).expect("opens");
        (folder, cache)
    }

    #[test]
    fn a_file_is_sound_until_somebody_writes_to_it() {
        let (_folder, cache) = cache();
        let path = cache.path("a/file");
        assert_eq!(cache.condition(&path, false), Condition::Absent);
        cache.write(&path, b"content").expect("writes");
        assert_eq!(cache.condition(&path, false), Condition::Sound);
        assert_eq!(cache.condition(&path, true), Condition::Sound);

        fs::write(&path, b"CONTENT").expect("writes");
        assert_eq!(cache.condition(&path, false), Condition::Corrupt);
        cache.write(&path, b"content").expect("writes");
        assert_eq!(cache.condition(&path, false), Condition::Sound);
    }

    #[test]
    fn a_broken_stamp_is_not_trusted_and_a_copy_is_checked() {
        let (_folder, cache) = cache();
        let path = cache.path("file");
        cache.write(&path, b"content").expect("writes");
        fs::write(stamp_path(&path), b"{").expect("writes");
        assert_eq!(cache.condition(&path, false), Condition::Corrupt);

        cache.write(&path, b"content").expect("writes");
        let copy = cache.path("copy");
        fs::copy(&path, &copy).expect("copies");
        fs::copy(stamp_path(&path), stamp_path(&copy)).expect("copies");
        assert_eq!(cache.condition(&copy, false), Condition::Sound);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, cache) = cache();
        fs::set_permissions(cache.folder(), fs::Permissions::from_mode(0o777)).expect("sets");
        assert!(matches!(Cache::open(cache.folder()), Err(SandboxError::CacheNotPrivate { .. })));
    }
}
