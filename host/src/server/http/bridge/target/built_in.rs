//! toolcell itself as a session's server: its own tools, such as `run_python`, and what else its profile
//! shows. What a script prints is told while it runs.

use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::mpsc;

use super::{Fault, Welcome, World};
use crate::server::http::bridge::asking::Asker;
use crate::server::http::bridge::frames::Object;
use crate::server::mcp::Facade;
use crate::server::mcp::request::{Client, Exchange, Params, Peer, Request};
use crate::server::mcp::wire::RpcError;
use crate::server::random::uuid;
use crate::tool::Json;
use crate::upstream::{Caller, ClientCapabilities, ClientHandler, Era};

/// Messages of one request that wait while one is told.
const OUTBOX: usize = 64;

/// Pages of a list that are put together, at most.
const MAX_PAGES: usize = 1_000;

/// What a session talks to.
pub(in crate::server::http::bridge) struct BuiltIn {
    facade: Facade,
    caller: Caller,
    handler: Arc<dyn ClientHandler>,
    peer: Arc<Peer>,
    client: Arc<Client>,
    /// What belongs to no request goes nowhere.
    _outbox: mpsc::Receiver<Vec<u8>>,
}

impl BuiltIn {
    pub(super) fn new(facade: Facade, caller: Caller, asker: &Arc<Asker>) -> Self {
        let (outbox, waiting) = mpsc::channel(OUTBOX);
        let peer = Peer::only(outbox);
        let client = Client {
            era: Era::Legacy,
            revision: "2025-11-25".to_owned(),
            capabilities: ClientCapabilities {
                sampling: true,
                elicitation: true,
                ..ClientCapabilities::default()
            },
            name: Some("bridge".to_owned()),
        };
        peer.introduce(client.clone());
        let handler = Arc::clone(asker) as Arc<dyn ClientHandler>;
        Self { facade, caller, handler, peer, client: Arc::new(client), _outbox: waiting }
    }

    pub(super) fn welcome(&self) -> Welcome {
        Welcome {
            capabilities: json!({ "tools": {}, "resources": {}, "prompts": {}, "logging": {} }),
            name: Some("toolcell".to_owned()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            instructions: None,
        }
    }

    pub(super) fn close(&self) {
        self.peer.gone.cancel();
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        params: Params,
        world: &World,
    ) -> Result<Json, Fault> {
        let list = match method {
            "tools/list" => "tools",
            "resources/list" => "resources",
            "resources/templates/list" => "resourceTemplates",
            "prompts/list" => "prompts",
            "tools/call" | "resources/read" | "prompts/get" | "completion/complete" | "ping" => {
                return self.put(method, params, world).await;
            }
            "logging/setLevel" => return Ok(to_raw_value(&json!({})).unwrap_or_default()),
            other => return Err(Fault::mcp(RpcError::no_method(other))),
        };
        self.all_pages(method, list, world).await
    }

    async fn all_pages(
        &self,
        method: &str,
        list: &'static str,
        world: &World,
    ) -> Result<Json, Fault> {
        let mut all: Vec<Json> = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let params = match cursor.take() {
                Some(cursor) => to_raw_value(&json!({ "cursor": cursor })).ok(),
                None => None,
            };
            let params = Params::read(params.as_deref()).map_err(Fault::mcp)?;
            let page = self.put(method, params, world).await?;
            let Ok(page) = serde_json::from_str::<IndexMap<String, Json>>(page.get()) else {
                break;
            };
            let items = page.get(list).map(|items| serde_json::from_str::<Vec<Json>>(items.get()));
            all.extend(items.into_iter().flatten().flatten());
            cursor = page.get("nextCursor").and_then(|next| serde_json::from_str(next.get()).ok());
            if cursor.is_none() {
                break;
            }
        }
        Ok(Object::default().with(list, &all).finish())
    }

    /// One request of the façade, as any client's.
    async fn put(&self, method: &str, params: Params, world: &World) -> Result<Json, Fault> {
        let (outbox, mut said) = mpsc::channel(OUTBOX);
        let mut exchange = Exchange::new(Arc::clone(&self.peer), outbox);
        exchange.streams_output = true;
        let params = match world.progress_id() {
            Some(_) => params.with_progress_token(&uuid()),
            None => params,
        };
        let request = Request {
            id: to_raw_value(&uuid()).unwrap_or_default(),
            method: method.to_owned(),
            params,
            client: Arc::clone(&self.client),
            caller: self.caller.clone(),
            exchange,
            handler: Arc::clone(&self.handler),
            cancel: world.cancel.clone(),
        };
        let mut work = std::pin::pin!(self.facade.work(request));
        let outcome = loop {
            tokio::select! {
                biased;
                Some(message) = said.recv() => tell(world, &message),
                outcome = &mut work => break outcome,
            }
        };
        while let Ok(message) = said.try_recv() {
            tell(world, &message);
        }
        outcome.map_err(Fault::mcp)
    }
}

/// A notification of the façade's.
fn tell(world: &World, message: &[u8]) {
    #[derive(Deserialize)]
    struct Notification<'a> {
        #[serde(borrow)]
        method: std::borrow::Cow<'a, str>,
        #[serde(borrow)]
        params: Option<&'a RawValue>,
    }
    if let Ok(Notification { method, params: Some(params) }) = serde_json::from_slice(message) {
        world.heard(&method, params);
    }
}
