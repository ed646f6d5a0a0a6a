//! The resources that were granted to this plugin: what servers offer to be read.
//!
//! ```
//! # use toolcell_guest as toolcell;
//! # let host = toolcell::testing::Host::new().resource("files", "file:///notes.txt", "buy milk");
//! # host.run(async {
//! let read = toolcell::resources::read("files", "file:///notes.txt").await?;
//! assert_eq!(read.text(), "buy milk");
//! # Ok::<_, toolcell::CallError>(())
//! # }).unwrap();
//! ```

use serde::Deserialize;

use crate::call::{Call, Request};
use crate::{CallError, imports};

/// A resource, as its server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resource {
    /// With which it is read.
    pub uri: String,
    /// Its name.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Its kind, if the server says so.
    pub mime_type: Option<String>,
    /// In bytes, before any encoding.
    pub size: Option<u64>,
}

/// A family of resources. Whether one of them is granted is told by its own URI.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Template {
    /// RFC 6570.
    pub uri_template: String,
    /// Its name.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What they are.
    pub description: Option<String>,
    /// Their kind, if it is the same for all.
    pub mime_type: Option<String>,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Read {
    /// One part, or several where the resource is a folder or the like.
    pub contents: Vec<Part>,
}

/// One part of what was read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Part {
    /// The part's own URI.
    pub uri: String,
    /// Its kind.
    #[serde(default)]
    pub mime_type: Option<String>,
    /// The text, if it is text.
    #[serde(default)]
    pub text: Option<String>,
    /// The bytes in base64, if it is none.
    #[serde(default)]
    pub blob: Option<String>,
}

impl Read {
    /// All texts, one below the other.
    #[must_use]
    pub fn text(&self) -> String {
        let texts = self.contents.iter().filter_map(|part| part.text.as_deref());
        texts.collect::<Vec<_>>().join("\n")
    }
}

/// The servers of which resources may be granted, in the operator's order. Never waits.
#[must_use]
pub fn servers() -> Vec<String> {
    imports::resource_servers()
}

/// The granted resources that a server lists. The host may have to connect first.
///
/// # Errors
/// Nothing of it is granted, or it cannot be reached.
pub fn listed(server: &str) -> Result<Vec<Resource>, CallError> {
    imports::resources_listed(server)
}

/// The templates that a server lists, of which a resource may be granted.
///
/// # Errors
/// As [`listed`].
pub fn templates(server: &str) -> Result<Vec<Template>, CallError> {
    imports::resource_templates(server)
}

/// Reads a resource. A read counts as a call, and is cancelled when the future is dropped.
///
/// # Errors
/// One that is not there, or not granted, is [`CallError::UnknownTool`].
pub async fn read(server: &str, uri: &str) -> Result<Read, CallError> {
    let request = Request::Resource { server: server.to_owned(), uri: uri.to_owned() };
    Call::new(format!("{server}: {uri}"), Ok(request)).json().await
}
