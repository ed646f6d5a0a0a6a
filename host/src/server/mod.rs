//! What we show the world. Everything here translates, and decides nothing: runs, grants, limits and
//! records are the host's.
//!
//! - [`mcp`] is the façade: toolcell as an MCP server, for every agent that is an MCP client.
//! - [`http`] serves it over HTTP, to many.
//! - [`access`] decides who comes in over HTTP.
//! - [`search`] ranks tools for a query.
//! - [`settings`] is what the operator decided about serving.

pub mod access;
pub mod http;
pub mod mcp;
mod random;
pub mod search;
pub mod settings;
