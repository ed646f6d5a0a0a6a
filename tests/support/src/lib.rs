//! The words in which the tests are told.
//!
//! | to have | say |
//! |---|---|
//! | the real `toolcell`, run to its end | [`Cli::new("run").file("a.py", "…").arg("a.py").run()`](Cli) |
//! | the same, with signals and waiting for its output | [`Cli::spawn`] |
//! | a real MCP server from npm or PyPI | [`fixtures::everything_stdio`], [`fixtures::time`], … |
//! | a real one over HTTP, that can be stopped and restarted | [`fixtures::everything_http`] |
//! | an MCP server on stdio that breaks one rule | [`fixtures::misbehaving`] |
//! | an MCP server over HTTP that fails as told | [`HttpFault`] |
//! | any fault, over any transport, at any moment | [`faulty::Faulty`] |
//! | an MCP server that wants OAuth, and its authorization server | [`OAuthServer`] |
//! | a real one over HTTP+SSE | [`fixtures::everything_sse`], [`fixtures::python_sse`] |
//! | a proxy, or TLS, before a server | [`Proxy::before`], [`TlsEnd::before`] |
//! | `toolcell serve` on a port of its own, and raw HTTP to it | [`Serving`] |
//! | the same with a bridge, and a web client of it | [`web::Bridged`], [`web::WebClient`] |
//! | the proof that no process is left | [`Marker`] |
//! | a client of `toolcell mcp` that sees every byte | [`Talking::legacy`], [`Talking::modern`] |
//! | an agent framework as a client of `toolcell` | [`clients::AUTOGEN`] and the others |
//! | AutoGen Studio's server and front end, and both bridges compared | [`studio::server`], [`studio::front_end`], … |
//! | a plugin of `tests/guests/`, built | [`guests::guest`] |
//! | cargo as a plugin's author runs it | [`guests::cargo`] |
//! | a real OCI registry, and the real cosign | [`registry::RealRegistry`], [`registry::Cosign`] |
//! | an OCI registry that lies | [`registry::LyingRegistry`] |
//! | a plugin of `plugins/`, built and installed | [`examples::install`] |
//! | to wait for a condition | [`wait_until`] |
//!
//! A server is a [`Server`]: a table of `toolcell.toml`, so that a test reads
//!
//! ```ignore
//! let marker = Marker::new();
//! let time = fixtures::time().marked(&marker);
//! let run = Cli::new("run").config(&time.toml("clock")).file("now.py", SCRIPT).arg("now.py").run();
//! run.success();
//! marker.assert_nothing_survives();
//! ```
//! Nothing here sleeps for a while and hopes: what has to be waited for is waited for, with a limit
//! that only a failure reaches. The real servers are installed by `cargo xtask test`.

pub mod cli;
pub mod clients;
pub mod examples;
pub mod faulty;
pub mod fixtures;
pub mod guests;
pub mod http_fault;
pub mod issuer;
pub mod oauth;
pub mod plain_tools;
pub mod processes;
pub mod proxy;
pub mod registry;
pub mod serving;
pub mod studio;
pub mod talking;
pub mod tiny_mcp;
pub mod web;

pub use cli::{Cli, Finished, Running, Signal};
pub use fixtures::Server;
pub use http_fault::{Fault, HttpFault};
pub use oauth::OAuthServer;
pub use processes::{Marker, wait_until};
pub use proxy::{Proxy, TlsEnd};
pub use serving::Serving;
pub use talking::Talking;
