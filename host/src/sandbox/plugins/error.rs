//! Why a file is no plugin. Each text says what the file is, what is wrong with it and what to do; it
//! goes on after "the plugin NAME" or a file's name and a colon.

use crate::limits::LimitReached;
use crate::sandbox::SandboxError;

/// Why a file cannot be used as a plugin. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// Larger than any plugin may be.
    #[error(
        "it has {size_bytes} bytes; a plugin may have {limit_bytes}. Build it in release mode, and strip it"
    )]
    TooLarge {
        /// What it has.
        size_bytes: u64,
        /// What it may have.
        limit_bytes: u64,
    },
    /// No WebAssembly.
    #[error("it is not WebAssembly: {found}")]
    NotWasm {
        /// What it looks like instead.
        found: String,
    },
    /// It begins as WebAssembly does, but breaks off or breaks the rules.
    #[error(
        "it is damaged, or uses what this toolcell does not know: {detail}. Build or download it anew"
    )]
    Damaged {
        /// Where and how.
        detail: String,
    },
    /// More nested, or more numerous, than any honest plugin.
    #[error("it has {count} {what}; a plugin may have {limit}")]
    TooComplex {
        /// What there is too much of.
        what: &'static str,
        /// How many there are, or at least.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A core module that says nothing of our WIT.
    #[error(
        "it is a core module, which says nothing about its tools. Build it for `wasm32-wasip2`, or use \
         the guest SDK, which writes the WIT of `toolcell:guest` into it"
    )]
    CoreModule,
    /// A core module that could not be turned into a component.
    #[error("it is a core module that cannot be made a component: {detail}")]
    NoComponent {
        /// The linker's words.
        detail: String,
    },
    /// It was built for a WIT that we do not have.
    #[error(
        "it was built for toolcell:guest {built_for}, this toolcell offers {offered}; {advice}"
    )]
    WitVersion {
        /// Its version.
        built_for: String,
        /// Ours.
        offered: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// It imports what we do not offer.
    #[error("it imports what a plugin cannot have: {}", .imports.join("; "))]
    UnknownImports {
        /// The imports, each with what to do instead.
        imports: Vec<String>,
    },
    /// Its exports are another kind of program's.
    #[error("it is {found}, not a plugin: {advice}")]
    OtherProgram {
        /// What it is.
        found: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// It exports no function.
    #[error(
        "it exports neither `toolcell:guest/plugin` nor any function of its own, so it has no tools"
    )]
    NoTools,
    /// A function takes or returns what JSON cannot carry.
    #[error("its function `{function}` cannot be a tool: {problem}")]
    UntypedFunction {
        /// Which function.
        function: String,
        /// What is in the way.
        problem: String,
    },
    /// More tools than any model can read.
    #[error("it lists {count} tools; a plugin may have {limit}")]
    TooManyTools {
        /// How many it lists.
        count: usize,
        /// How many it may list.
        limit: usize,
    },
    /// A tool that nobody could use.
    #[error("its tool `{tool}` {problem}")]
    Tool {
        /// The name, as it says.
        tool: String,
        /// What is wrong.
        problem: String,
    },
    /// No instance of it can be made: it breaks down at its start, or wants more than it may have.
    #[error("it cannot be started: {0}")]
    Start(String),
    /// It broke down when it was asked for its tools.
    #[error("it breaks down when it is asked for its tools: {0}")]
    ListingTrapped(String),
    /// It had not listed its tools when it reached a limit that no listing needs.
    #[error("it does not come to an end when it is asked for its tools: {0}")]
    ListingLimit(LimitReached),
    /// The host's own trouble, or the engine's with the component.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}
