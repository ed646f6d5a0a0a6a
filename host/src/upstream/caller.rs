//! For whom an upstream is called: what two callers must never share hangs on this.

use std::fmt;
use std::sync::Arc;

use crate::upstream::settings::Secret;

/// Who asks. What a server's settings take from the caller (`${caller.token}`, `${caller.id}`) is
/// part of its connection's identity, so two callers whose values differ never share one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Who it is, in the operator's words.
    pub id: Option<Arc<str>>,
    /// The token with which it came to us.
    pub token: Option<Secret>,
}

impl Caller {
    /// Whose things these are: whoever has a name is the same with each of its tokens; without a name
    /// the token is all that tells callers apart.
    pub fn identity(&self) -> Self {
        match &self.id {
            Some(id) => Self { id: Some(Arc::clone(id)), token: None },
            None => self.clone(),
        }
    }

    /// Nobody in particular: whoever is at the terminal, or embeds the host.
    pub fn anonymous() -> Self {
        Self::default()
    }
}

/// Settings need something of the caller that this caller does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MissingCaller {
    /// `${caller.token}`
    #[error("it needs the caller's own token, and this caller has none")]
    Token,
    /// `${caller.id}`
    #[error("it needs to know who the caller is, and this caller has no name")]
    Id,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id.as_deref().unwrap_or("anonymous"))
    }
}
