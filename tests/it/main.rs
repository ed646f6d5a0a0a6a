//! Everything through the front door, told in the words of `toolcell_tests`.

mod attacks;
mod bad_config;
mod broker;
mod check;
mod cli;
mod config;
mod faults;
mod files;
mod grants;
mod hosts;
mod library;
mod limits;
mod monitor;
mod oauth;
mod python;
mod replayable;
mod resources;
mod runs;
mod runtimes;
mod tidy;
mod upstream;
mod upstream_http;
mod upstream_sse;
