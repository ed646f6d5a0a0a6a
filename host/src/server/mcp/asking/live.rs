//! A client of the legacy era: it is asked by requests of our own while its request is worked on.

use async_trait::async_trait;
use indexmap::IndexMap;
use serde_json::value::to_raw_value;

use super::question::{Gate, check_answer};
use crate::ids::RunId;
use crate::server::mcp::request::Exchange;
use crate::server::mcp::wire::RpcError;
use crate::tool::Json;
use crate::upstream::{ClientCapabilities, ClientHandler, Refusal, ServerRequest};

/// Asks about one request.
pub(super) struct Live {
    exchange: Exchange,
    gate: Gate,
}

impl Live {
    pub(super) fn new(exchange: Exchange, capabilities: ClientCapabilities) -> Self {
        Self { exchange, gate: Gate::new(capabilities) }
    }
}

#[async_trait]
impl ClientHandler for Live {
    fn capabilities(&self) -> ClientCapabilities {
        self.gate.capabilities()
    }

    async fn answer(&self, request: ServerRequest) -> Result<Json, Refusal> {
        let params = self.gate.admit(&request)?;
        let method = request.method;
        let params = match params {
            Some(params) if method == "elicitation/create" => Some(with_id(params)),
            params => params,
        };
        let answer = self.exchange.ask(&method, params.as_deref()).await?;
        check_answer(&method, &answer).map_err(|why| Refusal {
            code: RpcError::INTERNAL,
            message: format!("the client's answer to {method} cannot be used: {why}"),
        })?;
        Ok(answer)
    }
}

/// Up to revision 2025-11-25 a question with a URL has an id, by which its end can be told. Newer
/// servers give none, and never tell.
fn with_id(params: Json) -> Json {
    let Ok(mut members) = serde_json::from_str::<IndexMap<String, Json>>(params.get()) else {
        return params;
    };
    let has_url = members.get("mode").is_some_and(|mode| mode.get() == "\"url\"");
    if !has_url || members.contains_key("elicitationId") {
        return params;
    }
    let id = to_raw_value(&RunId::random().to_string()).unwrap_or_default();
    members.insert("elicitationId".to_owned(), id);
    to_raw_value(&members).unwrap_or(params)
}
