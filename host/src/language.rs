//! The languages in which agents write.

use std::fmt;

use serde::Deserialize;

/// A language for which there is a runtime.
#[derive(Clone, Copy, Debug, Deserialize, schemars::JsonSchema, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Python: CPython 3.14.
    Python,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Python];

    /// The name in configuration, in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
