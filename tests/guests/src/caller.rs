//! Calls what it is told to call.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use toolcell::{Failure, FanOut, Outcome, log, tools};

/// A call to make.
#[derive(Deserialize, JsonSchema)]
struct Order {
    /// `server.tool`.
    tool: String,
    #[serde(default)]
    arguments: serde_json::Map<String, Value>,
}

/// What became of a call.
#[derive(Serialize, JsonSchema)]
struct Ended {
    tool: String,
    /// The answer's text.
    text: Option<String>,
    /// The error's name.
    kind: Option<String>,
    /// The error's words.
    message: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Report {
    ended: Vec<Ended>,
}

async fn carry_out(order: &Order) -> Ended {
    let tool = order.tool.clone();
    match tools::call(tool.as_str(), &order.arguments).text().await {
        Ok(text) => Ended { tool, text: Some(text), kind: None, message: None },
        Err(error) => Ended {
            tool,
            text: None,
            kind: Some(error.kind().to_owned()),
            message: Some(error.to_string()),
        },
    }
}

/// Makes one call, and fails as it fails.
#[toolcell::tool]
async fn call(
    tool: String,
    #[default] arguments: serde_json::Map<String, Value>,
) -> Result<String, toolcell::CallError> {
    tools::call(tool, &arguments).text().await
}

/// Makes calls one after another.
#[toolcell::tool]
async fn in_turn(orders: Vec<Order>) -> Report {
    let mut ended = Vec::new();
    for order in &orders {
        ended.push(carry_out(order).await);
    }
    Report { ended }
}

/// Makes calls all at once.
#[toolcell::tool]
async fn at_once(orders: Vec<Order>) -> Report {
    Report { ended: toolcell::join_all(orders.iter().map(carry_out)).await }
}

#[derive(Serialize, JsonSchema)]
struct Collected {
    answers: Vec<String>,
    failures: Vec<Failure>,
}

/// Makes calls all at once, gives each so long, and collects.
#[toolcell::tool]
async fn collect(orders: Vec<Order>, within_ms: u64) -> Collected {
    let fan = orders.iter().fold(FanOut::new(), |fan, order| {
        fan.branch(&order.tool, tools::call(order.tool.as_str(), &order.arguments).text())
    });
    let (answers, failures) = fan.each_within(Duration::from_millis(within_ms)).await.split();
    Collected { answers: answers.into_iter().map(|(_, text)| text).collect(), failures }
}

/// A call to make, and how long it may take.
#[derive(Deserialize, JsonSchema)]
struct Timed {
    #[serde(flatten)]
    order: Order,
    /// In milliseconds; as long as it takes, if left out.
    within_ms: Option<u64>,
}

/// Makes calls all at once, gives each its own time, and tells what became of each.
#[toolcell::tool]
async fn outcomes(orders: Vec<Timed>) -> Vec<String> {
    let mut fan = FanOut::new();
    for Timed { order, within_ms } in &orders {
        fan = fan.branch(&order.tool, tools::call(order.tool.as_str(), &order.arguments).text());
        if let Some(time) = within_ms {
            fan = fan.within(Duration::from_millis(*time));
        }
    }
    let branches = fan.await;
    let told = branches.iter().map(|branch| match &branch.outcome {
        Outcome::Answered(text) => format!("{}: {text}", branch.name),
        Outcome::Failed(error) => format!("{} failed: {}", branch.name, error.kind()),
        Outcome::TimedOut(time) => format!("{} had {} ms", branch.name, time.as_millis()),
    });
    told.collect()
}

/// What it may call, by server.
#[toolcell::tool]
fn granted() -> Result<Value, toolcell::CallError> {
    let mut all = serde_json::Map::new();
    for server in tools::servers() {
        let names = tools::server(&server).names()?;
        all.insert(server, names.into());
    }
    Ok(Value::Object(all))
}

/// Reads a resource.
#[toolcell::tool]
async fn read(server: String, uri: String) -> Result<String, toolcell::CallError> {
    Ok(toolcell::resources::read(&server, &uri).await?.text())
}

/// What it may read of a server.
#[toolcell::tool]
fn readable(server: String) -> Result<Vec<String>, toolcell::CallError> {
    let listed = toolcell::resources::listed(&server)?;
    Ok(listed.into_iter().map(|resource| resource.uri).collect())
}

/// Fills in a prompt.
#[toolcell::tool]
async fn fill_in(
    prompt: String,
    #[default] arguments: serde_json::Map<String, Value>,
) -> Result<String, toolcell::CallError> {
    Ok(toolcell::prompts::get(&prompt, &arguments).await?.text())
}

/// The prompts that it may fill in.
#[toolcell::tool]
fn fillable(server: String) -> Result<Vec<String>, toolcell::CallError> {
    let listed = toolcell::prompts::listed(&server)?;
    Ok(listed.into_iter().map(|prompt| prompt.name).collect())
}

/// Computes for so many rounds.
#[toolcell::tool]
fn compute(rounds: u64) -> String {
    let sum = (0..rounds).fold(0_u64, |sum, n| std::hint::black_box(sum.wrapping_add(n)));
    sum.to_string()
}

/// An entry of each level.
#[toolcell::tool]
fn tell_all(words: &str) {
    log::debug(words);
    log::info(words);
    log::notice(words);
    log::warning(words);
    log::error(words);
    for level in [log::Level::Critical, log::Level::Alert, log::Level::Emergency] {
        log::entry(level, words);
    }
}

/// Logs, prints, and tells its progress.
#[toolcell::tool]
fn tell(words: &str) {
    log::info(words);
    toolcell::progress(1.0, Some(2.0), Some(words));
    println!("{words}");
    eprintln!("{words}!");
}

toolcell::plugin!(
    call, in_turn, at_once, collect, outcomes, granted, read, readable, fill_in, fillable, compute,
    tell, tell_all
);
