//! Plugins: installed components whose exports are tools.
//!
//! A plugin is seen by grants, scripts and other plugins exactly as a server is: its installed name
//! is an upstream's name, its tools are `plugin.tool`.
//!
//! - [`manifest`]: what its author says of it, and what it asks for.
//! - [`settings`]: what the operator says of it: what it may do at most, and how much.
//! - [`installed`]: the folder in which installed plugins lie.
//! - [`templates`]: the project that an author begins with; [`build`]: how it becomes a component.
//! - [`registry`]: pulled from and pushed to where others get them; [`signature`]: who signed them.
//! - [`lock`]: what was accepted, by digest; [`growth`]: what a new version has or asks for beyond that.

pub mod build;
pub mod growth;
pub mod installed;
pub mod lock;
pub mod manifest;
pub mod registry;
pub mod settings;
pub mod signature;
pub mod templates;
