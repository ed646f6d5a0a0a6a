//! Plugins in OCI registries: pulled, pushed, and the signatures beside them.
//!
//! A plugin lies there in the layout of the wasm OCI artifact that `wkg`, Wassette and others share:
//! a config of the type `application/vnd.wasm.config.v0+json` and one layer of `application/wasm`.
//! Our own manifest (`plugin.toml`) is an annotation of the OCI manifest, [`MANIFEST_ANNOTATION`]:
//! those clients refuse a second layer, and skip annotations that they do not know. A component that
//! somebody else's client pushed has none, and is pulled just as well.
//!
//! Names, types and pushing are oci-client's and oci-wasm's. Pulling is ours where they would trust
//! the registry: they read manifests and tokens of any size, and follow redirects anywhere. Here
//! every body has a cap that is compared before and while it is read, every digest is computed, and
//! credentials go to the registry and to the token server that it names, over TLS.
//!
//! - [`PluginReference`] (`reference`) is the name of a plugin: `oci://HOST/REPOSITORY:TAG@DIGEST`.
//! - [`Registry`] is the door: [`pull`](Registry::pull), [`push`](Registry::push),
//!   [`sign`](Registry::sign).
//! - `wire` speaks HTTP, `token` is how a registry lets us in, `artifact` reads OCI manifests,
//!   `referrers` finds signatures.
//! - [`Credentials`] (`credentials`) come from Docker's configuration.

mod artifact;
mod credentials;
mod error;
mod pull;
mod push;
mod reference;
mod referrers;
mod token;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use credentials::{Credentials, CredentialsError};
pub use error::RegistryError;
pub use push::{Package, Pushed};
pub use reference::{PluginReference, ReferenceError};
pub use wire::digest_of;

use super::signature::PublicKey;

/// The annotation of an OCI manifest that holds our `plugin.toml`, as it is written.
pub const MANIFEST_ANNOTATION: &str = "com.github.toolcell.plugin.manifest";

/// No plugin is larger.
pub const MAX_WASM_BYTES: u64 = 64 * 1024 * 1024;

/// How long the steps of a conversation with a registry may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Until a connection stands.
    pub connect: Duration,
    /// Between two pieces of an answer, and until its first.
    pub silence: Duration,
    /// For one whole operation.
    pub whole: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), silence: seconds(30), whole: seconds(600) }
    }
}

/// How registries are spoken with.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Speak plain HTTP with registries that are not on the loopback interface too.
    pub plain_http: bool,
    /// Who we are to the registry; nobody without.
    pub credentials: Option<Credentials>,
    /// How long all may take.
    pub deadlines: Deadlines,
    /// Ends everything early. Nothing is left on this machine when it does.
    pub cancel: CancellationToken,
}

/// What is asked of a pull beyond the name.
#[derive(Clone, Default)]
pub struct PullOptions<'a> {
    /// The plugin must be signed with this key. Checked before its layer is downloaded.
    pub signed_by: Option<&'a PublicKey>,
    /// The digest that the lock has for the same name: another one is refused.
    pub locked: Option<&'a str>,
    /// The largest plugin that is wanted; [`MAX_WASM_BYTES`] at most.
    pub max_wasm_bytes: Option<u64>,
    /// Is told of bytes that have come.
    pub progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
}

impl fmt::Debug for PullOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullOptions")
            .field("signed_by", &self.signed_by)
            .field("locked", &self.locked)
            .finish_non_exhaustive()
    }
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the component that have come.
    pub received_bytes: u64,
    /// How many there are.
    pub total_bytes: u64,
}

/// A plugin as it came out of a registry: whole, and what its digests say.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The component, or core module.
    pub wasm: Vec<u8>,
    /// The text of its `plugin.toml`, if its author's client was ours. Not read yet: whoever
    /// installs it does.
    pub manifest: Option<String>,
    /// The OCI manifest's digest, `sha256:` and 64 hexadecimal digits: for the lock.
    pub digest: String,
    /// The signature by the key that was asked for, to be kept beside it: what
    /// [`verify_kept`](super::signature::verify_kept) takes.
    pub signature: Option<String>,
    /// The version, description and source that its OCI manifest tells.
    pub about: About,
}

/// What an OCI manifest's annotations say of a plugin. Words of whoever pushed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// `org.opencontainers.image.title`
    pub title: Option<String>,
    /// `org.opencontainers.image.version`
    pub version: Option<String>,
    /// `org.opencontainers.image.description`
    pub description: Option<String>,
    /// `org.opencontainers.image.source`
    pub source: Option<String>,
}
