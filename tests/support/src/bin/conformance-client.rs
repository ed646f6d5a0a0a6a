//! What the official conformance suite starts as "the client": toolcell's own upstreams, used as an
//! embedder would use them.
//!
//! ```text
//! MCP_CONFORMANCE_SCENARIO=… [MCP_CONFORMANCE_CONTEXT=JSON] conformance-client SERVER_URL
//! ```
//! It connects, lists the tools and calls them; it answers what the server asks with the defaults of
//! the server's own form, and where a server wants OAuth it plays the person in the browser. The
//! scenario decides only what a person would decide: which calls are made, and what was registered
//! with the server beforehand.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use toolcell::ids::UpstreamName;
use toolcell::tool::{Json, ToolDescription};
use toolcell::upstream::auth::{Authorization, AuthorizationPrompt, PromptError, TokenStore};
use toolcell::upstream::settings::{
    AuthGrant, AuthSettings, HttpSettings, Secret, TransportSettings, UpstreamSettings,
};
use toolcell::upstream::{
    Access, CallContext, Caller, Catalog, ClientCapabilities, ClientHandler, Refusal,
    ServerRequest, UpstreamError, Upstreams,
};

/// Time for one call. The suite's own limit on a scenario is twice as long.
const CALL_TIME: Duration = Duration::from_secs(15);

/// Where the suite's authorization servers believe our metadata to be published.
const METADATA_URL: &str = "https://conformance-test.local/client-metadata.json";

/// Where they send the browser. Nothing has to listen there: we read the address and stay.
const REDIRECT_URI: &str = "http://localhost:3000/callback";

/// What a scenario tells beforehand.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Context {
    tool_calls: Vec<ToolCall>,
    #[serde(rename = "client_id")]
    client_id: Option<String>,
    #[serde(rename = "client_secret")]
    client_secret: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ToolCall {
    name: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(url) = std::env::args().next_back().filter(|url| url.starts_with("http")) else {
        eprintln!("usage: conformance-client SERVER_URL");
        return ExitCode::from(64);
    };
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let context = match variable("MCP_CONFORMANCE_CONTEXT").as_str() {
        "" => Context::default(),
        text => match serde_json::from_str(text) {
            Ok(context) => context,
            Err(error) => {
                eprintln!("the context is not understood: {error}");
                return ExitCode::from(64);
            }
        },
    };
    match perform(&url, &variable("MCP_CONFORMANCE_SCENARIO"), &context).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn perform(url: &str, scenario: &str, context: &Context) -> Result<(), UpstreamError> {
    let name = UpstreamName::try_new("suite").expect("fits the rules");
    let mut http = HttpSettings::new(url);
    http.auth = Some(AuthSettings {
        grant: match scenario.starts_with("auth/client-credentials") {
            true => AuthGrant::ClientCredentials,
            false => AuthGrant::AuthorizationCode,
        },
        client_id: context.client_id.clone(),
        client_secret: context.client_secret.clone().map(Secret::new),
        client_metadata_url: Some(METADATA_URL.to_owned()),
        ..AuthSettings::default()
    });
    let settings = UpstreamSettings::new(name.clone(), TransportSettings::Http(http));
    let authorization = Authorization::new(TokenStore::in_memory(), Some(Arc::new(Person)));
    let upstreams =
        Upstreams::with_authorization(vec![settings], Some(Arc::new(Person)), authorization)
            .expect("there is one server");
    let access = upstreams.access(Caller::anonymous());
    let outcome = exercise(&access, &name, scenario, context).await;
    upstreams.close().await;
    outcome
}

/// Lists, and calls.
async fn exercise(
    access: &Access,
    name: &UpstreamName,
    scenario: &str,
    context: &Context,
) -> Result<(), UpstreamError> {
    let catalog = access.catalog(name).await?;
    for problem in &catalog.problems {
        eprintln!("problem: {problem}");
    }
    for (tool, arguments) in calls(&catalog, scenario, context) {
        let arguments = to_raw_value(&arguments).expect("JSON is JSON");
        let context = CallContext::default();
        let answer = access.call(&tool.name, &arguments, CALL_TIME, context).await?;
        eprintln!("{} answers {:?}", tool.name, answer.first_text());
    }
    Ok(())
}

/// The calls that the scenario wants, or one of each tool with the simplest arguments that fit.
fn calls<'a>(
    catalog: &'a Catalog,
    scenario: &str,
    context: &Context,
) -> Vec<(&'a ToolDescription, Value)> {
    if !context.tool_calls.is_empty() {
        let known = |call: &ToolCall| {
            catalog.tool(&call.name).map(|tool| (tool, Value::Object(call.arguments.clone())))
        };
        return context.tool_calls.iter().filter_map(known).collect();
    }
    let tools = catalog.tools.iter();
    let simplest = tools.map(|tool| (tool, example(&tool.input_schema)));
    match (scenario, catalog.tools.first()) {
        // The second tool wants the first one's schema, as it came.
        ("json-schema-2020-12-preservation", Some(first)) => simplest
            .skip(1)
            .map(|(tool, _)| (tool, json!({ "schema": *first.input_schema })))
            .collect(),
        _ => simplest.collect(),
    }
}

/// A value that fits a schema, as far as simple ones go.
fn example(schema: &Value) -> Value {
    if let Some(given) = schema.get("default").or_else(|| schema.get("const")) {
        return given.clone();
    }
    if let Some(first) = schema.get("enum").and_then(|all| all.get(0)) {
        return first.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number") => json!(5),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let required = schema.get("required").and_then(Value::as_array);
            let names = required.into_iter().flatten().filter_map(Value::as_str);
            let members = names.filter_map(|name| {
                properties?.get(name).map(|schema| (name.to_owned(), example(schema)))
            });
            Value::Object(members.collect())
        }
        _ => json!("test"),
    }
}

/// Says yes to everything.
struct Person;

#[async_trait]
impl ClientHandler for Person {
    fn capabilities(&self) -> ClientCapabilities {
        ClientCapabilities {
            roots: true,
            sampling: true,
            elicitation: true,
            ..ClientCapabilities::default()
        }
    }

    async fn answer(&self, request: ServerRequest) -> Result<Json, Refusal> {
        let params: Value =
            request.params.as_deref().map(RawValue::get).map_or(Value::Null, |params| {
                serde_json::from_str(params).expect("it was read as JSON before")
            });
        let answer = match request.method.as_str() {
            "roots/list" => json!({ "roots": [] }),
            "sampling/createMessage" => json!({
                "role": "assistant",
                "content": { "type": "text", "text": "a thought" },
                "model": "none",
                "stopReason": "endTurn",
            }),
            "elicitation/create" => {
                let properties = params["requestedSchema"]["properties"].as_object();
                let fields = properties.into_iter().flatten();
                let filled = fields.map(|(name, schema)| (name.clone(), example(schema)));
                json!({ "action": "accept", "content": Value::Object(filled.collect()) })
            }
            method => {
                let message = format!("nobody knows what {method} is");
                return Err(Refusal { code: -32601, message });
            }
        };
        Ok(to_raw_value(&answer).expect("JSON is JSON"))
    }
}

#[async_trait]
impl AuthorizationPrompt for Person {
    fn redirect_uri(&self) -> String {
        REDIRECT_URI.to_owned()
    }

    /// The suite's authorization servers agree at once.
    async fn authorize(&self, _: &UpstreamName, url: &str) -> Result<String, PromptError> {
        let failed = |error: reqwest::Error| PromptError(error.to_string());
        let policy = reqwest::redirect::Policy::none();
        let browser = reqwest::Client::builder().redirect(policy).build().map_err(failed)?;
        let response = browser.get(url).send().await.map_err(failed)?;
        let location = response.headers().get(reqwest::header::LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        location.map(ToOwned::to_owned).ok_or_else(|| {
            PromptError(format!("the browser was not sent back (HTTP {})", response.status()))
        })
    }
}
