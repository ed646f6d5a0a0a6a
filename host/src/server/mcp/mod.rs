//! toolcell as an MCP server: an agent searches tools, looks at their signatures, and runs one
//! script instead of thirty turns.
//!
//! The tools are few and stay the same however many servers are connected, so a model's context and
//! its prompt cache do too. Whatever goes wrong in a call is a result with words in it
//! (`isError`), never an error of the protocol: most clients show a model nothing of those.

mod definitions;
mod find;
mod results;
mod run_python;

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::ServiceExt as _;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult,
    PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::Host;
use crate::config::{NoProfile, Profile};

/// One profile of a host as an MCP server. Cheap to clone; it holds nothing of a client.
#[derive(Clone)]
pub struct Facade {
    host: Host,
    profile: Option<Arc<str>>,
}

/// Why serving ended before the client did.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The client's first messages were none of MCP.
    #[error("the client did not begin as an MCP client does: {0}")]
    Handshake(String),
    /// A worker failed.
    #[error("serving failed: {0}")]
    Worker(String),
}

impl Facade {
    /// The façade for clients of one profile; the configuration's default if none is named.
    ///
    /// # Errors
    /// There is no such profile.
    pub fn new(host: Host, profile: Option<&str>) -> Result<Self, NoProfile> {
        host.config().profile(profile)?;
        Ok(Self { host, profile: profile.map(Into::into) })
    }

    /// Serves one client over a pair of streams, stdin and stdout usually, until it closes its end
    /// or `stop` is cancelled.
    ///
    /// # Errors
    /// What came is not MCP.
    pub async fn serve(
        self,
        from: impl AsyncRead + Send + Unpin + 'static,
        to: impl AsyncWrite + Send + Unpin + 'static,
        stop: CancellationToken,
    ) -> Result<(), ServeError> {
        let service = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            service = self.serve_with_ct((from, to), stop.clone()) => service,
        };
        let service = service.map_err(|error| ServeError::Handshake(error.to_string()))?;
        service.waiting().await.map_err(|error| ServeError::Worker(error.to_string()))?;
        Ok(())
    }

    /// The profile as it is now: a reload may have changed it.
    fn profile(&self) -> Result<Profile, String> {
        let config = self.host.config();
        config.profile(self.profile.as_deref()).cloned().map_err(|error| error.to_string())
    }

    fn granted_servers(&self) -> Vec<String> {
        let Ok(profile) = self.profile() else { return Vec::new() };
        let names = self.host.upstreams().names().into_iter().map(|name| name.to_string());
        names.filter(|name| profile.policy.may_grant_server(name)).collect()
    }
}

impl ServerHandler for Facade {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let mut server = Implementation::from_build_env();
        server.name = "toolcell".into();
        server.version = env!("CARGO_PKG_VERSION").into();
        let mut info = ServerConfig::new(capabilities).with_server_info(server);
        info.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
        info.instructions = Some(definitions::instructions(&self.granted_servers()));
        info
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(ProtocolVersion::KNOWN_VERSIONS)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(definitions::tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let result = match &*request.name {
            definitions::SEARCH_TOOLS => self.search_tools(&arguments).await,
            definitions::DESCRIBE_TOOLS => self.describe_tools(&arguments).await,
            definitions::RUN_PYTHON => self.run_python(&arguments, &context).await,
            other => Err(format!(
                "there is no tool {other:?} here; there are {}",
                definitions::NAMES.join(", ")
            )),
        };
        Ok(result.unwrap_or_else(|words| results::refusal(&words)).into())
    }
}

/// Reads one argument. Models write numbers as text and forget what is optional.
fn argument<T: serde::de::DeserializeOwned>(
    arguments: &Map<String, Value>,
    name: &str,
) -> Result<Option<T>, String> {
    let Some(value) = arguments.get(name).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let read = serde_json::from_value(value.clone());
    let read = read.or_else(|error| match value {
        Value::String(text) => serde_json::from_str(text).map_err(|_| error),
        _ => Err(error),
    });
    read.map(Some).map_err(|error| format!("the argument `{name}` cannot be used: {error}"))
}

type ToolResult = Result<CallToolResult, String>;
