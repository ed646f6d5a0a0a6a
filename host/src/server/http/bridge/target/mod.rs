//! What a session talks to: a server, or toolcell itself. Either is asked in MCP's own terms, whatever
//! frames its client speaks.

mod built_in;
mod fault;
mod server;

use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::admission::Plan;
use super::asking::Asker;
use super::frames::Frame;
use super::outlet::Outlet;
use crate::server::mcp::request::Params;
use crate::tool::Json;
use crate::upstream::{Caller, Listening, ServerNotice, UpstreamError};
use built_in::BuiltIn;
pub(super) use fault::{Fault, cause, for_page};
use server::Server;

use crate::server::mcp::Facade;

/// What a session talks to.
pub(super) enum Target {
    Server(Box<Server>),
    BuiltIn(Box<BuiltIn>),
}

/// What a target says of itself at the beginning.
pub(super) struct Welcome {
    /// `ServerCapabilities`, as it came.
    pub(super) capabilities: Value,
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) instructions: Option<String>,
}

impl Target {
    /// Connects nothing yet.
    pub(super) fn new(
        plan: Plan,
        facade: Facade,
        caller: Caller,
        asker: &Arc<Asker>,
    ) -> Result<Arc<Self>, String> {
        Ok(Arc::new(match plan {
            Plan::BuiltIn => Self::BuiltIn(Box::new(BuiltIn::new(facade, caller, asker))),
            Plan::Named(name) => {
                Self::Server(Box::new(Server::of_operator(name, facade, caller, asker)))
            }
            Plan::Own(settings) => {
                Self::Server(Box::new(Server::own(*settings, facade, caller, asker)?))
            }
        }))
    }

    pub(super) async fn connect(&self) -> Result<Welcome, UpstreamError> {
        match self {
            Self::Server(server) => server.connect().await,
            Self::BuiltIn(built_in) => Ok(built_in.welcome()),
        }
    }

    /// Asks it something. Dropping the future cancels what was asked.
    pub(super) async fn ask(
        &self,
        method: &str,
        params: Params,
        world: &World,
    ) -> Result<Json, Fault> {
        match self {
            Self::Server(server) => {
                let answered = server.ask(method, &params, world).await;
                answered.map_err(|fault| server.told(fault))
            }
            Self::BuiltIn(built_in) => built_in.ask(method, params, world).await,
        }
    }

    /// Whether an error may quote what the server's process wrote: it is the session's own.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Server(server) if server.is_own())
    }

    /// Whether its connection is gone.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Server(server) => server.is_lost(),
            Self::BuiltIn(_) => false,
        }
    }

    /// Has what servers say that belongs to no call told.
    pub(super) fn listen(
        &self,
        hear: impl Fn(&ServerNotice) + Send + Sync + 'static,
    ) -> Option<Listening> {
        match self {
            Self::Server(server) => Some(server.listen(hear)),
            Self::BuiltIn(_) => None,
        }
    }

    /// Ends what is the session's own.
    pub(super) async fn close(&self) {
        match self {
            Self::Server(server) => server.close().await,
            Self::BuiltIn(built_in) => built_in.close(),
        }
    }
}

/// What there is around one thing that is asked: who hears what is said meanwhile.
pub(super) struct World {
    pub(super) outlet: Arc<Outlet>,
    /// The client does not want it any more.
    pub(super) cancel: CancellationToken,
    pub(super) told: Told,
}

/// How the client wants to hear of one thing that it asked.
pub(super) enum Told {
    /// In frames; of progress, in frames with this id if it gave one.
    Frames { operation: &'static str, request_id: Option<Json> },
    /// In JSON-RPC; of progress under this token if it gave one.
    Rpc { progress_token: Option<Json> },
}

impl World {
    /// Whether somebody waits for progress.
    pub(super) fn progress_id(&self) -> Option<&RawValue> {
        match &self.told {
            Told::Frames { request_id, .. } => request_id.as_deref(),
            Told::Rpc { progress_token } => progress_token.as_deref(),
        }
    }

    /// Something was said about this that nobody has shown yet.
    pub(super) fn heard(&self, method: &str, params: &RawValue) {
        self.outlet.notification(method, Some(params));
        self.answers(method, params);
    }

    /// Whoever asked is told what was said about it.
    pub(super) fn answers(&self, method: &str, params: &RawValue) {
        let is_progress = method == "notifications/progress";
        match &self.told {
            Told::Frames { operation, request_id: Some(id) } if is_progress => {
                self.outlet.offer(|| progress_frame(operation, id, params));
            }
            Told::Rpc { progress_token } => {
                let params = match (is_progress, progress_token) {
                    (true, None) => return,
                    (true, Some(token)) => with_token(params, token),
                    (false, _) => Some(params.to_owned()),
                };
                if let Some(params) = params {
                    self.outlet.message(method, &params);
                }
            }
            Told::Frames { .. } => {}
        }
    }
}

fn progress_frame(operation: &str, id: &RawValue, params: &RawValue) -> String {
    type Members<'a> = std::collections::HashMap<&'a str, &'a RawValue>;
    let params: Members<'_> = serde_json::from_str(params.get()).unwrap_or_default();
    let [progress, total, message] =
        ["progress", "total", "message"].map(|name| params.get(name).copied());
    Frame::new("progress")
        .with("request_id", &id)
        .with("operation", &operation)
        .with("progress", &progress)
        .with("total", &total)
        .with("message", &message)
        .finish()
}

fn with_token(params: &RawValue, token: &RawValue) -> Option<Json> {
    let mut members: indexmap::IndexMap<&str, &RawValue> =
        serde_json::from_str(params.get()).ok()?;
    members.insert("progressToken", token);
    serde_json::value::to_raw_value(&members).ok()
}
