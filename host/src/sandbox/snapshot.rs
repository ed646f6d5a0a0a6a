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

/// The guest's functions by which it is given the source of a plugin: room for it, its loading, and
/// where the words of a refusal are.
const PLUGIN: [&str; 3] = ["plugin-room", "plugin-load", "plugin-refusal"];

/// The longest refusal that is read, in bytes.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// Why there is no component.
pub(super) enum NoSnapshot {
    /// The author's source was refused, in words for him.
    Source(String),
    /// The module or the engine has a fault.
    Engine(wasmtime::Error),
}

impl From<wasmtime::Error> for NoSnapshot {
    fn from(error: wasmtime::Error) -> Self {
        Self::Engine(error)
    }
}

/// A component whose instances begin where the start-up code of this core module ended.
///
/// # Errors
/// The module is none, has no start-up function, or that function failed.
pub(super) fn snapshot(module: &[u8]) -> wasmtime::Result<Vec<u8>> {
    make(module, None).map_err(|failure| match failure {
        NoSnapshot::Engine(error) => error,
        NoSnapshot::Source(words) => wasmtime::Error::msg(words),
    })
}

/// The same, but after its start-up code the guest has loaded the source of a plugin, whose file has
/// this name.
///
/// # Errors
/// As [`snapshot`], or the source is refused.
pub(super) fn snapshot_of_plugin(
    module: &[u8],
    name: &str,
    source: &str,
) -> Result<Vec<u8>, NoSnapshot> {
    make(module, Some((name, source)))
}

fn make(module: &[u8], plugin: Option<(&str, &str)>) -> Result<Vec<u8>, NoSnapshot> {
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
    if let Some((name, source)) = plugin {
        load(&mut store, &instance, name, source)?;
    }
    // Nothing is waited for: the state is read from memory.
    let module = block_on(wizer.snapshot(&context, &mut Started { store: &mut store, instance }))?;
    let encoded = ComponentEncoder::default().validate(true).module(&module);
    let encoded = encoded.and_then(|mut encoder| encoder.encode());
    Ok(encoded.map_err(|error| wasmtime::Error::msg(format!("{error:#}")))?)
}

/// Has the guest load a plugin's source.
fn load(
    store: &mut Store<StoreLimits>,
    instance: &Instance,
    name: &str,
    source: &str,
) -> Result<(), NoSnapshot> {
    let [room, load, refusal] = PLUGIN;
    let memory = instance
        .get_memory(&mut *store, "memory")
        .ok_or_else(|| wasmtime::Error::msg("the guest has no memory"))?;
    let passed = [name.as_bytes(), b"\0", source.as_bytes()].concat();
    let length = u32::try_from(passed.len()).map_err(wasmtime::Error::from)?;
    let at = instance.get_typed_func::<u32, u32>(&mut *store, room)?.call(&mut *store, length)?;
    memory.write(&mut *store, at as usize, &passed).map_err(wasmtime::Error::from)?;
    let load = instance.get_typed_func::<(), u32>(&mut *store, load)?;
    let refused = load.call(&mut *store, ()).map_err(|trap| trapped(name, trap))?;
    if refused == 0 {
        return Ok(());
    }
    let at = instance.get_typed_func::<(), u32>(&mut *store, refusal)?.call(&mut *store, ())?;
    let at = at as usize;
    let length = (refused as usize).min(MAX_REFUSAL_BYTES);
    let words = memory.data(&*store).get(at..at.saturating_add(length)).unwrap_or_default();
    Err(NoSnapshot::Source(String::from_utf8_lossy(words).into_owned()))
}

/// A module that is never done loading, or that breaks the engine, is its author's.
fn trapped(name: &str, trap: wasmtime::Error) -> NoSnapshot {
    match trap.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::OutOfFuel) => NoSnapshot::Source(format!(
            "{name} computes without end while it is loaded: what it does belongs into its functions"
        )),
        Some(trap) => NoSnapshot::Source(format!("{name} cannot be loaded: {trap}")),
        None => NoSnapshot::Engine(trap),
    }
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
