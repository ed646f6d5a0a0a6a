//! Resources, templates and prompts: listed, read, granted, watched.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use toolcell::Script;
use toolcell::ids::UpstreamName;
use toolcell::tool::ContentBlock;
use toolcell::upstream::{Access, CallContext, Caller, ResourceBody, UpstreamError};
use toolcell_tests::{Cli, Server, fixtures};

use crate::hosts::{Configured, block_on, value};

const TIME: Duration = Duration::from_secs(20);

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("JSON")
}

fn access(host: &Configured) -> Access {
    host.host.upstreams().access(Caller::anonymous())
}

fn name() -> UpstreamName {
    UpstreamName::try_new("x").expect("a name")
}

/// The server as `x`, with a log where it keeps one.
fn configured(server: &Server, more: &str) -> Configured {
    Configured::new(|folder| {
        let log = folder.join("log");
        let server = server.clone().env("MISBEHAVING_LOG", log.to_str().expect("UTF-8"));
        server.toml("x") + more
    })
}

/// A server of the Python SDK, which speaks both eras; we take the modern one.
fn python_server() -> Configured {
    const SOURCE: &str = r#"
from mcp.server import MCPServer

server = MCPServer("notes")

@server.resource("note://today", mime_type="text/plain")
def today() -> str:
    return "water the plants"

@server.resource("note://icon", mime_type="image/png")
def icon() -> bytes:
    return b"\x89PNG"

@server.resource("note://{day}/of")
def of(day: str) -> str:
    return f"nothing on {day}"

@server.prompt()
def remind(who: str, tone: str = "kind") -> str:
    return f"remind {who}, be {tone}"

server.run("stdio")
"#;
    Configured::new(|folder| {
        let file = folder.join("server.py");
        std::fs::write(&file, SOURCE).expect("a temporary file can be written");
        let file = file.to_str().expect("UTF-8");
        Server::stdio(fixtures::python_with_mcp(), &[file]).toml("x")
    })
}

#[test]
fn a_real_legacy_servers_resources_and_prompts_are_listed_and_read() {
    let host = configured(&fixtures::everything_stdio(), "");
    let (access, name) = (access(&host), name());
    block_on(async {
        let resources = access.resources(&name).await.expect("are listed");
        let features = "demo://resource/static/document/features.md";
        let found = resources.items.iter().find(|it| &*it.uri == features).expect("is listed");
        assert_eq!(found.mime_type.as_deref(), Some("text/markdown"));
        let read = access.read_resource(&name, features, TIME, CallContext::default()).await;
        let parts = read.expect("is read").contents();
        assert!(matches!(&parts[0].body, ResourceBody::Text(text) if text.contains("Features")));

        let templates = access.resource_templates(&name).await.expect("are listed");
        let blobs = "demo://resource/dynamic/blob/{resourceId}";
        assert!(templates.items.iter().any(|it| &*it.uri_template == blobs), "{templates:#?}");
        let blob = "demo://resource/dynamic/blob/7";
        let read = access.read_resource(&name, blob, TIME, CallContext::default()).await;
        let parts = read.expect("is read").contents();
        assert!(
            matches!(&parts[0].body, ResourceBody::Blob(bytes) if bytes.starts_with(b"Resource 7"))
        );

        let prompts = access.prompts(&name).await.expect("are listed");
        let prompt = prompts.items.iter().find(|it| &*it.name == "args-prompt").expect("is there");
        let required: Vec<_> = prompt.arguments.iter().map(|it| (&*it.name, it.required)).collect();
        assert_eq!(required, [("city", true), ("state", false)]);
        let arguments = raw(&json!({"city": "Graz"}));
        let context = CallContext::default();
        let filled = access.get_prompt(&name, "args-prompt", &arguments, TIME, context).await;
        let messages = filled.expect("is filled in").messages();
        assert!(
            matches!(&messages[0].content, ContentBlock::Text(text) if text == "What's weather in Graz?")
        );

        let reference = raw(&json!({"type": "ref/prompt", "name": "completable-prompt"}));
        let argument = raw(&json!({"name": "department", "value": "Sa"}));
        let asked = (&*reference, &*argument, None);
        let completed = access.complete(&name, asked, TIME, CallContext::default()).await;
        assert!(completed.expect("is completed").get().contains("Sales"));
    });
}

#[test]
fn a_real_modern_servers_too() {
    let host = python_server();
    let (access, name) = (access(&host), name());
    block_on(async {
        let era = access.catalog(&name).await.expect("is listed").era;
        assert_eq!(era.name(), "modern");
        let resources = access.resources(&name).await.expect("are listed");
        let uris: Vec<_> = resources.items.iter().map(|it| &*it.uri).collect();
        assert_eq!(uris, ["note://today", "note://icon"]);
        let templates = access.resource_templates(&name).await.expect("are listed");
        assert_eq!(&*templates.items[0].uri_template, "note://{day}/of");
        for (uri, expected) in [
            ("note://today", ResourceBody::Text("water the plants".into())),
            ("note://icon", ResourceBody::Blob(b"\x89PNG".as_slice().into())),
            ("note://monday/of", ResourceBody::Text("nothing on monday".into())),
        ] {
            let read = access.read_resource(&name, uri, TIME, CallContext::default()).await;
            assert_eq!(read.expect("is read").contents()[0].body, expected);
        }
        let context = CallContext::default;
        let gone = access.read_resource(&name, "note://never", TIME, context()).await;
        assert!(matches!(gone, Err(UpstreamError::Rejected { .. })), "{gone:?}");
        let arguments = raw(&json!({"who": "ada"}));
        let filled = access.get_prompt(&name, "remind", &arguments, TIME, context()).await;
        let messages = filled.expect("is filled in").messages();
        assert!(
            matches!(&messages[0].content, ContentBlock::Text(text) if text == "remind ada, be kind")
        );
    });
}

#[test]
fn changes_of_a_resource_are_told_to_who_listens() {
    let host = configured(&fixtures::everything_stdio(), "");
    let (access, name) = (access(&host), name());
    block_on(async {
        let uri = "demo://resource/dynamic/text/1";
        let mut updates =
            access.resource_updates(&name, uri, TIME).await.expect("can be listened to");
        // The server now sends an update at once, and again every five seconds.
        let toggle = toolcell::ids::ToolName::parse("x.toggle-subscriber-updates").expect("a name");
        access
            .call(&toggle, &raw(&json!({})), TIME, CallContext::default())
            .await
            .expect("answers");
        let told = tokio::time::timeout(TIME, updates.next()).await;
        assert_eq!(told.expect("in time").as_deref(), Some(uri));
    });
}

#[test]
fn a_list_is_kept_until_the_server_says_that_it_changed() {
    for flag in ["--legacy", "--modern"] {
        let host = configured(&fixtures::misbehaving("changes-resources").arg(flag), "");
        let (access, name) = (access(&host), name());
        block_on(async {
            for expected in [1, 1, 1] {
                assert_eq!(access.resources(&name).await.expect("listed").items.len(), expected);
            }
            let read = access.read_resource(&name, "x://1", TIME, CallContext::default()).await;
            let read = read.expect("is read");
            assert!(read.raw().get().contains(r#""_meta":{"own":1}"#), "{}", read.raw());
            assert_eq!(access.resources(&name).await.expect("listed").items.len(), 2);
        });
        let log = host.read("log");
        let lists = log.lines().filter(|line| *line == "resources/list").count();
        assert_eq!(lists, 2, "{flag}\n{log}");
    }
}

#[test]
fn lists_without_end_or_sense_are_cut_and_odd_contents_are_refused_in_words() {
    let host = configured(&fixtures::misbehaving("odd-offers"), "");
    let (access, name) = (access(&host), name());
    block_on(async {
        let resources = access.resources(&name).await.expect("are listed");
        assert_eq!(resources.items.len(), 1000, "one of each page");
        let last = resources.problems.last().expect("there are problems");
        assert!(last.contains("problems more"), "{last}");
        let templates = access.resource_templates(&name).await.expect("none is no error");
        assert!(templates.items.is_empty());
        let prompts = access.prompts(&name).await.expect("are listed");
        assert_eq!((prompts.items.len(), prompts.problems.len()), (1, 3), "{prompts:#?}");
        let context = CallContext::default;
        let odd = access.read_resource(&name, "x://odd", TIME, context()).await;
        let odd = odd.expect_err("is no content").to_string();
        assert!(odd.contains("neither text nor blob"), "{odd}");
        let empty = access.read_resource(&name, "x://empty", TIME, context()).await;
        assert!(empty.expect("is an answer").contents().is_empty());
    });
}

#[test]
fn a_server_that_has_none_is_not_even_asked() {
    let host = configured(&fixtures::misbehaving("ok"), "");
    let (access, name) = (access(&host), name());
    block_on(async {
        assert!(access.resources(&name).await.expect("none").items.is_empty());
        assert!(access.resource_templates(&name).await.expect("none").items.is_empty());
        assert!(access.prompts(&name).await.expect("none").items.is_empty());
    });
    let log = host.read("log");
    assert!(!log.contains("/list"), "{log}");
}

/// A profile that grants nothing but these.
fn profile(resources: &[&str], prompts: &[&str]) -> String {
    format!("[profiles.p]\nresources = {}\nprompts = {}\n", json!(resources), json!(prompts))
}

#[test]
fn a_script_lists_and_reads_what_is_granted_and_nothing_else() {
    let grants = profile(&["x:demo://resource/static/*"], &["x.simple-*"]);
    let host = configured(&fixtures::everything_stdio(), &grants);
    let code = "
import asyncio, resources, prompts
def refused(ask):
    try:
        return ask()
    except tools.UnknownTool as error:
        return str(error)
static = [r.uri for r in resources.list('x')]
text = resources.read('x', static[0])
both = await asyncio.gather(*(resources.aio.read('x', uri) for uri in static[:2]))
{
    'servers': [resources.servers(), prompts.servers(), list(tools)],
    'static': all(uri.startswith('demo://resource/static/') for uri in static) and len(static) > 3,
    'templates': [t.uri_template for t in resources.templates('x')],
    'same': both[0] == text and both[1] != text and len(text) > 100,
    'dynamic': refused(lambda: resources.read('x', 'demo://resource/dynamic/text/1')),
    'climbing': refused(lambda: resources.read('x', 'demo://resource/static/../dynamic/text/1')),
    'prompts': [p.name for p in prompts.list('x')],
    'said': [[m.role, m.content] for m in prompts.get('x', 'simple-prompt')],
    'other': refused(lambda: prompts.get('x', 'args-prompt', city='Graz')),
    'nowhere': refused(lambda: resources.list('y')),
}";
    let report = host.python(code);
    let seen = value(&report);
    assert_eq!(seen["servers"], json!([["x"], ["x"], []]));
    for key in ["static", "same"] {
        assert_eq!(seen[key], true, "{key}: {seen:#}");
    }
    assert_eq!(seen["templates"], json!([]), "none of them is granted");
    assert_eq!(seen["prompts"], json!(["simple-prompt"]));
    assert_eq!(seen["said"], json!([["user", "This is a simple prompt without arguments."]]));
    for (key, what) in [
        ("dynamic", "no resource `x:demo://resource/dynamic/text/1` is granted"),
        ("climbing", "no resource `x:demo://resource/static/../dynamic/text/1` is granted"),
        ("other", "no prompt `x.args-prompt` is granted"),
        ("nowhere", "no resource of a server `y` is granted"),
    ] {
        assert!(seen[key].as_str().is_some_and(|text| text.contains(what)), "{key}: {seen:#}");
    }
    let calls: Vec<_> = report.calls.iter().map(|it| (it.method.name(), it.ok)).collect();
    assert_eq!(calls.iter().filter(|(method, ok)| *method == "resources/read" && *ok).count(), 3);
    assert_eq!(calls.iter().filter(|(method, ok)| *method == "prompts/get" && *ok).count(), 1);
    assert_eq!((calls.len(), report.usage.tool_calls), (7, 7), "{calls:?}");
}

#[test]
fn a_profile_that_says_nothing_of_them_grants_none_and_one_that_is_not_there_all() {
    let code = "import resources, prompts\n[resources.servers(), prompts.servers()]";
    let host = configured(&fixtures::misbehaving("odd-offers"), "[profiles.p]\ntools = [\"*\"]\n");
    assert_eq!(value(&host.python(code)), json!([[], []]));
    let host = configured(&fixtures::misbehaving("odd-offers"), "");
    assert_eq!(value(&host.python(code)), json!([["x"], ["x"]]));
}

#[test]
fn reads_and_prompts_are_bounded_and_checked_as_calls_are() {
    let host = configured(&fixtures::misbehaving("odd-offers"), &profile(&["x:x://*"], &["x"]));
    let code = "
import resources, prompts
def failure(ask):
    try:
        return ask()
    except tools.ToolError as error:
        return f'{type(error).__name__}: {error}'
{
    'big': failure(lambda: resources.read('x', 'x://big')),
    'gone': failure(lambda: resources.read('x', 'x://gone')),
    'denied': failure(lambda: resources.read('x', 'y://gone')),
    'blob': resources.read('x', 'x://1')[1].value == b'hi',
    'lacks': failure(lambda: prompts.get('x', 'good')),
    'filled': prompts.get('x', 'good', who='ada', how=3)[0].content,
    'unlisted': failure(lambda: prompts.get('x', 'gold', who='ada')),
}";
    let seen = value(&host.python(code));
    let text = |key: &str| seen[key].as_str().unwrap_or_default().to_owned();
    assert!(text("big").starts_with("LimitExceeded: the answer of `x:x://big` is"), "{seen:#}");
    // Whether it is not there or not granted makes no difference.
    assert_eq!(text("gone").replace("x://gone", "URI"), text("denied").replace("y://gone", "URI"));
    assert!(text("gone").starts_with("UnknownTool: no resource"), "{seen:#}");
    assert_eq!(seen["blob"], true);
    assert!(text("lacks").starts_with("InvalidArguments: "), "{seen:#}");
    assert!(text("lacks").contains("\"who\" is missing"), "{seen:#}");
    assert_eq!(text("filled"), r#"{"who":"ada","how":"3"}"#);
    assert!(text("unlisted").contains("nearest granted: x.good"), "{seen:#}");
}

#[test]
fn what_a_run_is_given_for_meta_goes_along_with_its_requests() {
    let host = configured(&fixtures::misbehaving("odd-offers"), "");
    let code = "import json, resources\njson.loads(resources.read('x', 'x://1')[0].value)";
    let meta = json!({"traceparent": "00-ab-cd-01", "own": {"n": 1}});
    let script = Script::python(code).meta(meta.as_object().expect("an object").clone());
    let seen = value(&host.run(script));
    assert_eq!((&seen["traceparent"], &seen["own"]), (&meta["traceparent"], &meta["own"]));
    assert_eq!(seen["io.modelcontextprotocol/protocolVersion"], "2026-07-28", "{seen:#}");
    let level = &seen["io.modelcontextprotocol/logLevel"];
    assert!(level.is_null(), "nobody watches, so nobody wants a log: {seen:#}");
    let long = json!({"x": "x".repeat(20 << 10)}).as_object().expect("an object").clone();
    let refused = block_on(host.host.run(Script::python("1").meta(long))).expect_err("is too long");
    assert!(refused.to_string().contains("may be 16384"), "{refused}");
}

#[test]
fn the_command_line_lists_reads_and_fills_in() {
    let toml =
        fixtures::everything_stdio().toml("x") + &profile(&["x:demo://resource/static/*"], &["x"]);
    let cli = |command: &str| Cli::new(command).config(&toml);
    let resources = cli("resources").run().success();
    assert!(
        resources.stdout.contains("+ demo://resource/static/document/features.md"),
        "{resources}"
    );
    assert!(
        resources.stdout.contains("- demo://resource/dynamic/text/{resourceId}"),
        "{resources}"
    );
    let listed = cli("resources").args(["x", "--json"]).run().success().json();
    assert_eq!(listed["servers"][0]["resources"][0]["granted"], true, "{listed:#}");
    let uri = "demo://resource/static/document/features.md";
    let read = cli("read").args(["x", uri]).run().success();
    assert!(read.stdout.contains("Features"), "{read}");
    let read = cli("read").args(["x", uri, "--json"]).run().success().json();
    assert_eq!(read["contents"][0]["uri"], uri);
    let refused = cli("read").args(["x", "demo://resource/dynamic/text/1"]).run().expect_code(2);
    assert!(refused.stderr.contains("is granted to this run"), "{refused}");
    let prompts = cli("prompts").run().success();
    assert!(prompts.stdout.contains("+ args-prompt(city, state?)"), "{prompts}");
    let prompt =
        cli("prompt").args(["x.args-prompt", "--args", r#"{"city":"Graz"}"#]).run().success();
    assert_eq!(prompt.stdout, "user: What's weather in Graz?\n", "{prompt}");
}
