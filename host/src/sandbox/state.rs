//! What a store holds while a guest lives in it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio::sync::mpsc;
use wasmtime::component::ResourceTable;
use wasmtime::{StoreContext, StoreContextMut};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::calls::{NoCalls, RunCalls};
use super::clock::RunClock;
use super::console::Console;
use super::engine::METERED;
use super::error::SandboxError;
use super::imports::stdio::WasiOutput;
use super::limiter::MemoryLimiter;
use crate::events::{RunEvent, Stream};
use crate::limits::{LimitKind, LimitReached, Limits};

/// Files, directories, streams and waits that one guest may hold at once. An open file is one of
/// the host's own descriptors, which all runs share, and takes up to three of these.
pub(super) const MAX_HANDLES: usize = 256;

/// A directory of the host that a guest sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestDirectory {
    /// Where it is.
    pub host: PathBuf,
    /// Where the guest sees it.
    pub guest: String,
    /// Refuse everything that writes.
    pub read_only: bool,
}

/// The store's data: everything that an import may touch.
pub(super) struct GuestState {
    /// Made when it is first asked for: many guests never do, and it costs more than some of their
    /// calls.
    wasi: Option<WasiCtx>,
    seed: u64,
    table: ResourceTable,
    pub(super) limiter: MemoryLimiter,
    pub(super) calls: Box<dyn RunCalls>,
    /// The same one for as long as the guest lives, because its streams hold it; what is in it is
    /// each run's own.
    pub(super) console: Arc<std::sync::Mutex<Console>>,
    pub(super) clock: Arc<RunClock>,
    /// The fuel that the run started with; what is missing of it was used.
    pub(super) fuel: u64,
    /// What of it the guest had when its last wait began.
    lent_fuel: u64,
    /// What of it was used, or is held, by calls and not by the guest.
    fuel_elsewhere: u64,
    /// The longest arguments that are worth copying out of the guest.
    pub(super) argument_bytes: u64,
}

/// What makes one execution's surroundings different from another's.
pub struct Surroundings {
    /// Its ceilings.
    pub limits: Limits,
    /// The tools it sees.
    pub calls: Box<dyn RunCalls>,
    /// Where its output is passed on to while it runs. A reader that is slow slows the run down.
    pub live: Option<mpsc::Sender<RunEvent>>,
    /// The directories it sees.
    pub directories: Vec<GuestDirectory>,
    /// Where its randomness comes from.
    pub seed: u64,
    /// Start the clock at a fixed instant and let waits take the time they were asked to take.
    pub repeatable: bool,
}

impl GuestState {
    /// The state in which an instance waits for its run: it can do nothing.
    pub(super) fn idle(memory_bytes: u64) -> Self {
        Self {
            wasi: None,
            seed: 0,
            table: handles(),
            limiter: MemoryLimiter::new(memory_bytes),
            calls: Box::new(NoCalls),
            console: Arc::new(std::sync::Mutex::new(Console::new(0, None))),
            clock: Arc::new(RunClock::start(true, Duration::ZERO)),
            fuel: 0,
            lent_fuel: 0,
            fuel_elsewhere: 0,
            argument_bytes: 0,
        }
    }

    /// Gives the instance its run. The limits on fuel and copies are the store's and set there.
    /// `time` is what the monotonic clock has shown in this guest until now.
    ///
    /// # Errors
    /// A directory cannot be opened.
    pub(super) fn adopt(&mut self, run: Surroundings, time: Duration) -> Result<(), SandboxError> {
        *self.lock_console() = Console::new(run.limits.output_bytes, run.live);
        self.seed = run.seed;
        self.wasi = None;
        if !run.directories.is_empty() {
            let mut wasi = wasi(run.seed, &self.console);
            for directory in &run.directories {
                let access =
                    if directory.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
                wasi.preopened_dir(&directory.host, &directory.guest, access).map_err(
                    |source| SandboxError::Directory { path: directory.host.clone(), source },
                )?;
            }
            self.wasi = Some(wasi.build());
        }
        self.limiter.set_limit(run.limits.memory_bytes);
        self.calls = run.calls;
        self.clock = Arc::new(RunClock::start(run.repeatable, time));
        self.fuel = run.limits.fuel;
        self.fuel_elsewhere = 0;
        self.argument_bytes = run.limits.argument_bytes;
        Ok(())
    }
}

impl GuestState {
    /// Ends what the run has to do with anybody else: its calls are cancelled, its listener hears
    /// that there is no more to come. The guest's memory may be dropped later, or be kept for a next
    /// run; until then it can do nothing.
    pub(super) fn let_go(&mut self) {
        self.calls = Box::new(NoCalls);
        *self.lock_console() = Console::new(0, None);
        self.wasi = None;
    }

    pub(super) fn lock_console(&self) -> std::sync::MutexGuard<'_, Console> {
        // A panic while the lock was held left at worst a piece of output uncounted.
        self.console.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// WASI's world with nothing in it but chance, from the run's seed, and the console.
fn wasi(seed: u64, console: &Arc<std::sync::Mutex<Console>>) -> WasiCtxBuilder {
    // Three streams from one seed: what one consumer draws does not shift the others.
    let stream = |number: u64| {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(number);
        rng
    };
    let mut wasi = WasiCtxBuilder::new();
    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    wasi.secure_random(stream(0));
    wasi.insecure_random(stream(1));
    wasi.insecure_random_seed(u128::from(seed));
    wasi.stdout(WasiOutput::new(Stream::Stdout, console));
    wasi.stderr(WasiOutput::new(Stream::Stderr, console));
    wasi
}

fn handles() -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(MAX_HANDLES);
    table
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self { wasi, seed, console, table, .. } = self;
        let ctx = wasi.get_or_insert_with(|| self::wasi(*seed, console).build());
        WasiCtxView { ctx, table }
    }
}

/// The guest begins to wait: what it has left is at the disposal of its calls until [`reclaim`].
pub(super) fn lend(store: &mut StoreContextMut<'_, GuestState>) {
    if store.data().calls.lends_fuel() {
        let left = store.get_fuel().unwrap_or(0);
        let state = store.data_mut();
        state.lent_fuel = left;
        state.calls.lend(left);
    }
}

/// The guest goes on with what its calls left.
///
/// # Errors
/// They left nothing.
pub(super) fn reclaim(store: &mut StoreContextMut<'_, GuestState>) -> wasmtime::Result<()> {
    if !METERED || !store.data().calls.lends_fuel() {
        return Ok(());
    }
    let state = store.data_mut();
    // Together they never have more than before.
    let all = state.lent_fuel.saturating_add(state.fuel_elsewhere);
    let left = state.calls.reclaim().min(all);
    state.fuel_elsewhere = all - left;
    let limit = state.fuel;
    store.set_fuel(left)?;
    if left == 0 {
        return Err(LimitReached { kind: LimitKind::Fuel, limit, used: limit }.into());
    }
    Ok(())
}

/// The fuel that the guest itself has used so far: what its calls used has no part in its clock.
/// Exact inside a host call: compiled code writes its counter back before it leaves.
pub(super) fn fuel_used(store: &StoreContextMut<'_, GuestState>) -> u64 {
    own(store.get_fuel().unwrap_or(0), store.data())
}

/// As [`fuel_used`], from outside the guest.
pub(super) fn own_fuel_used(store: &StoreContext<'_, GuestState>) -> u64 {
    own(store.get_fuel().unwrap_or(0), store.data())
}

/// What of the run's fuel is gone, by the guest or by its calls.
pub(super) fn all_fuel_used(store: &StoreContext<'_, GuestState>) -> u64 {
    store.data().fuel.saturating_sub(store.get_fuel().unwrap_or(0))
}

fn own(left: u64, state: &GuestState) -> u64 {
    state.fuel.saturating_sub(left).saturating_sub(state.fuel_elsewhere)
}
