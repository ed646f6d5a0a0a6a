//! Where a browser comes back to after a person agreed: a listener on the loopback interface (RFC 8252
//! §7.3), open for as long as this value lives.
//!
//! Any page that the browser shows, and any program of this machine, can send requests here. So what
//! does not carry the `state` of our own question is answered with an error and otherwise ignored.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{AuthorizationPrompt, PromptError};
use crate::ids::UpstreamName;

/// The path of the redirect URI.
const PATH: &str = "/callback";

/// The most that is read of a request.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// For one request: browsers open connections on suspicion and say nothing on them.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Connections at once.
const MAX_CONNECTIONS: usize = 16;

/// Brings a URL before a person.
type Show = dyn Fn(&UpstreamName, &str) + Send + Sync;

/// Shows a person a URL, and waits for the browser on a port of the loopback interface.
pub struct Loopback {
    listener: TcpListener,
    port: u16,
    show: Box<Show>,
}

impl Loopback {
    /// Takes a port, any free one for `None`. `show` brings the URL before the person: it opens a
    /// browser, say, and must not wait.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(
        port: Option<u16>,
        show: impl Fn(&UpstreamName, &str) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0))).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port, show: Box::new(show) })
    }

    fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

#[async_trait]
impl AuthorizationPrompt for Loopback {
    fn redirect_uri(&self) -> String {
        format!("{}{PATH}", self.origin())
    }

    async fn authorize(&self, server: &UpstreamName, url: &str) -> Result<String, PromptError> {
        let state = parameter(url, "state").ok_or_else(|| {
            PromptError("the authorization URL has no state, so no answer could be trusted".into())
        })?;
        (self.show)(server, url);
        let mut connections: JoinSet<Option<String>> = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                    let (stream, _) = accepted.map_err(|error| PromptError(error.to_string()))?;
                    let (origin, state) = (self.origin(), state.clone());
                    connections.spawn(async move {
                        let answer = answer(stream, &origin, &state);
                        tokio::time::timeout(REQUEST_TIME, answer).await.ok().flatten()
                    });
                }
                Some(done) = connections.join_next() => {
                    if let Ok(Some(back)) = done {
                        return Ok(back);
                    }
                }
            }
        }
    }
}

/// Reads one request, answers it, and gives the URL if it is the one that is waited for.
async fn answer(mut stream: TcpStream, origin: &str, state: &str) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD_BYTES || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let target = target(&head);
    let back = target.map(|target| format!("{origin}{target}")).filter(|url| is_ours(url, state));
    let (status, text) = match &back {
        Some(url) if parameter(url, "error").is_none() => {
            ("200 OK", "Thank you. You can close this page and return to the terminal.")
        }
        Some(_) => ("200 OK", "Access was refused. The terminal says why."),
        None => ("404 Not Found", "Nothing is waiting for this page."),
    };
    let page = format!("<!doctype html><meta charset=utf-8><title>toolcell</title><p>{text}</p>");
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
    back
}

/// The target of a GET.
fn target(head: &[u8]) -> Option<&str> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    (words.next()? == "GET").then_some(())?;
    words.next().filter(|target| target.starts_with('/'))
}

fn is_ours(url: &str, state: &str) -> bool {
    let path = Url::parse(url).is_ok_and(|url| url.path() == PATH);
    path && parameter(url, "state").as_deref() == Some(state)
}

fn parameter(url: &str, wanted: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let found = url.query_pairs().find(|(name, _)| name == wanted);
    found.map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    async fn get(port: u16, target: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_the_answer_to_our_own_question_counts() {
        let (send, shown) = mpsc::channel();
        let send = std::sync::Mutex::new(send);
        let show = move |_: &UpstreamName, url: &str| {
            send.lock().unwrap().send(url.to_owned()).unwrap();
        };
        let loopback = Loopback::bind(None, show).await.unwrap();
        let (port, uri) = (loopback.port, loopback.redirect_uri());
        let name = UpstreamName::try_new("fake").unwrap();
        let question = "https://as.example/authorize?state=ours&x=1";
        let waiting = tokio::spawn(async move { loopback.authorize(&name, question).await });
        // A browser's connection on suspicion holds nobody up.
        let _silent = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        for stranger in ["/callback?state=theirs&code=1", "/favicon.ico", "/callback", "nonsense"] {
            assert!(get(port, stranger).await.starts_with("HTTP/1.1 404"), "{stranger}");
        }
        let thanks = get(port, "/callback?state=ours&code=2&iss=x").await;
        assert!(thanks.starts_with("HTTP/1.1 200") && thanks.contains("Thank you"), "{thanks}");
        let back = waiting.await.unwrap().unwrap();
        assert_eq!(back, format!("{uri}?state=ours&code=2&iss=x"));
        assert_eq!(shown.recv().unwrap(), question);
    }
}
