//! The tools that were granted to this plugin: at most what its manifest asks for, what the operator
//! grants it, and what its caller may use itself.
//!
//! ```
//! # use toolcell_guest as toolcell;
//! # use serde_json::json;
//! # let host = toolcell::testing::Host::new()
//! #     .answer("search.search", json!({"hits": ["a", "b"]}));
//! # host.run(async {
//! use toolcell::tools;
//!
//! #[derive(serde::Deserialize)]
//! struct Found { hits: Vec<String> }
//!
//! let found: Found = tools::call("search.search", &json!({"query": "wasm"})).json().await?;
//! assert_eq!(found.hits, ["a", "b"]);
//! # Ok::<_, toolcell::CallError>(())
//! # }).unwrap();
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::call::{Call, Request};
use crate::{CallError, imports};

/// A granted tool, as its server describes it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tool {
    /// The full name, `server.tool`.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
    /// JSON Schema of its structured content, if the server gives one.
    pub output_schema: Option<Value>,
    /// The server says that it changes nothing. A hint, not a guarantee, as the next two.
    pub read_only: bool,
    /// Calling it twice is as calling it once.
    pub idempotent: bool,
    /// It may destroy something.
    pub destructive: bool,
}

/// Calls a tool, `server.tool`, with a value that is a JSON object: a struct of yours, a map, or
/// [`json!`](serde_json::json). An unsuccessful answer is [`CallError::Failed`].
pub fn call(name: impl Into<String>, arguments: &(impl Serialize + ?Sized)) -> Call {
    let name = name.into();
    let request =
        written(&name, arguments).map(|arguments| Request::Tool { name: name.clone(), arguments });
    Call::new(name, request)
}

/// Arguments as a JSON object.
pub(crate) fn written(
    name: &str,
    arguments: &(impl Serialize + ?Sized),
) -> Result<String, CallError> {
    let wrong = |message: String| CallError::InvalidArguments { path: String::new(), message };
    match serde_json::to_value(arguments) {
        Ok(Value::Null) => Ok("{}".to_owned()),
        Ok(value @ Value::Object(_)) => Ok(value.to_string()),
        Ok(_) => Err(wrong(format!("{name} takes its arguments by name: an object is needed"))),
        Err(error) => Err(wrong(format!("the arguments of {name} cannot be JSON: {error}"))),
    }
}

/// The servers of which at least one tool is granted, in the operator's order. Never waits.
#[must_use]
pub fn servers() -> Vec<String> {
    imports::servers()
}

/// One server's tools.
///
/// ```
/// # use toolcell_guest as toolcell;
/// # use serde_json::json;
/// # let host = toolcell::testing::Host::new().answer("clock.now", json!("12:00"));
/// # host.run(async {
/// let clock = toolcell::tools::server("clock");
/// assert_eq!(clock.names()?, ["now"]);
/// assert_eq!(clock.call("now", &json!({})).text().await?, "12:00");
/// # Ok::<_, toolcell::CallError>(())
/// # }).unwrap();
/// ```
#[must_use]
pub fn server(name: impl Into<String>) -> Server {
    Server { name: name.into() }
}

/// One granted tool in full, `server.tool`. The host may have to connect to its server first.
///
/// # Errors
/// It is not granted, or its server cannot be reached.
pub fn describe(name: &str) -> Result<Tool, CallError> {
    imports::describe(name)
}

/// A server of which tools are granted; see [`server`].
#[derive(Clone, Debug)]
pub struct Server {
    name: String,
}

impl Server {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names, without the server, of the tools that are granted. The host may have to connect first.
    ///
    /// # Errors
    /// Nothing of it is granted, or it cannot be reached.
    pub fn names(&self) -> Result<Vec<String>, CallError> {
        imports::names(&self.name)
    }

    /// One of its tools in full.
    ///
    /// # Errors
    /// As [`describe`].
    pub fn describe(&self, tool: &str) -> Result<Tool, CallError> {
        describe(&format!("{}.{tool}", self.name))
    }

    /// Calls one of its tools: see [`call`].
    pub fn call(&self, tool: &str, arguments: &(impl Serialize + ?Sized)) -> Call {
        call(format!("{}.{tool}", self.name), arguments)
    }
}
