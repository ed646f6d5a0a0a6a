//! Why a run cannot have the session that it asks for.

use super::SessionName;

/// A run cannot have the session that it asks for. Nothing of it ran.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The name is none.
    #[error("{name:?} is no name of a session: use 1 to 64 of A-Z a-z 0-9 _ . -")]
    InvalidName {
        /// The beginning of it.
        name: String,
    },
    /// The caller has as many sessions as it may.
    #[error(
        "there is no room for a session `{wanted}`: {limit} is the most, and there are {names}; go on \
         in one of them, or end one with `sessions` and its `reset`",
        names = listed(.names)
    )]
    TooMany {
        /// The one that it asked for.
        wanted: SessionName,
        /// How many it may have.
        limit: usize,
        /// Those that it has.
        names: Vec<SessionName>,
    },
    /// The host has as many sessions as it may, and each has a run under way.
    #[error(
        "there is no room for a session `{wanted}`: all {limit} sessions of this host are at work; \
         run the script without a session, or try again later"
    )]
    AllBusy {
        /// The one that was asked for.
        wanted: SessionName,
        /// How many there may be.
        limit: usize,
    },
    /// Too many runs wait for their turn in it.
    #[error(
        "{limit} runs are under way or wait in the session `{name}` already; wait for their results, \
         or use another session for what can run beside them"
    )]
    TooManyWaiting {
        /// The session.
        name: SessionName,
        /// How many may.
        limit: usize,
    },
    /// Directories are given to one run, and a session outlives it.
    #[error("a script in a session sees no directories; run it without a session")]
    Directories,
}

/// How many names an error lists: a model has to read it.
const LISTED: usize = 20;

fn listed(names: &[SessionName]) -> String {
    let mut listed: Vec<String> =
        names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    if names.len() > LISTED {
        listed.push(format!("{} more", names.len() - LISTED));
    }
    listed.join(", ")
}
