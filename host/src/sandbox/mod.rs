//! Runs a guest in a WebAssembly sandbox of its own, and bounds it. wasmtime lives here and nowhere
//! else; nothing here knows of MCP, of connections or of credentials.
//!
//! A guest sees its imports (`imports/`, the WIT in `guest-sdk/wit`) and nothing more. One instance
//! serves one run and is dropped with it, so a guest that traps leaves nothing to the next; only a
//! session's instance serves that session's runs, one after another, and is dropped at a trap.

mod bindings;
mod cache;
mod calls;
mod clock;
mod console;
mod drive;
mod engine;
mod error;
mod execution;
mod imports;
mod limiter;
mod meter;
mod plugins;
mod ready;
mod runtimes;
mod snapshot;
mod state;

pub use cache::Cache;
pub use calls::{Abilities, CallRequest, Elicited, Exhausted, MAX_STATE_KEY_BYTES, RunCalls};
pub use error::{Exception, Failure, Outcome, SandboxError};
pub use execution::{Execution, KeptGuest, Program, Sandbox};
pub use plugins::{
    Inspection, KeptPlugin, LoadedPlugin, PluginError, PluginExecution, PluginKind, PluginOutcome,
    PluginTool,
};
pub use runtimes::{CachedRuntime, Progress};
pub(crate) use runtimes::{Componentize, PluginFailure, javascript_plugin};
pub use state::{GuestDirectory, Surroundings};
