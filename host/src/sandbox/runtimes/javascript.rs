//! The JavaScript runtime: QuickJS-ng in a guest of ours (`plugins/js-runtime`). It is small enough to
//! lie built in the tree, as a core module; its start-up code is run here, once, and its memory after
//! that is what every sandbox begins with.

use super::{PluginFailure, Progress, hash_files};
use crate::sandbox::error::SandboxError;
use crate::sandbox::snapshot::{NoSnapshot, snapshot, snapshot_of_plugin};

/// The built guest. `cargo xtask js-runtime` builds it, and a test refuses one that is older than its sources.
static MODULE: &[u8] = include_bytes!("../../../../plugins/js-runtime/js-runtime.wasm");

/// Changes whenever what is made of the module does.
const RECIPE: &[u8] = b"1";

pub(super) fn hash_sources(hasher: &mut blake3::Hasher) {
    hasher.update(RECIPE);
    hash_files(hasher, &[super::SourceFile { path: "js-runtime.wasm", bytes: MODULE }]);
}

/// Makes the component.
pub(super) fn build(progress: Progress<'_>) -> Result<Vec<u8>, SandboxError> {
    progress("preparing the javascript runtime (once, about a second)");
    snapshot(MODULE).map_err(|error| SandboxError::Build {
        runtime: "javascript",
        step: "running its start-up code".to_owned(),
        detail: format!(": {error:#}"),
    })
}

/// A plugin of an author's source, whose file has this name: the component begins where his module was
/// loaded.
pub(crate) fn javascript_plugin(name: &str, source: &str) -> Result<Vec<u8>, PluginFailure> {
    snapshot_of_plugin(MODULE, name, source).map_err(|failure| match failure {
        NoSnapshot::Source(words) => PluginFailure::Author(words),
        NoSnapshot::Engine(error) => PluginFailure::Machine(SandboxError::Build {
            runtime: "javascript",
            step: format!("loading {name}"),
            detail: format!(": {error:#}"),
        }),
    })
}
