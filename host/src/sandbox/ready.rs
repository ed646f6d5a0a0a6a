//! Instances made ready before they are asked for. A ready instance has never run anything; a run
//! takes one, uses it up and drops it, and a worker makes the next.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{PoolConcurrencyLimitError, Store};

use super::bindings::guest::{PluginGuest, PluginGuestPre};
use super::bindings::{ScriptRuntime, ScriptRuntimePre};
use super::engine::{METERED, SandboxEngine};
use super::error::SandboxError;
use super::meter::YIELD_INTERVAL_FUEL;
use super::state::GuestState;
use crate::limits::Limits;

/// Fuel for making an instance: its start functions only.
const START_FUEL: u64 = 1_000_000_000;

/// A guest that waits for its run.
pub(super) struct Ready<G> {
    pub(super) store: Store<GuestState>,
    pub(super) guest: G,
    /// What its start functions used.
    pub(super) start_fuel: u64,
}

/// A component with all its imports resolved, and what is known of its exports.
pub(super) trait Kind: Send + Sync + 'static {
    /// An instance of it, with the functions that we call.
    type Guest: Send + 'static;

    /// Makes an instance.
    fn instantiate(
        &self,
        store: &mut Store<GuestState>,
    ) -> impl Future<Output = wasmtime::Result<Self::Guest>> + Send;
}

impl Kind for ScriptRuntimePre<GuestState> {
    type Guest = ScriptRuntime;

    async fn instantiate(&self, store: &mut Store<GuestState>) -> wasmtime::Result<ScriptRuntime> {
        self.instantiate_async(store).await
    }
}

impl Kind for PluginGuestPre<GuestState> {
    type Guest = PluginGuest;

    async fn instantiate(&self, store: &mut Store<GuestState>) -> wasmtime::Result<PluginGuest> {
        self.instantiate_async(store).await
    }
}

impl Kind for InstancePre<GuestState> {
    type Guest = Instance;

    async fn instantiate(&self, store: &mut Store<GuestState>) -> wasmtime::Result<Instance> {
        self.instantiate_async(store).await
    }
}

/// Makes instances of one component, some of them ahead of time.
pub(super) struct Maker<K: Kind> {
    name: String,
    engine: wasmtime::Engine,
    prepared: K,
    /// What an instance may have of memory before it is entered.
    memory_bytes: u64,
    shelf: Mutex<VecDeque<Ready<K::Guest>>>,
    shelf_size: usize,
    /// Used up, and still to be dropped: unmapping a guest takes a quarter of the time of a small
    /// run, and nobody who waits for the run's result need wait for that.
    used: Mutex<Vec<Store<GuestState>>>,
    work: Notify,
}

impl<K: Kind> Maker<K> {
    pub(super) fn new(
        name: String,
        engine: &SandboxEngine,
        prepared: K,
        shelf_size: usize,
    ) -> Self {
        Self {
            name,
            engine: engine.engine.clone(),
            prepared,
            memory_bytes: Limits::MAX_MEMORY_BYTES,
            shelf: Mutex::new(VecDeque::with_capacity(shelf_size)),
            shelf_size,
            used: Mutex::default(),
            work: Notify::new(),
        }
    }

    /// The same, with instances that begin with no more memory than this.
    pub(super) fn with_memory_bytes(self, memory_bytes: u64) -> Self {
        Self { memory_bytes, ..self }
    }

    /// An instance, from the shelf if there is one.
    ///
    /// # Errors
    /// There is no room for another guest.
    pub(super) async fn take(&self) -> Result<Ready<K::Guest>, SandboxError> {
        let ready = self.lock().pop_front();
        if let Some(ready) = ready {
            self.work.notify_one();
            return Ok(ready);
        }
        self.make().await
    }

    /// Takes back what a run used up, to drop it. What is left of the guest's state dies with it.
    pub(super) fn retire(&self, store: Store<GuestState>) {
        if self.shelf_size > 0 {
            self.lock_used().push(store);
            self.work.notify_one();
        }
    }

    fn drop_used(&self) {
        let used = std::mem::take(&mut *self.lock_used());
        drop(used);
    }

    async fn make(&self) -> Result<Ready<K::Guest>, SandboxError> {
        let failed = |source: wasmtime::Error| match source.is::<PoolConcurrencyLimitError>() {
            true => SandboxError::Full(source),
            false => SandboxError::Instantiate { name: self.name.clone(), source },
        };
        // A used guest holds a place in the pool.
        self.drop_used();
        let mut store = Store::new(&self.engine, GuestState::idle(self.memory_bytes));
        store.limiter(|state| &mut state.limiter);
        if METERED {
            store.set_fuel(START_FUEL).map_err(failed)?;
            store.fuel_async_yield_interval(Some(YIELD_INTERVAL_FUEL)).map_err(failed)?;
        }
        let guest = self.prepared.instantiate(&mut store).await.map_err(failed)?;
        let start_fuel = START_FUEL.saturating_sub(store.get_fuel().unwrap_or(START_FUEL));
        Ok(Ready { store, guest, start_fuel })
    }

    /// How many instances are ready now.
    pub(super) fn ready_count(&self) -> usize {
        self.lock().len()
    }

    /// Fills the shelf once.
    ///
    /// # Errors
    /// There is no room for another guest.
    pub(super) async fn fill(&self) -> Result<(), SandboxError> {
        self.drop_used();
        while self.ready_count() < self.shelf_size {
            let ready = self.make().await?;
            self.lock().push_back(ready);
        }
        Ok(())
    }

    /// Keeps the shelf full for ever. Dropping the future leaves the shelf as it is.
    pub(super) async fn keep_filled(self: Arc<Self>) {
        loop {
            if let Err(error) = self.fill().await {
                // Every place is taken. The next run that ends makes room, and the run after it
                // wakes us.
                tracing::debug!(%error, "cannot make an instance ahead of time");
            }
            self.work.notified().await;
        }
    }

    fn lock_used(&self) -> std::sync::MutexGuard<'_, Vec<Store<GuestState>>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Ready<K::Guest>>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
