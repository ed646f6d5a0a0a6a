//! `toolcell.lock`: which plugins were accepted, by digest, beside the configuration.
//!
//! It is written by `toolcell plugin add` and `remove`, in one fixed order, so that it can be kept
//! under version control and its changes can be read. A file in the plugins' folder that differs from
//! what the lock says is not loaded. One that the lock does not name was merely put there: it is
//! loaded with a warning, or not at all with `plugins_locked = true`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use semver::Version;
use serde::{Deserialize, Serialize};

use super::manifest::{Asks, Manifest};
use crate::ids::UpstreamName;

/// The file's name.
pub const LOCK_FILE: &str = "toolcell.lock";

/// The largest lock file that is read.
const MAX_LOCK_BYTES: u64 = 4 << 20;

/// The form that this program writes. A later one is refused and not guessed at.
const FORMAT: u32 = 1;

const HEADER: &str = "\
# Written by `toolcell plugin add` and `toolcell plugin remove`: the plugins that were accepted, by
# digest. Keep it beside toolcell.toml, under version control.
";

/// Why there is no lock to check against. Then no plugin is loaded.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read.
    #[error("the lock file {} cannot be read", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is not what we write.
    #[error("the lock file {} is damaged: {cause}; take it from version control, or remove it \
             and add the plugins anew", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A later toolcell wrote it.
    #[error("the lock file {} has the form {found}, and this toolcell knows {FORMAT}: use a newer one", path.display())]
    TooNew {
        /// Which file.
        path: PathBuf,
        /// Its form.
        found: u32,
    },
}

/// All plugins that were accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// By installed name.
    pub plugins: BTreeMap<String, LockedPlugin>,
}

/// One plugin as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPlugin {
    /// The manifest's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Where it came from: `file:PATH`, or `oci://REGISTRY/NAME:TAG@sha256:DIGEST`.
    pub source: String,
    /// Of the component, in hexadecimal digits.
    pub sha256: String,
    /// The digest of the public key with which its signature was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// What its manifest asked for.
    #[serde(default, skip_serializing_if = "Asks::is_nothing")]
    pub asks: Asks,
    /// The digest of each tool's description and schemas.
    #[serde(default)]
    pub tools: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    #[serde(default)]
    plugins: BTreeMap<String, LockedPlugin>,
}

/// How a file in the folder stands to the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is what was accepted.
    Accepted,
    /// The lock does not name it: somebody put it there.
    Dropped,
}

/// Why an installed plugin is not loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// The component is another one.
    #[error(
        "plugin `{name}` is not the file that was accepted: toolcell.lock has sha256 {expected}, the \
         file {found}; if the change is meant, accept it with `toolcell plugin add --accept {name}`"
    )]
    Component {
        /// Its installed name.
        name: String,
        /// The digest in the lock.
        expected: String,
        /// The file's.
        found: String,
    },
    /// The manifest asks for something else.
    #[error(
        "plugin `{name}` asks for something else than was accepted: its manifest was changed; if the \
         change is meant, accept it with `toolcell plugin add --accept {name}`"
    )]
    Asks {
        /// Its installed name.
        name: String,
    },
    /// The operator wants only what is in the lock.
    #[error(
        "plugin `{name}` is not in toolcell.lock, and plugins_locked = true lets in nothing else; \
         accept it with `toolcell plugin add {name}`"
    )]
    Dropped {
        /// Its installed name.
        name: String,
    },
}

impl Lock {
    /// Reads a lock file. One that is not there accepts nothing.
    ///
    /// # Errors
    /// It cannot be read, or is not what we write.
    pub fn load(path: &Path) -> Result<Self, LockError> {
        let read = |source| LockError::Read { path: path.to_owned(), source };
        let damaged = |cause: String| LockError::Damaged { path: path.to_owned(), cause };
        let mut bytes = Vec::new();
        match fs::File::open(path) {
            Ok(file) => file.take(MAX_LOCK_BYTES + 1).read_to_end(&mut bytes).map_err(read)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(read(error)),
        };
        if bytes.len() as u64 > MAX_LOCK_BYTES {
            return Err(damaged(format!("it is larger than {MAX_LOCK_BYTES} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| damaged("it is no UTF-8 text".into()))?;
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let words = |error: toml::de::Error| damaged(error.message().trim().replace('\n', ", "));
        let Form { format } = toml::from_str(&text).map_err(words)?;
        if format > FORMAT {
            return Err(LockError::TooNew { path: path.to_owned(), found: format });
        }
        let written: Written = toml::from_str(&text).map_err(words)?;
        Ok(Self { plugins: written.plugins })
    }

    /// The lock as a file.
    pub fn to_toml(&self) -> String {
        let written = Written { format: FORMAT, plugins: self.plugins.clone() };
        // Every part of it is one that TOML can say.
        format!("{HEADER}\n{}", toml::to_string(&written).unwrap_or_default())
    }

    /// What was accepted under a name.
    pub fn get(&self, name: &UpstreamName) -> Option<&LockedPlugin> {
        self.plugins.get(name.as_str())
    }

    /// Compares what lies in the folder with what was accepted. `only_locked` is the operator's
    /// `plugins_locked`.
    ///
    /// # Errors
    /// It is something else, or nothing was accepted and nothing else is let in.
    pub fn check(
        &self,
        name: &UpstreamName,
        sha256: &str,
        manifest: Option<&Manifest>,
        only_locked: bool,
    ) -> Result<Standing, NotAccepted> {
        let Some(locked) = self.get(name) else {
            let name = name.to_string();
            return if only_locked {
                Err(NotAccepted::Dropped { name })
            } else {
                Ok(Standing::Dropped)
            };
        };
        let name = name.to_string();
        if locked.sha256 != sha256 {
            let (expected, found) = (short(&locked.sha256), short(sha256));
            return Err(NotAccepted::Component { name, expected, found });
        }
        let asks = manifest.map(|manifest| manifest.asks.clone()).unwrap_or_default();
        if locked.asks != asks {
            return Err(NotAccepted::Asks { name });
        }
        Ok(Standing::Accepted)
    }
}

/// Enough of a digest to tell two apart.
pub fn short(digest: &str) -> String {
    let shown: String = digest.chars().take(12).collect();
    format!("{shown}…")
}

/// The SHA-256 of some bytes, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked() -> (UpstreamName, Lock) {
        let manifest = Manifest::parse(
            b"name = \"research\"\nversion = \"0.1.0\"\n[asks]\ntools = [\"search.*\"]\n",
        );
        let manifest = manifest.expect("a manifest");
        let plugin = LockedPlugin {
            version: Some(manifest.version),
            source: "file:dist/research.wasm".to_owned(),
            sha256: sha256(b"component"),
            signed_by: None,
            asks: manifest.asks,
            tools: BTreeMap::from([("research".to_owned(), sha256(b"schema"))]),
        };
        let lock = Lock { plugins: BTreeMap::from([("research".to_owned(), plugin)]) };
        (UpstreamName::try_new("research").expect("a name"), lock)
    }

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        let (_, lock) = locked();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(LOCK_FILE);
        fs::write(&path, lock.to_toml()).expect("writes");
        assert_eq!(Lock::load(&path).expect("ours"), lock, "{}", lock.to_toml());
        assert_eq!(Lock::load(&folder.path().join("none")).expect("none"), Lock::default());
    }

    #[test]
    fn what_differs_from_the_lock_is_refused() {
        let (name, lock) = locked();
        let manifest = |asks: &str| {
            let text = format!("name = \"x\"\nversion = \"0.1.0\"\n[asks]\ntools = [{asks}]\n");
            Manifest::parse(text.as_bytes()).expect("a manifest")
        };
        let same = manifest("\"search.*\"");
        let digest = sha256(b"component");
        assert_eq!(lock.check(&name, &digest, Some(&same), true), Ok(Standing::Accepted));
        let other = lock.check(&name, &sha256(b"another"), Some(&same), false).expect_err("other");
        assert!(other.to_string().contains("`toolcell plugin add --accept research`"), "{other}");
        let more = manifest("\"search.*\", \"mail.send\"");
        let more = lock.check(&name, &digest, Some(&more), false).expect_err("more");
        assert_eq!(more, NotAccepted::Asks { name: "research".to_owned() });
        let stranger = UpstreamName::try_new("stranger").expect("a name");
        assert_eq!(lock.check(&stranger, &digest, None, false), Ok(Standing::Dropped));
        lock.check(&stranger, &digest, None, true).expect_err("nothing else is let in");
    }

    #[test]
    fn a_damaged_lock_lets_nothing_in() {
        #[track_caller]
        fn check(text: &[u8], expected: &str) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join(LOCK_FILE);
            fs::write(&path, text).expect("writes");
            let error = Lock::load(&path).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
        check(b"", "missing field `format`");
        check(b"format = 2\nnews = 1", "has the form 2, and this toolcell knows 1");
        check(b"format = 1\nother = 1", "unknown field `other`");
        check(b"\xff", "no UTF-8");
        check(b"<<<<<<< HEAD\n", "is damaged");
    }
}
