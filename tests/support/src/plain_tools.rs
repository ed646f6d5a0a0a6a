//! The tools that a fixture of ours offers when it behaves.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::tiny_mcp::{Request, failure, text};

/// A tool with everything that a typed client would lose.
pub const ODD_TOOL: &str = r#"{"x-vendor":{"z":1,"a":[1.0,12345678901234567890123,1e400]},"name":"odd","title":"Odd","icons":[{"src":"data:image/png;base64,AA==","sizes":["any"],"odd":true}],"inputSchema":{"type":"object","properties":{"n":{"const":1.50}},"x-ui":null},"execution":{"taskSupport":"optional"},"annotations":{"readOnlyHint":true,"mood":"odd"},"_meta":{"com.example/k":{"deep":[{}]}}}"#;

/// What it answers.
pub const ODD_ANSWER: &str = r#""content":[{"type":"hologram","points":[1.0,1e400]},{"type":"text","text":"\u0041 ok","annotations":{"audience":["operator"]},"odd":0}],"structuredContent":{"big":12345678901234567890123,"n":1.50,"none":null},"isError":false,"x-vendor":[{}],"_meta":{"com.example/took":0.10}"#;

/// A PNG of one transparent pixel, in base64.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// The tools' descriptions, as the JSON array of `tools/list`.
pub fn list() -> String {
    let read_only = json!({"readOnlyHint": true});
    let object = |properties: Value, required: Value| json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    json!([
        {
            "name": "echo",
            "description": "Gives the text back.",
            "inputSchema": object(json!({"text": {"type": "string", "description": "Any text."}}), json!(["text"])),
            "annotations": read_only,
        },
        {
            "name": "add",
            "title": "Sum",
            "description": "Adds two integers; the answer is text and structured.",
            "inputSchema": object(
                json!({"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}}), json!(["a"])),
            "outputSchema": object(json!({"sum": {"type": "integer"}}), json!(["sum"])),
            "annotations": read_only,
        },
        {
            "name": "slow",
            "description": "Answers after so many milliseconds. Changes things, as far as its hints say.",
            "inputSchema": object(json!({"ms": {"type": "integer", "minimum": 0}}), json!(["ms"])),
        },
        {
            "name": "slow_read",
            "description": "Like slow, but it only reads.",
            "inputSchema": object(json!({"ms": {"type": "integer", "minimum": 0}}), json!(["ms"])),
            "annotations": read_only,
        },
        {
            "name": "fail",
            "description": "Always fails, in the words given.",
            "inputSchema": object(json!({"message": {"type": "string"}}), json!([])),
        },
        {
            "name": "big",
            "description": "Answers with a text of so many bytes.",
            "inputSchema": object(json!({"bytes": {"type": "integer", "minimum": 0}}), json!(["bytes"])),
            "annotations": read_only,
        },
        {
            "name": "image",
            "description": "Answers with a text and an image of one pixel.",
            "inputSchema": object(json!({}), json!([])),
            "annotations": read_only,
        },
        {
            "name": "structured",
            "description": "Answers with structured content of every JSON type, and no text block.",
            "inputSchema": object(json!({}), json!([])),
            "annotations": read_only,
        },
        {
            "name": "nested",
            "description": "Gives its arguments back as structured content.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "filter": {"$ref": "#/$defs/filter"},
                    "order": {"enum": ["newest", "oldest"], "default": "newest"},
                },
                "required": ["filter"],
                "$defs": {
                    "filter": {
                        "type": "object",
                        "properties": {
                            "field": {"type": "string"},
                            "range": {
                                "type": "array",
                                "items": {"type": "number"},
                                "minItems": 2,
                                "maxItems": 2,
                            },
                            "and": {"type": "array", "items": {"$ref": "#/$defs/filter"}},
                        },
                        "required": ["field"],
                    },
                },
            },
            "annotations": read_only,
        },
    ])
    .to_string()
}

/// Answers a `tools/call`.
pub fn call(request: &Request) -> String {
    let arguments = request.arguments();
    let number = |name: &str| arguments[name].as_u64().unwrap_or(0);
    match request.tool() {
        "echo" => request.result(&text(arguments["text"].as_str().unwrap_or_default())),
        "add" => {
            let integer = |name: &str, default| arguments[name].as_i64().unwrap_or(default);
            let sum = integer("a", 0).saturating_add(integer("b", 1));
            let words = text(&sum.to_string());
            request.result(&format!(r#"{words},"structuredContent":{{"sum":{sum}}}"#))
        }
        "slow" | "slow_read" => {
            thread::sleep(Duration::from_millis(number("ms")));
            request.result(&text(&format!("after {} ms", number("ms"))))
        }
        "fail" => {
            request.result(&failure(arguments["message"].as_str().unwrap_or("it did not work")))
        }
        "big" => {
            let bytes = usize::try_from(number("bytes")).unwrap_or(0);
            request.result(&text(&"x".repeat(bytes)))
        }
        "image" => {
            let image = json!({"type": "image", "data": PIXEL, "mimeType": "image/png"});
            let words = json!({"type": "text", "text": "one pixel"});
            request.result(&format!(r#""content":[{words},{image}]"#))
        }
        "structured" => {
            let everything = json!({
                "text": "Grüße, 世界 \u{1F30D}",
                "integer": 9_007_199_254_740_993_i64,
                "float": 0.1,
                "yes": true,
                "nothing": null,
                "list": [1, "two", [3]],
                "object": {"a.b": {"": 0}},
            });
            request.result(&format!(r#""content":[],"structuredContent":{everything}"#))
        }
        "nested" => request.result(&format!(r#""content":[],"structuredContent":{arguments}"#)),
        other => request.error(-32602, &format!("Unknown tool: {other}"), None),
    }
}
