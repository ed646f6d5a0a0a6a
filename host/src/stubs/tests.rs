//! Stubs of ordinary tools, to the letter, and of hostile ones, as Python reads them.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

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

fn stub(tools: &[ToolDescription], detail: Detail) -> ServerStub {
    server_stub(&UpstreamName::try_new("search").expect("a name"), tools, detail)
}

/// Has Python parse the sources, and answers for each what a module of that text consists of.
fn parse_by_python(sources: &[String]) -> Vec<String> {
    const PROGRAM: &str = "
import ast, json, sys
for source in json.load(sys.stdin):
    kinds = {type(node).__name__ for node in ast.parse(source).body}
    print(' '.join(sorted(kinds)))
";
    let mut child = Command::new("python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is needed to check stubs");
    let input = serde_json::to_vec(sources).expect("JSON");
    child.stdin.take().expect("a pipe").write_all(&input).expect("Python reads");
    let output = child.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "Python refuses one of {sources:#?}");
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    lines.lines().map(str::to_owned).collect()
}

#[track_caller]
fn check_type(schema: Value, expected: &str) {
    let input = json!({
        "type": "object", "properties": {"x": schema}, "required": ["x"], "$defs": {
            "Name": {"type": "string"},
            "Json": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/$defs/Json"}}]},
        }
    });
    let text = tool_stub(&tool("t", "", input), Detail::Signatures);
    let (_, after) = text.split_once("x: ").expect("a parameter");
    assert_eq!(after.split_once(") -> ").expect("a signature").0, expected);
    parse_by_python(&[text]);
}

#[test]
fn schemas_become_types() {
    check_type(json!({"type": "string"}), "str");
    check_type(json!({"type": "integer"}), "int");
    check_type(json!({"type": "number"}), "float");
    check_type(json!({"type": "boolean"}), "bool");
    check_type(json!({"type": ["string", "null"]}), "str | None");
    check_type(json!({"type": "string", "nullable": true}), "str | None");
    check_type(json!({"type": "array", "items": {"type": "integer"}}), "list[int]");
    check_type(json!({"type": "array"}), "list[Any]");
    check_type(json!({"items": {"type": "string"}}), "list[str]");
    check_type(
        json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}),
        "list[str | int]",
    );
    check_type(json!({"type": "object"}), "dict[str, Any]");
    check_type(
        json!({"type": "object", "additionalProperties": {"type": "number"}}),
        "dict[str, float]",
    );
    check_type(json!({"enum": ["a", "b|c", "d]\""]}), r#"Literal["a", "b|c", "d]\""]"#);
    check_type(json!({"enum": ["a", null, 1.5]}), r#"Literal["a"] | float | None"#);
    check_type(json!({"const": true}), "Literal[True]");
    check_type(json!({"enum": (0..100).collect::<Vec<_>>()}), "int");
    check_type(json!({"anyOf": [{"type": "null"}, {"type": "integer"}]}), "int | None");
    check_type(json!({"oneOf": [{"type": "integer"}, {}]}), "Any");
    check_type(json!({"allOf": [{"type": "string"}]}), "str");
    check_type(json!({"allOf": [{"type": "string"}, {"minLength": 3}]}), "Any");
    check_type(json!({"$ref": "#/$defs/Name"}), "str");
    check_type(json!({"$ref": "#/$defs/Json"}), "str | list[Any]");
    check_type(json!({"$ref": "#/$defs/Missing"}), "Any");
    check_type(json!({"$ref": "https://elsewhere.example/schema"}), "Any");
    check_type(json!(true), "Any");
    check_type(json!({}), "Any");
}

#[test]
fn a_server_becomes_a_module() {
    let mut papers = tool(
        "search-papers",
        "Searches papers.\n\nUses \"arXiv\".",
        json!({
            "type": "object",
            "properties": {
                "max_results": {"type": "integer", "default": 10, "description": "At most so many."},
                "query": {"type": "string", "description": "Words to look for."},
                "filter": {
                    "type": "object",
                    "description": "What to leave out.",
                    "properties": {
                        "year": {"type": "integer", "description": "Of publication."},
                        "from-date": {"type": "string"},
                    },
                    "required": ["year"]
                },
                "from": {"$ref": "#/$defs/Node"},
            },
            "required": ["query"],
            "$defs": {
                "Node": {
                    "type": "object",
                    "properties": {
                        "value": {"type": "string"},
                        "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}
                    },
                    "required": ["value"]
                }
            }
        }),
    );
    papers.output_schema = Some(Arc::new(json!({
        "allOf": [
            {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]},
            {"type": "object", "properties": {"ids": {"type": "array", "items": {"type": "string"}}}}
        ]
    })));
    let plain = tool("ping", "", json!({"type": "object"}));
    let twin = tool("search_papers", "The twin.", json!({"type": "object"}));
    let full = stub(&[papers.clone(), plain.clone(), twin.clone()], Detail::Full);
    let expected = r##"# Server `search`, 3 tools. Use: `from tools import search`, then `search.NAME(argument=value)`.
# `aio.search` has the same functions as coroutines: `await aio.search.NAME(…)`.
# By any name: `tools["search"]["NAME"](argument=value)`.
# tool "search_papers" is hidden: `search_papers` is "search-papers"
from typing import Any, Literal, NotRequired, TypedDict

# What to leave out.
SearchPapersFilter = TypedDict("SearchPapersFilter", {
    # Of publication.
    "year": int,
    "from-date": NotRequired[str],
})

class SearchPapersNode(TypedDict):
    value: str
    next: NotRequired[SearchPapersNode | None]

class SearchPapersResult(TypedDict):
    total: int
    ids: NotRequired[list[str]]

def search_papers(
    *,
    query: str,
    max_results: int = 10,
    filter: SearchPapersFilter = ...,
    from_: SearchPapersNode = ...,
) -> SearchPapersResult:
    """Searches papers.

    Uses "arXiv".

    Args:
        max_results: At most so many.
        query: Words to look for.
        filter: What to leave out.
        from_ (sent as "from"):
    """

def ping() -> Any: ...
"##;
    assert_eq!(full.text, expected);
    assert_eq!(full.module, "search");
    let collision = Collision::new(None, "search_papers", "search-papers", "search_papers");
    assert_eq!(full.collisions, [collision]);

    let names = stub(&[papers.clone(), plain], Detail::Names).text;
    let (_, names) = names.split_once("value)`.\n# `aio").expect("a header");
    let (_, names) = names.split_once("value)`.\n").expect("a header");
    assert_eq!(
        names,
        "search.search_papers  # (\"search-papers\") Searches papers.\nsearch.ping\n"
    );
    assert_eq!(
        tool_stub(&twin, Detail::Full),
        "def search_papers() -> Any:\n    \"\"\"The twin.\"\"\"\n"
    );
    let kinds = parse_by_python(&[full.text, tool_stub(&papers, Detail::Signatures)]);
    assert_eq!(kinds, ["Assign ClassDef FunctionDef ImportFrom", "Assign ClassDef FunctionDef"]);
}

#[test]
fn hostile_texts_stay_texts() {
    let evil = [
        "\"\"\"\nimport os\nos.system('x')\n\"\"\"",
        "\\\"\"\"\nimport os\n#",
        "\\",
        "ends with \"",
        "\"\"\"\"\"",
        "a\rimport os\u{2028}import os\u{c}import os\0",
        "\u{202e}\u{e0049}",
        "\n\nimport os",
    ];
    let mut tools = Vec::new();
    for (nth, text) in evil.into_iter().enumerate() {
        let schema = json!({
            "type": "object",
            "properties": {
                text: {"type": "string", "description": text, "default": text},
                "b": {"enum": [text, "x"], "title": text},
                "c": {"type": "object", "description": text, "properties": {text: {"description": text}}},
                "d": {"type": "object", "description": text, "properties": {"e": {"description": text}}},
                format!("{text}?"): {"$ref": format!("#/$defs/{text}")},
            },
            "required": [text],
            "$defs": {text: {"type": "object", "properties": {"x": {"type": text}}}}
        });
        tools.push(tool(text, text, schema.clone()));
        tools.push(tool(&format!("t{nth}"), text, schema));
    }
    let details = [Detail::Names, Detail::Signatures, Detail::Full];
    let sources: Vec<String> =
        details.into_iter().map(|detail| stub(&tools, detail).text).collect();
    let kinds = parse_by_python(&sources);
    assert_eq!(kinds[0], "Expr");
    for kinds in &kinds[1..] {
        assert_eq!(kinds, "Assign ClassDef FunctionDef ImportFrom");
    }
    assert!(!sources.iter().any(|source| source.contains(['\0', '\u{202e}', '\u{e0049}'])));
}

#[test]
fn endless_schemas_come_to_an_end() {
    let mut deep = json!({"type": "string"});
    for _ in 0..120 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    let itself = json!({"$ref": "#"});
    let twice = json!({
        "allOf": [{"$ref": "#"}, {"$ref": "#"}],
        "properties": {"a": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}}
    });
    let circle = json!({
        "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}
    });
    // Every level refers twice to the next: 2^40 if nobody counted.
    let mut definitions = serde_json::Map::new();
    for level in 0..40 {
        let next = json!({"type": "array", "items": {"$ref": format!("#/$defs/L{}", level + 1)}});
        definitions.insert(
            format!("L{level}"),
            json!({"anyOf": [next.clone(), {"type": "array", "items": next}]}),
        );
    }
    let doubling = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/L0"}}, "$defs": definitions});
    let wide: serde_json::Map<String, Value> =
        (0..50_000).map(|n| (format!("p{n}"), json!({"type": "string"}))).collect();
    let wide = json!({"type": "object", "properties": wide});
    let schemas =
        [deep, itself, twice, circle, doubling, wide, json!(3), json!({"type": "string"})];
    let tools: Vec<ToolDescription> = schemas
        .into_iter()
        .enumerate()
        .map(|(nth, schema)| tool(&format!("t{nth}"), "x", schema))
        .collect();
    let made = stub(&tools, Detail::Full);
    assert!(made.text.len() < 2 * MAX_BYTES, "{}", made.text.len());
    parse_by_python(&[made.text]);
}

#[test]
fn large_servers_are_cut() {
    let text = "words ".repeat(1_000);
    let tools: Vec<ToolDescription> =
        (0..20_000).map(|n| tool(&format!("t{n}"), &text, json!({"type": "object"}))).collect();
    let made = stub(&tools, Detail::Full);
    assert!(made.text.len() < 3 * MAX_BYTES, "{}", made.text.len());
    assert!(made.text.trim_end().ends_with("more tools"));
    parse_by_python(&[made.text]);
}

#[test]
fn arguments_that_cannot_be_told_apart_are_reported() {
    let schema = json!({"type": "object", "properties": {"a-b": {}, "a_b": {}}});
    let made = stub(&[tool("t", "", schema)], Detail::Signatures);
    let text: Vec<String> = made.collisions.iter().map(ToString::to_string).collect();
    assert_eq!(text, ["argument \"a_b\" of search.t is hidden: `a_b` is \"a-b\""]);
    assert!(made.text.ends_with("\ndef t(*, a_b: Any = ...) -> Any: ...\n"), "{}", made.text);
}

/// Schemas as a careless or hostile server may send them.
fn any_schema() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        "[a-z_]{1,6}",
        "\\PC{0,8}",
        Just("class".to_owned()),
        Just("\"\"\"\n".to_owned())
    ];
    let kind = prop::sample::select(vec!["string", "integer", "array", "object", "null", "odd"]);
    let leaf = prop_oneof![
        kind.prop_map(|kind| json!({"type": kind})),
        word.clone().prop_map(|word| json!({"const": word, "description": word})),
        prop::collection::vec(word.clone(), 0..4).prop_map(|words| json!({"enum": words})),
        Just(json!({"$ref": "#"})),
        Just(json!({"$ref": "#/properties/a"})),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!({"const": number, "default": number})),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        let members = prop::collection::vec((word.clone(), inner.clone()), 0..5);
        let object = members.prop_map(|members| {
            let members: serde_json::Map<String, Value> = members.into_iter().collect();
            let required: Vec<String> = members.keys().take(2).cloned().collect();
            json!({"type": "object", "properties": members, "required": required})
        });
        let several = prop::collection::vec(inner.clone(), 0..4);
        let how = prop::sample::select(vec!["anyOf", "oneOf", "allOf", "prefixItems", "type"]);
        prop_oneof![
            object,
            (how, several).prop_map(|(how, several)| json!({ how: several, "nullable": true })),
            inner.clone().prop_map(|items| json!({"type": ["array", "null"], "items": items})),
            (inner, word.clone())
                .prop_map(|(rest, word)| json!({"additionalProperties": rest, "title": word})),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn python_reads_every_stub(
        schemas in prop::collection::vec((any_schema(), any_schema(), "\\PC{0,12}"), 40)
    ) {
        let tools: Vec<ToolDescription> = schemas
            .into_iter()
            .map(|(input, output, name)| ToolDescription {
                output_schema: Some(Arc::new(output)),
                ..tool(&name, &name, json!({"type": "object", "properties": {"a": input, "b": {"$ref": "#"}}}))
            })
            .collect();
        parse_by_python(&[stub(&tools, Detail::Full).text, stub(&tools, Detail::Names).text]);
    }
}
