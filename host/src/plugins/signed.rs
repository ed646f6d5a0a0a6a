//! `signed_by`: whether the operator's key vouches for an installed plugin. It is asked when the plugin
//! is added, and again each time that it is loaded: a key that was replaced in the configuration, and a
//! component that was replaced in the folder, count at once.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::signature::{KeyError, MAX_KEPT_BYTES, PublicKey, SignatureError, verify_kept};
use crate::ids::UpstreamName;

/// The operator wants a signature, and there is none that will do.
#[derive(Debug, thiserror::Error)]
pub enum NotSigned {
    /// The key's file cannot be read.
    #[error("the key {} (plugins.{name}.signed_by) cannot be read: {cause}", key.display())]
    NoKey {
        /// The plugin.
        name: UpstreamName,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The key's file holds something else.
    #[error("{} (plugins.{name}.signed_by): {cause}", key.display())]
    BadKey {
        /// The plugin.
        name: UpstreamName,
        /// The key's file.
        key: PathBuf,
        /// What it is instead.
        cause: KeyError,
    },
    /// Nothing is kept beside the component.
    #[error(
        "plugin `{name}` has to be signed with {} (plugins.{name}.signed_by), and its signature {} cannot \
         be read: {cause}; add it again from where its author publishes it", key.display(), signature.display()
    )]
    NoSignature {
        /// The plugin.
        name: UpstreamName,
        /// The key's file.
        key: PathBuf,
        /// Where the signature should lie.
        signature: PathBuf,
        /// Why it cannot be read.
        cause: io::Error,
    },
    /// What is kept is no signature of this component with this key.
    #[error(
        "plugin `{name}` is not signed with {} (plugins.{name}.signed_by): {cause}; add it again from \
         where its author publishes it, or name the key that it is signed with", key.display()
    )]
    Unsigned {
        /// The plugin.
        name: UpstreamName,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with the signature.
        cause: SignatureError,
    },
}

/// Reads the key of a plugin's `signed_by`.
///
/// # Errors
/// It cannot be read, or is no key.
pub fn key_of(name: &UpstreamName, file: &Path) -> Result<PublicKey, NotSigned> {
    let (name, key) = (name.clone(), file.to_owned());
    match read_text(file) {
        Err(cause) => Err(NotSigned::NoKey { name, key, cause }),
        Ok(text) => {
            PublicKey::from_pem(&text).map_err(|cause| NotSigned::BadKey { name, key, cause })
        }
    }
}

/// Checks the signature that is kept beside a component. Gives the key.
///
/// # Errors
/// There is none, or it is none of this component with this key.
pub fn check(
    name: &UpstreamName,
    key_file: &Path,
    signature: &Path,
    component: &[u8],
) -> Result<PublicKey, NotSigned> {
    let key = key_of(name, key_file)?;
    let text = read_text(signature).map_err(|cause| NotSigned::NoSignature {
        name: name.clone(),
        key: key_file.to_owned(),
        signature: signature.to_owned(),
        cause,
    })?;
    verify_kept(&key, component, &text).map_err(|cause| NotSigned::Unsigned {
        name: name.clone(),
        key: key_file.to_owned(),
        cause,
    })?;
    Ok(key)
}

/// A file with a key or a signature. One that is too large for that is none.
///
/// # Errors
/// It cannot be read.
pub fn read_text(file: &Path) -> io::Result<String> {
    // Opening a pipe would wait for its other end.
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut text = String::new();
    File::open(file)?.take(MAX_KEPT_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_KEPT_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large to be one"));
    }
    Ok(text)
}
