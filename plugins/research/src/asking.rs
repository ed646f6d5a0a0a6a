//! Which tools look like a search, and what their arguments are called.

use serde_json::{Map, Value, json};

/// The word that a search tool has in its name.
const SEARCHES: [&str; 4] = ["search", "find", "query", "lookup"];

/// What the argument with the question is called, the likeliest first.
const QUERIES: [&str; 9] =
    ["query", "q", "question", "search_query", "search", "pattern", "keywords", "text", "term"];

/// What the argument with the number of hits is called.
const LIMITS: [&str; 9] =
    ["limit", "max_results", "maxResults", "count", "top_k", "num_results", "page_size", "n", "k"];

/// Whether a tool of this name may be asked without being told to: `search`, `search_files`, `findPages`.
pub fn looks_like_a_search(tool: &str) -> bool {
    let tool = tool.to_lowercase();
    let mut words = tool.split(|letter: char| !letter.is_alphanumeric());
    words.any(|word| {
        let is_one = SEARCHES.iter().any(|search| word.starts_with(search));
        is_one || word.ends_with("search") && !word.ends_with("research")
    })
}

/// The first try, before anything is known of the tool: nearly all of them take this.
pub fn usual(query: &str) -> Value {
    json!({ "query": query })
}

/// The arguments that a tool's schema wants; nothing if there is none for the question, or more is needed
/// than the question.
pub fn fitting(schema: &Value, query: &str, limit: usize) -> Option<Value> {
    let properties = schema.get("properties")?.as_object()?;
    let is = |name: &str, kinds: &[&str]| {
        properties.get(name).is_some_and(|property| has_type(property, kinds))
    };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let known = QUERIES.into_iter().find(|name| is(name, &["string"]));
    // A single text that has to be there is the question, whatever its name.
    let only = || match required.as_slice() {
        [name] if is(name, &["string"]) => Some(*name),
        _ => None,
    };
    let question = known.or_else(only)?;
    let mut arguments = Map::from_iter([(question.to_owned(), json!(query))]);
    if let Some(name) = LIMITS.into_iter().find(|name| is(name, &["integer", "number"])) {
        arguments.insert(name.to_owned(), json!(limit));
    }
    // The folder in which a search of files begins: the server's own.
    if required.contains(&"path") && is("path", &["string"]) && question != "path" {
        arguments.insert("path".to_owned(), json!("."));
    }
    required.iter().all(|name| arguments.contains_key(*name)).then_some(Value::Object(arguments))
}

fn has_type(property: &Value, kinds: &[&str]) -> bool {
    let is_one = |value: &Value| value.as_str().is_some_and(|kind| kinds.contains(&kind));
    match property.get("type") {
        Some(Value::Array(several)) => several.iter().any(is_one),
        Some(one) => is_one(one),
        None => {
            let any = property.get("anyOf").and_then(Value::as_array);
            any.is_some_and(|any| any.iter().any(|one| one.get("type").is_some_and(is_one)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_are_known_by_their_names() {
        for tool in
            ["search", "search_files", "web-search", "findPages", "query", "websearch", "x.search"]
        {
            assert!(looks_like_a_search(tool), "{tool}");
        }
        for tool in ["read_file", "get_research", "defines", "echo"] {
            assert!(!looks_like_a_search(tool), "{tool}");
        }
    }

    #[test]
    fn arguments_are_named_as_the_schema_has_them() {
        #[track_caller]
        fn check(schema: Value, expected: Option<Value>) {
            assert_eq!(fitting(&schema, "wasm", 5), expected, "{schema}");
        }
        let text = json!({"type": "string"});
        check(json!({"properties": {"query": text}}), Some(json!({"query": "wasm"})));
        check(
            json!({"properties": {"q": text, "top_k": {"type": "integer"}}, "required": ["q"]}),
            Some(json!({"q": "wasm", "top_k": 5})),
        );
        check(
            json!({"properties": {"query": text, "n": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}),
            Some(json!({"query": "wasm", "n": 5})),
        );
        check(
            json!({"properties": {"path": text, "pattern": text}, "required": ["path", "pattern"]}),
            Some(json!({"pattern": "wasm", "path": "."})),
        );
        check(
            json!({"properties": {"about": text, "lang": text}, "required": ["about"]}),
            Some(json!({"about": "wasm"})),
        );
        check(
            json!({"properties": {"query": text, "index": text}, "required": ["query", "index"]}),
            None,
        );
        check(json!({"properties": {"id": {"type": "integer"}}, "required": ["id"]}), None);
        check(json!({}), None);
    }
}
