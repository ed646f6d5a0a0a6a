//! What each caller takes of us, and whether they may take more.
//!
//! Nothing waits here: who is over a quota is told so at once, in words, with the time at which to
//! come back. The clock is the caller's of these functions, so that a minute can be tested in none.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::settings::{AccessSettings, QuotaLimits};
use crate::config::units::format_count;

/// The time over which fuel is counted, and how finely.
const WINDOW: Duration = Duration::from_secs(60);
const GRAIN: Duration = Duration::from_secs(1);

/// Callers of whom something is known at once. Those who take nothing are forgotten.
const MAX_CALLERS: usize = 10_000;

/// Why a caller may not have something now: in words for a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OverQuota {
    /// As many runs as they may have are under way.
    #[error(
        "you may have {limit} runs at once and have {limit}: wait until one ends, then try again"
    )]
    Runs { limit: u32 },
    /// As many calls as they may have are under way.
    #[error(
        "you may have {limit} calls at once and have {limit}: wait until one ends, then try again"
    )]
    Calls { limit: u32 },
    /// Their runs computed too much.
    #[error(
        "your runs used {} fuel within the last minute and may use {}: try again in {} s",
        format_count(*used), format_count(*limit), seconds(*again)
    )]
    Fuel { used: u64, limit: u64, again: Duration },
    /// There are too many of them.
    #[error("too many callers are here at once: try again in a minute")]
    Callers,
}

fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// What all callers take. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quotas {
    limits: Arc<RwLock<Limits>>,
    callers: Arc<Mutex<Accounts>>,
}

#[derive(Debug, Default)]
struct Limits {
    for_all: QuotaLimits,
    by_caller: HashMap<Arc<str>, QuotaLimits>,
}

impl Limits {
    fn of(settings: &AccessSettings) -> Self {
        Self { for_all: settings.quotas, by_caller: settings.quotas_by_caller() }
    }
}

/// By caller; those who are nobody in particular are one.
type Accounts = HashMap<Option<Arc<str>>, Account>;

/// What one caller takes.
#[derive(Debug, Default)]
struct Account {
    runs: u32,
    calls: u32,
    fuel: FuelWindow,
}

impl Account {
    fn is_idle(&mut self, now: Instant) -> bool {
        self.runs == 0 && self.calls == 0 && self.fuel.used(now) == 0
    }
}

impl Quotas {
    pub(crate) fn new(settings: &AccessSettings) -> Self {
        Self { limits: Arc::new(RwLock::new(Limits::of(settings))), callers: Arc::default() }
    }

    /// Puts other quotas in force. What was taken stays counted.
    pub(crate) fn replace(&self, settings: &AccessSettings) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Limits::of(settings);
    }

    /// What a caller may take.
    pub(crate) fn limits(&self, caller: Option<&str>) -> QuotaLimits {
        let limits = self.limits.read().unwrap_or_else(PoisonError::into_inner);
        let own = caller.and_then(|id| limits.by_caller.get(id)).copied();
        own.unwrap_or_default().or(limits.for_all)
    }

    /// A call of one of our tools begins, and lasts until the place is dropped.
    pub(crate) fn begin_call(
        &self,
        caller: Option<&Arc<str>>,
        now: Instant,
    ) -> Result<Place, OverQuota> {
        let Some(limit) = self.limits(caller.map(|id| &**id)).concurrent_calls else {
            return Ok(Place::free());
        };
        let mut callers = self.lock();
        let account = account(&mut callers, caller, now)?;
        if account.calls >= limit {
            return Err(OverQuota::Calls { limit });
        }
        account.calls += 1;
        Ok(self.place(caller, |account| account.calls -= 1))
    }

    /// A run begins, and lasts until the place is dropped. What it used is charged at its end: runs
    /// that are under way together may use more than was left, each up to its own limit.
    pub(crate) fn begin_run(
        &self,
        caller: Option<&Arc<str>>,
        now: Instant,
    ) -> Result<Place, OverQuota> {
        let limits = self.limits(caller.map(|id| &**id));
        if limits.concurrent_runs.is_none() && limits.fuel_per_minute.is_none() {
            return Ok(Place::free());
        }
        let mut callers = self.lock();
        let account = account(&mut callers, caller, now)?;
        if let Some(limit) = limits.concurrent_runs
            && account.runs >= limit
        {
            return Err(OverQuota::Runs { limit });
        }
        if let Some(limit) = limits.fuel_per_minute
            && let Some(again) = account.fuel.until_below(limit, now)
        {
            return Err(OverQuota::Fuel { used: account.fuel.used(now), limit, again });
        }
        account.runs += 1;
        Ok(self.place(caller, |account| account.runs -= 1))
    }

    /// A run used this much.
    pub(crate) fn charge(&self, caller: Option<&Arc<str>>, fuel: u64, now: Instant) {
        if self.limits(caller.map(|id| &**id)).fuel_per_minute.is_none() {
            return;
        }
        let mut callers = self.lock();
        // It has its place until now, so there is an account.
        if let Ok(account) = account(&mut callers, caller, now) {
            account.fuel.add(fuel, now);
        }
    }

    fn place(&self, caller: Option<&Arc<str>>, leave: fn(&mut Account)) -> Place {
        let taken = Taken { quotas: self.clone(), caller: caller.cloned(), leave };
        Place { of: Some(taken) }
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The account of a caller. Those who take nothing are forgotten when there are too many.
fn account<'a>(
    callers: &'a mut Accounts,
    caller: Option<&Arc<str>>,
    now: Instant,
) -> Result<&'a mut Account, OverQuota> {
    let key = caller.cloned();
    if callers.len() >= MAX_CALLERS && !callers.contains_key(&key) {
        callers.retain(|_, account| !account.is_idle(now));
        if callers.len() >= MAX_CALLERS {
            return Err(OverQuota::Callers);
        }
    }
    Ok(callers.entry(key).or_default())
}

/// Something that a caller has until it is dropped.
#[must_use]
pub(crate) struct Place {
    of: Option<Taken>,
}

/// What is given back: by whom, and how.
struct Taken {
    quotas: Quotas,
    caller: Option<Arc<str>>,
    leave: fn(&mut Account),
}

impl Place {
    /// Of a caller without a quota.
    fn free() -> Self {
        Self { of: None }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(Taken { quotas, caller, leave }) = self.of.take() else { return };
        if let Some(account) = quotas.lock().get_mut(&caller) {
            leave(account);
        }
    }
}

/// Fuel of the last minute, by the second: bounded, however many runs there were.
#[derive(Debug, Default)]
struct FuelWindow {
    /// The beginning of a second and what was charged within it, the oldest first.
    charges: VecDeque<(Instant, u64)>,
}

impl FuelWindow {
    fn add(&mut self, fuel: u64, now: Instant) {
        self.forget(now);
        match self.charges.back_mut() {
            Some((since, charged)) if now.saturating_duration_since(*since) < GRAIN => {
                *charged = charged.saturating_add(fuel);
            }
            _ => self.charges.push_back((now, fuel)),
        }
    }

    fn used(&mut self, now: Instant) -> u64 {
        self.forget(now);
        self.charges.iter().fold(0, |sum, (_, fuel)| sum.saturating_add(*fuel))
    }

    /// How long until less than `limit` counts; nothing if that is so now.
    fn until_below(&mut self, limit: u64, now: Instant) -> Option<Duration> {
        let mut used = self.used(now);
        if used < limit {
            return None;
        }
        for (since, fuel) in &self.charges {
            used = used.saturating_sub(*fuel);
            if used < limit {
                return Some((*since + WINDOW + GRAIN).saturating_duration_since(now));
            }
        }
        Some(WINDOW)
    }

    fn forget(&mut self, now: Instant) {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= WINDOW + GRAIN;
        while self.charges.front().is_some_and(|(since, _)| is_over(*since)) {
            self.charges.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server::access::StaticToken;
    use crate::server::access::TokenDigest;

    fn quotas(limits: QuotaLimits) -> Quotas {
        Quotas::new(&AccessSettings { quotas: limits, ..AccessSettings::default() })
    }

    fn caller(name: &str) -> Arc<str> {
        name.into()
    }

    #[test]
    fn the_third_run_of_a_caller_who_may_have_two_is_refused_until_one_ends() {
        let quotas = quotas(QuotaLimits { concurrent_runs: Some(2), ..QuotaLimits::default() });
        let (now, ada, bob) = (Instant::now(), caller("ada"), caller("bob"));
        let first = quotas.begin_run(Some(&ada), now).unwrap();
        let _second = quotas.begin_run(Some(&ada), now).unwrap();
        let refused = quotas.begin_run(Some(&ada), now).err().unwrap();
        assert_eq!(
            refused.to_string(),
            "you may have 2 runs at once and have 2: wait until one ends, then try again"
        );
        let _of_another = quotas.begin_run(Some(&bob), now).unwrap();
        let _of_nobody = quotas.begin_run(None, now).unwrap();
        drop(first);
        let _third = quotas.begin_run(Some(&ada), now).unwrap();
    }

    #[test]
    fn fuel_comes_back_a_minute_after_it_was_used() {
        let quotas = quotas(QuotaLimits { fuel_per_minute: Some(1_000), ..QuotaLimits::default() });
        let (start, ada) = (Instant::now(), caller("ada"));
        let at = |seconds| start + Duration::from_secs(seconds);
        let may = |seconds| quotas.begin_run(Some(&ada), at(seconds)).map(drop);
        quotas.charge(Some(&ada), 600, at(0));
        assert_eq!(may(1), Ok(()));
        quotas.charge(Some(&ada), 600, at(30));
        let refused = may(31).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "your runs used 1200 fuel within the last minute and may use 1k: try again in 30 s"
        );
        assert_eq!(may(60).unwrap_err().to_string().matches("in 1 s").count(), 1);
        assert_eq!(may(61), Ok(()));
    }

    #[test]
    fn a_callers_own_quotas_win_and_the_rest_is_everybodys() {
        let own = QuotaLimits { concurrent_runs: Some(9), ..QuotaLimits::default() };
        let token = StaticToken {
            name: "ops".to_owned(),
            digest: TokenDigest::of("x"),
            caller: caller("ops"),
            profiles: None,
            quotas: own,
        };
        let quotas = QuotaLimits {
            concurrent_runs: Some(1),
            fuel_per_minute: Some(5),
            ..QuotaLimits::default()
        };
        let settings = AccessSettings { tokens: vec![token], quotas, ..AccessSettings::default() };
        let all = Quotas::new(&settings);
        assert_eq!(all.limits(Some("ops")).concurrent_runs, Some(9));
        assert_eq!(all.limits(Some("ops")).fuel_per_minute, Some(5));
        assert_eq!(all.limits(Some("ada")).concurrent_runs, Some(1));
        assert_eq!(all.limits(None).concurrent_runs, Some(1));
    }

    #[test]
    fn those_who_take_nothing_are_forgotten_and_those_who_do_are_not_pushed_out() {
        let limits = QuotaLimits { concurrent_calls: Some(1), ..QuotaLimits::default() };
        let quotas = quotas(limits);
        let now = Instant::now();
        let begin = |nth: usize| quotas.begin_call(Some(&caller(&nth.to_string())), now);
        let places: Vec<Place> = (0..MAX_CALLERS).map(|nth| begin(nth).unwrap()).collect();
        assert_eq!(begin(MAX_CALLERS).err(), Some(OverQuota::Callers));
        assert_eq!(begin(0).err(), Some(OverQuota::Calls { limit: 1 }));
        drop(places);
        let _place = begin(MAX_CALLERS).unwrap();
        assert_eq!(quotas.lock().len(), 1);
    }

    proptest! {
        #[test]
        fn a_window_holds_what_was_charged_within_a_minute(
            charges in proptest::collection::vec((0u64..200, 0u64..1_000), 1..200),
            limit in 1u64..100_000,
        ) {
            let (start, mut window, mut clock) = (Instant::now(), FuelWindow::default(), 0);
            let mut all: Vec<(u64, u64)> = Vec::new();
            for (wait, fuel) in charges {
                clock += wait * 100;
                let now = start + Duration::from_millis(clock);
                window.add(fuel, now);
                all.push((clock, fuel));
                let within = |age: u64| {
                    all.iter().filter(|(at, _)| clock - at < age).map(|(_, fuel)| fuel).sum::<u64>()
                };
                let used = window.used(now);
                // Never less than what was used within the minute, and no more than a second older.
                prop_assert!(within(60_000) <= used && used <= within(61_001));
                prop_assert!(window.charges.len() <= 62);
                match window.until_below(limit, now) {
                    None => prop_assert!(used < limit),
                    Some(again) => {
                        prop_assert!(used >= limit && again <= WINDOW + GRAIN);
                        prop_assert!(window.used(now + again) < limit);
                        break;
                    }
                }
            }
        }
    }
}
