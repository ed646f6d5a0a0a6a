//! What could be filled into a prompt or a template, asked of the server that has it.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::forward::Forward;
use super::{View, failure, prompts, resources, unless_cancelled};
use crate::ids::UpstreamName;
use crate::server::mcp::Facade;
use crate::server::mcp::lifecycle::raw_of;
use crate::server::mcp::request::{Outcome, Request};
use crate::server::mcp::wire::RpcError;
use crate::tool::Json;
use crate::upstream::{CallContext, UpstreamError};

/// What is asked about.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Reference {
    #[serde(rename = "ref/prompt")]
    Prompt { name: String },
    #[serde(rename = "ref/resource")]
    Resource { uri: String },
}

impl Facade {
    pub(in crate::server::mcp) async fn complete(&self, request: &Request) -> Outcome {
        let reference: Reference = request.params.need("ref")?;
        let written: Json = request.params.need("ref")?;
        let argument: Json = request.params.need("argument")?;
        let unknown = || RpcError::invalid_params("`ref` names nothing that there is here");
        let view = self.gateway_view(&request.caller)?.ok_or_else(unknown)?;
        let found = unless_cancelled(request, find(&view, &reference)).await?;
        let (server, member, own) = found.ok_or_else(unknown)?;
        let reference = with_own(&written, member, &own).ok_or_else(unknown)?;
        let asked = (&*reference, &*argument, request.params.raw("context"));
        let meta = Forward::new(request).meta(request);
        let context = CallContext { meta, ..CallContext::default() };
        let timeout = view.profile.limits.call_timeout;
        let asking = view.access.complete(&server, asked, timeout, context);
        match unless_cancelled(request, asking).await? {
            Ok(result) => Ok(result),
            // It has nothing to propose, then.
            Err(UpstreamError::Rejected { code: RpcError::METHOD_NOT_FOUND, .. }) => {
                Ok(raw_of(&json!({ "completion": { "values": [] } })))
            }
            Err(error) => Err(failure::of_upstream(error)),
        }
    }
}

/// The server, and what is called how there.
async fn find(view: &View, reference: &Reference) -> Option<(UpstreamName, &'static str, String)> {
    match reference {
        Reference::Prompt { name } => {
            let prompt = prompts::find(view, name).await?;
            Some((prompt.upstream, "name", prompt.tool.to_string()))
        }
        Reference::Resource { uri } => {
            let place = match resources::find_template(view, uri).await {
                Some(place) => place,
                None => resources::find(view, uri).await.into_iter().next()?,
            };
            Some((place.server, "uri", place.uri))
        }
    }
}

/// The client's reference with the server's own name in it.
fn with_own(reference: &RawValue, member: &str, own: &str) -> Option<Json> {
    let mut members: IndexMap<&str, Json> = serde_json::from_str(reference.get()).ok()?;
    members.insert(member, to_raw_value(own).ok()?);
    to_raw_value(&members).ok()
}
