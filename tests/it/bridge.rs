//! A tool asks the user something in the middle of a script: over `toolcell mcp`, whichever era of
//! the protocol its server speaks, and whichever the client does.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolcell_tests::faulty::{Faulty, Wire};
use toolcell_tests::serving::{self, Serving};
use toolcell_tests::tiny_mcp::Eras;
use toolcell_tests::{Cli, Marker, Running, Server, fixtures, wait_until};

const SECOND: Duration = Duration::from_secs(1);

/// What asks in the old way, and what asks in the new.
fn both() -> String {
    fixtures::everything_stdio().toml("old") + &fixtures::python_stdio().toml("new")
}

/// The official Python SDK's client, with a user who answers.
const CLIENT: &str = r#"
import asyncio, json, sys
from mcp import Client, StdioServerParameters
from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent

asked = []
command, code, mode, action = (json.loads(argument) for argument in sys.argv[1:])

async def elicit(context, params):
    asked.append(params.message)
    content = {"size": 3} if "How many" in params.message else {"name": "ada lovelace"}
    return ElicitResult(action=action, content=content if action == "accept" else None)

async def sample(context, params):
    asked.append(params.messages[0].content.text)
    return CreateMessageResult(
        role="assistant", model="m", content=TextContent(type="text", text="words of a model"))

async def roots(context):
    asked.append("roots")
    return ListRootsResult(roots=[Root(uri="file:///srv/notes", name="notes")])

async def main():
    server = StdioServerParameters(command=command[0], args=command[1:])
    callbacks = dict(elicitation_callback=elicit, sampling_callback=sample, list_roots_callback=roots)
    async with Client(server, mode=mode, **callbacks) as client:
        result = await client.call_tool("run_python", {"code": code})
        answer = result.model_dump(mode="json", by_alias=True)
        print(json.dumps({"version": client.protocol_version, "asked": asked, "answer": answer}))

asyncio.run(main())
"#;

/// A script of an agent whose user does this with every form.
fn session(toml: &str, mode: &str, action: &str, code: &str) -> Value {
    let cli = Cli::new("mcp").config(toml);
    let config = cli.folder().join("toolcell.toml");
    let toolcell = toolcell_tests::cli::toolcell();
    let command = json!([toolcell, "mcp", "--config", config, "--cache-dir", cli.cache_folder()]);
    let arguments = [command, json!(code), json!(mode), json!(action)].map(|it| it.to_string());
    let client =
        Command::new(fixtures::python_with_mcp()).args(["-c", CLIENT]).args(arguments).output();
    let output = client.expect("Python starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{stderr}"))
}

/// A client that speaks in single lines.
struct Client {
    running: Running,
    era: Eras,
    capabilities: Value,
    next: u64,
}

impl Client {
    fn start(era: Eras, capabilities: &Value, toml: &str) -> Self {
        let running = Cli::new("mcp").config(toml).spawn_talking();
        // Far from the ids of the questions that we are asked.
        let mut client = Self { running, era, capabilities: capabilities.clone(), next: 1_000 };
        if era == Eras::Legacy {
            let id = client.send(
                "initialize",
                &json!({
                    "protocolVersion": "2025-11-25", "capabilities": capabilities,
                    "clientInfo": { "name": "lines", "version": "1" },
                }),
            );
            client.answer(id);
        }
        client
    }

    fn send(&mut self, method: &str, params: &Value) -> u64 {
        self.next += 1;
        let mut params = params.clone();
        if self.era == Eras::Modern {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
                self.capabilities.clone();
        }
        let id = self.next;
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.running.write(&format!("{request}\n"));
        id
    }

    /// The answer to a request of ours.
    #[track_caller]
    fn answer(&self, id: u64) -> Value {
        let line = self.running.wait_for_line(&format!("\"id\":{id},"));
        serde_json::from_str(&line).expect("a line is a message")
    }

    #[track_caller]
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.send(method, params);
        self.answer(id)
    }

    #[track_caller]
    fn run(&mut self, code: &str) -> Value {
        self.ask("tools/call", &call(code))
    }

    /// The same call again, with what else its params have to have.
    #[track_caller]
    fn come_back(&mut self, code: &str, asked: &Value, answers: &Value) -> Value {
        let state = &asked["result"]["requestState"];
        self.ask("tools/call", &with_state(code, state, answers))
    }

    /// Waits for a question of the old way, by its number.
    #[track_caller]
    fn question(&self, number: u64) -> Value {
        let line = self.running.wait_for_line(&format!("\"id\":{number},\"method\""));
        serde_json::from_str(&line).expect("a line is a message")
    }

    fn reply(&mut self, number: u64, result: &Value) {
        let answer = json!({ "jsonrpc": "2.0", "id": number, "result": result });
        self.running.write(&format!("{answer}\n"));
    }
}

fn call(code: &str) -> Value {
    json!({ "name": "run_python", "arguments": { "code": code } })
}

fn with_state(code: &str, state: &Value, answers: &Value) -> Value {
    let mut params = call(code);
    params["requestState"] = state.clone();
    params["inputResponses"] = answers.clone();
    params
}

fn everything() -> Value {
    json!({ "elicitation": { "form": {} }, "sampling": {}, "roots": {} })
}

/// What a modern client is asked, by its names.
#[track_caller]
fn questions(asked: &Value) -> Vec<(String, String)> {
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let all = asked["result"]["inputRequests"].as_object().expect("questions have names");
    let all = all.iter().map(|(key, it)| (key.clone(), it["method"].as_str().unwrap_or("").into()));
    all.collect()
}

#[track_caller]
fn value(answer: &Value) -> &Value {
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    &answer["result"]["structuredContent"]["value"]
}

#[track_caller]
fn error(answer: &Value) -> &str {
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    answer["result"]["content"][0]["text"].as_str().expect("has words")
}

const SCRIPT: &str = "from tools import old, older, new
first = old.trigger_elicitation_request()
second = new.order(what='cups')
third = old.trigger_sampling_request(prompt='Say something.', maxTokens=9)
[str(first), str(second), str(third), str(older.where()), str(new.where())]";

#[test]
fn a_script_asks_in_between_in_all_four_combinations_of_eras() {
    for (mode, version) in [("legacy", "2025-11-25"), ("auto", "2026-07-28")] {
        let older = fixtures::python_sse();
        let toml = both() + &older.server().toml("older");
        let seen = session(&toml, mode, "accept", SCRIPT);
        assert_eq!(seen["version"], version);
        let answer = &seen["answer"];
        assert_eq!(answer["isError"], false, "{answer}");
        let value = &answer["structuredContent"]["value"];
        for (at, expected) in
            ["ada lovelace", "accept: 3 cups", "words of a model", "srv/notes", "srv/notes"]
                .iter()
                .enumerate()
        {
            assert!(value[at].as_str().is_some_and(|it| it.contains(expected)), "{value}");
        }
        let asked = &seen["asked"];
        assert_eq!(asked[0], "[old] Please provide inputs for the following fields:", "{asked}");
        assert_eq!(asked[1], "[new] How many cups?", "{asked}");
        assert!(asked[2].as_str().is_some_and(|it| it.contains("Say something.")), "{asked}");
        assert_eq!((&asked[3], &asked[4]), (&json!("roots"), &json!("roots")));
    }
}

#[test]
fn a_user_who_declines_or_cancels_is_taken_at_their_word() {
    let code = "from tools import old, new
[str(new.order(what='cups')), str(old.trigger_elicitation_request())]";
    for (mode, action) in
        [("legacy", "decline"), ("auto", "decline"), ("legacy", "cancel"), ("auto", "cancel")]
    {
        let seen = session(&both(), mode, action, code);
        let value = &seen["answer"]["structuredContent"]["value"];
        assert!(value[0].as_str().is_some_and(|it| it.contains(&format!("{action}: 0 cups"))));
        assert!(value[1].as_str().is_some_and(|it| it.contains(action)), "{value}");
    }
}

#[test]
fn a_client_that_can_be_asked_nothing_is_asked_nothing() {
    let code = "from tools import old, new
def outcome(call):
    try:
        return str(call())
    except Exception as error:
        return str(error)
[outcome(old.trigger_elicitation_request), outcome(lambda: new.order(what='cups')),
 outcome(old.get_roots_list)]";
    for era in [Eras::Legacy, Eras::Modern] {
        let mut client = Client::start(era, &json!({}), &both());
        let answer = client.run(code);
        let value = value(&answer);
        assert!(value[0].as_str().is_some_and(|it| it.contains("nobody who could")), "{value}");
        // A modern server knows before it asks.
        assert!(value[1].as_str().is_some_and(|it| it.contains("capabilit")), "{value}");
        assert!(!value[2].as_str().is_some_and(|it| it.contains("nobody")), "{value}");
    }
}

#[test]
fn several_questions_come_at_once_and_keep_their_servers_names_for_them() {
    let faulty = Faulty::start(Wire::Http, Eras::Modern);
    let toml = Server::http(faulty.url()).toml("s");
    let mut client = Client::start(Eras::Modern, &everything(), &toml);
    let code = "from tools import s\ns.ask()";
    let asked = client.run(code);
    let methods = ["elicitation/create", "roots/list", "sampling/createMessage"];
    let names = ["who", "roots", "words"];
    let expected: Vec<_> =
        names.into_iter().zip(methods).map(|(a, b)| (a.into(), b.into())).collect();
    assert_eq!(questions(&asked), expected);
    let who = json!({ "action": "accept", "content": { "name": "ada" } });
    let words = json!({
        "role": "assistant", "model": "m", "content": { "type": "text", "text": "hi" }
    });
    // Some are answered, one in a form that is none, one was never asked.
    let some = json!({ "who": who, "words": 12345, "nobody_asked": who });
    let again = client.come_back(code, &asked, &some);
    assert_eq!(questions(&again), expected[1..]);
    let rest = json!({ "words": words, "roots": { "roots": [] } });
    let done = client.come_back(code, &again, &rest);
    let said: Value = serde_json::from_str(value(&done).as_str().expect("text")).expect("JSON");
    assert_eq!(said, json!({ "who": who, "roots": { "roots": [] }, "words": words }));
    assert_eq!(faulty.count("tools/call"), 2, "the server heard nothing of our rounds");
}

#[test]
fn calls_at_the_same_time_ask_together() {
    let code = "import asyncio
calls = [aio.new.order(what='cups'), aio.new.order(what='pots')]
[str(it) for it in await asyncio.gather(*calls)]";
    let mut client =
        Client::start(Eras::Modern, &everything(), &fixtures::python_stdio().toml("new"));
    let asked = client.run(code);
    let names: Vec<String> = questions(&asked).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 2, "{asked}");
    let answers = names.iter().enumerate().map(|(at, name)| {
        (name.clone(), json!({ "action": "accept", "content": { "size": at + 1 } }))
    });
    let answers = answers.collect::<serde_json::Map<_, _>>().into();
    let done = client.come_back(code, &asked, &answers);
    let ordered = value(&done).to_string();
    assert!(ordered.contains("cups") && ordered.contains("accept: 2"), "{ordered}");
}

#[test]
fn answers_may_come_with_the_first_request() {
    let faulty = Faulty::start(Wire::Http, Eras::Modern);
    let toml = Server::http(faulty.url()).toml("s");
    let mut client = Client::start(Eras::Modern, &everything(), &toml);
    let mut params = call("from tools import s\ns.ask()");
    params["inputResponses"] = json!({
        "who": { "action": "decline" }, "roots": { "roots": [] }, "words": "no answer",
        "extra": { "action": "accept" },
    });
    let asked = client.ask("tools/call", &params);
    assert_eq!(questions(&asked), [("words".into(), "sampling/createMessage".into())]);
    params["inputResponses"] = json!([1]);
    assert_eq!(client.ask("tools/call", &params)["error"]["code"], -32602);
}

#[test]
fn a_state_that_was_forged_changed_or_used_before_opens_nothing() {
    let faulty = Faulty::start(Wire::Http, Eras::Modern);
    let toml = Server::http(faulty.url()).toml("s");
    let mut client = Client::start(Eras::Modern, &everything(), &toml);
    let code = "from tools import s\ns.ask()";
    let asked = client.run(code);
    let state = asked["result"]["requestState"].as_str().expect("a text").to_owned();
    let all = json!({
        "who": { "action": "decline" }, "roots": { "roots": [] },
        "words": { "role": "assistant", "model": "m", "content": { "type": "text", "text": "" } },
    });
    let other_code = format!("{code} # changed");
    for (code, state) in [
        (code, json!(format!("{state}-TAMPERED"))),
        (code, json!(state.to_uppercase())),
        (code, json!("")),
        (code, json!("x".repeat(100_000))),
        (code, json!(17)),
        (&*other_code, json!(state)),
    ] {
        let refused = client.ask("tools/call", &with_state(code, &state, &all));
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
    }
    let other_method = client.ask("prompts/get", &with_state(code, &json!(state), &all));
    assert!(other_method["error"].is_object(), "{other_method}");
    let done = client.come_back(code, &asked, &all);
    value(&done);
    let replayed = client.come_back(code, &asked, &all);
    assert_eq!(replayed["error"]["code"], -32602, "{replayed}");
    let words = replayed["error"]["message"].as_str().expect("words");
    assert!(words.contains("used before") && words.contains("without `requestState`"), "{words}");
    assert_eq!(faulty.count("tools/call"), 2, "it ran once");
}

#[test]
fn the_time_in_which_a_user_is_asked_ends_no_run() {
    let limits = "[limits]\ncompute_time = \"1s\"\ndeadline = \"5s\"\n";
    let toml = fixtures::everything_stdio().toml("old") + limits;
    let code = "from tools import old\nstr(old.trigger_elicitation_request())";
    let form = json!({ "action": "accept", "content": { "name": "ada lovelace" } });
    let thinking = |since: Instant| {
        wait_until(20 * SECOND, "the user has thought for longer than the run may take", || {
            since.elapsed() > 6 * SECOND
        });
    };

    let mut client = Client::start(Eras::Legacy, &everything(), &toml);
    let run = client.send("tools/call", &call(code));
    client.question(1);
    thinking(Instant::now());
    client.reply(1, &form);
    let answer = client.answer(run);
    assert!(value(&answer).as_str().is_some_and(|it| it.contains("ada lovelace")), "{answer}");

    let mut client = Client::start(Eras::Modern, &everything(), &toml);
    let asked = client.run(code);
    let name = questions(&asked).remove(0).0;
    thinking(Instant::now());
    let answer = client.come_back(code, &asked, &json!({ name: form }));
    assert!(value(&answer).as_str().is_some_and(|it| it.contains("ada lovelace")), "{answer}");
    let usage = &answer["result"]["structuredContent"]["usage"];
    assert!(usage["wall_ms"].as_f64() > Some(6_000.0), "{usage}");
    assert!(usage["compute_ms"].as_f64() < Some(1_000.0), "{usage}");
}

#[test]
fn when_the_client_vanishes_while_it_is_asked_nothing_survives() {
    for era in [Eras::Legacy, Eras::Modern] {
        let marker = Marker::new();
        let toml = fixtures::everything_stdio().marked(&marker).toml("old");
        let mut client = Client::start(era, &everything(), &toml);
        let run = client
            .send("tools/call", &call("from tools import old\nold.trigger_elicitation_request()"));
        match era {
            Eras::Modern => drop(questions(&client.answer(run))),
            _ => drop(client.question(1)),
        }
        marker.wait_for_one();
        client.running.close_stdin();
        client.running.finish(10 * SECOND).success();
        marker.assert_nothing_survives();
    }
}

#[test]
fn a_request_that_is_cancelled_takes_its_question_back() {
    let toml = fixtures::everything_stdio().toml("old");
    let mut client = Client::start(Eras::Legacy, &everything(), &toml);
    let code = "from tools import old\nold.trigger_elicitation_request()";
    let run = client.send("tools/call", &call(code));
    client.question(1);
    let cancel = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": run },
    });
    client.running.write(&format!("{cancel}\n"));
    client.running.wait_for_line("\"requestId\":1");
    // It is there for others as before.
    let run = client.send("tools/call", &call(code));
    client.question(2);
    client.reply(2, &json!({ "action": "decline" }));
    assert_eq!(client.answer(run)["result"]["isError"], false);
}

#[test]
fn an_answer_that_is_none_is_the_askers_to_hear() {
    let toml = fixtures::everything_stdio().toml("old");
    let mut client = Client::start(Eras::Legacy, &everything(), &toml);
    let code = "from tools import old\nold.trigger_elicitation_request()";
    let run = client.send("tools/call", &call(code));
    client.question(1);
    client.reply(1, &json!(12345));
    let answer = client.answer(run);
    assert!(error(&answer).contains("cannot be used"), "{answer}");
}

#[test]
fn a_hundred_open_questions_leave_room_for_others() {
    let faulty = Faulty::start(Wire::Http, Eras::Modern);
    let toml = Server::http(faulty.url()).toml("s");
    let mut client = Client::start(Eras::Modern, &everything(), &toml);
    let first = client.run("from tools import s\ns.ask()");
    let mut last = Value::Null;
    for number in 0..100 {
        last = client.run(&format!("from tools import s\ns.ask() # {number}"));
        questions(&last);
    }
    let nothing = json!({});
    let refused = client.come_back("from tools import s\ns.ask()", &first, &nothing);
    assert_eq!(refused["error"]["code"], -32602, "the oldest gave way");
    let kept = client.come_back("from tools import s\ns.ask() # 99", &last, &nothing);
    assert_eq!(questions(&kept).len(), 3);
    assert_eq!(value(&client.run("1 + 1")), 2, "there is a sandbox for whoever asks nobody");
}

const GATEWAY: &str = "[profiles.all]\ntools = [\"*.*\"]\nresources = [\"*:*\"]\nprompts = [\"*.*\"]\ngateway = true\n";

/// A call of a server's own tool, through the gateway.
fn tool(name: &str, arguments: &Value) -> Value {
    json!({ "name": name, "arguments": arguments })
}

/// The same request, with answers to what it was answered with.
fn answered(mut params: Value, asked: &Value, answers: Value) -> Value {
    params["requestState"] = asked["result"]["requestState"].clone();
    params["inputResponses"] = answers;
    params
}

#[test]
fn through_a_gateway_a_server_asks_as_it_would_without_one() {
    let toml = both() + GATEWAY;
    let form = |content: Value| json!({ "action": "accept", "content": content });
    let asks = [
        ("old_trigger-elicitation-request", json!({}), json!({ "name": "ada" }), "ada"),
        ("new_order", json!({ "what": "cups" }), json!({ "size": 3 }), "accept: 3 cups"),
    ];
    let mut modern = Client::start(Eras::Modern, &everything(), &toml);
    let mut legacy = Client::start(Eras::Legacy, &everything(), &toml);
    for (number, (name, arguments, content, expected)) in (1..).zip(asks) {
        let params = tool(name, &arguments);
        let asked = modern.ask("tools/call", &params);
        let key = questions(&asked).remove(0).0;
        let answers = json!({ key: form(content.clone()) });
        let done = modern.ask("tools/call", &answered(params.clone(), &asked, answers));
        assert_eq!(done["result"]["resultType"], "complete", "{done}");
        assert!(done["result"]["content"].to_string().contains(expected), "{done}");

        let call = legacy.send("tools/call", &params);
        let question = legacy.question(number);
        let message = question["params"]["message"].as_str().expect("has a message");
        assert!(message.starts_with(if number == 1 { "[old] " } else { "[new] " }), "{message}");
        legacy.reply(number, &form(content));
        let done = legacy.answer(call);
        assert!(done["result"]["content"].to_string().contains(expected), "{done}");
        assert!(done["result"].get("resultType").is_none(), "{done}");
    }
}

#[test]
fn prompts_ask_too_and_rounds_have_states_of_their_own() {
    let toml = fixtures::conformance_server().toml("s") + GATEWAY;
    let mut client = Client::start(Eras::Modern, &everything(), &toml);
    let prompt = json!({ "name": "s_test_input_required_result_prompt" });
    let asked = client.ask("prompts/get", &prompt);
    assert_eq!(questions(&asked), [("user_context".into(), "elicitation/create".into())]);
    let context =
        json!({ "user_context": { "action": "accept", "content": { "context": "tea" } } });
    let as_tool = client.ask("tools/call", &answered(prompt.clone(), &asked, context.clone()));
    assert_eq!(as_tool["error"]["code"], -32602, "another method: {as_tool}");
    let done = client.ask("prompts/get", &answered(prompt, &asked, context));
    assert!(done["result"]["messages"].to_string().contains("tea"), "{done}");

    let steps = tool("s_test_input_required_result_multi_round", &json!({}));
    let first = client.ask("tools/call", &steps);
    let fill = |name: &str| json!({ name: { "action": "accept", "content": { "name": "ada", "color": "blue" } } });
    let second = client.ask("tools/call", &answered(steps.clone(), &first, fill("step1")));
    assert_eq!(questions(&second)[0].0, "step2");
    assert_ne!(first["result"]["requestState"], second["result"]["requestState"]);
    let done = client.ask("tools/call", &answered(steps, &second, fill("step2")));
    assert_eq!(done["result"]["resultType"], "complete", "{done}");
}

#[test]
fn a_modern_server_knows_what_the_client_behind_us_can_do() {
    let toml = fixtures::conformance_server().toml("s") + GATEWAY;
    let mut client = Client::start(Eras::Modern, &json!({ "sampling": {} }), &toml);
    let asked =
        client.ask("tools/call", &tool("s_test_input_required_result_capabilities", &json!({})));
    assert!(questions(&asked).iter().all(|(_, method)| method == "sampling/createMessage"));
    // The next client of the same connection is another.
    client.capabilities = json!({});
    let refused = client.ask("tools/call", &tool("s_test_missing_capability", &json!({})));
    assert_eq!(refused["error"]["code"], -32021, "{refused}");
    client.capabilities = json!({ "elicitation": {} });
    let asked =
        client.ask("tools/call", &tool("s_test_input_required_result_elicitation", &json!({})));
    assert_eq!(questions(&asked), [("user_name".into(), "elicitation/create".into())]);
}

#[test]
fn what_is_told_after_a_return_goes_to_whoever_returned() {
    let code = "from tools import new
from events import progress
first = new.order(what='cups')
progress(1, 2, 'half of it')
str(first)";
    let mut client =
        Client::start(Eras::Modern, &everything(), &fixtures::python_stdio().toml("new"));
    let with_token = |mut params: Value, token: &str| {
        params["_meta"]["progressToken"] = json!(token);
        params
    };
    let asked = client.ask("tools/call", &with_token(call(code), "one"));
    let name = questions(&asked).remove(0).0;
    let size = json!({ name: { "action": "accept", "content": { "size": 1 } } });
    let done = client.ask("tools/call", &with_token(answered(call(code), &asked, size), "two"));
    value(&done);
    let told = client.running.wait_for_line("half of it");
    assert!(told.contains("\"progressToken\":\"two\""), "{told}");
}

#[test]
fn calls_at_the_same_time_of_an_old_server_are_one_persons() {
    let code = "import asyncio
calls = [aio.old.trigger_elicitation_request() for _ in range(2)]
[str(it) for it in await asyncio.gather(*calls)]";
    let toml = fixtures::everything_stdio().toml("old");
    let mut client = Client::start(Eras::Legacy, &everything(), &toml);
    let run = client.send("tools/call", &call(code));
    for (number, name) in [(1, "ada"), (2, "grace")] {
        client.question(number);
        client.reply(number, &json!({ "action": "accept", "content": { "name": name } }));
    }
    let done = client.answer(run);
    let names = value(&done).to_string();
    assert!(names.contains("ada") && names.contains("grace"), "{names}");
}

#[test]
fn over_http_nobody_answers_what_another_was_asked() {
    let faulty = Faulty::start(Wire::Http, Eras::Modern);
    let token = |who: &str| format!("{who}-and-sixteen-more");
    let may_come = |who: &str| format!("[server.tokens.{who}]\ntoken = \"{}\"\n", token(who));
    let toml = Server::http(faulty.url()).toml("s") + &may_come("ada") + &may_come("eve");
    let serving = Serving::start(&toml);
    let ask = |who: &str, params: &Value| {
        let mut params = params.clone();
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": everything(),
        });
        let post = serving.modern("tools/call", &params);
        let message = serving::call(1, "tools/call", &params).to_string();
        post.body(message).header("Authorization", &format!("Bearer {}", token(who))).send().json()
    };
    let code = "from tools import s\ns.ask()";
    let all = json!({
        "who": { "action": "decline" }, "roots": { "roots": [] },
        "words": { "role": "assistant", "model": "m", "content": { "type": "text", "text": "" } },
    });
    let asked = ask("ada", &call(code));
    assert_eq!(questions(&asked).len(), 3);
    let back = answered(call(code), &asked, all);
    let refused = ask("eve", &back);
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    value(&ask("ada", &back));
    assert_eq!(ask("ada", &back)["error"]["code"], -32602, "once");
}
