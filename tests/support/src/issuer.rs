//! An authorization server as far as those know it who check its tokens: metadata, keys, and tokens
//! signed with them. It signs whatever a test wants, and replaces its key when told so.

use std::io::{self, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::http_fault::{read_request, respond};

/// The issuer. It ends when this is dropped.
#[derive(Debug)]
pub struct Issuer {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
    stopping: AtomicBool,
}

#[derive(Debug)]
struct State {
    keys: KeyPair,
    generation: u64,
    key_fetches: usize,
    connections: Vec<TcpStream>,
}

impl State {
    fn key_id(&self) -> String {
        format!("key-{}", self.generation)
    }
}

impl Issuer {
    /// Starts it.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of loopback is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state =
            State { keys: new_keys(), generation: 1, key_fetches: 0, connections: Vec::new() };
        let shared = Arc::new(Shared {
            address,
            state: Mutex::new(state),
            stopping: AtomicBool::new(false),
        });
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

    /// What stands in the claim `iss`, and where its metadata begins.
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// How often its keys were fetched.
    pub fn key_fetches(&self) -> usize {
        self.shared.state().key_fetches
    }

    /// Replaces its key; tokens of the old one are no longer its own.
    pub fn rotate(&self) {
        let mut state = self.shared.state();
        state.keys = new_keys();
        state.generation += 1;
    }

    /// Good claims: from it, for `audience`, about `subject`, for an hour.
    pub fn claims(&self, audience: &str, subject: &str) -> Value {
        json!({ "iss": self.url(), "aud": audience, "sub": subject, "exp": now() + 3_600 })
    }

    /// A token with these claims, signed as it should be.
    pub fn token(&self, claims: &Value) -> String {
        let kid = self.shared.state().key_id();
        self.token_by(&kid, claims)
    }

    /// The same, but its header names another key.
    pub fn token_by(&self, key_id: &str, claims: &Value) -> String {
        let header = Header { kid: Some(key_id.to_owned()), ..Header::new(Algorithm::ES256) };
        sign(&header, claims, &self.shared.state().keys)
    }

    /// A token that somebody else signed, and that names this issuer's key.
    pub fn forged(&self, claims: &Value) -> String {
        let kid = Some(self.shared.state().key_id());
        sign(&Header { kid, ..Header::new(Algorithm::ES256) }, claims, &new_keys())
    }

    /// A token that nobody signed and that says so.
    pub fn unsigned(&self, claims: &Value) -> String {
        let head = json!({ "alg": "none", "typ": "JWT", "kid": self.shared.state().key_id() });
        format!(
            "{}.{}.",
            base64url(head.to_string().as_bytes()),
            base64url(claims.to_string().as_bytes())
        )
    }

    /// A token signed with the public key as if it were a secret, which everybody could do.
    pub fn confused(&self, claims: &Value) -> String {
        let state = self.shared.state();
        let header = Header { kid: Some(state.key_id()), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(state.keys.public_key_pem().as_bytes());
        encode(&header, claims, &key).expect("claims can be signed")
    }
}

impl Drop for Issuer {
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

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn converse(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader)? {
            let document = match request.path.as_str() {
                "/.well-known/oauth-authorization-server" => json!({
                    "issuer": self.url(),
                    "jwks_uri": format!("{}/keys", self.url()),
                    "authorization_endpoint": format!("{}/authorize", self.url()),
                    "token_endpoint": format!("{}/token", self.url()),
                    "response_types_supported": ["code"],
                }),
                "/keys" => {
                    let mut state = self.state();
                    state.key_fetches += 1;
                    // A kind of key that nobody knows is no reason to give up the others.
                    let odd = json!({ "kty": "odd", "kid": "odd" });
                    json!({ "keys": [odd, jwk(&state)] })
                }
                _ => {
                    respond(stream, 404, &[], "")?;
                    continue;
                }
            };
            respond(stream, 200, &[("content-type", "application/json")], &document.to_string())?;
        }
        Ok(())
    }
}

/// Seconds since 1970, as tokens count them.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is later than 1970").as_secs()
}

fn new_keys() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}

fn sign(header: &Header, claims: &Value, keys: &KeyPair) -> String {
    let key = EncodingKey::from_ec_pem(keys.serialize_pem().as_bytes()).expect("a key for ES256");
    encode(header, claims, &key).expect("claims can be signed")
}

fn jwk(state: &State) -> Value {
    // An uncompressed point: a byte that says so, and the two coordinates.
    let point = state.keys.public_key_raw();
    let (x, y) = point[1..].split_at(32);
    json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": state.key_id(),
        "x": base64url(x), "y": base64url(y) })
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .chain([0, 0].iter())
            .take(3)
            .fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        for place in 0..=group.len() {
            text.push(char::from(DIGITS[bits >> (18 - 6 * place) & 63]));
        }
    }
    text
}
