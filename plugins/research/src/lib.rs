//! The tool `research`: one question, asked of several search servers at once. Whoever is down, slow or
//! fails is named beside what the others found.

mod asking;
mod merging;
mod reading;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use toolcell::{CallError, FanOut, Output, join_all, progress, tools};

use crate::merging::Merged;
use crate::reading::Found;

toolcell::plugin!(research);

/// How many hits each server is asked for, where it takes a number.
const HITS_OF_EACH: usize = 20;

/// The most tools that are asked.
const MAX_SOURCES: usize = 32;

/// What was found, and what was not.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Research {
    /// The best hit first.
    hits: Vec<Hit>,
    /// The calls that gave nothing, in the order of the sources.
    failures: Vec<Failure>,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Hit {
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snippet: Option<String>,
    /// Reciprocal rank fusion: the sum of 1 / (60 + rank) over those that found it.
    score: f64,
    /// The tools that found it, with the rank that each gave it.
    found_by: Vec<Rank>,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Rank {
    tool: String,
    rank: usize,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Failure {
    /// The server that failed.
    server: String,
    /// The tool that was called; empty if the server could not even be asked for its tools.
    tool: String,
    /// `unavailable`, `timed-out`, `unknown-tool`, `tool` for a failure of the tool's own, …
    kind: String,
    /// Why, in words.
    message: String,
    /// After how many milliseconds, where the tool was called.
    after_ms: u64,
    /// The tool that was asked in its place, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<String>,
}

/// Searches several servers at once and merges what they find: the same page or title becomes one hit, and
/// hits that several servers put far ahead come first. Servers that fail or are too slow are named in
/// `failures`; the other servers' hits are there all the same.
///
/// # Arguments
/// * `question` - What to look for, in words.
/// * `sources` - The tools to ask, `server.tool`. Left out: every granted tool that looks like a search.
/// * `fallbacks` - For a tool, the one to ask if it fails: `{"papers.search": "mirror.search"}`.
/// * `limit` - The most hits.
/// * `timeout_ms` - How long to wait for each tool.
#[toolcell::tool(read_only, idempotent, title = "Search everywhere")]
async fn research(
    question: String,
    sources: Option<Vec<String>>,
    #[default] fallbacks: BTreeMap<String, String>,
    #[default(10)] limit: u32,
    #[default(8000)] timeout_ms: u32,
) -> Result<Research, String> {
    let (sources, mut failures) = match sources {
        Some(sources) => (sources, Vec::new()),
        None => granted_searches(&fallbacks),
    };
    if sources.is_empty() && failures.is_empty() {
        return Err(
            "no search tool is granted to this plugin: name some in `sources`, and see that \
                    the profile and the plugin's own section of the configuration grant them"
                .to_owned(),
        );
    }
    if sources.len() > MAX_SOURCES {
        return Err(format!("`sources` names {} tools; the most are {MAX_SOURCES}", sources.len()));
    }
    let patience = Duration::from_millis(timeout_ms.into());
    let mut ended = 0.0;
    let total = sources.len() as f64;
    let told = std::cell::RefCell::new(|tool: &str| {
        ended += 1.0;
        progress(ended, Some(total), Some(tool));
    });
    let branches = sources.iter().map(async |source| {
        let fallback = fallbacks.get(source).map(String::as_str);
        let branch = branch(source, fallback, &question, patience).await;
        (*told.borrow_mut())(source);
        branch
    });
    let mut lists = Vec::new();
    for branch in join_all(branches).await {
        failures.extend(branch.failures);
        lists.extend(branch.found);
    }
    let hits = merging::merge(&lists).into_iter().take(limit as usize).map(Hit::from);
    Ok(Research { hits: hits.collect(), failures })
}

/// What one source came to.
struct Branch {
    /// The tool that answered, and what it found.
    found: Option<(String, Vec<Found>)>,
    failures: Vec<Failure>,
}

/// Asks a tool, and another one in its place if it fails. Each has the same time.
async fn branch(
    source: &str,
    fallback: Option<&str>,
    question: &str,
    patience: Duration,
) -> Branch {
    let mut failures = Vec::new();
    for (tool, instead) in [(Some(source), fallback), (fallback, None)] {
        let Some(tool) = tool else { break };
        let asked = FanOut::new().branch(tool, ask(tool, question)).within(patience).await;
        let (answers, failed) = asked.split();
        failures.extend(failed.into_iter().map(|failure| Failure::of(failure, instead)));
        if let Some(found) = answers.into_iter().next() {
            return Branch { found: Some(found), failures };
        }
    }
    Branch { found: None, failures }
}

/// Calls a tool as nearly all searches are called, and looks at its schema only where that does not fit:
/// to ask for a schema may mean to wait for a connection, beside which nothing else goes on.
async fn ask(tool: &str, question: &str) -> Result<Vec<Found>, CallError> {
    let answer = match tools::call(tool, &asking::usual(question)).await {
        Err(misfit @ CallError::InvalidArguments { .. }) => {
            let schema = tools::describe(tool)?.input_schema;
            let arguments = asking::fitting(&schema, question, HITS_OF_EACH).ok_or(misfit)?;
            tools::call(tool, &arguments).await
        }
        answer => answer,
    };
    answer.map(|output| read(&output))
}

fn read(output: &Output) -> Vec<Found> {
    match &output.structured {
        // Some servers wrap a text that is for people into an object.
        Some(value) => match value.as_object().map(|object| (object.len(), object.values().next()))
        {
            Some((1, Some(serde_json::Value::String(text)))) => reading::text(text),
            _ => reading::structured(value),
        },
        None => reading::text(&output.text()),
    }
}

/// Every granted tool whose name is that of a search, and the servers that could not be asked for theirs.
fn granted_searches(fallbacks: &BTreeMap<String, String>) -> (Vec<String>, Vec<Failure>) {
    let (mut sources, mut failures) = (Vec::new(), Vec::new());
    for server in tools::servers() {
        match tools::server(&server).names() {
            Ok(names) => {
                let searches = names.iter().filter(|name| asking::looks_like_a_search(name));
                let full = searches.map(|name| format!("{server}.{name}"));
                // Second choices are not asked first.
                sources
                    .extend(full.filter(|tool| !fallbacks.values().any(|second| second == tool)));
            }
            Err(error) => failures.push(Failure {
                server,
                tool: String::new(),
                kind: error.kind().to_owned(),
                message: error.to_string(),
                after_ms: 0,
                instead: None,
            }),
        }
    }
    (sources, failures)
}

impl Failure {
    fn of(failure: toolcell::Failure, instead: Option<&str>) -> Self {
        Self {
            server: failure.branch.split('.').next().unwrap_or_default().to_owned(),
            tool: failure.branch,
            kind: failure.kind,
            message: failure.why,
            after_ms: failure.after_ms,
            instead: instead.map(str::to_owned),
        }
    }
}

impl From<Merged> for Hit {
    fn from(merged: Merged) -> Self {
        let Found { title, url, snippet } = merged.found;
        let ranks = merged.ranks.into_iter();
        Self {
            title,
            url,
            snippet,
            score: (merged.score * 1e6).round() / 1e6,
            found_by: ranks.map(|(tool, rank)| Rank { tool, rank }).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
