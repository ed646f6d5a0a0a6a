//! Servers of revision 2024-11-05 (HTTP+SSE), good and bad.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::http_faults::{Log, Played, Seen, eventually, played, read_request};
use super::{call, call_within, http, only, settings, upstream_name};
use crate::tool::{Json, Phase};
use crate::upstream::client::{ClientCapabilities, ClientHandler, Refusal, ServerRequest};
use crate::upstream::settings::{HttpFlavour, HttpSettings, TransportSettings};
use crate::upstream::{Caller, Era, UpstreamError, Upstreams};

/// What is done to the open stream.
enum Do {
    Say(String),
    Cut,
}

/// The open stream, for whoever has something to say.
#[derive(Clone, Default)]
struct Stream(Arc<Mutex<Option<mpsc::UnboundedSender<Do>>>>);

impl Stream {
    fn act(&self, what: Do) {
        if let Some(stream) = &*self.0.lock().unwrap() {
            let _ = stream.send(what);
        }
    }

    fn say(&self, message: &str) {
        self.act(Do::Say(format!("event: message\ndata: {message}\n\n")));
    }
}

/// Serves streams that begin with some text. POSTs elsewhere than to `/messages` are not allowed,
/// those to it are played.
async fn serve(
    beginning: &'static str,
    play: impl Fn(&Seen, &Stream) -> Played + Send + Sync + 'static,
) -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/sse", listener.local_addr().unwrap());
    let (play, log, stream) = (Arc::new(play), Log::default(), Stream::default());
    tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (play, log, stream) = (Arc::clone(&play), Arc::clone(&log), stream.clone());
                tokio::spawn(async move {
                    let mut socket = BufReader::new(socket);
                    let Some(seen) = read_request(&mut socket).await else { return };
                    log.lock().unwrap().push(seen.logged());
                    if seen.method == "GET" {
                        assert_eq!(seen.headers["accept"], "text/event-stream");
                        return hold(socket, beginning, &stream, &log).await;
                    }
                    let answer = match seen.path.starts_with("/messages") {
                        true => play(&seen, &stream),
                        false => played(405, "text/plain", "Method Not Allowed"),
                    };
                    let _ = socket.write_all(&answer.bytes).await;
                });
            }
        }
    });
    (url, log)
}

/// Holds one stream until it is cut, or closed by the client.
async fn hold(mut socket: BufReader<TcpStream>, beginning: &str, stream: &Stream, log: &Log) {
    let (sender, mut todo) = mpsc::unbounded_channel();
    *stream.0.lock().unwrap() = Some(sender);
    let head = "HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    let _ = socket.write_all(format!("{head}{beginning}").as_bytes()).await;
    let mut byte = [0; 1];
    loop {
        let next = tokio::select! {
            next = todo.recv() => next,
            _ = socket.read(&mut byte) => {
                log.lock().unwrap().push("closed".to_owned());
                return;
            }
        };
        match next {
            Some(Do::Say(text)) => drop(socket.write_all(text.as_bytes()).await),
            Some(Do::Cut) | None => return,
        }
    }
}

const ENDPOINT: &str = ": hello\n\nevent: endpoint\ndata: /messages?sessionId=1\n\n";

fn accepted() -> Played {
    played(202, "text/plain", "Accepted")
}

/// What all these servers do alike; `None` for the rest.
fn basics(seen: &Seen, stream: &Stream) -> Option<Played> {
    match seen.rpc() {
        "initialize" => stream.say(
            &seen
                .message(json!({ "protocolVersion": "2024-11-05", "capabilities": { "tools": {} },
                    "serverInfo": { "name": "played", "version": "1" } })),
        ),
        "tools/list" => stream.say(&seen.message(json!({ "tools": [] }))),
        "tools/call" => match seen.tool() {
            "ok" => say_text(seen, stream, "ok"),
            "hang" => {}
            _ => return None,
        },
        _ => {}
    }
    Some(accepted())
}

fn say_text(seen: &Seen, stream: &Stream, text: &str) {
    stream.say(&seen.message(json!({ "content": [{ "type": "text", "text": text }] })));
}

fn sse(url: &str) -> TransportSettings {
    TransportSettings::Http(HttpSettings { flavour: HttpFlavour::Sse, ..HttpSettings::new(url) })
}

fn count(log: &Log, wanted: &str) -> usize {
    log.lock().unwrap().iter().filter(|line| *line == wanted).count()
}

#[tokio::test]
async fn a_server_of_the_first_revision_is_found_out_and_remembered() {
    let (url, log) = serve(ENDPOINT, |seen, stream| {
        assert_eq!(seen.path, "/messages?sessionId=1");
        basics(seen, stream).unwrap_or_else(|| match seen.tool() {
            "cut" => {
                stream.act(Do::Cut);
                accepted()
            }
            _ => {
                assert_eq!(seen.headers["mcp-protocol-version"], "2024-11-05");
                say_text(seen, stream, "found");
                // Some say 200.
                played(200, "text/plain", "")
            }
        })
    })
    .await;
    let upstreams = only(http(&url));
    let catalog = upstreams.access(Caller::anonymous()).catalog(&upstream_name("s")).await.unwrap();
    assert_eq!((catalog.era, catalog.server_name.as_deref()), (Era::Legacy, Some("played")));
    assert_eq!(call(&upstreams, "x", "{}").await.unwrap().first_text(), "found");
    let seen = log.lock().unwrap().clone();
    let expected = [
        "server/discover",
        "initialize",
        "GET",
        "initialize",
        "notifications/initialized",
        "tools/list",
        "tools/call",
    ];
    assert_eq!(seen, expected);
    call(&upstreams, "cut", "{}").await.unwrap_err();
    assert_eq!(call(&upstreams, "x", "{}").await.unwrap().first_text(), "found");
    assert_eq!((count(&log, "GET"), count(&log, "initialize")), (2, 3), "nothing is asked again");
    upstreams.close().await;
    eventually(&log, "closed").await;
}

#[tokio::test]
async fn messages_are_sent_to_the_same_origin_only() {
    for beginning in [
        "event: endpoint\ndata: http://127.0.0.1:9/messages\n\n",
        "event: endpoint\ndata: //evil.example/messages\n\n",
        "event: endpoint\ndata: javascript:alert(1)\n\n",
    ] {
        let (url, log) = serve(beginning, |_, _| accepted()).await;
        let error = call(&only(sse(&url)), "x", "{}").await.unwrap_err().to_string();
        assert!(error.contains("another origin than its own"), "{error}");
        let log = log.lock().unwrap();
        assert!(log[0] == "GET" && log[1..].iter().all(|line| line == "closed"), "{log:?}");
    }
    let (url, _) = serve(ENDPOINT, |seen, stream| basics(seen, stream).unwrap()).await;
    assert_eq!(call(&only(sse(&url)), "ok", "{}").await.unwrap().first_text(), "ok");
}

#[tokio::test]
async fn the_end_of_the_stream_ends_what_is_under_way_and_the_next_call_opens_another() {
    let (url, log) = serve(ENDPOINT, |seen, stream| {
        basics(seen, stream).unwrap_or_else(|| {
            stream.act(Do::Cut);
            accepted()
        })
    })
    .await;
    let upstreams = only(sse(&url));
    let hang = call(&upstreams, "hang", "{}");
    let cut = async {
        eventually(&log, "tools/call").await;
        call(&upstreams, "cut", "{}").await
    };
    let (hang, cut) = futures::join!(hang, cut);
    for outcome in [hang, cut] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, UpstreamError::Unavailable { phase: Phase::Call, .. }), "{error}");
        assert!(error.to_string().contains("ended its stream of events"), "{error}");
    }
    assert_eq!(call(&upstreams, "ok", "{}").await.unwrap().first_text(), "ok");
    // What may have been done is not done again.
    assert_eq!((count(&log, "GET"), count(&log, "tools/call")), (2, 3));
}

#[tokio::test]
async fn a_forgotten_stream_is_replaced_and_the_call_made_again() {
    let refused = Mutex::new(0);
    let (url, log) = serve(ENDPOINT, move |seen, stream| {
        basics(seen, stream).unwrap_or_else(|| {
            let mut refused = refused.lock().unwrap();
            *refused += 1;
            if *refused == 1 {
                return played(404, "text/plain", "Could not find session");
            }
            say_text(seen, stream, "again");
            accepted()
        })
    })
    .await;
    let upstreams = only(sse(&url));
    assert_eq!(call(&upstreams, "x", "{}").await.unwrap().first_text(), "again");
    assert_eq!((count(&log, "GET"), count(&log, "tools/call")), (2, 2));
}

#[tokio::test]
async fn a_stream_without_an_endpoint_is_given_up_in_time_and_explained() {
    let (url, log) = serve(": silence\n\n", |_, _| accepted()).await;
    for (transport, part) in [
        (sse(&url), "did not name the endpoint"),
        (http(&url), "tried as streamable HTTP: it answered HTTP 405"),
    ] {
        let mut settings = settings("s", transport);
        settings.timeouts.handshake = Duration::from_millis(300);
        let upstreams = Upstreams::new(vec![settings], None).unwrap();
        let error = call(&upstreams, "x", "{}").await.unwrap_err();
        assert!(
            matches!(error, UpstreamError::TimedOut { phase: Phase::Handshake, .. }),
            "{error}"
        );
        assert!(error.to_string().contains(part), "{error}");
    }
    eventually(&log, "closed").await;
}

#[tokio::test]
async fn what_is_no_server_at_all_is_told_with_everything_that_was_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let mut socket = BufReader::new(socket);
            let Some(seen) = read_request(&mut socket).await else { continue };
            let answer = match seen.method.as_str() {
                "GET" => played(200, "text/html", "<h1>Welcome</h1>"),
                _ => played(404, "text/html", "<h1>Not here</h1>"),
            };
            let _ = socket.write_all(&answer.bytes).await;
        }
    });
    let error = call(&only(http(&url)), "x", "{}").await.unwrap_err().to_string();
    let expected = "tried as streamable HTTP: it answered HTTP 404 Not Found: <h1>Not here</h1>; \
                    tried as HTTP+SSE: it answered HTTP 200 OK with text/html instead of a stream of events: \
                    <h1>Welcome</h1>; is this an MCP endpoint?";
    assert!(error.ends_with(expected), "{error}");
    let only_streamable =
        HttpSettings { flavour: HttpFlavour::StreamableHttp, ..HttpSettings::new(&url) };
    let error = call(&only(TransportSettings::Http(only_streamable)), "x", "{}").await.unwrap_err();
    assert!(!error.to_string().contains("SSE"), "{error}");
}

#[tokio::test]
async fn a_huge_event_fails_its_own_request_and_no_other() {
    let (url, log) = serve(ENDPOINT, |seen, stream| {
        basics(seen, stream).unwrap_or_else(|| {
            stream.say(&seen.message(json!({ "x": "x".repeat(17 << 20) })));
            accepted()
        })
    })
    .await;
    let upstreams = only(sse(&url));
    let slow = call_within(&upstreams, "hang", "{}", Duration::from_secs(3));
    let huge = async {
        eventually(&log, "tools/call").await;
        let error = call(&upstreams, "huge", "{}").await.unwrap_err();
        assert!(matches!(error, UpstreamError::AnswerTooLarge { .. }), "{error}");
        call(&upstreams, "ok", "{}").await.unwrap();
    };
    let (slow, ()) = futures::join!(slow, huge);
    assert!(matches!(slow.unwrap_err(), UpstreamError::TimedOut { .. }));
    assert_eq!(count(&log, "GET"), 1, "the stream goes on");
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_and_the_stream_stays() {
    let (url, log) = serve(ENDPOINT, |seen, stream| basics(seen, stream).unwrap()).await;
    let upstreams = only(sse(&url));
    let late = call_within(&upstreams, "hang", "{}", Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(late, UpstreamError::TimedOut { phase: Phase::Call, .. }), "{late}");
    eventually(&log, "notifications/cancelled").await;
    call(&upstreams, "ok", "{}").await.unwrap();
    assert_eq!(count(&log, "GET"), 1);
}

/// Answers everything with its own method.
struct Parrot;

#[async_trait]
impl ClientHandler for Parrot {
    fn capabilities(&self) -> ClientCapabilities {
        ClientCapabilities { sampling: true, ..ClientCapabilities::default() }
    }

    async fn answer(&self, request: ServerRequest) -> Result<Json, Refusal> {
        let answer = json!({ "asked": request.method }).to_string();
        Ok(RawValue::from_string(answer).unwrap())
    }
}

#[tokio::test]
async fn what_the_server_asks_is_answered_by_a_post() {
    let call_id = Mutex::new(Value::Null);
    let (url, _) = serve(ENDPOINT, move |seen, stream| {
        if seen.rpc().is_empty() {
            let id = call_id.lock().unwrap().clone();
            assert_eq!(seen.body["id"], "q");
            let result =
                json!({ "content": [{ "type": "text", "text": seen.body["result"]["asked"] }] });
            stream.say(&json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string());
            return accepted();
        }
        basics(seen, stream).unwrap_or_else(|| {
            *call_id.lock().unwrap() = seen.body["id"].clone();
            stream
                .say(r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}"#);
            accepted()
        })
    })
    .await;
    let upstreams = Upstreams::new(vec![settings("s", sse(&url))], Some(Arc::new(Parrot))).unwrap();
    let output = call(&upstreams, "ask", "{}").await.unwrap();
    assert_eq!(output.first_text(), "sampling/createMessage");
}
