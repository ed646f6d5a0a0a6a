//! What `toolcell plugin new` writes: a project that builds and passes its test as it is.
//!
//! The files lie in a folder for each language. In them `{{name}}` stands for the plugin's name and
//! `{{identifier}}` for the same as an identifier. A name that ends with `.in` loses that ending, so
//! that no tool takes a template for the thing itself, and one that begins with `dot-` becomes hidden.

use std::path::{Path, PathBuf};

use super::build::BuildError;
use super::installed::write_whole;
use super::manifest::PluginLanguage;
use crate::ids::UpstreamName;

/// A file of a template.
struct TemplateFile {
    path: &'static str,
    bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/embedded_templates.rs"));

/// Where a project in Rust has the SDK.
const SDK: &str = "toolcell-guest/";

/// Writes a new project into a folder that does not exist yet, or is empty. Answers its files.
///
/// # Errors
/// The folder has something in it, or nothing can be written there; then nothing stays.
pub fn write_project(
    folder: &Path,
    name: &UpstreamName,
    language: PluginLanguage,
) -> Result<Vec<PathBuf>, BuildError> {
    let files = match language {
        PluginLanguage::Rust => RUST,
        PluginLanguage::Python => PYTHON,
        PluginLanguage::JavaScript => JAVASCRIPT,
    };
    let existed = folder.exists();
    if existed {
        let mut entries = folder.read_dir().map_err(failed("read", folder))?;
        if entries.next().is_some() {
            let shown = folder.display();
            return Err(BuildError::Source(format!(
                "{shown} is there already, and is not empty: choose another name or folder"
            )));
        }
    }
    let written = write_all(folder, name, files);
    if written.is_err() && !existed {
        let _ = std::fs::remove_dir_all(folder);
    }
    written
}

fn write_all(
    folder: &Path,
    name: &UpstreamName,
    files: &[TemplateFile],
) -> Result<Vec<PathBuf>, BuildError> {
    let identifier: String =
        name.as_str().chars().map(|c| if c == '-' { '_' } else { c }).collect();
    let fill =
        |text: &str| text.replace("{{name}}", name.as_str()).replace("{{identifier}}", &identifier);
    let mut written = Vec::new();
    for TemplateFile { path, bytes } in files {
        let path = fill(path.strip_suffix(".in").unwrap_or(path));
        let path = match path.rsplit_once('/') {
            Some((folder, file)) => format!("{folder}/{}", shown_or_hidden(file)),
            None => shown_or_hidden(&path),
        };
        let file = folder.join(&path);
        let parent = file.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(failed("make", parent))?;
        // The SDK that comes along has braces of its own.
        let ours = !path.starts_with(SDK);
        let text = std::str::from_utf8(bytes).ok().filter(|_| ours).map(fill);
        let bytes = text.as_ref().map_or(*bytes, |text| text.as_bytes());
        write_whole(&file, bytes).map_err(|error| BuildError::Source(error.to_string()))?;
        written.push(PathBuf::from(path));
    }
    Ok(written)
}

fn failed<'p>(
    action: &'static str,
    path: &'p Path,
) -> impl FnOnce(std::io::Error) -> BuildError + 'p {
    move |source| BuildError::File { action, path: path.to_owned(), source }
}

fn shown_or_hidden(file: &str) -> String {
    file.strip_prefix("dot-").map_or_else(|| file.to_owned(), |name| format!(".{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::build::Project;

    #[test]
    fn every_language_has_a_project_with_a_manifest() {
        for (files, language) in [
            (RUST, PluginLanguage::Rust),
            (PYTHON, PluginLanguage::Python),
            (JAVASCRIPT, PluginLanguage::JavaScript),
        ] {
            if files.is_empty() {
                continue;
            }
            let home = tempfile::tempdir().expect("a folder");
            let folder = home.path().join("my-plugin");
            let name = UpstreamName::try_new("my-plugin").expect("a name");
            let written = write_project(&folder, &name, language).expect("writes");
            assert!(written.contains(&PathBuf::from("plugin.toml")), "{written:?}");
            let project = Project::open(&folder).expect("a project");
            assert_eq!((project.language, project.manifest.name), (language, name.clone()));
            for path in written.iter().filter(|path| !path.starts_with(SDK)) {
                let text = std::fs::read_to_string(folder.join(path)).expect("reads");
                assert!(
                    !text.contains("{{name") && !text.contains("{{ident"),
                    "{} has a placeholder left",
                    path.display()
                );
            }
            write_project(&folder, &name, language).expect_err("the folder is not empty");
        }
    }
}
