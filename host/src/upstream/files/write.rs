//! The tools that change: `write_file`, `edit_file`, `create_directory`.

use std::io::{self, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cap_std::fs::{Dir, OpenOptions, Permissions};
use serde::Deserialize;
use serde_json::json;

use super::path::Place;
use super::read::{Encoding, read_text};
use super::{Answer, MAX_FILE_BYTES, Output, Root};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteFile {
    path: String,
    text: String,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default = "yes")]
    overwrite: bool,
}

fn yes() -> bool {
    true
}

pub(super) fn write_file(roots: &[Root], wanted: WriteFile) -> Answer {
    let place = Place::find(roots, &wanted.path)?;
    place.check_writable()?;
    let bytes = match wanted.encoding {
        Encoding::Text => wanted.text.into_bytes(),
        Encoding::Base64 => BASE64_STANDARD
            .decode(wanted.text.trim_ascii())
            .map_err(|error| format!("the text is not base64: {error}"))?,
    };
    let created = replace(&place, &bytes, wanted.overwrite)?;
    let (path, size) = (place.shown(), bytes.len());
    let verb = if created { "created" } else { "replaced" };
    let text = format!("{verb} {path}, {size} bytes");
    Ok(Output::new(json!({ "path": path, "size_bytes": size, "created": created }), text))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EditFile {
    path: String,
    old_text: String,
    new_text: String,
    #[serde(default)]
    replace_all: bool,
}

pub(super) fn edit_file(roots: &[Root], wanted: EditFile) -> Answer {
    let place = Place::find(roots, &wanted.path)?;
    place.check_writable()?;
    if wanted.old_text.is_empty() {
        return Err("old_text is empty; give the exact text to replace".to_owned());
    }
    let text = read_text(&place)?;
    let count = text.matches(&wanted.old_text).count();
    match count {
        0 => {
            return Err(format!(
                "old_text is not in {}; it has to match exactly, spaces and line ends included. \
                 Nothing was changed",
                place.shown()
            ));
        }
        2.. if !wanted.replace_all => {
            return Err(format!(
                "old_text is in {} {count} times; give more of its surroundings, or set \
                 replace_all. Nothing was changed",
                place.shown()
            ));
        }
        _ => {}
    }
    // Before the text is made: a small old and a large new text multiply.
    let grown = count.saturating_mul(wanted.new_text.len().saturating_sub(wanted.old_text.len()));
    check_size(&place, text.len().saturating_add(grown))?;
    let text = text.replace(&wanted.old_text, &wanted.new_text);
    replace(&place, text.as_bytes(), true)?;
    let path = place.shown();
    let words = format!("replaced {count} occurrence(s) in {path}");
    let structured = json!({ "path": path, "replacements": count, "size_bytes": text.len() });
    Ok(Output::new(structured, words))
}

fn check_size(place: &Place<'_>, size: usize) -> Result<(), String> {
    if size as u64 > MAX_FILE_BYTES {
        return Err(format!(
            "{} would have {size} bytes; at most {MAX_FILE_BYTES} can be written. Nothing was \
             changed",
            place.shown()
        ));
    }
    Ok(())
}

/// Puts new content in place of a file, or makes the file. Atomic: other readers, and a crash at
/// any moment, see the old content or the new. Gives whether the file is new.
fn replace(place: &Place<'_>, bytes: &[u8], overwrite: bool) -> Result<bool, String> {
    check_size(place, bytes.len())?;
    let explain = |error: io::Error| place.explain(&error);
    // A link is followed (inside its root), so that the file behind it changes and not the link.
    let is_link = place
        .directory()
        .symlink_metadata(&place.inside)
        .is_ok_and(|metadata| metadata.is_symlink());
    let target = if is_link {
        let real = place.directory().canonicalize(&place.inside).map_err(explain)?;
        let inside = real.to_str().map(ToOwned::to_owned);
        let inside = inside.ok_or_else(|| format!("{} is an odd link", place.shown()))?;
        Place { root: place.root, inside }
    } else {
        Place { root: place.root, inside: place.inside.clone() }
    };
    let (parent, name) = target.split()?;
    let directory = place.directory().open_dir(parent).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{}; create_directory makes directories", place.explain(&error))
        }
        _ => explain(error),
    })?;
    let existing = match directory.symlink_metadata(name) {
        Ok(metadata) if !metadata.is_file() => {
            return Err(format!("{} is there and is not a regular file", place.shown()));
        }
        Ok(_) if !overwrite => {
            return Err(format!("{} exists already; nothing was changed", place.shown()));
        }
        Ok(metadata) if metadata.permissions().readonly() => {
            return Err(format!("{} is write-protected; nothing was changed", place.shown()));
        }
        Ok(metadata) => Some(metadata.permissions()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(explain(error)),
    };
    let created = existing.is_none();
    let temporary = Temporary::write(&directory, bytes, existing).map_err(explain)?;
    temporary.put_at(name, overwrite).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("{} exists already; nothing was changed", place.shown())
        }
        _ => explain(error),
    })?;
    Ok(created)
}

/// A file that is not yet in its place. Removed on drop unless it got there.
struct Temporary<'a> {
    directory: &'a Dir,
    name: String,
}

impl<'a> Temporary<'a> {
    fn write(
        directory: &'a Dir,
        bytes: &[u8],
        permissions: Option<Permissions>,
    ) -> io::Result<Self> {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = format!(".toolcell-{:016x}.tmp", u64::from_ne_bytes(random));
        let mut file =
            directory.open_with(&name, OpenOptions::new().write(true).create_new(true))?;
        let temporary = Self { directory, name };
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(temporary)
    }

    fn put_at(self, name: &str, overwrite: bool) -> io::Result<()> {
        if overwrite {
            return self.directory.rename(&self.name, self.directory, name);
        }
        // A hard link, unlike a rename, fails if somebody was faster. Drop removes the other name.
        self.directory.hard_link(&self.name, self.directory, name)
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // After a rename there is nothing left of this name.
        let _ = self.directory.remove_file(&self.name);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateDirectory {
    path: String,
}

pub(super) fn create_directory(roots: &[Root], wanted: CreateDirectory) -> Answer {
    let place = Place::find(roots, &wanted.path)?;
    place.check_writable()?;
    let created = !place.directory().is_dir(&place.inside);
    place.directory().create_dir_all(&place.inside).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("{} is there and is not a directory", place.shown())
        }
        _ => place.explain(&error),
    })?;
    let path = place.shown();
    let text = format!("{} {path}", if created { "created" } else { "there was already" });
    Ok(Output::new(json!({ "path": path, "created": created }), text))
}
