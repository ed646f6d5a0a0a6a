//! What a server says while it works on a client's request, told to that client: progress under its
//! own token, and log entries of the level that it asked for.

use indexmap::IndexMap;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::events::RunEvent;
use crate::server::mcp::request::{Exchange, Meta, Request};
use crate::tool::Json;

/// What may wait for a client that reads slowly.
pub(super) const QUEUE: usize = 64;

/// The levels of log entries, from the least grave one on.
const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// How grave a level is; nothing for a text that is no level.
pub(in crate::server::mcp) fn gravity(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

/// What a client wants to hear about one request.
pub(super) struct Forward<'a> {
    exchange: &'a Exchange,
    token: Option<&'a RawValue>,
    /// The least grave level of log entries that it wants.
    level: Option<String>,
}

impl<'a> Forward<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        let meta = &request.params.meta;
        let level = match request.client.is_modern() {
            true => meta.get(Meta::LOG_LEVEL),
            false => request.exchange.peer.log_level(),
        };
        Self { exchange: &request.exchange, token: meta.progress_token(), level }
    }

    pub(super) fn wants_any(&self) -> bool {
        self.token.is_some() || self.level.is_some()
    }

    /// What goes along with the request to the server.
    pub(super) fn meta(&self, request: &Request) -> Option<Json> {
        request.params.meta.to_pass(self.level.as_deref())
    }

    pub(super) async fn tell(&self, event: &RunEvent) {
        match event {
            RunEvent::Progress { params: Some(params), .. } => {
                let Some(token) = self.token else { return };
                if let Some(params) = with_token(params, token) {
                    self.exchange.notify("notifications/progress", &params).await;
                }
            }
            RunEvent::Log { level, params: Some(params), .. } if self.wants_level(level) => {
                self.exchange.notify("notifications/message", params).await;
            }
            // What a plugin says came in no message yet.
            RunEvent::Progress { progress, total, message, params: None, .. } => {
                let Some(token) = self.token else { return };
                let mut params = json!({ "progressToken": token, "progress": progress });
                if let Some(total) = total {
                    params["total"] = json!(total);
                }
                if let Some(message) = message {
                    params["message"] = json!(message);
                }
                self.exchange.notify("notifications/progress", &params).await;
            }
            RunEvent::Log { level, logger, data, params: None, .. } if self.wants_level(level) => {
                let mut params = json!({ "level": level, "data": data });
                if let Some(logger) = logger {
                    params["logger"] = json!(logger);
                }
                self.exchange.notify("notifications/message", &params).await;
            }
            _ => {}
        }
    }

    fn wants_level(&self, level: &str) -> bool {
        let least = self.level.as_deref().and_then(gravity);
        least.is_some_and(|least| gravity(level).is_some_and(|level| level >= least))
    }
}

/// The server's own words, with the token that the client knows.
fn with_token(params: &RawValue, token: &RawValue) -> Option<Json> {
    let mut members: IndexMap<&str, &RawValue> = serde_json::from_str(params.get()).ok()?;
    members.insert("progressToken", token);
    to_raw_value(&members).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_keeps_the_servers_numbers_and_gets_the_clients_token() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let params = raw(r#"{"progressToken":7,"progress":1.50,"total":1e400,"odd":[]}"#);
        let shown = with_token(&params, &raw("\"mine\"")).unwrap();
        assert_eq!(
            shown.get(),
            r#"{"progressToken":"mine","progress":1.50,"total":1e400,"odd":[]}"#
        );
    }

    #[test]
    fn levels_are_ordered() {
        assert!(gravity("debug") < gravity("info") && gravity("error") < gravity("emergency"));
        assert_eq!(gravity("loud"), None);
    }
}
