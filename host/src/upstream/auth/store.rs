//! Where tokens are kept: one encrypted file for all servers, whose key is in the system's keyring, in
//! a file of its own, or given.
//!
//! The file is replaced as a whole and readable by its owner only. Whoever changes it holds a lock
//! that other processes see, from before the read until after the write, so that two hosts never
//! spend one refresh token twice.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::record::Record;
use super::sealed::{Key, Unreadable};
use crate::upstream::settings::Secret;

/// How long another process may hold the lock: as long as a renewal may take.
const LOCK_TIME: Duration = Duration::from_secs(40);

/// Between two looks at a lock that another process holds.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The most that is read of a token file.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// For the system's keyring, which may wait for a person to unlock it.
const KEYRING_TIME: Duration = Duration::from_secs(20);

type Records = BTreeMap<String, Record>;

/// Where the key of the token file is.
#[derive(Clone, Debug)]
pub enum KeyPlace {
    /// In the system's keyring, or in a file where that does not work.
    KeyringOrFile(PathBuf),
    /// In the system's keyring.
    Keyring,
    /// In a file that only its owner can read; made at the first use.
    File(PathBuf),
    /// This one: 64 hexadecimal digits, or 32 bytes in Base64.
    Given(Secret),
}

/// Keeps what servers' authorization servers granted. Cheap to clone.
#[derive(Clone)]
pub struct TokenStore {
    inner: Arc<Kind>,
}

enum Kind {
    Memory(Mutex<Records>),
    File { path: PathBuf, key: KeyPlace },
}

/// Tokens cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenStoreError {
    /// The token file, its lock or its key file cannot be used.
    #[error("the token store's file {} cannot be used", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The keyring does not work.
    #[error("the system's keyring does not work ({problem}); set TOOLCELL_TOKEN_STORE=file")]
    Keyring {
        /// Why.
        problem: String,
    },
    /// The key is none.
    #[error("the token store's key is not 64 hexadecimal digits or 32 bytes in Base64")]
    BadKey,
    /// The file was sealed with a key that is gone, or was changed.
    #[error(
        "the token file {} does not open with its key: it was changed, or the key was; remove the \
         file and log in again",
        path.display()
    )]
    Unreadable {
        /// Which file.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("another toolcell has been busy with the token file {} for too long", path.display())]
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoEntropy,
}

/// The right to change the store, until it is dropped.
pub(super) struct Lock {
    _file: Option<File>,
}

impl TokenStore {
    /// Forgets with the process.
    pub fn in_memory() -> Self {
        Self { inner: Arc::new(Kind::Memory(Mutex::default())) }
    }

    /// An encrypted file. Nothing is read or made before the first use.
    pub fn in_file(path: impl Into<PathBuf>, key: KeyPlace) -> Self {
        Self { inner: Arc::new(Kind::File { path: path.into(), key }) }
    }

    /// The user's own: `toolcell/tokens` in the data folder. Its key is in the system's keyring, or,
    /// where that does not work, in `toolcell/token.key` in the configuration folder. `None` for a
    /// user who has neither folder.
    pub fn of_user() -> Option<Self> {
        let key = Self::user_key_file()?;
        Some(Self::in_file(Self::user_file()?, KeyPlace::KeyringOrFile(key)))
    }

    /// The user's own token file.
    pub fn user_file() -> Option<PathBuf> {
        dirs::data_dir().map(|folder| folder.join("toolcell/tokens"))
    }

    /// The file in which its key is kept where there is no keyring.
    pub fn user_key_file() -> Option<PathBuf> {
        dirs::config_dir().map(|folder| folder.join("toolcell/token.key"))
    }

    /// Waits until no other process changes the store.
    pub(super) async fn lock(&self) -> Result<Lock, TokenStoreError> {
        let Kind::File { path, .. } = &*self.inner else { return Ok(Lock { _file: None }) };
        let lock_path = path.with_extension("lock");
        let bad = |source| TokenStoreError::File { path: lock_path.clone(), source };
        let file = private_file(&lock_path).map_err(bad)?;
        let deadline = tokio::time::Instant::now() + LOCK_TIME;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: Some(file) }),
                Err(TryLockError::Error(error)) => return Err(bad(error)),
                Err(TryLockError::WouldBlock) if tokio::time::Instant::now() >= deadline => {
                    return Err(TokenStoreError::Busy { path: path.clone() });
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
            }
        }
    }

    /// What is known under a key.
    pub(super) async fn load(&self, key: &str) -> Result<Option<Record>, TokenStoreError> {
        let key = key.to_owned();
        self.with_records(move |records| (records.remove(&key), false)).await
    }

    /// Keeps a record, or forgets it. The caller holds the lock.
    pub(super) async fn save(
        &self,
        _lock: &Lock,
        key: &str,
        record: Option<Record>,
    ) -> Result<(), TokenStoreError> {
        let key = key.to_owned();
        let put = move |records: &mut Records| match record {
            Some(record) => (drop(records.insert(key, record)), true),
            None => {
                let known = records.remove(&key).is_some();
                ((), known)
            }
        };
        self.with_records(put).await
    }

    /// Reads all records, has them changed, and writes them if `change` says so.
    async fn with_records<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Records) -> (T, bool) + Send + 'static,
    ) -> Result<T, TokenStoreError> {
        if let Kind::Memory(records) = &*self.inner {
            let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
            let mut copy = records.clone();
            let (result, write) = change(&mut copy);
            if write {
                *records = copy;
            }
            return Ok(result);
        }
        let store = self.clone();
        // Files and keyrings wait.
        let work = tokio::task::spawn_blocking(move || store.with_file(change));
        work.await.unwrap_or_else(|_| Err(TokenStoreError::NoEntropy))
    }

    fn with_file<T>(
        &self,
        change: impl FnOnce(&mut Records) -> (T, bool),
    ) -> Result<T, TokenStoreError> {
        let Kind::File { path, key } = &*self.inner else { unreachable!("memory has no file") };
        let sealed = read_small(path)?;
        let mut records = match &sealed {
            None => Records::new(),
            Some(sealed) => open(path, key, sealed)?,
        };
        let (result, write) = change(&mut records);
        if write {
            let plain = serde_json::to_vec(&records).unwrap_or_default();
            let sealed = find_key(key, true)?.and_then(|key| key.seal(&plain));
            replace(path, &sealed.ok_or(TokenStoreError::NoEntropy)?)?;
        }
        Ok(result)
    }
}

impl fmt::Debug for TokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.inner {
            Kind::Memory(_) => f.write_str("TokenStore(memory)"),
            Kind::File { path, key } => write!(f, "TokenStore({}, {key:?})", path.display()),
        }
    }
}

/// Opens the file with the key that it was sealed with: the keyring may have come, or gone, since.
fn open(path: &Path, place: &KeyPlace, sealed: &[u8]) -> Result<Records, TokenStoreError> {
    let unreadable = || TokenStoreError::Unreadable { path: path.to_owned() };
    let places = match place {
        KeyPlace::KeyringOrFile(file) => vec![KeyPlace::File(file.clone()), KeyPlace::Keyring],
        place => vec![place.clone()],
    };
    let mut problem = None;
    for place in places {
        match find_key(&place, false) {
            Ok(None) => {}
            Err(error) => problem = Some(error),
            Ok(Some(key)) => match key.open(sealed) {
                Ok(plain) => return serde_json::from_slice(&plain).map_err(|_| unreadable()),
                Err(Unreadable::OtherKey) => {}
                Err(Unreadable::Damaged) => return Err(unreadable()),
            },
        }
    }
    Err(problem.unwrap_or_else(unreadable))
}

/// The key, made if it is wanted and there is none.
fn find_key(place: &KeyPlace, make: bool) -> Result<Option<Key>, TokenStoreError> {
    match place {
        KeyPlace::Given(text) => {
            Key::parse(&text.expose()).map(Some).ok_or(TokenStoreError::BadKey)
        }
        KeyPlace::Keyring => key_in_keyring(make),
        KeyPlace::File(path) => key_in_file(path, make),
        // Once there is a key file, the keyring did not work before.
        KeyPlace::KeyringOrFile(path) if path.exists() => key_in_file(path, make),
        KeyPlace::KeyringOrFile(path) => match key_in_keyring(make) {
            Ok(key) => Ok(key),
            Err(error) => {
                tracing::debug!(%error, "keeping the key of the token store in a file");
                key_in_file(path, make)
            }
        },
    }
}

fn key_in_file(path: &Path, make: bool) -> Result<Option<Key>, TokenStoreError> {
    if let Some(text) = read_small(path)? {
        let key = std::str::from_utf8(&text).ok().and_then(Key::parse);
        return key.map(Some).ok_or(TokenStoreError::BadKey);
    }
    if !make {
        return Ok(None);
    }
    let key = Key::random().ok_or(TokenStoreError::NoEntropy)?;
    replace(path, key.to_text().as_bytes())?;
    Ok(Some(key))
}

/// In a thread of its own: a keyring may never answer.
fn key_in_keyring(make: bool) -> Result<Option<Key>, TokenStoreError> {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || drop(send.send(ask_keyring(make))));
    let silent = || Err("it does not answer".to_owned());
    let answer = receive.recv_timeout(KEYRING_TIME).unwrap_or_else(|_| silent());
    answer.map_err(|problem| TokenStoreError::Keyring { problem })
}

fn ask_keyring(make: bool) -> Result<Option<Key>, String> {
    let text = |error: keyring::Error| error.to_string();
    let entry = keyring::Entry::new("toolcell", "token store key").map_err(text)?;
    match entry.get_password() {
        Ok(found) => Key::parse(&found).map(Some).ok_or_else(|| "it holds no key".to_owned()),
        Err(keyring::Error::NoEntry) if make => {
            let key = Key::random().ok_or("no random numbers")?;
            entry.set_password(&key.to_text()).map_err(text)?;
            Ok(Some(key))
        }
        Err(keyring::Error::NoEntry) => Ok(None),
        Err(error) => Err(text(error)),
    }
}

fn read_small(path: &Path) -> Result<Option<Vec<u8>>, TokenStoreError> {
    use std::io::Read;
    let bad = |source| TokenStoreError::File { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(bad)?;
    Ok(Some(bytes))
}

/// Writes a file as a whole, for its owner only: whoever reads sees the old one or the new one.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), TokenStoreError> {
    let write = || -> io::Result<()> {
        let folder = private_folder(path)?;
        // Such files are the owner's only from the beginning.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| TokenStoreError::File { path: path.to_owned(), source })
}

fn private_file(path: &Path) -> io::Result<File> {
    private_folder(path)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The folder of a file, made if there is none.
fn private_folder(path: &Path) -> io::Result<&Path> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use rmcp::transport::auth::StoredCredentials;
    use serde_json::json;

    use super::*;
    use crate::upstream::auth::record::RegisteredClient;

    fn record(token: &str) -> Record {
        let response = json!({ "access_token": token, "token_type": "bearer", "expires_in": 60 });
        let response = serde_json::from_value(response).unwrap();
        Record {
            client: RegisteredClient {
                id: "us".into(),
                secret: None,
                redirect_uri: "http://127.0.0.1/".into(),
            },
            requested: Vec::new(),
            wanted: Vec::new(),
            credentials: StoredCredentials::new("us".into(), response, Vec::new(), Some(1)),
        }
    }

    async fn keep(store: &TokenStore, key: &str, token: &str) {
        let lock = store.lock().await.unwrap();
        store.save(&lock, key, Some(record(token))).await.unwrap();
    }

    async fn token(store: &TokenStore, key: &str) -> Option<String> {
        store.load(key).await.unwrap().and_then(|record| record.access_token())
    }

    #[tokio::test]
    async fn tokens_are_kept_in_a_file_that_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, key) = (folder.path().join("a/tokens"), folder.path().join("b/key"));
        let store = || TokenStore::in_file(&path, KeyPlace::File(key.clone()));
        keep(&store(), "one", "s3cret-one").await;
        keep(&store(), "two", "s3cret-two").await;
        assert_eq!(token(&store(), "one").await.as_deref(), Some("s3cret-one"));
        assert_eq!(token(&store(), "two").await.as_deref(), Some("s3cret-two"));
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"s3cret"));
        #[cfg(unix)]
        for path in [&path, &key] {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let lock = store().lock().await.unwrap();
        store().save(&lock, "one", None).await.unwrap();
        assert_eq!(token(&store(), "one").await, None);
        assert_eq!(token(&store(), "two").await.as_deref(), Some("s3cret-two"));
    }

    #[tokio::test]
    async fn a_file_of_another_key_is_refused_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let given = |digits: &str| KeyPlace::Given(Secret::new(digits.repeat(32)));
        keep(&TokenStore::in_file(&path, given("ab")), "one", "s3cret").await;
        let before = fs::read(&path).unwrap();
        let other = TokenStore::in_file(&path, given("cd"));
        let lock = other.lock().await.unwrap();
        let saved = other.save(&lock, "two", Some(record("x"))).await;
        assert!(matches!(saved, Err(TokenStoreError::Unreadable { .. })), "{saved:?}");
        assert_eq!(fs::read(&path).unwrap(), before);
        let no_key = TokenStore::in_file(&path, KeyPlace::Given(Secret::new("short")));
        assert!(matches!(no_key.load("one").await, Err(TokenStoreError::BadKey)));
    }
}
