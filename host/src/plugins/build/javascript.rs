//! A plugin in JavaScript or TypeScript: the author's module is loaded into the JavaScript runtime, and
//! the component begins there. What it exports then are its tools.

use std::fs;
use std::path::{Path, PathBuf};

use super::BuildError;
use super::modules::Modules;
use crate::runs::Script;
use crate::sandbox::{Progress, javascript_plugin};

/// Where the main file is, if nobody says.
const MAIN: [&str; 6] =
    ["plugin.ts", "plugin.mts", "plugin.js", "plugin.mjs", "src/plugin.ts", "src/plugin.js"];

/// Builds the component of the project in `folder`. Blocks, for about a second.
///
/// # Errors
/// The sources have a fault.
pub fn build(
    folder: &Path,
    source: Option<&Path>,
    progress: Progress<'_>,
) -> Result<Vec<u8>, BuildError> {
    let main = match source {
        Some(source) => source.to_owned(),
        None => main_of(folder)?,
    };
    let whole = Modules::new(folder).joined(&main)?;
    if whole.len() > Script::MAX_SOURCE_BYTES {
        return Err(BuildError::Source(format!(
            "the plugin's source has {} bytes, and may have {}",
            whole.len(),
            Script::MAX_SOURCE_BYTES
        )));
    }
    progress("building the component: the JavaScript runtime and your module (some seconds)");
    let name = main.to_string_lossy();
    Ok(javascript_plugin(&name, &whole)?)
}

fn main_of(folder: &Path) -> Result<PathBuf, BuildError> {
    let found = MAIN.iter().find(|name| fs::exists(folder.join(name)).unwrap_or(false));
    found.map(PathBuf::from).ok_or_else(|| {
        BuildError::Source(format!(
            "{} has no plugin.ts and no plugin.js: that is where a plugin's tools are, or where \
             plugin.toml says: [build] source = \"FILE\"",
            folder.display()
        ))
    })
}
