//! Plugins: installed components whose exports are tools.
//!
//! A plugin is seen by grants, scripts and other plugins exactly as a server is: its installed name
//! is an upstream's name, its tools are `plugin.tool`.
//!
//! - [`manifest`]: what its author says of it, and what it asks for.
//! - [`settings`]: what the operator says of it: what it may do at most, and how much.
//! - [`installed`]: the folder in which installed plugins lie.
//! - [`templates`]: the project that an author begins with; [`build`]: how it becomes a component.
//! - [`cases`]: the tests of a plugin, as its author writes them.
//! - [`registry`]: pulled from and pushed to where others get them; [`signature`]: who signed them;
//!   [`signed`]: whether that is who the operator wants.
//! - [`PluginSet`] (`set`): those of a host, loaded, and replaced when their files change; `calling`: one
//!   call; `kept`: the instances of those that are `stateful`; `state`: what they keep for a session.
//! - [`lock`]: what was accepted, by digest; [`growth`]: what a new version has or asks for beyond that.

pub mod build;
mod calling;
pub mod cases;
pub mod growth;
pub mod installed;
mod kept;
pub mod lock;
pub mod manifest;
pub mod registry;
mod set;
pub mod settings;
pub mod signature;
pub mod signed;
mod state;
pub mod templates;

pub use set::{EmbeddedPlugin, PluginInfo, PluginSet, PluginStanding};
