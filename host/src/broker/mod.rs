//! The one road from a guest to an upstream. Every call takes the same steps in the same order:
//!
//! 1. **count** it against the run's limits;
//! 2. **grant**: is the tool the run's to see, and do the operator's rules allow these arguments;
//! 3. **check** the arguments against the tool's own schema;
//! 4. **journal** the request;
//! 5. **call** the upstream within the run's time;
//! 6. **bound** the answer;
//! 7. **journal** what the guest saw of it.
//!
//! Reads of resources and prompts are calls too, with the same steps (`offers`); what a server says
//! while it works is told to whoever watches (`said`).
//!
//! Tools of plugins are called on the same road (`plugins`): they run here, on what their caller may
//! use (`fuel`), and what they call in turn takes a road like this one, which is narrower. What a
//! plugin asks of whoever is behind its caller is in `asks`.
//!
//! A step that refuses ends the call with a value in words that a model can act on. Nothing here
//! knows wasm, and nothing here holds a connection or a credential.

mod arguments;
mod asks;
mod call;
mod context;
mod error;
mod fuel;
mod offers;
mod outage;
mod plugins;
mod run;
mod said;

pub use context::{CallFailure, CallLog, CallRecord, RunContext, Session, SessionScope};
pub use outage::{Outage, OutageReason};
pub use plugins::{
    Catalogs, MAX_PLUGIN_DEPTH, PluginCall, PluginEnd, PluginGrants, PluginState, PluginTools,
};
pub use run::Broker;
