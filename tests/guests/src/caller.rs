//! Calls what it is told to call.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use toolcell::{Failure, FanOut, tools};

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

/// Computes for so many rounds.
#[toolcell::tool]
fn compute(rounds: u64) -> String {
    let sum = (0..rounds).fold(0_u64, |sum, n| std::hint::black_box(sum.wrapping_add(n)));
    sum.to_string()
}

/// Logs, prints, and tells its progress.
#[toolcell::tool]
fn tell(words: &str) {
    toolcell::log::info(words);
    toolcell::progress(1.0, Some(2.0), Some(words));
    println!("{words}");
    eprintln!("{words}!");
}

toolcell::plugin!(call, in_turn, at_once, collect, granted, read, compute, tell);
