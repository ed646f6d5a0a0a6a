//! Asks several servers one question, and merges what they answer.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toolcell::{CallError, Failure, FanOut};

/// A page that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Page {
    title: String,
    url: String,
}

/// What the tool answers. Its schema is made of these types and comments.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Answer {
    /// The pages, each once.
    pages: Vec<Page>,
    /// The servers that gave none, and why.
    missing: Vec<Failure>,
}

// Tools of other servers, as functions. What stands here stands in plugin.toml too.
mod search {
    toolcell::import_tools!("search", {
        pub async fn search(query: &str) -> Vec<crate::Page>;
    });
}

mod wiki {
    toolcell::import_tools!("wiki", {
        pub async fn search(query: &str, limit: Option<u32>) -> Vec<crate::Page>;
    });
}

/// Asks the web and the wiki one question, and merges their pages.
///
/// # Arguments
/// - `question`: what to look for, in words
/// - `at_most`: how many pages to give
#[toolcell::tool(read_only)]
async fn ask(question: String, #[default(5)] at_most: usize) -> Result<Answer, CallError> {
    let branches = FanOut::new()
        .branch("search", search::search(&question))
        .branch("wiki", wiki::search(&question, Some(10)))
        .each_within(Duration::from_secs(5))
        .await;
    let (answers, missing) = branches.split();
    let mut pages: Vec<Page> = Vec::new();
    for page in answers.into_iter().flat_map(|(_, pages)| pages) {
        if !pages.iter().any(|known| known.url == page.url) {
            pages.push(page);
        }
    }
    pages.truncate(at_most);
    Ok(Answer { pages, missing })
}

toolcell::plugin!(ask);

#[cfg(test)]
mod tests {
    use serde_json::json;
    use toolcell::testing::Host;

    use super::*;

    #[test]
    fn pages_are_given_once() {
        let page = json!({"title": "WebAssembly", "url": "https://webassembly.org"});
        let host = Host::new()
            .answer("search.search", json!([page]))
            .answer("wiki.search", json!([page]));
        let answer = host.run(ask("wasm".to_owned(), 5)).unwrap();
        assert_eq!(answer.pages.len(), 1);
        assert_eq!(answer.missing, []);
    }

    #[test]
    fn a_slow_server_is_not_waited_for() {
        let host = Host::new()
            .answer("search.search", json!([{"title": "A", "url": "https://a.example"}]))
            .answer("wiki.search", json!([]))
            .after(Duration::from_secs(60));
        let answer = host.run(ask("wasm".to_owned(), 5)).unwrap();
        assert_eq!(answer.pages[0].title, "A");
        assert_eq!(answer.missing[0].to_string(), "wiki: no answer within 5s");
    }
}
