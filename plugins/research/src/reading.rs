//! What a search tool answered, read as hits. Servers agree on little: some give structured content with
//! a list under one of many names, some a list in a text, some a line for each hit.

use serde_json::Value;

/// One thing that one server found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub title: String,
    pub url: Option<String>,
    pub snippet: Option<String>,
}

/// Of one server no more than this is read.
const MAX_HITS: usize = 200;

/// In characters.
const MAX_TITLE: usize = 300;
const MAX_SNIPPET: usize = 600;

/// Where lists of hits are found, the likeliest first.
const LISTS: [&str; 12] = [
    "hits",
    "results",
    "result",
    "items",
    "documents",
    "entities",
    "matches",
    "papers",
    "pages",
    "entries",
    "data",
    "content",
];

const TITLES: [&str; 6] = ["title", "name", "heading", "path", "id", "url"];
const URLS: [&str; 6] = ["url", "uri", "link", "href", "html_url", "path"];
const SNIPPETS: [&str; 8] =
    ["snippet", "summary", "description", "abstract", "observations", "text", "body", "content"];

/// The hits in a structured answer.
pub fn structured(answer: &Value) -> Vec<Found> {
    match list(answer, 0) {
        Some(items) => items.iter().take(MAX_HITS).filter_map(item).collect(),
        None => item(answer).into_iter().collect(),
    }
}

/// The hits in a text: JSON if it is that, a hit in each line if it is not.
pub fn text(answer: &str) -> Vec<Found> {
    let begins_so = answer.trim_start().starts_with(['{', '[']);
    if begins_so && let Ok(value) = serde_json::from_str(answer) {
        return structured(&value);
    }
    answer.lines().filter_map(line).take(MAX_HITS).collect()
}

/// The list that is meant: the answer itself, or a member of it, or of its only member.
fn list(answer: &Value, depth: usize) -> Option<&Vec<Value>> {
    if let Value::Array(items) = answer {
        return Some(items);
    }
    let object = answer.as_object()?;
    let named = LISTS.iter().find_map(|name| match object.get(*name)? {
        Value::Array(items) => Some(items),
        inner if depth < 2 => list(inner, depth + 1),
        _ => None,
    });
    // A list of another name, if it is the only one.
    named.or_else(|| {
        let mut lists = object.values().filter_map(Value::as_array);
        lists.next().filter(|_| lists.next().is_none())
    })
}

fn item(value: &Value) -> Option<Found> {
    if let Value::String(text) = value {
        return line(text);
    }
    let object = value.as_object()?;
    let first = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| object.get(*name).and_then(words))
            .filter(|text| !text.is_empty())
    };
    let title = first(&TITLES)?;
    Some(Found {
        title: shortened(&title, MAX_TITLE),
        url: first(&URLS).filter(|url| is_place(url)),
        snippet: first(&SNIPPETS).map(|text| shortened(&text, MAX_SNIPPET)),
    })
}

fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            (!texts.is_empty()).then(|| texts.join("; "))
        }
        _ => None,
    }
}

/// A line such as `- [A title](https://a.example/) more`, `A title https://a.example/`, or a path.
fn line(line: &str) -> Option<Found> {
    let line = line.trim().trim_start_matches(['-', '*', '•']).trim();
    // Rulers, brackets and "No matches found" are no hits.
    if !line.contains(char::is_alphanumeric) || is_nothing(line) {
        return None;
    }
    if let Some((title, rest)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]("))
        && let Some((url, after)) = rest.split_once(')')
    {
        let snippet = after.trim().trim_start_matches([':', '-', '–', '—']).trim();
        return Some(Found {
            title: shortened(title, MAX_TITLE),
            url: Some(url.to_owned()),
            snippet: (!snippet.is_empty()).then(|| shortened(snippet, MAX_SNIPPET)),
        });
    }
    let url = line.split_whitespace().find(|word| word.contains("://"));
    let url = url.map(|url| url.trim_matches(['(', ')', '<', '>', ',', ';']));
    let title = url.map_or_else(|| line.to_owned(), |url| line.replace(url, ""));
    let title = title.trim().trim_matches([':', '-', '–', '—', '(', ')', '<', '>']).trim();
    let place = url.or_else(|| is_place(line).then_some(line));
    Some(Found {
        title: shortened(if title.is_empty() { line } else { title }, MAX_TITLE),
        url: place.map(str::to_owned),
        snippet: None,
    })
}

/// What servers say where they found nothing.
fn is_nothing(line: &str) -> bool {
    let line = line.to_lowercase();
    ["no match", "no result", "nothing found", "no hits", "not found"]
        .iter()
        .any(|words| line.starts_with(words))
}

/// Whether a text names a place: a URL, or a path.
fn is_place(text: &str) -> bool {
    !text.contains(char::is_whitespace) && (text.contains("://") || text.contains('/'))
}

fn shortened(text: &str, characters: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(characters) {
        None => text,
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(title: &str, url: Option<&str>, snippet: Option<&str>) -> Found {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Found { title: title.to_owned(), url: owned(url), snippet: owned(snippet) }
    }

    #[test]
    fn lists_are_found_under_the_names_that_servers_give_them() {
        let item = json!({"title": "A", "url": "https://a.example/", "snippet": "about  a"});
        let expected = [found("A", Some("https://a.example/"), Some("about a"))];
        for answer in [
            json!([item]),
            json!({"hits": [item]}),
            json!({"took": 3, "results": [item], "next": null}),
            json!({"result": {"documents": [item]}}),
            json!({"unheard_of": [item], "count": 1}),
            item.clone(),
        ] {
            assert_eq!(structured(&answer), expected, "{answer}");
        }
        // The memory server's graph: names and observations.
        let graph = json!({
            "entities": [{"name": "ada", "entityType": "person", "observations": ["one", "two"]}],
            "relations": [],
        });
        assert_eq!(structured(&graph), [found("ada", None, Some("one; two"))]);
        assert_eq!(structured(&json!({"hits": []})), []);
        assert_eq!(structured(&json!(7)), []);
    }

    #[test]
    fn texts_are_read_line_by_line() {
        let lines = "Results:\n- [A title](https://a.example/x) — about a\n\n---\n\
                     * B title: https://b.example/y\n/docs/notes/c.md\n";
        let hits = text(lines);
        assert_eq!(hits[0], found("Results", None, None));
        assert_eq!(hits[1], found("A title", Some("https://a.example/x"), Some("about a")));
        assert_eq!(hits[2], found("B title", Some("https://b.example/y"), None));
        assert_eq!(hits[3], found("/docs/notes/c.md", Some("/docs/notes/c.md"), None));
        assert_eq!(hits.len(), 4);
        assert_eq!(text("No matches found"), []);
        assert_eq!(text(r#"{"hits": [{"name": "J"}]}"#), [found("J", None, None)]);
    }

    #[test]
    fn what_is_long_is_shortened_and_what_is_deep_is_left() {
        let hits = structured(&json!([{"title": "x".repeat(1_000)}]));
        assert_eq!(hits[0].title.chars().count(), MAX_TITLE + 1);
        let deep = json!({"result": {"result": {"result": {"result": [{"title": "x"}]}}}});
        assert_eq!(structured(&deep), []);
        assert_eq!(structured(&Value::Array(vec![json!("a"); 1_000])).len(), MAX_HITS);
    }
}
