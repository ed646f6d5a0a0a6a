//! toolcell: a WebAssembly host for tool code.

pub mod config;
pub mod grants;
pub mod ids;
pub mod limits;
pub mod stubs;
pub mod tool;
pub mod upstream;
