//! Which tools fit a query: BM25 over names, titles, descriptions and parameters. No network and no
//! model, so that the same query always finds the same tools.
//! Robertson and Zaragoza, *The Probabilistic Relevance Framework: BM25 and Beyond* (2009).

use std::borrow::Borrow;
use std::collections::HashMap;

use crate::tool::ToolDescription;

/// BM25's saturation of repeated words, and its correction for long texts.
const K1: f64 = 1.2;
const B: f64 = 0.6;

/// How much a word counts by where it stands.
const IN_NAME: f64 = 4.0;
const IN_TITLE: f64 = 2.0;
const IN_DESCRIPTION: f64 = 1.0;
const IN_PARAMETERS: f64 = 0.7;

/// A word that only begins like a word of the query counts this much.
const PREFIX: f64 = 0.5;

/// Words of one tool that are read. A description is a stranger's text of any length.
const MAX_WORDS: usize = 4000;

/// Words of a query that are read.
const MAX_QUERY_WORDS: usize = 32;

/// Words that say nothing about what is looked for.
const EMPTY_WORDS: [&str; 24] = [
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "in", "is", "it", "me", "my",
    "of", "on", "or", "that", "the", "this", "to", "with", "you",
];

/// The places of the tools that fit, the best first. An empty query fits all, in their order.
///
/// ```
/// use toolcell::server::search::rank;
/// # let tools: Vec<toolcell::tool::ToolDescription> = Vec::new();
/// assert!(rank(&tools, "send mail").is_empty());
/// ```
pub fn rank<T: Borrow<ToolDescription>>(tools: &[T], query: &str) -> Vec<usize> {
    let wanted = wanted(query);
    if wanted.is_empty() {
        return (0..tools.len()).collect();
    }
    let texts: Vec<Text> = tools.iter().map(|tool| Text::of(tool.borrow())).collect();
    let mean = texts.iter().map(|text| text.length).sum::<f64>() / texts.len().max(1) as f64;
    let rarity: Vec<f64> = wanted
        .iter()
        .map(|word| {
            let holders = texts.iter().filter(|text| text.weight(word) > 0.0).count() as f64;
            (1.0 + (texts.len() as f64 - holders + 0.5) / (holders + 0.5)).ln()
        })
        .collect();
    let mut scored: Vec<(f64, usize)> = texts
        .iter()
        .enumerate()
        .map(|(place, text)| (text.score(&wanted, &rarity, mean), place))
        .filter(|(score, _)| *score > 0.0)
        .collect();
    // Equal ones stay in the servers' order.
    scored.sort_by(|(one, first), (other, second)| other.total_cmp(one).then(first.cmp(second)));
    scored.into_iter().map(|(_, place)| place).collect()
}

fn wanted(query: &str) -> Vec<String> {
    let mut all: Vec<String> = words(query).take(MAX_QUERY_WORDS).collect();
    let meaning: Vec<String> =
        all.iter().filter(|word| !EMPTY_WORDS.contains(&word.as_str())).cloned().collect();
    if !meaning.is_empty() {
        all = meaning;
    }
    all.sort();
    all.dedup();
    all
}

/// The words of one tool, with what they weigh.
struct Text {
    weights: HashMap<String, f64>,
    length: f64,
}

impl Text {
    fn of(tool: &ToolDescription) -> Self {
        let mut text = Self { weights: HashMap::new(), length: 0.0 };
        text.add(tool.name.upstream.as_str(), IN_NAME);
        text.add(&tool.name.tool, IN_NAME);
        text.add(tool.title.as_deref().unwrap_or_default(), IN_TITLE);
        text.add(tool.description.as_deref().unwrap_or_default(), IN_DESCRIPTION);
        let parameters = tool.input_schema.get("properties").and_then(|all| all.as_object());
        for (name, schema) in parameters.into_iter().flatten() {
            text.add(name, IN_PARAMETERS);
            let description = schema.get("description").and_then(|text| text.as_str());
            text.add(description.unwrap_or_default(), IN_PARAMETERS);
        }
        text
    }

    fn add(&mut self, text: &str, weight: f64) {
        let left = MAX_WORDS.saturating_sub(self.length as usize);
        for word in words(text).take(left) {
            *self.weights.entry(word).or_default() += weight;
            self.length += 1.0;
        }
    }

    fn weight(&self, word: &str) -> f64 {
        if let Some(weight) = self.weights.get(word) {
            return *weight;
        }
        // "file" finds "files", and "repo" "repository".
        if word.len() < 3 {
            return 0.0;
        }
        let begins = |(known, weight): (&String, &f64)| {
            let related = known.starts_with(word) || (known.len() > 2 && word.starts_with(known));
            related.then_some(weight * PREFIX)
        };
        self.weights.iter().filter_map(begins).fold(0.0, f64::max)
    }

    fn score(&self, wanted: &[String], rarity: &[f64], mean: f64) -> f64 {
        let length = 1.0 - B + B * self.length / mean.max(1.0);
        let of_word = |(word, rarity): (&String, &f64)| {
            let weight = self.weight(word);
            rarity * weight * (K1 + 1.0) / (weight + K1 * length)
        };
        wanted.iter().zip(rarity).map(of_word).sum()
    }
}

/// Words in lower case. `camelCase`, `snake_case` and `kebab-case` are taken apart.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        while rest.next_if(|(_, c)| !c.is_alphanumeric()).is_some() {}
        let mut word = String::new();
        let mut was_lower = false;
        while let Some((_, c)) =
            rest.next_if(|(_, c)| c.is_alphanumeric() && !(was_lower && c.is_uppercase()))
        {
            was_lower = c.is_lowercase() || c.is_numeric();
            word.extend(c.to_lowercase());
            if word.len() > 64 {
                break;
            }
        }
        (!word.is_empty()).then_some(word)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::ids::{ToolName, UpstreamName};
    use crate::tool::ToolHints;

    fn tool(name: &str, description: &str, parameters: &[&str]) -> ToolDescription {
        let (server, name) = name.split_once('.').unwrap();
        let properties: serde_json::Map<_, _> =
            parameters.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        ToolDescription {
            name: ToolName::new(UpstreamName::try_new(server).unwrap(), name),
            title: None,
            description: Some(description.to_owned()),
            input_schema: Arc::new(json!({ "type": "object", "properties": properties })),
            output_schema: None,
            hints: ToolHints::default(),
            raw: None,
        }
    }

    fn tools() -> Vec<ToolDescription> {
        vec![
            tool("git.git_log", "Shows the commit logs", &["repo_path", "max_count"]),
            tool("git.git_diff", "Shows differences between branches or commits", &["target"]),
            tool("files.read_file", "Read a text file, whole or a part", &["path", "offset"]),
            tool("files.searchFiles", "Find lines that match", &["pattern", "path"]),
            tool("mail.send", "Send an e-mail to somebody", &["recipient", "subject", "body"]),
        ]
    }

    #[test]
    fn the_best_tool_comes_first() {
        #[track_caller]
        fn check(query: &str, best: &str) {
            let tools = tools();
            let found = rank(&tools, query);
            let names: Vec<_> = found.iter().map(|at| tools[*at].name.to_string()).collect();
            assert_eq!(names.first().map(String::as_str), Some(best), "{query}: {names:?}");
        }
        check("read a file", "files.read_file");
        check("search in files", "files.searchFiles");
        check("commit history log", "git.git_log");
        check("what differs between two branches", "git.git_diff");
        check("EMAIL send", "mail.send");
        check("recipient", "mail.send");
        check("repo", "git.git_log");
    }

    #[test]
    fn what_fits_nothing_finds_nothing_and_no_query_finds_all() {
        assert_eq!(rank(&tools(), "zebra"), Vec::<usize>::new());
        assert_eq!(rank(&tools(), "  "), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn names_are_taken_apart() {
        let taken: Vec<_> = words("getHTTPUrl2_of-äÖ.x9Y").collect();
        assert_eq!(taken, ["get", "httpurl2", "of", "ä", "ö", "x9", "y"].map(str::to_owned));
    }

    proptest! {
        #[test]
        fn any_query_gives_each_tool_at_most_once(query in ".{0,80}") {
            let mut found = rank(&tools(), &query);
            let count = found.len();
            found.sort_unstable();
            found.dedup();
            prop_assert_eq!(found.len(), count);
        }
    }
}
