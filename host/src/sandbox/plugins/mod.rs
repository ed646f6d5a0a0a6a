//! Plugins: components whose exports are tools. A plugin is inspected without running it, compiled
//! once, asked for its tools in an instance that is thrown away, and then called, each call in a
//! fresh instance unless its operator keeps one.
//!
//! Whose plugin it is, what it may call and what its state is are others' business: see
//! `host/src/plugins` and the broker.

mod answer;
pub(super) mod cached;
mod entries;
mod error;
mod inspect;
mod listing;
mod load;
mod loaded;
mod names;
#[cfg(test)]
mod tests;
mod typed;

use std::sync::Arc;

use serde_json::Value;

pub use error::PluginError;
pub use loaded::{KeptPlugin, LoadedPlugin};

use crate::limits::{LimitReached, Usage};
use crate::tool::{ToolHints, ToolOutput};

/// A tool of a plugin, checked.
#[derive(Clone, Debug)]
pub struct PluginTool {
    /// Its name: `[A-Za-z0-9_.-]{1,64}`, and no other tool of the plugin has it.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it does, in its author's words.
    pub description: Option<String>,
    /// JSON Schema of its arguments: an object schema.
    pub input_schema: Arc<Value>,
    /// JSON Schema of its structured content.
    pub output_schema: Option<Arc<Value>>,
    /// Its author's claims.
    pub hints: ToolHints,
}

/// How a component says what its tools are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// It exports `toolcell:guest/plugin`.
    Toolcell,
    /// It exports plain functions, each of which is a tool.
    Typed,
}

/// What can be said of a plugin without running it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Inspection {
    /// What kind of plugin it is.
    pub kind: PluginKind,
    /// What it imports, sorted.
    pub imports: Vec<String>,
    /// What it exports, sorted; a function in an interface is `interface#function`.
    pub exports: Vec<String>,
    /// The file's size.
    pub size_bytes: u64,
    /// The file's SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// The version of `toolcell:guest` that it was built for, if it knows of it.
    pub wit: Option<String>,
}

/// How a call of a plugin's tool ended, and what it used.
#[derive(Debug)]
pub struct PluginExecution {
    /// How it ended.
    pub outcome: PluginOutcome,
    /// What is kept of its standard output.
    pub stdout: String,
    /// What is kept of its standard error.
    pub stderr: String,
    /// What it used.
    pub usage: Usage,
}

/// How a call of a plugin's tool ended.
#[derive(Debug)]
pub enum PluginOutcome {
    /// The tool answered, if only that it failed.
    Answered(ToolOutput),
    /// The plugin says that the arguments do not fit; it did nothing.
    InvalidArguments {
        /// JSON Pointer of the value that does not fit; empty for the arguments as a whole.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// The plugin says that it has no such tool; in its words, or the tool's name.
    UnknownTool(String),
    /// A limit stopped it.
    LimitReached(LimitReached),
    /// It broke its own machinery, or handed over what is no answer.
    Trapped(String),
    /// The caller cancelled it.
    Cancelled,
}
