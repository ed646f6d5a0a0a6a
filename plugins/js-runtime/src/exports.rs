//! The component's exports, and the function that is run before the snapshot.

use std::cell::UnsafeCell;

use crate::bindings::exports::toolcell::guest::plugin::{
    Definition, Guest as Plugin, Output, Refusal,
};
use crate::bindings::exports::toolcell::guest::script::{Failure, Guest, Program};
use crate::{engine, host, plugin, program};

struct Component;

crate::bindings::export!(Component with_types_in crate::bindings);

impl Guest for Component {
    fn run(program: Program) -> Result<Option<String>, Failure> {
        program::run(&program, false)
    }

    fn run_kept(program: Program) -> Result<Option<String>, Failure> {
        program::run(&program, true)
    }
}

impl Plugin for Component {
    fn list_tools() -> Vec<Definition> {
        plugin::list()
    }

    fn call_tool(name: String, arguments: String) -> Result<Output, Refusal> {
        plugin::call(&name, &arguments)
    }
}

/// What passes between the guest and whoever builds a plugin of it.
struct Passed(UnsafeCell<Vec<u8>>);

// SAFETY: a wasm guest has one thread.
unsafe impl Sync for Passed {}

static PASSED: Passed = Passed(UnsafeCell::new(Vec::new()));

/// Room for a plugin's file name, a zero byte and its source. Called after [`start`].
#[unsafe(export_name = "plugin-room")]
extern "C" fn plugin_room(length: usize) -> *mut u8 {
    // SAFETY: one thread; the caller writes before it calls `plugin_load`.
    let passed = unsafe { &mut *PASSED.0.get() };
    *passed = vec![0; length];
    passed.as_mut_ptr()
}

/// Runs the plugin whose source was put there. Gives the length of a refusal in words, 0 for none.
#[unsafe(export_name = "plugin-load")]
extern "C" fn plugin_load() -> usize {
    // SAFETY: as above.
    let passed = unsafe { &mut *PASSED.0.get() };
    let bytes = std::mem::take(passed);
    host::shut();
    let done = match std::str::from_utf8(&bytes).ok().and_then(|text| text.split_once('\0')) {
        Some((name, source)) => plugin::load(name, source),
        None => Err("the plugin's source is no UTF-8".to_owned()),
    };
    host::open();
    let words = done.err().unwrap_or_default();
    let length = words.len();
    *passed = words.into_bytes();
    length
}

/// Where the refusal is.
#[unsafe(export_name = "plugin-refusal")]
extern "C" fn plugin_refusal() -> *const u8 {
    // SAFETY: as above.
    unsafe { (*PASSED.0.get()).as_ptr() }
}

/// Called once, when the component is made of this module.
#[unsafe(export_name = "wizer-initialize")]
extern "C" fn start() {
    engine::start();
    program::warm_up();
    host::open();
}

/// QuickJS asks for the time here, in microseconds since 1970. While the snapshot is made there is none.
#[unsafe(no_mangle)]
extern "C" fn __rquickjs_host_now_us() -> f64 {
    host::wall_us()
}
