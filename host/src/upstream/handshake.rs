//! How a connection begins. MCP has two ways: up to revision 2025-11-25 the client sends
//! `initialize`; from 2026-07-28 on nothing is agreed beforehand, each request carries what the
//! server needs to know, and `server/discover` tells what the server is.
//!
//! We ask `server/discover` first. *Any* error, and silence, means `initialize`: old servers answer
//! an unknown method with many codes, or not at all.

use std::time::Duration;

use rmcp::model::ProtocolVersion;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::tool::Json;
use crate::upstream::transport::{Request, Transport, TransportError};

/// How long a server may be silent about `server/discover` before it is also sent `initialize`.
/// An answer that comes later is still taken.
const PROBE_TIME: Duration = Duration::from_secs(2);

/// The longest text that we keep of what a server says about itself.
const MAX_INFO_BYTES: usize = 256 << 10;

/// Which kind of MCP a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// With `initialize`: revisions up to 2025-11-25.
    Legacy,
    /// Stateless: revision 2026-07-28.
    Modern,
}

impl Era {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

/// What a server says about itself.
#[derive(Clone, Debug)]
pub(super) struct ServerInfo {
    pub(super) era: Era,
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) instructions: Option<String>,
    /// It says that it has tools.
    pub(super) has_tools: bool,
    /// It says that it tells when its tools change.
    pub(super) tells_tool_changes: bool,
    /// What is odd about it.
    pub(super) problems: Vec<String>,
}

/// What every modern request carries: who we are, and that we can do nothing special.
#[derive(Clone, Serialize)]
pub(super) struct RequestMeta {
    #[serde(rename = "io.modelcontextprotocol/protocolVersion")]
    protocol_version: &'static str,
    #[serde(rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Value,
    #[serde(rename = "io.modelcontextprotocol/clientInfo")]
    client: Value,
}

impl RequestMeta {
    pub(super) fn new() -> Self {
        Self { protocol_version: MODERN, capabilities: json!({}), client: client_info() }
    }
}

const MODERN: &str = "2026-07-28";

fn client_info() -> Value {
    json!({ "name": "toolcell", "version": env!("CARGO_PKG_VERSION") })
}

/// Agrees with a server on how to talk. `remembered` is the era of an earlier connection with the
/// same settings.
pub(super) async fn shake_hands(
    link: &dyn Transport,
    remembered: Option<Era>,
) -> Result<ServerInfo, TransportError> {
    if remembered == Some(Era::Legacy) {
        return initialize(link).await;
    }
    let mut discovery = std::pin::pin!(discover(link));
    match tokio::time::timeout(PROBE_TIME, &mut discovery).await {
        Ok(Ok(info)) => return Ok(info),
        Ok(Err(error)) if is_final(&error) => return Err(error),
        Ok(Err(error)) => {
            tracing::debug!(?error, "an upstream does not know server/discover");
            return initialize(link).await;
        }
        Err(_silence) => {}
    }
    // Either the server is old and ignores what it does not know, or it is slow. A slow modern one
    // answers the first question and may refuse the second.
    let mut initialization = std::pin::pin!(initialize(link));
    tokio::select! {
        discovered = &mut discovery => match discovered {
            Ok(info) => Ok(info),
            Err(_) => initialization.await,
        },
        initialized = &mut initialization => match initialized {
            Ok(info) => Ok(info),
            Err(error) if is_final(&error) => Err(error),
            Err(error) => discovery.await.map_err(|_| error),
        },
    }
}

/// Whether asking in another way is of no use.
fn is_final(error: &TransportError) -> bool {
    matches!(
        error,
        TransportError::Lost(_) | TransportError::Unreachable(_) | TransportError::Closed
    )
}

async fn ask(link: &dyn Transport, method: &str, params: &Value) -> Result<Json, TransportError> {
    let params: Box<RawValue> =
        to_raw_value(params).map_err(|error| malformed(format!("{error}")))?;
    link.request(Request { method, params: &params, headers: &[], cancellable: false }).await
}

fn malformed(why: String) -> TransportError {
    TransportError::Answer(super::message::AnswerFault::Malformed(why))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Discovered {
    supported_versions: Vec<String>,
    #[serde(default)]
    capabilities: Value,
    #[serde(default)]
    instructions: Option<Value>,
    #[serde(default, rename = "_meta")]
    meta: Value,
    /// Not in the specification; some servers put it where `initialize` has it.
    #[serde(default)]
    server_info: Value,
}

async fn discover(link: &dyn Transport) -> Result<ServerInfo, TransportError> {
    let answer = ask(link, "server/discover", &json!({ "_meta": RequestMeta::new() })).await?;
    check_size(&answer)?;
    let found: Discovered = serde_json::from_str(answer.get())
        .map_err(|error| malformed(format!("the answer to server/discover: {error}")))?;
    if !found.supported_versions.iter().any(|version| version == MODERN) {
        let versions = found.supported_versions.join(", ");
        return Err(malformed(format!("it speaks only {versions} of the protocol")));
    }
    link.settle(MODERN, true);
    let server = found.meta.get("io.modelcontextprotocol/serverInfo").unwrap_or(&found.server_info);
    Ok(describe(Era::Modern, server, &found.capabilities, found.instructions, Vec::new()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialized {
    protocol_version: String,
    #[serde(default)]
    capabilities: Value,
    #[serde(default)]
    server_info: Value,
    #[serde(default)]
    instructions: Option<Value>,
}

async fn initialize(link: &dyn Transport) -> Result<ServerInfo, TransportError> {
    let params = json!({
        "protocolVersion": ProtocolVersion::LATEST_WITH_INITIALIZE.as_str(),
        "capabilities": {},
        "clientInfo": client_info(),
    });
    let answer = ask(link, "initialize", &params).await?;
    check_size(&answer)?;
    let found: Initialized = serde_json::from_str(answer.get())
        .map_err(|error| malformed(format!("the answer to initialize: {error}")))?;
    let version: String = found.protocol_version.chars().take(40).collect();
    let known = ProtocolVersion::KNOWN_VERSIONS.iter().any(|known| known.as_str() == version);
    let problem = format!("the server speaks the unknown revision {version:?} of the protocol");
    let problems = if known { Vec::new() } else { vec![problem] };
    link.settle(&version, false);
    link.notify("notifications/initialized").await?;
    Ok(describe(Era::Legacy, &found.server_info, &found.capabilities, found.instructions, problems))
}

fn check_size(answer: &RawValue) -> Result<(), TransportError> {
    if answer.get().len() > MAX_INFO_BYTES {
        return Err(malformed(format!("its handshake is larger than {MAX_INFO_BYTES} bytes")));
    }
    Ok(())
}

fn describe(
    era: Era,
    server: &Value,
    capabilities: &Value,
    instructions: Option<Value>,
    problems: Vec<String>,
) -> ServerInfo {
    let text = |name: &str| server.get(name)?.as_str().map(|text| text.chars().take(200).collect());
    let tools = capabilities.get("tools").filter(|tools| !tools.is_null());
    ServerInfo {
        era,
        name: text("name"),
        version: text("version"),
        instructions: instructions.and_then(|value| value.as_str().map(ToOwned::to_owned)),
        has_tools: tools.is_some(),
        tells_tool_changes: tools
            .and_then(|tools| tools.get("listChanged")?.as_bool())
            .unwrap_or(false),
        problems,
    }
}
