//! `wasi:clocks`, served from the run's own clock: a guest has no other time.
//!
//! The functions are written against the linker, not against wasmtime-wasi's traits, because the
//! time depends on the fuel used so far and only a store context knows that.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{WasiCtxView, WasiView};

use crate::sandbox::clock::RunClock;
use crate::sandbox::state::{GuestState, fuel_used};

/// The version of WASI that wasmtime-wasi serves; a guest of any 0.2 finds it.
const MONOTONIC: &str = "wasi:clocks/monotonic-clock@0.2.12";
const WALL: &str = "wasi:clocks/wall-clock@0.2.12";

/// The finest step that a guest can tell apart, in nanoseconds.
const RESOLUTION: u64 = 1;

pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut monotonic = linker.instance(MONOTONIC)?;
    monotonic.func_wrap("now", |store, ()| Ok((nanoseconds(monotonic_now(&store)),)))?;
    monotonic.func_wrap("resolution", |_store, ()| Ok((RESOLUTION,)))?;
    monotonic.func_wrap("subscribe-instant", |store, (when,): (u64,)| {
        let wait = Duration::from_nanos(when).saturating_sub(monotonic_now(&store));
        Ok((sleep(store, wait)?,))
    })?;
    monotonic.func_wrap("subscribe-duration", |store, (wait,): (u64,)| {
        Ok((sleep(store, Duration::from_nanos(wait))?,))
    })?;

    let mut wall = linker.instance(WALL)?;
    wall.func_wrap("now", |store: StoreContextMut<'_, GuestState>, ()| {
        let now = store.data().clock.wall(fuel_used(&store));
        Ok((Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() },))
    })?;
    wall.func_wrap("resolution", |_store, ()| {
        Ok((Datetime { seconds: 0, nanoseconds: RESOLUTION as u32 },))
    })
}

fn monotonic_now(store: &StoreContextMut<'_, GuestState>) -> Duration {
    store.data().clock.monotonic(fuel_used(store))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn sleep(
    mut store: StoreContextMut<'_, GuestState>,
    wait: Duration,
) -> wasmtime::Result<Resource<DynPollable>> {
    let clock = Arc::clone(&store.data().clock);
    let fuel = fuel_used(&store);
    let WasiCtxView { table, .. } = store.data_mut().ctx();
    let sleep = table.push(Sleep { wait, fuel, clock, over: false })?;
    subscribe(table, sleep)
}

/// A wait that moves the run's clock when it is over.
struct Sleep {
    wait: Duration,
    fuel: u64,
    clock: Arc<RunClock>,
    over: bool,
}

#[async_trait]
impl Pollable for Sleep {
    async fn ready(&mut self) {
        if self.over {
            return;
        }
        tokio::time::sleep(self.wait).await;
        self.over = true;
        self.clock.elapsed_wait(self.wait, self.fuel);
    }
}
