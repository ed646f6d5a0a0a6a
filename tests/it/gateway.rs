//! `toolcell mcp` as a gateway: what servers list and answer reaches the client as it is.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolcell_tests::plain_tools::{ODD_ANSWER, ODD_TOOL};
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::tiny_mcp::Eras;
use toolcell_tests::{Cli, HttpFault, Marker, Server, Talking, fixtures};

const GATEWAY: &str = "[profiles.all]\ntools = [\"*.*\"]\nresources = [\"*:*\"]\nprompts = [\"*.*\"]\ngateway = true\n";

fn cli(toml: &str) -> Cli {
    Cli::new("mcp").config(toml)
}

/// The same without the tools of code mode.
fn only() -> String {
    format!("{GATEWAY}code = false\n")
}

fn first_text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {result}"))
}

/// A server of the Python SDK, written for one test.
fn python(cli: Cli, name: &str, source: &str, more: &str) -> Cli {
    let cli = cli.file(&format!("{name}.py"), source);
    let file = cli.folder().join(format!("{name}.py"));
    let file = file.to_str().expect("UTF-8");
    cli.config(&(Server::stdio(fixtures::python_with_mcp(), &[file]).toml(name) + more))
}

#[test]
fn real_servers_tools_stand_beside_the_tools_of_code_mode_and_are_called_by_their_names() {
    let marker = Marker::new();
    let cli = Cli::new("mcp");
    let notes = cli.folder().join("memory.json");
    std::fs::write(cli.folder().join("here.txt"), "hello").expect("can be written");
    let toml = fixtures::everything_stdio().marked(&marker).toml("everything")
        + &fixtures::memory(&notes).marked(&marker).toml("memory")
        + &fixtures::filesystem(&[cli.folder()]).marked(&marker).toml("fs")
        + &fixtures::python_stdio().marked(&marker).toml("py");
    let file = cli.folder().join("here.txt");
    let (mut client, told) = Talking::legacy(cli.config(&(toml + GATEWAY)));
    assert!(marker.processes().is_empty(), "nothing is connected before the first list");
    assert_eq!(told["capabilities"]["completions"], json!({}), "{told}");
    let mut names = client.tools();
    assert_eq!(names[..3], ["search_tools", "describe_tools", "run_python"]);
    let is_there =
        |names: &[String], server: &str| names.iter().any(|name| name.starts_with(server));
    let mut told = 0;
    while !["everything_", "memory_", "fs_", "py_"].iter().all(|it| is_there(&names, it)) {
        // Some start slowly on a busy machine; the client is told when they are there.
        let limit = Duration::from_secs(60);
        toolcell_tests::wait_until(limit, "more are there", || client.count(CHANGED) > told);
        told = client.count(CHANGED);
        names = client.tools();
    }
    for name in ["everything_get-sum", "memory_read_graph", "fs_read_text_file", "py_add"] {
        assert!(names.iter().any(|known| known == name), "{name} of {names:?}");
    }
    let sum = client.call("everything_get-sum", json!({ "a": 2, "b": 3 }));
    assert!(first_text(&sum).contains('5'), "{sum}");
    let read = client.call("fs_read_text_file", json!({ "path": file }));
    assert_eq!(first_text(&read), "hello");
    let graph = client.call("memory_read_graph", json!({}));
    assert_eq!(graph["structuredContent"]["entities"], json!([]), "{graph}");
    let sum = client.call("py_add", json!({ "a": 20, "b": 3 }));
    assert!(first_text(&sum).contains("23"), "{sum}");
    let run =
        client.call("run_python", json!({ "code": "from tools import py\npy.add(a=1, b=1)" }));
    assert_ne!(run["isError"], true, "{run}");
    client.running.close_stdin();
    client.running.finish(PATIENCE).success();
    marker.assert_nothing_survives();
}

#[test]
fn what_a_server_lists_and_answers_is_the_same_json_at_the_client() {
    let toml = fixtures::misbehaving("odd-fields").toml("s") + &only();
    let (mut legacy, _) = Talking::legacy(cli(&toml));
    let mut modern = Talking::modern(cli(&toml));
    for (client, is_modern) in [(&mut legacy, false), (&mut modern, true)] {
        let id = client.begin("tools/list", json!({}));
        let shown = ODD_TOOL.replace(r#""name":"odd""#, r#""name":"s_odd""#);
        let line = client.line(id);
        assert!(line.contains(&format!(r#"{{"tools":[{shown}]"#)), "{shown}\n{line}");
        let id = client.begin("tools/call", json!({ "name": "s_odd", "arguments": { "n": 1.5 } }));
        let line = client.line(id);
        let parts: Vec<&str> = ODD_ANSWER.split(r#","_meta":{"#).collect();
        assert!(line.contains(parts[0]), "{ODD_ANSWER}\n{line}");
        assert!(line.contains(r#""com.example/took":0.10"#), "{line}");
        assert_eq!(line.contains("resultType"), is_modern, "{line}");
    }
}

#[test]
fn arguments_reach_the_server_to_the_letter_and_wrong_ones_do_not() {
    let toml = fixtures::misbehaving("ok").toml("demo") + &only();
    let (mut client, _) = Talking::legacy(cli(&toml));
    let id = 90;
    let request = r#"{"jsonrpc":"2.0","id":90,"method":"tools/call","params":{"name":"demo_nested","arguments":{"big":12345678901234567890123}}}"#;
    client.running.write(&format!("{request}\n"));
    let _ = client.line(id);
    let wrong = client.call("demo_add", json!({ "a": "x" }));
    let error = &wrong["structuredContent"]["error"];
    assert_eq!(wrong["isError"], true, "{wrong}");
    assert_eq!(error["kind"], "invalid-arguments", "{wrong}");
    assert_eq!((&error["server"], &error["tool"]), (&json!("demo"), &json!("add")));
    assert_eq!(error["retryable"], false);
    assert!(first_text(&wrong).contains("What to do"), "{wrong}");
    let none = client.call("demo_ech", json!({}));
    assert!(first_text(&none).contains("nearest: demo_echo"), "{none}");
    let none = client.call("other_echo", json!({}));
    assert_eq!(none["structuredContent"]["error"]["kind"], "unknown-tool", "{none}");
    let own = client.call("search_tools", json!({ "query": "" }));
    assert_eq!(own["isError"], true, "the profile leaves the code tools out: {own}");
}

#[test]
fn only_what_the_profile_grants_is_seen_and_called() {
    let toml = fixtures::misbehaving("ok").toml("demo")
        + "[profiles.few]\ngateway = true\ncode = false\ntools = [\"demo.add\", \"demo.echo\"]\n\
           [[profiles.few.rules]]\ntool = \"demo.echo\"\neffect = \"allow\"\nargs.text.one_of = [\"a\"]\n";
    let (mut client, told) = Talking::legacy(cli(&toml));
    assert!(told["capabilities"].get("resources").is_none(), "none are granted: {told}");
    let mut names = client.tools();
    names.sort();
    assert_eq!(names, ["demo_add", "demo_echo"]);
    let hidden = client.call("demo_big", json!({}));
    assert_eq!(hidden["structuredContent"]["error"]["kind"], "unknown-tool", "{hidden}");
    assert_eq!(first_text(&client.call("demo_echo", json!({ "text": "a" }))), "a");
    let denied = client.call("demo_echo", json!({ "text": "b" }));
    assert_eq!(denied["structuredContent"]["error"]["kind"], "denied", "{denied}");
    for (method, plural) in [
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
        ("prompts/list", "prompts"),
    ] {
        assert_eq!(client.list(method, plural), [json!(null); 0]);
    }
}

#[test]
fn names_are_what_every_model_api_takes_and_each_means_one_tool() {
    let toml = fixtures::misbehaving("bad-names").toml("odd")
        + &fixtures::misbehaving("bad-names").toml(&"s".repeat(64))
        + &only();
    let (mut client, _) = Talking::legacy(cli(&toml));
    let names = client.tools();
    let unique: std::collections::HashSet<&String> = names.iter().collect();
    assert_eq!(unique.len(), names.len());
    for name in &names {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        assert!((1..=64).contains(&name.len()) && name.chars().all(fits), "{name:?}");
        assert!(first_text(&client.call(name, json!({}))).starts_with("called "), "{name}");
    }
    assert!(names.contains(&"odd_with_space".to_owned()), "{names:?}");
    let called = client.call("odd_get_sum", json!({}));
    assert_eq!(first_text(&called), "called \"get_sum\"");
    let called = client.call("odd_get-sum", json!({}));
    assert_eq!(first_text(&called), "called \"get-sum\"");
}

#[test]
fn a_clash_is_resolved_in_the_operators_order_and_told() {
    // The first one is slower: the order of answers must not matter.
    let toml = fixtures::misbehaving("slow-start").toml("first")
        + &fixtures::misbehaving("ok").toml("second")
        + &only()
        + "prefix = false\n";
    let (mut client, _) = Talking::legacy(cli(&toml));
    let names = client.tools();
    for name in ["echo", "second_echo", "add", "second_add"] {
        assert!(names.iter().any(|known| known == name), "{name} of {names:?}");
    }
    client.running.wait_for_line("tool \"echo\" of server second is shown as second_echo");
    assert_eq!(first_text(&client.call("second_echo", json!({ "text": "b" }))), "b");
}

#[test]
fn a_dead_server_is_missing_and_told_and_the_others_are_there_in_time() {
    let down = HttpFault::behaving(Eras::Legacy);
    let url = down.url();
    drop(down);
    let toml = fixtures::misbehaving("ok").toml("demo")
        + &Server::http(url).setting("retry = 1").toml("gone")
        + GATEWAY;
    let silent = fixtures::misbehaving("silent").toml("silent") + &toml;
    let (mut client, _) = Talking::legacy(cli(&silent));
    let began = Instant::now();
    let names = client.tools();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(names.iter().any(|name| name == "demo_echo"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("gone")), "{names:?}");
    client.running.wait_for_line("its tools are not listed");
    let (mut client, _) = Talking::legacy(cli(&toml));
    let found = client.call("search_tools", json!({ "query": "echo" }));
    assert!(first_text(&found).contains("server gone cannot be used now"), "{found}");
    let called = client.call("gone_anything", json!({}));
    let error = &called["structuredContent"]["error"];
    assert_eq!((&error["kind"], &error["server"]), (&json!("unavailable"), &json!("gone")));
    assert_eq!(error["retryable"], true, "{called}");
}

#[test]
fn a_list_of_ten_thousand_comes_in_pages_and_a_foreign_cursor_is_refused() {
    let toml = fixtures::misbehaving("many-tools").toml("many") + &only();
    let (mut client, _) = Talking::legacy(cli(&toml));
    let names = client.tools();
    assert_eq!(names.len(), 10_000);
    assert_eq!((&*names[0], &*names[9_999]), ("many_tool_0", "many_tool_9999"));
    let page = client.ask("tools/list", json!({}));
    assert_eq!(page["tools"].as_array().map(Vec::len), Some(200));
    for cursor in [json!("garbled"), json!(""), json!(7), json!({ "a": 1 })] {
        assert_eq!(client.ask("tools/list", json!({ "cursor": cursor }))["code"], -32602);
    }
    let of_tools = page["nextCursor"].clone();
    let refused = client.ask("prompts/list", json!({ "cursor": of_tools }));
    assert_eq!(refused["code"], -32602, "{refused}");
}

#[test]
fn one_servers_bad_entries_do_not_spoil_the_others_for_a_strict_client() {
    const CLIENT: &str = r#"
import asyncio, json, sys
from mcp import Client, StdioServerParameters

async def main():
    command = json.loads(sys.argv[1])
    server = StdioServerParameters(command=command[0], args=command[1:])
    async with Client(server, mode=sys.argv[2]) as client:
        tools = await client.list_tools()
        called = await client.call_tool("demo_add", {"a": 1, "b": 2})
        prompts = await client.list_prompts()
        resources = await client.list_resources()
        read = await client.read_resource("demo://resource/static/document/features.md")
        print(json.dumps({
            "tools": [tool.name for tool in tools.tools],
            "text": called.content[0].text,
            "prompts": [prompt.name for prompt in prompts.prompts],
            "resources": len(resources.resources),
            "read": read.contents[0].text[:20],
        }))

asyncio.run(main())
"#;
    let toml = fixtures::misbehaving("odd-forms").toml("odd")
        + &fixtures::misbehaving("ok").toml("demo")
        + &fixtures::everything_stdio().toml("everything")
        + &only();
    let cli = cli(&toml);
    for mode in ["legacy", "auto"] {
        let command = json!([
            toolcell_tests::cli::toolcell(),
            "mcp",
            "--config",
            cli.folder().join("toolcell.toml"),
            "--cache-dir",
            cli.cache_folder(),
        ]);
        let output = std::process::Command::new(fixtures::python_with_mcp())
            .args(["-c", CLIENT, &command.to_string(), mode])
            .output()
            .expect("Python starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let tools = seen["tools"].as_array().expect("a list");
        for name in ["odd_wrong", "odd_right", "demo_echo", "everything_echo"] {
            assert!(tools.contains(&json!(name)), "{name} of {seen}");
        }
        assert!(!tools.contains(&json!("odd_string")), "{seen}");
        assert_eq!(seen["text"], "3", "{seen}");
        let prompts = seen["prompts"].as_array().expect("a list");
        assert!(prompts.contains(&json!("everything_args-prompt")), "{seen}");
    }
}

#[test]
fn progress_and_log_entries_are_told_as_the_client_wants_them() {
    const SOURCE: &str = r#"
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("noisy")

@server.tool()
async def work(ctx: Context) -> str:
    await ctx.report_progress(0.5, 2.5, "half")
    await ctx.log("debug", "small")
    await ctx.log("error", "great")
    return "done"

server.run("stdio")
"#;
    let (mut client, _) = Talking::legacy(python(Cli::new("mcp"), "noisy", SOURCE, &only()));
    let quiet = client.call("noisy_work", json!({}));
    assert_eq!(first_text(&quiet), "done", "{quiet}");
    assert_eq!(client.count("notifications/progress"), 0, "nobody asked");
    assert_eq!(client.count("notifications/message"), 0, "nobody asked");
    assert_eq!(client.ask("logging/setLevel", json!({ "level": "loud" }))["code"], -32602);
    assert_eq!(client.ask("logging/setLevel", json!({ "level": "warning" })), json!({}));
    let params =
        json!({ "name": "noisy_work", "arguments": {}, "_meta": { "progressToken": "mine" } });
    assert_eq!(first_text(&client.ask("tools/call", params)), "done");
    let progress = client.heard("notifications/progress", "half");
    assert_eq!(
        (&progress["progressToken"], &progress["progress"], &progress["total"]),
        (&json!("mine"), &json!(0.5), &json!(2.5))
    );
    let logged = client.heard("notifications/message", "great");
    assert_eq!(logged["level"], "error", "{logged}");
    assert_eq!(client.count("notifications/message"), 1, "the other one is not grave enough");

    let mut modern = Talking::modern(python(Cli::new("mcp"), "noisy", SOURCE, &only()));
    modern.call("noisy_work", json!({}));
    assert_eq!(modern.count("notifications/message"), 0, "this request names no level");
    let params =
        json!({ "name": "noisy_work", "_meta": { "io.modelcontextprotocol/logLevel": "debug" } });
    modern.ask("tools/call", params);
    modern.heard("notifications/message", "small");
}

#[test]
fn a_cancelled_call_is_cancelled_at_its_server() {
    let cli = Cli::new("mcp");
    let log = cli.folder().join("log");
    let server = fixtures::misbehaving("never-answers-call")
        .env("MISBEHAVING_LOG", log.to_str().expect("UTF-8"));
    let (mut client, _) = Talking::legacy(cli.config(&(server.toml("s") + &only())));
    let id = client.begin("tools/call", json!({ "name": "s_slow", "arguments": { "ms": 60_000 } }));
    let logged = |part: &str| std::fs::read_to_string(&log).is_ok_and(|log| log.contains(part));
    let limit = PATIENCE;
    toolcell_tests::wait_until(limit, "the call arrives", || logged("tools/call"));
    client.tell("notifications/cancelled", &json!({ "requestId": id }));
    toolcell_tests::wait_until(limit, "the server hears", || logged("notifications/cancelled"));
    assert_eq!(client.ask("ping", json!({})), json!({}));
    assert!(!client.running.stdout().contains(&format!("\"id\":{id},")), "nobody waits for it");
}

#[test]
fn resources_templates_prompts_and_completions_of_real_servers_pass() {
    const NOTES: &str = r#"
from mcp.server import MCPServer

server = MCPServer("notes")

@server.resource("note://today", mime_type="text/plain")
def today() -> str:
    return "water the plants"

@server.resource("note://{day}/of")
def of(day: str) -> str:
    return f"nothing on {day}"

@server.prompt()
def remind(who: str) -> str:
    return f"remind {who}"

server.run("stdio")
"#;
    let more = fixtures::everything_stdio().toml("everything") + &only();
    let (mut client, told) = Talking::legacy(python(Cli::new("mcp"), "notes", NOTES, &more));
    assert!(told["capabilities"]["resources"].is_object(), "{told}");
    let uris = ["note://today", "demo://resource/static/document/features.md"];
    // One of them may start slowly on a busy machine, and is in a later list then.
    toolcell_tests::wait_until(Duration::from_secs(60), "both are listed", || {
        let resources = client.list("resources/list", "resources");
        uris.iter().all(|uri| resources.iter().any(|it| it["uri"] == *uri))
    });
    let templates = client.list("resources/templates/list", "resourceTemplates");
    assert!(templates.iter().any(|it| it["uriTemplate"] == "note://{day}/of"), "{templates:?}");
    let read = client.ask("resources/read", json!({ "uri": "note://today" }));
    assert_eq!(read["contents"][0]["text"], "water the plants", "{read}");
    let read = client.ask("resources/read", json!({ "uri": "note://monday/of" }));
    assert_eq!(read["contents"][0]["text"], "nothing on monday", "{read}");
    let read = client.ask("resources/read", json!({ "uri": "toolcell:notes:note://today" }));
    assert_eq!(read["contents"][0]["text"], "water the plants", "{read}");
    let gone = client.ask("resources/read", json!({ "uri": "nobody://has/it" }));
    assert_eq!(gone["code"], -32002, "{gone}");

    let prompts = client.list("prompts/list", "prompts");
    assert!(prompts.iter().any(|it| it["name"] == "notes_remind"), "{prompts:?}");
    let filled =
        client.ask("prompts/get", json!({ "name": "notes_remind", "arguments": { "who": "Ada" } }));
    assert_eq!(filled["messages"][0]["content"]["text"], "remind Ada", "{filled}");
    let lacking = client.ask("prompts/get", json!({ "name": "notes_remind" }));
    assert_eq!(lacking["code"], -32602, "{lacking}");
    let unknown = client.ask("prompts/get", json!({ "name": "notes_nothing" }));
    assert_eq!(unknown["code"], -32602, "{unknown}");

    let completed = client.ask(
        "completion/complete",
        json!({
            "ref": { "type": "ref/prompt", "name": "everything_completable-prompt" },
            "argument": { "name": "department", "value": "E" },
        }),
    );
    assert_eq!(completed["completion"]["values"], json!(["Engineering"]), "{completed}");
    let unknown = client.ask(
        "completion/complete",
        json!({
            "ref": { "type": "ref/prompt", "name": "nobody_knows" },
            "argument": { "name": "x", "value": "" },
        }),
    );
    assert_eq!(unknown["code"], -32602, "{unknown}");
}

#[test]
fn a_uri_of_two_servers_is_the_first_ones_and_the_others_is_qualified() {
    let toml = fixtures::misbehaving("changes-resources").toml("one")
        + &fixtures::misbehaving("changes-resources").toml("two")
        + &only();
    let mut client = Talking::modern(cli(&toml));
    let resources = client.list("resources/list", "resources");
    let uris: Vec<_> = resources.iter().map(|it| it["uri"].as_str().expect("a URI")).collect();
    assert_eq!(uris, ["x://1", "toolcell:two:x://1"]);
    assert!(resources.iter().all(|it| it["name"].is_string()), "clients need a name");
    client.running.wait_for_line("resource \"x://1\" of server two is shown as toolcell:two:x://1");
    for uri in uris {
        let read = client.ask("resources/read", json!({ "uri": uri }));
        assert_eq!(read["contents"][0]["text"], "new", "{read}");
        assert_eq!(read["_meta"]["own"], 1, "{read}");
        assert_eq!(read["cacheScope"], "private", "{read}");
    }
    let gone = client.ask("resources/read", json!({ "uri": "nobody://has/it" }));
    assert_eq!(gone["code"], -32602, "{gone}");
}

#[test]
fn the_flag_makes_a_gateway_of_a_configuration_without_profiles() {
    let toml = fixtures::misbehaving("ok").toml("demo");
    let (mut client, _) = Talking::legacy(cli(&toml).arg("--gateway"));
    let names = client.tools();
    assert!(names.contains(&"run_python".to_owned()) && names.contains(&"demo_echo".to_owned()));
}

const CHANGED: &str = "notifications/tools/list_changed";

#[test]
fn a_client_hears_of_a_changed_list_only_if_it_was_shown_another_one() {
    let toml = fixtures::misbehaving("changes-tools").arg("--legacy").toml("s")
        + &fixtures::misbehaving("cries-wolf").arg("--legacy").toml("wolf")
        + &fixtures::everything_stdio().toml("everything")
        + &only();
    let (mut client, told) = Talking::legacy(cli(&toml));
    assert_eq!(told["capabilities"]["tools"]["listChanged"], true, "{told}");
    // It adds a tool: but this client has not seen any.
    client.call("s_first", json!({}));
    client.call("wolf_echo", json!({ "text": "" }));
    let names = client.tools();
    assert!(names.contains(&"s_tool_1".to_owned()), "{names:?}");
    client.call("wolf_echo", json!({ "text": "" }));
    assert_eq!(client.count(CHANGED), 0, "nothing has changed");
    client.call("s_first", json!({}));
    client.heard(CHANGED, "");
    assert!(client.tools().contains(&"s_tool_2".to_owned()));
    assert_eq!(client.count(CHANGED), 1, "{}", client.running.stdout());
}

#[test]
fn a_slow_server_is_told_of_when_it_is_there() {
    let toml = fixtures::misbehaving("ok").toml("demo")
        + &Server::stdio("sh", &["-c", "sleep 6; exec \"$0\" \"$@\""])
            .arg(fixtures::misbehaving("ok").command().get_program().to_str().expect("UTF-8"))
            .arg("ok")
            .toml("late")
        + &only();
    let (mut client, _) = Talking::legacy(cli(&toml));
    let names = client.tools();
    assert!(names.contains(&"demo_echo".to_owned()), "{names:?}");
    assert!(!names.contains(&"late_echo".to_owned()), "{names:?}");
    client.heard(CHANGED, "");
    assert!(client.tools().contains(&"late_echo".to_owned()));
}

#[test]
fn nobody_is_told_where_the_operator_does_not_want_it() {
    let toml = fixtures::misbehaving("changes-tools").arg("--legacy").toml("s")
        + &only()
        + "list_changed = false\n";
    let (mut client, told) = Talking::legacy(cli(&toml));
    assert_eq!(told["capabilities"]["tools"], json!({}), "{told}");
    assert_eq!(client.tools(), ["s_first"]);
    client.call("s_first", json!({}));
    assert_eq!(client.tools(), ["s_first", "s_tool_1"]);
    assert_eq!(client.count(CHANGED), 0);
}

#[test]
fn a_modern_client_hears_of_what_it_listens_for_and_of_nothing_else() {
    let toml = fixtures::misbehaving("changes-tools").toml("s") + &only();
    let mut client = Talking::modern(cli(&toml));
    let tools = client
        .begin("subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }));
    let told = client.heard("notifications/subscriptions/acknowledged", &id_of(tools));
    assert_eq!(told["notifications"], json!({ "toolsListChanged": true }), "{told}");
    let prompts = client
        .begin("subscriptions/listen", json!({ "notifications": { "promptsListChanged": true } }));
    client.heard("notifications/subscriptions/acknowledged", &id_of(prompts));
    client.call("s_first", json!({}));
    let changed = client.heard(CHANGED, "");
    assert_eq!(changed["_meta"]["io.modelcontextprotocol/subscriptionId"], tools, "{changed}");
    assert_eq!(client.count("notifications/prompts/list_changed"), 0);
    client.tell("notifications/cancelled", &json!({ "requestId": tools }));
    client.call("s_first", json!({}));
    assert_eq!(client.tools().len(), 3);
    assert_eq!(client.count(CHANGED), 1, "{}", client.running.stdout());
    let refused = client.ask("subscriptions/listen", json!({ "notifications": 7 }));
    assert_eq!(refused["code"], -32602, "{refused}");
}

/// How a subscription's id stands in its messages.
fn id_of(subscription: u64) -> String {
    format!("\"io.modelcontextprotocol/subscriptionId\":{subscription}")
}

#[test]
fn a_resources_updates_reach_those_who_subscribed_in_either_era() {
    let updated = "notifications/resources/updated";
    let toml = fixtures::everything_stdio().toml("everything") + &only();
    let uri = "demo://resource/dynamic/text/1";
    let (mut legacy, told) = Talking::legacy(cli(&toml));
    assert_eq!(told["capabilities"]["resources"]["subscribe"], true, "{told}");
    assert_eq!(legacy.ask("resources/subscribe", json!({ "uri": uri })), json!({}));
    legacy.call("everything_toggle-subscriber-updates", json!({}));
    assert_eq!(legacy.heard(updated, uri), json!({ "uri": uri }));
    assert_eq!(legacy.ask("resources/unsubscribe", json!({ "uri": uri })), json!({}));
    let long = format!("demo://{}", "x".repeat(20_000));
    for params in [json!({}), json!({ "uri": long })] {
        let refused = legacy.ask("resources/subscribe", params);
        assert_eq!(refused["code"], -32602, "{refused}");
    }

    let mut modern = Talking::modern(cli(&toml));
    let listening = modern.begin(
        "subscriptions/listen",
        json!({ "notifications": { "resourceSubscriptions": [uri] } }),
    );
    let told = modern.heard("notifications/subscriptions/acknowledged", &id_of(listening));
    assert_eq!(told["notifications"]["resourceSubscriptions"], json!([uri]), "{told}");
    modern.call("everything_toggle-subscriber-updates", json!({}));
    let told = modern.heard(updated, uri);
    assert_eq!(told["_meta"]["io.modelcontextprotocol/subscriptionId"], listening, "{told}");
}

#[test]
fn toolcell_tools_tells_under_which_names_the_gateway_shows_them() {
    let toml = fixtures::misbehaving("ok").toml("first")
        + &fixtures::misbehaving("ok").toml("second")
        + &only()
        + "prefix = false\n";
    let listed = Cli::new("tools").config(&toml).run().success();
    let line = "! echo is shown as second_echo by the gateway: its own name is another's";
    assert!(listed.stdout.contains(line), "{}", listed.stdout);
    let listed = Cli::new("tools").config(&toml).arg("--json").run().success().json();
    let tools = listed["servers"][1]["tools"].as_array().expect("a list");
    let echo = tools.iter().find(|tool| tool["name"] == "second.echo").expect("is there");
    assert_eq!(echo["gateway_name"], "second_echo");
}
