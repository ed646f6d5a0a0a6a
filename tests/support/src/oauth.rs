//! An OAuth authorization server and the MCP server that it protects, on one port of loopback. It
//! registers anybody, agrees at once, and grants tokens that end when a test says so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use reqwest::Url;
use serde_json::json;

use crate::http_fault::{Received, read_request, respond};
use crate::plain_tools;
use crate::tiny_mcp::Eras;

/// The client that need not register, and its secret, which alone gets it a token.
pub const CLIENT: (&str, &str) = ("a-service", "s3cret-of-the-service");

const JSON: (&str, &str) = ("content-type", "application/json");

/// The servers. They end when this is dropped.
#[derive(Debug)]
pub struct OAuthServer {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
    stopping: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    issued: u64,
    /// What was said at the authorization endpoint, by code.
    codes: BTreeMap<String, Asked>,
    access: BTreeSet<String>,
    refresh: BTreeSet<String>,
    /// All tokens and codes that ever were.
    secrets: Vec<String>,
    /// How often each grant was used, refused ones included.
    grants: BTreeMap<String, usize>,
    connections: Vec<TcpStream>,
}

#[derive(Clone, Debug)]
struct Asked {
    client: String,
    redirect_uri: String,
}

impl OAuthServer {
    /// Starts them.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of loopback is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let stopping = AtomicBool::new(false);
        let shared = Arc::new(Shared { address, state: Mutex::default(), stopping });
        let of_acceptor = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_acceptor.stopping.load(Ordering::Acquire) {
                    return;
                }
                let Ok(copy) = stream.try_clone() else { continue };
                of_acceptor.state().connections.push(copy);
                let shared = Arc::clone(&of_acceptor);
                thread::spawn(move || {
                    // A client may go at any time.
                    let _ = shared.converse(&stream);
                });
            }
        });
        Self { shared, acceptor: Some(acceptor) }
    }

    /// The MCP endpoint.
    pub fn url(&self) -> String {
        format!("{}/mcp", self.shared.base())
    }

    /// As a configuration's server.
    pub fn server(&self) -> crate::Server {
        crate::Server::http(self.url())
    }

    /// No access token is accepted any more. What refreshes them is.
    pub fn expire(&self) {
        self.shared.state().access.clear();
    }

    /// Nothing that was granted is accepted any more.
    pub fn revoke(&self) {
        let mut state = self.shared.state();
        state.access.clear();
        state.refresh.clear();
    }

    /// How often tokens were asked for with this grant.
    pub fn grants(&self, grant: &str) -> usize {
        self.shared.state().grants.get(grant).copied().unwrap_or_default()
    }

    /// Every token and code that was ever handed out.
    pub fn secrets(&self) -> Vec<String> {
        self.shared.state().secrets.clone()
    }

    /// Does what a browser does with the address that a person is shown: visits it, agrees, and gives
    /// the address to which it is sent.
    ///
    /// # Panics
    /// It is sent nowhere.
    pub async fn agree(url: &str) -> String {
        let policy = reqwest::redirect::Policy::none();
        let browser = reqwest::Client::builder().redirect(policy).build().expect("a client");
        let response = browser.get(url).send().await.expect("the authorization server answers");
        let location = response.headers().get(reqwest::header::LOCATION);
        let location = location.expect("it redirects").to_str().expect("it is a URL");
        location.to_owned()
    }
}

impl Drop for OAuthServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        for connection in &self.shared.state().connections {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect(self.shared.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl State {
    fn secret(&mut self, kind: &str) -> String {
        self.issued += 1;
        let secret = format!("s3cret-{kind}-{}", self.issued);
        self.secrets.push(secret.clone());
        secret
    }

    fn tokens(&mut self, refreshes: bool) -> String {
        let access = self.secret("access");
        self.access.insert(access.clone());
        let mut tokens = json!({
            "access_token": access, "token_type": "Bearer", "expires_in": 3600, "scope": "tools",
        });
        if refreshes {
            let refresh = self.secret("refresh");
            self.refresh.insert(refresh.clone());
            tokens["refresh_token"] = refresh.into();
        }
        tokens.to_string()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    fn converse(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader)? {
            let base = self.base();
            let url = Url::parse(&format!("{base}{}", request.path)).expect("a path in a URL");
            match (request.method.as_str(), url.path()) {
                ("GET", "/.well-known/oauth-protected-resource/mcp") => {
                    let document = json!({
                        "resource": format!("{base}/mcp"),
                        "authorization_servers": [base],
                        "scopes_supported": ["tools"],
                    });
                    respond(stream, 200, &[JSON], &document.to_string())?;
                }
                ("GET", "/.well-known/oauth-authorization-server") => {
                    let document = json!({
                        "issuer": base,
                        "authorization_endpoint": format!("{base}/authorize"),
                        "token_endpoint": format!("{base}/token"),
                        "registration_endpoint": format!("{base}/register"),
                        "response_types_supported": ["code"],
                        "code_challenge_methods_supported": ["S256"],
                        "authorization_response_iss_parameter_supported": true,
                    });
                    respond(stream, 200, &[JSON], &document.to_string())?;
                }
                ("POST", "/register") => {
                    let client = json!({ "client_id": "registered", "redirect_uris": [] });
                    respond(stream, 201, &[JSON], &client.to_string())?;
                }
                ("GET", "/authorize") => self.authorize(stream, &url)?,
                ("POST", "/token") => self.token(stream, &request)?,
                ("POST", "/mcp") => self.mcp(stream, &request)?,
                (_, "/mcp") => respond(stream, 405, &[], "")?,
                _ => respond(stream, 404, &[], "")?,
            }
        }
        Ok(())
    }

    fn authorize(&self, stream: &TcpStream, url: &Url) -> io::Result<()> {
        let asked = form(url.query().unwrap_or_default());
        let of = |name: &str| asked.get(name).cloned().unwrap_or_default();
        assert_eq!(of("code_challenge_method"), "S256", "PKCE is used: {asked:?}");
        assert_eq!(of("resource"), format!("{}/mcp", self.base()), "the resource is named");
        let mut state = self.state();
        let code = state.secret("code");
        let redirect_uri = of("redirect_uri");
        let mut back = Url::parse(&redirect_uri).expect("the redirect URI is a URL");
        back.query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &of("state"))
            .append_pair("iss", &self.base());
        state.codes.insert(code, Asked { client: of("client_id"), redirect_uri });
        drop(state);
        respond(stream, 302, &[("location", back.as_str())], "")
    }

    fn token(&self, stream: &TcpStream, request: &Received) -> io::Result<()> {
        let asked = form(&request.body);
        let of = |name: &str| asked.get(name).map_or("", String::as_str);
        let mut state = self.state();
        *state.grants.entry(of("grant_type").to_owned()).or_default() += 1;
        let tokens = match of("grant_type") {
            "authorization_code" => state.codes.remove(of("code")).and_then(|known| {
                let same = known.client == of("client_id")
                    && known.redirect_uri == of("redirect_uri")
                    && of("code_verifier").len() >= 43;
                same.then(|| state.tokens(true))
            }),
            // Each is good for one use.
            "refresh_token" => {
                state.refresh.remove(of("refresh_token")).then(|| state.tokens(true))
            }
            "client_credentials" => {
                let same = (of("client_id"), of("client_secret")) == CLIENT;
                same.then(|| state.tokens(false))
            }
            _ => None,
        };
        drop(state);
        match tokens {
            Some(tokens) => respond(stream, 200, &[JSON], &tokens),
            None => respond(stream, 400, &[JSON], r#"{"error":"invalid_grant"}"#),
        }
    }

    fn mcp(&self, stream: &TcpStream, request: &Received) -> io::Result<()> {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let known = token.is_some_and(|token| self.state().access.contains(token));
        if !known {
            let document = format!("{}/.well-known/oauth-protected-resource/mcp", self.base());
            let challenge =
                format!(r#"Bearer resource_metadata="{document}", error="invalid_token""#);
            // A server that quotes what it does not like.
            let body = format!("no such token: {}", token.unwrap_or("none"));
            return respond(stream, 401, &[("www-authenticate", challenge.as_str())], &body);
        }
        let Some(message) = &request.message else { return respond(stream, 400, &[], "") };
        if message.id.is_none() {
            return respond(stream, 202, &[], "");
        }
        let answer = message.answer(Eras::Both, &plain_tools::list());
        respond(stream, 200, &[JSON], &answer.unwrap_or_else(|| plain_tools::call(message)))
    }
}

/// The pairs of a query or a form.
fn form(text: &str) -> BTreeMap<String, String> {
    let url = Url::parse(&format!("http://form/?{text}")).expect("a form fits into a URL");
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}
