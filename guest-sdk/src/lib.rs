//! Write tools for toolcell in Rust: functions that become MCP tools, and that call other tools.
//!
//! # An aggregator, from nothing to an answer
//!
//! A plugin that asks two servers at once, merges what they say, and says who failed.
//!
//! `Cargo.toml` needs `crate-type = ["cdylib"]`, and these:
//!
//! ```toml
//! [dependencies]
//! toolcell = { package = "toolcell-guest", version = "0.1" }
//! schemars = "1"
//! serde = { version = "1", features = ["derive"] }
//! ```
//!
//! `src/lib.rs`:
//!
//! ```
//! # extern crate toolcell_guest as toolcell;
//! use std::time::Duration;
//!
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//! use toolcell::{CallError, Failure, FanOut};
//!
//! /// One page that was found.
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
//! struct Hit {
//!     title: String,
//!     url: String,
//! }
//!
//! /// What the tool answers. Its schema is made of these types and comments.
//! #[derive(Debug, Serialize, JsonSchema)]
//! struct Found {
//!     /// The pages, each once.
//!     hits: Vec<Hit>,
//!     /// The servers that gave none, and why.
//!     missing: Vec<Failure>,
//! }
//!
//! // Tools of other servers, as functions. The manifest asks for them, and the operator grants them.
//! mod search {
//!     toolcell::import_tools!("search", {
//!         pub async fn search(query: &str, max_results: Option<u32>) -> Vec<crate::Hit>;
//!     });
//! }
//! mod wiki {
//!     toolcell::import_tools!("wiki", {
//!         #[name = "find-pages"]
//!         pub async fn find_pages(text: &str) -> Vec<crate::Hit>;
//!     });
//! }
//!
//! /// Asks several servers one question, and merges their answers.
//! ///
//! /// # Arguments
//! /// - `question`: what to look for, in words
//! /// - `at_most`: how many pages to give
//! #[toolcell::tool(read_only)]
//! async fn research(
//!     question: String,
//!     #[default(10)] at_most: usize,
//! ) -> Result<Found, CallError> {
//!     let branches = FanOut::new()
//!         .branch("search", search::search(&question, Some(20)))
//!         .branch("wiki", wiki::find_pages(&question))
//!         .each_within(Duration::from_secs(5))
//!         .await;
//!     let (answers, missing) = branches.split();
//!     let mut hits: Vec<Hit> = Vec::new();
//!     for hit in answers.into_iter().flat_map(|(_, hits)| hits) {
//!         if !hits.iter().any(|known| known.url == hit.url) {
//!             hits.push(hit);
//!         }
//!     }
//!     hits.truncate(at_most);
//!     Ok(Found { hits, missing })
//! }
//!
//! toolcell::plugin!(research);
//!
//! // Its test: natively, with `cargo test`, and without a server.
//! # fn main() {
//! use serde_json::json;
//!
//! let page = json!({"title": "WebAssembly", "url": "https://webassembly.org"});
//! let host = toolcell::testing::Host::new()
//!     .answer("search.search", json!([page]))
//!     .fail("wiki.find-pages", CallError::Unavailable("wiki cannot be reached".to_owned()));
//! let found = host.run(research("wasm".to_owned(), 10)).unwrap();
//! assert_eq!(found.hits[0].title, "WebAssembly");
//! assert_eq!(found.missing[0].branch, "wiki");
//! assert_eq!(found.missing[0].why, "wiki cannot be reached");
//! # let definition = toolcell::testing::definition::<research>();
//! # assert_eq!(definition.input_schema["properties"]["at_most"]["default"], 10);
//! # assert_eq!(definition.input_schema["required"], json!(["question"]));
//! # assert_eq!(definition.output_schema.unwrap()["required"], json!(["hits", "missing"]));
//! # }
//! ```
//!
//! And then `cargo build --release --target wasm32-wasip2` makes the component, with nothing but
//! `rustup target add wasm32-wasip2`. `toolcell plugin new NAME --lang rust` writes all of this.
//!
//! # What there is
//!
//! | to | use |
//! |---|---|
//! | make a tool of a function | [`macro@tool`], [`plugin!`] |
//! | call granted tools | [`tools`], and [`import_tools!`] for typed functions |
//! | do several things at once | [`join_all`], [`race`], [`first_ok`], [`timeout`], [`sleep`] |
//! | ask several servers, and keep what came | [`FanOut`], [`fan_out()`] |
//! | read resources, fill in prompts | [`resources`], [`prompts`] |
//! | keep something until the next call | [`state`] |
//! | ask the person or the model behind the caller | [`asks`] |
//! | say how it goes | [`log`], [`progress`] |
//! | test all of it without wasm | [`testing`] |
//!
//! # What holds
//!
//! A plugin has no network, no files and no clock but the run's. A call reaches only what the plugin's
//! manifest asks for, the operator grants, and the caller may use itself. Each call of a tool gets a
//! fresh instance, unless the operator says `stateful`: keep things in [`state`], not in statics.
//!
//! A tool that returns `Err` has failed in words that the model reads. A panic ends the instance: its
//! message and its place are the failure then, and no other call is touched.
//!
//! # Targets
//!
//! `wasm32-wasip2` gives a component. `wasm32-wasip1` and `wasm32-unknown-unknown` give a module that
//! carries the WIT, which toolcell takes as well.

// The macros name this crate as its users do.
extern crate self as toolcell;

pub mod asks;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod bindings;
mod call;
#[cfg(target_family = "wasm")]
mod clock;
mod concurrent;
mod error;
mod executor;
mod fan_out;
#[cfg(target_family = "wasm")]
mod guest;
mod imports;
pub mod log;
mod output;
pub mod prompts;
pub mod resources;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod time;
mod tool;
pub mod tools;

pub use call::Call;
pub use concurrent::{first_ok, join_all, race};
pub use error::{CallError, Failed};
pub use fan_out::{Branch, Branches, Failure, FanOut, Outcome, fan_out};
pub use log::progress;
pub use output::{Content, Output};
pub use time::{Elapsed, Sleep, sleep, timeout};

/// Makes a tool of a function, async or not. The function stays as it is and can be called as before.
///
/// - The tool's name is the function's, or `name = "…"`. `title = "…"` is a name for people.
/// - Its description is the doc comment. What an argument means is said in a doc comment of its own, or
///   in a list under `# Arguments`.
/// - Arguments are given by name. Their types need `serde::Deserialize` and `schemars::JsonSchema`;
///   `&str` and `&[T]` may be taken too. An `Option` may be absent, and so may what has a
///   `#[default(…)]`.
/// - It answers with `()`, a `String`, an [`Output`], or a type with `serde::Serialize`; or with a
///   `Result` of one of these, of which the error is written as the tool's failure. If the type has a
///   `schemars::JsonSchema` and is an object, the tool has an output schema.
/// - `read_only`, `idempotent` and `destructive` are hints for whoever decides whether to call it.
///
/// ```
/// # extern crate toolcell_guest as toolcell;
/// /// Cuts a text.
/// #[toolcell::tool(name = "cut-text", read_only, idempotent)]
/// async fn cut(
///     /// The text.
///     text: &str,
///     /// How many characters to keep.
///     #[default(80)]
///     length: usize,
///     ending: Option<&str>,
/// ) -> String {
///     let cut: String = text.chars().take(length).collect();
///     if cut.len() < text.len() { cut + ending.unwrap_or("…") } else { cut }
/// }
/// # fn main() {
/// # use serde_json::json;
/// let host = toolcell::testing::Host::new();
/// let output = host.call::<cut>(json!({"text": "long enough", "length": 4})).unwrap();
/// assert_eq!(output.text(), "long…");
///
/// let schema = toolcell::testing::definition::<cut>().input_schema;
/// assert_eq!(schema["properties"]["length"]["default"], 80);
/// assert_eq!(schema["properties"]["text"]["description"], "The text.");
/// assert_eq!(schema["required"], json!(["text"]));
/// # }
/// ```
///
/// What cannot be a tool is refused where it stands:
///
/// ```compile_fail
/// # extern crate toolcell_guest as toolcell;
/// #[toolcell::tool]
/// async fn describe<T>(value: T) -> String {
///     String::new()
/// }
/// ```
pub use toolcell_guest_macros::tool;

/// Makes typed functions of the tools of a server. Each awaits a call and gives the tool's answer as
/// the type that it names, or the [`CallError`].
///
/// An `Option` that is `None` is left out of the arguments. `#[name = "…"]` is for a tool of which the
/// name is no identifier. A `String` is the answer's text, an [`Output`] the answer as it came, and all
/// else is read as [`Output::json`] does.
///
/// ```
/// # extern crate toolcell_guest as toolcell;
/// toolcell::import_tools!("clock", {
///     /// The time in a zone.
///     pub async fn now(zone: &str) -> String;
///     #[name = "set-alarm"]
///     async fn set_alarm(at: &str, label: Option<&str>);
/// });
/// # fn main() {
/// # use serde_json::json;
/// # let host = toolcell::testing::Host::new()
/// #     .answer("clock.now", json!("12:00")).answer("clock.set-alarm", json!(null));
/// # host.run(async {
/// let time = now("Europe/Rome").await?;
/// set_alarm(&time, None).await?;
/// # Ok::<_, toolcell::CallError>(())
/// # }).unwrap();
/// # assert_eq!(host.calls()[1].arguments, json!({"at": "12:00"}));
/// # }
/// ```
pub use toolcell_guest_macros::import_tools;

/// Names the plugin's tools: functions with [`#[tool]`](macro@tool). Stands once, at the crate's root.
///
/// ```
/// # extern crate toolcell_guest as toolcell;
/// mod texts {
///     /// Makes a text louder.
///     #[toolcell::tool]
///     pub fn shout(text: String) -> String {
///         text.to_uppercase()
///     }
/// }
///
/// /// Says hello.
/// #[toolcell::tool]
/// fn greet(name: String) -> String {
///     format!("hello, {name}")
/// }
///
/// toolcell::plugin!(greet, texts::shout);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! plugin {
    ($($tool:path),+ $(,)?) => {
        const _: () =
            $crate::__private::assert_unique(&[$(<$tool as $crate::__private::Tool>::NAME),+]);
        $crate::__export_plugin!($($tool),+);
    };
    () => {
        ::core::compile_error!("name the plugin's tools: `toolcell::plugin!(first, second)`");
    };
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_plugin {
    ($($tool:path),+) => {
        #[doc(hidden)]
        struct ToolcellPlugin;

        const _: () = {
            use $crate::__private::bindings::exports::toolcell::guest::plugin;
            use $crate::__private::bindings::toolcell::guest::tools;

            fn entries() -> ::std::vec::Vec<$crate::__private::Entry> {
                ::std::vec![$($crate::__private::Entry::of::<$tool>()),+]
            }

            impl plugin::Guest for ToolcellPlugin {
                fn list_tools() -> ::std::vec::Vec<plugin::Definition> {
                    $crate::__private::list_tools(&entries())
                }

                fn call_tool(
                    name: ::std::string::String,
                    arguments: ::std::string::String,
                ) -> ::core::result::Result<tools::Output, plugin::Refusal> {
                    $crate::__private::call_tool(&entries(), name, &arguments)
                }
            }
        };

        $crate::__private::bindings::export_plugin!(
            ToolcellPlugin with_types_in $crate::__private::bindings
        );
    };
}

#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_plugin {
    ($($tool:path),+) => {
        const _: fn() = || {
            $(let _ = $crate::__private::Entry::of::<$tool>();)+
        };
    };
}

/// Runs a future to its end from a function that is not async.
///
/// ```
/// # extern crate toolcell_guest as toolcell;
/// /// Says what time it is.
/// #[toolcell::tool]
/// fn now() -> Result<String, toolcell::CallError> {
///     toolcell::block_on(toolcell::tools::call("clock.now", &()).text())
/// }
/// # fn main() {
/// # let host = toolcell::testing::Host::new().answer("clock.now", "12:00".into());
/// # assert_eq!(host.call::<now>(serde_json::json!({})).unwrap().text(), "12:00");
/// # }
/// ```
///
/// # Panics
/// The future waits for what cannot come: for no call and for no time.
pub fn block_on<F: Future>(future: F) -> F::Output {
    match executor::run(future) {
        Ok(value) => value,
        Err(executor::Stalled) => panic!("the future waits for no call and for no time"),
    }
}

/// What the macros' expansions name. Nothing here is stable.
#[doc(hidden)]
pub mod __private {
    use serde::Serialize;
    use serde_json::{Map, Value};

    use crate::{Call, CallError};

    #[cfg(target_family = "wasm")]
    pub use crate::bindings;
    #[cfg(target_family = "wasm")]
    pub use crate::guest::{call_tool, list_tools};
    pub use crate::tool::{
        Answer, Arguments, Definition, Entry, Hints, KnownShape, Refusal, Running, Schema, Shape,
        Tool, UnknownShape, assert_unique,
    };

    /// Arguments by name, while a call is put together.
    #[derive(Default)]
    pub struct Named {
        members: Map<String, Value>,
        wrong: Option<String>,
    }

    impl Named {
        /// None yet.
        #[must_use]
        pub fn new() -> Self {
            Self::default()
        }

        /// One more.
        pub fn add(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
            match serde_json::to_value(value) {
                Ok(value) => drop(self.members.insert(name.to_owned(), value)),
                Err(error) => {
                    self.wrong = Some(format!("the argument {name} cannot be JSON: {error}"))
                }
            }
        }

        /// The call with these.
        pub fn call(self, tool: &str) -> Call {
            match self.wrong {
                None => crate::tools::call(tool, &self.members),
                Some(message) => {
                    let path = String::new();
                    Call::new(tool.to_owned(), Err(CallError::InvalidArguments { path, message }))
                }
            }
        }
    }
}
