//! Servers over HTTP, good and bad, played by a few lines of HTTP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{call, call_within, http, only, upstream_name};
use crate::tool::Phase;
use crate::upstream::settings::{HttpSettings, Secret, TransportSettings};
use crate::upstream::{Caller, Era, UpstreamError};

const MAX_BODY_BYTES: usize = 1 << 20;

/// What a server sees of one request.
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Value,
}

impl Seen {
    pub(super) fn rpc(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    pub(super) fn tool(&self) -> &str {
        self.body["params"]["name"].as_str().unwrap_or_default()
    }

    /// What happened, as it stands in a [`Log`].
    pub(super) fn logged(&self) -> String {
        match self.rpc() {
            "" => self.method.clone(),
            rpc => rpc.to_owned(),
        }
    }

    pub(super) fn message(&self, result: Value) -> String {
        json!({ "jsonrpc": "2.0", "id": self.body["id"], "result": result }).to_string()
    }

    fn answer(&self, result: Value) -> Played {
        played(200, "application/json", &self.message(result))
    }

    fn text(&self, text: &str) -> Played {
        self.answer(json!({ "content": [{ "type": "text", "text": text }] }))
    }
}

/// What it answers, head included. The connection is closed afterwards, unless it is held.
pub(super) struct Played {
    pub(super) bytes: Vec<u8>,
    pub(super) hold: bool,
}

pub(super) fn played(status: u16, kind: &str, body: &str) -> Played {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close"
    );
    Played { bytes: format!("{head}\r\n\r\n{body}").into_bytes(), hold: false }
}

pub(super) fn stream(text: &str, hold: bool) -> Played {
    let head = "HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    Played { bytes: format!("{head}{text}").into_bytes(), hold }
}

fn with_header(mut played: Played, header: &str) -> Played {
    let text = String::from_utf8(played.bytes).unwrap();
    played.bytes = text.replacen("\r\n", &format!("\r\n{header}\r\n"), 1).into_bytes();
    played
}

/// Everything that happened, in order: `rpc method`, or `closed` for a held stream's end.
pub(super) type Log = Arc<Mutex<Vec<String>>>;

async fn serve(play: impl Fn(&Seen) -> Played + Send + Sync + 'static) -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let (play, log) = (Arc::new(play), Log::default());
    tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(exchange(socket, Arc::clone(&play), Arc::clone(&log)));
            }
        }
    });
    (url, log)
}

async fn exchange(
    socket: TcpStream,
    play: Arc<impl Fn(&Seen) -> Played + Send + Sync + 'static>,
    log: Log,
) -> Option<()> {
    let mut socket = BufReader::new(socket);
    let seen = read_request(&mut socket).await?;
    log.lock().unwrap().push(seen.logged());
    let answer = play(&seen);
    // The client may have gone, or may refuse to read on.
    let _ = socket.write_all(&answer.bytes).await;
    if answer.hold {
        let _ = socket.read(&mut [0; 1]).await;
        log.lock().unwrap().push("closed".to_owned());
    }
    Some(())
}

/// Reads one request, unless its body is too large for this server: then nothing is read any more.
pub(super) async fn read_request(socket: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    socket.read_line(&mut line).await.ok()?;
    let mut words = line.split(' ').map(ToOwned::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    assert!(!headers.contains_key("transfer-encoding"), "bodies have their length");
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    if length > MAX_BODY_BYTES {
        std::future::pending::<()>().await;
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Seen { method, path, headers, body })
}

/// The part of a legacy server that is the same in all tests; `None` for the rest.
pub(super) fn legacy(seen: &Seen, session: &str) -> Option<Played> {
    Some(match (seen.method.as_str(), seen.rpc()) {
        ("GET" | "DELETE", _) => played(405, "text/plain", ""),
        (_, "server/discover") => {
            let error = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Server not initialized"},"id":null}"#;
            played(400, "application/json", error)
        }
        (_, "initialize") => with_header(
            seen.answer(json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
                                "serverInfo": { "name": "played", "version": "1" } })),
            &format!("mcp-session-id: {session}"),
        ),
        (_, "notifications/initialized") => played(202, "text/plain", ""),
        _ => return None,
    })
}

fn modern(seen: &Seen) -> Option<Played> {
    (seen.rpc() == "server/discover").then(|| {
        assert_eq!(seen.headers["mcp-protocol-version"], "2026-07-28");
        seen.answer(json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"],
                            "capabilities": { "tools": {} }, "ttlMs": 0, "cacheScope": "private",
                            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "played", "version": "2" } } }))
    })
}

pub(super) async fn eventually(log: &Log, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !log.lock().unwrap().iter().any(|line| line == wanted) {
        assert!(Instant::now() < deadline, "no {wanted} in {:?}", log.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_server_that_forgot_the_session_gets_a_new_one_and_the_call_again() {
    let own = r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32001,"message":"Session not found"}}"#;
    let unnamed =
        r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"No valid session ID provided"}}"#;
    for (status, body) in [
        (404, "session?"),
        (400, "session?"),
        (404, own),
        (400, own),
        (404, unnamed),
        (400, unnamed),
    ] {
        let sessions = Mutex::new(0);
        let (url, log) = serve(move |seen| {
            let mut sessions = sessions.lock().unwrap();
            if seen.rpc() == "initialize" {
                *sessions += 1;
            }
            legacy(seen, &format!("session-{sessions}")).unwrap_or_else(|| {
                if seen.headers["mcp-session-id"] == "session-1" && seen.tool() == "second" {
                    let body = body.replace("ID", &seen.body["id"].to_string());
                    return played(status, "application/json", &body);
                }
                assert_eq!(seen.headers["mcp-protocol-version"], "2025-11-25");
                seen.text(&seen.headers["mcp-session-id"])
            })
        })
        .await;
        let upstreams = only(http(&url));
        assert_eq!(call(&upstreams, "first", "{}").await.unwrap().first_text(), "session-1");
        assert_eq!(call(&upstreams, "second", "{}").await.unwrap().first_text(), "session-2");
        let asked = log.lock().unwrap().iter().filter(|rpc| *rpc == "server/discover").count();
        assert_eq!(asked, 1, "the era is remembered");
    }
}

#[tokio::test]
async fn a_refusal_that_is_an_answer_is_not_taken_for_a_forgotten_session() {
    let (url, log) = serve(|seen| {
        legacy(seen, "1").unwrap_or_else(|| {
            let (status, code) = if seen.tool() == "none" { (404, -32601) } else { (400, -32602) };
            let error = json!({ "code": code, "message": "no, really" });
            let body = json!({ "jsonrpc": "2.0", "id": seen.body["id"], "error": error });
            played(status, "application/json", &body.to_string())
        })
    })
    .await;
    let upstreams = only(http(&url));
    for tool in ["none", "bad"] {
        let error = call(&upstreams, tool, "{}").await.unwrap_err();
        assert!(matches!(error, UpstreamError::Rejected { .. }), "{tool}: {error}");
    }
    let log = log.lock().unwrap();
    assert_eq!(log.iter().filter(|rpc| *rpc == "tools/call").count(), 2, "{log:?}");
}

#[tokio::test]
async fn a_server_that_does_not_read_is_noticed_while_it_is_written_to() {
    let (url, _) = serve(|seen| legacy(seen, "1").unwrap_or_else(|| seen.text("ok"))).await;
    let mut settings = super::settings("s", http(&url));
    settings.timeouts.write = Duration::from_millis(300);
    let upstreams = crate::upstream::Upstreams::new(vec![settings], None).unwrap();
    let arguments = |bytes: usize| json!({ "x": "x".repeat(bytes) }).to_string();
    call(&upstreams, "small", &arguments(MAX_BODY_BYTES / 2)).await.unwrap();
    // More than all the buffers between us hold.
    let error = call(&upstreams, "large", &arguments(64 << 20)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::TimedOut { phase: Phase::Write, .. }), "{error}");
    call(&upstreams, "small", &arguments(1)).await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_cannot_be_used_is_named_without_its_password() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (proxy, part) in [
        (format!("http://anna:hunter22@{gone}"), format!("through the proxy {gone}")),
        ("hunter22".to_owned(), "its proxy has to be a URL".to_owned()),
        ("ftp://anna:hunter22@x".to_owned(), "its proxy has to be a URL".to_owned()),
    ] {
        let settings = HttpSettings {
            proxy: Some(Secret::new(proxy)),
            ..HttpSettings::new("http://x.test/mcp")
        };
        let error = call(&only(TransportSettings::Http(settings)), "x", "{}").await.unwrap_err();
        let error = format!("{error} {error:?}");
        assert!(error.contains(&part) && !error.contains("hunter22"), "{error}");
    }
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, broken) = (folder.path().join("empty.pem"), folder.path().join("broken.pem"));
    std::fs::write(&empty, "# none\n").unwrap();
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    for (path, part) in [
        (folder.path().join("absent.pem"), "absent.pem cannot be read"),
        (empty, "empty.pem has no certificate"),
        (broken, "broken.pem"),
    ] {
        let settings =
            HttpSettings { ca_file: Some(path), ..HttpSettings::new("https://localhost:9/mcp") };
        let error = call(&only(TransportSettings::Http(settings)), "x", "{}").await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_to_the_same_origin_is_followed() {
    let (url, _) = serve(|seen| {
        if seen.path == "/mcp" {
            return with_header(played(307, "text/plain", ""), "location: /mcp/");
        }
        legacy(seen, "1").unwrap_or_else(|| seen.text(&seen.path))
    })
    .await;
    assert_eq!(call(&only(http(&url)), "x", "{}").await.unwrap().first_text(), "/mcp/");
}

#[tokio::test]
async fn a_modern_server_gets_the_headers_of_its_revision() {
    let (url, _) = serve(|seen| {
        modern(seen).unwrap_or_else(|| {
            assert_eq!(seen.headers["mcp-protocol-version"], "2026-07-28");
            assert_eq!(seen.headers["mcp-method"], seen.rpc());
            let meta = &seen.body["params"]["_meta"];
            assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
            if seen.rpc() == "tools/list" {
                return seen.answer(json!({ "resultType": "complete", "tools": [{
                    "name": "ü", "inputSchema": { "type": "object", "properties": {
                        "region": { "type": "string", "x-mcp-header": "Region" } } } }] }));
            }
            let (name, region) = (&seen.headers["mcp-name"], &seen.headers["mcp-param-region"]);
            seen.text(&format!("{name} {region}"))
        })
    })
    .await;
    let upstreams = only(http(&url));
    let catalog = upstreams.access(Caller::anonymous()).catalog(&upstream_name("s")).await.unwrap();
    assert_eq!((catalog.era, catalog.server_name.as_deref()), (Era::Modern, Some("played")));
    let output = call(&upstreams, "ü", r#"{"region":"north"}"#).await.unwrap();
    assert_eq!(output.first_text(), "=?base64?w7w=?= north");
}

#[tokio::test]
async fn answers_come_as_events_too_and_streams_that_break_are_errors() {
    let (url, log) = serve(|seen| {
        legacy(seen, "1").unwrap_or_else(|| {
            let id = &seen.body["id"];
            let answer = format!(
                r#"data: {{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"ok"}}]}}}}"#
            );
            match seen.tool() {
                "events" => stream(
                    &format!(
                        ": hi\n\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}}\n\n\
                         data: {{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"elicitation/create\"}}\n\n{answer}\n\n"
                    ),
                    true,
                ),
                "broken" => stream(": hi\n\n", false),
                "cut" => stream("data: {\"jsonrpc\"", false),
                "none" => played(202, "text/plain", ""),
                "other" => played(200, "application/json", r#"{"jsonrpc":"2.0","id":9999,"result":{}}"#),
                "html" => played(200, "text/html", "<h1>Welcome</h1>"),
                "late" => stream("", true),
                _ => played(202, "text/plain", ""),
            }
        })
    })
    .await;
    let upstreams = only(http(&url));
    assert_eq!(call(&upstreams, "events", "{}").await.unwrap().first_text(), "ok");
    // The server's own request is answered.
    eventually(&log, "POST").await;
    for (tool, part) in [
        ("broken", "ended before the answer"),
        ("cut", "ended before the answer"),
        ("none", "instead of JSON"),
        ("other", "another request"),
        ("html", "<h1>Welcome</h1>"),
    ] {
        let error = call(&upstreams, tool, "{}").await.unwrap_err().to_string();
        assert!(error.contains(part), "{tool}: {error}");
    }
    let late = call_within(&upstreams, "late", "{}", Duration::from_millis(100)).await;
    let late = late.unwrap_err();
    assert!(matches!(late, UpstreamError::TimedOut { phase: Phase::Call, .. }), "{late}");
    eventually(&log, "notifications/cancelled").await;
    eventually(&log, "closed").await;
    assert_eq!(call(&upstreams, "events", "{}").await.unwrap().first_text(), "ok");
}

#[tokio::test]
async fn a_stream_that_broke_is_taken_up_again_where_it_ended() {
    let (url, _) = serve(|seen| {
        if let Some(last) = seen.headers.get("last-event-id") {
            assert_eq!((seen.method.as_str(), last.as_str()), ("GET", "e7"));
            return stream(
                "data: {\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{\"content\":[]}}\n\n",
                false,
            );
        }
        legacy(seen, "1").unwrap_or_else(|| stream("id: e7\nretry: 10\ndata:\n\n", false))
    })
    .await;
    call(&only(http(&url)), "x", "{}").await.unwrap();
}

#[tokio::test]
async fn a_dropped_call_closes_the_stream_of_a_modern_server() {
    let (url, log) = serve(|seen| {
        modern(seen).unwrap_or_else(|| match seen.rpc() {
            "tools/list" => seen.answer(json!({ "tools": [] })),
            _ if seen.tool() == "hang" => stream(": wait\n\n", true),
            _ => seen.text("ok"),
        })
    })
    .await;
    let upstreams = only(http(&url));
    let hang = call(&upstreams, "hang", "{}");
    assert!(tokio::time::timeout(Duration::from_millis(300), hang).await.is_err());
    eventually(&log, "closed").await;
    assert!(!log.lock().unwrap().iter().any(|line| line == "notifications/cancelled"));
    call(&upstreams, "ok", "{}").await.unwrap();
}

#[tokio::test]
async fn http_errors_say_what_to_do_and_show_no_secret() {
    let (url, _) = serve(|seen| {
        assert_eq!(seen.headers["authorization"], "Bearer opensesame77");
        legacy(seen, "1").unwrap_or_else(|| match seen.tool() {
            "unauthorized" => played(401, "text/plain", "bad token opensesame77"),
            "busy" => with_header(played(503, "text/plain", "wait"), "retry-after: 7"),
            "away" => with_header(played(307, "text/plain", ""), "location: http://127.0.0.1:9/"),
            "reject" => played(
                400,
                "application/json",
                &json!({ "jsonrpc": "2.0", "id": seen.body["id"],
                         "error": { "code": -32602, "message": "no opensesame77" } })
                .to_string(),
            ),
            "huge" => played(200, "application/json", &"x".repeat(17 << 20)),
            "huge_event" => stream(&format!("data: {}", "x".repeat(17 << 20)), false),
            _ => played(500, "text/plain", "oh"),
        })
    })
    .await;
    let headers =
        BTreeMap::from([("Authorization".to_owned(), Secret::new("Bearer opensesame77"))]);
    let upstreams =
        only(TransportSettings::Http(HttpSettings { headers, ..HttpSettings::new(url) }));
    for (tool, part) in [
        ("unauthorized", "HTTP 401 Unauthorized: bad token [redacted]; check the credentials"),
        ("busy", "try again after 7 s"),
        ("away", "HTTP 307"),
        ("reject", "rejected the request: no [redacted] (JSON-RPC error -32602)"),
        ("huge", "larger than 16777216 bytes"),
        ("huge_event", "larger than 16777216 bytes"),
        ("other", "HTTP 500 Internal Server Error: oh"),
    ] {
        let error = call(&upstreams, tool, "{}").await.unwrap_err().to_string();
        assert!(error.contains(part), "{tool}: {error}");
        assert!(!error.contains("opensesame77"), "{tool}: {error}");
    }
}

#[tokio::test]
async fn a_silent_server_times_out_and_one_that_is_not_there_is_named() {
    let (url, _) = serve(|_| Played { bytes: Vec::new(), hold: true }).await;
    let mut settings = super::settings("s", http(&url));
    settings.timeouts.handshake = Duration::from_millis(300);
    let upstreams = crate::upstream::Upstreams::new(vec![settings], None).unwrap();
    let error = call(&upstreams, "x", "{}").await.unwrap_err();
    assert!(matches!(error, UpstreamError::TimedOut { phase: Phase::Handshake, .. }), "{error}");
    let error = call(&only(http("http://127.0.0.1:9/mcp")), "x", "{}").await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unavailable { phase: Phase::Connect, .. }), "{error}");
    assert!(error.to_string().contains("connection refused"), "{error}");
    let tls = url.replace("http:", "https:");
    for (answer, part) in
        [("HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"), ("", "TLS with")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = format!("https://{}/mcp", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.read(&mut [0; 4096]).await;
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        let error = call(&only(http(&plain)), "x", "{}").await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let mut settings = super::settings("s", http(&tls));
    settings.timeouts.handshake = Duration::from_millis(300);
    let upstreams = crate::upstream::Upstreams::new(vec![settings], None).unwrap();
    call(&upstreams, "x", "{}").await.unwrap_err();
    let error = call(&only(http("ftp://x")), "x", "{}").await.unwrap_err();
    assert!(error.to_string().contains("http://"), "{error}");
}
