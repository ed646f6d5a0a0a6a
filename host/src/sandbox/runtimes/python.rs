//! Builds the Python runtime: CPython 3.14 with our Python sources, snapshotted after its imports,
//! as one component.

use super::componentize::Componentize;
use super::{PYTHON_REQUIREMENTS, PYTHON_RUNTIME, Progress, hash_files};
use crate::sandbox::cache::Cache;
use crate::sandbox::error::SandboxError;

/// Changes whenever the commands of [`Componentize`] do.
const RECIPE: &[u8] = b"2";

pub(super) fn hash_sources(hasher: &mut blake3::Hasher) {
    hasher.update(RECIPE);
    hasher.update(PYTHON_REQUIREMENTS.as_bytes());
    hash_files(hasher, PYTHON_RUNTIME);
}

/// Builds the component. The caller holds the cache's lock.
pub(super) fn build(cache: &Cache, progress: Progress<'_>) -> Result<Vec<u8>, SandboxError> {
    let tools = Componentize::install_locked(cache, progress)?;
    progress(
        "building the python runtime: CPython 3.14 and its standard library (once, about 15 s)",
    );
    let folder = cache.folder();
    let work = tempfile::Builder::new().prefix("build-").tempdir_in(folder).map_err(|source| {
        SandboxError::Cache { action: "make a folder in", path: folder.to_owned(), source }
    })?;
    tools.runtime(work.path())
}
