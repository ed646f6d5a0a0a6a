//! How often something may happen within a minute, by whoever does it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock;

const MINUTE: Duration = Duration::from_secs(60);

/// Of whom something is known at once. Who comes beyond shares one account.
const MAX_CLIENTS: usize = 10_000;

/// A bucket for each client, which fills evenly.
pub(super) struct Rate {
    per_minute: usize,
    accounts: Mutex<HashMap<String, Account>>,
}

struct Account {
    left: f64,
    at: Instant,
}

impl Rate {
    pub(super) fn new(per_minute: usize) -> Self {
        Self { per_minute, accounts: Mutex::default() }
    }

    /// Takes one; else gives how long to wait for the next.
    pub(super) fn take(&self, client: &str, now: Instant) -> Result<(), Duration> {
        let most = self.per_minute.max(1) as f64;
        let mut accounts = lock(&self.accounts);
        if accounts.len() >= MAX_CLIENTS {
            // Whoever did nothing for a minute has a full bucket anyway.
            accounts.retain(|_, account| now.saturating_duration_since(account.at) < MINUTE);
        }
        let is_known = accounts.contains_key(client);
        let client = if is_known || accounts.len() < MAX_CLIENTS { client } else { "" };
        let account = accounts.entry(client.to_owned()).or_insert(Account { left: most, at: now });
        let passed = now.saturating_duration_since(account.at);
        account.left = (account.left + passed.as_secs_f64() * most / 60.0).min(most);
        account.at = now;
        if account.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - account.left) * 60.0 / most));
        }
        account.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_for_each() {
        let (rate, start) = (Rate::new(60), Instant::now());
        for _ in 0..60 {
            rate.take("a", start).expect("there are sixty");
        }
        let wait = rate.take("a", start).expect_err("that was one too many");
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        rate.take("b", start).expect("somebody else has their own");
        rate.take("a", start + Duration::from_secs(2)).expect("two have come back");
    }
}
