//! An author's project becomes a component and its manifest: `dist/NAME.wasm` and `dist/NAME.toml`.
//!
//! - [`Project`] is the folder with `plugin.toml`; its language is told by that file or by the others.
//! - `rust` runs cargo in it; `python` and `javascript` put the author's sources on a language runtime.

mod error;
pub mod javascript;
mod modules;
pub mod python;
mod rust;
mod sources;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::BuildError;

use super::installed::{self, FolderError};
use super::manifest::{Manifest, PROJECT_FILE, PluginLanguage};
use crate::sandbox::Cache;

/// Told what is being done, while it is done.
pub type BuildProgress = Arc<dyn Fn(&str) + Send + Sync>;

/// Files that tell a project's language, the first that is there.
const TELLTALES: [(&str, PluginLanguage); 9] = [
    ("Cargo.toml", PluginLanguage::Rust),
    ("plugin.py", PluginLanguage::Python),
    ("plugin/__init__.py", PluginLanguage::Python),
    ("plugin.ts", PluginLanguage::JavaScript),
    ("plugin.mts", PluginLanguage::JavaScript),
    ("plugin.js", PluginLanguage::JavaScript),
    ("plugin.mjs", PluginLanguage::JavaScript),
    ("src/plugin.ts", PluginLanguage::JavaScript),
    ("src/plugin.js", PluginLanguage::JavaScript),
];

/// An author's project.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its folder.
    pub folder: PathBuf,
    /// Its manifest, as its author wrote it.
    pub manifest: Manifest,
    /// What it is written in.
    pub language: PluginLanguage,
}

impl Project {
    /// Reads a project's manifest and finds its language.
    ///
    /// # Errors
    /// There is no manifest, it cannot be used, or nothing tells the language.
    pub fn open(folder: &Path) -> Result<Self, BuildError> {
        let shown = folder.display();
        let path = folder.join(PROJECT_FILE);
        let manifest = installed::read_manifest(&path).map_err(|error| match error {
            FolderError::Manifest { source, .. } => {
                BuildError::Source(format!("{}: {source}", path.display()))
            }
            error => BuildError::Source(error.to_string()),
        })?;
        let manifest = manifest.ok_or_else(|| {
            BuildError::Source(format!(
                "{shown} is no plugin's project: it has no {PROJECT_FILE}; `toolcell plugin new NAME \
                 --lang rust` makes one"
            ))
        })?;
        let build = manifest.build.clone().unwrap_or_default();
        let by_files = || {
            let found = TELLTALES.iter().find(|(file, _)| folder.join(file).is_file());
            found.map(|(_, language)| *language)
        };
        let by_source =
            build.source.as_deref().and_then(|source| match source.extension()?.to_str()? {
                "py" => Some(PluginLanguage::Python),
                "ts" | "mts" | "js" | "mjs" => Some(PluginLanguage::JavaScript),
                "rs" => Some(PluginLanguage::Rust),
                _ => None,
            });
        let language = build.language.or(by_source).or_else(by_files).ok_or_else(|| {
            BuildError::Source(format!(
                "nothing in {shown} tells the plugin's language: there is no Cargo.toml, no plugin.py and \
                 no plugin.ts; write it into {PROJECT_FILE} as [build] language = \"rust\""
            ))
        })?;
        Ok(Self { folder: folder.to_owned(), manifest, language })
    }

    /// Where the built component goes.
    pub fn component(&self) -> PathBuf {
        self.folder.join("dist").join(format!("{}.wasm", self.manifest.name))
    }

    /// Where the completed manifest goes.
    pub fn completed_manifest(&self) -> PathBuf {
        self.folder.join("dist").join(format!("{}.toml", self.manifest.name))
    }

    /// Builds the component. Nothing is written to `dist` yet.
    ///
    /// Cancel-safe: dropping the future ends the build; what it compiled so far is used by the next.
    ///
    /// # Errors
    /// The sources have a fault, or the tools for the language are missing.
    pub async fn build(
        &self,
        cache: &Cache,
        progress: BuildProgress,
    ) -> Result<Vec<u8>, BuildError> {
        if self.language == PluginLanguage::Rust {
            return rust::build(&self.folder, &progress).await;
        }
        let (folder, language, cache) = (self.folder.clone(), self.language, cache.clone());
        let source = self.manifest.build.as_ref().and_then(|build| build.source.clone());
        let build = move || match language {
            PluginLanguage::Python => python::build(&folder, &cache, &*progress),
            _ => javascript::build(&folder, source.as_deref(), &*progress),
        };
        // Programs are waited for, and snapshots made.
        let built = tokio::task::spawn_blocking(build).await;
        built.unwrap_or_else(|error| {
            Err(BuildError::Source(format!("the build did not come to its end: {error}")))
        })
    }
}
