//! The instances of `stateful` plugins: one for each session, kept between its calls. Calls of one
//! session take turns. An instance that breaks down, is stopped in the middle of its work, is idle for
//! its time, or has to give way to a newer one is dropped, and the next call begins with a fresh one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::task::AbortHandle;

use crate::broker::Session;
use crate::ids::UpstreamName;
use crate::upstream::Caller;

/// Kept instances of one caller, of all plugins and sessions.
const PER_CALLER: usize = 32;

/// Calls that may be under way or wait for one instance.
const MAX_USERS: usize = 64;

/// Instances of some kind. Cheap to clone; the last clone ends them.
pub(super) struct Kept<G> {
    inner: Arc<Inner<G>>,
}

impl<G> Clone for Kept<G> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<G> {
    table: Mutex<Table<G>>,
    changed: Arc<Notify>,
    sweeper: Mutex<Option<AbortHandle>>,
}

impl<G> Drop for Inner<G> {
    fn drop(&mut self) {
        let sweeper = self.sweeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(sweeper) = sweeper {
            sweeper.abort();
        }
    }
}

/// Whose instance it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) plugin: UpstreamName,
    pub(super) session: Session,
}

struct Table<G> {
    total: usize,
    seats: HashMap<Key, Seat<G>>,
}

type Place<G> = Arc<tokio::sync::Mutex<Option<G>>>;

struct Seat<G> {
    guest: Place<G>,
    users: usize,
    last_used: Instant,
    idle: Duration,
}

/// Why there is no instance for a call.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSeat {
    #[error(
        "the caller has {PER_CALLER} kept instances of plugins, and all of them are at work; wait \
         until one is done"
    )]
    CallersAreBusy,
    #[error("all {0} kept instances of plugins are at work; wait until one is done")]
    AllBusy(usize),
    #[error("{MAX_USERS} calls wait for this session's instance already; wait until some are done")]
    TooManyWaiting,
}

impl<G: Send + 'static> Kept<G> {
    /// At most so many at once.
    pub(super) fn new(total: usize) -> Self {
        let table = Mutex::new(Table { total: total.max(1), seats: HashMap::new() });
        let (changed, sweeper) = (Arc::default(), Mutex::default());
        Self { inner: Arc::new(Inner { table, changed, sweeper }) }
    }

    /// Waits for a session's turn. Cancel-safe: dropping the future leaves the queue.
    ///
    /// # Errors
    /// There is no room.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) async fn turn(&self, key: Key, idle: Duration) -> Result<Turn<G>, NoSeat> {
        let (guest, gone) = lock(&self.inner.table).admit(&key, idle, Instant::now())?;
        // Dropping guests takes a while; the lock is free meanwhile.
        drop(gone);
        self.keep_swept();
        let leave = Leave { kept: self.clone(), key, guest: Arc::clone(&guest) };
        Ok(Turn { guest: guest.lock_owned().await, _leave: leave })
    }

    /// Ends a session's instances. Those that are at work are dropped when they are done.
    pub(super) fn end(&self, session: &Session) {
        let gone = lock(&self.inner.table).remove_where(|key, _| key.session == *session);
        drop(gone);
    }

    /// Ends those of plugins that are no more.
    pub(super) fn retain(&self, is_there: impl Fn(&UpstreamName) -> bool) {
        let gone = lock(&self.inner.table).remove_where(|key, _| !is_there(&key.plugin));
        drop(gone);
    }

    fn keep_swept(&self) {
        let mut sweeper = lock(&self.inner.sweeper);
        if sweeper.as_ref().is_none_or(AbortHandle::is_finished) {
            let sweeping = sweep(Arc::downgrade(&self.inner), Arc::clone(&self.inner.changed));
            *sweeper = Some(tokio::spawn(sweeping).abort_handle());
        }
        self.inner.changed.notify_one();
    }
}

/// Drops idle instances when their time is over, for ever. While it waits it holds nothing that keeps
/// them alive.
async fn sweep<G: Send + 'static>(kept: Weak<Inner<G>>, changed: Arc<Notify>) {
    loop {
        let Some(inner) = kept.upgrade() else { return };
        let (gone, next) = {
            let mut table = lock(&inner.table);
            (table.sweep(Instant::now()), table.next_expiry())
        };
        drop((gone, inner));
        match next {
            Some(at) => {
                let _ = tokio::time::timeout_at(at.into(), changed.notified()).await;
            }
            None => changed.notified().await,
        }
    }
}

/// A call whose turn it is. The instance is put back by [`Turn::keep`]; otherwise it is gone.
pub(super) struct Turn<G: Send + 'static> {
    /// Before the leave: it is free when we have left.
    guest: OwnedMutexGuard<Option<G>>,
    _leave: Leave<G>,
}

impl<G: Send + 'static> Turn<G> {
    /// The instance, if there is one.
    pub(super) fn take(&mut self) -> Option<G> {
        self.guest.take()
    }

    /// Keeps it for the next call.
    pub(super) fn keep(mut self, guest: G) {
        *self.guest = Some(guest);
    }
}

struct Leave<G: Send + 'static> {
    kept: Kept<G>,
    key: Key,
    guest: Place<G>,
}

impl<G: Send + 'static> Drop for Leave<G> {
    fn drop(&mut self) {
        lock(&self.kept.inner.table).leave(&self.key, &self.guest, Instant::now());
        self.kept.inner.changed.notify_one();
    }
}

impl<G> Table<G> {
    fn admit(
        &mut self,
        key: &Key,
        idle: Duration,
        now: Instant,
    ) -> Result<(Place<G>, Vec<Place<G>>), NoSeat> {
        let mut gone = self.sweep(now);
        if let Some(seat) = self.seats.get_mut(key) {
            if seat.users >= MAX_USERS {
                return Err(NoSeat::TooManyWaiting);
            }
            seat.users += 1;
            seat.idle = idle;
            return Ok((Arc::clone(&seat.guest), gone));
        }
        let of_caller = |other: &Key| other.session.caller == key.session.caller;
        if self.seats.keys().filter(|other| of_caller(other)).count() >= PER_CALLER {
            gone.push(self.remove_oldest(Some(&key.session.caller)).ok_or(NoSeat::CallersAreBusy)?);
        } else if self.seats.len() >= self.total {
            gone.push(self.remove_oldest(None).ok_or(NoSeat::AllBusy(self.total))?);
        }
        let guest = Place::default();
        let seat = Seat { guest: Arc::clone(&guest), users: 1, last_used: now, idle };
        self.seats.insert(key.clone(), seat);
        Ok((guest, gone))
    }

    /// The one that was idle for longest, of one caller or of all.
    fn remove_oldest(&mut self, of: Option<&Caller>) -> Option<Place<G>> {
        let theirs = |key: &Key| of.is_none_or(|caller| key.session.caller == *caller);
        let idle = self.seats.iter().filter(|(key, seat)| seat.users == 0 && theirs(key));
        let oldest = idle.min_by_key(|(_, seat)| seat.last_used).map(|(key, _)| key.clone())?;
        self.seats.remove(&oldest).map(|seat| seat.guest)
    }

    fn leave(&mut self, key: &Key, guest: &Place<G>, now: Instant) {
        let seat = self.seats.get_mut(key).filter(|seat| Arc::ptr_eq(&seat.guest, guest));
        let Some(seat) = seat else { return };
        seat.users -= 1;
        seat.last_used = now;
        let is_lost = seat.users == 0 && guest.try_lock().is_ok_and(|guest| guest.is_none());
        if is_lost {
            self.seats.remove(key);
        }
    }

    fn sweep(&mut self, now: Instant) -> Vec<Place<G>> {
        self.remove_where(|_, seat| {
            seat.users == 0 && now.saturating_duration_since(seat.last_used) >= seat.idle
        })
    }

    fn next_expiry(&self) -> Option<Instant> {
        let idle = self.seats.values().filter(|seat| seat.users == 0);
        idle.filter_map(|seat| seat.last_used.checked_add(seat.idle)).min()
    }

    fn remove_where(&mut self, over: impl Fn(&Key, &Seat<G>) -> bool) -> Vec<Place<G>> {
        let gone = self.seats.extract_if(|key, seat| over(key, seat));
        gone.map(|(_, seat)| seat.guest).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::SessionScope;

    const IDLE: Duration = Duration::from_secs(60);

    fn key(caller: &str, session: &str) -> Key {
        let session = Session {
            caller: Caller { id: Some(caller.into()), ..Caller::anonymous() },
            profile: "p".into(),
            scope: SessionScope::Named(session.into()),
        };
        Key { plugin: UpstreamName::try_new("a").expect("a name"), session }
    }

    async fn visit(kept: &Kept<u32>, key: Key) -> Option<u32> {
        let mut turn = kept.turn(key, IDLE).await.expect("there is room");
        let found = turn.take();
        turn.keep(found.map_or(1, |visits| visits + 1));
        found
    }

    #[tokio::test]
    async fn a_session_finds_its_own_instance_again_and_nobody_elses() {
        let kept = Kept::new(8);
        assert_eq!(visit(&kept, key("ann", "s")).await, None);
        assert_eq!(visit(&kept, key("ann", "s")).await, Some(1));
        assert_eq!(visit(&kept, key("bob", "s")).await, None);
        assert_eq!(visit(&kept, key("ann", "t")).await, None);
        kept.end(&key("ann", "s").session);
        assert_eq!(visit(&kept, key("ann", "s")).await, None);
        // One that is not given back is gone, and leaves no empty seat.
        kept.turn(key("ann", "s"), IDLE).await.expect("there is room").take();
        assert_eq!(visit(&kept, key("ann", "s")).await, None);
    }

    #[tokio::test]
    async fn turns_are_taken_one_by_one_and_giving_up_leaves_the_queue() {
        let kept: Kept<u32> = Kept::new(8);
        let first = kept.turn(key("ann", "s"), IDLE).await.expect("there is room");
        let mut second = Box::pin(kept.turn(key("ann", "s"), IDLE));
        assert!(futures::poll!(&mut second).is_pending());
        drop(second);
        let third = kept.turn(key("ann", "s"), IDLE);
        first.keep(7);
        assert_eq!(third.await.expect("there is room").take(), Some(7));
        assert!(lock(&kept.inner.table).seats.is_empty());
    }

    #[test]
    fn the_idle_give_way_the_busy_do_not_and_all_end_in_time() {
        let mut table: Table<u32> = Table { total: 2, seats: HashMap::new() };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (old, _) = table.admit(&key("ann", "old"), IDLE, at(0)).expect("there is room");
        *old.try_lock().expect("is free") = Some(1);
        table.leave(&key("ann", "old"), &old, at(1));
        table.admit(&key("ann", "busy"), IDLE, at(2)).expect("there is room");
        let (_, gone) = table.admit(&key("bob", "s"), IDLE, at(3)).expect("the idle one goes");
        assert!(gone.len() == 1 && Arc::ptr_eq(&gone[0], &old));
        let full = table.admit(&key("bob", "t"), IDLE, at(4)).err();
        assert_eq!(full, Some(NoSeat::AllBusy(2)));
        assert!(table.sweep(at(1000)).is_empty());
        let (guest, _) = table.admit(&key("bob", "s"), IDLE, at(5)).expect("the same");
        *guest.try_lock().expect("is free") = Some(1);
        table.leave(&key("bob", "s"), &guest, at(6));
        table.leave(&key("bob", "s"), &guest, at(7));
        assert_eq!(table.next_expiry(), Some(at(67)));
        assert_eq!(table.sweep(at(67)).len(), 1);
    }

    #[test]
    fn one_caller_does_not_push_out_all_the_others() {
        let mut table: Table<u32> = Table { total: 1000, seats: HashMap::new() };
        let now = Instant::now();
        for n in 0..PER_CALLER {
            table.admit(&key("ann", &n.to_string()), IDLE, now).expect("there is room");
        }
        let refused = table.admit(&key("ann", "more"), IDLE, now).err();
        assert_eq!(refused, Some(NoSeat::CallersAreBusy));
        table.admit(&key("bob", "s"), IDLE, now).expect("there is room");
    }
}
