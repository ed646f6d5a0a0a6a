//! `[server.bridge]` as it is shown.

use serde_json::{Map, Value, json};

use super::{Table, time};
use crate::config::units::format_size;
use crate::server::settings::{AllowedServer, BridgeSettings, Glob};

pub(in crate::config) fn show(settings: &BridgeSettings) -> Map<String, Value> {
    let BridgeSettings {
        profile,
        allow,
        max_sessions,
        max_frame,
        max_in_flight,
        queue,
        idle,
        heartbeat,
        ticket_lifetime,
        connects_per_minute,
        elicitation_timeout,
        own_token: _,
    } = settings;
    Table::default()
        .with_some("profile", profile.clone())
        .with("allow", allow.iter().map(allowed).collect::<Vec<_>>())
        .with("max_sessions", *max_sessions)
        .with("max_frame", format_size(*max_frame as u64))
        .with("max_in_flight", *max_in_flight)
        .with("queue", *queue)
        .with("idle", time(*idle))
        .with("heartbeat", time(*heartbeat))
        .with("ticket_lifetime", time(*ticket_lifetime))
        .with("connects_per_minute", *connects_per_minute)
        .with("elicitation_timeout", time(*elicitation_timeout))
        .0
}

fn allowed(allowed: &AllowedServer) -> Value {
    let texts = |globs: &[Glob]| globs.iter().map(Glob::as_str).collect::<Vec<_>>().into();
    match allowed {
        AllowedServer::Command(allowed) => {
            let mut shown = json!({ "command": allowed.command.as_str() });
            let mut list = |key: &str, globs: &[Glob]| {
                if !globs.is_empty() {
                    shown[key] = texts(globs);
                }
            };
            list("args", &allowed.args);
            list("env", &allowed.env);
            if let Some(cwd) = &allowed.cwd {
                shown["cwd"] = cwd.as_str().into();
            }
            shown
        }
        AllowedServer::Url(url) => json!({ "url": url.to_string() }),
    }
}
