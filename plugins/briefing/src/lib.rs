//! The aggregator as a plugin: see README.md.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use toolcell::{CallError, join_all, timeout, tools};

toolcell::plugin!(briefing);

#[derive(Serialize, JsonSchema)]
struct Briefing {
    hits: Vec<Merged>,
    failures: Vec<Failure>,
}

#[derive(Serialize, JsonSchema)]
struct Merged {
    title: String,
    url: String,
    score: u32,
    found_by: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct Failure {
    source: String,
    kind: String,
    message: String,
}

/// What a search tool answers.
#[derive(Deserialize)]
struct Answer {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    title: String,
    url: String,
}

/// Asks several search tools one question and merges what they find.
#[toolcell::tool(read_only)]
async fn briefing(
    question: String,
    sources: Vec<String>,
    #[default] fallbacks: BTreeMap<String, String>,
    #[default(5000)] timeout_ms: u32,
) -> Briefing {
    let branches = sources.iter().map(async |source| {
        let first = ask(source, &question, timeout_ms).await;
        match fallbacks.get(source) {
            Some(second) if first.is_err() => vec![first, ask(second, &question, timeout_ms).await],
            _ => vec![first],
        }
    });
    let (mut hits, mut failures) = (Vec::<Merged>::new(), Vec::new());
    for outcome in join_all(branches).await.into_iter().flatten() {
        match outcome {
            Ok((asked, found)) => merge(&mut hits, asked, found),
            Err(failure) => failures.push(failure),
        }
    }
    hits.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.url.cmp(&b.url)));
    Briefing { hits, failures }
}

/// What a tool found, or why it found nothing.
async fn ask(tool: &str, question: &str, timeout_ms: u32) -> Result<(String, Vec<Hit>), Failure> {
    let call = tools::call(tool, &json!({"query": question, "limit": 5})).json::<Answer>();
    let answer = timeout(Duration::from_millis(timeout_ms.into()), call).await;
    let (kind, message) = match answer {
        Ok(Ok(answer)) => return Ok((tool.to_owned(), answer.hits)),
        Ok(Err(CallError::Failed(failed))) => ("tool", failed.output.text()),
        Ok(Err(error)) => (error.kind(), error.to_string()),
        Err(_) => ("timed-out", format!("no answer within {timeout_ms} ms")),
    };
    Err(Failure { source: tool.to_owned(), kind: kind.to_owned(), message })
}

fn merge(merged: &mut Vec<Merged>, asked: String, found: Vec<Hit>) {
    for (rank, Hit { title, url }) in (1..).zip(found) {
        let nth = merged.iter().position(|known| known.url == url).unwrap_or_else(|| {
            merged.push(Merged { title, url, score: 0, found_by: Vec::new() });
            merged.len() - 1
        });
        merged[nth].score += 1_000_000 / (60 + rank);
        merged[nth].found_by.push(asked.clone());
    }
}
