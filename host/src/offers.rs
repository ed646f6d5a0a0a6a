//! What a server offers besides tools: resources, templates of resources, prompts. Pure values, as
//! [`crate::tool`] has them for tools.
//!
//! All texts are a stranger's. Each thing is kept as its server listed it too, with everything that
//! we do not know.

use std::sync::Arc;

use serde_json::value::RawValue;

/// A list of a server, complete, in its order.
#[derive(Clone, Debug)]
pub struct Offers<T> {
    /// What can be used.
    pub items: Arc<[T]>,
    /// What is wrong with the list, and what was left out for it.
    pub problems: Vec<String>,
}

impl<T> Default for Offers<T> {
    fn default() -> Self {
        Self { items: Arc::from([]), problems: Vec::new() }
    }
}

/// Something that can be read.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Names it.
    pub uri: Arc<str>,
    /// A name for programs; the URI where the server gives none.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is, in the server's words.
    pub description: Option<String>,
    /// Its media type.
    pub mime_type: Option<String>,
    /// Its size in bytes, before any encoding.
    pub size: Option<u64>,
    /// As its server listed it.
    pub raw: Arc<RawValue>,
}

/// A family of resources.
#[derive(Clone, Debug)]
pub struct ResourceTemplate {
    /// Their URIs (RFC 6570).
    pub uri_template: Arc<str>,
    /// A name for programs; the template where the server gives none.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What they are, in the server's words.
    pub description: Option<String>,
    /// The media type of all of them.
    pub mime_type: Option<String>,
    /// As its server listed it.
    pub raw: Arc<RawValue>,
}

/// A prompt that a server has ready.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Names it.
    pub name: Arc<str>,
    /// A name for people.
    pub title: Option<String>,
    /// What it is for, in the server's words.
    pub description: Option<String>,
    /// What can be filled in.
    pub arguments: Vec<PromptArgument>,
    /// As its server listed it.
    pub raw: Arc<RawValue>,
}

/// What can be filled into a prompt. Its value is a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptArgument {
    /// Names it.
    pub name: String,
    /// What it is, in the server's words.
    pub description: Option<String>,
    /// Whether the prompt cannot do without.
    pub required: bool,
}
