//! A web client of the bridge, as a browser's page is one: it asks for a session, opens the WebSocket that
//! it was given, and speaks frames. And a `toolcell serve` with a bridge to speak with.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::processes::PATIENCE;
use crate::serving::{HttpRequest, Reply};
use crate::{Cli, Serving};

/// A running `toolcell serve` with a bridge, and the token that it printed.
pub struct Bridged {
    serving: Serving,
    token: String,
}

/// What a client was given.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The session's id.
    pub id: String,
    /// The path of its WebSocket.
    pub url: String,
}

impl Bridged {
    /// Starts it with this configuration, which needs not name the bridge.
    #[track_caller]
    pub fn start(toml: &str) -> Self {
        Self::of(Cli::new("serve"), toml)
    }

    /// The same, in this program's folder and environment.
    #[track_caller]
    pub fn of(cli: Cli, toml: &str) -> Self {
        let named = toml.contains("[server.bridge]");
        let toml = if named { toml.to_owned() } else { format!("[server.bridge]\n{toml}") };
        let serving = Serving::of(cli.config(&toml));
        let line = serving.process().wait_for_line("the bridge's token is ");
        let token = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        Self { serving, token }
    }

    /// The listener.
    pub fn serving(&self) -> &Serving {
        &self.serving
    }

    /// What it printed.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Gives it up, to be stopped.
    pub fn into_serving(self) -> Serving {
        self.serving
    }

    /// A request for a session with this server.
    pub fn connect(&self, params: &Value) -> HttpRequest<'_> {
        self.serving
            .request("POST", "/api/mcp/ws/connect")
            .header("Content-Type", "application/json")
            .header("Authorization", &format!("Bearer {}", self.token))
            .body(json!({ "server_params": params }).to_string())
    }

    /// Asks for a session, and gets it.
    #[track_caller]
    pub fn ticket(&self, params: &Value) -> Ticket {
        let reply = self.connect(params).send();
        assert_eq!(reply.status, 200, "{reply:?}");
        let body = reply.json();
        assert_eq!(body["status"], true, "{body}");
        let text = |member: &str| body[member].as_str().expect("a text").to_owned();
        Ticket { id: text("session_id"), url: text("websocket_url") }
    }

    /// Opens a WebSocket with these headers; else gives the HTTP status of the refusal.
    pub async fn upgrade(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<WebClient, u16> {
        let url = format!("ws://{}{path}", self.serving.address());
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a header");
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let connecting = tokio_tungstenite::connect_async_with_config(request, Some(config), false);
        match tokio::time::timeout(PATIENCE, connecting).await.expect("an answer in time") {
            Ok((socket, _)) => Ok(WebClient { socket }),
            Err(Error::Http(refusal)) => Err(refusal.status().as_u16()),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// A session with this server: its ticket, and the socket before its first frame.
    pub async fn session(&self, params: &Value) -> (Ticket, WebClient) {
        let ticket = self.ticket(params);
        let client = self.upgrade(&ticket.url, &[]).await.expect("the ticket is good");
        (ticket, client)
    }

    /// A session that has begun: after `initialized`.
    pub async fn open(&self, params: &Value) -> (Ticket, WebClient) {
        let (ticket, mut client) = self.session(params).await;
        let frame = client.next().await;
        assert_eq!(frame["type"], "initialized", "{frame}");
        (ticket, client)
    }

    /// A session with a server of the configuration.
    pub async fn open_named(&self, server: &str) -> (Ticket, WebClient) {
        self.open(&named(server)).await
    }

    /// A session's status, as its owner sees it.
    #[track_caller]
    pub fn status(&self, id: &str) -> Value {
        self.status_as(id, Some(&self.token)).json()
    }

    /// The same, as whoever shows this token sees it.
    #[track_caller]
    pub fn status_as(&self, id: &str, token: Option<&str>) -> Reply {
        let request = self.serving.request("GET", &format!("/api/mcp/ws/status/{id}"));
        match token {
            Some(token) => request.header("Authorization", &format!("Bearer {token}")).send(),
            None => request.send(),
        }
    }
}

/// The parameters that name a server of the configuration.
pub fn named(server: &str) -> Value {
    json!({ "type": "NamedServerParams", "server": server })
}

/// The parameters of a program.
pub fn stdio(command: &str, args: &[&str]) -> Value {
    json!({ "type": "StdioServerParams", "command": command, "args": args })
}

/// The client's end of a WebSocket.
pub struct WebClient {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl WebClient {
    /// Sends a frame.
    pub async fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Sends a text.
    pub async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await.expect("the socket is open");
    }

    /// Sends anything. It fails with the socket.
    ///
    /// # Errors
    /// The socket is closed, or broke.
    pub async fn send_message(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message).await
    }

    /// Sends the beginning of a frame, and no more.
    pub async fn send_half_a_frame(&mut self) {
        use tokio::io::AsyncWriteExt as _;
        let MaybeTlsStream::Plain(stream) = self.socket.get_mut() else { panic!("no TLS here") };
        // A masked text of 100 bytes, of which three come.
        stream
            .write_all(&[0x81, 0x80 | 100, 1, 2, 3, 4, b'a', b'b', b'c'])
            .await
            .expect("it is sent");
    }

    /// The next frame.
    pub async fn next(&mut self) -> Value {
        match self.message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).expect("a frame is JSON"),
            other => panic!("no frame: {other:?}"),
        }
    }

    /// The next frame of this type; what comes before is passed over.
    pub async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// The next message of JSON-RPC with this id.
    pub async fn answer(&mut self, id: &Value) -> Value {
        loop {
            let frame = self.next().await;
            if frame["jsonrpc"] == "2.0" && frame["id"] == *id {
                return frame;
            }
        }
    }

    /// The next notification of JSON-RPC of this method.
    pub async fn told(&mut self, method: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["jsonrpc"] == "2.0" && frame["method"] == method {
                return frame;
            }
        }
    }

    /// Begins an operation.
    pub async fn begin(&mut self, operation: &str, mut fields: Value) {
        fields["type"] = "operation".into();
        fields["operation"] = operation.into();
        self.send(&fields).await;
    }

    /// Does an operation, and gives the frame that answers it.
    pub async fn operation(&mut self, operation: &str, fields: Value) -> Value {
        self.begin(operation, fields).await;
        loop {
            let frame = self.next().await;
            let is_answer =
                frame["type"] == "operation_result" || frame["type"] == "operation_error";
            if is_answer && frame["operation"] == operation {
                return frame;
            }
        }
    }

    /// Calls a tool, and gives the frame that answers.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.operation("call_tool", json!({ "tool_name": tool, "arguments": arguments })).await
    }

    /// Reads to the end: all frames, and the code and reason of the close; nothing if there was none.
    pub async fn to_the_end(&mut self) -> (Vec<Value>, Option<(u16, String)>) {
        let mut frames = Vec::new();
        loop {
            match self.message().await {
                Some(Message::Text(text)) => {
                    frames.push(serde_json::from_str(&text).expect("a frame is JSON"));
                }
                Some(Message::Close(close)) => {
                    let close = close.map(|close| (close.code.into(), close.reason.to_string()));
                    return (frames, close);
                }
                Some(_) => {}
                None => return (frames, None),
            }
        }
    }

    /// Closes the socket as browsers do.
    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
        while self.message().await.is_some() {}
    }

    /// The next message that is no ping; nothing at the end.
    async fn message(&mut self) -> Option<Message> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next.expect("something comes in time") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Waits for so long, and fails if a frame comes.
    pub async fn is_quiet(&mut self, time: Duration) {
        let next = tokio::time::timeout(time, self.socket.next()).await;
        assert!(next.is_err(), "{next:?}");
    }
}
