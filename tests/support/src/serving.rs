//! A `toolcell serve` of a test's own, and HTTP as strangers speak it: byte by byte, with every header
//! as the test says.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::processes::PATIENCE;
use crate::{Cli, Finished, Running, Signal};

/// A running `toolcell serve` on a port of its own.
pub struct Serving {
    running: Option<Running>,
    address: SocketAddr,
}

impl Serving {
    /// Starts it with this configuration.
    #[track_caller]
    pub fn start(toml: &str) -> Self {
        Self::of(Cli::new("serve").config(toml))
    }

    /// Starts it as `cli` says; where it listens is settled here.
    #[track_caller]
    pub fn of(cli: Cli) -> Self {
        let running = cli.args(["--listen", "127.0.0.1:0"]).spawn();
        let line = running.wait_for_line("listening on http://");
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_default();
        let address = address.trim_end_matches("/mcp").parse().expect("an address and a port");
        Self { running: Some(running), address }
    }

    /// One that was started otherwise, such as one that a test embeds.
    pub fn at(address: SocketAddr) -> Self {
        Self { running: None, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of something on it, such as `/mcp`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The process.
    pub fn process(&self) -> &Running {
        self.running.as_ref().expect("it is a process")
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub fn stop(self) -> Finished {
        self.process().signal(Signal::Terminate);
        self.end(Duration::from_secs(10)).success()
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn end(self, limit: Duration) -> Finished {
        self.running.expect("it is a process").finish(limit)
    }

    /// Opens a connection that nothing has been sent on.
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit can be set");
        stream
    }

    /// A request that can be changed before it is sent.
    pub fn request(&self, method: &str, path: &str) -> HttpRequest<'_> {
        let host = self.address.to_string();
        let headers =
            vec![("Host".to_owned(), host), ("Connection".to_owned(), "close".to_owned())];
        let (method, path) = (method.to_owned(), path.to_owned());
        HttpRequest { serving: self, method, path, headers, body: Vec::new() }
    }

    /// A GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path).send()
    }

    /// A POST of a message to `/mcp`, as the current clients send it.
    pub fn post(&self, message: &Value) -> HttpRequest<'_> {
        self.request("POST", "/mcp")
            .header("Content-Type", "application/json")
            .header("Accept", "application/json, text/event-stream")
            .body(message.to_string())
    }

    /// A POST of a request of the era of 2026-07-28, with all that belongs to it.
    pub fn modern(&self, method: &str, params: &Value) -> HttpRequest<'_> {
        let mut params = params.clone();
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let post = self
            .post(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }))
            .header("MCP-Protocol-Version", "2026-07-28")
            .header("Mcp-Method", method);
        match params["name"].as_str() {
            Some(name) => post.header("Mcp-Name", name),
            None => post,
        }
    }

    /// Begins a session of the older era. Gives its id.
    #[track_caller]
    pub fn initialize(&self) -> String {
        let reply = self.post(&initialize("2025-11-25")).send();
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.header("mcp-session-id").expect("a session has an id").to_owned()
    }

    /// A POST of a message in a session.
    pub fn in_session(&self, session: &str, message: &Value) -> HttpRequest<'_> {
        self.post(message).header("Mcp-Session-Id", session)
    }
}

/// The message with which a client of the older era begins.
pub fn initialize(revision: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": revision,
        "capabilities": {},
        "clientInfo": { "name": "test", "version": "1" },
    }})
}

/// A request of JSON-RPC.
pub fn call(id: u64, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// The request that runs this script, with progress.
pub fn run_python(id: u64, code: &str) -> Value {
    let arguments = json!({ "name": "run_python", "arguments": { "code": code },
        "_meta": { "progressToken": id } });
    call(id, "tools/call", &arguments)
}

/// A request before it is sent.
pub struct HttpRequest<'a> {
    serving: &'a Serving,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl HttpRequest<'_> {
    /// Sets a header; one of that name is replaced.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a header away.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Asks for another address.
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it, and reads the answer to its end.
    #[track_caller]
    pub fn send(self) -> Reply {
        let mut stream = self.open();
        let mut body = Vec::new();
        // Whoever sends too much may be cut off after the answer.
        while let Some(line) = stream.line() {
            body.extend_from_slice(&line);
        }
        stream.reply.body = String::from_utf8_lossy(&body).into_owned();
        stream.reply
    }

    /// Sends it, and reads the answer's head. The rest comes as it comes.
    #[track_caller]
    pub fn open(self) -> Stream {
        let mut connection = self.serving.connect();
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", self.body.len());
        // Whoever is refused before the end of what it sends may find the connection closed.
        let _ = connection.write_all(&[head.as_bytes(), &self.body].concat());
        Stream::read(connection)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

impl Reply {
    /// One header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &**value)
    }

    /// The body, or the last message of the stream that it is, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let streamed = self.header("content-type") == Some("text/event-stream");
        let last = self.body.lines().rev().find_map(|line| line.strip_prefix("data: "));
        let text = if streamed { last.unwrap_or_default() } else { &self.body };
        serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON: {error} in {self:?}"))
    }
}

/// An answer whose head was read.
pub struct Stream {
    connection: BufReader<TcpStream>,
    /// The answer; the body is empty.
    pub reply: Reply,
    chunked: bool,
    chunk: Vec<u8>,
}

impl Stream {
    /// Reads the head of an answer.
    #[track_caller]
    pub fn read(connection: TcpStream) -> Self {
        let mut connection = BufReader::new(connection);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).expect("an answer comes");
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let first = lines.first().unwrap_or_else(|| panic!("the connection was closed at once"));
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let header = |line: &String| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers: Vec<_> = lines.iter().skip(1).filter_map(header).collect();
        let reply = Reply { status: status.expect("a status"), headers, body: String::new() };
        let chunked = reply.header("transfer-encoding") == Some("chunked");
        Self { connection, reply, chunked, chunk: Vec::new() }
    }

    /// The next line of the body, or what is left of it; nothing at its end.
    fn line(&mut self) -> Option<Vec<u8>> {
        if !self.chunked {
            let mut line = Vec::new();
            return match self.connection.read_until(b'\n', &mut line) {
                Ok(0) => None,
                Ok(_) => Some(line),
                Err(error) => Self::broken(&error),
            };
        }
        loop {
            if let Some(end) = self.chunk.iter().position(|byte| *byte == b'\n') {
                return Some(self.chunk.drain(..=end).collect());
            }
            if !self.read_chunk() {
                let rest = std::mem::take(&mut self.chunk);
                return (!rest.is_empty()).then_some(rest);
            }
        }
    }

    fn read_chunk(&mut self) -> bool {
        let mut size = String::new();
        if let Err(error) = self.connection.read_line(&mut size) {
            Self::broken(&error);
            return false;
        }
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let mut chunk = vec![0; size + 2];
        if size == 0 || self.connection.read_exact(&mut chunk).is_err() {
            return false;
        }
        self.chunk.extend_from_slice(&chunk[..size]);
        true
    }

    /// A connection may end in any way, but not hang.
    fn broken(error: &std::io::Error) -> Option<Vec<u8>> {
        let hangs = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!hangs, "nothing came within {PATIENCE:?}");
        None
    }

    /// The next event's fields, such as `("data", "{…}")`. Nothing at the end of the stream.
    pub fn event(&mut self) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            if line.is_empty() && !fields.is_empty() {
                return Some(fields);
            }
            if let Some((name, value)) = line.split_once(':').filter(|(name, _)| !name.is_empty()) {
                fields.push((name.to_owned(), value.trim_start().to_owned()));
            }
        }
    }

    /// The next message, with the id of its event.
    #[track_caller]
    pub fn message(&mut self) -> Option<(String, Value)> {
        loop {
            let fields = self.event()?;
            let field = |name: &str| {
                let found = fields.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            // What only says that more is to come has no data.
            if let Ok(message) = serde_json::from_str(&field("data")) {
                return Some((field("id"), message));
            }
        }
    }

    /// Goes away without a word.
    pub fn vanish(self) {
        let _ = self.connection.get_ref().shutdown(Shutdown::Both);
    }
}
