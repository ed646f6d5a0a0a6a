//! The JSON Schema of `toolcell.toml`, made from the types that read it and the defaults in force.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::monitor::MonitorSettings;
use super::show;
use super::written::WrittenConfig;
use crate::ids::UpstreamName;
use crate::limits::Limits;
use crate::server::settings::{BridgeSettings, ServerSettings, SessionSettings};
use crate::upstream::settings::{
    AuthGrant, Breaker, Retry, ToolSettings, TransportSettings, UpstreamSettings,
};

/// The schema, for editors: `#:schema URL` in a file's first line tells them where it is.
pub fn schema() -> Value {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<WrittenConfig>();
    let mut schema = tidied(schema.to_value());
    schema["title"] = "toolcell.toml".into();
    for (definition, defaults) in defaults() {
        let properties = &mut schema["definitions"][definition]["properties"];
        for (key, default) in defaults {
            // A table's defaults are those of its own keys.
            if let Some(property) = properties.get_mut(&key).filter(|_| !default.is_object()) {
                property["default"] = default;
            }
        }
    }
    schema
}

/// The defaults of each table, by its name in the schema.
fn defaults() -> Vec<(&'static str, Map<String, Value>)> {
    let grant =
        Map::from_iter([("grant".to_owned(), show::grant_name(AuthGrant::default()).into())]);
    let mut defaults = vec![
        ("Limits", show::limits(&Limits::default())),
        ("Monitor", show::monitor(&MonitorSettings::default())),
        ("Serving", show::serving(&ServerSettings::default())),
        ("Sessions", show::sessions(&SessionSettings::default())),
        ("Jwt", show::jwt_defaults()),
        ("Bridge", show::bridge(&BridgeSettings::default())),
        ("Retry", show::retries(&Retry::default())),
        ("Breaker", show::break_off(&Breaker::default())),
        ("Tool", show::tool(&ToolSettings::default())),
        ("Auth", grant),
    ];
    // Any name and any transport will do.
    if let Ok(name) = UpstreamName::try_new("server") {
        let nowhere = TransportSettings::Files { roots: Vec::new() };
        let mut server = show::behaviour(&UpstreamSettings::new(name, nowhere));
        // That of the monitor.
        server.remove("probe_interval");
        defaults.push(("Server", server));
    }
    defaults
}

/// Takes out what a TOML file cannot have, `null`, and what only Rust has, the prefix of type names.
fn tidied(value: Value) -> Value {
    match value {
        Value::Object(members) => object(members),
        Value::Array(elements) => elements.into_iter().map(tidied).collect(),
        Value::String(text) => match text.strip_prefix("#/definitions/Written") {
            Some(name) => format!("#/definitions/{name}").into(),
            None => text.into(),
        },
        _ => value,
    }
}

fn object(members: Map<String, Value>) -> Value {
    let mut tidy = Map::new();
    for (key, value) in members {
        let name = key.strip_prefix("Written").unwrap_or(&key).to_owned();
        match (key.as_str(), value) {
            ("default", Value::Null) => {}
            ("type", Value::Array(types)) => {
                let mut types: Vec<Value> =
                    types.into_iter().filter(|kind| kind != "null").collect();
                let only = if types.len() == 1 { types.pop() } else { None };
                tidy.insert(name, only.unwrap_or(Value::Array(types)));
            }
            ("anyOf", Value::Array(choices)) => {
                let null = json!({ "type": "null" });
                let choices = choices.into_iter().filter(|choice| *choice != null);
                let mut choices: Vec<Value> = choices.map(tidied).collect();
                // Beside a `$ref` nothing else would count, so it stands alone in an `allOf`.
                let key = if choices.len() == 1 { "allOf" } else { "anyOf" };
                tidy.insert(key.to_owned(), choices.drain(..).collect());
            }
            // Names of types are of no use to operators.
            ("title", Value::String(_)) => {}
            (_, value) => {
                tidy.insert(name, tidied(value));
            }
        }
    }
    tidy.into()
}
