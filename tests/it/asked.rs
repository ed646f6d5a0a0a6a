//! Servers that ask their client: for roots, for words of a model, for what a person knows. In the
//! old era by requests of their own, in the new one by answers that are questions.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use toolcell::upstream::{
    ClientCapabilities, ClientHandler, Refusal, ServerRequest, UpstreamError,
};
use toolcell_tests::faulty::{Faulty, Wire};
use toolcell_tests::fixtures;
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::tiny_mcp::Eras;

use crate::door::{anybody, call, call_within, list, settings, upstreams, upstreams_with};
use crate::hosts::block_on;

/// Somebody who can do everything, and takes some time over it.
struct Somebody {
    takes: Duration,
}

impl ClientHandler for Somebody {
    fn capabilities(&self) -> ClientCapabilities {
        ClientCapabilities {
            roots: true,
            sampling: true,
            elicitation: true,
            ..ClientCapabilities::default()
        }
    }

    fn answer<'a, 'b>(
        &'a self,
        request: ServerRequest,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<toolcell::tool::Json, Refusal>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            tokio::time::sleep(self.takes).await;
            let answer = match &*request.method {
                "roots/list" => json!({"roots": [{"uri": "file:///srv/notes", "name": "notes"}]}),
                "sampling/createMessage" => json!({
                    "role": "assistant", "model": "m", "stopReason": "endTurn",
                    "content": {"type": "text", "text": "words of a model"},
                }),
                "elicitation/create" => {
                    json!({"action": "accept", "content": {"name": "ada lovelace"}})
                }
                other => return Err(Refusal::nobody(other)),
            };
            Ok(to_raw_value(&answer).expect("JSON is JSON"))
        })
    }
}

fn at_once() -> Arc<Somebody> {
    Arc::new(Somebody { takes: Duration::ZERO })
}

const TOOLS: [&str; 3] =
    ["get-roots-list", "trigger-sampling-request", "trigger-elicitation-request"];

#[test]
fn a_real_server_of_the_old_era_is_answered() {
    let transport = fixtures::everything_stdio().transport();
    block_on(async {
        let upstreams = upstreams_with(settings(transport), at_once());
        let access = anybody(&upstreams);
        let catalog = list(&access).await.expect("all is well");
        let words = json!({"prompt": "Say something.", "maxTokens": 10});
        let answers: [(Value, &str); 3] =
            [(json!({}), "srv/notes"), (words, "words of a model"), (json!({}), "ada lovelace")];
        for (tool, (arguments, expected)) in TOOLS.into_iter().zip(answers) {
            assert!(catalog.tool(tool).is_some(), "{tool} is not offered");
            let answer = call_all(&access, tool, arguments).await;
            assert!(answer.contains(expected), "{tool}: {answer}");
        }
        upstreams.close().await;
    });
}

/// All text of an answer.
async fn call_all(access: &toolcell::upstream::Access, tool: &str, arguments: Value) -> String {
    let tool = toolcell::ids::ToolName::new(crate::door::server(), tool);
    let arguments = to_raw_value(&arguments).expect("JSON is JSON");
    let context = toolcell::upstream::CallContext::default();
    let answer = access.call(&tool, &arguments, PATIENCE, context).await;
    format!("{:?}", answer.expect("an answer").content)
}

#[test]
fn a_real_server_of_the_old_era_is_told_that_nobody_is_there() {
    let transport = fixtures::everything_stdio().transport();
    block_on(async {
        let upstreams = upstreams(settings(transport));
        let access = anybody(&upstreams);
        let catalog = list(&access).await.expect("all is well");
        for tool in TOOLS {
            assert!(catalog.tool(tool).is_none(), "{tool} is offered, and could ask nobody");
        }
        let echo = call(&access, "echo", json!({"message": "hi"})).await;
        assert_eq!(echo.expect("all is well"), "Echo: hi");
        upstreams.close().await;
    });
}

#[test]
fn a_server_of_the_new_era_is_answered() {
    for wire in [Wire::Stdio, Wire::Http] {
        let faulty = Faulty::start(wire, Eras::Modern);
        block_on(async {
            let upstreams = upstreams_with(settings(faulty.transport()), at_once());
            let answer = call(&anybody(&upstreams), "ask", json!({})).await;
            let answer: Value =
                serde_json::from_str(&answer.expect("an answer")).expect("it is what we said");
            assert_eq!(answer["who"]["content"]["name"], "ada lovelace", "{answer}");
            assert_eq!(answer["words"]["content"]["text"], "words of a model", "{answer}");
            assert_eq!(answer["roots"]["roots"][0]["name"], "notes", "{answer}");
            upstreams.close().await;
        });
        assert_eq!(faulty.count("tools/call"), 2, "asked, and answered");
    }
}

#[test]
fn without_anybody_to_ask_the_call_fails_and_says_so() {
    for wire in [Wire::Stdio, Wire::Http] {
        let faulty = Faulty::start(wire, Eras::Modern);
        block_on(async {
            let upstreams = upstreams(settings(faulty.transport()));
            let access = anybody(&upstreams);
            let error = call(&access, "ask", json!({})).await.expect_err("nobody answers");
            assert!(matches!(error, UpstreamError::BadAnswer { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("this client has nobody who could answer"), "{text}");
            call(&access, "act", json!({})).await.expect("the connection lives on");
            upstreams.close().await;
        });
    }
}

#[test]
fn the_time_of_a_call_stands_still_while_somebody_is_asked() {
    let slowly = || Arc::new(Somebody { takes: Duration::from_secs(4) });
    let faulty = Faulty::start(Wire::Http, Eras::Modern);
    block_on(async {
        let upstreams = upstreams_with(settings(faulty.transport()), slowly());
        let access = anybody(&upstreams);
        list(&access).await.expect("all is well");
        let answer = call_within(&access, "ask", json!({}), Duration::from_secs(2)).await;
        assert!(answer.expect("in its time").contains("ada lovelace"));
        upstreams.close().await;
    });
    let transport = fixtures::everything_stdio().transport();
    block_on(async {
        let upstreams = upstreams_with(settings(transport), slowly());
        let access = anybody(&upstreams);
        list(&access).await.expect("all is well");
        let asks = "trigger-elicitation-request";
        let answer = call_within(&access, asks, json!({}), Duration::from_secs(2)).await;
        answer.expect("in its time");
        upstreams.close().await;
    });
}
