//! Frames as web clients know them: JSON objects with a `type` and the time.

use std::time::SystemTime;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use crate::tool::Json;

/// The time as Python writes it: UTC, with microseconds and `+00:00`.
pub(super) fn iso(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_micros(time).to_string();
    format!("{}+00:00", text.trim_end_matches('Z'))
}

pub(super) fn now() -> String {
    iso(SystemTime::now())
}

/// Puts an object together. What is JSON already passes as the text that it is: a `Value` could not hold
/// every number that a server may send.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(super) struct Object(IndexMap<&'static str, Json>);

impl Object {
    pub(super) fn with(mut self, member: &'static str, value: &impl Serialize) -> Self {
        self.0.insert(member, to_raw_value(value).unwrap_or_default());
        self
    }

    pub(super) fn finish(self) -> Json {
        to_raw_value(&self.0).unwrap_or_default()
    }
}

/// Puts a frame together.
pub(super) struct Frame(Object);

impl Frame {
    pub(super) fn new(kind: &'static str) -> Self {
        Self(Object::default().with("type", &kind))
    }

    pub(super) fn with(self, member: &'static str, value: &impl Serialize) -> Self {
        Self(self.0.with(member, value))
    }

    pub(super) fn with_some(self, member: &'static str, value: Option<&impl Serialize>) -> Self {
        match value {
            Some(value) => self.with(member, value),
            None => self,
        }
    }

    /// With the time, as text.
    pub(super) fn finish(self) -> String {
        let frame = self.with("timestamp", &now());
        frame.0.finish().get().to_owned()
    }
}

/// Something is wrong with what the client sent, or with the session.
pub(super) fn error(words: &str) -> String {
    Frame::new("error").with("error", &words).finish()
}

/// A frame of a client, taken apart at its first level.
pub(super) struct Received {
    members: IndexMap<String, Json>,
}

/// Why a text is no frame.
pub(super) enum NoFrame {
    /// It is not JSON.
    NotJson,
    /// It is JSON, and of this kind, in Python's words.
    NoObject(&'static str),
}

impl Received {
    pub(super) fn read(text: &str) -> Result<Self, NoFrame> {
        match serde_json::from_str(text) {
            Ok(members) => Ok(Self { members }),
            // That something is no object is told before the rest was read.
            Err(error) if error.is_data() && serde_json::from_str::<&RawValue>(text).is_ok() => {
                // Of what is an object by its beginning, only its form can be wrong.
                Err(match text.trim_start().bytes().next() {
                    Some(b'[') => NoFrame::NoObject("list"),
                    Some(b'"') => NoFrame::NoObject("str"),
                    Some(b't' | b'f') => NoFrame::NoObject("bool"),
                    Some(b'n') => NoFrame::NoObject("NoneType"),
                    Some(b'-' | b'0'..=b'9') => {
                        NoFrame::NoObject(match text.contains(['.', 'e']) {
                            true => "float",
                            false => "int",
                        })
                    }
                    _ => NoFrame::NotJson,
                })
            }
            Err(_) => Err(NoFrame::NotJson),
        }
    }

    /// A member that is there and not null.
    pub(super) fn raw(&self, member: &str) -> Option<&RawValue> {
        self.members.get(member).map(|raw| &**raw).filter(|raw| raw.get() != "null")
    }

    pub(super) fn has(&self, member: &str) -> bool {
        self.members.contains_key(member)
    }

    pub(super) fn value(&self, member: &str) -> Value {
        self.raw(member).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    /// A member that is a text.
    pub(super) fn text(&self, member: &str) -> Option<String> {
        serde_json::from_str(self.raw(member)?.get()).ok()
    }
}

/// A value as Python's `str()` shows it, cut to what belongs into an error.
pub(super) fn as_python(value: &Value) -> String {
    let text = match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => json!(other).to_string().replace('"', "'"),
    };
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_python_writes_them() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(1_700_000_000_000_042);
        assert_eq!(iso(time), "2023-11-14T22:13:20.000042+00:00");
    }

    #[test]
    fn what_is_no_frame_is_told_apart() {
        for (text, kind) in [
            ("[1]", Some("list")),
            (" \"x\"", Some("str")),
            ("7", Some("int")),
            ("7.5", Some("float")),
            ("null", Some("NoneType")),
            ("true", Some("bool")),
            ("{", None),
            ("nul", None),
            ("", None),
            ("{\"a\":1} x", None),
            ("[", None),
            ("\"", None),
            ("1x", None),
            ("\u{feff}{}", None),
        ] {
            let read = match Received::read(text) {
                Ok(_) => panic!("{text} is no frame"),
                Err(NoFrame::NoObject(kind)) => Some(kind),
                Err(NoFrame::NotJson) => None,
            };
            assert_eq!(read, kind, "{text}");
        }
        let frame = Received::read(r#"{"type":"ping","a":null,"n":1e400}"#);
        let Ok(frame) = frame else { panic!("it is one") };
        assert_eq!(frame.text("type").as_deref(), Some("ping"));
        assert!(frame.has("a") && frame.raw("a").is_none());
        assert_eq!(frame.raw("n").map(RawValue::get), Some("1e400"));
    }
}
