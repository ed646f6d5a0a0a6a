//! A plugin in Python: the author's folder, the packages he names, our SDK and CPython become one
//! component, snapshotted after his module was imported.

use std::fs;
use std::path::Path;

use super::BuildError;
use super::sources::{self, Sources};
use crate::sandbox::{Cache, Componentize, Progress};

/// The author's list of packages.
const REQUIREMENTS: &str = "requirements.txt";

/// Files of a project that are no sources.
const NOT_SOURCES: [&str; 6] = ["dist", "venv", "__pycache__", "node_modules", "tests", "typings"];

/// Builds the component of the project in `folder`, whose main file is `plugin.py` or the package
/// `plugin`. Blocks, for 10 to 20 seconds.
///
/// # Errors
/// The sources have a fault, or the tools cannot be had.
pub fn build(folder: &Path, cache: &Cache, progress: Progress<'_>) -> Result<Vec<u8>, BuildError> {
    if !folder.join("plugin.py").is_file() && !folder.join("plugin/__init__.py").is_file() {
        let folder = folder.display();
        return Err(BuildError::Source(format!(
            "{folder} has no plugin.py, and no package `plugin`: that is where a plugin's tools are"
        )));
    }
    let tools = Componentize::install(cache, progress)?;
    let work = sources::work_folder(cache)?;
    let author = Componentize::author_folder(work.path());
    Sources { skipped: &NOT_SOURCES }.copy(folder, &author)?;
    let packages = work.path().join("packages");
    let requirements = folder.join(REQUIREMENTS);
    let has_packages = fs::read_to_string(&requirements).is_ok_and(|text| names_any(&text));
    if has_packages {
        progress("installing the packages of requirements.txt");
        tools.packages(&requirements, &packages)?;
    }
    progress(
        "building the component: CPython 3.14, its standard library and your module (about 15 s)",
    );
    Ok(tools.plugin(work.path(), has_packages.then_some(packages.as_path()))?)
}

/// Whether a list of packages names one.
fn names_any(requirements: &str) -> bool {
    let lines = requirements.lines().map(str::trim);
    lines.into_iter().any(|line| !line.is_empty() && !line.starts_with('#'))
}
