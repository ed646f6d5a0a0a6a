//! `toolcell mcp` as agents use it: the official Python SDK's own client, in both eras.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use toolcell_tests::tiny_mcp::Eras;
use toolcell_tests::{Cli, HttpFault, Marker, Signal, fixtures};

/// Connects to `toolcell mcp` and does what the program in `sys.argv[2]` says, as an agent's
/// framework would.
const CLIENT: &str = r#"
import asyncio, json, sys
from mcp import Client, StdioServerParameters

async def main():
    command, program, mode = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    answers, progress = [], []
    server = StdioServerParameters(command=command[0], args=command[1:])
    async def note(done, total, message):
        progress.append(message)
    async with Client(server, mode=mode) as client:
        tools = await client.list_tools()
        for name, arguments in program:
            result = await client.call_tool(name, arguments, progress_callback=note)
            answers.append(result.model_dump(mode="json", by_alias=True))
        print(json.dumps({
            "version": client.protocol_version,
            "instructions": client.instructions,
            "tools": [tool.name for tool in tools.tools],
            "answers": answers,
            "progress": progress,
        }))

asyncio.run(main())
"#;

/// An agent's session with the façade over these servers.
pub(crate) fn session(toml: &str, mode: &str, program: &Value) -> Value {
    let cli = Cli::new("mcp").config(toml);
    let config = cli.folder().join("toolcell.toml");
    let toolcell = toolcell_tests::cli::toolcell();
    let command =
        serde_json::json!([toolcell, "mcp", "--config", config, "--cache-dir", cli.cache_folder()]);
    let output = Command::new(fixtures::python_with_mcp())
        .args(["-c", CLIENT, &command.to_string(), &program.to_string(), mode])
        .output()
        .expect("Python starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{stderr}"))
}

pub(crate) fn first_text(answer: &Value) -> &str {
    answer["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}"))
}

#[test]
fn an_agent_searches_looks_and_runs_one_script_in_either_era() {
    for (mode, version) in [("legacy", "2025-11-25"), ("auto", "2026-07-28")] {
        let marker = Marker::new();
        let toml = fixtures::misbehaving("ok").marked(&marker).toml("demo")
            + "[servers.files]\nbuiltin = \"files\"\nroots = { here = \".\" }\n";
        let program = serde_json::json!([
            ["search_tools", { "query": "echo a text" }],
            ["search_tools", { "query": "zebra", "detail": "names" }],
            ["describe_tools", { "names": ["demo.echo", "demo.ech"] }],
            ["run_python", { "code":
                "from tools import demo\nprint('hello')\n[demo.echo(text=str(n)) for n in range(inputs)]",
                "input": 3 }],
        ]);
        let seen = session(&toml, mode, &program);
        assert_eq!(seen["version"], version, "{seen}");
        assert_eq!(
            seen["tools"],
            serde_json::json!(["search_tools", "describe_tools", "run_python", "python_sessions"])
        );
        let instructions = seen["instructions"].as_str().expect("has instructions");
        assert!(instructions.contains("Connected servers: demo, files."), "{instructions}");
        let answers = seen["answers"].as_array().expect("a list");
        assert!(first_text(&answers[0]).starts_with("# demo.echo"), "{}", answers[0]);
        assert!(first_text(&answers[1]).contains("No tool fits \"zebra\""), "{}", answers[1]);
        let described = first_text(&answers[2]);
        assert!(described.contains("def echo(") && described.contains("nearest: demo.echo"));
        let run = &answers[3];
        assert_ne!(run["isError"], true, "{run}");
        assert_eq!(run["structuredContent"]["value"], serde_json::json!(["0", "1", "2"]));
        assert_eq!(run["structuredContent"]["stdout"], "hello\n");
        let text = first_text(run);
        assert!(text.contains("[\"0\", \"1\", \"2\"]") || text.contains("[\"0\",\"1\",\"2\"]"));
        assert!(text.contains("Printed:\nhello"), "{text}");
        assert_eq!(seen["progress"].as_array().map(Vec::len), Some(3), "{seen}");
        marker.assert_nothing_survives();
    }
}

#[test]
fn what_goes_wrong_is_a_result_that_says_what_was_done_and_what_to_do() {
    let down = HttpFault::behaving(Eras::Legacy);
    let url = down.url();
    drop(down);
    let toml = fixtures::misbehaving("ok").toml("demo")
        + &toolcell_tests::Server::http(url).setting("retry = 1").toml("gone");
    let program = serde_json::json!([
        ["search_tools", { "query": "" }],
        ["run_python", { "code": "from tools import demo, gone\ndemo.echo(text='a')\ngone.echo(text='b')" }],
        ["run_python", { "code": "1 +" }],
        ["run_python", {}],
        ["run_python", { "code": "while True: pass" }],
        ["nothing_like_this", {}],
    ]);
    let toml = toml + "[limits]\ncompute_time = \"300ms\"\n";
    let seen = session(&toml, "auto", &program);
    let answers = seen["answers"].as_array().expect("a list");
    assert!(first_text(&answers[0]).contains("server gone cannot be used now"), "{}", answers[0]);
    for (at, parts) in [
        (1, &["Error (tool.unavailable)", "gone", "demo.echo", "stay done", "What to do"][..]),
        (2, &["Error (syntax)", "SyntaxError"]),
        (3, &["Error: `code` is missing"]),
        (4, &["Error (limit.compute_time)", "What to do"]),
        (5, &["no tool \"nothing_like_this\"", "run_python"]),
    ] {
        let answer = &answers[at];
        assert_eq!(answer["isError"], true, "{answer}");
        for part in parts {
            assert!(first_text(answer).contains(part), "{part:?} is not in {answer}");
        }
    }
    assert_eq!(answers[1]["structuredContent"]["calls"][0]["tool"], "demo.echo");
}

#[test]
fn it_starts_nothing_before_the_first_call_and_ends_at_once() {
    let marker = Marker::new();
    let toml = fixtures::misbehaving("ok").marked(&marker).toml("demo");
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;
    let mut running = Cli::new("mcp").config(&toml).spawn_talking();
    running.write(&format!("{initialize}\n"));
    running.wait_for_line("serverInfo");
    assert!(marker.processes().is_empty(), "no server is started for a client that only looks");
    running.signal(Signal::Terminate);
    running.finish(Duration::from_secs(5)).success();

    let mut running = Cli::new("mcp").config(&toml).spawn_talking();
    running.write(&format!("{initialize}\n"));
    running.wait_for_line("serverInfo");
    running.close_stdin();
    running.finish(Duration::from_secs(5)).success();
}
