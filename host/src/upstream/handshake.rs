//! How a connection begins. MCP has two ways: up to revision 2025-11-25 the client sends
//! `initialize`; from 2026-07-28 on nothing is agreed beforehand, each request carries what the
//! server needs to know, and `server/discover` tells what the server is.
//!
//! We ask `server/discover` first. *Any* error, and silence, means `initialize`: old servers answer
//! an unknown method with many codes, or not at all.

use std::borrow::Cow;
use std::time::Duration;

use rmcp::model::ProtocolVersion;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::tool::Json;
use crate::upstream::client::{CallContext, ClientCapabilities};
use crate::upstream::message::AnswerFault;
use crate::upstream::transport::{Request, Transport, TransportError};

/// How long a server on pipes may be silent about `server/discover` before it is also sent
/// `initialize`. An answer that comes later is still taken.
pub(super) const PROBE_TIME: Duration = Duration::from_secs(2);

/// The same over HTTP, where silence hardly ever is a server's way of not knowing a method.
pub(super) const HTTP_PROBE_TIME: Duration = Duration::from_secs(6);

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
    /// What it says that it can do, as it came.
    pub(super) capabilities: Value,
    /// It says that it has tools.
    pub(super) has_tools: bool,
    /// It says that it has resources.
    pub(super) has_resources: bool,
    /// It says that it has prompts.
    pub(super) has_prompts: bool,
    /// It says that it tells when its lists change.
    pub(super) tells_changes: ListChanges,
    /// What is odd about it.
    pub(super) problems: Vec<String>,
}

/// Of which lists a server tells when they change, as `subscriptions/listen` asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListChanges {
    tools_list_changed: bool,
    resources_list_changed: bool,
    prompts_list_changed: bool,
}

impl ListChanges {
    pub(super) fn any(self) -> bool {
        self != Self::default()
    }
}

/// What every modern request carries: who we are, and whom the server may ask.
#[derive(Clone)]
pub(super) struct RequestMeta {
    /// What is offered where nobody says otherwise.
    offered: ClientCapabilities,
    capabilities: Json,
    client: Json,
}

impl RequestMeta {
    /// The members of `_meta` that are the protocol's own.
    pub(super) const MEMBERS: [&str; 3] = [
        "io.modelcontextprotocol/protocolVersion",
        "io.modelcontextprotocol/clientCapabilities",
        "io.modelcontextprotocol/clientInfo",
    ];

    pub(super) fn new(capabilities: ClientCapabilities) -> Self {
        let raw = |value: &Value| to_raw_value(value).unwrap_or_default();
        Self {
            offered: capabilities,
            capabilities: raw(&capabilities.to_json()),
            client: raw(&client_info()),
        }
    }

    /// The same for one request: whoever brings somebody of its own to be asked offers no more and no
    /// less than that one can do.
    pub(super) fn on_behalf_of(&self, context: &CallContext) -> Cow<'_, Self> {
        let own = context.handler.as_ref().map(|handler| handler.capabilities());
        match own.filter(|own| *own != self.offered) {
            Some(own) => Cow::Owned(Self::new(own)),
            None => Cow::Borrowed(self),
        }
    }

    /// Writes the members into a `_meta` that has others too.
    pub(super) fn serialize_members<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let [version, capabilities, client] = Self::MEMBERS;
        map.serialize_entry(version, MODERN)?;
        map.serialize_entry(capabilities, &self.capabilities)?;
        map.serialize_entry(client, &self.client)
    }
}

impl Serialize for RequestMeta {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.serialize_members(&mut map)?;
        map.end()
    }
}

const MODERN: &str = "2026-07-28";

/// JSON-RPC code for a revision that the server does not speak.
const UNSUPPORTED_VERSION: i64 = -32022;

fn client_info() -> Value {
    json!({ "name": "toolcell", "version": env!("CARGO_PKG_VERSION") })
}

/// Agrees with a server on how to talk. `remembered` is the era of an earlier connection with the
/// same settings, `probe_time` one of the two above.
pub(super) async fn shake_hands(
    link: &dyn Transport,
    remembered: Option<Era>,
    capabilities: ClientCapabilities,
    probe_time: Duration,
) -> Result<ServerInfo, TransportError> {
    if remembered == Some(Era::Legacy) {
        return initialize(link, capabilities).await;
    }
    let mut discovery = std::pin::pin!(discover(link, capabilities));
    match tokio::time::timeout(probe_time, &mut discovery).await {
        Ok(Ok(info)) => return Ok(info),
        Ok(Err(error)) if is_final(&error) => return Err(error),
        Ok(Err(error)) => {
            tracing::debug!(?error, "an upstream does not know server/discover");
            return initialize(link, capabilities).await;
        }
        Err(_silence) => {}
    }
    // Either the server is old and ignores what it does not know, or it is slow. A slow modern one
    // answers the first question and may refuse the second.
    let mut initialization = std::pin::pin!(initialize(link, capabilities));
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
        TransportError::Lost(_)
            | TransportError::Unreachable(_)
            | TransportError::ConnectTimedOut(_)
            | TransportError::Closed
    )
}

async fn ask(link: &dyn Transport, method: &str, params: &Value) -> Result<Json, TransportError> {
    let params: Box<RawValue> =
        to_raw_value(params).map_err(|error| malformed(format!("{error}")))?;
    link.request(Request { method, params: &params, headers: &[], cancellable: false, watch: None })
        .await
}

fn malformed(why: String) -> TransportError {
    TransportError::Answer(AnswerFault::Malformed(why))
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

async fn discover(
    link: &dyn Transport,
    capabilities: ClientCapabilities,
) -> Result<ServerInfo, TransportError> {
    let params = json!({ "_meta": RequestMeta::new(capabilities) });
    let answer = match ask(link, "server/discover", &params).await {
        // It says no, and that it speaks what we spoke: a node that is just being updated, say.
        Err(error) if refuses_what_it_speaks(&error) => ask(link, "server/discover", &params).await,
        answer => answer,
    }?;
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

/// Whether a server refuses the revision, and names the same one among those that it supports.
fn refuses_what_it_speaks(error: &TransportError) -> bool {
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        supported: Vec<String>,
    }
    let TransportError::Answer(AnswerFault::Rejected(error)) = error else { return false };
    let data = error.data.as_ref().filter(|_| error.code == UNSUPPORTED_VERSION);
    let data = data.and_then(|data| serde_json::from_str::<Data>(data.get()).ok());
    data.is_some_and(|data| data.supported.iter().any(|version| version == MODERN))
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

async fn initialize(
    link: &dyn Transport,
    capabilities: ClientCapabilities,
) -> Result<ServerInfo, TransportError> {
    let params = json!({
        "protocolVersion": ProtocolVersion::LATEST_WITH_INITIALIZE.as_str(),
        "capabilities": capabilities.to_json(),
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
    let offered = |kind: &str| capabilities.get(kind).filter(|it| !it.is_null());
    let tells =
        |kind: &str| offered(kind).and_then(|it| it.get("listChanged")?.as_bool()).unwrap_or(false);
    ServerInfo {
        era,
        name: text("name"),
        version: text("version"),
        instructions: instructions.and_then(|value| value.as_str().map(ToOwned::to_owned)),
        capabilities: capabilities.clone(),
        has_tools: offered("tools").is_some(),
        has_resources: offered("resources").is_some(),
        has_prompts: offered("prompts").is_some(),
        tells_changes: ListChanges {
            tools_list_changed: tells("tools"),
            resources_list_changed: tells("resources"),
            prompts_list_changed: tells("prompts"),
        },
        problems,
    }
}
