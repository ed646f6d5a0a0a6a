//! Why a project did not become a component.

use std::path::PathBuf;

use crate::sandbox::{PluginFailure, SandboxError};

/// A project cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The author's sources have a fault; the words are for him, with his lines.
    #[error("{0}")]
    Source(String),
    /// A file of the project, or of the build, cannot be read or written.
    #[error("cannot {action} {path}", path = .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The tools for the language cannot be used.
    #[error(transparent)]
    Tools(#[from] SandboxError),
}

impl BuildError {
    pub(super) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

impl From<PluginFailure> for BuildError {
    fn from(failure: PluginFailure) -> Self {
        match failure {
            PluginFailure::Author(words) => Self::Source(words),
            PluginFailure::Machine(error) => Self::Tools(error),
        }
    }
}
