//! MCP's objects as web clients of this kind know them: every member that the protocol knew of when
//! they were written is there, `null` where the server gave none, and `_meta` is called `meta`. What they
//! do not know stays, and every value stays the text that it is.

use indexmap::IndexMap;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::tool::Json;

/// What an object has, in order.
type Model = &'static [(&'static str, Kind)];

/// What a member is.
#[derive(Clone, Copy)]
enum Kind {
    /// Anything, passed as it is.
    Plain,
    /// `false` if absent.
    Flag,
    One(Model),
    Many(Model),
    /// A block of content, by its `type`, or several.
    Content,
}

use Kind::{Content, Flag, Many, One, Plain};

/// What belongs to one revision of the protocol and not to its objects.
const NOT_OURS: [&str; 3] = ["resultType", "ttlMs", "cacheScope"];

const ANNOTATIONS: Model = &[("audience", Plain), ("priority", Plain)];
const ICON: Model = &[("src", Plain), ("mimeType", Plain), ("sizes", Plain)];
const TOOL_ANNOTATIONS: Model = &[
    ("title", Plain),
    ("readOnlyHint", Plain),
    ("destructiveHint", Plain),
    ("idempotentHint", Plain),
    ("openWorldHint", Plain),
];
const EXECUTION: Model = &[("taskSupport", Plain)];
const TOOL: Model = &[
    ("name", Plain),
    ("title", Plain),
    ("description", Plain),
    ("inputSchema", Plain),
    ("outputSchema", Plain),
    ("icons", Many(ICON)),
    ("annotations", One(TOOL_ANNOTATIONS)),
    ("meta", Plain),
    ("execution", One(EXECUTION)),
];
const RESOURCE: Model = &[
    ("name", Plain),
    ("title", Plain),
    ("uri", Plain),
    ("description", Plain),
    ("mimeType", Plain),
    ("size", Plain),
    ("icons", Many(ICON)),
    ("annotations", One(ANNOTATIONS)),
    ("meta", Plain),
];
const ARGUMENT: Model = &[("name", Plain), ("description", Plain), ("required", Plain)];
const PROMPT: Model = &[
    ("name", Plain),
    ("title", Plain),
    ("description", Plain),
    ("arguments", Many(ARGUMENT)),
    ("icons", Many(ICON)),
    ("meta", Plain),
];
const TEXT: Model =
    &[("type", Plain), ("text", Plain), ("annotations", One(ANNOTATIONS)), ("meta", Plain)];
const MEDIA: Model = &[
    ("type", Plain),
    ("data", Plain),
    ("mimeType", Plain),
    ("annotations", One(ANNOTATIONS)),
    ("meta", Plain),
];
const LINK: Model = &[
    ("name", Plain),
    ("title", Plain),
    ("uri", Plain),
    ("description", Plain),
    ("mimeType", Plain),
    ("size", Plain),
    ("icons", Many(ICON)),
    ("annotations", One(ANNOTATIONS)),
    ("meta", Plain),
    ("type", Plain),
];
const CONTENTS: Model = &[("uri", Plain), ("mimeType", Plain), ("meta", Plain)];
const EMBEDDED: Model = &[
    ("type", Plain),
    ("resource", One(CONTENTS)),
    ("annotations", One(ANNOTATIONS)),
    ("meta", Plain),
];
const MESSAGE: Model = &[("role", Plain), ("content", Content)];
const SAMPLING_MESSAGE: Model = &[("role", Plain), ("content", Content), ("meta", Plain)];

const CALLED: Model =
    &[("meta", Plain), ("content", Content), ("structuredContent", Plain), ("isError", Flag)];
const RESOURCES: Model = &[("meta", Plain), ("nextCursor", Plain), ("resources", Many(RESOURCE))];
const READ: Model = &[("meta", Plain), ("contents", Many(CONTENTS))];
const TOOLS: Model = &[("tools", Many(TOOL))];
const PROMPTS: Model = &[("prompts", Many(PROMPT))];
const FILLED_IN: Model = &[("meta", Plain), ("description", Plain), ("messages", Many(MESSAGE))];

const LIST_CHANGED: Model = &[("listChanged", Plain)];
const SUBSCRIBED: Model = &[("subscribe", Plain), ("listChanged", Plain)];
const TASK_TOOLS: Model = &[("call", Plain)];
const TASK_REQUESTS: Model = &[("tools", One(TASK_TOOLS))];
const TASKS: Model = &[("list", Plain), ("cancel", Plain), ("requests", One(TASK_REQUESTS))];
const CAPABILITIES: Model = &[
    ("experimental", Plain),
    ("logging", Plain),
    ("prompts", One(LIST_CHANGED)),
    ("resources", One(SUBSCRIBED)),
    ("tools", One(LIST_CHANGED)),
    ("completions", Plain),
    ("tasks", One(TASKS)),
];

const TASK: Model = &[("ttl", Plain)];
const HINT: Model = &[("name", Plain)];
const PREFERENCES: Model = &[
    ("hints", Many(HINT)),
    ("costPriority", Plain),
    ("speedPriority", Plain),
    ("intelligencePriority", Plain),
];
const CHOICE: Model = &[("mode", Plain)];
const SAMPLING: Model = &[
    ("task", One(TASK)),
    ("meta", Plain),
    ("messages", Many(SAMPLING_MESSAGE)),
    ("modelPreferences", One(PREFERENCES)),
    ("systemPrompt", Plain),
    ("includeContext", Plain),
    ("temperature", Plain),
    ("maxTokens", Plain),
    ("stopSequences", Plain),
    ("metadata", Plain),
    ("tools", Many(TOOL)),
    ("toolChoice", One(CHOICE)),
];
const SAMPLED: Model = &[
    ("meta", Plain),
    ("role", Plain),
    ("content", Content),
    ("model", Plain),
    ("stopReason", Plain),
];
const ELICITED: Model = &[("meta", Plain), ("action", Plain), ("content", Plain)];

const ANY_PARAMS: Model = &[("meta", Plain)];
const LOG_PARAMS: Model = &[("meta", Plain), ("level", Plain), ("logger", Plain), ("data", Plain)];
const PROGRESS_PARAMS: Model = &[
    ("meta", Plain),
    ("progressToken", Plain),
    ("progress", Plain),
    ("total", Plain),
    ("message", Plain),
];
const UPDATED_PARAMS: Model = &[("meta", Plain), ("uri", Plain)];
const CANCELLED_PARAMS: Model = &[("meta", Plain), ("requestId", Plain), ("reason", Plain)];

/// The result of one of the operations.
pub(super) fn result(method: &str, result: &RawValue) -> Json {
    let model = match method {
        "tools/list" => TOOLS,
        "tools/call" => CALLED,
        "resources/list" => RESOURCES,
        "resources/read" => READ,
        "prompts/list" => PROMPTS,
        "prompts/get" => FILLED_IN,
        _ => return result.to_owned(),
    };
    object(model, result)
}

/// What a server says that it can do.
pub(super) fn capabilities(capabilities: &Value) -> Json {
    let raw = to_raw_value(capabilities).unwrap_or_default();
    object(CAPABILITIES, &raw)
}

/// The params of a notification.
pub(super) fn notification(method: &str, params: &RawValue) -> Json {
    let model = match method {
        "notifications/message" => LOG_PARAMS,
        "notifications/progress" => PROGRESS_PARAMS,
        "notifications/resources/updated" => UPDATED_PARAMS,
        "notifications/cancelled" => CANCELLED_PARAMS,
        _ => ANY_PARAMS,
    };
    object(model, params)
}

/// What a server asks a model.
pub(super) fn sampling(params: &RawValue) -> Json {
    object(SAMPLING, params)
}

/// What a model said.
pub(super) fn sampled(result: &RawValue) -> Json {
    object(SAMPLED, result)
}

/// What a person said.
pub(super) fn elicited(result: &RawValue) -> Json {
    object(ELICITED, result)
}

/// An object of a model; what is none passes as it is.
fn object(model: Model, raw: &RawValue) -> Json {
    let Ok(mut written) = serde_json::from_str::<IndexMap<String, Json>>(raw.get()) else {
        return raw.to_owned();
    };
    let mut shown: IndexMap<String, Json> = IndexMap::with_capacity(model.len() + 2);
    for (name, kind) in model {
        let value = written.shift_remove(wire_name(name)).filter(|value| value.get() != "null");
        let value = match (value, kind) {
            (Some(value), kind) => member(*kind, value),
            (None, Flag) => to_raw_value(&false).unwrap_or_default(),
            (None, _) => to_raw_value(&()).unwrap_or_default(),
        };
        shown.insert((*name).to_owned(), value);
    }
    for (name, value) in written {
        if !NOT_OURS.contains(&&*name) {
            shown.entry(name).or_insert(value);
        }
    }
    to_raw_value(&shown).unwrap_or_else(|_| raw.to_owned())
}

fn wire_name(name: &str) -> &str {
    if name == "meta" { "_meta" } else { name }
}

fn member(kind: Kind, value: Json) -> Json {
    match kind {
        Plain | Flag => value,
        One(model) => object(model, &value),
        Many(model) => each(value, |item| object(model, item)),
        Content if value.get().starts_with('[') => each(value, block),
        Content => block(&value),
    }
}

fn each(list: Json, dump: impl Fn(&RawValue) -> Json) -> Json {
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(list.get()) else { return list };
    let items: Vec<Json> = items.into_iter().map(dump).collect();
    to_raw_value(&items).unwrap_or(list)
}

fn block(raw: &RawValue) -> Json {
    #[derive(serde::Deserialize)]
    struct Kinded<'a> {
        #[serde(borrow, rename = "type")]
        kind: std::borrow::Cow<'a, str>,
    }
    let kind = serde_json::from_str::<Kinded<'_>>(raw.get()).map(|block| block.kind);
    match kind.as_deref() {
        Ok("text") => object(TEXT, raw),
        Ok("image" | "audio") => object(MEDIA, raw),
        Ok("resource_link") => object(LINK, raw),
        Ok("resource") => object(EMBEDDED, raw),
        _ => raw.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(text: &str) -> Json {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn every_member_is_there_and_what_nobody_knows_stays() {
        let listed = raw(
            r#"{"tools":[{"name":"a","inputSchema":{"x":1e400},"annotations":{"readOnlyHint":true},
                "_meta":{"k":1},"odd":[1.50]}],"ttlMs":5}"#,
        );
        let shown = result("tools/list", &listed);
        assert_eq!(
            shown.get(),
            concat!(
                r#"{"tools":[{"name":"a","title":null,"description":null,"inputSchema":{"x":1e400},"#,
                r#""outputSchema":null,"icons":null,"annotations":{"title":null,"readOnlyHint":true,"#,
                r#""destructiveHint":null,"idempotentHint":null,"openWorldHint":null},"#,
                r#""meta":{"k":1},"execution":null,"odd":[1.50]}]}"#
            )
        );
    }

    #[test]
    fn blocks_of_content_are_told_apart() {
        let called = raw(r#"{"content":[{"type":"text","text":"x"},{"type":"resource","resource":
                {"uri":"a:b","text":"y"}},{"type":"later","z":1}]}"#);
        let shown: Value = serde_json::from_str(result("tools/call", &called).get()).unwrap();
        let wanted = json!({
            "meta": null, "structuredContent": null, "isError": false, "content": [
                { "type": "text", "text": "x", "annotations": null, "meta": null },
                { "type": "resource", "annotations": null, "meta": null, "resource":
                    { "uri": "a:b", "mimeType": null, "meta": null, "text": "y" } },
                { "type": "later", "z": 1 },
            ]
        });
        assert_eq!(shown, wanted);
    }

    #[test]
    fn what_a_server_can_do_has_all_names() {
        let shown = capabilities(&json!({ "tools": { "listChanged": true }, "logging": {} }));
        let shown: Value = serde_json::from_str(shown.get()).unwrap();
        let wanted = json!({ "experimental": null, "logging": {}, "prompts": null,
            "resources": null, "tools": { "listChanged": true }, "completions": null, "tasks": null });
        assert_eq!(shown, wanted);
        assert_eq!(capabilities(&json!("odd")).get(), "\"odd\"");
    }

    #[test]
    fn notifications_have_the_members_of_their_method() {
        let shown = notification("notifications/message", &raw(r#"{"level":"info","data":1}"#));
        assert_eq!(shown.get(), r#"{"meta":null,"level":"info","logger":null,"data":1}"#);
    }
}
