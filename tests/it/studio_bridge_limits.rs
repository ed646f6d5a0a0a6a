//! Web clients that take too much of the bridge, or give no sign. Each costs a bounded amount, and nobody
//! else notices.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::web::{Bridged, named};
use toolcell_tests::{Marker, Signal, fixtures, wait_until};

use crate::hosts::block_on;

fn with(settings: &str) -> Bridged {
    let demo = fixtures::misbehaving("ok").toml("demo");
    Bridged::start(&format!("[server.bridge]\n{settings}\n{demo}"))
}

/// Somebody else has a session, and is served.
async fn others_are_served(bridged: &Bridged) {
    let (_, mut client) = bridged.open_named("demo").await;
    let called = client.call("echo", json!({ "text": "hi" })).await;
    assert_eq!(called["type"], "operation_result", "{called}");
    client.close().await;
}

#[test]
fn a_frame_that_is_too_big_ends_its_session() {
    let bridged = with("max_frame = \"1MiB\"");
    block_on(async {
        let (_, mut client) = bridged.open_named("demo").await;
        let text = "x".repeat((1 << 20) - 200);
        let called = client.call("echo", json!({ "text": text })).await;
        assert_eq!(called["type"], "operation_result");
        // It may be cut off before all of it is sent.
        let huge = Message::text("x".repeat(64 << 20));
        let _ = client.send_message(huge).await;
        let (_, close) = client.to_the_end().await;
        assert!(close.as_ref().is_none_or(|(code, _)| *code == 1009), "{close:?}");
        others_are_served(&bridged).await;

        let (_, mut client) = bridged.open_named("demo").await;
        let big = Message::text("x".repeat((1 << 20) + 1));
        client.send_message(big).await.expect("it fits into the pipes");
        let (_, close) = client.to_the_end().await;
        assert_eq!(close.expect("a close frame").0, 1009);
    });
}

#[test]
fn a_client_that_reads_nothing_ends_its_own_session() {
    let bridged = with("queue = 8\nmax_in_flight = 1000");
    block_on(async {
        let (ticket, mut client) = bridged.open_named("demo").await;
        let call = json!({ "type": "operation", "operation": "call_tool", "tool_name": "big",
            "arguments": { "bytes": 1_000_000 } });
        for _ in 0..100 {
            if client.send_message(Message::text(call.to_string())).await.is_err() {
                break;
            }
        }
        wait_until(PATIENCE, "its session ends", || {
            bridged.status(&ticket.id)["message"] == "Session not found"
        });
        others_are_served(&bridged).await;
    });
}

#[test]
fn a_client_that_gives_no_sign_is_given_up() {
    let bridged = with("heartbeat = \"200ms\"");
    block_on(async {
        let (ticket, mut half) = bridged.open_named("demo").await;
        half.send_half_a_frame().await;
        let (silent, _client_that_reads_nothing) = bridged.open_named("demo").await;
        for id in [&ticket.id, &silent.id] {
            wait_until(PATIENCE, "its session ends", || {
                bridged.status(id)["message"] == "Session not found"
            });
        }
        let (frames, close) = half.to_the_end().await;
        assert_eq!(frames.last().expect("a word")["type"], "closed");
        assert_eq!(close.expect("a close frame").0, 1008);
    });
}

#[test]
fn a_session_that_is_not_used_ends() {
    let bridged = with("idle = \"1s\"");
    block_on(async {
        let (_, mut busy) = bridged.open_named("demo").await;
        let (_, mut idle) = bridged.open_named("demo").await;
        // Whoever waits for an answer is not idle.
        busy.begin("call_tool", json!({ "tool_name": "slow_read", "arguments": { "ms": 2500 } }))
            .await;
        let (frames, close) = idle.to_the_end().await;
        assert_eq!(frames[0]["type"], "closed", "{frames:?}");
        assert_eq!(close.expect("a close frame"), (1008, "idle for too long".to_owned()));
        busy.next_of("operation_result").await;
    });
}

#[test]
fn operations_at_once_are_counted() {
    let bridged = with("max_in_flight = 2");
    block_on(async {
        let (_, mut client) = bridged.open_named("demo").await;
        let slow = || json!({ "tool_name": "slow_read", "arguments": { "ms": 600000 } });
        for _ in 0..3 {
            client.begin("call_tool", slow()).await;
        }
        let refused = client.next().await;
        let words = refused["error"].as_str().expect("words");
        assert!(words.starts_with("LimitError: 2 operations"), "{refused}");
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
        client.send(&call).await;
        assert_eq!(client.answer(&json!(1)).await["error"]["code"], -31001);
        client.send(&json!({ "type": "ping" })).await;
        assert_eq!(client.next().await["type"], "pong");
    });
}

#[test]
fn a_thousand_sockets_are_as_many_as_there_may_be() {
    let bridged = with("max_sessions = 50\nconnects_per_minute = 100000");
    block_on(async {
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(bridged.open_named("demo").await.1);
        }
        let mut refused = 0;
        for _ in 0..1_000 {
            let reply = bridged.connect(&named("demo")).send();
            if reply.status == 503 {
                refused += 1;
                continue;
            }
            let url = reply.json()["websocket_url"].as_str().expect("a URL").to_owned();
            assert_eq!(bridged.upgrade(&url, &[]).await.err(), Some(503));
        }
        assert!(refused >= 900, "tickets are bounded too: {refused}");
        for client in &mut clients {
            let called = client.call("echo", json!({ "text": "hi" })).await;
            assert_eq!(called["type"], "operation_result", "{called}");
        }
        for client in clients {
            client.close().await;
        }
    });
}

#[test]
fn who_begins_too_many_sessions_is_asked_to_wait() {
    let bridged = with("connects_per_minute = 5");
    let statuses: Vec<u16> =
        (0..7).map(|_| bridged.connect(&named("demo")).send().status).collect();
    assert_eq!(statuses[..5], [200; 5]);
    assert!(statuses[5..].contains(&429), "{statuses:?}");
    let reply = bridged.connect(&named("demo")).send();
    assert!(reply.status == 200 || reply.header("retry-after").is_some(), "{reply:?}");
}

#[test]
fn a_host_that_stops_says_good_bye_and_leaves_nothing() {
    let marker = Marker::new();
    let bridged = Bridged::start(&fixtures::misbehaving("ok").marked(&marker).toml("demo"));
    let mut client = block_on(async {
        let (_, mut client) = bridged.open_named("demo").await;
        client
            .begin("call_tool", json!({ "tool_name": "slow", "arguments": { "ms": 600000 } }))
            .await;
        client
    });
    let serving = bridged.into_serving();
    serving.process().signal(Signal::Terminate);
    block_on(async {
        let (frames, close) = client.to_the_end().await;
        assert_eq!(frames.last().expect("a word")["type"], "closed", "{frames:?}");
        assert_eq!(close.expect("a close frame"), (1001, "the host stops".to_owned()));
    });
    serving.end(Duration::from_secs(10)).success();
    marker.assert_nothing_survives();
}
