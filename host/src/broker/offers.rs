//! Resources and prompts as one run sees them: what is granted of a server's lists, and which reads
//! and prompts may leave.

use serde_json::Value;
use serde_json::value::to_raw_value;

use super::arguments;
use super::call::Passed;
use super::context::Shared;
use crate::grants::{Policy, nearest};
use crate::ids::{ToolName, UpstreamName};
use crate::offers::{Prompt, Resource, ResourceTemplate};
use crate::sandbox::CallRequest;
use crate::tool::{CallError, CallMethod, Json, ToolOutput};

/// JSON-RPC code of MCP for a resource that is not there.
pub(super) const NOT_FOUND: i64 = -32002;

/// The longest URI that is sent.
const MAX_URI_BYTES: usize = 8 << 10;

/// How much of a URI is quoted.
const SHOWN_CHARACTERS: usize = 300;

/// How many similar names an error offers.
const NEAREST: usize = 3;

/// The servers of which something may be granted.
pub(super) fn servers(shared: &Shared, may_grant: fn(&Policy, &str) -> bool) -> Vec<String> {
    let names = shared.upstreams().names();
    let granted = names.filter(|name| may_grant(shared.policy(), name.as_str()));
    granted.map(ToString::to_string).collect()
}

/// The server of that name, if something of it may be granted.
fn server(
    shared: &Shared,
    name: &str,
    may_grant: fn(&Policy, &str) -> bool,
    what: &str,
) -> Result<UpstreamName, CallError> {
    let found = UpstreamName::try_new(name).ok().filter(|name| {
        shared.has_server(name.as_str()) && may_grant(shared.policy(), name.as_str())
    });
    found.ok_or_else(|| {
        let granted = servers(shared, may_grant).join(", ");
        let granted = if granted.is_empty() { "none".to_owned() } else { granted };
        CallError::UnknownTool(format!(
            "no {what} of a server `{name}` is granted to this run (servers with granted {what}s: \
             {granted})"
        ))
    })
}

/// The granted resources that a server lists.
pub(super) async fn resources(shared: &Shared, name: &str) -> Result<Vec<Resource>, CallError> {
    let server = server(shared, name, Policy::may_grant_resources, "resource")?;
    let listed = shared.upstreams().resources(&server).await;
    let listed = listed.map_err(|error| shared.advice(&server, "").explain(error))?;
    let policy = shared.policy();
    let granted = listed.items.iter().filter(|it| policy.grants_resource(name, &it.uri));
    Ok(granted.cloned().collect())
}

/// The templates of a server of which some resource may be granted.
pub(super) async fn templates(
    shared: &Shared,
    name: &str,
) -> Result<Vec<ResourceTemplate>, CallError> {
    let server = server(shared, name, Policy::may_grant_resources, "resource")?;
    let listed = shared.upstreams().resource_templates(&server).await;
    let listed = listed.map_err(|error| shared.advice(&server, "").explain(error))?;
    let policy = shared.policy();
    let granted =
        listed.items.iter().filter(|it| policy.may_grant_template(name, &it.uri_template));
    Ok(granted.cloned().collect())
}

/// The prompts that are granted on a server.
pub(super) async fn prompts(shared: &Shared, name: &str) -> Result<Vec<Prompt>, CallError> {
    let server = server(shared, name, Policy::may_grant_prompts, "prompt")?;
    let listed = shared.upstreams().prompts(&server).await;
    let listed = listed.map_err(|error| shared.advice(&server, "").explain(error))?;
    let granted = listed.items.iter().filter(|prompt| {
        let full = ToolName::new(server.clone(), std::sync::Arc::clone(&prompt.name));
        shared.policy().grants_prompt(&full)
    });
    Ok(granted.cloned().collect())
}

/// A read as reports name it.
pub(super) fn label(server: &str, uri: &str) -> String {
    let label = format!("{server}:{uri}");
    label.chars().take(SHOWN_CHARACTERS).collect()
}

/// Whether a read may leave.
pub(super) fn pass_read(shared: &Shared, request: &CallRequest) -> Result<Passed, CallError> {
    let (name, uri) = (&request.name, &request.arguments);
    let label = label(name, uri);
    let granted = shared.has_server(name) && shared.policy().grants_resource(name, uri);
    let server = UpstreamName::try_new(name).ok().filter(|_| granted);
    let server = server.ok_or_else(|| unknown_resource(shared, &label))?;
    if uri.len() > MAX_URI_BYTES || uri.chars().any(char::is_control) {
        return Err(CallError::InvalidArguments {
            path: "/uri".to_owned(),
            message: format!(
                "the URI of `{label}` is longer than {MAX_URI_BYTES} bytes or has control characters"
            ),
        });
    }
    let arguments = to_raw_value(&serde_json::json!({ "uri": uri }));
    let arguments = arguments.map_err(|_| unknown_resource(shared, &label))?;
    let name = ToolName::new(server, uri.as_str());
    Ok(Passed { method: CallMethod::Resource, name, arguments, output_schema: None })
}

/// What a guest hears of a resource that is not there and of one that is not granted.
pub(super) fn unknown_resource(shared: &Shared, label: &str) -> CallError {
    let granted = servers(shared, Policy::may_grant_resources).join(", ");
    let granted = if granted.is_empty() { "none".to_owned() } else { granted };
    let label: String = label.chars().take(SHOWN_CHARACTERS).collect();
    CallError::UnknownTool(format!(
        "no resource `{label}` is granted to this run (servers with granted resources: {granted})"
    ))
}

/// Whether a prompt may be asked for: granted, listed, and with texts for what it needs.
pub(super) async fn pass_prompt(
    shared: &Shared,
    request: &CallRequest,
) -> Result<Passed, CallError> {
    let full = &request.name;
    let name = ToolName::parse(full).filter(|name| {
        shared.has_server(name.upstream.as_str()) && shared.policy().grants_prompt(name)
    });
    let name = name.ok_or_else(|| unknown_prompt(shared, full, &[]))?;
    let listed = shared.upstreams().prompts(&name.upstream).await;
    let advice = shared.advice(&name.upstream, "");
    let listed = listed.map_err(|error| advice.explain(error))?;
    let Some(prompt) = listed.items.iter().find(|prompt| prompt.name == name.tool) else {
        let granted = prompts(shared, name.upstream.as_str()).await?;
        return Err(unknown_prompt(shared, full, &granted));
    };
    let arguments = arguments::parse(full, &request.arguments)?;
    let invalid = |name: &str, why: &str| CallError::InvalidArguments {
        path: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        message: format!("arguments of the prompt `{full}`: {name:?} {why}"),
    };
    for argument in prompt.arguments.iter().filter(|argument| argument.required) {
        if !arguments.contains_key(&argument.name) {
            return Err(invalid(&argument.name, "is missing"));
        }
    }
    if let Some((name, _)) = arguments.iter().find(|(_, value)| !value.is_string()) {
        return Err(invalid(name, "is no text; prompts take texts only"));
    }
    let arguments = to_raw_value(&Value::Object(arguments));
    let arguments = arguments.map_err(|_| unknown_prompt(shared, full, &[]))?;
    Ok(Passed { method: CallMethod::Prompt, name, arguments, output_schema: None })
}

fn unknown_prompt(shared: &Shared, full: &str, granted: &[Prompt]) -> CallError {
    let server = full.split('.').next().unwrap_or_default();
    let known: Vec<String> =
        granted.iter().map(|prompt| format!("{server}.{}", prompt.name)).collect();
    let near = nearest(full, known.iter().map(String::as_str), NEAREST);
    let way_out = if near.is_empty() {
        let servers = servers(shared, Policy::may_grant_prompts).join(", ");
        format!(
            "servers with granted prompts: {}",
            if servers.is_empty() { "none" } else { &servers }
        )
    } else {
        format!("nearest granted: {}", near.join(", "))
    };
    CallError::UnknownTool(format!("no prompt `{full}` is granted to this run ({way_out})"))
}

/// A result as an answer.
pub(super) fn as_answer(result: Json) -> ToolOutput {
    ToolOutput { structured: Some(result), ..ToolOutput::default() }
}
