//! The tool, against a host that the test prepared.

use std::time::Duration;

use serde_json::{Value, json};
use toolcell::CallError;
use toolcell::testing::{End, Host};

use super::research;

fn hits(titles: &[&str]) -> Value {
    let hit = |title: &&str| json!({"title": title, "url": format!("https://x.example/{title}")});
    json!({"hits": titles.iter().map(hit).collect::<Vec<_>>()})
}

#[track_caller]
fn call(host: &Host, arguments: Value) -> Value {
    let output = host.call::<research>(arguments).expect("the arguments fit");
    assert!(!output.is_error, "{}", output.text());
    output.structured.expect("the answer is an object")
}

fn titles(answer: &Value) -> Vec<&str> {
    let hits = answer["hits"].as_array().expect("a list");
    hits.iter().map(|hit| hit["title"].as_str().expect("a text")).collect()
}

#[test]
fn whatever_looks_like_a_search_is_asked_at_once() {
    let host = Host::new()
        .answer("papers.search", hits(&["a", "b"]))
        .after(Duration::from_secs(2))
        .answer("wiki.search", hits(&["b", "c"]))
        .after(Duration::from_secs(2))
        .answer("wiki.read", json!("no search"));
    let answer = call(&host, json!({"question": "wasm"}));
    assert_eq!(titles(&answer), ["b", "a", "c"]);
    assert_eq!(answer["failures"], json!([]));
    assert_eq!(
        answer["hits"][0]["found_by"],
        json!([{"tool": "wiki.search", "rank": 1}, {"tool": "papers.search", "rank": 2}])
    );
    assert_eq!(host.elapsed(), Duration::from_secs(2));
    assert!(host.calls().iter().all(|call| call.tool != "wiki.read"));
}

#[test]
fn who_fails_is_named_and_who_is_slow_is_cancelled() {
    let host = Host::new()
        .fail("down.search", CallError::Unavailable("down cannot be reached".to_owned()))
        .answer("slow.search", hits(&["late"]))
        .after(Duration::from_secs(60))
        .answer("wiki.search", hits(&["c"]));
    let answer = call(&host, json!({"question": "wasm", "timeout_ms": 500}));
    assert_eq!(titles(&answer), ["c"]);
    assert_eq!(
        answer["failures"],
        json!([
            {"server": "down", "tool": "down.search", "kind": "unavailable",
             "message": "down cannot be reached", "after_ms": 0},
            {"server": "slow", "tool": "slow.search", "kind": "timed-out",
             "message": "no answer within 500ms", "after_ms": 500},
        ])
    );
    let slow = host.calls().into_iter().find(|call| call.tool == "slow.search");
    assert_eq!(slow.map(|call| call.end), Some(End::Cancelled));
}

#[test]
fn a_second_choice_is_asked_in_place_of_one_that_is_down() {
    let host = Host::new()
        .fail("papers.search", CallError::Unavailable("gone".to_owned()))
        .answer("mirror.search", hits(&["a"]));
    let answer =
        call(&host, json!({"question": "x", "fallbacks": {"papers.search": "mirror.search"}}));
    assert_eq!(titles(&answer), ["a"]);
    assert_eq!(answer["failures"][0]["instead"], "mirror.search");
    let asked: Vec<String> = host.calls().into_iter().map(|call| call.tool).collect();
    assert_eq!(asked, ["papers.search", "mirror.search"]);
}

#[test]
fn a_plugin_that_was_granted_nothing_says_so() {
    let output = Host::new().call::<research>(json!({"question": "x"})).expect("the arguments fit");
    assert!(output.is_error && output.text().contains("no search tool is granted"), "{output:?}");
}
