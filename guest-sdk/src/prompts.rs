//! The prompts that were granted to this plugin: texts that servers have ready.
//!
//! ```
//! # use toolcell_guest as toolcell;
//! # use serde_json::json;
//! # let host = toolcell::testing::Host::new().prompt("docs.review", "Review this: fn main() {}");
//! # host.run(async {
//! let filled = toolcell::prompts::get("docs.review", &json!({"code": "fn main() {}"})).await?;
//! assert_eq!(filled.text(), "Review this: fn main() {}");
//! # Ok::<_, toolcell::CallError>(())
//! # }).unwrap();
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::{Call, Request};
use crate::tools::written;
use crate::{CallError, imports};

/// A prompt, as its server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// Without the server.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// What can be filled in.
    pub arguments: Vec<Argument>,
}

/// What can be filled in. Its value is a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// What it means.
    pub description: Option<String>,
    /// Whether the prompt needs it.
    pub required: bool,
}

/// A prompt that was filled in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Filled {
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// What it says.
    pub messages: Vec<Message>,
}

/// One message of a prompt.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// `user` or `assistant`.
    pub role: String,
    /// One of MCP's content blocks.
    pub content: Value,
}

impl Filled {
    /// The texts of all messages, one below the other.
    #[must_use]
    pub fn text(&self) -> String {
        let texts =
            self.messages.iter().filter_map(|message| message.content.get("text")?.as_str());
        texts.collect::<Vec<_>>().join("\n")
    }
}

/// The servers of which prompts may be granted, in the operator's order. Never waits.
#[must_use]
pub fn servers() -> Vec<String> {
    imports::prompt_servers()
}

/// The prompts that are granted on one server. The host may have to connect first.
///
/// # Errors
/// Nothing of it is granted, or it cannot be reached.
pub fn listed(server: &str) -> Result<Vec<Prompt>, CallError> {
    imports::prompts_listed(server)
}

/// Fills in a prompt, `server.prompt`, with an object of texts. It counts as a call.
///
/// # Errors
/// As those of a call. One that is not there, or not granted, is [`CallError::UnknownTool`].
pub async fn get(name: &str, arguments: &(impl Serialize + ?Sized)) -> Result<Filled, CallError> {
    let request = written(name, arguments)
        .map(|arguments| Request::Prompt { name: name.to_owned(), arguments });
    Call::new(name.to_owned(), request).json().await
}
