//! JSON Schema becomes TypeScript types.

use serde_json::{Map, Value};

use super::text::{key, string};
use crate::stubs::schema::{Members, Scope, Types};

const UNKNOWN: &str = "unknown";

/// Bytes of one type; what is longer is no help to anybody.
const MAX_TYPE_BYTES: usize = 4_000;

/// Translates the schemas of one document. What is looked at is bounded as for Python.
pub(super) struct Shapes<'s, 'm> {
    types: Types<'s, 'm>,
    /// Targets of `$ref` that are being translated.
    open: Vec<&'s str>,
}

impl<'s, 'm> Shapes<'s, 'm> {
    pub(super) fn new(root: &'s Value, scope: &'m mut Scope) -> Self {
        Self { types: Types::new(root, String::new(), scope), open: Vec::new() }
    }

    /// The properties of an object schema, or nothing if it is something else.
    pub(super) fn members(&mut self, schema: &'s Value) -> Option<Members<'s>> {
        self.types.members(schema)
    }

    /// The type of a schema of this document.
    pub(super) fn type_of(&mut self, schema: &'s Value) -> String {
        self.translate(schema, 0)
    }

    fn translate(&mut self, schema: &'s Value, depth: usize) -> String {
        let made = self.translate_any(schema, depth);
        if made.len() > MAX_TYPE_BYTES { UNKNOWN.to_owned() } else { made }
    }

    fn translate_any(&mut self, schema: &'s Value, depth: usize) -> String {
        let Value::Object(keywords) = schema else { return UNKNOWN.to_owned() };
        if depth > Scope::MAX_DEPTH || !self.types.visit() {
            return UNKNOWN.to_owned();
        }
        let depth = depth + 1;
        let made = if let Some(target) = keywords.get("$ref").and_then(Value::as_str) {
            self.referred(target, depth)
        } else if let Some(value) = keywords.get("const") {
            literals(std::slice::from_ref(value))
        } else if let Some(Value::Array(values)) = keywords.get("enum") {
            literals(values)
        } else if let Some(Value::Array(members)) =
            keywords.get("anyOf").or_else(|| keywords.get("oneOf"))
        {
            self.union_of(members, depth)
        } else if let Some(Value::Array(parts)) = keywords.get("allOf") {
            self.merged(schema, parts, depth)
        } else {
            self.plain(schema, keywords, depth)
        };
        match keywords.get("nullable") {
            Some(Value::Bool(true)) => union(vec![made, "null".to_owned()]),
            _ => made,
        }
    }

    fn plain(
        &mut self,
        schema: &'s Value,
        keywords: &'s Map<String, Value>,
        depth: usize,
    ) -> String {
        match keywords.get("type") {
            Some(Value::String(kind)) => self.of_kind(kind, schema, keywords, depth),
            Some(Value::Array(kinds)) if kinds.len() <= Scope::MAX_ALTERNATIVES => {
                let kinds = kinds.iter().filter_map(Value::as_str);
                union(kinds.map(|kind| self.of_kind(kind, schema, keywords, depth)).collect())
            }
            None if keywords.contains_key("properties") => self.object(schema, depth),
            None if keywords.contains_key("items") => self.array(keywords, depth),
            _ => UNKNOWN.to_owned(),
        }
    }

    fn of_kind(
        &mut self,
        kind: &str,
        schema: &'s Value,
        keywords: &'s Map<String, Value>,
        depth: usize,
    ) -> String {
        match kind {
            "string" | "boolean" | "null" | "number" => kind.to_owned(),
            "integer" => "number".to_owned(),
            "array" => self.array(keywords, depth),
            "object" => self.object(schema, depth),
            _ => UNKNOWN.to_owned(),
        }
    }

    fn array(&mut self, keywords: &'s Map<String, Value>, depth: usize) -> String {
        let items = match (keywords.get("prefixItems"), keywords.get("items")) {
            (Some(Value::Array(items)), None) | (None, Some(Value::Array(items))) => {
                self.union_of(items, depth)
            }
            (None, Some(items)) => self.translate(items, depth),
            _ => UNKNOWN.to_owned(),
        };
        match items.contains(' ') && !items.starts_with('{') || items.contains(" | ") {
            true => format!("({items})[]"),
            false => format!("{items}[]"),
        }
    }

    fn object(&mut self, schema: &'s Value, depth: usize) -> String {
        let Some(members) = self.members(schema) else { return UNKNOWN.to_owned() };
        if members.properties.is_empty() {
            let values = match members.rest {
                Some(rest) => self.translate(rest, depth),
                None => UNKNOWN.to_owned(),
            };
            return format!("Record<string, {values}>");
        }
        let shown = members.properties.iter().take(Scope::MAX_PROPERTIES);
        let fields: Vec<String> = shown
            .map(|(name, property)| {
                let optional = if members.required.contains(name) { "" } else { "?" };
                format!("{}{optional}: {}", key(name), self.translate(property, depth))
            })
            .collect();
        format!("{{ {} }}", fields.join("; "))
    }

    /// Several schemas at once: their properties together if all are objects.
    fn merged(&mut self, schema: &'s Value, parts: &'s [Value], depth: usize) -> String {
        let members = self.members(schema);
        match (members.is_some_and(|members| !members.properties.is_empty()), parts) {
            (true, _) => self.object(schema, depth),
            (false, [only]) => self.translate(only, depth),
            (false, _) => UNKNOWN.to_owned(),
        }
    }

    fn union_of(&mut self, members: &'s [Value], depth: usize) -> String {
        if members.len() > Scope::MAX_ALTERNATIVES {
            return UNKNOWN.to_owned();
        }
        union(members.iter().map(|member| self.translate(member, depth)).collect())
    }

    fn referred(&mut self, target: &'s str, depth: usize) -> String {
        if self.open.contains(&target) {
            return UNKNOWN.to_owned();
        }
        let Some(schema) = self.types.resolve(target) else { return UNKNOWN.to_owned() };
        self.open.push(target);
        let made = self.translate(schema, depth);
        self.open.pop();
        made
    }
}

fn union(mut types: Vec<String>) -> String {
    if types.is_empty() || types.iter().any(|one| one == UNKNOWN) {
        return UNKNOWN.to_owned();
    }
    let mut seen = std::collections::HashSet::new();
    types.retain(|one| seen.insert(one.clone()));
    // `null` is read best at the end.
    types.sort_by_key(|one| one == "null");
    types.join(" | ")
}

/// The type of exactly these values.
fn literals(values: &[Value]) -> String {
    if values.len() > Scope::MAX_ALTERNATIVES {
        return union(values.iter().map(|value| kind(value).to_owned()).collect());
    }
    let exact = |value: &Value| match value {
        Value::String(text) if text.len() <= 80 => string(text),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        other => kind(other).to_owned(),
    };
    union(values.iter().map(exact).collect())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "unknown[]",
        Value::Object(_) => "Record<string, unknown>",
    }
}
