//! An ordinary MCP server on stdio with what the official conformance suite wants to find behind a
//! server: tools, prompts and resources with names, arguments and answers that the suite prescribes.
//! It is built with the official SDK, speaks both eras, and knows nothing of toolcell: `cargo xtask
//! conformance` connects it as an upstream and lets the suite look at it through us.
//!
//! | file | what is there |
//! |---|---|
//! | `tools` | the tools that answer at once, or tell how they get on |
//! | `questions` | the tools and the prompt that ask the user, in each era in its way |
//! | `prompts`, `resources` | what their names say |
//! | `seal` | the proof that a request's state is our own |

#![expect(
    deprecated,
    reason = "sampling, roots, logging and subscribing are on their way out of the protocol, and \
              the suite looks at them as long as they are in it"
)]

mod prompts;
mod questions;
mod resources;
mod seal;
mod tools;

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult, CompletionInfo,
    ErrorData, GetPromptRequestParams, GetPromptResponse, Implementation, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, LoggingLevel,
    PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse,
    Reference, ServerCapabilities, ServerConfig, SetLevelRequestParams, SubscribeRequestParams,
    SubscriptionFilter, UnsubscribeRequestParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler, ServiceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::seal::Seal;

#[tokio::main]
async fn main() -> ExitCode {
    let streams = (tokio::io::stdin(), tokio::io::stdout());
    let served = match Fixture::new().serve(streams).await {
        Ok(serving) => serving.waiting().await.map(drop).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance-server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How often each list changed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Changes {
    tools: u64,
    prompts: u64,
}

/// The server. One process serves one client, so that what it keeps is that client's.
struct Fixture {
    seal: Seal,
    changes: watch::Sender<Changes>,
    /// The least that a client of the legacy era wants to hear of logs.
    log_level: Mutex<LoggingLevel>,
}

impl Fixture {
    fn new() -> Self {
        Self {
            seal: Seal::new(),
            changes: watch::Sender::default(),
            log_level: Mutex::new(LoggingLevel::Info),
        }
    }

    /// The least that is to be logged about a request: what the request says, from 2026-07-28 on, and
    /// nothing if it says nothing; before, what was set for the session.
    fn log_level(&self, context: &RequestContext<RoleServer>) -> Option<LoggingLevel> {
        if is_modern(context) {
            return context.meta.log_level();
        }
        Some(*self.log_level.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether a request stands alone, so that there is nobody to ask but by its result.
fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    let version = context.protocol_version();
    version.is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

/// Reads a part of the protocol from the JSON that this program is written in.
///
/// # Panics
/// The JSON is not what it is meant to be.
fn model<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("the fixture's JSON is of the protocol")
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities: ServerCapabilities = model(json!({
            "tools": { "listChanged": true },
            "prompts": { "listChanged": true },
            "resources": { "subscribe": true },
            "completions": {},
            "logging": {},
        }));
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("conformance-server", env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let changes = self.changes.borrow().tools;
        Ok(ListToolsResult::with_all_items(tools::list(changes)))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        tools::call(self, request, &context).await
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let changes = self.changes.borrow().prompts;
        Ok(ListPromptsResult::with_all_items(prompts::list(changes)))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(self, request, &context).await
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let values = match &request.r#ref {
            Reference::Prompt(_) => prompts::complete(&request.argument.value),
            _ => vec![],
        };
        let found = CompletionInfo::with_all_values(values);
        Ok(CompleteResult::new(found.map_err(|error| ErrorData::internal_error(error, None))?))
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::list()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&request.uri).map(Into::into)
    }

    /// Nothing here ever changes, so whoever subscribes hears nothing.
    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        resources::read(&request.uri).map(drop)
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        resources::read(&request.uri).map(drop)
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        *self.log_level.lock().unwrap_or_else(PoisonError::into_inner) = request.level;
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.subscribe();
        let mut told = *changes.borrow_and_update();
        loop {
            tokio::select! {
                () = subscription.cancelled() => return Ok(()),
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
            }
            let now = *changes.borrow_and_update();
            // What was not asked for, the sink refuses; and if nobody is there any more, the next
            // round notices.
            if now.tools != told.tools {
                let _ = subscription.sink().notify_tool_list_changed().await;
            }
            if now.prompts != told.prompts {
                let _ = subscription.sink().notify_prompt_list_changed().await;
            }
            told = now;
        }
    }
}
