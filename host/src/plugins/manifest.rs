//! `plugin.toml`: what an author says of a plugin. The same file, completed by the build with the
//! names of its tools, lies beside an installed plugin and travels with a published one.
//!
//! It comes from a stranger: every size is bounded, unknown keys are errors, and what it asks for is
//! never more than a wish, which the operator's configuration grants or not.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use indexmap::IndexSet;
use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::grants::{Pattern, Policy, ResourcePattern, ToolGlob};
use crate::ids::UpstreamName;

/// The file's name in an author's project.
pub const PROJECT_FILE: &str = "plugin.toml";

/// The largest manifest that is read.
pub const MAX_MANIFEST_BYTES: u64 = 64 << 10;

/// The most tools that a plugin may have.
pub const MAX_TOOLS: usize = 256;

/// The most patterns of one kind that it may ask for.
const MAX_ASKS: usize = 128;

/// The longest description, in characters.
const MAX_DESCRIPTION_CHARS: usize = 4_000;

/// Why a text is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is longer than [`MAX_MANIFEST_BYTES`].
    #[error("the manifest has {size_bytes} bytes, more than {MAX_MANIFEST_BYTES}")]
    TooLong {
        /// Its size.
        size_bytes: u64,
    },
    /// It is no UTF-8 text.
    #[error("the manifest is not UTF-8 text")]
    NotText,
    /// It is no TOML, or has an unknown key, or a value of the wrong kind.
    #[error("the manifest cannot be used: {0}")]
    Invalid(String),
}

/// What an author says of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its name; the installed name unless the operator gives another.
    #[serde(with = "upstream_name")]
    pub name: UpstreamName,
    /// Its version.
    pub version: Version,
    /// What it is for, in a sentence or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The names of its tools. In an author's project they may be left out; the build fills them in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// What it asks for.
    #[serde(default, skip_serializing_if = "Asks::is_nothing")]
    pub asks: Asks,
    /// How it is built; in an author's project only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
}

/// `[asks]`: what a plugin wants to be granted. It never gets more than this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asks {
    /// Patterns of tools, `server.tool`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Ask<ToolGlob>>,
    /// Patterns of resources, `server:URI`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Ask<ResourcePattern>>,
    /// Patterns of prompts, `server.prompt`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<Ask<ToolGlob>>,
    /// Whether it wants to ask the person and the model behind its caller.
    #[serde(skip_serializing_if = "is_false")]
    pub questions: bool,
}

/// A pattern that a manifest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask<P>(pub P);

/// `[build]`: how an author's project becomes a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Build {
    /// The language, where the files do not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<PluginLanguage>,
    /// The main source file, from the project's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<PathBuf>,
}

/// A language in which plugins can be written with our help. (A component of any other is as good.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PluginLanguage {
    /// With the guest SDK, by cargo.
    Rust,
    /// On the Python runtime.
    Python,
    /// On the JavaScript runtime; TypeScript too.
    #[value(name = "javascript", alias = "js", alias = "typescript", alias = "ts")]
    JavaScript,
}

impl PluginLanguage {
    /// The name in commands and manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::JavaScript => "javascript",
        }
    }
}

impl Manifest {
    /// That of a plugin without one: of no known version, asking for nothing.
    pub fn unversioned(name: UpstreamName, tools: Vec<String>) -> Self {
        Self {
            name,
            version: Version::new(0, 0, 0),
            description: None,
            tools,
            asks: Asks::default(),
            build: None,
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// It is too long, no TOML, has an unknown key, or asks for what nobody can grant.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong { size_bytes: bytes.len() as u64 });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::NotText)?;
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let place = error.span().map(|span| {
                let line = text.get(..span.start).unwrap_or(text).matches('\n').count() + 1;
                format!("line {line}: ")
            });
            let message = error.message().trim().replace('\n', ", ");
            ManifestError::Invalid(format!("{}{message}", place.unwrap_or_default()))
        })?;
        manifest.check().map_err(ManifestError::Invalid)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let words = self.description.as_deref().unwrap_or_default();
        if words.chars().count() > MAX_DESCRIPTION_CHARS {
            return Err(format!("`description` has more than {MAX_DESCRIPTION_CHARS} characters"));
        }
        if self.tools.len() > MAX_TOOLS {
            return Err(format!("`tools` names more than {MAX_TOOLS} tools"));
        }
        let mut seen = IndexSet::new();
        for tool in &self.tools {
            if !is_tool_name(tool) {
                let shown: String = tool.chars().take(80).collect();
                return Err(format!(
                    "{shown:?} is no tool's name: use 1 to 64 of A-Z a-z 0-9 _ - ."
                ));
            }
            if !seen.insert(tool) {
                return Err(format!("`tools` names `{tool}` twice"));
            }
        }
        let asks = &self.asks;
        for (key, count) in [
            ("tools", asks.tools.len()),
            ("resources", asks.resources.len()),
            ("prompts", asks.prompts.len()),
        ] {
            if count > MAX_ASKS {
                return Err(format!("`asks.{key}` has more than {MAX_ASKS} patterns"));
            }
        }
        Ok(())
    }

    /// The manifest as a file.
    pub fn to_toml(&self) -> String {
        // Every part of it is one that TOML can say.
        toml::to_string_pretty(self).unwrap_or_default()
    }
}

/// Whether a text can be the name of a plugin's tool: what every model's API takes, and dots.
pub fn is_tool_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

impl Asks {
    /// Whether it asks for nothing at all.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What it asks for, as a policy: no more than this is granted.
    pub fn policy(&self) -> Policy {
        let patterns = |asks: &[Ask<ToolGlob>]| {
            asks.iter().map(|ask| Pattern::Include(ask.0.clone())).collect::<Vec<_>>()
        };
        Policy::new(patterns(&self.tools), Vec::new())
            .with_resources(self.resources.iter().map(|ask| ask.0.clone()).collect())
            .with_prompts(patterns(&self.prompts))
    }
}

/// A pattern in which a wish can be written.
pub trait Wish: FromStr<Err: fmt::Display> + fmt::Display {
    /// Whether everything is meant, of every server.
    fn is_everything(&self) -> bool;
    /// Whether something is taken back, which has no meaning in a wish.
    fn takes_back(&self) -> bool;
    /// What to write in place of everything.
    const INSTEAD: &str;
}

fn is_stars(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'*')
}

impl Wish for ToolGlob {
    fn is_everything(&self) -> bool {
        is_stars(self.server()) && self.tool().bytes().all(|byte| matches!(byte, b'*' | b'.'))
    }

    fn takes_back(&self) -> bool {
        false
    }

    const INSTEAD: &str = "name what the plugin uses: \"search.query\", \"search.*\" for all of one \
                           server, or \"*.search\" for that of every server";
}

impl Wish for ResourcePattern {
    fn is_everything(&self) -> bool {
        is_stars(self.server()) && is_stars(self.uri())
    }

    fn takes_back(&self) -> bool {
        !self.includes()
    }

    const INSTEAD: &str = "name what the plugin reads: \"docs:file:///pub/*\", or \"docs:*\" for all \
                           of one server";
}

impl<P: Wish> Serialize for Ask<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, P: Wish> Deserialize<'de> for Ask<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(deserializer)?;
        let shown = || text.chars().take(80).collect::<String>();
        let pattern: P = text
            .parse()
            .map_err(|error| D::Error::custom(format!("`asks` has {:?}: {error}", shown())))?;
        if pattern.is_everything() {
            let instead = P::INSTEAD;
            let cause = format!("`asks` has {:?}, which is everything; {instead}", shown());
            return Err(D::Error::custom(cause));
        }
        if pattern.takes_back() {
            let cause = format!("`asks` has {:?}: `!` has no meaning in a wish", shown());
            return Err(D::Error::custom(cause));
        }
        Ok(Self(pattern))
    }
}

/// Names as texts.
mod upstream_name {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::ids::UpstreamName;

    pub(super) fn serialize<S: Serializer>(name: &UpstreamName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<UpstreamName, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(from)?;
        UpstreamName::try_new(&text).map_err(|_| {
            let shown: String = text.chars().take(80).collect();
            D::Error::custom(format!(
                "{shown:?} is no plugin's name: use 1 to 64 of A-Z a-z 0-9 _ -"
            ))
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
name = "research"
version = "0.1.0"
description = "Asks several servers and merges."
tools = ["research"]

[asks]
tools = ["search*.search", "wiki.*", "*.search"]
resources = ["docs:*"]
questions = true
"#;

    #[test]
    fn a_manifest_is_read_and_written_back() {
        let manifest = Manifest::parse(FULL.as_bytes()).expect("a manifest");
        assert_eq!(manifest.name.as_str(), "research");
        assert_eq!(manifest.asks.tools.len(), 3);
        let written = manifest.to_toml();
        assert_eq!(Manifest::parse(written.as_bytes()).expect("ours"), manifest, "{written}");
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_a_way_out() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let text = format!("name = \"x\"\nversion = \"1.0.0\"\n{text}");
            let error = Manifest::parse(text.as_bytes()).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
        check(
            "[asks]\ntools = [\"*\"]",
            "line 4: `asks` has \"*\", which is everything; name what",
        );
        check("[asks]\ntools = [\"*.*\"]", "which is everything");
        check("[asks]\ntools = [\"**.**\"]", "which is everything");
        check("[asks]\nprompts = [\"*\"]", "which is everything");
        check("[asks]\nresources = [\"*\"]", "or \"docs:*\" for all of one server");
        check("[asks]\nresources = [\"!docs:*\"]", "`!` has no meaning in a wish");
        check("[asks]\ntools = [\"!a.b\"]", "`!` has no meaning here");
        check("[asks]\ntolls = []", "unknown field `tolls`");
        check("tool = []", "unknown field `tool`");
        check("tools = [\"a b\"]", "\"a b\" is no tool's name");
        check("tools = [\"a\", \"a\"]", "names `a` twice");
        let error = Manifest::parse(b"name = \"a.b\"\nversion = \"1.0.0\"").expect_err("refused");
        assert!(error.to_string().contains("\"a.b\" is no plugin's name"), "{error}");
        let error = Manifest::parse(b"name = \"a\"\nversion = \"1\"").expect_err("refused");
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(matches!(Manifest::parse(&[b'#'; 70_000]), Err(ManifestError::TooLong { .. })));
        assert!(matches!(Manifest::parse(&[0xff]), Err(ManifestError::NotText)));
    }
}
