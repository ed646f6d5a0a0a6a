//! What toolcell adds to one call of a tool: the same call on the same server, directly by rmcp and
//! through the host (grant, schema check, journal, pool), by turns in one process. Prints one JSON
//! object: medians in microseconds, and calls per second with 64 in flight.

use std::io::{BufRead, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rmcp::ServiceExt as _;
use rmcp::model::{CallToolRequestParams, ClientConfig, ProtocolVersion};
use rmcp::service::{Peer, RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use toolcell::Host;

const SERVES: &str = "--serve-stdio";
const CALLS: usize = 2000;
const BIG_CALLS: usize = 60;
const IN_FLIGHT: usize = 64;
const BIG: usize = 1 << 20;

fn main() {
    if std::env::args().any(|arg| arg == SERVES) {
        return serve_stdio();
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let report = runtime.block_on(async {
        let url = serve_http().await;
        let program = std::env::current_exe().expect("has a path");
        let program = program.to_str().expect("is text");
        let config = json!({ "mcpServers": {
            "stdio": { "command": program, "args": [SERVES] },
            "http": { "url": url },
        } });
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("mcp.json");
        std::fs::write(&file, config.to_string()).expect("is written");
        let builder = Host::builder().config_file(&file).cache_folder(folder.path());
        let host = builder.ready_instances(0).build_lazily().expect("the host starts");
        let stdio = direct_stdio(program).await;
        let http = direct_http(&url).await;
        let report = json!({
            "stdio": compare(&host, "stdio", stdio.peer()).await,
            "http": compare(&host, "http", http.peer()).await,
        });
        host.close().await;
        report
    });
    println!("{report}");
}

/// One server by both roads.
async fn compare(host: &Host, server: &str, direct: &Peer<RoleClient>) -> Value {
    let small = json!({ "text": "x".repeat(64) });
    let big = json!({ "size": BIG });
    for _ in 0..100 {
        call_direct(direct, "echo", &small).await;
        call_proxied(host, server, "echo", &small).await;
    }
    let (direct_us, proxied_us) = by_turns(host, server, direct, "echo", &small, CALLS).await;
    let (big_direct, big_proxied) = by_turns(host, server, direct, "big", &big, BIG_CALLS).await;
    json!({
        "direct_us": direct_us,
        "proxied_us": proxied_us,
        "added_us": proxied_us - direct_us,
        "direct_1MiB_us": big_direct,
        "proxied_1MiB_us": big_proxied,
        "direct_64_per_s": at_once(|| call_direct(direct, "echo", &small)).await,
        "proxied_64_per_s": at_once(|| call_proxied(host, server, "echo", &small)).await,
    })
}

/// The medians of calls that alternate.
async fn by_turns(
    host: &Host,
    server: &str,
    direct: &Peer<RoleClient>,
    tool: &str,
    arguments: &Value,
    calls: usize,
) -> (f64, f64) {
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for _ in 0..calls {
        let started = Instant::now();
        call_direct(direct, tool, arguments).await;
        one.push(started.elapsed());
        let started = Instant::now();
        call_proxied(host, server, tool, arguments).await;
        other.push(started.elapsed());
    }
    (median(one), median(other))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    (times[times.len() / 2].as_secs_f64() * 1e7).round() / 10.0
}

/// Calls per second with many in flight.
async fn at_once<F: Future<Output = ()>>(call: impl Fn() -> F) -> f64 {
    let started = Instant::now();
    let worker = || async {
        for _ in 0..CALLS / IN_FLIGHT {
            call().await;
        }
    };
    futures::future::join_all((0..IN_FLIGHT).map(|_| worker())).await;
    ((CALLS / IN_FLIGHT * IN_FLIGHT) as f64 / started.elapsed().as_secs_f64()).round()
}

async fn call_direct(peer: &Peer<RoleClient>, tool: &str, arguments: &Value) {
    let arguments = arguments.as_object().expect("an object").clone();
    let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
    let result = peer.call_tool(params).await.expect("is answered");
    assert!(result.is_error != Some(true));
}

async fn call_proxied(host: &Host, server: &str, tool: &str, arguments: &Value) {
    let config = host.config();
    let profile = config.profile(None).expect("has a default");
    let tool = format!("{server}.{tool}");
    let output = host.call_tool(profile, &tool, &arguments.to_string()).await.expect("is answered");
    assert!(!output.is_error);
}

type Direct = RunningService<rmcp::RoleClient, ClientConfig>;

fn client() -> ClientConfig {
    let mut client = ClientConfig::default();
    client.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
    client
}

async fn direct_stdio(program: &str) -> Direct {
    let mut child = tokio::process::Command::new(program)
        .arg(SERVES)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let pipes = (child.stdout.take().expect("piped"), child.stdin.take().expect("piped"));
    client().serve(pipes).await.expect("shakes hands")
}

/// With a pooled client: rmcp's own default opens a connection per request.
async fn direct_http(url: &str) -> Direct {
    let pooled = reqwest::Client::builder().tcp_nodelay(true).no_proxy().build().expect("a client");
    let config = StreamableHttpClientTransportConfig::with_uri(url.to_owned());
    let transport = StreamableHttpClientTransport::with_client(pooled, config);
    client().serve(transport).await.expect("shakes hands")
}

/// The answer to one message, if it wants one.
fn answer(message: &Value) -> Option<Value> {
    let id = message.get("id")?;
    let result = match message["method"].as_str()? {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "bench", "version": "1" },
        }),
        "tools/list" => json!({ "tools": [
            {
                "name": "echo",
                "inputSchema": {
                    "type": "object",
                    "properties": { "text": { "type": "string" } },
                    "required": ["text"],
                },
            },
            {
                "name": "big",
                "inputSchema": {
                    "type": "object",
                    "properties": { "size": { "type": "integer" } },
                },
            },
        ] }),
        "tools/call" => match message["params"]["arguments"]["size"].as_u64() {
            // Numbers, as a table of rows has them.
            Some(size) => {
                let rows: Vec<u64> = (0..size / 8).map(|row| 1_000_000 + row).collect();
                json!({ "content": [], "structuredContent": { "rows": rows } })
            }
            None => {
                let text = &message["params"]["arguments"]["text"];
                json!({ "content": [{ "type": "text", "text": text }] })
            }
        },
        "ping" => json!({}),
        _ => {
            let error = json!({ "code": -32601, "message": "no such method" });
            return Some(json!({ "jsonrpc": "2.0", "id": id, "error": error }));
        }
    };
    Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

fn serve_stdio() {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let Ok(message) = serde_json::from_str(&line) else { continue };
        if let Some(answer) = answer(&message) {
            let _ = writeln!(out, "{answer}");
            let _ = out.flush();
        }
    }
}

/// A server that keeps connections and answers with JSON; on a thread of its own, as it would be on
/// a machine of its own.
async fn serve_http() -> String {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
            let address = listener.local_addr().expect("has an address");
            let _ = tell.send(format!("http://{address}/mcp"));
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                tokio::spawn(serve_socket(socket));
            }
        });
    });
    told.await.expect("listens")
}

async fn serve_socket(socket: TcpStream) {
    let (read, mut write) = socket.into_split();
    let mut read = BufReader::new(read);
    loop {
        let (mut length, mut is_post, mut line) = (0, None, String::new());
        loop {
            line.clear();
            if read.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let lower = line.trim().to_ascii_lowercase();
            is_post.get_or_insert(lower.starts_with("post"));
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if lower.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if read.read_exact(&mut body).await.is_err() {
            return;
        }
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        let body = answer(&message).map(|answer| answer.to_string());
        let head = match (&body, is_post) {
            (_, Some(false)) => "405 Method Not Allowed",
            (None, _) => "202 Accepted",
            (Some(_), _) => "200 OK\r\ncontent-type: application/json",
        };
        let body = body.filter(|_| is_post == Some(true)).unwrap_or_default();
        let text = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}
