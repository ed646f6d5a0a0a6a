//! Whoever can open a connection to `toolcell serve` is a stranger, and here an enemy: pages in a
//! browser on the same machine, clients that send too much, too slowly or nonsense, that vanish, that
//! take all there is. Each is answered as the specification says, and nobody else notices.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use toolcell::server::http;
use toolcell::server::mcp::Facade;
use toolcell::server::settings::ServerSettings;
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::serving::{Stream, call, initialize, run_python};
use toolcell_tests::{Cli, Serving, fixtures, wait_until};

use crate::hosts::{Configured, block_on};

/// A `toolcell serve` with one server, which writes down what arrives.
struct Watched {
    serving: Serving,
    log: PathBuf,
}

impl Watched {
    fn start() -> Self {
        let cli = Cli::new("serve");
        let log = cli.folder().join("log");
        let server =
            fixtures::misbehaving("ok").env("MISBEHAVING_LOG", log.to_str().expect("UTF-8"));
        Self { serving: Serving::of(cli.config(&server.toml("demo"))), log }
    }

    fn count(&self, part: &str) -> usize {
        fs::read_to_string(&self.log).unwrap_or_default().matches(part).count()
    }

    #[track_caller]
    fn wait_for(&self, part: &str, count: usize) {
        wait_until(PATIENCE, &format!("the server saw {count} of {part}"), || {
            self.count(part) >= count
        });
    }
}

/// Somebody else is served, and soon.
#[track_caller]
fn others_are_served(serving: &Serving) {
    let start = Instant::now();
    let reply = serving.post(&call(1, "tools/list", &json!({}))).send();
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
}

/// A server in this process, with settings that no operator would choose.
#[track_caller]
fn embedded(settings: ServerSettings) -> (Serving, oneshot::Sender<()>) {
    let configured = Configured::new(|_| fixtures::misbehaving("ok").toml("demo"));
    let facade = Facade::new(configured.host.clone(), settings, None);
    let facade = facade.expect("the default profile");
    let listener = block_on(TcpListener::bind("127.0.0.1:0")).expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    let (stop, stopped) = oneshot::channel();
    // It ends when the test drops its end.
    let stopped = async { drop(stopped.await) };
    thread::spawn(move || {
        block_on(http::serve(facade, listener, stopped)).expect("it serves");
        block_on(configured.host.close());
    });
    (Serving::at(address), stop)
}

const SLOW: &str = "from tools import demo\ndemo.slow(ms=600000)";

#[test]
fn a_page_in_a_browser_gets_nothing() {
    let serving = Serving::start("");
    let list = call(1, "tools/list", &json!({}));
    for path in ["/mcp", "/mcp/default", "/sse", "/messages", "/healthz", "/readyz", "/nothing"] {
        for (name, value) in [
            ("Origin", "http://evil.example.com"),
            ("Origin", "null"),
            ("Host", "evil.example.com"),
            ("Host", "localhost.evil.example.com:7420"),
        ] {
            for method in ["GET", "POST", "DELETE", "OPTIONS"] {
                let request = serving.request(method, path).header(name, value);
                let reply = request.body(list.to_string()).send();
                assert_eq!(reply.status, 403, "{method} {path} {name}: {value}: {reply:?}");
                assert_eq!(reply.header("access-control-allow-origin"), None);
            }
        }
    }
    // One of this machine may, and its browser has to let it see the answer.
    let page = "http://localhost:6274";
    let asked = serving.request("OPTIONS", "/mcp").header("Origin", page).send();
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (204, Some(page)));
    let reply = serving.post(&list).header("Origin", page).send();
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some(page)));
    // A form can be posted without asking first.
    let form = serving.post(&list).header("Content-Type", "text/plain").send();
    assert_eq!(form.status, 415);
}

#[test]
fn headers_that_say_something_else_than_the_body_are_refused() {
    let serving = Serving::start("");
    #[track_caller]
    fn refused(reply: &toolcell_tests::serving::Reply, status: u16, code: i64) {
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (status, &json!(code)),
            "{reply:?}"
        );
        assert_eq!(reply.json()["id"], 1, "{reply:?}");
    }
    let run = json!({ "name": "run_python", "arguments": { "code": "1" } });
    let well = || serving.modern("tools/call", &run);
    assert_eq!(well().send().status, 200);
    refused(&well().without("Mcp-Method").send(), 400, -32020);
    refused(&well().header("Mcp-Method", "tools/list").send(), 400, -32020);
    refused(&well().without("Mcp-Name").send(), 400, -32020);
    refused(&well().header("Mcp-Name", "search_tools").send(), 400, -32020);
    refused(&well().without("MCP-Protocol-Version").send(), 400, -32020);
    refused(&well().header("MCP-Protocol-Version", "2025-11-25").send(), 400, -32020);
    assert_eq!(well().header("Mcp-Name", "=?base64?cnVuX3B5dGhvbg==?=").send().status, 200);
    refused(&well().header("Mcp-Name", "=?base64?%?=").send(), 400, -32020);

    let bare = call(1, "tools/list", &json!({}));
    let modern = serving.post(&bare).header("MCP-Protocol-Version", "2026-07-28");
    refused(&modern.header("Mcp-Method", "tools/list").send(), 400, -32602);
    refused(&serving.post(&call(1, "server/discover", &json!({}))).send(), 400, -32602);
    let future = serving.post(&bare).header("MCP-Protocol-Version", "2999-01-01").send();
    refused(&future, 400, -32022);
    let meta = json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": "2999-01-01",
        "io.modelcontextprotocol/clientCapabilities": {} } });
    let future = serving.post(&call(1, "tools/list", &meta));
    refused(&future.header("MCP-Protocol-Version", "2999-01-01").send(), 400, -32022);
    refused(&serving.modern("ping", &json!({})).send(), 404, -32601);
    refused(&serving.modern("no/such/method", &json!({})).send(), 404, -32601);
    for method in ["GET", "DELETE"] {
        let reply = serving.request(method, "/mcp").header("MCP-Protocol-Version", "2026-07-28");
        assert_eq!(reply.header("Mcp-Session-Id", "0").send().status, 405);
    }
    // In the older era an error is an answer like others.
    let legacy = serving.post(&call(1, "no/such/method", &json!({}))).send();
    refused(&legacy, 200, -32601);
}

#[test]
fn nonsense_is_told_as_what_it_is() {
    let serving = Serving::start("");
    for (body, status, code) in [
        (&b"hello"[..], 400, -32700),
        (b"", 400, -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1", 400, -32700),
        (b"\xff\xfe\x00{}", 400, -32700),
        (b"[]", 400, -32600),
        (b"{}", 400, -32600),
        (br#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, 400, -32600),
        (br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, 400, -32600),
        (br#"{"jsonrpc":"2.0","id":1,"result":{}}"#, 400, -32600),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":7}"#, 400, -32602),
    ] {
        let reply = serving.post(&Value::Null).body(body).send();
        let shown = String::from_utf8_lossy(body);
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (status, &json!(code)),
            "{shown}"
        );
    }
    let deep =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{}"#, "[".repeat(100_000));
    assert_eq!(serving.post(&Value::Null).body(deep).send().status, 400);
    for path in ["/mcp/no-such-profile", "/sse/..%2f", "/mcp/%00", "/messages?session_id=x"] {
        assert_eq!(
            serving.post(&initialize("2025-11-25")).path(path).send().status / 100,
            4,
            "{path}"
        );
    }
    others_are_served(&serving);
}

#[test]
fn what_is_too_large_is_not_taken() {
    let serving = Serving::start("");
    let most = 16 << 20;
    let reply = serving.post(&Value::Null).body(vec![b' '; most + 1]).send();
    assert_eq!(reply.status, 413, "{reply:?}");
    assert!(reply.json()["error"]["message"].to_string().contains("16777216"), "{reply:?}");
    // What is announced is not waited for, and what is not announced is counted.
    let mut liar = serving.connect();
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    liar.write_all(head.as_bytes()).expect("it listens");
    let chunk = [format!("{:x}\r\n", 1 << 20).as_bytes(), &[b'x'; 1 << 20], b"\r\n"].concat();
    for _ in 0..17 {
        if liar.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = liar.write_all(b"0\r\n\r\n");
    assert_eq!(Stream::read(liar).reply.status, 413);
    // Ten million letters are a script like another.
    let long = format!("x = '{}'\nlen(x)", "a".repeat(10 << 20));
    let reply = serving.post(&run_python(1, &long)).header("Accept", "application/json").send();
    assert_eq!(reply.status, 200);
    let null = serving.post(&run_python(1, "'a\0b'")).send().json();
    assert_eq!(null["result"]["isError"], true, "{null}");
    let mut head = serving.connect();
    let _ = head.write_all(b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nX: ");
    let _ = head.write_all(&vec![b'x'; 1 << 20]);
    let mut answer = Vec::new();
    // An end, or a reset because of what it still sent.
    let _ = head.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    others_are_served(&serving);
}

#[test]
fn a_client_that_vanishes_takes_its_run_and_its_calls_along() {
    let watched = Watched::start();
    let serving = &watched.serving;
    let call_slow = json!({ "name": "run_python", "arguments": { "code": SLOW } });
    let session = serving.initialize();
    // Before anything was answered: nobody can come back.
    let mut gone = serving.connect();
    let body = {
        let mut params = call_slow.clone();
        params["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {} });
        call(1, "tools/call", &params).to_string()
    };
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: run_python\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    gone.write_all(head.as_bytes()).expect("it listens");
    watched.wait_for("tools/call", 1);
    drop(gone);
    watched.wait_for("notifications/cancelled", 1);
    // In the midst of a stream: at once where nobody can come back, and soon where somebody could.
    let mut progress = call_slow.clone();
    progress["_meta"] = json!({ "progressToken": 1 });
    for (nth, request) in [
        serving.modern("tools/call", &progress),
        serving.in_session(&session, &run_python(1, SLOW)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = request.open();
        stream.message().expect("the run has begun");
        watched.wait_for("tools/call", nth + 2);
        stream.vanish();
        watched.wait_for("notifications/cancelled", nth + 2);
    }
    // And the older transport.
    let mut stream = serving.request("GET", "/sse").open();
    let endpoint = stream.event().expect("the first event")[1].1.clone();
    for message in [initialize("2024-11-05"), run_python(1, SLOW)] {
        assert_eq!(serving.post(&message).path(&endpoint).send().status, 202);
    }
    watched.wait_for("tools/call", 4);
    stream.vanish();
    watched.wait_for("notifications/cancelled", 4);
    others_are_served(serving);
}

#[test]
fn a_run_is_cancelled_as_often_as_one_likes_and_its_id_serves_again() {
    let watched = Watched::start();
    let serving = &watched.serving;
    let session = serving.initialize();
    let mut stream = serving.in_session(&session, &run_python(7, SLOW)).open();
    stream.message().expect("the run has begun");
    watched.wait_for("tools/call", 1);
    let twin = serving.in_session(&session, &run_python(7, "1")).send();
    assert_eq!(twin.json()["error"]["code"], -32600, "two requests cannot have one id: {twin:?}");
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": { "requestId": 7 } });
    for _ in 0..3 {
        assert_eq!(serving.in_session(&session, &cancel).send().status, 202);
    }
    watched.wait_for("notifications/cancelled", 1);
    assert!(stream.message().is_none(), "nobody waits for an answer");
    let again = serving.in_session(&session, &run_python(7, "6*7")).send();
    assert_eq!(again.json()["result"]["structuredContent"]["value"], 42, "{again:?}");
    assert_eq!(watched.count("notifications/cancelled"), 1);
}

#[test]
fn ten_thousand_sessions_are_no_more_than_it_wants() {
    let serving = Serving::start(&fixtures::misbehaving("ok").toml("demo"));
    let first = serving.initialize();
    let busy = serving.initialize();
    let mut running = serving.in_session(&busy, &run_python(1, SLOW)).open();
    running.message().expect("the run has begun");
    let address = serving.address();
    let body = initialize("2025-11-25").to_string();
    let head =
        format!("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    let message = format!("{head}{body}");
    thread::scope(|scope| {
        let makers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = TcpStream::connect(address).expect("it listens");
                    for _ in 0..2_600 {
                        connection.write_all(message.as_bytes()).expect("it listens");
                        let mut answer = [0; 8192];
                        let mut read = 0;
                        while !answer[..read].ends_with(b"}") {
                            read += connection.read(&mut answer[read..]).expect("an answer");
                        }
                        assert!(answer.starts_with(b"HTTP/1.1 200"));
                    }
                })
            })
            .collect();
        for maker in makers {
            maker.join().expect("all sessions are made");
        }
        let sessions = serving.get("/healthz").json()["mcp_sessions"].clone();
        assert_eq!(sessions, 10_000);
        let ping = call(1, "ping", &json!({}));
        assert_eq!(serving.in_session(&first, &ping).send().status, 404, "it gave way");
        let ping = call(2, "ping", &json!({}));
        assert_eq!(serving.in_session(&busy, &ping).send().status, 200, "it works, so it stays");
        others_are_served(&serving);
        let end = serving.request("DELETE", "/mcp").header("Mcp-Session-Id", &busy).send();
        assert_eq!(end.status, 204);
        assert!(running.message().is_none(), "the run ends with its session");
    });
}

#[test]
fn somebody_elses_session_is_none() {
    let serving = Serving::start("");
    let session = serving.initialize();
    let ping = call(1, "ping", &json!({}));
    for guess in ["", "0", &session[1..], &session.to_uppercase(), "../..", &"f".repeat(10_000)] {
        if guess == session {
            continue;
        }
        let reply = serving.in_session(guess, &ping).send();
        assert_eq!((reply.status, &reply.json()["id"]), (404, &json!(1)), "{guess:?}");
        for method in ["GET", "DELETE"] {
            let reply = serving.request(method, "/mcp").header("Mcp-Session-Id", guess).send();
            assert_eq!(reply.status, 404);
        }
    }
    assert_eq!(serving.in_session(&session, &ping).send().status, 200);
}

#[test]
fn another_callers_session_is_none_either() {
    let token = |name: &str| format!("a-token-for-{name}-and-nobody-else");
    let table = |name| format!("[server.tokens.{name}]\ntoken = \"{}\"\n", token(name));
    let serving = Serving::start(&(table("alice") + &table("bob")));
    let bearer = |name: &str| format!("Bearer {}", token(name));
    let begun = serving.post(&initialize("2025-11-25"));
    let begun = begun.header("Authorization", &bearer("alice")).send();
    let session = begun.header("mcp-session-id").expect("a session").to_owned();
    let status = |authorization: Option<&str>| {
        let ping = serving.in_session(&session, &call(1, "ping", &json!({})));
        match authorization {
            Some(value) => ping.header("Authorization", value).send().status,
            None => ping.send().status,
        }
    };
    assert_eq!(status(Some(&bearer("alice"))), 200);
    assert_eq!(status(Some(&bearer("bob"))), 404);
    assert_eq!(status(Some(&bearer("mallory"))), 401);
    assert_eq!(status(None), 401);
    for method in ["GET", "DELETE"] {
        let request = serving.request(method, "/mcp").header("Mcp-Session-Id", &session);
        assert_eq!(request.header("Authorization", &bearer("bob")).send().status, 404);
    }
    // The older transport's address is no secret to rely on.
    let stream = serving.request("GET", "/sse").header("Authorization", &bearer("alice"));
    let mut stream = stream.open();
    let endpoint = stream.event().expect("the first event")[1].1.clone();
    for (name, status) in [("bob", 404), ("alice", 202)] {
        let post = serving.post(&initialize("2024-11-05")).path(&endpoint);
        assert_eq!(post.header("Authorization", &bearer(name)).send().status, status);
    }
}

#[test]
fn nobody_but_this_machine_is_served_without_a_token() {
    let refused = Cli::new("serve").config("").args(["--listen", "0.0.0.0:0"]).run();
    let refused = refused.expect_code(2);
    assert!(refused.stderr.contains("no token is asked for"), "{refused}");
    assert!(refused.stderr.contains("127.0.0.1"), "{refused}");
}

#[test]
fn whoever_sends_slowly_is_not_waited_for() {
    let patience = Duration::from_millis(500);
    let few =
        ServerSettings { request_timeout: patience, max_connections: 3, ..Default::default() };
    let (serving, _stop) = embedded(few);
    // They take every connection that there is, and send a letter now and then.
    let mut slow: Vec<TcpStream> = (0..3).map(|_| serving.connect()).collect();
    let head = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n";
    slow[0].write_all(b"POST /m").expect("it listens");
    slow[1].write_all(head).expect("it listens");
    slow[2].write_all(&[&head[..], b"\r\n{"].concat()).expect("it listens");
    let start = Instant::now();
    let answer = Stream::read(slow.pop().expect("there are three"));
    assert_eq!(answer.reply.status, 408);
    for mut connection in slow {
        let _ = connection.write_all(b"x");
        let mut rest = Vec::new();
        // Closed, or reset because of what it still sent.
        let _ = connection.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    others_are_served(&serving);
}

#[test]
fn when_every_session_works_a_new_one_is_told_to_come_again() {
    let few = ServerSettings { max_mcp_sessions: 2, ..Default::default() };
    let (serving, stop) = embedded(few);
    let mut running: Vec<Stream> = Vec::new();
    for _ in 0..2 {
        let session = serving.initialize();
        // The answer has begun, so the run has.
        running.push(serving.in_session(&session, &run_python(1, SLOW)).open());
    }
    let reply = serving.post(&initialize("2025-11-25")).send();
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")), "{reply:?}");
    let sse = serving.request("GET", "/sse").send();
    assert_eq!(sse.status, 503);
    others_are_served(&serving);
    running.pop().expect("there are two").vanish();
    wait_until(PATIENCE, "a session is idle", || {
        serving.post(&initialize("2025-11-25")).send().status == 200
    });
    drop(stop);
}
