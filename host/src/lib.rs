//! toolcell: a WebAssembly host for tool code.
//!
//! One host process owns the connections to MCP servers. Code that an agent has just written runs
//! in a sandbox of its own, sees the tools it was granted as functions and nothing else, and is
//! bounded by fuel, memory, time, calls and output.
//!
//! Start with [`Host`] and [`Script`]. The modules, from the outside to the inside:
//!
//! - [`runs`]: one execution of one piece of code, started, watched, stopped, reported.
//! - [`sandbox`]: wasmtime and nothing else; what a guest sees and what bounds it.
//! - [`broker`]: the one road from a guest to an upstream.
//! - [`grants`]: who may call what; plain functions over values.
//! - [`journal`]: the record of what left a run and what came back.
//! - [`upstream`]: the MCP servers that we call; connections, processes, credentials.
//! - [`monitor`]: watches the servers, and tells people when one goes down or comes back.
//! - [`plugins`]: installed components whose exports are tools.
//! - [`config`]: `toolcell.toml` and its kin. [`stubs`]: typed signatures for people and models.
//! - [`tool`], [`offers`], [`events`], [`limits`], [`pauses`], [`language`], [`ids`]: the values that all of
//!   them share.

pub mod broker;
pub mod config;
pub mod events;
pub mod grants;
mod host;
pub mod ids;
pub mod journal;
pub mod language;
pub mod limits;
pub mod monitor;
pub mod offers;
pub mod pauses;
pub mod plugins;
pub mod runs;
pub mod sandbox;
pub mod server;
pub mod stubs;
pub mod tool;
pub mod upstream;

pub use host::{CallOptions, Host, HostBuilder, HostError, Reloaded, default_cache_folder};
pub use runs::{RunReport, Script};

/// The README's Rust is compiled with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
