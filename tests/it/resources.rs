//! Resources, templates and prompts: listed, read, granted, watched.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use toolcell::ids::UpstreamName;
use toolcell::tool::ContentBlock;
use toolcell::upstream::{Access, CallContext, Caller, ResourceBody, UpstreamError};
use toolcell_tests::{Server, fixtures};

use crate::hosts::{Configured, block_on};

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
