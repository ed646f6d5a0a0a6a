//! Agent frameworks from PyPI and npm at work with toolcell: each lists, searches, describes, runs a
//! script that calls two servers, is told why another one failed, finds the variables of a session again,
//! and gives up a long run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use toolcell_tests::clients::{self, Client};
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::{Marker, Serving, fixtures, wait_until};

/// The servers behind toolcell, and the log of the one that is called for long.
struct Servers {
    marker: Marker,
    folder: tempfile::TempDir,
}

impl Servers {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { marker: Marker::new(), folder }
    }

    fn log(&self) -> String {
        let path = self.folder.path().join("log");
        path.into_os_string().into_string().expect("paths of tests are UTF-8")
    }

    /// `demo`, whose calls may take long, and `clock`.
    fn toml(&self) -> String {
        let demo = fixtures::misbehaving("ok").env("MISBEHAVING_LOG", self.log());
        let patient = "[limits]\ndeadline = \"15m\"\ncall_timeout = \"12m\"\n";
        demo.marked(&self.marker).toml("demo")
            + &fixtures::time().marked(&self.marker).toml("clock")
            + patient
    }

    /// Waits until the server was told that nobody waits for the long call any more.
    fn hear_the_cancellation(&self) {
        wait_until(PATIENCE, "the long call is cancelled", || {
            fs::read_to_string(self.log()).is_ok_and(|log| log.contains("notifications/cancelled"))
        });
    }
}

/// What every client is asked to do; see `tests/clients/story.py`.
fn story(servers: &Servers, way: &Value) -> Value {
    let two_servers = "from tools import clock, demo\n\
                       [demo.echo(text='hi'), clock.get_current_time(timezone='UTC')]";
    let failing = "from tools import demo\n\
                   demo.echo(text='before')\n\
                   demo.fail(message='no such table: cats')";
    let long = "from tools import demo\ndemo.slow(ms=600000)";
    let mut story = json!({
        "log": servers.log(),
        "calls": [
            ["search_tools", { "query": "echo a text" }],
            ["describe_tools", { "names": ["demo.echo"] }],
            ["run_python", { "code": two_servers }],
            ["run_python", { "code": failing }],
            ["run_python", { "code": "seen = ['a']", "session": "notebook" }],
            ["run_python", { "code": "seen + ['b']", "session": "notebook" }],
        ],
        "long_call": ["run_python", { "code": long }],
    });
    let way = way.as_object().expect("an object").clone();
    story.as_object_mut().expect("an object").extend(way);
    story
}

/// Asserts that what the client saw is what its user needs.
fn check(client: &Client, way: &Value, seen: &Value) {
    let told = format!("{} {way}: {seen:#}", client.program);
    let mut tools: Vec<&str> =
        seen["tools"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    tools.sort_unstable();
    let prefix = client.prefix;
    let expected =
        ["describe_tools", "read_more", "run_python", "run_typescript", "search_tools", "sessions"];
    assert_eq!(tools, expected.map(|tool| format!("{prefix}{tool}")), "{told}");

    let expected: [(&[&str], bool); 7] = [
        (&["# demo.echo", "def echo("], false),
        (&["def echo(", "Gives the text back."], false),
        (&["\"hi\"", "UTC"], false),
        (&["tool.error", "no such table: cats", "demo.echo"], true),
        (&[], false),
        (&["\"a\"", "\"b\""], false),
        (&["still here"], false),
    ];
    let answers = seen["answers"].as_array().expect("a list");
    assert_eq!(answers.len(), expected.len(), "{told}");
    for (answer, (parts, fails)) in answers.iter().zip(expected) {
        let text = answer["text"].as_str().unwrap_or_else(|| panic!("no text in {answer}: {told}"));
        for part in parts {
            assert!(text.contains(part), "{part:?} is not in {text:?}: {told}");
        }
        assert_eq!(answer["failed"], fails && client.flags_failures, "{answer}: {told}");
    }
    assert_ne!(seen["cancelled"], "it ended", "{told}");
}

/// By `toolcell serve`, at `path`.
fn by_serving(client: &Client, era: &str, transport: &str, path: &str) {
    const TOKEN: &str = "the-token-of-a-test-agent";
    let servers = Servers::new();
    let token = format!("[server.tokens.agent]\ntoken = \"{TOKEN}\"\n");
    let serving = Serving::start(&(servers.toml() + &token));
    let way = json!({
        "transport": transport, "era": era, "url": serving.url(path), "token": TOKEN,
    });
    let story = story(&servers, &way);
    let seen = client.over("").arg(story.to_string()).run().success().json();
    check(client, &way, &seen);
    servers.hear_the_cancellation();
    serving.stop();
    servers.marker.assert_nothing_survives();
}

fn over_http(client: &Client, era: &str) {
    by_serving(client, era, "http", "/mcp");
}

fn over_sse(client: &Client) {
    by_serving(client, "legacy", "sse", "/sse");
}

fn over_stdio(client: &Client, era: &str) {
    let servers = Servers::new();
    let way = json!({ "transport": "stdio", "era": era });
    let story = story(&servers, &way);
    let seen = client.over(&servers.toml()).arg(story.to_string()).run().success().json();
    check(client, &way, &seen);
    servers.hear_the_cancellation();
    servers.marker.assert_nothing_survives();
}

#[test]
fn python_sdk_over_stdio() {
    over_stdio(&clients::PYTHON_SDK, "auto");
    over_stdio(&clients::PYTHON_SDK, "legacy");
}

#[test]
fn python_sdk_over_http() {
    over_http(&clients::PYTHON_SDK, "auto");
    over_http(&clients::PYTHON_SDK, "legacy");
}

#[test]
fn python_sdk_over_sse() {
    over_sse(&clients::PYTHON_SDK);
}

#[test]
fn typescript_sdk_v1_over_stdio() {
    over_stdio(&clients::TYPESCRIPT_V1, "legacy");
}

#[test]
fn typescript_sdk_v1_over_http() {
    over_http(&clients::TYPESCRIPT_V1, "legacy");
}

#[test]
fn typescript_sdk_v1_over_sse() {
    over_sse(&clients::TYPESCRIPT_V1);
}

#[test]
fn typescript_sdk_v2_over_stdio() {
    over_stdio(&clients::TYPESCRIPT_V2, "auto");
    over_stdio(&clients::TYPESCRIPT_V2, "legacy");
}

#[test]
fn typescript_sdk_v2_over_http() {
    over_http(&clients::TYPESCRIPT_V2, "auto");
    over_http(&clients::TYPESCRIPT_V2, "legacy");
}

#[test]
fn typescript_sdk_v2_over_sse() {
    over_sse(&clients::TYPESCRIPT_V2);
}

#[test]
fn autogen_over_stdio() {
    over_stdio(&clients::AUTOGEN, "legacy");
}

#[test]
fn autogen_over_http() {
    over_http(&clients::AUTOGEN, "legacy");
}

#[test]
fn autogen_over_sse() {
    over_sse(&clients::AUTOGEN);
}

#[test]
fn ag2_over_stdio() {
    over_stdio(&clients::AG2, "legacy");
}

#[test]
fn ag2_over_http() {
    over_http(&clients::AG2, "legacy");
}

#[test]
fn ag2_over_sse() {
    over_sse(&clients::AG2);
}

#[test]
fn llama_index_over_stdio() {
    over_stdio(&clients::LLAMA_INDEX, "legacy");
}

#[test]
fn llama_index_over_http() {
    over_http(&clients::LLAMA_INDEX, "legacy");
}

#[test]
fn llama_index_over_sse() {
    over_sse(&clients::LLAMA_INDEX);
}

#[test]
fn semantic_kernel_over_stdio() {
    over_stdio(&clients::SEMANTIC_KERNEL, "legacy");
}

#[test]
fn semantic_kernel_over_http() {
    over_http(&clients::SEMANTIC_KERNEL, "legacy");
}

#[test]
fn semantic_kernel_over_sse() {
    over_sse(&clients::SEMANTIC_KERNEL);
}

#[test]
fn smolagents_over_stdio() {
    over_stdio(&clients::SMOLAGENTS, "legacy");
}

#[test]
fn smolagents_over_http() {
    over_http(&clients::SMOLAGENTS, "legacy");
}

#[test]
fn smolagents_over_sse() {
    over_sse(&clients::SMOLAGENTS);
}

#[test]
fn agent_framework_over_stdio() {
    over_stdio(&clients::AGENT_FRAMEWORK, "auto");
}

#[test]
fn agent_framework_over_http() {
    over_http(&clients::AGENT_FRAMEWORK, "auto");
}

#[test]
fn google_adk_over_stdio() {
    over_stdio(&clients::GOOGLE_ADK, "legacy");
}

#[test]
fn google_adk_over_http() {
    over_http(&clients::GOOGLE_ADK, "legacy");
}

#[test]
fn google_adk_over_sse() {
    over_sse(&clients::GOOGLE_ADK);
}

#[test]
fn mastra_over_stdio() {
    over_stdio(&clients::MASTRA, "auto");
}

#[test]
fn mastra_over_http() {
    over_http(&clients::MASTRA, "auto");
}

/// The pages show what was run: every line of a block that names a program is one of its lines.
#[test]
fn the_pages_show_lines_of_the_programs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root");
    let mut shown = BTreeSet::new();
    for page in fs::read_dir(root.join("docs/clients")).expect("there are pages") {
        let page = page.expect("a folder can be listed").path();
        let text = fs::read_to_string(&page).expect("a page is text");
        for block in text.split("<!-- tests/clients/").skip(1) {
            let (program, rest) = block.split_once(" -->\n```").expect("a block follows");
            let block = rest.split("```").next().expect("a split has a first part");
            let source = fs::read_to_string(clients::programs().join(program));
            let source = source.unwrap_or_else(|error| panic!("{program}: {error}"));
            let lines: BTreeSet<&str> = source.lines().map(str::trim).collect();
            for line in block.lines().skip(1).map(str::trim) {
                assert!(lines.contains(line), "{}: {line:?} is not in {program}", page.display());
            }
            shown.insert(program.to_owned());
        }
    }
    for framework in ["autogen", "ag2", "agent-framework", "semantic-kernel", "llama-index"] {
        assert!(shown.contains(&format!("{framework}/client.py")), "{framework} has no page");
    }
    assert!(shown.contains("mastra/client.mjs"), "Mastra has no page");
}
