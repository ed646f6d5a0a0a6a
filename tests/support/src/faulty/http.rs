//! MCP over HTTP in both of its ways, written by hand: a library would refuse to break a connection
//! in the middle of an answer.

use std::io::{self, BufReader};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::plan::Deed;
use super::socket::{Framing, Socket};
use super::{Fault, Seen, Shared, Wire, lock};
use crate::http_fault::{Received, read_request, respond};
use crate::tiny_mcp::{Eras, Request};

const JSON: (&str, &str) = ("content-type", "application/json");
const EVENTS: (&str, &str) = ("content-type", "text/event-stream");

/// The head of a stream that ends with its connection.
const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

impl Shared {
    pub(super) fn serve_http(self: &Arc<Self>, socket: &Arc<Socket>) -> io::Result<()> {
        let mut reader = BufReader::new(socket.stream());
        while let Some(received) = read_request(&mut reader)? {
            let known = match self.wire {
                Wire::Sse => received.path == "/sse" || received.path.starts_with("/message?"),
                _ => received.path == "/mcp",
            };
            match &*received.method {
                _ if !known => {
                    respond(socket.stream(), 404, &[], "Cannot find that")?;
                }
                "POST" if self.wire == Wire::Sse => self.post_aside(socket, &received)?,
                "POST" => self.post(socket, &received)?,
                "GET" if self.wire == Wire::Sse => return self.open_stream(socket, true),
                "GET" if self.session_of(&received).is_some_and(|session| session.is_ok()) => {
                    return self.open_stream(socket, false);
                }
                "DELETE" => {
                    let ended = received.header("mcp-session-id").unwrap_or_default();
                    lock(&self.sessions).retain(|session| session != ended);
                    respond(socket.stream(), 200, &[], "")?;
                }
                _ => respond(socket.stream(), 405, &[], "")?,
            }
        }
        Ok(())
    }

    /// The session that a request names: one that is alive, or not.
    fn session_of(&self, received: &Received) -> Option<Result<String, ()>> {
        let session = received.header("mcp-session-id")?.to_owned();
        let alive = lock(&self.sessions).contains(&session);
        Some(if alive { Ok(session) } else { Err(()) })
    }

    fn note_request(&self, socket: &Socket, received: &Received, session: Option<String>) {
        if let Some(message) = received.message.clone() {
            let token = received.header("authorization").unwrap_or_default().to_owned();
            self.note(Seen { connection: socket.number, session, token, message });
        }
    }

    /// A stream for what the server says unasked, and in the old way for everything.
    fn open_stream(&self, socket: &Socket, with_endpoint: bool) -> io::Result<()> {
        match self.plan.at_connect() {
            Some(Fault::Status(status)) if with_endpoint => return self.refuse(socket, status),
            Some(Fault::UnknownMediaType) if with_endpoint => {
                return respond(socket.stream(), 200, &[("content-type", "text/html")], "<p>");
            }
            _ => {}
        }
        socket.write(STREAM)?;
        // Whoever knows the endpoint may be answered at once.
        socket.carry(Framing::Events);
        if with_endpoint {
            let number = socket.number;
            let endpoint = format!("event: endpoint\ndata: /message?sessionId={number}\n\n");
            socket.write(endpoint.as_bytes())?;
        }
        socket.wait_for_the_client_to_go();
        Ok(())
    }

    /// A message whose answer goes over the client's stream.
    fn post_aside(self: &Arc<Self>, socket: &Socket, received: &Received) -> io::Result<()> {
        let session = received.path.rsplit_once('=').map_or("", |(_, session)| session);
        let stream = session.parse().ok().and_then(|number| self.sockets.get(number));
        let Some(stream) = stream else {
            return respond(socket.stream(), 404, &[], "Session not found");
        };
        let Some(message) = &received.message else {
            // An answer to a question of ours.
            return respond(socket.stream(), 202, &[], "");
        };
        self.note_request(socket, received, Some(session.to_owned()));
        match self.deed(message) {
            Deed::Status(status) => self.refuse(socket, status),
            Deed::MediaType(_) => {
                respond(socket.stream(), 200, &[("content-type", "text/html")], "<p>It works!")
            }
            deed => {
                respond(socket.stream(), 202, &[], "Accepted")?;
                self.perform_in_stream(&stream, deed)
            }
        }
    }

    /// A message that is answered in its own exchange.
    fn post(&self, socket: &Socket, received: &Received) -> io::Result<()> {
        let Some(message) = &received.message else {
            return respond(socket.stream(), 202, &[], "");
        };
        let session = match self.session_of(received) {
            Some(Err(())) => {
                return respond(socket.stream(), 404, &[JSON], "{\"error\":\"no such session\"}");
            }
            session => session.and_then(Result::ok),
        };
        self.note_request(socket, received, session);
        if message.id.is_none() {
            return respond(socket.stream(), 202, &[], "");
        }
        let streams = self.eras != Eras::Modern && !message.is_modern();
        match self.deed(message) {
            Deed::Nothing => {
                socket.wait_for_the_client_to_go();
                gone()
            }
            Deed::Answer(answers) => self.respond(socket, message, &answers, streams),
            Deed::Half(answer) if streams || self.plan.is_armed(Fault::StreamStops) => {
                socket.write(STREAM)?;
                socket.write(half_event(&answer).as_bytes())?;
                socket.wait_for_the_client_to_go();
                gone()
            }
            Deed::Half(answer) => {
                socket.write(half_body(&answer).as_bytes())?;
                socket.wait_for_the_client_to_go();
                gone()
            }
            Deed::Exit => {
                self.exit();
                gone()
            }
            Deed::Reset(answer) => {
                let begun = if streams {
                    format!("{}{}", String::from_utf8_lossy(STREAM), half_event(&answer))
                } else {
                    half_body(&answer)
                };
                socket.write(begun.as_bytes())?;
                socket.reset();
                gone()
            }
            Deed::Close => {
                socket.close();
                gone()
            }
            Deed::Status(status) => self.refuse(socket, status),
            Deed::MediaType(answer) => {
                respond(socket.stream(), 200, &[("content-type", "application/x-odd")], &answer)
            }
        }
    }

    fn respond(
        &self,
        socket: &Socket,
        message: &Request,
        answers: &[String],
        streams: bool,
    ) -> io::Result<()> {
        let mut headers = vec![if streams { EVENTS } else { JSON }];
        let session;
        if message.method == "initialize" {
            session = format!("session-{}", self.next_session.fetch_add(1, Ordering::AcqRel));
            lock(&self.sessions).push(session.clone());
            headers.push(("mcp-session-id", &session));
        }
        let body = match (streams, answers) {
            (true, _) => answers
                .iter()
                .map(|answer| format!("event: message\ndata: {answer}\n\n"))
                .collect::<String>(),
            (false, [answer]) => answer.clone(),
            (false, _) => format!("[{}]", answers.join(",")),
        };
        respond(socket.stream(), 200, &headers, &body)
    }

    fn refuse(&self, socket: &Socket, status: u16) -> io::Result<()> {
        let header = match status {
            401 => ("www-authenticate", "Bearer realm=\"toolcell-tests\""),
            429 | 503 => ("retry-after", "1"),
            _ => JSON,
        };
        respond(socket.stream(), status, &[header], "{\"error\":\"as told\"}")
    }
}

fn half_event(answer: &str) -> String {
    format!("event: message\ndata: {}", &answer[..answer.len() / 2])
}

fn half_body(answer: &str) -> String {
    let (length, half) = (answer.len(), &answer[..answer.len() / 2]);
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{half}"
    )
}

/// The connection is of no more use.
fn gone() -> io::Result<()> {
    Err(io::ErrorKind::ConnectionAborted.into())
}
