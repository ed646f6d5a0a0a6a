//! What a server says about itself, for whoever shows it to a client of its own.

use serde_json::{Value, json};

/// What a server says about itself: texts of a stranger, bounded in size.
#[derive(Clone, Debug)]
pub struct About {
    /// Its own name for itself.
    pub name: Option<String>,
    /// Its own version.
    pub version: Option<String>,
    /// Its advice to its users.
    pub instructions: Option<String>,
    /// What it says that it can do (`ServerCapabilities`), as it came.
    pub capabilities: Value,
}

impl About {
    /// Something in this process that has tools and nothing else.
    pub fn of_tools() -> Self {
        let capabilities = json!({ "tools": {} });
        Self { name: None, version: None, instructions: None, capabilities }
    }
}
