//! The wasmtime engine, narrowed to what toolcell uses: one configuration, one linker.

use std::hash::{Hash, Hasher};

use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

use super::error::SandboxError;
use super::imports;
use super::state::GuestState;
use crate::limits::Limits;

/// Room on a guest's stack for the host functions that it calls, beside [`Limits::STACK_BYTES`].
const HOST_STACK_BYTES: usize = 1 << 20;

/// Core modules in one component: a language runtime of CPython's kind is linked from fourteen.
const MAX_MODULES_PER_GUEST: u32 = 40;

/// Bytes of a used slot's memory that are wiped in place instead of being given back, so that the
/// next guest in it starts without page faults.
const KEEP_RESIDENT_BYTES: usize = 16 << 20;

/// Whether guests are metered. Always, except in the benchmark that shows what it costs.
pub(super) const METERED: bool = !cfg!(feature = "benchmark-unmetered");

/// An engine and what its guests may import. One per host; cheap to share.
pub(super) struct SandboxEngine {
    pub(super) engine: Engine,
    pub(super) linker: Linker<GuestState>,
}

impl SandboxEngine {
    /// An engine for `max_guests` at once, running, waiting and ready together.
    ///
    /// # Errors
    /// The engine refuses its configuration, which is an error of ours, or there is no address
    /// space for it.
    pub(super) fn new(max_guests: u32) -> Result<Self, SandboxError> {
        // The pool reserves address space for every guest it may ever have. Where that is not to be
        // had (`ulimit -v`, strict overcommit), guests are allocated one by one: slower, not other.
        let engine = Engine::new(&config(Some(max_guests))).or_else(|pooled| {
            tracing::warn!(cause = %pooled, "no address space for the pool; starting guests will be slower");
            Engine::new(&config(None))
        });
        let engine = engine.map_err(SandboxError::Engine)?;
        let mut linker = Linker::new(&engine);
        imports::add_to_linker(&mut linker).map_err(SandboxError::Engine)?;
        Ok(Self { engine, linker })
    }

    /// Changes whenever code compiled by this engine cannot be loaded by another: wasmtime's
    /// version, the settings that matter, the processor's features.
    fn compatibility(&self) -> u64 {
        let mut hasher = Blake3Hasher(blake3::Hasher::new());
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    /// What a file with code that this engine compiled is called.
    pub(super) fn code_file(&self) -> String {
        format!("{:016x}.cwasm", self.compatibility())
    }
}

fn config(pooled_guests: Option<u32>) -> Config {
    let mut config = Config::new();
    // Fuel is the only meter. It makes guests yield too, and wasmtime charges bulk operations by
    // the byte, so epochs, which would cost a second check at every loop, have nothing to add.
    config.consume_fuel(METERED);
    config.max_wasm_stack(Limits::STACK_BYTES as usize);
    config.async_stack_size(Limits::STACK_BYTES as usize + HOST_STACK_BYTES);
    config.cranelift_opt_level(OptLevel::Speed);
    config.memory_init_cow(true);
    config.wasm_backtrace_max_frames(None);
    config.concurrency_support(false);
    if let Some(max_guests) = pooled_guests {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(max_guests)
            .total_core_instances(max_guests * MAX_MODULES_PER_GUEST)
            .max_core_instances_per_component(MAX_MODULES_PER_GUEST)
            .max_core_instance_size(4 << 20)
            .max_component_instance_size(4 << 20)
            .total_memories(max_guests)
            .max_memories_per_component(4)
            .max_memory_size(Limits::MAX_MEMORY_BYTES as usize)
            .total_tables(max_guests * 4)
            .max_tables_per_component(20)
            .table_elements(40_000)
            .total_stacks(max_guests)
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
            .table_keep_resident(1 << 20)
            .pagemap_scan(Enabled::Auto);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// blake3 behind std's trait: std's own hashers promise nothing from one compiler to the next.
struct Blake3Hasher(blake3::Hasher);

impl Hasher for Blake3Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}
