//! `toolcell mcp` as agents use it: the official Python SDK's own client, in both eras.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use toolcell_tests::tiny_mcp::Eras;
use toolcell_tests::{Cli, HttpFault, Marker, Signal, fixtures};

/// Connects to `toolcell mcp` and does what the program in the file `sys.argv[2]` says, as an agent's
/// framework would.
const CLIENT: &str = r#"
import asyncio, json, sys
from mcp import Client, StdioServerParameters

async def read(client, links, answers):
    """Reads the first link as a resource too, and one that leads nowhere."""
    if not links:
        return None
    read = await client.read_resource(links[0])
    shown = answers[1]["content"][0]["text"].split("\n[… page")[0]
    try:
        await client.read_resource("toolcell://results/0/stdout")
        missing = "read"
    except Exception:
        missing = "error"
    return {"same": read.contents[0].text == shown, "missing": missing}

async def main():
    command, program, mode = json.loads(sys.argv[1]), json.load(open(sys.argv[2])), sys.argv[3]
    answers, progress, links = [], [], []
    server = StdioServerParameters(command=command[0], args=command[1:])
    async def note(done, total, message):
        progress.append(message)
    async with Client(server, mode=mode) as client:
        tools = await client.list_tools()
        for name, arguments in program:
            link = arguments.get("link", "")
            if link.startswith("$"):
                # What an earlier answer said is left of this part.
                rest = [it for answer in answers for it in (answer["structuredContent"] or {}).get("rest", [])]
                arguments["link"] = next(it["link"] for it in rest if it["part"] == link[1:])
                links.append(arguments["link"])
            result = await client.call_tool(name, arguments, progress_callback=note)
            answers.append(result.model_dump(mode="json", by_alias=True))
        print(json.dumps({
            "version": client.protocol_version,
            "instructions": client.instructions,
            "tools": [tool.name for tool in tools.tools],
            "answers": answers,
            "progress": progress,
            "read": await read(client, links, answers),
        }))

asyncio.run(main())
"#;

/// An agent's session with the façade over these servers.
pub(crate) fn session(toml: &str, mode: &str, program: &Value) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("program.json");
    std::fs::write(&file, program.to_string()).expect("writes");
    let cli = Cli::new("mcp").config(toml);
    let config = cli.folder().join("toolcell.toml");
    let toolcell = toolcell_tests::cli::toolcell();
    let command =
        serde_json::json!([toolcell, "mcp", "--config", config, "--cache-dir", cli.cache_folder()]);
    let output = Command::new(fixtures::python_with_mcp())
        .args(["-c", CLIENT, &command.to_string()])
        .arg(&file)
        .arg(mode)
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
            serde_json::json!([
                "search_tools",
                "describe_tools",
                "run_python",
                "run_typescript",
                "sessions",
                "read_more"
            ])
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

#[test]
fn the_definitions_of_a_tool_can_be_had_for_typescript() {
    let toml = fixtures::misbehaving("ok").toml("demo");
    let program = serde_json::json!([
        ["describe_tools", { "names": ["demo.echo"], "language": "typescript" }],
        ["describe_tools", { "names": ["demo.echo"], "language": "cobol" }],
    ]);
    let seen = session(&toml, "auto", &program);
    let text = first_text(&seen["answers"][0]);
    assert!(text.starts_with("// demo.echo\n"), "{text}");
    assert!(text.contains("export function echo(args"), "{text}");
    assert!(first_text(&seen["answers"][1]).contains("python or typescript"));
}

#[test]
fn a_long_result_is_cut_and_its_rest_can_be_read_by_pages() {
    for mode in ["legacy", "auto"] {
        let program = serde_json::json!([
            ["run_python", { "code":
                "print('\\n'.join(str(n) for n in range(20_000)))\nlist(range(20_000))" }],
            ["read_more", { "link": "$stdout" }],
            ["read_more", { "link": "$stdout", "page": 2 }],
            ["read_more", { "link": "$value", "page": 99 }],
            ["read_more", { "link": "toolcell://results/00000000000000000000000000000000/stdout" }],
            ["read_more", { "link": "https://example.com/" }],
        ]);
        let seen = session("", mode, &program);
        let answers = seen["answers"].as_array().expect("a list");
        let (run, whole) = (&answers[0], 64 << 10);
        assert_ne!(run["isError"], true, "{run}");
        let text = first_text(run);
        assert!(text.len() <= whole, "{}", text.len());
        assert!(text.contains("bytes of stdout") && text.contains("bytes of value"));
        assert!(text.contains("read_more with link"));
        let structured = &run["structuredContent"];
        let beginning = structured["value"]["beginning"].as_str().expect("a part of the value");
        assert!(beginning.starts_with("[0,1,2,"), "{beginning}");
        assert!(structured.to_string().len() <= 2 * whole, "{}", structured.to_string().len());
        let rest = structured["rest"].as_array().expect("what is left");
        assert_eq!(rest.len(), 2, "{rest:?}");
        assert_eq!(rest[1]["part"], "stdout");
        assert!(
            rest[1]["link"].as_str().is_some_and(|link| link.starts_with("toolcell://results/"))
        );
        let links = run["content"].as_array().map_or(0, Vec::len) - 1;
        assert_eq!(links, if mode == "legacy" { 0 } else { 2 }, "who breaks on links gets none");
        let first = first_text(&answers[1]);
        assert!(first.starts_with("0\n1\n2\n") && first.contains("page 1 of 2"));
        let (begin, _) = first.split_once("\n[… page").expect("names the next page");
        let all = format!("{begin}{}", first_text(&answers[2]));
        assert!(all.ends_with("\n19998\n19999\n") && all.lines().count() == 20_000);
        for (at, part) in [(3, "the pages are 1 to"), (4, "no such result"), (5, "no link")] {
            assert_eq!(answers[at]["isError"], true);
            assert!(first_text(&answers[at]).contains(part), "{}", answers[at]);
        }
        assert_eq!(seen["read"]["same"], true, "{}", seen["read"]);
        assert_eq!(seen["read"]["missing"], "error");
    }
}

#[test]
fn what_is_no_script_is_a_result_that_says_so() {
    let big = "#".repeat(10 << 20);
    let program = serde_json::json!([
        ["run_python", { "code": "1\u{0}2" }],
        ["run_python", { "code": big }],
        ["run_python", { "code": ["1"] }],
        ["run_python", { "code": "1", "sesion": "a" }],
        ["run_python", { "code": "" }],
        ["search_tools", { "query": "x", "limit": "many" }],
    ]);
    let seen = session("", "auto", &program);
    let answers = seen["answers"].as_array().expect("a list");
    for (at, parts) in [
        (0, &["Error (syntax)", "null bytes"][..]),
        (1, &["10485760", "as its input"]),
        (2, &["`code` has to be the script"]),
        (3, &["no argument \"sesion\"", "code, session, input"]),
        (5, &["`limit` cannot be used"]),
    ] {
        assert_eq!(answers[at]["isError"], true, "{}", answers[at]);
        for part in parts {
            assert!(first_text(&answers[at]).contains(part), "{part}: {}", answers[at]);
        }
    }
    assert_ne!(answers[4]["isError"], true, "{}", answers[4]);
}
