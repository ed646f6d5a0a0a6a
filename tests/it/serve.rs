//! `toolcell serve` as agents use it: raw HTTP in both eras, and the official Python SDK's clients.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::serving::{call, initialize, run_python};
use toolcell_tests::{Cli, HttpFault, Marker, Server, Serving, Signal, fixtures, wait_until};

/// Connects to a URL and does what the program says, as an agent's framework would.
const CLIENT: &str = r#"
import asyncio, json, sys
from mcp import Client, ClientSession
from mcp.client.sse import sse_client

async def main():
    url, mode, program = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    progress = []
    async def note(done, total, message):
        progress.append(message)
    async def use(client):
        tools = await client.list_tools()
        answers = []
        for name, arguments in program:
            result = await client.call_tool(name, arguments, progress_callback=note)
            answers.append(result.model_dump(mode="json", by_alias=True))
        return {"tools": [tool.name for tool in tools.tools], "answers": answers}
    if mode == "sse":
        async with sse_client(url) as (read, write):
            async with ClientSession(read, write) as client:
                version = (await client.initialize()).protocol_version
                seen = await use(client)
    else:
        async with Client(url, mode=mode) as client:
            version = client.protocol_version
            seen = await use(client)
    print(json.dumps({"version": version, "progress": progress, **seen}))

asyncio.run(main())
"#;

fn sdk(url: &str, mode: &str, program: &Value) -> Value {
    let output = Command::new(fixtures::python_with_mcp())
        .args(["-c", CLIENT, url, mode, &program.to_string()])
        .output()
        .expect("Python starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{mode}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{stderr}"))
}

fn demo() -> String {
    fixtures::misbehaving("ok").toml("demo")
}

#[test]
fn the_official_client_works_over_each_transport_and_in_each_era() {
    let marker = Marker::new();
    let serving = Serving::start(&fixtures::misbehaving("ok").marked(&marker).toml("demo"));
    let code = "from tools import demo\n[demo.echo(text=str(n)) for n in range(3)]";
    let program = json!([
        ["search_tools", { "query": "echo a text" }],
        ["run_python", { "code": code }],
        ["run_python", { "code": "1/0" }],
    ]);
    for (mode, path, version) in [
        ("legacy", "/mcp", "2025-11-25"),
        ("auto", "/mcp/", "2026-07-28"),
        ("2026-07-28", "/mcp", "2026-07-28"),
        ("sse", "/sse", "2025-11-25"),
    ] {
        let seen = sdk(&serving.url(path), mode, &program);
        assert_eq!(seen["version"], version, "{mode}: {seen}");
        let tools = seen["tools"].as_array().expect("a list");
        assert!(tools.contains(&json!("run_python")), "{seen}");
        let answers = &seen["answers"];
        assert_eq!(answers[1]["structuredContent"]["value"], json!(["0", "1", "2"]), "{answers}");
        assert_eq!(answers[2]["isError"], true, "{answers}");
        assert_eq!(seen["progress"].as_array().map(Vec::len), Some(3), "{mode}: {seen}");
    }
    serving.stop();
    marker.assert_nothing_survives();
}

#[test]
fn the_first_message_may_be_anything_and_needs_no_handshake() {
    let serving = Serving::start("");
    let list = call(1, "tools/list", &json!({}));
    // The barest of all: a POST with nothing but its body.
    for path in ["/mcp", "/mcp/", "/mcp/default", "/mcp/default/"] {
        let bare = serving.request("POST", path).body(list.to_string()).send();
        assert_eq!(bare.header("content-type"), Some("application/json"), "{bare:?}");
        assert!(bare.json()["result"]["tools"].to_string().contains("run_python"), "{bare:?}");
    }
    for accept in ["*/*", "application/json", "application/json, text/event-stream"] {
        let reply = serving.post(&run_python(7, "6*7")).header("Accept", accept).send();
        assert_eq!(reply.header("content-type"), Some("application/json"), "{reply:?}");
        assert_eq!(reply.json()["result"]["structuredContent"]["value"], 42);
    }
    let events = serving.post(&list).header("Accept", "text/event-stream").send();
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert_eq!(events.json()["id"], 1);
    let found = serving.modern("server/discover", &json!({})).send();
    assert_eq!(found.json()["result"]["supportedVersions"], json!(["2026-07-28"]), "{found:?}");
    assert_eq!(found.header("mcp-session-id"), None);
    let listed = serving.modern("tools/list", &json!({})).send();
    assert_eq!(listed.json()["result"]["resultType"], "complete", "{listed:?}");
    let begun = serving.post(&initialize("2025-06-18")).header("Accept", "*/*").send();
    assert_eq!(begun.json()["result"]["protocolVersion"], "2025-06-18");
}

#[test]
fn a_session_has_a_beginning_streams_and_an_end() {
    let serving = Serving::start(&demo());
    let session = serving.initialize();
    assert!(session.len() == 32 && session.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let told = serving.in_session(&session, &initialized).send();
    assert_eq!((told.status, &*told.body), (202, ""));
    let answer = json!({ "jsonrpc": "2.0", "id": 5, "result": {} });
    assert_eq!(serving.in_session(&session, &answer).send().status, 202);

    let standing = serving
        .request("GET", "/mcp")
        .header("Accept", "text/event-stream")
        .header("Mcp-Session-Id", &session)
        .open();
    assert_eq!(standing.reply.header("content-type"), Some("text/event-stream"));

    // What is said about a request comes on its own response.
    let script = run_python(3, "from tools import demo\ndemo.echo(text='a') + demo.echo(text='b')");
    let mut stream = serving.in_session(&session, &script).open();
    let primed = stream.event().expect("the stream begins");
    assert_eq!(primed[0].0, "id");
    let mut said = Vec::new();
    while let Some((id, message)) = stream.message() {
        said.push((id, message));
    }
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(said[0].1["params"]["message"], "calling demo.echo");
    assert_eq!(said[2].1["result"]["structuredContent"]["value"], "ab");

    let batch =
        json!([call(1, "ping", &json!({})), initialized, call(2, "tools/list", &json!({}))]);
    let answers = serving.in_session(&session, &batch).send().json();
    assert_eq!(answers.as_array().map(Vec::len), Some(2), "{answers}");

    let ended = serving.request("DELETE", "/mcp").header("Mcp-Session-Id", &session).send();
    assert_eq!(ended.status, 204);
    for message in [call(9, "ping", &json!({})), initialized] {
        let gone = serving.in_session(&session, &message).send();
        assert_eq!(gone.status, 404, "{gone:?}");
        assert!(gone.json()["error"]["message"].to_string().contains("initialize"));
    }
}

#[test]
fn a_response_that_broke_off_is_taken_up_where_it_was() {
    let serving = Serving::start(&demo());
    let session = serving.initialize();
    let code = "from tools import demo\ndemo.echo(text='a')\ndemo.slow(ms=1500)\ndemo.echo(text='c')\n'whole'";
    let mut stream = serving.in_session(&session, &run_python(3, code)).open();
    let (first, message) = stream.message().expect("progress comes");
    assert_eq!(message["params"]["progress"], 1);
    stream.vanish();
    let again = serving
        .request("GET", "/mcp")
        .header("Accept", "text/event-stream")
        .header("Mcp-Session-Id", &session)
        .header("Last-Event-ID", &first);
    let mut stream = again.open();
    let mut rest = Vec::new();
    while let Some((_, message)) = stream.message() {
        rest.push(message);
    }
    let counted: Vec<&Value> = rest.iter().map(|message| &message["params"]["progress"]).collect();
    assert_eq!(counted, [&json!(2), &json!(3), &Value::Null], "{rest:?}");
    assert_eq!(rest[2]["result"]["structuredContent"]["value"], "whole");
}

#[test]
fn the_old_transport_has_one_stream_and_posts() {
    let serving = Serving::start("default_profile = \"one\"\n[profiles.one]\n[profiles.other]\n");
    for (path, profile) in [("/sse", ""), ("/sse/other", "/other")] {
        let mut stream = serving.request("GET", path).header("Accept", "text/event-stream").open();
        let endpoint = stream.event().expect("the first event");
        assert_eq!(endpoint[0], ("event".to_owned(), "endpoint".to_owned()));
        let address = endpoint[1].1.clone();
        assert!(address.starts_with(&format!("/messages{profile}?session_id=")), "{address}");
        for message in [initialize("2024-11-05"), call(1, "tools/list", &json!({}))] {
            let taken = serving.post(&message).path(&address).send();
            assert_eq!(taken.status, 202);
            let (_, answer) = stream.message().expect("an answer");
            assert_eq!(answer["id"], message["id"]);
        }
        stream.vanish();
        wait_until(PATIENCE, "the session is over", || {
            serving.post(&call(2, "ping", &json!({}))).path(&address).send().status == 404
        });
    }
}

#[test]
fn a_profile_is_an_address() {
    let tables = demo() + "[profiles.none]\n[profiles.all]\ntools = [\"demo.*\"]\n";
    let serving = Serving::start(&format!("default_profile = \"none\"\n{tables}"));
    let found = |path: &str| {
        let search = call(
            1,
            "tools/call",
            &json!({ "name": "search_tools", "arguments": { "query": "echo" } }),
        );
        serving.post(&search).path(path).send().json().to_string()
    };
    assert!(!found("/mcp").contains("demo.echo"), "{}", found("/mcp"));
    assert!(found("/mcp/all").contains("demo.echo"));
    assert!(found("/mcp/all/").contains("demo.echo"));
    let unknown = serving.post(&initialize("2025-11-25")).path("/mcp/al").send();
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("all"), "{unknown:?}");
    // A session is of the profile in whose address it began.
    let session = serving.initialize();
    let ping = serving.in_session(&session, &call(1, "ping", &json!({})));
    assert_eq!(ping.path("/mcp/all").send().status, 404);
    let other = Serving::of(Cli::new("serve").config(&tables).args(["--profile", "all"]));
    let search =
        call(1, "tools/call", &json!({ "name": "search_tools", "arguments": { "query": "echo" } }));
    assert!(other.post(&search).send().body.contains("demo.echo"));
}

#[test]
fn it_is_there_at_once_whatever_the_servers_do() {
    let marker = Marker::new();
    let silent = fixtures::misbehaving("silent").marked(&marker).toml("silent");
    let gone = HttpFault::behaving(toolcell_tests::tiny_mcp::Eras::Legacy);
    let toml = silent + &Server::http(gone.url()).toml("gone");
    drop(gone);
    let serving = Serving::start(&toml);
    // The machine may be at work on something else just then, but not five times.
    let took = (0..5).map(|_| {
        let start = Instant::now();
        serving.initialize();
        start.elapsed()
    });
    let took = took.min().unwrap_or_default();
    assert!(took < Duration::from_millis(100), "initialize took {took:?}");
    assert!(marker.processes().is_empty(), "no server is started for a client that only looks");
    let healthy = serving.get("/healthz");
    assert_eq!((healthy.status, &healthy.json()["status"]), (200, &json!("ok")));
    wait_until(PATIENCE, "it is ready", || serving.get("/readyz").status == 200);
    let ready = serving.get("/readyz").json();
    assert_eq!(ready["upstreams"], json!({ "silent": "unknown", "gone": "unknown" }), "{ready}");
    assert_eq!(serving.get("/nothing").status, 404);
}

#[test]
fn a_changed_configuration_is_taken_over_and_a_broken_one_is_not() {
    let serving = Serving::start("[profiles.default]\n");
    let file = serving.process().folder().join("toolcell.toml");
    let status =
        |path: &str| serving.post(&call(1, "tools/list", &json!({}))).path(path).send().status;
    assert_eq!(status("/mcp/new"), 404);
    std::fs::write(&file, "[profiles.default]\n[profiles.new]\n").expect("a file is written");
    serving.process().wait_for_line("the configuration changed: no server changed");
    assert_eq!(status("/mcp/new"), 200);
    std::fs::write(&file, "[profiles.").expect("a file is written");
    serving.process().wait_for_line("the old one stays");
    assert_eq!(status("/mcp/new"), 200);
}

#[test]
fn it_ends_at_once_with_all_that_is_under_way() {
    for signal in [Signal::Terminate, Signal::Interrupt] {
        let marker = Marker::new();
        let serving = Serving::start(&fixtures::misbehaving("ok").marked(&marker).toml("demo"));
        let session = serving.initialize();
        let listening = serving.request("GET", "/mcp").header("Mcp-Session-Id", &session).open();
        let slow = run_python(1, "from tools import demo\ndemo.slow(ms=600000)");
        let mut running = serving.in_session(&session, &slow).open();
        running.message().expect("the run has begun");
        serving.process().signal(signal);
        let ended = serving.end(Duration::from_secs(6)).success();
        assert!(!ended.stderr.contains("panicked"), "{ended}");
        marker.assert_nothing_survives();
        drop((listening, running));
    }
}

#[test]
fn json_tells_where_it_listens() {
    let running = Cli::new("serve").config("").args(["--listen", "127.0.0.1:0", "--json"]).spawn();
    let line = running.wait_for_line("\"listening\"");
    let told: Value = serde_json::from_str(&line).expect("JSON");
    assert!(told["listening"].as_str().is_some_and(|url| url.ends_with("/mcp")), "{told}");
    assert_eq!(told["pid"], running.pid());
    let taken = told["listening"].as_str().unwrap_or_default();
    let address = taken.trim_start_matches("http://").trim_end_matches("/mcp");
    let second = Cli::new("serve").config("").args(["--listen", address]).run().expect_code(2);
    assert!(second.stderr.contains(address) && second.stderr.contains("--listen"), "{second}");
}
