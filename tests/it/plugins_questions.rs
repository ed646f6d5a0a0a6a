//! A plugin asks whoever is behind its caller: the person with a form, the model with a prompt. The
//! client is the official Python SDK's, in both eras, with a user who answers, declines, or is not there.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use toolcell_tests::guests::guest;
use toolcell_tests::{Cli, fixtures};

/// Calls tools one after another, with a user who does the same with every question.
const CLIENT: &str = r#"
import asyncio, json, sys
from mcp import Client, StdioServerParameters
from mcp_types import CreateMessageResult, ElicitResult, TextContent

asked = []
command, program, mode, action = (json.loads(argument) for argument in sys.argv[1:])

async def elicit(context, params):
    asked.append([params.message, params.requested_schema])
    return ElicitResult(action=action, content={"city": "Rome", "days": 2} if action == "accept" else None)

async def sample(context, params):
    asked.append([params.messages[0].content.text, None])
    return CreateMessageResult(
        role="assistant", model="m", content=TextContent(type="text", text="words of a model"))

async def main():
    server = StdioServerParameters(command=command[0], args=command[1:])
    callbacks = dict(elicitation_callback=elicit, sampling_callback=sample) if action else {}
    answers = []
    async with Client(server, mode=mode, **callbacks) as client:
        for name, arguments in program:
            result = await client.call_tool(name, arguments)
            answers.append(result.model_dump(mode="json", by_alias=True))
    print(json.dumps({"asked": asked, "answers": answers}))

asyncio.run(main())
"#;

/// What the operator says to the plugin `asker`.
const GRANTED: &str = "[plugins.asker]\nquestions = true\n";

/// Installs `asker`, which asks for questions or does not.
fn install(folder: &Path, questions: bool) {
    let plugins = folder.join("plugins");
    fs::create_dir_all(&plugins).expect("a folder can be made");
    fs::copy(guest("asker"), plugins.join("asker.wasm")).expect("a file can be copied");
    let manifest = format!(
        "name = \"asker\"\nversion = \"0.1.0\"\n[asks]\ntools = []\nquestions = {questions}\n"
    );
    fs::write(plugins.join("asker.toml"), manifest).expect("a file can be written");
}

/// A client whose user does this with every question; nobody is there without an action.
#[track_caller]
fn session(
    questions: bool,
    toml: &str,
    (mode, action): (&str, Option<&str>),
    program: &Value,
) -> Value {
    let cli = Cli::new("mcp").config(toml);
    install(cli.folder(), questions);
    let config = cli.folder().join("toolcell.toml");
    let toolcell = toolcell_tests::cli::toolcell();
    let command = json!([toolcell, "mcp", "--config", config, "--cache-dir", cli.cache_folder()]);
    let arguments = [command, program.clone(), json!(mode), json!(action)];
    let client = Command::new(fixtures::python_with_mcp())
        .args(["-c", CLIENT])
        .args(arguments.map(|argument| argument.to_string()))
        .output();
    let output = client.expect("Python starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{stderr}"))
}

/// The text of each answer.
fn texts(seen: &Value) -> Vec<&str> {
    let answers = seen["answers"].as_array().expect("a list").iter();
    answers.map(|answer| answer["content"][0]["text"].as_str().unwrap_or_default()).collect()
}

#[test]
fn the_person_and_the_model_behind_a_plugins_caller_answer_it() {
    let code =
        "from tools import asker\n[asker.ask(message='And then?'), asker.think(prompt='Hm?')]";
    let program = json!([
        ["asker_able", {}],
        ["asker_ask", { "message": "Where to?" }],
        ["asker_think", { "prompt": "Say something." }],
        ["run_python", { "code": code }],
    ]);
    for mode in ["legacy", "auto"] {
        let seen = session(true, GRANTED, (mode, Some("accept")), &program);
        let texts = texts(&seen);
        assert_eq!(texts[0], "person: true, model: true", "{mode}: {seen}");
        assert_eq!(texts[1], "Rome for 2 days", "{mode}: {seen}");
        assert_eq!(texts[2], "words of a model", "{mode}: {seen}");
        let value = &seen["answers"][3]["structuredContent"]["value"];
        assert_eq!(*value, json!(["Rome for 2 days", "words of a model"]), "{mode}: {seen}");
        // The user is told who asks, and what for.
        let asked = seen["asked"].as_array().expect("a list");
        let messages: Vec<_> = asked.iter().map(|question| question[0].as_str()).collect();
        assert_eq!(messages[0], Some("[asker] Where to?"), "{mode}: {messages:?}");
        assert!(messages[1].is_some_and(|it| it.ends_with("Say something.")), "{messages:?}");
        assert_eq!(asked[0][1]["properties"]["city"]["type"], "string", "{}", asked[0]);
        assert_eq!(asked.len(), 4, "{mode}: each was asked once");
    }
}

#[test]
fn a_person_who_declines_or_cancels_is_taken_at_their_word() {
    let program = json!([["asker_ask", { "message": "Where to?" }]]);
    for (mode, action, expected) in [
        ("legacy", "decline", "declined"),
        ("auto", "decline", "declined"),
        ("legacy", "cancel", "cancelled"),
        ("auto", "cancel", "cancelled"),
    ] {
        let seen = session(true, GRANTED, (mode, Some(action)), &program);
        assert_eq!(texts(&seen), [expected], "{mode}: {seen}");
    }
}

#[test]
fn where_nobody_can_be_asked_a_plugin_is_told_so_in_words() {
    let program = json!([
        ["asker_able", {}],
        ["asker_ask", { "message": "Where to?" }],
        ["asker_think", { "prompt": "Say something." }],
    ]);
    for mode in ["legacy", "auto"] {
        let seen = session(true, GRANTED, (mode, None), &program);
        let texts = texts(&seen);
        assert_eq!(texts[0], "person: false, model: false", "{mode}: {seen}");
        for (nth, what) in [(1, "elicitation"), (2, "sampling")] {
            let words = format!("nobody behind this call answers questions ({what})");
            assert!(texts[nth].contains(&words), "{mode}: {seen}");
            assert_eq!(seen["answers"][nth]["isError"], true, "{mode}: {seen}");
        }
    }
    let folder = TempDir::new().expect("a temporary folder");
    install(folder.path(), true);
    let toml = format!("plugin_folder = {:?}\n{GRANTED}", folder.path().join("plugins"));
    let call = Cli::new("call").config(&toml);
    let called = call.args(["asker.ask", "--args", r#"{"message":"Where to?"}"#]).run();
    assert!(called.stderr.contains("nobody behind this call answers questions"), "{called}");
    called.expect_code(1);
}

#[test]
fn a_plugin_asks_only_if_its_manifest_and_its_operator_both_say_so() {
    let program = json!([["asker_able", {}], ["asker_ask", { "message": "Where to?" }]]);
    for (questions, toml) in [(false, GRANTED), (true, ""), (true, "[plugins.asker]\n")] {
        let seen = session(questions, toml, ("auto", Some("accept")), &program);
        let texts = texts(&seen);
        assert_eq!(texts[0], "person: false, model: false", "{seen}");
        assert!(texts[1].contains("may not ask whoever called it"), "{seen}");
        assert_eq!(seen["asked"], json!([]), "{seen}");
    }
}
