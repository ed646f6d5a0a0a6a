//! What a guest can call, one file per interface: convert, hand on, convert back. Nothing here
//! decides; a refusal comes from the broker.

mod asks;
mod clocks;
mod console;
mod events;
mod prompts;
mod resources;
mod state;
pub(super) mod stdio;
mod tools;

use wasmtime::component::Linker;

use super::state::GuestState;

/// Adds everything that a guest may import, and nothing else, to a linker.
///
/// # Errors
/// The names clash: an error of ours.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    // WASI over a context that holds no network, no environment and only the directories that were
    // given. Only the clocks are ours, so shadowing is allowed for that one step.
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    clocks::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    console::add_to_linker(linker)?;
    tools::add_to_linker(linker)?;
    resources::add_to_linker(linker)?;
    prompts::add_to_linker(linker)?;
    events::add_to_linker(linker)?;
    state::add_to_linker(linker)?;
    asks::add_to_linker(linker)
}
