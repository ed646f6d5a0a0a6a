//! Attacks on the bridge for web clients. In 2026 a page that a browsing agent read could make AutoGen
//! Studio's own bridge run any command: it trusted the Origin of localhost, asked for no credentials, and
//! took the command from the URL. That page's author is here, with friends.

use std::time::Duration;

use serde_json::{Value, json};
use toolcell_tests::web::{Bridged, named, stdio};
use toolcell_tests::{Marker, Serving, fixtures, wait_until};

use crate::hosts::block_on;

/// The command that the attacker wants to have run, and the file that shows that it did.
struct Loot {
    folder: tempfile::TempDir,
}

impl Loot {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn params(&self) -> Value {
        let file = self.folder.path().join("owned");
        stdio("sh", &["-c", &format!("touch {}", file.display())])
    }

    #[track_caller]
    fn is_safe(&self) {
        let stolen = std::fs::read_dir(self.folder.path()).expect("it is there").count();
        assert_eq!(stolen, 0, "the attacker's command ran");
    }
}

/// Standard base64, as the attacker's page has it.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let chunks = text.as_bytes().chunks(3).map(|chunk| {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        let digit = |nth: usize| char::from(DIGITS[(bits >> (18 - 6 * nth)) as usize & 63]);
        let shown: String = (0..=chunk.len()).map(digit).collect();
        format!("{shown:=<4}")
    });
    chunks.collect()
}

#[test]
fn the_published_attack_gets_nothing() {
    assert_eq!(base64("{\"a\":1}"), "eyJhIjoxfQ==");
    let bridged = Bridged::start(&fixtures::misbehaving("ok").toml("demo"));
    let loot = Loot::new();
    let encoded = base64(&loot.params().to_string());
    let port = bridged.serving().address().port();
    let origins = [
        // The page's own, a browser that an agent steers on this machine, none at all.
        Some("https://evil.example.com".to_owned()),
        Some("null".to_owned()),
        Some("http://localhost".to_owned()),
        Some(format!("http://localhost:{port}")),
        Some(format!("http://127.0.0.1:{port}")),
        None,
    ];
    block_on(async {
        for origin in &origins {
            let headers: Vec<_> = origin.iter().map(|origin| ("origin", &**origin)).collect();
            for path in [
                format!("/api/mcp/ws/x?server_params={encoded}"),
                "/api/mcp/ws/x".to_owned(),
                "/api/mcp/ws/x?token=".to_owned(),
                format!("/api/mcp/ws/x?token=&server_params={encoded}"),
                "/api/mcp/ws/00000000-0000-4000-8000-000000000000".to_owned(),
            ] {
                let refused = bridged.upgrade(&path, &headers).await;
                assert_eq!(refused.err(), Some(403), "{origin:?} {path}");
            }
        }
    });
    for origin in &origins {
        for authorization in [None, Some("Bearer "), Some("Bearer guess"), Some("Basic YTpi")] {
            let mut post = bridged.connect(&loot.params()).without("Authorization");
            if let Some(origin) = origin {
                post = post.header("Origin", origin);
            }
            if let Some(authorization) = authorization {
                post = post.header("Authorization", authorization);
            }
            let reply = post.send();
            assert!(matches!(reply.status, 401 | 403), "{reply:?}");
        }
    }
    // Whoever has the token still runs nothing that the operator has not written down.
    for params in [
        loot.params(),
        stdio("sh", &[]),
        stdio("/bin/sh", &["-c", "id"]),
        json!({ "type": "StreamableHttpServerParams", "url": "http://169.254.169.254/latest" }),
        json!({ "type": "SseServerParams", "url": "http://127.0.0.1:1/sse" }),
    ] {
        let reply = bridged.connect(&params).send();
        assert_eq!(reply.status, 403, "{reply:?}");
        assert!(!reply.body.contains("allow") && !reply.body.contains("demo"), "{reply:?}");
    }
    // A name of the attacker's that suddenly means this machine.
    for host in ["evil.example.com", "localhost.evil.example.com:7420"] {
        let reply = bridged.connect(&named("demo")).header("Host", host).send();
        assert_eq!(reply.status, 403, "{reply:?}");
        let status = bridged.serving().request("GET", "/api/mcp/ws/status/x").header("Host", host);
        assert_eq!(status.send().status, 403);
    }
    loot.is_safe();
    // The operator reads what would admit it.
    bridged.serving().process().wait_for_line("[server.bridge] allow = [{ command = \"sh\"");
}

#[test]
fn a_foreign_page_is_refused_even_with_a_good_ticket() {
    let bridged = Bridged::start(&fixtures::misbehaving("ok").toml("demo"));
    block_on(async {
        let ticket = bridged.ticket(&named("demo"));
        let evil = [("origin", "https://evil.example.com")];
        assert_eq!(bridged.upgrade(&ticket.url, &evil).await.err(), Some(403));
        let reply =
            bridged.connect(&named("demo")).header("Origin", "https://evil.example.com").send();
        assert_eq!(reply.status, 403);
        assert_eq!(reply.header("access-control-allow-origin"), None);
        // The owner's own page is not kept from it by that.
        let ours = [("origin", "http://localhost:5173")];
        bridged.upgrade(&ticket.url, &ours).await.expect("the ticket is good");
    });
}

#[test]
fn a_ticket_is_good_once_and_for_its_owner() {
    let bridged = Bridged::start(&fixtures::misbehaving("ok").toml("demo"));
    block_on(async {
        let ticket = bridged.ticket(&named("demo"));
        let (path, _) = ticket.url.split_once('?').expect("it has a token");
        let other = bridged.ticket(&named("demo"));
        let (_, others_token) = other.url.split_once('?').expect("it has a token");
        for wrong in [
            path.to_owned(),
            format!("{path}?{others_token}"),
            format!("{path}?token={}", "0".repeat(64)),
            format!("{}&token={}", ticket.url, "0".repeat(64)),
            format!("{}&server_params=e30=", ticket.url),
            ticket.url.replace("token", "Token"),
        ] {
            assert_eq!(bridged.upgrade(&wrong, &[]).await.err(), Some(403), "{wrong}");
        }
        let wrong = [("authorization", "Bearer guess")];
        assert_eq!(bridged.upgrade(path, &wrong).await.err(), Some(403));
        let mut first = bridged.upgrade(&ticket.url, &[]).await.expect("guesses cost nothing");
        assert_eq!(bridged.upgrade(&ticket.url, &[]).await.err(), Some(403), "used");
        first.next_of("initialized").await;
        // Without a token in the URL, the header does.
        let (path, _) = other.url.split_once('?').expect("it has a token");
        let header = format!("Bearer {}", bridged.token());
        let mut second =
            bridged.upgrade(path, &[("authorization", &header)]).await.expect("it is ours");
        second.next_of("initialized").await;
        // Whose session it is, is nobody's business.
        for token in [None, Some("guess")] {
            let told = bridged.status_as(&ticket.id, token).json();
            let wanted =
                json!({ "status": false, "message": "Session not found", "session_id": ticket.id });
            assert_eq!(told, wanted);
        }
    });
}

#[test]
fn a_ticket_expires_and_tickets_are_counted() {
    let more = "[server.bridge]\nticket_lifetime = \"300ms\"\nmax_sessions = 3\n";
    let bridged = Bridged::start(&format!("{more}{}", fixtures::misbehaving("ok").toml("demo")));
    let ticket = bridged.ticket(&named("demo"));
    bridged.ticket(&named("demo"));
    wait_until(Duration::from_secs(5), "there is room again", || {
        bridged.connect(&named("demo")).send().status == 200
    });
    wait_until(Duration::from_secs(5), "there are too many", || {
        bridged.connect(&named("demo")).send().status == 503
    });
    wait_until(Duration::from_secs(5), "they have expired", || {
        bridged.connect(&named("demo")).send().status == 200
    });
    block_on(async {
        assert_eq!(bridged.upgrade(&ticket.url, &[]).await.err(), Some(403));
    });
}

#[test]
fn sessions_belong_to_callers() {
    let tokens = "[server.bridge]\n[server.tokens.ada]\ntoken = \"ada-ada-ada-ada-ada\"\n\
                  [server.tokens.bob]\ntoken = \"bob-bob-bob-bob-bob\"\nprofiles = [\"other\"]\n\
                  [profiles.default]\ntools = [\"*\"]\n[profiles.other]\ntools = [\"*\"]\n";
    let toml = format!(
        "default_profile = \"default\"\n{tokens}{}",
        fixtures::misbehaving("ok").toml("demo")
    );
    let serving = Serving::start(&toml);
    let post = |token: &str| {
        let body = json!({ "server_params": named("demo") });
        let post = serving.request("POST", "/api/mcp/ws/connect");
        let post = post.header("Content-Type", "application/json").body(body.to_string());
        post.header("Authorization", &format!("Bearer {token}")).send()
    };
    assert_eq!(post("nobody-nobody-nobody").status, 401);
    assert_eq!(post("bob-bob-bob-bob-bob").status, 403, "the profile is not open to him");
    assert_eq!(post("ada-ada-ada-ada-ada").status, 200);
    let output = serving.stop();
    assert!(!output.stderr.contains("the bridge's token"), "there are credentials already");
}

#[test]
fn what_the_operator_admits_is_no_more_than_that() {
    let marker = Marker::new();
    let server = fixtures::misbehaving("ok");
    let command = server.command().get_program().to_str().expect("UTF-8").to_owned();
    let toml = format!(
        "[server.bridge]\nallow = [{{ command = {}, args = [\"o*\"] }}, {{ url = \
         \"https://*.example.com/mcp\" }}]\n",
        json!(command)
    );
    let bridged = Bridged::start(&toml);
    let with = |member: &str, value: Value| {
        let mut params = stdio(&command, &["ok"]);
        params[member] = value;
        params
    };
    let http = |url: &str| json!({ "type": "StreamableHttpServerParams", "url": url });
    let headers = |headers: Value| {
        let mut params = http("https://a.example.com/mcp");
        params["headers"] = headers;
        params
    };
    for refused in [
        stdio(&command, &[]),
        stdio(&command, &["ok", "--more"]),
        stdio(&command, &["o/../../x"]),
        stdio(&format!("{command} "), &["ok"]),
        stdio("misbehaving-mcp", &["ok"]),
        with("env", json!({ "LD_PRELOAD": "/tmp/evil.so" })),
        with("env", json!({ "PATH": "/tmp" })),
        with("env", json!({ (Marker::VARIABLE): marker.as_str() })),
        with("cwd", json!("/tmp")),
        with("encoding", json!("utf-7")),
        with("command", json!(format!("{command}\0"))),
        http("http://a.example.com/mcp"),
        http("https://example.com/mcp"),
        http("https://a.example.com@evil.test/mcp"),
        http("https://evil.test/mcp#.example.com/mcp"),
        http("https://a.example.com/mcp?x=1"),
        http("file:///etc/passwd"),
        headers(json!({ "Host": "evil.test" })),
        headers(json!({ "X": "a\r\nY: b" })),
        headers(json!({ "X": ["a"] })),
    ] {
        let reply = bridged.connect(&refused).send();
        assert_eq!(reply.status, 403, "{refused}: {reply:?}");
    }
    for admitted in [stdio(&command, &["ok"]), headers(json!({ "X-Key": "k", "N": 1 }))] {
        assert_eq!(bridged.connect(&admitted).send().status, 200, "{admitted}");
    }
    marker.assert_nothing_survives();
}

#[test]
fn without_its_table_there_is_no_bridge() {
    let serving = Serving::start(&fixtures::misbehaving("ok").toml("demo"));
    for (method, path) in
        [("POST", "/api/mcp/ws/connect"), ("GET", "/api/mcp/ws/x"), ("GET", "/api/mcp/ws/status/x")]
    {
        assert_eq!(serving.request(method, path).send().status, 404, "{method} {path}");
    }
}

#[test]
fn requests_that_are_none_are_told_what_is_wrong() {
    let bridged = Bridged::start("");
    let post = |body: &str| bridged.connect(&json!({})).body(body).send();
    for (body, kind, at) in [
        ("", "missing", json!(["body"])),
        ("{", "json_invalid", json!(["body", 0])),
        ("[]", "model_attributes_type", json!(["body"])),
        ("{}", "missing", json!(["body", "server_params"])),
        (r#"{"server_params":{}}"#, "union_tag_not_found", json!(["body", "server_params"])),
        (
            r#"{"server_params":{"type":"x"}}"#,
            "union_tag_invalid",
            json!(["body", "server_params"]),
        ),
        (
            r#"{"server_params":{"type":"SseServerParams"}}"#,
            "missing",
            json!(["body", "server_params", "SseServerParams", "url"]),
        ),
    ] {
        let reply = post(body);
        assert_eq!(reply.status, 422, "{body}: {reply:?}");
        let finding = &reply.json()["detail"][0];
        assert_eq!(finding["type"], kind, "{body}: {finding}");
        if kind != "json_invalid" {
            assert_eq!(finding["loc"], at, "{body}");
        }
    }
    assert_eq!(bridged.connect(&json!({})).body(vec![b'"', 0xff, b'"']).send().status, 400);
    assert_eq!(bridged.connect(&json!({})).body(vec![b'x'; 300 << 10]).send().status, 413);
    let serving = bridged.serving();
    assert_eq!(serving.request("GET", "/api/mcp/ws/connect").send().status, 405);
    assert_eq!(serving.request("POST", "/api/mcp/ws/nowhere").send().status, 404);
    assert_eq!(serving.request("POST", "/api/mcp/ws/status/x").send().status, 405);
}
