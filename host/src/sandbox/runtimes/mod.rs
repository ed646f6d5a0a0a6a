//! The language runtimes: components that run source text. Each is built from sources that lie in
//! this library, once, and compiled once for this machine; both results are cached by content. The
//! compiled code of plugins lies in the same cache, and is listed and removed with them.

mod componentize;
mod javascript;
mod python;

use std::path::PathBuf;

use wasmtime::component::Component;

use super::cache::{Cache, Condition};
use super::engine::SandboxEngine;
use super::error::SandboxError;
use super::plugins::cached;
use crate::language::Language;

pub(crate) use componentize::Componentize;
pub(crate) use javascript::javascript_plugin;

include!(concat!(env!("OUT_DIR"), "/embedded_sources.rs"));

/// A file of a runtime's sources.
pub(super) struct SourceFile {
    path: &'static str,
    bytes: &'static [u8],
}

/// Why there is no component of a plugin.
#[derive(Debug)]
pub(crate) enum PluginFailure {
    /// The author's fault, in words for him, with his lines.
    Author(String),
    /// The machine's.
    Machine(SandboxError),
}

impl From<SandboxError> for PluginFailure {
    fn from(error: SandboxError) -> Self {
        Self::Machine(error)
    }
}

/// Told what is being done whenever something takes long.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// What the cache has of one runtime, or of one plugin.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CachedRuntime {
    /// The language's name and the hash of the sources it was built from; `plugin` and the hash of the
    /// component.
    pub id: String,
    /// Whether it was built from the sources in this library, and compiled by this engine. A plugin:
    /// whether it was compiled by this engine, and used lately.
    pub current: bool,
    /// Whether its files are what was written; `None` where nobody looked inside.
    pub sound: Option<bool>,
    /// Its folder.
    pub folder: PathBuf,
    /// The bytes of all its files.
    pub size_bytes: u64,
}

/// The runtimes in a cache.
pub(super) struct Runtimes<'a> {
    pub(super) cache: &'a Cache,
    pub(super) engine: &'a SandboxEngine,
}

impl Runtimes<'_> {
    /// Loads a runtime, and builds and compiles it first if the cache does not have it.
    /// Blocks; a first build takes about half a minute.
    ///
    /// # Errors
    /// It cannot be built, or the cache cannot be used.
    pub(super) fn load(
        &self,
        language: Language,
        progress: Progress<'_>,
    ) -> Result<Component, SandboxError> {
        let compiled = self.compiled_path(language);
        if let Some(component) = self.load_compiled(&compiled) {
            return Ok(component);
        }
        let _alone = self.cache.lock()?;
        // Another process may have built it while we waited.
        if let Some(component) = self.load_compiled(&compiled) {
            return Ok(component);
        }
        let wasm = self.wasm(language, progress)?;
        progress(&format!(
            "compiling the {language} runtime for this machine (once, some seconds)"
        ));
        let code = self.engine.engine.precompile_component(&wasm).map_err(|source| {
            SandboxError::Component { name: format!("the {language} runtime"), source }
        })?;
        self.cache.write(&compiled, &code)?;
        self.load_compiled(&compiled).ok_or_else(|| SandboxError::Cache {
            action: "load the code just compiled from",
            path: compiled,
            source: std::io::Error::other("it is not what was written"),
        })
    }

    /// The runtime's component as bytes, built if necessary.
    fn wasm(&self, language: Language, progress: Progress<'_>) -> Result<Vec<u8>, SandboxError> {
        let path = self.cache.path(id(language)).join("runtime.wasm");
        if self.cache.condition(&path, true) == Condition::Sound {
            return std::fs::read(&path).map_err(|source| SandboxError::Cache {
                action: "read",
                path,
                source,
            });
        }
        let wasm = match language {
            Language::Python => python::build(self.cache, progress)?,
            Language::JavaScript => javascript::build(progress)?,
        };
        self.cache.write(&path, &wasm)?;
        Ok(wasm)
    }

    pub(super) fn load_compiled(&self, path: &std::path::Path) -> Option<Component> {
        if self.cache.condition(path, false) != Condition::Sound {
            return None;
        }
        // SAFETY: the file is in a folder that only we can write to and is byte for byte what this
        // library's `precompile_component` returned, which its stamp proves.
        let loaded = unsafe { Component::deserialize_file(&self.engine.engine, path) };
        loaded
            .inspect_err(|error| tracing::warn!(%error, path = %path.display(), "recompiling"))
            .ok()
    }

    fn compiled_path(&self, language: Language) -> PathBuf {
        self.cache.path(id(language)).join(self.engine.code_file())
    }

    /// Removes what is stale, or everything, and says what that was.
    pub(super) fn remove(&self, all: bool) -> Result<Vec<CachedRuntime>, SandboxError> {
        let _alone = self.cache.lock()?;
        let mut removed = self.list(false);
        removed.retain(|runtime| all || !runtime.current);
        for runtime in &removed {
            let path = &runtime.folder;
            std::fs::remove_dir_all(path).map_err(|source| SandboxError::Cache {
                action: "remove",
                path: path.clone(),
                source,
            })?;
        }
        Ok(removed)
    }

    /// What the cache has. With `thorough` every file's content is checked.
    pub(super) fn list(&self, thorough: bool) -> Vec<CachedRuntime> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.cache.folder()).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            let language =
                Language::ALL.into_iter().find(|language| id.starts_with(&format!("{language}-")));
            let current = match language {
                Some(language) => id == self::id(language) && self.compiled_path(language).exists(),
                None if id.starts_with(cached::PREFIX) => {
                    let folder = entry.path();
                    folder.join(self.engine.code_file()).exists() && !cached::is_unused(&folder)
                }
                None => continue,
            };
            let files: Vec<PathBuf> = std::fs::read_dir(entry.path())
                .into_iter()
                .flatten()
                .flatten()
                .map(|file| file.path())
                .collect();
            let stamped =
                || files.iter().filter(|path| path.extension().is_none_or(|e| e != "stamp"));
            found.push(CachedRuntime {
                current,
                sound: thorough.then(|| {
                    stamped().all(|path| self.cache.condition(path, true) == Condition::Sound)
                }),
                size_bytes: files
                    .iter()
                    .filter_map(|path| path.metadata().ok())
                    .map(|metadata| metadata.len())
                    .sum(),
                folder: entry.path(),
                id,
            });
        }
        found.sort_by(|one, other| one.id.cmp(&other.id));
        found
    }
}

/// Names a runtime by what it is built from.
fn id(language: Language) -> String {
    let mut hasher = blake3::Hasher::new();
    match language {
        Language::Python => python::hash_sources(&mut hasher),
        Language::JavaScript => javascript::hash_sources(&mut hasher),
    }
    hash_files(&mut hasher, WIT);
    format!("{language}-{}", &hasher.finalize().to_hex()[..16])
}

/// Hashes names and contents, each with its length, so that no two sets of files are alike.
fn hash_files(hasher: &mut blake3::Hasher, files: &[SourceFile]) {
    for file in files {
        for part in [file.path.as_bytes(), file.bytes] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
}
