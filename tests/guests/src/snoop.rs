//! Tells all that it can see.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use toolcell::{CallError, asks, prompts, resources, state, tools};

/// A call to make.
#[derive(Deserialize, JsonSchema)]
struct Order {
    /// `server.tool`.
    tool: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

/// All of it: the process that it believes to be, the files that it names, what is granted to it, and
/// what calls come to.
async fn all(paths: &[String], orders: &[Order]) -> Value {
    let file = |path: &String| {
        let listed = std::fs::read_dir(path).map(|entries| {
            let names = entries.flatten().map(|entry| entry.file_name());
            names.map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>()
        });
        format!(
            "{path}: {:?} {listed:?}",
            std::fs::read(path).map(|bytes| String::from_utf8(bytes))
        )
    };
    let of_server = |server: String| {
        let names = tools::server(&server).names();
        let described: Vec<String> = names
            .into_iter()
            .flatten()
            .map(|tool| format!("{:?}", tools::server(&server).describe(&tool)))
            .collect();
        format!("{server}: {described:?} {:?}", resources::listed(&server))
    };
    let mut calls = Vec::new();
    for order in orders {
        let answer = tools::call(order.tool.as_str(), &order.arguments).await;
        let words = answer.as_ref().err().map(ToString::to_string);
        calls.push(format!("{answer:?} {words:?}"));
    }
    json!({
        "environment": std::env::vars_os().map(|pair| format!("{pair:?}")).collect::<Vec<_>>(),
        "arguments": std::env::args_os().map(|word| format!("{word:?}")).collect::<Vec<_>>(),
        "folder": format!("{:?}", std::env::current_dir()),
        "files": paths.iter().map(file).collect::<Vec<_>>(),
        "servers": tools::servers().into_iter().map(of_server).collect::<Vec<_>>(),
        "prompts": prompts::servers(),
        "state": state::keys(),
        "asks": format!("{:?}", asks::abilities()),
        "calls": calls,
    })
}

/// Says it wherever something can be said.
fn say(seen: &Value) {
    let words = seen.to_string();
    println!("{words}");
    eprintln!("{words}");
    toolcell::log::error(&words);
    toolcell::progress(1.0, None, Some(&words));
}

/// Gives it as an answer.
#[toolcell::tool]
async fn look(paths: Vec<String>, orders: Vec<Order>) -> Value {
    let seen = all(&paths, &orders).await;
    say(&seen);
    seen
}

/// Gives it as a failure.
#[toolcell::tool]
async fn fail(paths: Vec<String>, orders: Vec<Order>) -> Result<String, String> {
    Err(all(&paths, &orders).await.to_string())
}

/// Gives it as its last words.
#[toolcell::tool]
async fn panic(paths: Vec<String>, orders: Vec<Order>) -> Result<String, CallError> {
    let seen = all(&paths, &orders).await;
    say(&seen);
    panic!("{seen}");
}

toolcell::plugin!(look, fail, panic);
