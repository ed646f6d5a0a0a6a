//! How toolcell serves: who may come, and how much of us they may take.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::access::AccessSettings;
pub use super::http::bridge::{AllowedCommand, AllowedServer, AllowedUrl, BridgeSettings, Glob};
pub use crate::runs::SessionSettings;

/// What the operator decided about serving (`[server]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Names by which clients may call us (`Host`), besides those of this machine alone.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may call us, besides those of this machine.
    pub allowed_origins: Vec<String>,
    /// Bytes of one request's body.
    pub max_body_bytes: usize,
    /// How long a client may take to send a request.
    pub request_timeout: Duration,
    /// Connections at once.
    pub max_connections: usize,
    /// Sessions of MCP at once; the one that was idle for longest gives way.
    pub max_mcp_sessions: usize,
    /// How long a session of MCP may be idle.
    pub mcp_session_idle: Duration,
    /// Sessions of Python at once, of one caller and of all.
    pub sessions: SessionSettings,
    /// Bytes of a result that a client gets at once; the rest is kept and fetched by pages.
    pub result_bytes: usize,
    /// Whether clients are told that lists have changed.
    pub list_changed: bool,
    /// Who may come in, and what each caller may take.
    pub access: AccessSettings,
    /// The bridge for web clients, if there is one.
    pub bridge: Option<BridgeSettings>,
}

impl ServerSettings {
    /// The port where nobody says otherwise.
    pub const DEFAULT_PORT: u16 = 7420;

    /// Whether only programs of this machine can reach us.
    pub fn is_on_loopback(&self) -> bool {
        self.listen.ip().is_loopback()
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Self::DEFAULT_PORT),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            max_body_bytes: 16 << 20,
            request_timeout: Duration::from_secs(30),
            max_connections: 4_096,
            max_mcp_sessions: 10_000,
            mcp_session_idle: Duration::from_secs(30 * 60),
            sessions: SessionSettings::default(),
            result_bytes: 64 << 10,
            list_changed: true,
            access: AccessSettings::default(),
            bridge: None,
        }
    }
}
