//! Why a plugin could not be fetched from a registry, or brought there.

use std::time::Duration;

use super::{CredentialsError, MAX_WASM_BYTES};
use crate::plugins::signature::SignatureError;

/// Each text begins with what it concerns, and ends with the way out where there is one. None holds a
/// credential, or more than a line of what a registry said.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Plain HTTP to another machine.
    #[error(
        "the registry {registry} answers at plain HTTP only on this machine: everybody in between could \
         read and change what is said; pass --plain-http if that is meant"
    )]
    PlainHttp {
        /// The registry.
        registry: String,
    },
    /// No connection, or it broke.
    #[error("the registry {registry} cannot be reached: {cause}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// Why not.
        cause: String,
    },
    /// No answer, or no more of it.
    #[error("the registry {registry} said nothing for {} s", after.as_secs_f32())]
    Silent {
        /// The registry.
        registry: String,
        /// How long was waited.
        after: Duration,
    },
    /// All together took too long.
    #[error("{reference} was not there after {} s", after.as_secs_f32())]
    TooSlow {
        /// The plugin.
        reference: String,
        /// How long was waited.
        after: Duration,
    },
    /// Somebody wanted it to end.
    #[error("cancelled; nothing was changed here")]
    Cancelled,
    /// It wants to know who we are, or who we are is not enough.
    #[error("{}", needs_login(registry, repository, *as_somebody))]
    NeedsLogin {
        /// The registry.
        registry: String,
        /// The name there.
        repository: String,
        /// Whether we said who we are.
        as_somebody: bool,
    },
    /// There is no such plugin, or not for us: registries answer alike.
    #[error(
        "{reference} is not there: the registry knows no such name, tag or digest, or shows it only to \
         those who log in"
    )]
    NotFound {
        /// The plugin.
        reference: String,
    },
    /// Any other refusal.
    #[error("the registry {registry} answered with HTTP status {status}{}", said(message))]
    Refused {
        /// The registry.
        registry: String,
        /// The status.
        status: u16,
        /// What it says, in one line.
        message: String,
    },
    /// It sent us on to somewhere that it has no business with.
    #[error("the registry {registry} redirects to {to}, where nothing is fetched from: {why}")]
    Redirect {
        /// The registry.
        registry: String,
        /// Scheme, host and port.
        to: String,
        /// The rule.
        why: &'static str,
    },
    /// What it says is not OCI's protocol.
    #[error("the registry {registry} does not speak as OCI registries do: {what}")]
    Protocol {
        /// The registry.
        registry: String,
        /// What is wrong.
        what: String,
    },
    /// Something that is no plugin lies under the name.
    #[error("{reference} is no WebAssembly artifact: {what}")]
    NotWasm {
        /// The plugin.
        reference: String,
        /// What it is.
        what: String,
    },
    /// Larger than is allowed.
    #[error("{what} of {reference} is larger than {max_bytes} bytes, the most that is accepted")]
    TooLarge {
        /// The plugin.
        reference: String,
        /// Which of its parts.
        what: &'static str,
        /// The limit.
        max_bytes: u64,
    },
    /// The body ended early.
    #[error(
        "{what} of {reference} was cut off after {received_bytes} of {total_bytes} bytes; nothing was \
         installed, try again"
    )]
    Truncated {
        /// The plugin.
        reference: String,
        /// Which of its parts.
        what: &'static str,
        /// What came.
        received_bytes: u64,
        /// What was announced.
        total_bytes: u64,
    },
    /// The bytes are others than the digest says.
    #[error(
        "{what} of {reference} is not what its digest says: {expected} was asked for, {found} came; \
         nothing was installed"
    )]
    WrongDigest {
        /// The plugin.
        reference: String,
        /// Which of its parts.
        what: &'static str,
        /// The digest that was asked for.
        expected: String,
        /// The digest of what came.
        found: String,
    },
    /// The name means something else than when it was locked.
    #[error(
        "{reference} has the digest {found} now, and the lock has {locked}: what lies under this name was \
         replaced; if that is right, add it with --accept"
    )]
    Moved {
        /// The plugin.
        reference: String,
        /// The digest in the lock.
        locked: String,
        /// The digest that the registry gives.
        found: String,
    },
    /// A digest is no place to push to.
    #[error("{reference} is a digest, and the digest follows from the content: push to a tag")]
    PushToDigest {
        /// The plugin.
        reference: String,
    },
    /// What is to be pushed is no component or module that others could read.
    #[error("this is not WebAssembly that can be published: {0}")]
    Unpublishable(String),
    /// It is not signed as it should be.
    #[error("{reference}: {source}")]
    Signature {
        /// The plugin.
        reference: String,
        /// What is wrong.
        source: SignatureError,
    },
    /// Docker's configuration cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl RegistryError {
    /// The largest component, exceeded.
    pub(super) fn wasm_too_large(reference: &impl ToString, max_bytes: u64) -> Self {
        let max_bytes = max_bytes.min(MAX_WASM_BYTES);
        Self::TooLarge { reference: reference.to_string(), what: "the component", max_bytes }
    }
}

fn needs_login(registry: &str, repository: &str, as_somebody: bool) -> String {
    if as_somebody {
        format!(
            "the registry {registry} does not let these credentials at {repository}: is the user right, and \
             may it pull (or push) there?"
        )
    } else {
        format!(
            "the registry {registry} wants a login for {repository}: `docker login {registry}` (or podman, \
             oras, …) writes the one that toolcell uses"
        )
    }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
