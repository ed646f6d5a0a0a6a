//! Servers that ask the user of a web client: forms that a person fills in, and words of a model.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use toolcell_tests::web::{Bridged, WebClient};
use toolcell_tests::{Marker, fixtures};

use crate::hosts::block_on;

fn everything(more: &str) -> Bridged {
    Bridged::start(&format!("{more}{}", fixtures::everything_stdio().toml("everything")))
}

/// Has the server ask for a form. Gives the activity about it, and the question.
async fn asked(client: &mut WebClient) -> (Value, Value) {
    let call = json!({ "tool_name": "trigger-elicitation-request", "arguments": {} });
    client.begin("call_tool", call).await;
    let activity = loop {
        let frame = client.next_of("mcp_activity").await;
        if frame["activity_type"] == "elicitation" {
            break frame;
        }
    };
    (activity, client.next_of("elicitation_request").await)
}

async fn answer(client: &mut WebClient, question: &Value, members: Value) {
    let mut frame = members;
    frame["type"] = "elicitation_response".into();
    frame["request_id"] = question["request_id"].clone();
    frame["session_id"] = question["session_id"].clone();
    client.send(&frame).await;
}

fn text(done: &Value) -> String {
    done["data"]["result"]["content"].to_string()
}

#[test]
fn a_person_fills_in_a_form_or_does_not() {
    let bridged = everything("");
    block_on(async {
        let (ticket, mut client) = bridged.open_named("everything").await;
        let (activity, question) = asked(&mut client).await;
        assert_eq!(question["type"], "elicitation_request", "{question}");
        assert_eq!(question["session_id"], ticket.id.as_str());
        let details = &activity["details"];
        assert_eq!(details["request_id"], question["request_id"]);
        assert_eq!(details["context"], "Tool is requesting additional information from user");
        let message = question["message"].as_str().expect("a message");
        assert_eq!(activity["message"], format!("Tool requesting user input: {message}"));
        assert!(question["requestedSchema"]["properties"]["name"].is_object(), "{question}");

        answer(&mut client, &question, json!({ "action": "accept", "data": { "name": "Ada" } }))
            .await;
        let seen = loop {
            let frame = client.next_of("mcp_activity").await;
            if frame["activity_type"] != "protocol" {
                break frame;
            }
        };
        assert_eq!(seen["message"], "User responded to elicitation request", "{seen}");
        let response = json!({ "meta": null, "action": "accept", "content": { "name": "Ada" } });
        assert_eq!(
            (&seen["details"]["response"], &seen["details"]["status"]),
            (&response, &json!("completed"))
        );
        let done = client.next_of("operation_result").await;
        assert!(text(&done).contains("Ada"), "{done}");

        // It is answered now.
        answer(&mut client, &question, json!({ "action": "decline" })).await;
        let again = client.next_of("operation_error").await;
        assert!(again.get("operation").is_none(), "{again}");
        let id = question["request_id"].as_str().expect("an id");
        assert_eq!(again["error"], format!("Unknown elicitation request_id: {id}"));

        for (members, word) in [
            (json!({ "action": "decline" }), "decline"),
            (json!({ "action": "cancel" }), "cancel"),
            (json!({ "action": "dance" }), "cancel"),
            (json!({}), "cancel"),
        ] {
            let (_, question) = asked(&mut client).await;
            answer(&mut client, &question, members).await;
            let done = client.next_of("operation_result").await;
            assert!(text(&done).contains(word), "{word}: {done}");
        }
        let (_, question) = asked(&mut client).await;
        answer(&mut client, &question, json!({ "action": "accept", "data": [1] })).await;
        let seen = loop {
            let frame = client.next_of("mcp_activity").await;
            if frame["activity_type"] == "elicitation" {
                break frame;
            }
        };
        assert_eq!(seen["details"]["response"]["code"], -32603, "{seen}");
    });
}

#[test]
fn a_question_that_nobody_answers_ends_in_words() {
    let bridged = everything("[server.bridge]\nelicitation_timeout = \"1s\"\n");
    block_on(async {
        let (_, mut client) = bridged.open_named("everything").await;
        asked(&mut client).await;
        let words = "User did not respond to elicitation request within 1 seconds";
        let seen = loop {
            // The server logs meanwhile.
            let frame = client.next_of("mcp_activity").await;
            if frame["activity_type"] == "error" {
                break frame;
            }
        };
        assert_eq!(seen["message"], format!("Elicitation timeout: {words}"));
        assert_eq!(
            (&seen["details"]["error"], &seen["details"]["timeout"]),
            (&json!(words), &json!(1))
        );
        loop {
            let frame = client.next().await;
            if frame["operation"] == "call_tool" {
                assert!(frame.to_string().contains(words), "the server heard why: {frame}");
                break;
            }
        }
    });
}

#[test]
fn a_client_that_goes_away_takes_its_question_back() {
    let bridged = everything("");
    block_on(async {
        let (_, mut client) = bridged.open_named("everything").await;
        asked(&mut client).await;
        client.close().await;
        // The server is free for others.
        let (_, mut other) = bridged.open_named("everything").await;
        let called = other.call("echo", json!({ "message": "hi" })).await;
        assert_eq!(called["type"], "operation_result", "{called}");
        let (_, question) = asked(&mut other).await;
        answer(&mut other, &question, json!({ "action": "decline" })).await;
        assert!(text(&other.next_of("operation_result").await).contains("decline"));
    });
}

#[test]
fn a_model_of_the_clients_answers_where_it_has_one() {
    let bridged = everything("");
    let call = || json!({ "prompt": "Say something.", "maxTokens": 10 });
    block_on(async {
        let (_, mut client) = bridged.open_named("everything").await;
        client
            .begin(
                "call_tool",
                json!({ "tool_name": "trigger-sampling-request", "arguments": call() }),
            )
            .await;
        let asked = loop {
            let frame = client.next_of("mcp_activity").await;
            if frame["activity_type"] == "sampling" {
                break frame;
            }
        };
        assert_eq!(asked["message"], "Tool requested AI sampling for 1 message(s)");
        assert_eq!(asked["details"]["params"]["stopSequences"], json!(null), "{asked}");
        let given = loop {
            let frame = client.next_of("mcp_activity").await;
            if frame["activity_type"] == "sampling" {
                break frame;
            }
        };
        assert_eq!(given["message"], "Provided default sampling response to tool", "{given}");
        let done = client.next_of("operation_result").await;
        assert!(text(&done).contains("placeholder response"), "{done}");

        client.send(&json!({ "type": "client_capabilities", "sampling": true })).await;
        client
            .begin(
                "call_tool",
                json!({ "tool_name": "trigger-sampling-request", "arguments": call() }),
            )
            .await;
        let question = client.next_of("sampling_request").await;
        assert_eq!(question["params"]["maxTokens"], 10, "{question}");
        let said = json!({ "type": "sampling_response", "request_id": question["request_id"], "result": {
            "role": "assistant", "model": "m", "content": { "type": "text", "text": "words of a model" } } });
        client.send(&said).await;
        let done = client.next_of("operation_result").await;
        assert!(text(&done).contains("words of a model"), "{done}");

        client
            .begin(
                "call_tool",
                json!({ "tool_name": "trigger-sampling-request", "arguments": call() }),
            )
            .await;
        let question = client.next_of("sampling_request").await;
        let refused = json!({ "type": "sampling_response", "request_id": question["request_id"],
            "error": { "message": "the user said no" } });
        client.send(&refused).await;
        loop {
            let frame = client.next().await;
            if frame["operation"] == "call_tool" {
                assert!(frame.to_string().contains("the user said no"), "{frame}");
                break;
            }
        }
    });
}

#[test]
fn two_sessions_are_asked_each_for_itself() {
    let everything = fixtures::everything_stdio().setting("lifecycle = \"on-demand\"");
    let bridged = Bridged::start(&everything.toml("everything"));
    block_on(async {
        let (_, mut one) = bridged.open_named("everything").await;
        let (_, mut other) = bridged.open_named("everything").await;
        let (_, first) = asked(&mut one).await;
        let (_, second) = asked(&mut other).await;
        answer(&mut other, &first, json!({ "action": "decline" })).await;
        let unknown = other.next_of("operation_error").await;
        let words = unknown["error"].as_str().expect("words");
        assert!(
            words.starts_with("Unknown elicitation"),
            "another's question is none of mine: {words}"
        );
        answer(&mut one, &first, json!({ "action": "accept", "data": { "name": "Ada" } })).await;
        answer(&mut other, &second, json!({ "action": "accept", "data": { "name": "Bob" } })).await;
        assert!(text(&one.next_of("operation_result").await).contains("Ada"));
        assert!(text(&other.next_of("operation_result").await).contains("Bob"));
        other.is_quiet(Duration::from_millis(50)).await;
    });
}

#[test]
fn a_server_that_dies_while_it_asks_is_told_of_and_its_question_is_over() {
    let marker = Marker::new();
    let bridged = Bridged::start(&fixtures::everything_stdio().marked(&marker).toml("everything"));
    block_on(async {
        let (ticket, mut client) = bridged.open_named("everything").await;
        let (_, question) = asked(&mut client).await;
        for (pid, line) in marker.processes() {
            if line.contains("server-everything") {
                let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
                assert!(killed.expect("kill starts").success());
            }
        }
        let failed = client.next_of("operation_error").await;
        assert_eq!(failed["operation"], "call_tool", "{failed}");
        assert_eq!(bridged.status(&ticket.id)["connected"], false);
        answer(&mut client, &question, json!({ "action": "decline" })).await;
        let late = client.next_of("operation_error").await;
        assert!(late["error"].to_string().contains("Unknown elicitation request_id"), "{late}");
    });
}
