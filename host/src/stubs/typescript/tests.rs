//! Declarations of ordinary tools, to the letter, and of hostile ones.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::ids::ToolName;
use crate::tool::ToolHints;

fn tool(name: &str, description: &str, input: Value) -> ToolDescription {
    let server = UpstreamName::try_new("search").expect("a name");
    ToolDescription {
        name: ToolName::new(server, name),
        title: None,
        description: Some(description.to_owned()).filter(|text| !text.is_empty()),
        input_schema: Arc::new(input),
        output_schema: None,
        hints: ToolHints::default(),
        raw: None,
    }
}

#[test]
fn schemas_become_types() {
    #[track_caller]
    fn check(schema: Value, expected: &str) {
        let input = json!({
            "type": "object", "properties": {"x": schema}, "required": ["x"], "$defs": {
                "Name": {"type": "string"},
                "Json": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/Json"}}]},
            }
        });
        let text = tool_declaration(&tool("t", "", input), Detail::Signatures);
        let (_, after) = text.split_once("x: ").expect("a parameter");
        assert_eq!(after.split_once(';').expect("a field").0, expected);
    }
    check(json!({"type": "string"}), "string");
    check(json!({"type": "integer"}), "number");
    check(json!({"type": "boolean"}), "boolean");
    check(json!({"type": ["string", "null"]}), "string | null");
    check(json!({"type": "string", "nullable": true}), "string | null");
    check(json!({"type": "array", "items": {"type": "integer"}}), "number[]");
    check(
        json!({"type": "array", "items": {"type": ["string", "integer"]}}),
        "(string | number)[]",
    );
    check(json!({"type": "array"}), "unknown[]");
    check(json!({"type": "object"}), "Record<string, unknown>");
    check(
        json!({"type": "object", "additionalProperties": {"type": "number"}}),
        "Record<string, number>",
    );
    check(json!({"enum": ["a", "b|c", "d\""]}), r#""a" | "b|c" | "d\"""#);
    check(json!({"enum": [null, "a", 1.5]}), r#""a" | 1.5 | null"#);
    check(json!({"const": true}), "true");
    check(json!({"enum": (0..100).collect::<Vec<_>>()}), "number");
    check(json!({"oneOf": [{"type": "integer"}, {}]}), "unknown");
    check(json!({"allOf": [{"type": "string"}]}), "string");
    check(json!({"$ref": "#/$defs/Name"}), "string");
    check(json!({"$ref": "#/$defs/Json"}), "string | unknown[]");
    check(json!({"$ref": "#/$defs/Missing"}), "unknown");
    check(json!(true), "unknown");
}

#[test]
fn a_tool_becomes_a_function() {
    let mut papers = tool(
        "search-papers",
        "Searches papers.\n\nAll of them.",
        json!({
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "Words to look for."},
                "max": {"type": "integer", "default": 10, "description": "At most so many."},
                "from-date": {"type": "string"},
            },
            "required": ["query"],
        }),
    );
    papers.output_schema = Some(Arc::new(json!({
        "type": "object", "properties": {"titles": {"type": "array", "items": {"type": "string"}}},
        "required": ["titles"],
    })));
    assert_eq!(
        tool_declaration(&papers, Detail::Full),
        "/**\n * Searches papers.\n *\n * All of them.\n */\n\
         export function search_papers(args: {\n\
         \x20 /** Words to look for. */\n\
         \x20 query: string;\n\
         \x20 /**\n\
         \x20  * At most so many.\n\
         \x20  * @default 10\n\
         \x20  */\n\
         \x20 max?: number;\n\
         \x20 \"from-date\"?: string;\n\
         }): Promise<{ titles: string[] }>;\n"
    );
    assert_eq!(
        tool_declaration(&papers, Detail::Signatures),
        "export function search_papers(args: { query: string; max?: number; \"from-date\"?: string; }): \
         Promise<{ titles: string[] }>;\n"
    );
    assert_eq!(
        tool_declaration(&papers, Detail::Names),
        "search.search_papers // \"search-papers\" Searches papers.\n"
    );
    let none = tool("now", "", json!({"type": "object", "additionalProperties": false}));
    assert_eq!(tool_declaration(&none, Detail::Full), "export function now(): Promise<unknown>;\n");
}

#[test]
fn a_server_becomes_a_module_and_names_that_clash_are_told() {
    let tools = ["delete", "get-a", "get_a"].map(|name| tool(name, "", json!({"type": "object"})));
    let server = UpstreamName::try_new("my-server").expect("a name");
    let made = server_declarations(&server, &tools, Detail::Signatures);
    assert_eq!(made.module, "my_server");
    for part in [
        "// Server `my-server`, 3 tools. Use: `import { my_server } from \"tools\"`",
        "// tool \"get_a\" is hidden: `get_a` is \"get-a\"\n",
        "export function delete_(args?: Record<string, unknown>): Promise<unknown>;\n",
    ] {
        assert!(made.text.contains(part), "{part} is not in {}", made.text);
    }
    assert_eq!(made.text.matches("function get_a(").count(), 1);
}

#[test]
fn what_a_stranger_writes_stays_in_its_comment_and_its_string() {
    let hostile = "*/ export const evil = 1; /*\u{202e}";
    let schema = json!({
        "type": "object",
        "properties": {
            "\"; evil()": {"type": "string", "description": hostile, "default": "*/"},
            "b": {"const": "\"\n\\"},
        },
    });
    let text = tool_declaration(&tool("a\"b()", hostile, schema), Detail::Full);
    assert!(!text.replace(" */\n", "").contains("*/"), "{text}");
    assert!(!text.contains('\u{202e}'), "{text}");
    assert!(text.contains(r#""\"; evil()"?: string;"#), "{text}");
    assert!(text.contains(r#"b?: "\"\n\\";"#), "{text}");
    assert!(text.contains("function a_b__("), "{text}");
}

#[test]
fn no_schema_makes_a_declaration_endless() {
    let itself = json!({"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}});
    let mut deep = json!({"type": "string"});
    for _ in 0..200 {
        deep =
            json!({"type": "object", "properties": {"a": deep, "b": {"$ref": "#/properties/a"}}});
    }
    let wide: serde_json::Map<String, Value> =
        (0..5_000).map(|n| (format!("p{n}"), json!({"type": "string"}))).collect();
    for schema in [itself, deep, json!({"type": "object", "properties": wide})] {
        let text = tool_declaration(&tool("t", "", schema), Detail::Full);
        assert!(text.len() < 100_000, "{}", text.len());
    }
}
