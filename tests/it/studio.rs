//! AutoGen Studio and toolcell's bridge for it: the front end's own client class at work with both, over
//! stdio and streamable HTTP, and all that both say, compared frame by frame.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use toolcell_tests::fixtures::{self, RealHttp};
use toolcell_tests::{Marker, Server, Serving, studio};

const TOKEN: &str = "the-token-of-a-test-browser";

/// A `toolcell serve` whose bridge admits these servers, besides those of the configuration. Sessions
/// may set one variable of them, and name some folders.
fn bridge(configured: &str, admitted: &[Value]) -> Serving {
    let mut toml = format!("[server.tokens.browser]\ntoken = \"{TOKEN}\"\n[server.bridge]\n");
    toml.push_str("allow = [\n");
    for params in admitted {
        // A JSON string, or a list of them, is TOML too.
        let _ = match params["url"].as_str() {
            Some(_) => writeln!(toml, "  {{ url = {} }},", params["url"]),
            None => writeln!(
                toml,
                "  {{ command = {}, args = {}, env = [\"A\"], cwd = \"/usr*\" }},",
                params["command"], params["args"]
            ),
        };
    }
    toml.push_str("]\n");
    Serving::start(&(configured.to_owned() + &toml))
}

/// What the panel does with the server called "everything": its tabs, a tool that fails, and the dialog
/// answered in each of the three ways.
fn clicks() -> Value {
    let call = |tool: &str, arguments: Value| {
        let mut click = json!({ "operation": "call_tool", "tool_name": tool });
        click["arguments"] = arguments;
        click
    };
    let asked = |answer: Value| {
        let mut click = call("trigger-elicitation-request", json!({}));
        click["answer"] = answer;
        click
    };
    json!([
        { "operation": "list_tools" },
        call("echo", json!({ "message": "hi" })),
        call("get-resource-reference", json!({ "resourceType": "Text", "resourceId": -1 })),
        { "operation": "list_resources" },
        { "operation": "read_resource", "uri": "demo://resource/static/document/features.md" },
        { "operation": "list_prompts" },
        { "operation": "get_prompt", "name": "args-prompt", "arguments": { "city": "Oslo" } },
        asked(json!({ "action": "accept", "data": { "name": "Ada", "check": true, "integer": 42 } })),
        asked(json!({ "action": "decline" })),
        asked(json!({ "action": "cancel" })),
    ])
}

/// What the front end saw of this server, through a bridge at this address.
fn seen_by_the_front_end(page: &str, server: &Server) -> Value {
    let asked = json!({
        "page": page, "token": TOKEN, "params": server.params(), "operations": clicks(),
    });
    studio::front_end(asked).run().success().json()
}

/// Asserts that a user of the panel got all that there is to get.
fn check(seen: &Value) {
    assert_eq!((&seen["connected"], &seen["error"]), (&json!(true), &Value::Null), "{seen:#}");
    assert_eq!(seen["errors"], json!([]), "{seen:#}");
    for capability in ["tools", "resources", "prompts"] {
        assert!(seen["capabilities"][capability].is_object(), "{capability}: {seen:#}");
    }
    let expected = [
        "trigger-elicitation-request",
        "Echo: hi",
        "Invalid resourceId",
        "demo://resource/static/document/features.md",
        "Features",
        "args-prompt",
        "What's weather in Oslo?",
        "Ada",
        "declined",
        "cancelled",
    ];
    let answers = seen["answers"].as_array().expect("a list");
    assert_eq!(answers.len(), expected.len(), "{seen:#}");
    for (answer, part) in answers.iter().zip(expected) {
        assert!(answer.to_string().contains(part), "{part} is not in {answer:#}");
    }
    assert_eq!(answers[2]["data"]["result"]["isError"], true, "{:#}", answers[2]);
    for answer in &answers[7..] {
        assert_eq!(answer["asked"], "Please provide inputs for the following fields:");
        assert!(answer["fields"].as_array().is_some_and(|fields| fields.len() > 10), "{answer:#}");
    }
    assert_eq!(seen["waiting"], 0, "no dialog is left: {seen:#}");
    assert_eq!(seen["after"], json!({ "connected": false, "error": null }), "{seen:#}");
}

/// The same clicks through the real server and through toolcell, which must not be told apart but by the
/// tools that the server has for what only one of the two is able to.
fn works(server: &Server, bridge: &Serving) {
    let real = studio::server();
    let [theirs, ours] = [real.url(), bridge.url("")].map(|page| {
        let mut seen = seen_by_the_front_end(&page, server);
        check(&seen);
        let tools = seen["answers"][0]["data"]["tools"].as_array_mut().expect("a list");
        tools.retain(|tool| {
            tool["name"] != "trigger-url-elicitation" && tool["name"] != "get-roots-list"
        });
        seen
    });
    assert_eq!(ours["answers"], theirs["answers"]);
    assert_eq!(ours["capabilities"], theirs["capabilities"]);
}

#[test]
fn the_front_end_works_with_an_admitted_command() {
    let marker = Marker::new();
    let everything = fixtures::everything_stdio().arg(marker.as_str());
    let bridge = bridge("", &[everything.params()]);
    works(&everything, &bridge);
    bridge.stop();
}

#[test]
fn the_front_end_works_with_a_server_of_the_configuration() {
    let everything = fixtures::everything_stdio();
    let bridge = bridge(&everything.toml("everything"), &[]);
    works(&everything, &bridge);
    bridge.stop();
}

#[test]
fn the_front_end_works_over_streamable_http() {
    let everything = fixtures::everything_http();
    let bridge = bridge("", &[everything.server().params()]);
    works(&everything.server(), &bridge);
    bridge.stop();
}

#[test]
fn the_front_end_is_told_why_it_gets_no_session() {
    let everything = fixtures::everything_stdio();
    let bridge = bridge("", &[]);
    let seen = seen_by_the_front_end(&bridge.url(""), &everything);
    assert_eq!(seen["connected"], false, "{seen:#}");
    assert!(seen["error"].as_str().is_some_and(|error| !error.is_empty()), "{seen:#}");
    assert!(!seen.to_string().contains("server-everything/dist"), "{seen:#}");
    bridge.stop();
}

/// The servers of the comparison, and those of them that are processes of ours.
struct Servers {
    params: Value,
    _running: [RealHttp; 3],
}

impl Servers {
    fn start(real: &RealHttp) -> Self {
        let running = [studio::probe_http(), fixtures::everything_http(), fixtures::python_http()];
        let [probe_http, everything_http, sdk_http] = &running;
        let mut params = json!({
            "probe": studio::probe().params(),
            "probe http": probe_http.server().params(),
            "everything": fixtures::everything_stdio().params(),
            "everything http": everything_http.server().params(),
            "sdk": fixtures::python_stdio().params(),
            "sdk http": sdk_http.server().params(),
            "bare": Server::stdio("node", &[]).params(),
            "missing": Server::stdio("toolcell-no-such-command", &[]).params(),
            // The port of a service that nobody runs any more.
            "refused": Server::http("http://127.0.0.1:9/mcp").params(),
            "no mcp": Server::http(format!("{}/api/mcp", real.url())).params(),
        });
        for mode in [
            "exit-at-start",
            "garbage",
            "json-rpc-error",
            "odd-fields",
            "odd-forms",
            "rejects-arguments",
            "unknown-content-type",
        ] {
            params[mode] = fixtures::misbehaving(mode).params();
        }
        Self { params, _running: running }
    }

    fn all(&self) -> Vec<Value> {
        self.params.as_object().expect("an object").values().cloned().collect()
    }
}

/// It takes a minute at least: that is how long a question waits for its answer.
#[test]
fn both_bridges_say_the_same_but_for_what_is_listed() {
    let real = studio::server();
    let servers = Servers::start(&real);
    let bridge = bridge("", &servers.all());
    let asked = json!({
        "studio": real.url(), "toolcell": bridge.url(""), "token": TOKEN, "servers": servers.params,
    });
    let compared = studio::comparison(&asked).arg("--slow").run().success();
    assert!(compared.stdout.contains("0 are not"), "{}", compared.stdout);
    bridge.stop();
}

#[test]
fn the_page_lists_the_differences() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root");
    let page = fs::read_to_string(root.join("docs/bridge.md")).expect("the bridge has a page");
    for row in studio::listed_differences() {
        assert!(
            page.lines().any(|line| line == row),
            "docs/bridge.md lacks a row of `python tests/clients/studio/differences.py`: {row}"
        );
    }
}
