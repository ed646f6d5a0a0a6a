//! `[plugins.NAME]` as people write it.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{DurationText, Template, WrittenLimits};

/// `[plugins.NAME]`: what an installed plugin may do at most. What its manifest asks for and what its
/// caller may do bound it further; a plugin without a section may only compute.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WrittenPlugin {
    /// Patterns of the tools that it may call (`server.tool`, with `*`), or with `!` taken back.
    #[schemars(example = json!(["search.*", "wiki.search"]))]
    pub tools: Vec<String>,
    /// Patterns of the resources that it may read (`server:URI`, with `*`), or with `!` taken back.
    #[schemars(example = json!(["docs:*"]))]
    pub resources: Vec<String>,
    /// Patterns of the prompts that it may fill in (`server.prompt`, with `*`), or with `!` taken back.
    #[schemars(example = json!(["docs.*"]))]
    pub prompts: Vec<String>,
    /// Whether it may ask the person and the model behind its caller.
    #[schemars(example = true)]
    pub questions: bool,
    /// The limits of one call; those of `[limits]` if left out, and of its fuel a tenth. Its caller's bound
    /// it further.
    #[schemars(example = json!({ "fuel": "2G", "memory": "64MiB" }))]
    pub limits: WrittenLimits,
    /// Keeps an instance for each session, dropped after this time without a call; each call has a
    /// fresh one if left out.
    #[schemars(example = &"10m")]
    pub stateful: Option<DurationText>,
    /// Whether it is loaded; yes if left out.
    #[schemars(example = false)]
    pub enabled: Option<bool>,
    /// A file with the public key (cosign's, PEM) with which it has to be signed.
    #[schemars(example = &"keys/author.pub")]
    pub signed_by: Option<Template>,
}
