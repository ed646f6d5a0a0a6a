//! The languages in which agents write.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A language for which there is a runtime.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, schemars::JsonSchema, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Python: CPython 3.14.
    Python,
    /// JavaScript, and TypeScript: QuickJS-ng. A program's name tells which of the two it is.
    #[serde(rename = "javascript")]
    JavaScript,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Python, Self::JavaScript];

    /// The name in configuration, in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::JavaScript => "javascript",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
