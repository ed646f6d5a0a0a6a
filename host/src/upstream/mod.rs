//! The MCP servers that we call: their processes and connections, and nothing of wasm.
//!
//! An upstream is connected at the first use and shared by all runs. Every step has a deadline.
//! Credentials live here and nowhere else: no type outside this module can hold or print one.

pub mod settings;
