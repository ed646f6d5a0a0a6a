//! What we show the world. Everything here translates, and decides nothing: runs, grants, limits and
//! records are the host's.
//!
//! - [`mcp`] is the façade: toolcell as an MCP server, for every agent that is an MCP client.
//! - [`search`] ranks tools for a query.

pub mod mcp;
pub mod search;
