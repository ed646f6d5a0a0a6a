//! What the tools are called, take and give.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{MAX_FILE_BYTES, Root};
use crate::ids::{ToolName, UpstreamName};
use crate::tool::{ToolDescription, ToolHints};

const LOOKS: ToolHints = ToolHints { read_only: true, idempotent: true, destructive: false };
const ADDS: ToolHints = ToolHints { read_only: false, idempotent: true, destructive: false };
const REPLACES: ToolHints = ToolHints { read_only: false, idempotent: true, destructive: true };
/// A second edit finds nothing to replace, or replaces again.
const EDITS: ToolHints = ToolHints { read_only: false, idempotent: false, destructive: true };

/// What a model should know before it calls anything.
pub(super) fn instructions(roots: &[Root]) -> String {
    let mut text = "Paths begin with the name of a root: ROOT/sub/file. The roots:".to_owned();
    for root in roots {
        text.push_str(&format!(
            "\n- {}{}",
            root.name,
            if root.read_only { " (read-only)" } else { "" }
        ));
    }
    if roots.len() == 1 {
        text.push_str("\nThe root's name may be left out.");
    }
    text
}

/// The tools; those that write only if something can be written.
pub(super) fn descriptions(server: &UpstreamName, writable: bool) -> Vec<ToolDescription> {
    let mut tools = vec![read_file(), list_directory(), search_files(), stat()];
    if writable {
        tools.extend([write_file(), edit_file(), create_directory()]);
    }
    tools.into_iter().map(|tool| tool.describe(server)).collect()
}

struct Tool {
    name: &'static str,
    title: &'static str,
    description: String,
    properties: Value,
    required: &'static [&'static str],
    result: Value,
    result_required: &'static [&'static str],
    hints: ToolHints,
}

impl Tool {
    fn describe(self, server: &UpstreamName) -> ToolDescription {
        ToolDescription {
            name: ToolName::new(server.clone(), self.name),
            title: Some(self.title.to_owned()),
            description: Some(self.description),
            input_schema: Arc::new(json!({
                "type": "object",
                "properties": self.properties,
                "required": self.required,
                "additionalProperties": false,
            })),
            output_schema: Some(Arc::new(json!({
                "type": "object",
                "properties": self.result,
                "required": self.result_required,
            }))),
            hints: self.hints,
            raw: None,
        }
    }
}

fn path() -> Value {
    json!({ "type": "string", "description": "Path that begins with the name of a root" })
}

fn encoding() -> Value {
    json!({
        "type": "string",
        "enum": ["text", "base64"],
        "default": "text",
        "description": "base64 for what is not UTF-8 text",
    })
}

fn size() -> Value {
    json!({ "type": "integer", "description": "Bytes of the whole file" })
}

fn kind() -> Value {
    json!({ "type": "string", "enum": ["file", "directory", "symlink", "other"] })
}

fn read_file() -> Tool {
    Tool {
        name: "read_file",
        title: "Read a file",
        description: format!(
            "Reads a UTF-8 text file, or a part of it (at most {MAX_FILE_BYTES} bytes at once). \
             Images come as images. If truncated is true, go on at next_offset."
        ),
        properties: json!({
            "path": path(),
            "offset": { "type": "integer", "minimum": 0, "default": 0, "description": "First byte" },
            "limit": { "type": "integer", "minimum": 1, "maximum": MAX_FILE_BYTES,
                       "default": 1 << 20, "description": "Most bytes to read" },
            "encoding": encoding(),
        }),
        required: &["path"],
        result: json!({
            "path": path(),
            "text": { "type": "string", "description": "The text, with encoding text" },
            "base64": { "type": "string", "description": "The bytes, with encoding base64" },
            "mime_type": { "type": "string", "description": "For an image, which is in the content" },
            "size_bytes": size(),
            "truncated": { "type": "boolean", "description": "There is more after this part" },
            "next_offset": { "type": "integer", "description": "Where the next part begins" },
        }),
        result_required: &["path", "size_bytes", "truncated"],
        hints: LOOKS,
    }
}

fn list_directory() -> Tool {
    Tool {
        name: "list_directory",
        title: "List a directory",
        description: "Lists a directory, in the order of the names. Without a path, the roots."
            .to_owned(),
        properties: json!({ "path": { "type": "string", "default": "",
                                      "description": "Path that begins with the name of a root" } }),
        required: &[],
        result: json!({
            "path": path(),
            "entries": { "type": "array", "items": {
                "type": "object",
                "properties": { "name": { "type": "string" }, "kind": kind(), "size_bytes": size() },
                "required": ["name"],
            } },
            "truncated": { "type": "boolean", "description": "Some entries are left out" },
        }),
        result_required: &["path", "entries", "truncated"],
        hints: LOOKS,
    }
}

fn search_files() -> Tool {
    Tool {
        name: "search_files",
        title: "Search for files",
        description: "Finds files by a glob pattern, and lines in them if `contains` is given. A \
                      pattern without a slash is matched with names at any depth (*.rs), one with \
                      a slash with the path below the start (src/**/*.rs)."
            .to_owned(),
        properties: json!({
            "path": { "type": "string", "default": "",
                      "description": "Where to begin; all roots if empty" },
            "pattern": { "type": "string", "description": "Glob: * ? [ab] {a,b} **" },
            "contains": { "type": "string", "description": "Text that a line has to contain" },
            "regex": { "type": "boolean", "default": false,
                       "description": "contains is a regular expression" },
            "max_results": { "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 },
        }),
        required: &["pattern"],
        result: json!({
            "matches": { "type": "array", "items": {
                "type": "object",
                "properties": {
                    "path": path(),
                    "line": { "type": "integer", "description": "Counted from 1" },
                    "text": { "type": "string", "description": "The line" },
                },
                "required": ["path"],
            } },
            "truncated": { "type": "boolean", "description": "The search is not complete" },
            "note": { "type": "string", "description": "Why it is not" },
        }),
        result_required: &["matches", "truncated"],
        hints: LOOKS,
    }
}

fn stat() -> Tool {
    Tool {
        name: "stat",
        title: "Look at a file",
        description: "Tells kind, size and time of change of a file or directory.".to_owned(),
        properties: json!({ "path": path() }),
        required: &["path"],
        result: json!({
            "path": path(),
            "kind": kind(),
            "size_bytes": size(),
            "modified": { "type": "string", "format": "date-time" },
            "writable": { "type": "boolean" },
        }),
        result_required: &["path", "kind", "writable"],
        hints: LOOKS,
    }
}

fn write_file() -> Tool {
    Tool {
        name: "write_file",
        title: "Write a file",
        description: format!(
            "Creates a file or replaces its whole content, at most {MAX_FILE_BYTES} bytes, all at \
             once or not at all. The directory has to exist."
        ),
        properties: json!({
            "path": path(),
            "text": { "type": "string", "description": "The new content" },
            "encoding": encoding(),
            "overwrite": { "type": "boolean", "default": true,
                           "description": "false: fail if the file exists" },
        }),
        required: &["path", "text"],
        result: json!({
            "path": path(),
            "size_bytes": size(),
            "created": { "type": "boolean", "description": "There was no such file before" },
        }),
        result_required: &["path", "size_bytes", "created"],
        hints: REPLACES,
    }
}

fn edit_file() -> Tool {
    Tool {
        name: "edit_file",
        title: "Edit a file",
        description: "Replaces an exact piece of a text file. It has to be in the file once, \
                      unless replace_all is set."
            .to_owned(),
        properties: json!({
            "path": path(),
            "old_text": { "type": "string", "minLength": 1,
                          "description": "The exact text to replace" },
            "new_text": { "type": "string", "description": "What stands there afterwards" },
            "replace_all": { "type": "boolean", "default": false },
        }),
        required: &["path", "old_text", "new_text"],
        result: json!({
            "path": path(),
            "replacements": { "type": "integer" },
            "size_bytes": size(),
        }),
        result_required: &["path", "replacements", "size_bytes"],
        hints: EDITS,
    }
}

fn create_directory() -> Tool {
    Tool {
        name: "create_directory",
        title: "Create a directory",
        description: "Creates a directory, and those above it that are missing. One that is there \
                      stays as it is."
            .to_owned(),
        properties: json!({ "path": path() }),
        required: &["path"],
        result: json!({
            "path": path(),
            "created": { "type": "boolean", "description": "It was not there before" },
        }),
        result_required: &["path", "created"],
        hints: ADDS,
    }
}
