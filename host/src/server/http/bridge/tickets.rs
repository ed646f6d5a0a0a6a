//! Tickets: the right to open one socket, once, soon.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::admission::Plan;
use super::lock;
use crate::server::access::TokenDigest;
use crate::server::mcp::Facade;
use crate::server::random;
use crate::upstream::Caller;

/// What a ticket is good for.
pub(super) struct Ticket {
    pub(super) plan: Plan,
    pub(super) facade: Facade,
    pub(super) caller: Caller,
}

struct Kept {
    ticket: Ticket,
    token: TokenDigest,
    until: Instant,
}

/// The tickets that were given out and not used.
pub(super) struct Tickets {
    most: usize,
    lifetime: Duration,
    kept: Mutex<HashMap<String, Kept>>,
}

/// As many as there may be are out.
pub(super) struct TooMany;

impl Tickets {
    pub(super) fn new(most: usize, lifetime: Duration) -> Self {
        Self { most, lifetime, kept: Mutex::default() }
    }

    /// Gives one out: the session's id, and the token that goes with it.
    pub(super) fn issue(&self, ticket: Ticket) -> Result<(String, String), TooMany> {
        let (id, token) = (random::uuid(), random::hex::<32>());
        let now = Instant::now();
        let mut kept = lock(&self.kept);
        kept.retain(|_, kept| kept.until > now);
        if kept.len() >= self.most {
            return Err(TooMany);
        }
        let until = now + self.lifetime;
        kept.insert(id.clone(), Kept { ticket, token: TokenDigest::of(&token), until });
        Ok((id, token))
    }

    /// Takes one back, for whoever `may` use it. A wrong attempt costs its owner nothing.
    pub(super) fn take(
        &self,
        id: &str,
        may: impl FnOnce(&TokenDigest, &Ticket) -> bool,
    ) -> Option<Ticket> {
        let mut kept = lock(&self.kept);
        let known = kept.get(id)?;
        if known.until <= Instant::now() {
            kept.remove(id);
            return None;
        }
        if !may(&known.token, &known.ticket) {
            return None;
        }
        kept.remove(id).map(|kept| kept.ticket)
    }
}
