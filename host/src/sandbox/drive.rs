//! One entry into a guest, whatever kind it is: from a ready instance to an end with numbers. Every
//! limit of a run is put in force here, and nowhere else.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTableError;
use wasmtime::{AsContext, Store, Trap};
use wasmtime_wasi::I32Exit;

use super::engine::METERED;
use super::error::SandboxError;
use super::limiter::MemoryLimiter;
use super::meter::{Meter, Metered};
use super::ready::Ready;
use super::state::{GuestState, MAX_HANDLES, Surroundings, all_fuel_used, own_fuel_used};
use crate::events::Stream;
use crate::limits::{LimitKind, LimitReached, Limits, Usage};

/// What a guest is entered for.
pub(super) trait Entry<G> {
    /// What it hands over when it comes to its end.
    type Returned;

    /// Calls the guest.
    fn enter(
        self,
        guest: &G,
        store: &mut Store<GuestState>,
    ) -> impl Future<Output = wasmtime::Result<Self::Returned>> + Send;
}

/// The world of one entry, and what of its budget is gone before it begins.
pub(super) struct Drive<'a> {
    pub(super) surroundings: Surroundings,
    pub(super) started: Instant,
    /// Fuel that was used on its behalf before: it counts, and is not there any more.
    pub(super) fuel_before: u64,
    /// The guest's name, for errors.
    pub(super) name: &'a str,
    /// The most that one call between guest and host may carry.
    pub(super) carried_bytes: u64,
}

/// An entry that is over.
pub(super) struct Driven<G, T> {
    pub(super) end: Result<T, Stopped>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) usage: Usage,
    /// The guest, which has nothing of the world in its hands any more.
    pub(super) ready: Ready<G>,
}

/// Why a guest did not come to its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The caller did not want any more.
    Cancelled,
    /// A limit.
    Limit(LimitReached),
    /// It ended itself with a status.
    Exited(i32),
    /// A trap that no limit explains.
    Trapped(String),
}

impl Drive<'_> {
    /// Enters the guest and waits for the end.
    ///
    /// Cancel-safe: dropping the future drops the guest and cancels its calls.
    ///
    /// # Errors
    /// The guest could not be entered.
    pub(super) async fn drive<G, E: Entry<G>>(
        self,
        ready: Ready<G>,
        entry: E,
        cancel: &CancellationToken,
    ) -> Result<Driven<G, E::Returned>, SandboxError> {
        let Self { surroundings, started, fuel_before, name, carried_bytes } = self;
        let Ready { mut store, guest, start_fuel } = ready;
        let limits = surroundings.limits.clone();
        let failed = |source| SandboxError::Instantiate { name: name.to_owned(), source };
        let time = store.data().clock.handed_over(own_fuel_used(&store.as_context()));
        if METERED {
            store.set_fuel(limits.fuel.saturating_sub(fuel_before)).map_err(failed)?;
        }
        // One call between guest and host carries at most what the guest itself may have, so the
        // host's copies of it are bounded. What is too much for its purpose is refused by whoever
        // looks at it, with the name of the limit, which a bound here could not tell.
        let carried = carried_bytes.min(limits.memory_bytes).min(Limits::MAX_MEMORY_BYTES);
        store.set_hostcall_fuel(usize::try_from(carried).unwrap_or(usize::MAX));
        let pauses = surroundings.calls.pauses();
        store.data_mut().adopt(surroundings, time)?;

        let mut computed = Duration::ZERO;
        let end = {
            let mut run = std::pin::pin!(entry.enter(&guest, &mut store));
            let metered =
                Meter { inner: run.as_mut(), computed: &mut computed, limit: limits.compute_time };
            // While a person is asked on the run's behalf, its deadline stands still.
            let deadline = pauses.elapse(started.into(), limits.deadline);
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(End::Cancelled),
                () = deadline => Err(End::Deadline),
                metered = metered => match metered {
                    Metered::Done(result) => result.map_err(End::Failed),
                    Metered::OutOfTime => Err(End::OutOfComputeTime),
                },
            }
        };
        let fuel = all_fuel_used(&store.as_context());
        let wall = started.elapsed();
        let state = store.data();
        let end = end.map_err(|end| stopped(end, &limits, state, Times { fuel, computed, wall }));
        let console = state.lock_console();
        let (stdout, stderr) = (console.text(Stream::Stdout), console.text(Stream::Stderr));
        let usage = Usage {
            fuel,
            compute: computed,
            wall,
            memory_bytes: state.limiter.peak_bytes(),
            tool_calls: state.calls.count(),
            output_bytes: console.written(),
        };
        drop(console);
        store.data_mut().let_go();
        Ok(Driven { end, stdout, stderr, usage, ready: Ready { store, guest, start_fuel } })
    }
}

/// What made the guest stop before its end.
enum End {
    Failed(wasmtime::Error),
    OutOfComputeTime,
    Deadline,
    Cancelled,
}

#[derive(Clone, Copy)]
struct Times {
    fuel: u64,
    computed: Duration,
    wall: Duration,
}

fn stopped(end: End, limits: &Limits, state: &GuestState, used: Times) -> Stopped {
    let reached = |kind, limit, used| Stopped::Limit(LimitReached { kind, limit, used });
    match end {
        End::Cancelled => Stopped::Cancelled,
        End::Deadline => {
            reached(LimitKind::Deadline, milliseconds(limits.deadline), milliseconds(used.wall))
        }
        End::OutOfComputeTime => reached(
            LimitKind::ComputeTime,
            milliseconds(limits.compute_time),
            milliseconds(used.computed),
        ),
        End::Failed(error) => trapped(&error, limits, state, used),
    }
}

/// Finds out why the guest was stopped from inside.
fn trapped(error: &wasmtime::Error, limits: &Limits, state: &GuestState, used: Times) -> Stopped {
    if let Some(reached) = error.downcast_ref::<LimitReached>() {
        return Stopped::Limit(*reached);
    }
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        return Stopped::Exited(*status);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return Stopped::Trapped(format!(
            "the script keeps more than {MAX_HANDLES} files, directories and waits open at once"
        ));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Stopped::Limit(LimitReached {
            kind: LimitKind::Fuel,
            limit: limits.fuel,
            used: used.fuel,
        }),
        Some(Trap::StackOverflow) => Stopped::Limit(LimitReached {
            kind: LimitKind::Stack,
            limit: Limits::STACK_BYTES,
            used: Limits::STACK_BYTES,
        }),
        // A language runtime that cannot get memory for its own needs gives up by trapping.
        Some(_) if state.limiter.refused_bytes().is_some() => {
            Stopped::Limit(memory_reached(&state.limiter))
        }
        _ => Stopped::Trapped(format!("{error:#}")),
    }
}

/// The memory limit, as a guest met it.
pub(super) fn memory_reached(limiter: &MemoryLimiter) -> LimitReached {
    LimitReached {
        kind: LimitKind::Memory,
        limit: limiter.limit_bytes(),
        // Python gives up some wishes by itself, without asking us: then what it has is all we know.
        used: limiter.refused_bytes().unwrap_or(limiter.peak_bytes()),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How much of a text that a guest hands over at its end is kept: error messages, tracebacks.
const HANDED_OVER_BYTES: usize = 1 << 20;

/// Keeps the beginning of a text. A guest may hand over as much as it has memory.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > HANDED_OVER_BYTES {
        text.truncate(text.floor_char_boundary(HANDED_OVER_BYTES));
        text.shrink_to_fit();
    }
    text
}
