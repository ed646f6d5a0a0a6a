//! The MCP servers that we call: their processes and connections, and nothing of wasm.
//!
//! An upstream is connected at the first use and shared by all runs. Every step has a deadline.
//! Credentials live here and nowhere else: no type outside this module can hold or print one.
//!
//! - [`Upstreams`] (`pool`) is the door: catalog, call, check, close; [`Caller`] is for whom.
//! - `connection` is one live link with a server, `handshake` how it begins in either era of the
//!   protocol, `catalog`, `offers`, `answer` and `contents` what is read over it, `inbox` and
//!   [`ClientHandler`] (`client`) what the server says and asks meanwhile.
//! - `check` is the operator's preflight, `health` what is known of each server, and since when.
//! - `transport` carries JSON-RPC (`message`): `stdio` to child processes, which `process` starts
//!   and `guard` makes sure to end; `streamable_http` and `sse`, by way of `http`, to servers
//!   on the net.
//! - [`auth`] is OAuth: tokens, where they are kept, and who is asked.
//! - `files` is the built-in upstream that serves directories, in this process.
//!
//! JSON-RPC is our own because a gateway must not lose what it carries: arguments and results pass
//! as the text that they are, where rmcp's typed client drops unknown fields, fails on unknown
//! content and waits forever for a message that it cannot read. From rmcp come the protocol's
//! names, versions and header rules.

mod about;
mod answer;
pub mod auth;
mod caller;
mod catalog;
mod check;
mod client;
mod connection;
mod contents;
pub mod encoding;
mod error;
mod files;
#[cfg(target_os = "linux")]
mod guard;
mod handshake;
mod health;
mod inbox;
mod message;
mod offers;
mod paging;
mod param_headers;
mod pool;
mod process;
pub mod recorded;
mod redact;
pub mod settings;
mod transport;
mod webhook;

pub use about::About;
pub use caller::{Caller, MissingCaller};
pub use catalog::Catalog;
pub use check::{CheckReport, PhaseTime};
pub use client::{
    CallContext, ClientCapabilities, ClientHandler, Refusal, ServerEvent, ServerNotice,
    ServerRequest,
};
pub use contents::{PromptMessage, PromptOutput, ResourceBody, ResourceContent, ResourceOutput};
pub use error::{Cause, UpstreamError};
pub use handshake::Era;
pub use health::{Health, HealthMark, ServerHealth, ServerState, Transition};
pub(crate) use health::{iso_time, one_line};
pub(crate) use message::write as write_message;
pub(crate) use param_headers::said_in_call;
pub use pool::{Access, DuplicateUpstream, Held, Listening, ResourceUpdates, Upstreams};
pub(crate) use transport::http::find_cause;
pub(crate) use webhook::Webhook;

#[cfg(test)]
mod tests;
