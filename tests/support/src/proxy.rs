//! What stands between a client and a server on the net: a proxy, and an end of TLS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::copy_bidirectional;
use tokio_rustls::TlsAcceptor;

/// A proxy that takes everybody to one server, whatever name they ask for. Its threads end with the
/// test's process.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// A proxy in front of the server at `to`.
    ///
    /// # Panics
    /// There is no free port.
    pub fn before(to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of loopback is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = heads.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let seen = seen.clone();
                // A client that goes away in the middle is no fault of the test.
                thread::spawn(move || drop(forward(client, to, &seen)));
            }
        });
        Self { address, heads }
    }

    /// `host:port`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The head of the first request on each connection.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn forward(client: TcpStream, to: SocketAddr, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
    let mut server = TcpStream::connect(to)?;
    let mut back = (server.try_clone()?, client.try_clone()?);
    if head.starts_with("CONNECT ") {
        back.1.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    } else {
        server.write_all(head.as_bytes())?;
    }
    thread::spawn(move || {
        let _ = io::copy(&mut back.0, &mut back.1);
        let _ = back.1.shutdown(Shutdown::Write);
    });
    io::copy(&mut reader.by_ref(), &mut server)?;
    server.shutdown(Shutdown::Write)
}

/// The end of TLS for `localhost`, in front of a server that speaks plain HTTP.
#[derive(Debug)]
pub struct TlsEnd {
    address: SocketAddr,
    authority: String,
}

impl TlsEnd {
    /// An end of TLS in front of the server at `to`.
    ///
    /// # Panics
    /// There is no free port.
    pub fn before(to: SocketAddr) -> Self {
        let (authority, config) = certified("localhost").expect("certificates can be made");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of loopback is free");
        listener.set_nonblocking(true).expect("a socket can be made not to block");
        let address = listener.local_addr().expect("a bound socket has an address");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.expect("a runtime starts");
        thread::spawn(move || {
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("not blocking");
                while let Ok((client, _)) = listener.accept().await {
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        // A client that trusts nobody ends the handshake.
                        let mut client = acceptor.accept(client).await?;
                        let mut server = tokio::net::TcpStream::connect(to).await?;
                        copy_bidirectional(&mut client, &mut server).await
                    });
                }
            });
        });
        Self { address, authority }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The MCP endpoint behind it.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/mcp", self.address.port())
    }

    /// The certificate of its authority, in PEM form.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

type Certified = (String, rustls::ServerConfig);

fn certified(name: &str) -> Result<Certified, Box<dyn std::error::Error>> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    let pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok((pem, config))
}
