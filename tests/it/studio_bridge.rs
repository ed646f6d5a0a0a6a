//! The bridge for web clients as they use it: sessions over WebSockets, in the frames of AutoGen Studio.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::web::{Bridged, WebClient, named, stdio};
use toolcell_tests::{Cli, Marker, Server, fixtures, wait_until};

use crate::hosts::block_on;

fn demo() -> Bridged {
    Bridged::start(&fixtures::misbehaving("ok").toml("demo"))
}

#[test]
fn a_page_has_a_session_with_a_real_server() {
    let bridged = Bridged::start(&fixtures::everything_stdio().toml("everything"));
    let reply = bridged.connect(&named("everything")).send().json();
    let id = reply["session_id"].as_str().expect("an id");
    assert_eq!(reply["message"], "WebSocket connection URL created");
    assert!(
        reply["websocket_url"].as_str().expect("a URL").starts_with(&format!("/api/mcp/ws/{id}?"))
    );
    assert!(reply["timestamp"].as_str().expect("a time").ends_with("+00:00"));
    block_on(async {
        let (ticket, mut client) = bridged.session(&named("everything")).await;
        assert_eq!(bridged.status(&reply["session_id"].to_string())["status"], false);
        let begun = client.next().await;
        assert_eq!(
            (&begun["type"], &begun["session_id"]),
            (&json!("initialized"), &json!(ticket.id))
        );
        for member in
            ["experimental", "logging", "prompts", "resources", "tools", "completions", "tasks"]
        {
            assert!(begun["capabilities"].get(member).is_some(), "{member}: {begun}");
        }

        let listed = client.operation("list_tools", json!({})).await;
        let tools = listed["data"]["tools"].as_array().expect("a list");
        let echo = tools.iter().find(|tool| tool["name"] == "echo").expect("it has one");
        for member in ["title", "outputSchema", "icons", "annotations", "meta", "execution"] {
            assert!(echo.get(member).is_some(), "{member}: {echo}");
        }
        let called = client.call("echo", json!({ "message": "hi" })).await;
        let wanted = json!({ "tool_name": "echo", "result": { "meta": null, "isError": false,
            "structuredContent": null,
            "content": [{ "type": "text", "text": "Echo: hi", "annotations": null, "meta": null }] } });
        assert_eq!(called["data"], wanted, "{called}");
        assert!(called.get("request_id").is_none(), "{called}");

        let listed = client.operation("list_resources", json!({})).await;
        assert!(listed["data"].get("nextCursor").is_some_and(Value::is_null), "{listed}");
        let uri = &listed["data"]["resources"][0]["uri"];
        let read = client.operation("read_resource", json!({ "uri": uri })).await;
        assert_eq!(
            (&read["data"]["contents"][0]["uri"], &read["data"]["meta"]),
            (uri, &json!(null))
        );
        let listed = client.operation("list_prompts", json!({})).await;
        assert_eq!(listed["data"]["prompts"][0]["name"], "simple-prompt", "{listed}");
        let fields = json!({ "name": "args-prompt", "arguments": { "city": "Rome" } });
        let got = client.operation("get_prompt", fields).await;
        assert_eq!(got["data"]["messages"][0]["content"]["annotations"], json!(null), "{got}");

        let status = bridged.status(&ticket.id);
        assert_eq!(
            (&status["message"], &status["connected"]),
            (&json!("Session active"), &json!(true))
        );
        assert_eq!(status["capabilities"], begun["capabilities"]);
        client.close().await;
        wait_until(PATIENCE, "the session is forgotten", || {
            bridged.status(&ticket.id)["message"] == "Session not found"
        });
    });
}

#[test]
fn an_operation_with_an_id_has_it_in_its_answer_and_its_progress_is_told() {
    let bridged = Bridged::start(&fixtures::everything_stdio().toml("everything"));
    block_on(async {
        let (_, mut client) = bridged.open_named("everything").await;
        let fields = json!({ "tool_name": "trigger-long-running-operation", "request_id": "a",
            "arguments": { "duration": 0.2, "steps": 2 } });
        client.begin("call_tool", fields).await;
        let progress = client.next_of("progress").await;
        assert_eq!(
            (&progress["request_id"], &progress["progress"], &progress["total"]),
            (&json!("a"), &json!(1), &json!(2)),
            "{progress}"
        );
        assert_eq!(client.next_of("operation_result").await["request_id"], "a");
        let failed =
            client.operation("fly", json!({ "request_id": 12345678901234567890u64 })).await;
        assert_eq!(failed["request_id"], 12345678901234567890u64, "{failed}");
        client.send(&json!({ "type": "ping", "request_id": 7 })).await;
        assert_eq!(client.next_of("pong").await["request_id"], 7);
    });
}

#[test]
fn operations_are_answered_as_they_end() {
    let bridged = demo();
    block_on(async {
        let (_, mut client) = bridged.open_named("demo").await;
        let slow =
            json!({ "tool_name": "slow_read", "arguments": { "ms": 400 }, "request_id": "slow" });
        client.begin("call_tool", slow).await;
        let quick =
            json!({ "tool_name": "echo", "arguments": { "text": "x" }, "request_id": "quick" });
        client.begin("call_tool", quick).await;
        let first = client.next_of("operation_result").await;
        let second = client.next_of("operation_result").await;
        assert_eq!(
            (&first["request_id"], &second["request_id"]),
            (&json!("quick"), &json!("slow"))
        );
    });
}

#[test]
fn frames_that_fit_nothing_are_answered_as_the_original_answers_them() {
    let bridged = demo();
    block_on(async {
        let (_, mut client) = bridged.open_named("demo").await;
        let error = |words: &str| json!({ "type": "error", "error": words });
        let failed = |name: &str, words: &str| json!({ "type": "operation_error", "operation": name, "error": words });
        let required = |what: &str| format!("McpOperationError: {what} is required");
        for (sent, wanted) in [
            ("x", error("Invalid message format")),
            ("", error("Invalid message format")),
            ("{\"type\":\"ping\"} x", error("Invalid message format")),
            ("[", error("Invalid message format")),
            ("{}", error("Unknown message type: None")),
            (r#"{"type":null}"#, error("Unknown message type: None")),
            (r#"{"type":3}"#, error("Unknown message type: 3")),
            (r#"{"type":"dance"}"#, error("Unknown message type: dance")),
            (r#"{"operation":"list_tools"}"#, error("Unknown message type: None")),
            (r#"{"type":"operation"}"#, failed("unknown", "Unknown operation: None")),
            (r#"{"type":"operation","operation":"fly"}"#, failed("fly", "Unknown operation: fly")),
            (
                r#"{"type":"operation","operation":"call_tool"}"#,
                failed("call_tool", &required("Tool name")),
            ),
            (
                r#"{"type":"operation","operation":"read_resource","uri":""}"#,
                failed("read_resource", &required("Resource URI")),
            ),
            (
                r#"{"type":"operation","operation":"get_prompt","name":null}"#,
                failed("get_prompt", &required("Prompt name")),
            ),
            (
                r#"{"type":"operation","operation":"call_tool","tool_name":"nope"}"#,
                failed("call_tool", "McpError: Unknown tool: nope"),
            ),
            (
                r#"{"type":"elicitation_response"}"#,
                error("Missing request_id in elicitation response"),
            ),
            (
                r#"{"type":"elicitation_response","request_id":"x"}"#,
                json!({ "type": "operation_error", "error": "Unknown elicitation request_id: x" }),
            ),
            (r#"{"type":"dance","type":"ping"}"#, json!({ "type": "pong" })),
        ] {
            client.send_text(sent).await;
            let mut answer = client.next().await;
            let time = answer.as_object_mut().expect("an object").remove("timestamp");
            assert!(time.is_some(), "{answer}");
            assert_eq!(answer, wanted, "{sent}");
        }
        // Arguments that fit nothing are answered as servers answer them.
        let called = client.call("add", json!({ "a": "x" })).await;
        assert_eq!(called["data"]["result"]["isError"], true, "{called}");
        let failing = client.call("fail", json!({ "message": "no luck" })).await;
        assert_eq!(failing["data"]["result"]["content"][0]["text"], "no luck", "{failing}");
    });
}

#[test]
fn what_cannot_be_a_frame_at_all_ends_the_session() {
    use tokio_tungstenite::tungstenite::Message;
    let bridged = demo();
    block_on(async {
        for message in [
            Message::text("[1]"),
            Message::text("7"),
            Message::text("\"x\""),
            Message::text("null"),
            Message::binary(vec![1, 2, 3]),
        ] {
            let (ticket, mut client) = bridged.open_named("demo").await;
            client.send_message(message).await.expect("it is sent");
            let (frames, close) = client.to_the_end().await;
            let kinds: Vec<_> = frames.iter().map(|frame| frame["type"].as_str()).collect();
            assert_eq!(kinds, [Some("error"), Some("closed")], "{frames:?}");
            let words = frames[0]["error"].as_str().expect("words");
            assert!(words.starts_with("Connection error: "), "{words}");
            assert_eq!(close.expect("a close frame").0, 1011);
            assert_eq!(bridged.status(&ticket.id)["status"], false);
        }
    });
}

#[test]
fn json_rpc_passes_with_its_ids_and_errors() {
    let bridged = Bridged::start(&fixtures::everything_stdio().toml("everything"));
    block_on(async {
        let (_, mut client) = bridged.open_named("everything").await;
        let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": { "name": "page", "version": "1" } });
        let rpc = |id: Value, method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        client.send(&rpc(json!(1), "initialize", params)).await;
        let begun = client.answer(&json!(1)).await;
        assert_eq!(begun["result"]["protocolVersion"], "2025-06-18", "{begun}");
        assert!(begun["result"]["capabilities"]["tools"].is_object(), "{begun}");
        client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;

        client.send(&rpc(json!("list"), "tools/list", json!({}))).await;
        let listed = client.answer(&json!("list")).await;
        let echo = &listed["result"]["tools"][0];
        assert_eq!(echo["name"], "echo");
        assert!(echo.get("outputSchema").is_none() && echo.get("meta").is_none(), "{echo}");
        let call = json!({ "name": "echo", "arguments": { "message": "hi" } });
        client.send(&rpc(json!(12), "tools/call", call)).await;
        assert_eq!(client.answer(&json!(12)).await["result"]["content"][0]["text"], "Echo: hi");
        for (method, params, code) in [
            ("no/such", json!({}), -32601),
            ("tools/call", json!({}), -32602),
            ("tools/call", json!({ "name": "nope" }), -32602),
            ("prompts/get", json!({ "name": "nope" }), -32602),
        ] {
            client.send(&rpc(json!("e"), method, params)).await;
            assert_eq!(client.answer(&json!("e")).await["error"]["code"], code, "{method}");
        }
        client.send(&rpc(json!([1]), "ping", json!({}))).await;
        assert_eq!(client.answer(&json!(null)).await["error"]["code"], -32600);
        let complete = json!({ "ref": { "type": "ref/prompt", "name": "completable-prompt" },
            "argument": { "name": "department", "value": "E" } });
        client.send(&rpc(json!(13), "completion/complete", complete)).await;
        let values = &client.answer(&json!(13)).await["result"]["completion"]["values"];
        assert_eq!(values, &json!(["Engineering"]));

        let long = json!({ "name": "trigger-long-running-operation",
            "arguments": { "duration": 0.2, "steps": 2 }, "_meta": { "progressToken": "mine" } });
        client.send(&rpc(json!(14), "tools/call", long)).await;
        loop {
            let frame = client.next().await;
            assert_ne!(frame["id"], 14, "no progress came");
            if frame["method"] == "notifications/progress" {
                assert_eq!(frame["params"]["progressToken"], "mine", "{frame}");
                break;
            }
        }
        client.answer(&json!(14)).await;
    });
}

/// A bridge whose server writes down what arrives.
struct Watched {
    bridged: Bridged,
    log: PathBuf,
}

impl Watched {
    fn start(mode: &str, more: &str) -> Self {
        let cli = Cli::new("serve");
        let log = cli.folder().join("log");
        let server = fixtures::misbehaving(mode)
            .arg("--legacy")
            .env("MISBEHAVING_LOG", log.to_str().expect("UTF-8"));
        Self { bridged: Bridged::of(cli, &format!("{more}{}", server.toml("demo"))), log }
    }

    #[track_caller]
    fn wait_for(&self, part: &str) {
        wait_until(PATIENCE, &format!("the server saw {part}"), || {
            fs::read_to_string(&self.log).unwrap_or_default().contains(part)
        });
    }
}

#[test]
fn what_is_under_way_is_cancelled_at_the_server_when_its_client_goes() {
    let watched = Watched::start("ok", "");
    block_on(async {
        let (_, mut client) = watched.bridged.open_named("demo").await;
        client
            .begin("call_tool", json!({ "tool_name": "slow", "arguments": { "ms": 600000 } }))
            .await;
        watched.wait_for("tools/call");
        client.close().await;
        watched.wait_for("notifications/cancelled");
    });
    let watched = Watched::start("ok", "");
    block_on(async {
        let (_, mut client) = watched.bridged.open_named("demo").await;
        let call = json!({ "jsonrpc": "2.0", "id": "s", "method": "tools/call",
            "params": { "name": "slow", "arguments": { "ms": 600000 } } });
        client.send(&call).await;
        watched.wait_for("tools/call");
        let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": { "requestId": "s" } });
        client.send(&cancel).await;
        watched.wait_for("notifications/cancelled");
        client.send(&json!({ "type": "ping" })).await;
        assert_eq!(client.next().await["type"], "pong", "a cancelled request is not answered");
    });
}

#[test]
fn a_client_that_speaks_json_rpc_hears_of_what_it_subscribed_to() {
    let toml = fixtures::everything_stdio().toml("everything")
        + &fixtures::misbehaving("changes-tools").toml("growing");
    let bridged = Bridged::start(&toml);
    let rpc = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": method, "method": method, "params": params });
    block_on(async {
        let (_, mut client) = bridged.open_named("everything").await;
        let uri = "demo://resource/dynamic/text/1";
        client.send(&rpc("resources/subscribe", json!({ "uri": uri }))).await;
        let answer = client.answer(&json!("resources/subscribe")).await;
        assert_eq!(answer["result"], json!({}), "{answer}");
        let toggle = json!({ "name": "toggle-subscriber-updates", "arguments": {} });
        client.send(&rpc("tools/call", toggle)).await;
        let told = client.told("notifications/resources/updated").await;
        assert_eq!(told["params"], json!({ "uri": uri }), "{told}");
        client.send(&rpc("resources/unsubscribe", json!({ "uri": uri }))).await;
        let answer = client.answer(&json!("resources/unsubscribe")).await;
        assert_eq!(answer["result"], json!({}), "{answer}");
        let long = format!("demo://{}", "x".repeat(20_000));
        for params in [json!({}), json!({ "uri": long })] {
            client.send(&rpc("resources/subscribe", params)).await;
            let answer = client.answer(&json!("resources/subscribe")).await;
            assert_eq!(answer["error"]["code"], -32602, "{answer}");
        }

        let (_, mut client) = bridged.open_named("growing").await;
        let listed = rpc("tools/list", json!({}));
        client.send(&listed).await;
        let tools = client.answer(&json!("tools/list")).await["result"]["tools"].clone();
        let name = &tools[0]["name"];
        client.send(&rpc("tools/call", json!({ "name": name, "arguments": {} }))).await;
        let told = client.told("notifications/tools/list_changed").await;
        assert!(told.get("id").is_none(), "{told}");
    });
}

#[test]
fn a_server_that_dies_is_told_of_and_comes_back() {
    let bridged = Bridged::start(&fixtures::misbehaving("exit-in-call").toml("demo"));
    block_on(async {
        let (ticket, mut client) = bridged.open_named("demo").await;
        let failed = client.call("slow", json!({ "ms": 1 })).await;
        assert_eq!(failed["type"], "operation_error", "{failed}");
        // It does not read what the server's process wrote on its way out.
        assert!(!failed["error"].to_string().contains("out of luck"), "{failed}");
        assert_eq!(bridged.status(&ticket.id)["connected"], false);
        let activity = client.next_of("mcp_activity").await;
        assert_eq!(activity["activity_type"], "error", "{activity}");
        let listed = client.operation("list_tools", json!({})).await;
        assert_eq!(listed["type"], "operation_result", "{listed}");
        wait_until(PATIENCE, "it is back", || bridged.status(&ticket.id)["connected"] == true);
    });
}

#[test]
fn a_server_that_never_comes_is_told_of_before_a_close_in_good_order() {
    let toml = [
        fixtures::misbehaving("exit-at-start").setting("handshake_timeout = \"5s\"").toml("exits"),
        Server::stdio("/nowhere/server", &[]).toml("missing"),
        Server::http("http://127.0.0.1:9/mcp").setting("retry = { attempts = 1 }").toml("closed"),
    ];
    let bridged = Bridged::start(&toml.concat());
    block_on(async {
        for (server, first) in
            [("exits", "operation_error"), ("missing", "error"), ("closed", "error")]
        {
            let (ticket, mut client) = bridged.session(&named(server)).await;
            let (frames, close) = client.to_the_end().await;
            assert_eq!(frames[0]["type"], first, "{server}: {frames:?}");
            let error = frames.iter().find(|frame| frame["type"] == "error").expect("an error");
            let words = error["error"].as_str().expect("words");
            assert!(words.starts_with("Connection error: "), "{words}");
            assert_eq!(frames.last().expect("frames")["type"], "closed");
            assert_eq!(close.expect("a close frame").0, 1011);
            assert_eq!(bridged.status(&ticket.id)["message"], "Session not found");
        }
    });
}

#[test]
fn frames_that_come_before_the_server_is_there_are_kept_for_it() {
    let bridged = Bridged::start(&fixtures::misbehaving("slow-start").toml("demo"));
    block_on(async {
        let (_, mut client) = bridged.session(&named("demo")).await;
        for _ in 0..17 {
            client
                .begin("call_tool", json!({ "tool_name": "echo", "arguments": { "text": "x" } }))
                .await;
        }
        let refused = client.next().await;
        assert_eq!(refused["error"], "MCP client not initialized", "{refused}");
        assert_eq!(client.next().await["type"], "initialized");
        for _ in 0..16 {
            client.next_of("operation_result").await;
        }
    });
}

#[test]
fn a_client_may_name_a_server_that_the_operator_admits() {
    let marker = Marker::new();
    let folder = tempfile::tempdir().expect("a folder");
    let server = fixtures::misbehaving("ok");
    let command = server.command().get_program().to_str().expect("UTF-8").to_owned();
    let toml = format!(
        "[server.bridge]\nallow = [{{ command = {}, args = [\"ok\", \"**\"], env = [\"TOOLCELL_TEST_*\"], \
         cwd = \"/**\" }}]\n",
        json!(command)
    );
    let bridged = Bridged::start(&toml);
    let mut params = stdio(&command, &["ok"]);
    params["env"] = json!({ (Marker::VARIABLE): marker.as_str() });
    params["cwd"] = json!(folder.path());
    params["read_timeout_seconds"] = json!(1);
    block_on(async {
        let (_, mut one) = bridged.open(&params).await;
        let (_, mut other) = bridged.open(&params).await;
        let count = || {
            let own = marker.processes();
            own.iter().filter(|(_, line)| line.starts_with(&command)).count()
        };
        assert_eq!(count(), 2, "each has its own");
        let pid = marker.processes()[0].0;
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).expect("it lives");
        assert_eq!(cwd, folder.path().canonicalize().expect("it is there"));
        let called = one.call("echo", json!({ "text": "hi" })).await;
        assert_eq!(called["data"]["result"]["content"][0]["text"], "hi", "{called}");
        let late = other.call("slow_read", json!({ "ms": 600000 })).await;
        let words = late["error"].as_str().expect("words");
        assert!(words.starts_with("TimeoutError: "), "{late}");
        one.close().await;
        other.close().await;
    });
    marker.assert_nothing_survives();
}

#[test]
fn parameters_of_a_configured_server_are_that_server() {
    let marker = Marker::new();
    let server = fixtures::misbehaving("ok").marked(&marker);
    let bridged = Bridged::start(&server.toml("demo"));
    let command = server.command().get_program().to_str().expect("UTF-8").to_owned();
    let mut params = stdio(&command, &["ok"]);
    params["env"] = json!({ "LD_PRELOAD": "/tmp/evil.so" });
    block_on(async {
        let (_, mut one) = bridged.open(&params).await;
        let (_, mut other) = bridged.open_named("demo").await;
        for client in [&mut one, &mut other] {
            client.call("echo", json!({ "text": "hi" })).await;
        }
        let own = marker.processes();
        let own: Vec<_> = own.iter().filter(|(_, line)| line.starts_with(&command)).collect();
        let [(pid, _)] = own[..] else { panic!("one connection for both: {own:?}") };
        let environment = fs::read(format!("/proc/{pid}/environ")).expect("it lives");
        assert!(!String::from_utf8_lossy(&environment).contains("evil"));
    });
}

#[test]
fn a_session_reaches_what_its_profile_grants() {
    let toml = format!(
        "[server.bridge]\nprofile = \"web\"\n[profiles.web]\ntools = [\"demo.echo\"]\n\
         [profiles.other]\ntools = [\"*\"]\n{}{}",
        fixtures::misbehaving("ok").toml("demo"),
        fixtures::misbehaving("ok").toml("hidden")
    );
    let bridged = Bridged::start(
        &toml.replace("[server.bridge]", "default_profile = \"other\"\n[server.bridge]"),
    );
    assert_eq!(bridged.connect(&named("hidden")).send().status, 403);
    assert_eq!(bridged.connect(&named("nobody")).send().status, 403);
    block_on(async {
        let (_, mut client) = bridged.open_named("demo").await;
        let listed = client.operation("list_tools", json!({})).await;
        let tools = listed["data"]["tools"].as_array().expect("a list");
        let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str()).collect();
        assert_eq!(names, [Some("echo")]);
        // What is denied sounds like what is not there.
        let words = |frame: Value, name: &str| frame["error"].to_string().replace(name, "NAME");
        let denied = client.call("add", json!({ "a": 1 })).await;
        let unknown = client.call("nope", json!({})).await;
        assert_eq!(words(denied, "add"), words(unknown, "nope"));
    });
}

#[test]
fn toolcell_itself_is_a_server_and_tells_what_a_script_prints() {
    let bridged = demo();
    let run = async |client: &mut WebClient, tool: &str, code: &str, printed: &str, value: &str| {
        client
            .begin("call_tool", json!({ "tool_name": tool, "arguments": { "code": code } }))
            .await;
        let activity = client.next_of("mcp_activity").await;
        let content = &activity["details"]["content"];
        assert_eq!(content["method"], "notifications/message", "{activity}");
        assert_eq!(content["params"]["data"], printed, "{activity}");
        let done = client.next_of("operation_result").await;
        let text = done["data"]["result"]["structuredContent"].to_string();
        assert!(text.contains(value), "{done}");
    };
    block_on(async {
        let (_, mut client) = bridged.open_named("toolcell").await;
        let listed = client.operation("list_tools", json!({})).await;
        let tools = listed["data"]["tools"].as_array().expect("a list");
        for name in ["run_python", "run_typescript", "search_tools"] {
            assert!(tools.iter().any(|tool| tool["name"] == name), "{name}: {listed}");
        }
        let python = "print('so far ü')\nfrom tools import demo\ndemo.echo(text='well')";
        run(&mut client, "run_python", python, "so far ü\n", "well").await;
        let script = "console.log('so far');\n41 + 1";
        run(&mut client, "run_typescript", script, "so far\n", "42").await;
        let found = client.call("search_tools", json!({ "query": "echo" })).await;
        let text = found["data"]["result"]["content"][0]["text"].as_str().expect("a text");
        assert!(text.contains("echo"), "{found}");
    });
}

#[test]
fn all_pages_of_a_list_come_at_once() {
    let bridged = Bridged::start(&fixtures::misbehaving("odd-offers").toml("odd"));
    block_on(async {
        let (_, mut client) = bridged.open_named("odd").await;
        let listed = client.operation("list_resources", json!({})).await;
        let resources = listed["data"]["resources"].as_array().expect("a list");
        assert!(resources.len() > 100, "the server's pages never end, ours do");
        assert_eq!(listed["data"]["nextCursor"], json!(null));
    });
}

#[test]
fn what_servers_say_is_shown_before_the_answer() {
    let bridged = Bridged::start(&fixtures::misbehaving("cries-wolf").arg("--legacy").toml("demo"));
    block_on(async {
        let (_, mut client) = bridged.open_named("demo").await;
        client
            .begin("call_tool", json!({ "tool_name": "echo", "arguments": { "text": "x" } }))
            .await;
        let activity = client.next().await;
        let wanted = json!({ "message_type": "ServerNotification", "content": {
            "method": "notifications/tools/list_changed", "params": null, "jsonrpc": "2.0" } });
        assert_eq!(activity["activity_type"], "protocol", "{activity}");
        assert_eq!(activity["details"], wanted);
        assert_eq!(client.next().await["type"], "operation_result");
    });
}

#[test]
fn a_client_may_name_an_address_that_the_operator_admits() {
    for (kind, server) in [
        ("StreamableHttpServerParams", fixtures::everything_http()),
        ("SseServerParams", fixtures::everything_sse()),
    ] {
        let url = server.url();
        let bridged =
            Bridged::start(&format!("[server.bridge]\nallow = [{{ url = {} }}]\n", json!(url)));
        let params = json!({ "type": kind, "url": url, "headers": { "X-Who": "ada" }, "timeout": 10,
            "sse_read_timeout": 20 });
        block_on(async {
            let (_, mut client) = bridged.open(&params).await;
            let called = client.call("echo", json!({ "message": "hi" })).await;
            assert_eq!(
                called["data"]["result"]["content"][0]["text"], "Echo: hi",
                "{kind}: {called}"
            );
            client.close().await;
        });
    }
}

/// A server of the official SDK that speaks latin-1 on its pipes, as old programs do.
const LATIN_1: &str = r#"
import sys
from io import TextIOWrapper
import anyio
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server

server = MCPServer("latin", version="1")

@server.tool()
def price(text: str) -> str:
    return f"{len(text)} £"

def latin(stream):
    return anyio.wrap_file(TextIOWrapper(stream.buffer, encoding="latin-1", line_buffering=True))

async def main():
    async with stdio_server(latin(sys.stdin), latin(sys.stdout)) as (read, write):
        inner = server._lowlevel_server
        await inner.run(read, write, inner.create_initialization_options())

anyio.run(main)
"#;

#[test]
fn a_server_is_spoken_with_in_its_own_encoding() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("latin.py");
    fs::write(&program, LATIN_1).expect("a file can be written");
    let (python, program) = (fixtures::python_with_mcp(), program.to_str().expect("UTF-8"));
    let python = python.to_str().expect("UTF-8");
    let allow = json!(python);
    let toml = format!(
        "[server.bridge]\nallow = [{{ command = {allow}, args = [{}] }}]\n",
        json!(program)
    );
    let bridged = Bridged::start(&toml);
    for (encoding, handler, said) in [
        ("latin-1", "strict", "4 £"),
        // As UTF-8 the accent is two of its letters, and its sign none of ours.
        ("utf-8", "replace", "5 \u{fffd}"),
        ("utf-8", "ignore", "5 "),
    ] {
        let mut params = stdio(python, &[program]);
        params["encoding"] = json!(encoding);
        params["encoding_error_handler"] = json!(handler);
        block_on(async {
            let (_, mut client) = bridged.open(&params).await;
            let called = client.call("price", json!({ "text": "café" })).await;
            let text = &called["data"]["result"]["content"][0]["text"];
            assert_eq!(text, said, "{encoding}, {handler}: {called}");
            client.close().await;
        });
    }
}
