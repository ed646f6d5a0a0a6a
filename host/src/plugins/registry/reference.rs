//! How a plugin in a registry is named.

use std::fmt;
use std::str::FromStr;

use oci_client::Reference;

/// `oci://HOST/REPOSITORY`, with `:TAG`, `@sha256:DIGEST` or both; the tag is `latest` without either.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PluginReference {
    reference: Reference,
}

/// A text names no plugin in a registry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not begin with `oci://`.
    #[error("`{0}` does not begin with oci://, as in oci://ghcr.io/author/plugin:1.0.0")]
    Scheme(String),
    /// It names no registry: nobody's registry is the default one here.
    #[error(
        "`{0}` names no registry: write its host first, as in oci://ghcr.io/author/plugin:1.0.0"
    )]
    NoRegistry(String),
    /// A digest of another kind than SHA-256.
    #[error("`{0}` is pinned by another digest than sha256: with 64 hexadecimal digits")]
    Digest(String),
    /// Something else is wrong with it.
    #[error("`{text}` is no name of an OCI artifact: {cause}")]
    Invalid {
        /// As it was written.
        text: String,
        /// What is wrong.
        cause: oci_client::ParseError,
    },
}

impl FromStr for PluginReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let name =
            text.strip_prefix("oci://").ok_or_else(|| ReferenceError::Scheme(text.to_owned()))?;
        let host = name.split_once('/').map(|(host, _)| host);
        if !host.is_some_and(|host| host == "localhost" || host.contains(['.', ':'])) {
            return Err(ReferenceError::NoRegistry(text.to_owned()));
        }
        if name.split_once('@').is_some_and(|(_, digest)| !is_digest(digest)) {
            return Err(ReferenceError::Digest(text.to_owned()));
        }
        let invalid = |cause| ReferenceError::Invalid { text: text.to_owned(), cause };
        let reference = name.parse().map_err(invalid)?;
        Ok(Self { reference })
    }
}

impl PluginReference {
    /// The host, and the port if there is one, where it is kept.
    pub fn registry(&self) -> &str {
        self.reference.resolve_registry()
    }

    /// Its name there.
    pub fn repository(&self) -> &str {
        self.reference.repository()
    }

    /// The tag, which may name something else tomorrow.
    pub fn tag(&self) -> Option<&str> {
        self.reference.tag()
    }

    /// The digest that it is pinned to.
    pub fn digest(&self) -> Option<&str> {
        self.reference.digest()
    }

    /// The same plugin as it is under this digest. What it was named by stays beside it.
    pub fn pinned(&self, digest: &str) -> Self {
        let (of, digest) = (&self.reference, digest.to_owned());
        let reference = match self.tag() {
            None => of.clone_with_digest(digest),
            Some(tag) => Reference::with_tag_and_digest(
                of.registry().to_owned(),
                of.repository().to_owned(),
                tag.to_owned(),
                digest,
            ),
        };
        Self { reference }
    }

    /// Whether both lie in the same place, under whatever tag or digest.
    pub fn is_beside(&self, other: &Self) -> bool {
        (self.registry(), self.repository()) == (other.registry(), other.repository())
    }

    /// What stands behind `/manifests/`.
    pub(super) fn target(&self) -> &str {
        self.digest().or(self.tag()).unwrap_or("latest")
    }

    /// As oci-client has it.
    pub(super) fn as_oci(&self) -> &Reference {
        &self.reference
    }

    /// Whether the registry is on this machine, where nobody listens in between.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.registry().rsplit_once(':').map_or(self.registry(), |(host, _)| host);
        is_loopback_host(host)
    }
}

impl fmt::Display for PluginReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}", self.reference)
    }
}

/// A host that is this machine, by its name or address.
pub(super) fn is_loopback_host(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    address.map_or_else(
        |_| host == "localhost" || host.ends_with(".localhost"),
        |address| address.is_loopback(),
    )
}

/// `sha256:` and 64 digits, in lower case as everybody writes them.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_reference_is_read_in_its_parts() {
        #[track_caller]
        fn check(text: &str, registry: &str, repository: &str, target: &str) {
            let reference: PluginReference = text.parse().expect(text);
            assert_eq!(reference.registry(), registry, "{text}");
            assert_eq!(reference.repository(), repository, "{text}");
            assert_eq!(reference.target(), target, "{text}");
        }
        check("oci://ghcr.io/ada/research:1.0.0", "ghcr.io", "ada/research", "1.0.0");
        check("oci://ghcr.io/ada/research", "ghcr.io", "ada/research", "latest");
        check("oci://localhost:5000/research:1", "localhost:5000", "research", "1");
        check("oci://127.0.0.1:5000/a/b/c:1", "127.0.0.1:5000", "a/b/c", "1");
        check("oci://docker.io/ada/research:1", "index.docker.io", "ada/research", "1");
        check(&format!("oci://ghcr.io/ada/research:1@{DIGEST}"), "ghcr.io", "ada/research", DIGEST);
    }

    #[test]
    fn what_names_no_plugin_is_refused_with_a_reason() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let error = text.parse::<PluginReference>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        check("ghcr.io/ada/research:1", "does not begin with oci://");
        check("https://ghcr.io/ada/research:1", "does not begin with oci://");
        check("oci://research:1", "names no registry");
        check("oci://ada/research:1", "names no registry");
        check("oci://ghcr.io/ada/Research:1", "no name of an OCI artifact");
        check("oci://ghcr.io/ada/research:1@sha256:abc", "another digest");
        check("oci://ghcr.io/ada/research@sha512:abc", "another digest");
        check("oci://ghcr.io/ada/../research:1", "no name of an OCI artifact");
        check("oci://ghcr.io/", "no name of an OCI artifact");
    }

    #[test]
    fn a_tag_can_be_pinned() {
        let reference: PluginReference = "oci://ghcr.io/ada/research:1".parse().expect("a name");
        let pinned = reference.pinned(DIGEST);
        assert_eq!(pinned.digest(), Some(DIGEST));
        assert_eq!(pinned.target(), DIGEST);
        assert_eq!(pinned.to_string(), format!("oci://ghcr.io/ada/research:1@{DIGEST}"));
        assert_eq!(pinned.pinned(DIGEST).to_string(), pinned.to_string());
        let digest: PluginReference =
            format!("oci://ghcr.io/ada/research@{DIGEST}").parse().expect("a name");
        assert_eq!(digest.pinned(DIGEST).to_string(), digest.to_string());
        assert!(digest.is_beside(&reference));
    }
}
