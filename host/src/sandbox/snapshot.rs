//! Makes a component of a guest that is a core module: its start-up code is run once, here, and what
//! its memory holds then is where every instance of it begins.
//!
//! The code that runs is the guest's, and for a plugin also its author's source text. It is metered and
//! bounded in memory, and whatever it imports is a trap: it can compute, and nothing else.

use futures::executor::block_on;
use wasmtime::{
    Config, Engine, Instance, Linker, Module, Store, StoreLimits, StoreLimitsBuilder, Val,
};
use wasmtime_wizer::{InstanceState, SnapshotVal, Wizer};
use wit_component::ComponentEncoder;

/// What the start-up code may compute.
const FUEL: u64 = 20_000_000_000;

/// What it may have in memory.
const MEMORY_BYTES: usize = 256 << 20;

/// Bytes of its stack.
const STACK_BYTES: usize = 2 << 20;

/// The guest's start-up function.
const START: &str = "wizer-initialize";

/// A component whose instances begin where the start-up code of this core module ended.
///
/// # Errors
/// The module is none, has no start-up function, or that function failed.
pub(super) fn snapshot(module: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let mut config = Config::new();
    config.consume_fuel(true).max_wasm_stack(STACK_BYTES).wasm_backtrace_max_frames(None);
    let engine = Engine::new(&config)?;
    let limits = StoreLimitsBuilder::new().memory_size(MEMORY_BYTES).build();
    let mut store: Store<StoreLimits> = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    store.set_fuel(FUEL)?;

    let mut wizer = Wizer::new();
    wizer.init_func(START);
    let (context, instrumented) = wizer.instrument(module)?;
    let compiled = Module::new(&engine, &instrumented)?;
    let mut linker = Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&compiled)?;
    let instance = linker.instantiate(&mut store, &compiled)?;
    instance.get_typed_func::<(), ()>(&mut store, START)?.call(&mut store, ())?;
    // Nothing is waited for: the state is read from memory.
    let module = block_on(wizer.snapshot(&context, &mut Started { store: &mut store, instance }))?;
    let encoded = ComponentEncoder::default().validate(true).module(&module);
    let encoded = encoded.and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| wasmtime::Error::msg(format!("{error:#}")))
}

/// An instance after its start-up, to be read by wizer under the names that it gave.
struct Started<'a> {
    store: &'a mut Store<StoreLimits>,
    instance: Instance,
}

impl InstanceState for Started<'_> {
    async fn global_get(&mut self, name: &str, _: wasmparser::ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut *self.store, name);
        match global.expect("wizer exported it").get(&mut *self.store) {
            Val::I32(value) => SnapshotVal::I32(value),
            Val::I64(value) => SnapshotVal::I64(value),
            Val::F32(value) => SnapshotVal::F32(value),
            Val::F64(value) => SnapshotVal::F64(value),
            Val::V128(value) => SnapshotVal::V128(value.as_u128()),
            _ => unreachable!("wizer asks for no references"),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let memory = self.instance.get_memory(&mut *self.store, name);
        contents(memory.expect("wizer exported it").data(&*self.store));
    }
}
