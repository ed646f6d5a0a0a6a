//! Why a sandbox could not be made, and how a guest's execution ended. The two are kept apart: the
//! first is the operator's business, the second the caller's.

use std::path::PathBuf;

use crate::limits::LimitReached;
use crate::tool::Json;

/// A sandbox could not be made. Nothing of the guest's code ran.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine refused its configuration.
    #[error("cannot start the WebAssembly engine")]
    Engine(#[source] wasmtime::Error),
    /// A component is no component, or asks for what we do not offer.
    #[error("cannot load the component {name}")]
    Component {
        /// Which one.
        name: String,
        /// The engine's words.
        #[source]
        source: wasmtime::Error,
    },
    /// No instance could be made.
    #[error("cannot make an instance of {name}")]
    Instantiate {
        /// Of which component.
        name: String,
        /// The engine's words.
        #[source]
        source: wasmtime::Error,
    },
    /// Every place for a guest is taken.
    #[error(
        "all sandboxes of this host are in use, by runs, or by sessions that are kept: wait until a run \
         ends or reset a session, then try again"
    )]
    Full(#[source] wasmtime::Error),
    /// A cache file could not be read or written.
    #[error("cannot {action} {path} (the cache folder can be moved with TOOLCELL_CACHE_DIR)", path = .path.display())]
    Cache {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The cache folder could be changed by other users, whose code would then run as ours.
    #[error(
        "the cache folder {path} {problem}; compiled code is run from it, so it must be yours alone \
         (chmod 700, or another folder in TOOLCELL_CACHE_DIR)",
        path = .path.display()
    )]
    CacheNotPrivate {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// A language runtime could not be built from its sources.
    #[error("cannot build the {runtime} runtime: {step} failed{detail}")]
    Build {
        /// Which one.
        runtime: &'static str,
        /// Where it failed, as the command that was run.
        step: String,
        /// The end of what the command printed, or why it could not be started.
        detail: String,
    },
    /// A directory for the guest cannot be opened.
    #[error("cannot give the guest the directory {path}", path = .path.display())]
    Directory {
        /// The directory on the host.
        path: PathBuf,
        /// Why.
        #[source]
        source: wasmtime::Error,
    },
}

/// How a guest's execution ended.
#[derive(Debug)]
pub enum Outcome {
    /// It came to its end. The value is JSON, if there is one.
    Value(Option<Json>),
    /// The program failed on its own account.
    Failed(Failure),
    /// A limit stopped it, or it gave up at one.
    LimitReached {
        /// Which, with the numbers.
        reached: LimitReached,
        /// Where in the program, if the program could still tell.
        exception: Option<Exception>,
    },
    /// The caller cancelled it.
    Cancelled,
    /// The guest broke its own machinery: a trap that no limit explains.
    Trapped(String),
}

/// An exception as the language shows it.
#[derive(Clone, Debug)]
pub struct Exception {
    /// The exception's class.
    pub class: String,
    /// Its message.
    pub message: String,
    /// The program's own frames.
    pub traceback: String,
}

/// A program's own failure.
#[derive(Debug)]
pub enum Failure {
    /// The source is not a program.
    Syntax(Exception),
    /// Nothing caught this exception.
    Exception(Exception),
    /// Nothing caught this failure of a call.
    Call {
        /// The tool, `server.tool`.
        tool: String,
        /// The kind, as in the WIT, or `tool`.
        kind: String,
        /// The exception that carried it.
        exception: Exception,
    },
    /// The program ended itself with this status.
    Exit(i32),
    /// The value cannot be given as JSON; why.
    Value(String),
}
