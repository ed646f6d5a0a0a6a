//! The tools that look: `read_file`, `list_directory`, `stat`.

use std::io::{Read, Seek, SeekFrom};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cap_std::fs::{File, FileType, Metadata};
use serde::Deserialize;
use serde_json::{Value, json};

use super::path::{Place, join};
use super::{Answer, MAX_FILE_BYTES, Output, Root};
use crate::tool::ContentBlock;

/// Bytes of one read where the caller does not say.
const DEFAULT_READ_BYTES: u64 = 1 << 20;

/// The most entries that are listed; of a larger directory, some are left out.
const MAX_ENTRIES: usize = 2000;

/// The most entries that are looked at to list them in order.
const MAX_SEEN_ENTRIES: usize = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadFile {
    path: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    limit: Option<u64>,
    #[serde(default)]
    encoding: Encoding,
}

/// How bytes become JSON text, and back.
#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    #[default]
    Text,
    Base64,
}

pub(super) fn read_file(roots: &[Root], wanted: ReadFile) -> Answer {
    let place = Place::find(roots, &wanted.path)?;
    let limit = wanted.limit.unwrap_or(DEFAULT_READ_BYTES);
    if limit == 0 || limit > MAX_FILE_BYTES {
        return Err(format!("limit has to be between 1 and {MAX_FILE_BYTES}"));
    }
    let (mut file, size) = place.open_file()?;
    let bytes =
        read_part(&mut file, wanted.offset, limit).map_err(|error| place.explain(&error))?;
    let end = wanted.offset.saturating_add(bytes.len() as u64);
    let part = Part { place: &place, bytes, offset: wanted.offset, size, more: end < size };
    match wanted.encoding {
        Encoding::Base64 => Ok(part.into_base64()),
        Encoding::Text => part.into_text(),
    }
}

/// Never more than `limit` bytes, however the file grows meanwhile.
fn read_part(file: &mut File, offset: u64, limit: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// All of a file as text, for editing it.
pub(super) fn read_text(place: &Place<'_>) -> Result<String, String> {
    let (mut file, size) = place.open_file()?;
    if size > MAX_FILE_BYTES {
        return Err(format!(
            "{} has {size} bytes; at most {MAX_FILE_BYTES} can be edited",
            place.shown()
        ));
    }
    let bytes = read_part(&mut file, 0, MAX_FILE_BYTES).map_err(|error| place.explain(&error))?;
    String::from_utf8(bytes).map_err(|_| not_text(place))
}

fn not_text(place: &Place<'_>) -> String {
    format!("{} is not UTF-8 text; read it with encoding \"base64\"", place.shown())
}

struct Part<'a> {
    place: &'a Place<'a>,
    bytes: Vec<u8>,
    offset: u64,
    size: u64,
    more: bool,
}

impl Part<'_> {
    fn into_base64(self) -> Output {
        let data = BASE64_STANDARD.encode(&self.bytes);
        let mut structured = self.describe(self.bytes.len());
        structured["base64"] = data.clone().into();
        Output::new(structured, data)
    }

    fn into_text(mut self) -> Answer {
        if self.offset == 0
            && !self.more
            && let Some(mime_type) = image_type(&self.bytes)
        {
            let mut structured = self.describe(self.bytes.len());
            structured["mime_type"] = mime_type.into();
            let content =
                ContentBlock::Image { data: self.bytes.into(), mime_type: mime_type.to_owned() };
            return Ok(Output { structured, content });
        }
        if let Err(error) = std::str::from_utf8(&self.bytes) {
            // A part may end in the middle of a character; the next part begins with it.
            if error.error_len().is_some() || !self.more || error.valid_up_to() == 0 {
                return Err(not_text(self.place));
            }
            self.bytes.truncate(error.valid_up_to());
        }
        let mut structured = self.describe(self.bytes.len());
        let text = String::from_utf8(self.bytes).map_err(|_| not_text(self.place))?;
        structured["text"] = text.clone().into();
        Ok(Output::new(structured, text))
    }

    fn describe(&self, length: usize) -> Value {
        let end = self.offset.saturating_add(length as u64);
        let mut described = json!({
            "path": self.place.shown(),
            "size_bytes": self.size,
            "truncated": self.more,
        });
        if self.more {
            described["next_offset"] = end.into();
        }
        described
    }
}

/// The images that models can look at, by their first bytes.
fn image_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListDirectory {
    #[serde(default)]
    path: String,
}

pub(super) fn list_directory(roots: &[Root], wanted: ListDirectory) -> Answer {
    let nowhere = wanted.path.split('/').all(|part| part.is_empty() || part == ".");
    if roots.len() > 1 && nowhere && !wanted.path.starts_with('/') {
        let entries = roots
            .iter()
            .map(|root| json!({ "name": root.name, "kind": "directory" }))
            .collect::<Vec<_>>();
        return Ok(listing("", entries, false));
    }
    let place = Place::find(roots, &wanted.path)?;
    let entries =
        place.directory().read_dir(&place.inside).map_err(|error| place.explain(&error))?;
    let mut found: Vec<(String, Value)> = entries
        .take(MAX_SEEN_ENTRIES)
        .filter_map(Result::ok)
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut described = json!({ "name": name });
            if let Ok(metadata) = entry.metadata() {
                describe(&metadata, &mut described);
            }
            (name, described)
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let truncated = found.len() > MAX_ENTRIES;
    found.truncate(MAX_ENTRIES);
    let entries = found.into_iter().map(|(_, described)| described).collect();
    Ok(listing(&place.shown(), entries, truncated))
}

fn listing(path: &str, entries: Vec<Value>, truncated: bool) -> Output {
    let mut text: String = entries
        .iter()
        .map(|entry| {
            let name = entry["name"].as_str().unwrap_or_default();
            let slash = if entry["kind"] == "directory" { "/" } else { "" };
            format!("{name}{slash}\n")
        })
        .collect();
    if truncated {
        text.push_str("(and more)\n");
    }
    Output::new(json!({ "path": path, "entries": entries, "truncated": truncated }), text)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stat {
    path: String,
}

pub(super) fn stat(roots: &[Root], wanted: Stat) -> Answer {
    let place = Place::find(roots, &wanted.path)?;
    let metadata =
        place.directory().symlink_metadata(&place.inside).map_err(|error| place.explain(&error))?;
    let mut described = json!({ "path": join(&place.root.name, &place.inside) });
    describe(&metadata, &mut described);
    described["writable"] = (!place.root.read_only && !metadata.permissions().readonly()).into();
    if let Ok(modified) = metadata.modified() {
        let modified = humantime::format_rfc3339_seconds(modified.into_std());
        described["modified"] = modified.to_string().into();
    }
    let text = described.to_string();
    Ok(Output::new(described, text))
}

fn describe(metadata: &Metadata, into: &mut Value) {
    into["kind"] = kind(metadata.file_type()).into();
    if metadata.is_file() {
        into["size_bytes"] = metadata.len().into();
    }
}

fn kind(file_type: FileType) -> &'static str {
    if file_type.is_file() {
        "file"
    } else if file_type.is_dir() {
        "directory"
    } else if file_type.is_symlink() {
        "symlink"
    } else {
        "other"
    }
}
