//! The `params` of a request, put together from texts that pass unchanged.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::tool::Json;
use crate::upstream::handshake::RequestMeta;

/// The members of one request's `params`.
pub(super) struct Params<'a> {
    /// What the method itself takes.
    pub(super) own: &'a [(&'static str, &'a RawValue)],
    /// The answers to what the server asked in the round before, and what it gave us to hand back.
    pub(super) round: Option<&'a Round>,
    pub(super) meta: Meta<'a>,
}

/// What goes along with a repeated request after `input_required`.
#[derive(Default)]
pub(super) struct Round {
    pub(super) responses: IndexMap<String, Json>,
    pub(super) state: Option<Json>,
}

/// `_meta`: the caller's members, and over them the protocol's.
pub(super) struct Meta<'a> {
    /// A JSON object.
    pub(super) caller: Option<&'a RawValue>,
    /// In the modern era.
    pub(super) protocol: Option<&'a RequestMeta>,
    pub(super) progress_token: Option<u64>,
    /// Modern servers write log entries only for those who ask; whoever listens asks, unless the
    /// caller's members say what they want.
    pub(super) wants_log: bool,
}

const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

impl Meta<'_> {
    fn is_empty(&self) -> bool {
        self.caller.is_none() && self.protocol.is_none() && self.progress_token.is_none()
    }
}

impl Serialize for Params<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.own {
            map.serialize_entry(name, value)?;
        }
        if let Some(round) = self.round {
            map.serialize_entry("inputResponses", &round.responses)?;
            if let Some(state) = &round.state {
                map.serialize_entry("requestState", state)?;
            }
        }
        if !self.meta.is_empty() {
            map.serialize_entry("_meta", &self.meta)?;
        }
        map.end()
    }
}

impl Serialize for Meta<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let members: IndexMap<Cow<'_, str>, &RawValue> = self
            .caller
            .and_then(|caller| serde_json::from_str(caller.get()).ok())
            .unwrap_or_default();
        let is_ours = |name: &str| {
            name == "progressToken"
                || match self.protocol {
                    Some(_) => RequestMeta::MEMBERS.contains(&name),
                    // Older servers have another way to be told.
                    None => name == LOG_LEVEL,
                }
        };
        for (name, value) in members.iter().filter(|(name, _)| !is_ours(name)) {
            map.serialize_entry(name, value)?;
        }
        if let Some(protocol) = self.protocol {
            if self.wants_log && !members.contains_key(LOG_LEVEL) {
                map.serialize_entry(LOG_LEVEL, "info")?;
            }
            protocol.serialize_members(&mut map)?;
        }
        if let Some(token) = self.progress_token {
            map.serialize_entry("progressToken", &token)?;
        }
        map.end()
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
    fn the_callers_meta_passes_and_the_protocols_own_members_win() {
        let caller = raw(r#"{"traceparent":"00-a","progressToken":"theirs","n":1e400}"#);
        let arguments = raw(r#"{"big":123456789012345678901234567890}"#);
        let name = raw("\"t\"");
        let params = Params {
            own: &[("name", &name), ("arguments", &arguments)],
            round: None,
            meta: Meta {
                caller: Some(&caller),
                protocol: None,
                progress_token: Some(7),
                wants_log: true,
            },
        };
        assert_eq!(
            serde_json::to_string(&params).unwrap(),
            r#"{"name":"t","arguments":{"big":123456789012345678901234567890},"_meta":{"traceparent":"00-a","n":1e400,"progressToken":7}}"#
        );
    }

    #[test]
    fn a_round_hands_back_the_servers_state() {
        let round = Round {
            responses: IndexMap::from([("a".to_owned(), raw("{}"))]),
            state: Some(raw("\"opaque\"")),
        };
        let params = Params {
            own: &[],
            round: Some(&round),
            meta: Meta { caller: None, protocol: None, progress_token: None, wants_log: false },
        };
        assert_eq!(
            serde_json::to_value(&params).unwrap(),
            json!({ "inputResponses": { "a": {} }, "requestState": "opaque" })
        );
    }
}
