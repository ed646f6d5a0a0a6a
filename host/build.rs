//! Puts the sources of the language runtimes and the WIT into the library, so that an installed
//! `toolcell` can build a runtime anywhere. The list is made here and not by a macro because Cargo
//! must notice files that appear or vanish.

#![expect(clippy::disallowed_methods, reason = "a build script has no configuration but Cargo's")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let package = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = package.parent().expect("the package lies in the workspace");
    let mut text = String::new();
    for (name, folder) in [
        ("PYTHON_RUNTIME", root.join("plugins/python-runtime/src")),
        ("PYTHON_PLUGIN", root.join("plugins/python-plugin/src")),
        ("WIT", root.join("guest-sdk/wit")),
    ] {
        println!("cargo:rerun-if-changed={}", folder.display());
        let mut files = Vec::new();
        collect(&folder, &mut files)?;
        files.sort();
        writeln!(text, "pub(super) const {name}: &[SourceFile] = &[").expect("writes to a string");
        for file in files {
            let relative = file.strip_prefix(&folder).expect("lies in the folder");
            let relative = relative.to_str().expect("our file names are UTF-8").replace('\\', "/");
            writeln!(
                text,
                "    SourceFile {{ path: {relative:?}, bytes: include_bytes!({file:?}) }},"
            )
            .expect("writes to a string");
        }
        text.push_str("];\n");
    }
    let requirements = root.join("plugins/python-runtime/requirements.txt");
    println!("cargo:rerun-if-changed={}", requirements.display());
    writeln!(text, "pub(super) const PYTHON_REQUIREMENTS: &str = include_str!({requirements:?});")
        .expect("writes to a string");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("embedded_sources.rs"), text)?;
    let templates_folder = package.join("src/plugins/templates");
    templates(&templates_folder, &root.join("guest-sdk"), &out.join("embedded_templates.rs"))
}

/// The projects that `toolcell plugin new` writes, one folder for each language. One in Rust brings
/// the SDK along, so that it compiles wherever it is.
fn templates(folder: &Path, sdk: &Path, to: &Path) -> io::Result<()> {
    let mut text = String::new();
    for language in ["rust", "python", "javascript"] {
        let folder = folder.join(language);
        println!("cargo:rerun-if-changed={}", folder.display());
        let mut files = Vec::new();
        if folder.is_dir() {
            named(&folder, &folder, "", &mut files)?;
        }
        if language == "rust" {
            for part in ["Cargo.toml", "src", "wit", "macros/Cargo.toml", "macros/src"] {
                println!("cargo:rerun-if-changed={}", sdk.join(part).display());
                named(&sdk.join(part), sdk, "toolcell-guest/", &mut files)?;
            }
        }
        files.sort();
        let name = language.to_uppercase();
        writeln!(text, "const {name}: &[TemplateFile] = &[").expect("writes to a string");
        for (path, file) in files {
            writeln!(
                text,
                "    TemplateFile {{ path: {path:?}, bytes: include_bytes!({file:?}) }},"
            )
            .expect("writes to a string");
        }
        text.push_str("];\n");
    }
    fs::write(to, text)
}

/// A file, or all files of a folder, with their names from `base`.
fn named(
    path: &Path,
    base: &Path,
    prefix: &str,
    files: &mut Vec<(String, PathBuf)>,
) -> io::Result<()> {
    let mut found = Vec::new();
    if path.is_dir() {
        collect(path, &mut found)?;
    } else {
        found.push(path.to_owned());
    }
    for file in found {
        let relative = file.strip_prefix(base).expect("lies in the folder");
        let relative = relative.to_str().expect("our file names are UTF-8").replace('\\', "/");
        files.push((format!("{prefix}{relative}"), file));
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.ends_with("__pycache__") {
            continue;
        }
        if path.is_dir() {
            // Cargo watches a folder's own entries only.
            println!("cargo:rerun-if-changed={}", path.display());
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
