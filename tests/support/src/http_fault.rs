//! An MCP server over streamable HTTP that fails as told. HTTP is written by hand too: a library
//! would refuse to break a connection in the middle of an answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use crate::plain_tools;
use crate::tiny_mcp::{Eras, Request};

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status, with what belongs to it: a challenge with 401, `retry-after: 1` with 429 and 503.
    Status(u16),
    /// The request is read and never answered.
    Hang,
    /// The connection is reset.
    Reset,
    /// The answer announces more bytes than come before the connection ends.
    Truncated,
    /// A redirect (307) to this URL.
    Redirect(String),
    /// An answer with a text of so many bytes.
    HugeBody(usize),
    /// An event stream that begins an event and then falls silent.
    SseStops,
    /// An event stream that ends without the answer.
    SseEnds,
    /// Status 200 and a page for people.
    Html,
}

/// One HTTP request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// `POST`, `GET` or `DELETE`.
    pub method: String,
    /// The path and query.
    pub path: String,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The body as an MCP message.
    pub message: Option<Request>,
}

impl Received {
    /// A header's value; its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    fn is_call(&self) -> bool {
        self.message.as_ref().is_some_and(|message| message.method == "tools/call")
    }
}

/// When a fault shows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum When {
    Never,
    Always(Fault),
    OnCalls(Fault),
}

/// A server on the loopback interface. It has the tools of [`plain_tools`], and ends when dropped.
#[derive(Debug)]
pub struct HttpFault {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    eras: Eras,
    when: Mutex<When>,
    received: Mutex<Vec<Received>>,
    connections: Mutex<Vec<(SocketAddr, TcpStream)>>,
    generation: AtomicU64,
    abandoned: AtomicU64,
    stopping: AtomicBool,
}

impl HttpFault {
    /// A server that behaves, in these eras. In the old one it hands out sessions.
    pub fn behaving(eras: Eras) -> Self {
        Self::start(eras, When::Never)
    }

    /// A server that fails at every request.
    pub fn always(eras: Eras, fault: Fault) -> Self {
        Self::start(eras, When::Always(fault))
    }

    /// A server that shakes hands and lists its tools, and fails at every call of one.
    pub fn on_calls(eras: Eras, fault: Fault) -> Self {
        Self::start(eras, When::OnCalls(fault))
    }

    fn start(eras: Eras, when: When) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of loopback is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            eras,
            when: Mutex::new(when),
            received: Mutex::default(),
            connections: Mutex::default(),
            generation: AtomicU64::new(1),
            abandoned: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        let of_acceptor = shared.clone();
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_acceptor.stopping.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(copy), Ok(client)) = (stream.try_clone(), stream.peer_addr()) else {
                    continue;
                };
                lock(&of_acceptor.connections).push((client, copy));
                let shared = of_acceptor.clone();
                thread::spawn(move || {
                    // A broken connection is what a client of a broken server leaves.
                    let _ = shared.converse(&stream);
                    // A connection closes with its last copy.
                    lock(&shared.connections).retain(|(other, _)| *other != client);
                });
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its MCP endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// As a configuration's server.
    pub fn server(&self) -> crate::Server {
        crate::Server::http(self.url())
    }

    /// From now on it behaves.
    pub fn heal(&self) {
        *lock(&self.shared.when) = When::Never;
    }

    /// From now on every call of a tool fails so.
    pub fn fail_calls(&self, fault: Fault) {
        *lock(&self.shared.when) = When::OnCalls(fault);
    }

    /// From now on every request fails so.
    pub fn fail(&self, fault: Fault) {
        *lock(&self.shared.when) = When::Always(fault);
    }

    /// Forgets all sessions, as a restarted server does: who names an old one gets status 400 and a
    /// JSON-RPC error without an id, as from servers that are built with the TypeScript SDK.
    pub fn forget_sessions(&self) {
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Everything that came, in order.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// How often a tool was called.
    pub fn calls(&self) -> usize {
        lock(&self.shared.received).iter().filter(|request| request.is_call()).count()
    }

    /// How many clients closed their connection while they waited for [`Fault::Hang`] or
    /// [`Fault::SseStops`].
    pub fn abandoned(&self) -> u64 {
        self.shared.abandoned.load(Ordering::Acquire)
    }
}

impl Drop for HttpFault {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        for (_, connection) in lock(&self.shared.connections).iter() {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// A thread that panicked while it held one of these locks has failed the test already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Shared {
    fn converse(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader)? {
            lock(&self.received).push(request.clone());
            let fault = match &*lock(&self.when) {
                When::Always(fault) => Some(fault.clone()),
                When::OnCalls(fault) if request.is_call() => Some(fault.clone()),
                When::Never | When::OnCalls(_) => None,
            };
            match fault {
                None => self.behave(stream, &request)?,
                Some(fault) => self.misbehave(stream, &request, &fault)?,
            }
        }
        Ok(())
    }

    fn behave(&self, stream: &TcpStream, request: &Received) -> io::Result<()> {
        let Some(message) = request.message.as_ref().filter(|_| request.method == "POST") else {
            let status = if request.method == "DELETE" { 200 } else { 405 };
            return respond(stream, status, &[], "");
        };
        let generation = self.generation.load(Ordering::Acquire).to_string();
        if request.header("mcp-session-id").is_some_and(|session| session != generation) {
            let stale = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}"#;
            return respond(stream, 400, &[JSON], stale);
        }
        if message.id.is_none() {
            return respond(stream, 202, &[], "");
        }
        let session = ("mcp-session-id", generation.as_str());
        let headers: &[_] = if message.method == "initialize" { &[JSON, session] } else { &[JSON] };
        let answer = message.answer(self.eras, &plain_tools::list());
        respond(stream, 200, headers, &answer.unwrap_or_else(|| plain_tools::call(message)))
    }

    fn misbehave(
        &self,
        mut stream: &TcpStream,
        request: &Received,
        fault: &Fault,
    ) -> io::Result<()> {
        let over = || Err(io::ErrorKind::ConnectionAborted.into());
        match fault {
            Fault::Status(status) => {
                let header = match status {
                    401 => ("www-authenticate", "Bearer realm=\"toolcell-tests\""),
                    429 | 503 => ("retry-after", "1"),
                    _ => JSON,
                };
                respond(stream, *status, &[header], "{\"error\":\"as told\"}")
            }
            Fault::Hang => self.wait_for_the_client_to_go(stream),
            Fault::Reset => reset(stream).and_then(|()| over()),
            Fault::Truncated => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")?;
                stream.write_all(b"content-length: 1000\r\n\r\n{\"jsonrpc\":")?;
                stream.shutdown(Shutdown::Both).and_then(|()| over())
            }
            Fault::Redirect(url) => respond(stream, 307, &[("location", url)], ""),
            Fault::HugeBody(bytes) => {
                let (head, tail) = (r#"{"jsonrpc":"2.0","id":"#, r#""}]}}"#);
                let id = request.message.as_ref().and_then(|message| message.id.clone());
                let head = format!(
                    r#"{head}{},"result":{{"content":[{{"type":"text","text":""#,
                    id.unwrap_or_default()
                );
                let length = head.len() + bytes + tail.len();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")?;
                write!(stream, "content-length: {length}\r\n\r\n{head}")?;
                io::copy(&mut io::repeat(b'x').take(*bytes as u64), &mut stream)?;
                stream.write_all(tail.as_bytes())
            }
            Fault::SseStops => {
                stream.write_all(SSE.as_bytes())?;
                stream.write_all(b"event: message\ndata: {\"jsonrpc\":")?;
                self.wait_for_the_client_to_go(stream)
            }
            Fault::SseEnds => {
                stream.write_all(SSE.as_bytes())?;
                stream.write_all(b": nothing to say\n\n")?;
                stream.shutdown(Shutdown::Both).and_then(|()| over())
            }
            Fault::Html => {
                let page = "<!doctype html><title>Welcome</title><p>It works!";
                respond(stream, 200, &[("content-type", "text/html")], page)
            }
        }
    }

    /// Returns when the client has closed the connection, or this server ends.
    fn wait_for_the_client_to_go(&self, mut stream: &TcpStream) -> io::Result<()> {
        while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
        if !self.stopping.load(Ordering::Acquire) {
            self.abandoned.fetch_add(1, Ordering::AcqRel);
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// The head of an event stream that ends with its connection.
const SSE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// An answer with a body of known length.
pub(crate) fn respond(
    mut stream: &TcpStream,
    status: u16,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<()> {
    let mut text = format!("HTTP/1.1 {status} As-Told\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{text}\r\n{body}").as_bytes())
}

/// Reads one request with `content-length`. `None` at the end of the connection.
pub(crate) fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Received>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, path) = (word(), word());
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().unwrap_or(0);
        }
        headers.push((name, value));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Received { method, path, headers, message: Request::parse(&body), body }))
}

/// Closes a connection so that the client gets a reset instead of an end of file: the socket lingers
/// for no time, and then goes.
fn reset(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = libc::socklen_t::try_from(size_of_val(&linger)).expect("two integers are short");
    // SAFETY: the descriptor is open, and the pointer and length describe `linger`.
    let failed = unsafe {
        let value = (&raw const linger).cast();
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, length)
    };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::{PATIENCE, wait_until};

    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    const CALL: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hi"}}}"#;

    /// Posts one message over a connection of its own and returns all that comes back.
    fn post(server: &HttpFault, session: &str, body: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(server.address)?;
        let length = body.len();
        write!(
            stream,
            "POST /mcp HTTP/1.1\r\nmcp-session-id: {session}\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn it_behaves_until_it_is_told_otherwise() {
        let server = HttpFault::behaving(Eras::Legacy);
        let hello = post(&server, "1", INITIALIZE).expect("an answer");
        assert!(hello.contains("mcp-session-id: 1") && hello.contains("2025-11-25"), "{hello}");
        assert!(post(&server, "1", CALL).expect("an answer").contains(r#""text":"hi""#));
        server.fail_calls(Fault::Status(503));
        let busy = post(&server, "1", CALL).expect("an answer");
        assert!(busy.starts_with("HTTP/1.1 503") && busy.contains("retry-after: 1"), "{busy}");
        assert!(post(&server, "1", INITIALIZE).expect("an answer").contains("200"));
        server.heal();
        server.forget_sessions();
        let stale = post(&server, "1", CALL).expect("an answer");
        assert!(stale.starts_with("HTTP/1.1 400") && !stale.contains("\"id\""), "{stale}");
        assert_eq!(server.calls(), 3);
        assert_eq!(server.received()[0].header("mcp-session-id"), Some("1"));
    }

    #[test]
    fn a_reset_is_a_reset() {
        let server = HttpFault::always(Eras::Both, Fault::Reset);
        let error = post(&server, "1", CALL).expect_err("no answer");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_huge_body_has_the_announced_length() {
        let server = HttpFault::on_calls(Eras::Legacy, Fault::HugeBody(3 << 20));
        let answer = post(&server, "1", CALL).expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("headers and a body");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["result"]["content"][0]["text"].as_str().map(str::len), Some(3 << 20));
    }

    #[test]
    fn a_client_that_gives_up_is_noticed() {
        let server = HttpFault::on_calls(Eras::Legacy, Fault::Hang);
        assert_eq!(post(&server, "1", CALL).expect("the end"), "");
        wait_until(PATIENCE, "the client was seen to go", || server.abandoned() == 1);
    }
}
