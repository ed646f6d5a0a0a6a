//! The folder in which installed plugins lie: `NAME.wasm`, its manifest `NAME.toml`, and its signature
//! `NAME.wasm.sig` if it came with one.
//!
//! Nothing is ever half there: files are written beside their places and then put there by renaming,
//! the component last, since a plugin exists when its component does. A `.wasm` that somebody merely
//! put there is a plugin too; without a manifest it asks for nothing.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::lock::Lock;
use super::manifest::{MAX_MANIFEST_BYTES, Manifest};
use crate::ids::UpstreamName;

/// The largest component that is read.
pub const MAX_COMPONENT_BYTES: u64 = 64 << 20;

/// The most plugins that one folder has.
pub const MAX_PLUGINS: usize = 256;

/// Something in the folder cannot be read, or nothing can be written there.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system says no.
    #[error("{} cannot be {what}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Read, written or removed.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any plugin. It was not read.
    #[error("{} has {size_bytes} bytes, and a plugin has at most {max_bytes} (64 MiB)", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size.
        size_bytes: u64,
        /// What it may have.
        max_bytes: u64,
    },
    /// Something else than a file has a plugin's name.
    #[error("{} is not a file", path.display())]
    NoFile {
        /// Its path.
        path: PathBuf,
    },
    /// A manifest has a fault.
    #[error("{} cannot be used", path.display())]
    Manifest {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: super::manifest::ManifestError,
    },
}

impl FolderError {
    fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, what, source }
    }
}

/// The folder of installed plugins.
#[derive(Clone, Debug)]
pub struct PluginFolder {
    path: PathBuf,
}

/// A plugin that lies in the folder; nothing of it was compiled or run.
#[derive(Clone, Debug)]
pub struct InstalledPlugin {
    /// Its installed name.
    pub name: UpstreamName,
    /// Its component.
    pub component: PathBuf,
    /// Its manifest, if it has one.
    pub manifest: Option<Manifest>,
}

/// What lies in the folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// The plugins, by name.
    pub plugins: Vec<InstalledPlugin>,
    /// Plugins with a fault that can be told without compiling them, and the fault.
    pub faulty: Vec<(UpstreamName, FolderError)>,
    /// Files that are no plugins for the names they have.
    pub misnamed: Vec<PathBuf>,
}

impl InstalledPlugin {
    /// The component's bytes.
    ///
    /// # Errors
    /// The file cannot be read, or is too large; then it is not read.
    pub fn read(&self) -> Result<Vec<u8>, FolderError> {
        read_component(&self.component)
    }
}

/// Reads a component. Its size is looked at first.
///
/// # Errors
/// The file cannot be read, or is too large.
pub fn read_component(path: &Path) -> Result<Vec<u8>, FolderError> {
    read_bounded(path, MAX_COMPONENT_BYTES)
}

fn read_bounded(path: &Path, max_bytes: u64) -> Result<Vec<u8>, FolderError> {
    let failed = || FolderError::io(path, "read");
    // Opening a pipe would wait for its other end.
    let metadata = fs::metadata(path).map_err(failed())?;
    if !metadata.is_file() {
        return Err(FolderError::NoFile { path: path.to_owned() });
    }
    let too_large =
        |size_bytes| FolderError::TooLarge { path: path.to_owned(), size_bytes, max_bytes };
    if metadata.len() > max_bytes {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    let file = File::open(path).map_err(failed())?;
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(failed())?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Reads a manifest, if there is one.
///
/// # Errors
/// It cannot be read or used.
pub fn read_manifest(path: &Path) -> Result<Option<Manifest>, FolderError> {
    let bytes = match read_bounded(path, MAX_MANIFEST_BYTES) {
        Err(FolderError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        bytes => bytes?,
    };
    let manifest = Manifest::parse(&bytes);
    let manifest =
        manifest.map_err(|source| FolderError::Manifest { path: path.to_owned(), source })?;
    Ok(Some(manifest))
}

impl PluginFolder {
    /// A folder, whether it exists yet or not.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the component of a plugin lies.
    pub fn component(&self, name: &UpstreamName) -> PathBuf {
        self.path.join(format!("{name}.wasm"))
    }

    /// Where the manifest of a plugin lies.
    pub fn manifest(&self, name: &UpstreamName) -> PathBuf {
        self.path.join(format!("{name}.toml"))
    }

    /// Where the signature of a plugin lies, if it has one.
    pub fn signature(&self, name: &UpstreamName) -> PathBuf {
        self.path.join(format!("{name}.wasm.sig"))
    }

    /// The names of what lies there, sorted. Nothing is read but the folder; one that does not exist
    /// or cannot be read has nothing.
    pub fn names(&self) -> Vec<UpstreamName> {
        self.stems().map(|(names, _)| names).unwrap_or_default()
    }

    fn stems(&self) -> Result<(Vec<UpstreamName>, Vec<PathBuf>), FolderError> {
        let (mut names, mut misnamed) = (Vec::new(), Vec::new());
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((names, misnamed)),
            entries => entries.map_err(FolderError::io(&self.path, "read"))?,
        };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if hidden || path.extension().is_none_or(|extension| extension != "wasm") {
                continue;
            }
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            match stem.and_then(|stem| UpstreamName::try_new(stem).ok()) {
                Some(name) if names.len() < MAX_PLUGINS => names.push(name),
                _ if misnamed.len() < MAX_PLUGINS => misnamed.push(path),
                _ => {}
            }
        }
        names.sort();
        misnamed.sort();
        Ok((names, misnamed))
    }

    /// What lies there. A folder that does not exist is empty.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Listing, FolderError> {
        let (names, misnamed) = self.stems()?;
        let mut listing = Listing { misnamed, ..Listing::default() };
        for name in names {
            match self.get(&name) {
                Ok(plugin) => listing.plugins.push(plugin),
                Err(error) => listing.faulty.push((name, error)),
            }
        }
        Ok(listing)
    }

    /// One plugin.
    ///
    /// # Errors
    /// There is none of this name, it is too large, or its manifest cannot be used.
    pub fn get(&self, name: &UpstreamName) -> Result<InstalledPlugin, FolderError> {
        let component = self.component(name);
        let metadata = fs::metadata(&component).map_err(FolderError::io(&component, "read"))?;
        if !metadata.is_file() {
            return Err(FolderError::NoFile { path: component });
        }
        if metadata.len() > MAX_COMPONENT_BYTES {
            let (size_bytes, max_bytes) = (metadata.len(), MAX_COMPONENT_BYTES);
            return Err(FolderError::TooLarge { path: component, size_bytes, max_bytes });
        }
        let manifest = read_manifest(&self.manifest(name))?;
        Ok(InstalledPlugin { name: name.clone(), component, manifest })
    }

    /// Installs a plugin, or replaces it, and puts the lock in force that accepts it. Afterwards all
    /// files are there (but the signature of one that has none), or all are as they were; if this process is killed in between, the lock
    /// accepts something else than what lies there, and that is not loaded.
    ///
    /// # Errors
    /// Something cannot be written.
    pub fn install(
        &self,
        name: &UpstreamName,
        component: &[u8],
        manifest: &Manifest,
        signature: Option<&str>,
        lock: (&Path, &Lock),
    ) -> Result<(), FolderError> {
        let failed = |path: &Path| FolderError::io(path, "written");
        fs::create_dir_all(&self.path).map_err(failed(&self.path))?;
        let (lock_file, lock) = lock;
        let (component_file, manifest_file) = (self.component(name), self.manifest(name));
        let signature_file = self.signature(name);
        let changes = [
            Change::prepare(lock_file, lock.to_toml().as_bytes())?,
            Change::prepare(&manifest_file, manifest.to_toml().as_bytes())?,
            match signature {
                Some(signature) => Change::prepare(&signature_file, signature.as_bytes())?,
                None => Change::removal(&signature_file)?,
            },
            Change::prepare(&component_file, component)?,
        ];
        let mut undo = Vec::new();
        for change in changes {
            match change.make() {
                Ok(made) => undo.push(made),
                Err(error) => {
                    undo.into_iter().rev().for_each(Undo::undo);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Removes a plugin, and puts the lock in force that no longer names it. Answers whether there was
    /// one.
    ///
    /// # Errors
    /// Something cannot be removed or written; what was not done can be done by another try.
    pub fn remove(&self, name: &UpstreamName, lock: (&Path, &Lock)) -> Result<bool, FolderError> {
        let mut found = false;
        for path in [self.component(name), self.manifest(name), self.signature(name)] {
            match fs::remove_file(&path) {
                Ok(()) => found = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(FolderError::io(&path, "removed")(error)),
            }
        }
        let (lock_file, lock) = lock;
        if lock_file.exists() {
            Change::prepare(lock_file, lock.to_toml().as_bytes())?.make()?;
        }
        Ok(found)
    }
}

/// Writes a file as a whole or not at all.
///
/// # Errors
/// It cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    Change::prepare(path, bytes)?.make().map(drop)
}

/// A file that is written and not yet in its place; or one that is to go.
struct Change {
    file: Option<NamedTempFile>,
    path: PathBuf,
    before: Option<Vec<u8>>,
}

impl Change {
    fn prepare(path: &Path, bytes: &[u8]) -> Result<Self, FolderError> {
        let failed = || FolderError::io(path, "written");
        let removal = Self::removal(path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let mut file =
            tempfile::Builder::new().prefix(".toolcell-").tempfile_in(folder).map_err(failed())?;
        file.write_all(bytes).map_err(failed())?;
        readable(file.as_file()).map_err(failed())?;
        file.as_file().sync_all().map_err(failed())?;
        Ok(Self { file: Some(file), ..removal })
    }

    /// The file is to go, if there is one.
    fn removal(path: &Path) -> Result<Self, FolderError> {
        let before = match read_bounded(path, MAX_COMPONENT_BYTES) {
            Ok(before) => Some(before),
            Err(FolderError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            // A plugin that is too large to read is too large to keep.
            Err(FolderError::TooLarge { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { file: None, path: path.to_owned(), before })
    }

    fn make(self) -> Result<Undo, FolderError> {
        let Self { file, path, before } = self;
        let made = match file {
            Some(file) => file.persist(&path).map(drop).map_err(|error| error.error),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                gone => gone,
            },
        };
        match made {
            Ok(()) => Ok(Undo { path, before }),
            Err(error) => Err(FolderError::io(&path, "written")(error)),
        }
    }
}

/// Others may read the file as they may any that is made in the ordinary way: a service may run as
/// another user than who installs its plugins.
#[cfg(unix)]
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &File) -> io::Result<()> {
    Ok(())
}

/// How a file was before.
struct Undo {
    path: PathBuf,
    before: Option<Vec<u8>>,
}

impl Undo {
    /// Puts it back as well as that goes: the error that led here is the one to tell.
    fn undo(self) {
        let _ = match self.before {
            Some(bytes) => write_whole(&self.path, &bytes).map_err(drop),
            None => fs::remove_file(&self.path).map_err(drop),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest::parse(b"name = \"a\"\nversion = \"1.0.0\"\n").expect("a manifest")
    }

    fn name(text: &str) -> UpstreamName {
        UpstreamName::try_new(text).expect("a name")
    }

    #[test]
    fn what_is_installed_is_listed_until_it_is_removed() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = PluginFolder::new(home.path().join("plugins"));
        let lock_file = home.path().join("toolcell.lock");
        assert!(folder.list().expect("none yet").plugins.is_empty());
        folder
            .install(
                &name("a"),
                b"wasm",
                &manifest(),
                Some("signature"),
                (&lock_file, &Lock::default()),
            )
            .expect("installs");
        fs::write(folder.path().join("dropped.wasm"), b"x").expect("writes");
        fs::write(folder.path().join("no name.wasm"), b"x").expect("writes");
        fs::write(folder.path().join("faulty.wasm"), b"x").expect("writes");
        fs::write(folder.path().join("faulty.toml"), b"x").expect("writes");
        let listing = folder.list().expect("a list");
        let names: Vec<&str> = listing.plugins.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a", "dropped"]);
        assert_eq!(listing.faulty.len(), 1);
        assert_eq!(listing.misnamed.len(), 1);
        assert_eq!(listing.plugins[0].read().expect("reads"), b"wasm");
        assert!(folder.signature(&name("a")).exists());
        assert!(folder.remove(&name("a"), (&lock_file, &Lock::default())).expect("removes"));
        assert!(!folder.remove(&name("a"), (&lock_file, &Lock::default())).expect("is gone"));
        assert!(!folder.signature(&name("a")).exists());
    }

    #[test]
    fn nothing_stays_of_an_installation_that_fails() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = PluginFolder::new(home.path().join("plugins"));
        let lock_file = home.path().join("toolcell.lock");
        fs::write(&lock_file, "before").expect("writes");
        // A folder where the component should go.
        fs::create_dir_all(folder.component(&name("a")).join("x")).expect("makes");
        let lock = Lock::default();
        fs::write(folder.signature(&name("a")), "an older one").expect("writes");
        let installed = folder.install(&name("a"), b"wasm", &manifest(), None, (&lock_file, &lock));
        installed.expect_err("fails");
        let signature = fs::read_to_string(folder.signature(&name("a")));
        assert_eq!(signature.expect("is put back"), "an older one");
        assert_eq!(fs::read_to_string(&lock_file).expect("reads"), "before");
        assert!(!folder.manifest(&name("a")).exists());
        assert_eq!(
            fs::read_dir(folder.path()).expect("reads").count(),
            2,
            "no file of ours is left"
        );
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("large.wasm");
        // Sparse: it takes no room.
        File::create(&path).and_then(|file| file.set_len(200 << 20)).expect("makes");
        let error = read_component(&path).expect_err("refused").to_string();
        assert!(error.contains("has 209715200 bytes, and a plugin has at most"), "{error}");
        let folder = PluginFolder::new(home.path());
        assert_eq!(folder.list().expect("a list").faulty.len(), 1);
    }
}
