//! Resources: a text, a picture, one that can be watched, and a template.

use rmcp::model::{ErrorData, ReadResourceResult, Resource, ResourceTemplate};
use serde_json::{Value, json};

use crate::model;

/// A picture of one pixel, PNG in base64.
pub(crate) const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mPQb0gAAAHxARDd5IneAAAAAElFTkSuQmCC";

pub(crate) fn list() -> Vec<Resource> {
    model(json!([
        {
            "uri": "test://static-text",
            "name": "static-text",
            "description": "A text that is always the same",
            "mimeType": "text/plain",
        },
        {
            "uri": "test://static-binary",
            "name": "static-binary",
            "description": "A picture of one pixel",
            "mimeType": "image/png",
        },
        {
            "uri": "test://watched-resource",
            "name": "watched-resource",
            "description": "Something that a client can ask to be told about",
            "mimeType": "text/plain",
        },
    ]))
}

pub(crate) fn templates() -> Vec<ResourceTemplate> {
    model(json!([{
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "The data of one id",
        "mimeType": "application/json",
    }]))
}

/// # Errors
/// There is no such resource.
pub(crate) fn read(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let content = match uri {
        "test://static-text" => json!({
            "mimeType": "text/plain",
            "text": "This is the content of the static text resource.",
        }),
        "test://static-binary" => json!({ "mimeType": "image/png", "blob": PIXEL }),
        "test://watched-resource" => {
            json!({ "mimeType": "text/plain", "text": "Nothing has happened." })
        }
        _ => of_template(uri).ok_or_else(|| {
            ErrorData::resource_not_found("there is no such resource", Some(json!({ "uri": uri })))
        })?,
    };
    let mut content = content;
    content["uri"] = json!(uri);
    Ok(model(json!({ "resultType": "complete", "contents": [content] })))
}

fn of_template(uri: &str) -> Option<Value> {
    let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
    let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
    Some(json!({ "mimeType": "application/json", "text": data.to_string() }))
}
