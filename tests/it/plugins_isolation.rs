//! Plugins that trap, loop, take all they get, and call one another in circles: none of it is anybody
//! else's trouble. Written as the attacker, with guests of `tests/guests/`.
//!
//! | the attacker wants to | and meets |
//! |---|---|
//! | take the host or other plugins down with it | the sandbox: its call fails, in words |
//! | compute or call more than its caller may | the caller's fuel and the caller's counts |
//! | run for ever by calling itself | the depth |
//! | call what its caller, its operator or its manifest does not allow | the narrowest of the three |
//! | read what it keeps for somebody else, or what another plugin keeps | sessions of its own |

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use toolcell::config::Profile;
use toolcell::ids::RunId;
use toolcell::journal::{EntryKind, JournalStore, MemoryStore};
use toolcell::limits::Limits;
use toolcell::plugins::PluginStanding;
use toolcell::tool::{CallAnswer, CallMethod};
use toolcell::upstream::Caller;
use toolcell::{CallOptions, Host, Script};
use toolcell_tests::guests::guest;
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::{fixtures, wait_until};

use crate::hosts::{Configured, block_on, cache_folder, failure, value};

/// Installs a guest of `tests/guests/` under its own name, with a wish for these tools.
pub(crate) fn install(folder: &Path, name: &str, asks: &[&str]) {
    install_as(folder, name, name, asks);
}

pub(crate) fn install_as(folder: &Path, name: &str, of: &str, asks: &[&str]) {
    let plugins = folder.join("plugins");
    fs::create_dir_all(&plugins).expect("a folder can be made");
    fs::copy(guest(of), plugins.join(format!("{name}.wasm"))).expect("a file can be copied");
    let manifest = format!(
        "name = \"{name}\"\nversion = \"1.2.3\"\n[asks]\ntools = {}\n",
        serde_json::to_string(asks).expect("JSON")
    );
    fs::write(plugins.join(format!("{name}.toml")), manifest).expect("a file can be written");
}

/// The misbehaving server as `x`, with a log.
fn server(folder: &Path) -> String {
    let log = folder.join("log");
    fixtures::misbehaving("ok").env("MISBEHAVING_LOG", log.to_str().expect("UTF-8")).toml("x")
}

/// What each of these calls came to, in a script of its own: its text, or the kind of its error.
fn tried(host: &Configured, calls: &[(&str, Value)]) -> (Vec<(String, String)>, u64) {
    let code = "
ended = []
for name, arguments in inputs:
    server, tool = name.split('.')
    try:
        ended.append(['ok', str(tools[server][tool](**arguments))])
    except tools.ToolError as error:
        ended.append([type(error).__name__, str(error)])
ended";
    let report = host.run(Script::python(code).input(json!(calls)));
    let ended = serde_json::from_value(value(&report)).expect("pairs");
    (ended, report.usage.fuel)
}

fn profile(host: &Configured) -> Profile {
    host.host.config().profile(None).expect("there is one").clone()
}

/// Calls a tool for somebody.
fn call(host: &Configured, tool: &str, arguments: Value, options: CallOptions) -> CallAnswer {
    let arguments = arguments.to_string();
    let profile = profile(host);
    block_on(host.host.call(&profile, CallMethod::Tool, (tool, &arguments), options))
}

fn text(answer: CallAnswer) -> String {
    answer.unwrap_or_else(|error| panic!("no answer: {error:?}")).first_text().to_owned()
}

fn somebody(id: &str, connection: &str) -> CallOptions {
    let caller = Caller { id: Some(id.into()), ..Caller::anonymous() };
    CallOptions { caller, connection: Some(connection.into()), ..CallOptions::default() }
}

#[test]
fn what_traps_loops_or_takes_all_it_gets_fails_alone_and_in_words() {
    let host = Configured::new(|folder| {
        for name in ["trapper", "looper", "hog", "echoes"] {
            install(folder, name, &[]);
        }
        "[plugins.looper]\nlimits = { fuel = \"50M\", call_timeout = \"2s\", deadline = \"500ms\" }\n\
         [plugins.hog]\nlimits = { memory = \"16MiB\" }\n"
            .to_owned()
    });
    let calls = [
        ("trapper.panic", json!({"words": "no way"})),
        ("trapper.unreachable", json!({})),
        ("trapper.recurse", json!({})),
        ("trapper.exit", json!({"code": 3})),
        ("looper.compute", json!({})),
        ("looper.stall", json!({})),
        ("looper.wait", json!({"seconds": 60})),
        ("hog.allocate", json!({})),
        ("hog.print", json!({})),
        ("trapper.fine", json!({})),
        ("echoes.echo", json!({"a": 1})),
    ];
    let (ended, _) = tried(&host, &calls);
    let told = format!("{ended:#?}");
    for (nth, (kind, words)) in ended.iter().enumerate() {
        let (tool, _) = &calls[nth];
        match nth {
            9 | 10 => assert_eq!(kind, "ok", "{told}"),
            5 => assert!(kind == "ToolError" && words.contains("cannot come"), "{told}"),
            _ => assert!(kind != "ok" && words.contains(tool), "{told}"),
        }
    }
    assert!(ended[0].1.contains("no way"), "{told}");
    assert!(
        ended[4].0 == "LimitExceeded" && ended[4].1.contains("fuel limit of 50000000"),
        "{told}"
    );
}

#[test]
fn a_plugin_computes_on_its_callers_fuel_and_never_on_more() {
    let host = Configured::new(|folder| {
        install(folder, "caller", &["caller.*", "looper.*"]);
        install(folder, "looper", &[]);
        "[plugins.caller]\ntools = [\"caller.*\", \"looper.*\"]\n".to_owned()
    });
    let (ended, little) = tried(&host, &[("caller.compute", json!({"rounds": 1}))]);
    assert_eq!(ended[0].0, "ok", "{ended:?}");
    let (_, much) = tried(&host, &[("caller.compute", json!({"rounds": 10_000_000}))]);
    assert!(much - little >= 10_000_000, "the caller pays: {little} {much}");

    // Without end, three deep: all of them together have what the script has.
    let inner = json!({"tool": "looper.compute", "arguments": {}});
    let orders: Vec<Value> =
        (0..3).map(|_| json!({"tool": "caller.call", "arguments": inner})).collect();
    let code = "
try:
    tools['caller']['at_once'](orders=inputs)
except tools.ToolError:
    raise SystemExit(7)";
    let limits = Limits { fuel: 2_000_000_000, ..Limits::default() };
    let report = host.run(Script::python(code).input(json!(orders)).limits(limits));
    assert!(report.usage.fuel <= 2_000_000_000, "{report:#?}");
    assert!(report.usage.fuel >= 1_000_000_000, "they did compute: {report:#?}");
}

#[test]
fn a_plugins_calls_count_as_its_callers() {
    let host = Configured::new(|folder| {
        install(folder, "hog", &["x.*"]);
        server(folder) + "[plugins.hog]\ntools = [\"x.*\"]\n"
    });
    let code = "from tools import hog\nhog.call(tool='x.echo', times=50)";
    let limits = Limits { tool_calls: 10, ..Limits::default() };
    let report = host.run(Script::python(code).limits(limits));
    assert_eq!(value(&report), json!("0 answers, 50 failures"), "their arguments do not fit");
    assert!(report.usage.tool_calls >= 10, "{:#?}", report.usage);
    let again = "
tools.hog.call(tool='x.echo', times=50)
tools.x.echo(text='mine')";
    let limits = Limits { tool_calls: 10, ..Limits::default() };
    let report = host.run(Script::python(again).limits(limits));
    let (kind, message, _) = failure(&report);
    assert_eq!(kind, "limit.tool_calls");
    assert!(message.contains("may make 10 tool calls"), "{message}");
}

#[test]
fn a_circle_of_plugins_ends_at_a_depth() {
    let host = Configured::new(|folder| {
        install(folder, "caller", &["caller.*", "other.*"]);
        install_as(folder, "other", "caller", &["caller.*", "other.*"]);
        "[plugins.caller]\ntools = [\"caller.*\", \"other.*\"]\n\
         [plugins.other]\ntools = [\"caller.*\", \"other.*\"]\n"
            .to_owned()
    });
    let mut order = json!({"rounds": 1});
    let mut tool = "other.compute";
    for nth in 0..8 {
        order = json!({"tool": tool, "arguments": order});
        tool = if nth % 2 == 0 { "caller.call" } else { "other.call" };
    }
    let answer = call(&host, tool, order, CallOptions::default());
    let words = match &answer {
        Ok(output) => output.first_text().to_owned(),
        Err(error) => error.message().to_owned(),
    };
    assert!(answer.is_err() || answer.as_ref().is_ok_and(|output| output.is_error), "{words}");
    assert!(words.contains("4 plugins may wait for one another"), "{words}");
    assert!(words.contains("in a circle"), "{words}");
    let fine = json!({"tool": "other.compute", "arguments": {"rounds": 2}});
    assert_eq!(text(call(&host, "caller.call", fine, CallOptions::default())), "1");
}

#[test]
fn a_plugin_may_do_what_its_caller_its_operator_and_its_manifest_all_allow() {
    let host = Configured::new(|folder| {
        install(folder, "caller", &["x.echo", "x.add", "y.*"]);
        // `x.fail` was not asked for, `x.add` is not granted, and only one profile has `x`.
        server(folder)
            + "[plugins.caller]\ntools = [\"x.echo\", \"x.fail\"]\n\
               [profiles.all]\ntools = [\"*\"]\n\
               [profiles.few]\ntools = [\"caller.*\"]\n\
               [profiles.ruled]\ntools = [\"*\"]\n\
               [[profiles.ruled.rules]]\ntool = \"x.echo\"\neffect = \"allow\"\nargs = { text = { pattern = \"^a\" } }\n"
    });
    let with = |profile: &str, tool: &str, arguments: Value| {
        let config = host.host.config();
        let profile = config.profile(Some(profile)).expect("there is one").clone();
        let arguments = json!({"tool": tool, "arguments": arguments}).to_string();
        let answer = block_on(host.host.call_tool(&profile, "caller.call", &arguments));
        match answer {
            Ok(output) => output.first_text().to_owned(),
            Err(error) => error.message().to_owned(),
        }
    };
    assert_eq!(with("all", "x.echo", json!({"text": "a"})), "a");
    for (profile, tool) in
        [("all", "x.fail"), ("all", "x.add"), ("all", "x.none"), ("few", "x.echo")]
    {
        let words = with(profile, tool, json!({}));
        assert!(words.contains(&format!("no tool `{tool}` is granted to this run")), "{words}");
    }
    assert_eq!(with("ruled", "x.echo", json!({"text": "abc"})), "abc");
    let words = with("ruled", "x.echo", json!({"text": "b"}));
    assert!(words.contains("the operator does not allow this call"), "{words}");
}

#[test]
fn what_a_plugin_keeps_is_one_callers_in_one_session_and_one_plugins() {
    let host = Configured::new(|folder| {
        install(folder, "state", &[]);
        install_as(folder, "other", "state", &[]);
        String::new()
    });
    let count = |plugin: &str, options: CallOptions| {
        text(call(&host, &format!("{plugin}.count"), json!({}), options))
    };
    assert_eq!(count("state", somebody("ann", "c1")), "1");
    assert_eq!(count("state", somebody("ann", "c1")), "2");
    assert_eq!(count("state", somebody("bob", "c1")), "1", "another caller");
    assert_eq!(count("state", somebody("ann", "c2")), "1", "another connection");
    assert_eq!(count("other", somebody("ann", "c1")), "1", "another plugin of the same code");
    assert_eq!(count("state", CallOptions::default()), "1");
    assert_eq!(count("state", CallOptions::default()), "1", "each call is a session of its own");
    let script = Script::python("from tools import state\n[state.count(), state.count()]");
    assert_eq!(value(&host.run(script.clone())), json!(["1", "2"]));
    assert_eq!(value(&host.run(script.clone())), json!(["1", "2"]), "of one run");
    assert_eq!(value(&host.run(script.clone().session("s"))), json!(["1", "2"]));
    assert_eq!(value(&host.run(script.session("s"))), json!(["3", "4"]), "of a named session");
    let full = call(&host, "state.fill", json!({"bytes": 1_048_570}), somebody("ann", "c1"));
    let words = match full {
        Ok(output) => output.first_text().to_owned(),
        Err(error) => error.message().to_owned(),
    };
    assert!(words.contains("may keep 1048576"), "{words}");
}

#[test]
fn instances_are_fresh_for_each_call_and_kept_per_session_where_the_operator_says_so() {
    let host = Configured::new(|folder| {
        install(folder, "state", &[]);
        install_as(folder, "kept", "state", &[]);
        "[plugins.kept]\nstateful = \"10m\"\n".to_owned()
    });
    let count = |plugin: &str, options: CallOptions| {
        text(call(&host, &format!("{plugin}.count_here"), json!({}), options))
    };
    assert_eq!(count("state", somebody("ann", "c1")), "1");
    assert_eq!(count("state", somebody("ann", "c1")), "1");
    assert_eq!(count("kept", somebody("ann", "c1")), "1");
    assert_eq!(count("kept", somebody("ann", "c1")), "2");
    assert_eq!(count("kept", somebody("bob", "c1")), "1");
    assert_eq!(count("kept", somebody("ann", "c2")), "1");
    let script = Script::python(
        "import asyncio\nfrom tools import aio\n\
         sorted(await asyncio.gather(*(aio.kept.count_here() for _ in range(5))))",
    );
    assert_eq!(value(&host.run(script)), json!(["1", "2", "3", "4", "5"]), "they take turns");
}

#[test]
fn a_kept_instance_that_breaks_down_is_lost_alone() {
    let host = Configured::new(|folder| {
        install_as(folder, "kept", "state", &[]);
        "[plugins.kept]\nstateful = \"10m\"\n".to_owned()
    });
    let count = |options| text(call(&host, "kept.count_here", json!({}), options));
    let keep = |options| text(call(&host, "kept.count", json!({}), options));
    assert_eq!(count(somebody("ann", "c1")), "1");
    assert_eq!(count(somebody("ann", "c1")), "2");
    assert_eq!(count(somebody("ann", "c2")), "1");
    assert_eq!(count(somebody("bob", "c1")), "1");
    assert_eq!(keep(somebody("ann", "c1")), "1");
    let words = json!({"words": "the roof is on fire"});
    let error = call(&host, "kept.break_down", words, somebody("ann", "c1"));
    let error = error.expect_err("it broke down");
    assert_eq!(error.kind(), "unavailable");
    for part in ["`kept.break_down` broke down", "the roof is on fire", "nothing else is harmed"] {
        assert!(error.message().contains(part), "{}", error.message());
    }
    assert_eq!(count(somebody("ann", "c1")), "1", "a new instance");
    assert_eq!(count(somebody("ann", "c1")), "2", "which is kept");
    assert_eq!(keep(somebody("ann", "c1")), "2", "what it keeps is no part of the instance");
    assert_eq!(count(somebody("ann", "c2")), "2", "another connection's lives on");
    assert_eq!(count(somebody("bob", "c1")), "2", "another caller's lives on");
    // Calls that wait for their turn beside the one that breaks down are made all the same.
    let code = "
import asyncio
from tools import aio
calls = [aio.kept.count_here(), aio.kept.break_down(words='x'), aio.kept.count_here()]
[type(it).__name__ for it in await asyncio.gather(*calls, return_exceptions=True)]";
    assert_eq!(value(&host.python(code)), json!(["str", "ToolUnavailable", "str"]));
}

#[test]
fn an_answer_that_does_not_fit_its_own_schema_is_an_error_that_names_the_place() {
    let host = Configured::new(|folder| {
        install(folder, "liar_answers", &[]);
        String::new()
    });
    let tried = |tool: &str, answer: Value| {
        call(&host, &format!("liar_answers.{tool}"), answer, CallOptions::default())
    };
    tried("give", json!({"count": 1, "hits": [{"title": "a"}]})).expect("it fits");
    for (tool, answer, parts) in [
        ("give", json!({"count": "one"}), [" at /count: ", "\"one\" is not of type \"integer\""]),
        ("give", json!({"count": 1, "hits": [{"title": "a"}, {}]}), [" at /hits/1: ", "\"title\""]),
        ("give", json!({}), ["schema: ", "\"count\" is a required property"]),
        ("be_silent", json!({}), ["schema: ", "no structured content"]),
    ] {
        let error = tried(tool, answer).expect_err("it does not fit");
        assert_eq!(error.kind(), "unavailable");
        let words = error.message();
        let begin = format!("the answer of `liar_answers.{tool}` does not fit its output schema");
        assert!(words.starts_with(&begin) && words.contains("a fault of the plugin's"), "{words}");
        assert!(parts.iter().all(|part| words.contains(part)), "{words}");
    }
    let huge = tried("give", json!({"count": "x".repeat(100_000)})).expect_err("does not fit");
    assert!(huge.message().len() < 2_000, "{}", huge.message().len());
    let failed = tried("fail", json!({"count": "one"})).expect("it is the tool's own word");
    assert!(failed.is_error);
    let code = "
try:
    tools.liar_answers.give(count='one')
except tools.ToolUnavailable as error:
    result = str(error)";
    let told = value(&host.python(code)).to_string();
    assert!(told.contains("does not fit its output schema at /count"), "{told}");
}

#[test]
fn a_call_that_nobody_wants_any_more_takes_the_plugins_own_calls_with_it() {
    let host = Configured::new(|folder| {
        install(folder, "caller", &["x.*"]);
        fs::write(folder.join("log"), "").expect("a file can be written");
        server(folder)
            + "[servers.files]\nbuiltin = \"files\"\nroots = { here = \".\" }\n\
               [plugins.caller]\ntools = [\"x.*\"]\n"
    });
    let code = "
import asyncio
from tools import aio
task = asyncio.create_task(aio.caller.call(tool='x.slow', arguments={'ms': 60000}))
while 'call slow' not in (await aio.files.read_file(path='here/log'))['text']:
    await asyncio.sleep(0.01)
task.cancel()
await asyncio.wait([task])
'done'";
    assert_eq!(value(&host.python(code)), json!("done"));
    wait_until(PATIENCE, "the server hears of it", || host.read("log").contains("cancelled"));
}

#[test]
fn a_plugins_run_has_a_record_like_that_of_a_script_that_does_the_same() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    install(folder.path(), "caller", &["x.*"]);
    let file = folder.path().join("toolcell.toml");
    let toml = server(folder.path()) + "[plugins.caller]\ntools = [\"x.*\"]\n";
    fs::write(&file, toml).expect("a file can be written");
    let store = Arc::new(MemoryStore::default());
    let journal: Arc<dyn JournalStore> = store.clone();
    let builder = Host::builder().config_file(file).cache_folder(cache_folder());
    let host =
        block_on(builder.journal(journal).ready_instances(0).build()).expect("a host starts");
    let recorded = |run: &RunId| -> Vec<String> {
        let entries = block_on(store.entries(run)).expect("the run has a record");
        let told = entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::Requested { call, tool, arguments, .. } => {
                Some(format!("{call} {tool} {arguments}"))
            }
            EntryKind::Completed { call, answer } => Some(match answer.as_ref() {
                Ok(output) => format!("{call} = {}", output.first_text()),
                Err(error) => format!("{call} = {}", error.kind()),
            }),
            EntryKind::Refused { call, tool, kind } => Some(format!("{call} {tool} {kind}")),
            EntryKind::Ended { outcome } => Some(outcome.clone()),
            _ => None,
        });
        told.collect()
    };
    let script = "from tools import x\nx.echo(text='a')\nx.add(a=1, b=2)\n'done'";
    let script = block_on(host.run(Script::python(script))).expect("it runs");
    let orders = json!([
        {"tool": "x.echo", "arguments": {"text": "a"}},
        {"tool": "x.add", "arguments": {"a": 1, "b": 2}},
    ]);
    let code = "from tools import caller\ncaller.in_turn(orders=inputs)\n'done'";
    let report = block_on(host.run(Script::python(code).input(orders))).expect("it runs");
    assert!(report.ok, "{report:#?}");
    let nested = report.calls[0].run.clone().expect("the call was a run");
    assert_eq!(recorded(&nested), recorded(&script.run));
    let entries = block_on(store.entries(&nested)).expect("has a record");
    let EntryKind::Started { name, plugin: Some(origin), .. } = &entries[0].kind else {
        panic!("{entries:#?}")
    };
    assert_eq!((name.as_str(), &origin.parent), ("caller.in_turn", &report.run));
    assert_eq!((origin.call.0, origin.version.as_deref()), (1, Some("1.2.3")));
    assert_eq!(origin.digest.as_ref().map(|digest| digest.len()), Some(64));
    block_on(host.close());
}

#[test]
fn a_bad_plugin_stops_nobody_and_a_bad_new_file_keeps_the_old_one() {
    let host = Configured::new(|folder| {
        install(folder, "trapper", &[]);
        install(folder, "liar_duplicates", &[]);
        fs::write(folder.join("plugins/junk.wasm"), "no wasm").expect("a file can be written");
        String::new()
    });
    let standing = |name: &str| {
        let infos = host.host.plugins().list();
        let info = infos.into_iter().find(|info| info.name.as_str() == name);
        let info = info.unwrap_or_else(|| panic!("there is no {name}"));
        (info.state, info.problem.unwrap_or_default())
    };
    let fine = || text(call(&host, "trapper.fine", json!({}), CallOptions::default()));
    assert_eq!(fine(), "fine");
    let (state, problem) = standing("junk");
    assert_eq!(state, PluginStanding::Failed);
    assert!(problem.contains("not WebAssembly"), "{problem}");
    assert_eq!(standing("liar_duplicates").0, PluginStanding::Failed);
    let error =
        call(&host, "junk.tool", json!({}), CallOptions::default()).expect_err("is refused");
    assert_eq!(error.kind(), "unavailable");
    assert!(error.message().contains("plugin junk cannot be used"), "{}", error.message());

    // A new file that breaks off: the old one stays in force.
    let file = host.path("plugins/trapper.wasm");
    let good = fs::read(&file).expect("can be read");
    fs::write(&file, &good[..good.len() / 2]).expect("can be written");
    let reload = || {
        let config = (*host.host.config()).clone();
        block_on(async {
            host.host.reload(config).expect("reloads");
            host.host.load_plugins().await;
        });
    };
    reload();
    assert_eq!(fine(), "fine");
    let (state, problem) = standing("trapper");
    assert_eq!(state, PluginStanding::Ready);
    assert!(problem.contains("the one before stays in force"), "{problem}");
    // Another one that is good takes its place.
    fs::copy(guest("state"), &file).expect("a file can be copied");
    reload();
    assert_eq!(standing("trapper"), (PluginStanding::Ready, String::new()));
    assert_eq!(text(call(&host, "trapper.count", json!({}), CallOptions::default())), "1");
    // Once it is gone, it is gone.
    fs::remove_file(&file).expect("can be removed");
    reload();
    let gone = call(&host, "trapper.count", json!({}), CallOptions::default());
    assert_eq!(gone.expect_err("is gone").kind(), "unknown-tool");
}
