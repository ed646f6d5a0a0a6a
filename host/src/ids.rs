//! Names and numbers that travel through the whole host, each a type of its own.
//!
//! Ids are for people and for logs as well as for code: they print as they are written in
//! configuration files and reports. No id carries a secret.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Names one run: one execution of one piece of code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct RunId(Arc<str>);

impl RunId {
    /// A new id, unique on this machine with near certainty: 80 random bits, printed in base 32.
    pub fn random() -> Self {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let mut bytes = [0u8; 16];
        // An id that repeats would mix up two journals; without entropy there is no way on.
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        let text: String =
            bytes.iter().map(|byte| char::from(DIGITS[usize::from(*byte & 31)])).collect();
        Self(format!("run-{text}").into())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one call of a run, counted from 1 in the order in which the run started them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Names an upstream as the operator's configuration does: `[A-Za-z0-9_-]{1,64}`, so never with a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UpstreamName(Arc<str>);

/// Why a text is not an [`UpstreamName`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name:?} is not a server name: use 1 to 64 of A-Z a-z 0-9 _ -")]
pub struct InvalidUpstreamName {
    name: String,
}

impl UpstreamName {
    /// Checks a name as written.
    ///
    /// # Errors
    /// The name is empty, longer than 64 bytes, or has a character outside `[A-Za-z0-9_-]`.
    pub fn try_new(name: &str) -> Result<Self, InvalidUpstreamName> {
        let fits = (1..=64).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if fits {
            Ok(Self(name.into()))
        } else {
            Err(InvalidUpstreamName { name: name.chars().take(80).collect() })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for UpstreamName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A tool's full name, `server.tool`. The tool's own name may be any text, dots included.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolName {
    /// The server that offers the tool.
    pub upstream: UpstreamName,
    /// The name that the server gives it.
    pub tool: Arc<str>,
}

impl ToolName {
    /// Puts a full name together.
    pub fn new(upstream: UpstreamName, tool: impl Into<Arc<str>>) -> Self {
        Self { upstream, tool: tool.into() }
    }

    /// Takes a full name apart at its first dot. `None` when there is no dot, or when what stands
    /// before it can be no server's name.
    pub fn parse(full: &str) -> Option<Self> {
        let (server, tool) = full.split_once('.')?;
        if tool.is_empty() {
            return None;
        }
        Some(Self::new(UpstreamName::try_new(server).ok()?, tool))
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.upstream, self.tool)
    }
}

impl Serialize for ToolName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tool_names_split_at_the_first_dot() {
        #[track_caller]
        fn check(full: &str, expected: Option<(&str, &str)>) {
            let parsed = ToolName::parse(full);
            let parts = parsed.as_ref().map(|name| (name.upstream.as_str(), &*name.tool));
            assert_eq!(parts, expected, "{full:?}");
        }
        check("time.get_current_time", Some(("time", "get_current_time")));
        check("my-server.odd.name", Some(("my-server", "odd.name")));
        check("no_dot", None);
        check(".tool", None);
        check("server.", None);
        check("a b.tool", None);
    }

    #[test]
    fn run_ids_differ_and_show_their_kind() {
        let (one, other) = (RunId::random(), RunId::random());
        assert_ne!(one, other);
        assert!(one.to_string().starts_with("run-"));
    }
}
