//! A server's entry as clients see it: the JSON that it listed, with everything that we do not know,
//! under another name. Some clients give up a whole list for one entry of a wrong form, so what a
//! server wrote wrongly is left out here; it must not take the other servers' entries along.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::tool::{Json, ToolDescription};
use crate::upstream::settings::ToolSettings;

/// The form of a member that the protocol knows.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Flag,
    Number,
    Object,
    List,
}

impl Form {
    fn fits(self, raw: &RawValue) -> bool {
        let first = raw.get().bytes().next().unwrap_or_default();
        match self {
            Self::Text => first == b'"',
            Self::Flag => matches!(first, b't' | b'f'),
            Self::Number => first == b'-' || first.is_ascii_digit(),
            Self::Object => first == b'{',
            Self::List => first == b'[',
        }
    }
}

const KNOWN: [(&str, Form); 11] = [
    ("title", Form::Text),
    ("description", Form::Text),
    ("mimeType", Form::Text),
    ("size", Form::Number),
    ("inputSchema", Form::Object),
    ("outputSchema", Form::Object),
    ("annotations", Form::Object),
    ("execution", Form::Object),
    ("_meta", Form::Object),
    ("icons", Form::List),
    ("arguments", Form::List),
];

const KNOWN_ANNOTATIONS: [(&str, Form); 8] = [
    ("title", Form::Text),
    ("readOnlyHint", Form::Flag),
    ("destructiveHint", Form::Flag),
    ("idempotentHint", Form::Flag),
    ("openWorldHint", Form::Flag),
    ("audience", Form::List),
    ("priority", Form::Number),
    ("lastModified", Form::Text),
];

/// The members of an entry, in the server's order.
pub(in crate::server) struct Definition(IndexMap<String, Json>);

impl Definition {
    /// Of what a server listed.
    pub(in crate::server) fn of(raw: &RawValue) -> Self {
        let mut members: IndexMap<String, Json> =
            serde_json::from_str(raw.get()).unwrap_or_default();
        drop_misshapen(&mut members, &KNOWN);
        if let Some(written) = members.get_mut("annotations")
            && let Ok(mut annotations) = serde_json::from_str(written.get())
            && drop_misshapen(&mut annotations, &KNOWN_ANNOTATIONS)
        {
            *written = to_raw_value(&annotations).unwrap_or_default();
        }
        Self(members)
    }

    /// Of a tool, with what the operator says about it.
    pub(in crate::server) fn of_tool(tool: &ToolDescription, own: Option<&ToolSettings>) -> Self {
        let mut definition = match &tool.raw {
            Some(raw) => Self::of(raw),
            None => Self::of_own_tool(tool),
        };
        if let Some(own) = own {
            definition.apply(tool, own);
        }
        // Clients insist on it; servers forget it.
        if tool.input_schema.get("type") != Some(&json!("object")) {
            let mut schema = (*tool.input_schema).clone();
            schema["type"] = json!("object");
            definition.set("inputSchema", &schema);
        }
        definition
    }

    /// A tool of this process.
    fn of_own_tool(tool: &ToolDescription) -> Self {
        let mut definition = Self(IndexMap::new());
        definition.set("name", &tool.name.tool);
        if let Some(title) = &tool.title {
            definition.set("title", title);
        }
        if let Some(description) = &tool.description {
            definition.set("description", description);
        }
        definition.set("inputSchema", &tool.input_schema);
        if let Some(schema) = &tool.output_schema {
            definition.set("outputSchema", schema);
        }
        let hints = tool.hints;
        definition.set(
            "annotations",
            &json!({
                "readOnlyHint": hints.read_only,
                "destructiveHint": hints.destructive,
                "idempotentHint": hints.idempotent,
                "openWorldHint": false,
            }),
        );
        definition
    }

    /// The operator's word is over the server's.
    fn apply(&mut self, tool: &ToolDescription, own: &ToolSettings) {
        if let Some(title) = &own.title {
            self.set("title", title);
        }
        if let Some(description) = &own.description {
            self.set("description", description);
        }
        if !own.parameters.is_empty() {
            self.set("inputSchema", &tool.input_schema);
        }
        if own.read_only.is_some() || own.idempotent.is_some() {
            let written = self.0.get("annotations");
            let mut annotations: Map<String, Value> =
                written.and_then(|it| serde_json::from_str(it.get()).ok()).unwrap_or_default();
            annotations.insert("readOnlyHint".to_owned(), tool.hints.read_only.into());
            annotations.insert("idempotentHint".to_owned(), tool.hints.idempotent.into());
            self.set("annotations", &annotations);
        }
    }

    pub(super) fn set(&mut self, member: &str, value: &(impl serde::Serialize + ?Sized)) {
        if let Ok(raw) = to_raw_value(value) {
            self.0.insert(member.to_owned(), raw);
        }
    }

    /// Gives it a member if it has none of the right form: a text.
    pub(super) fn need_text(&mut self, member: &str, or: &str) {
        if !self.0.get(member).is_some_and(|written| Form::Text.fits(written)) {
            self.set(member, or);
        }
    }

    pub(in crate::server) fn finish(self) -> Arc<RawValue> {
        to_raw_value(&self.0).unwrap_or_default().into()
    }
}

/// Takes out what has not the form that the protocol gives it. Gives whether there was anything.
fn drop_misshapen(members: &mut IndexMap<String, Json>, known: &[(&str, Form)]) -> bool {
    let before = members.len();
    members.retain(|name, value| {
        known.iter().find(|(known, _)| known == name).is_none_or(|(_, form)| form.fits(value))
    });
    members.len() < before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        let mut definition = Definition::of(&raw);
        definition.set("name", "s_t");
        definition.finish().get().to_owned()
    }

    #[test]
    fn only_the_name_is_another() {
        let odd = r#"{"vendor":{"b":1,"a":12345678901234567890123},"name":"t","execution":{"taskSupport":"optional"},"_meta":{"x":1e400},"icons":[{"src":"data:,"}],"inputSchema":{"type":"object","const":1.0}}"#;
        assert_eq!(shown(odd), odd.replace(r#""name":"t""#, r#""name":"s_t""#));
    }

    #[test]
    fn what_would_make_clients_drop_the_whole_list_is_left_out() {
        let bad = r#"{"name":"t","title":3,"description":{"x":1},"outputSchema":"x","annotations":{"readOnlyHint":"yes","title":"T","own":[1]},"icons":7,"_meta":null}"#;
        assert_eq!(shown(bad), r#"{"name":"s_t","annotations":{"title":"T","own":[1]}}"#);
        assert_eq!(shown(r#"{"name":"t","annotations":"x"}"#), r#"{"name":"s_t"}"#);
    }
}
