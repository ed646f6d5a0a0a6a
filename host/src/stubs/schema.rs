//! JSON Schema becomes Python types.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::identifiers::{class_name, is_identifier};
use super::text::{clean, clean_line, docstring, literal, string};

/// What limits a module's schemas: names that are taken, and how much may still be looked at.
pub(super) struct Scope {
    names: HashSet<String>,
    /// Schemas that may still be visited; then everything is `Any`.
    visits: usize,
}

impl Scope {
    /// Levels of a schema that are followed.
    pub(super) const MAX_DEPTH: usize = 32;
    /// Schemas of one tool that are visited.
    pub(super) const MAX_VISITS: usize = 2_000;
    /// Properties of one object that are shown.
    pub(super) const MAX_PROPERTIES: usize = 200;
    /// Members of a union, or values of an enumeration, that are shown.
    pub(super) const MAX_ALTERNATIVES: usize = 40;

    /// With the names that a module takes for other things.
    pub(super) fn new(taken: impl IntoIterator<Item = String>) -> Self {
        let typing = ["Any", "Literal", "NotRequired", "TypedDict", "None", "True", "False"];
        let names = taken.into_iter().chain(typing.map(str::to_owned)).collect();
        Self { names, visits: Self::MAX_VISITS }
    }

    /// Every tool may use as much as every other.
    pub(super) fn next_tool(&mut self) {
        self.visits = Self::MAX_VISITS;
    }

    fn claim(&mut self, name: String) -> String {
        let mut claimed = name.clone();
        let mut number = 2;
        while !self.names.insert(claimed.clone()) {
            claimed = format!("{name}{number}");
            number += 1;
        }
        claimed
    }

    fn visit(&mut self) -> bool {
        let may = self.visits > 0;
        self.visits = self.visits.saturating_sub(1);
        may
    }
}

/// A `TypedDict` that a type refers to.
pub(super) struct Class {
    name: String,
    description: String,
    fields: Vec<Field>,
}

struct Field {
    key: String,
    type_text: String,
    is_required: bool,
    description: String,
}

impl Class {
    /// Its Python source.
    pub(super) fn render(&self, documented: bool) -> String {
        let Self { name, description, fields } = self;
        // A name in front of which Python puts the class's own, or that is no name, is a string.
        let fits = |field: &Field| is_identifier(&field.key) && !field.key.starts_with("__");
        let is_class = fields.iter().all(fits);
        let mut made = String::new();
        if is_class {
            made.push_str(&format!("class {name}(TypedDict):\n"));
            if documented && !description.is_empty() {
                made.push_str(&docstring(description, 4));
            }
        } else {
            if documented && !description.is_empty() {
                made.push_str(&format!("# {}\n", clean_line(description, 400)));
            }
            made.push_str(&format!("{name} = TypedDict(\"{name}\", {{\n"));
        }
        for Field { key, type_text, is_required, description } in fields {
            if documented && !description.is_empty() {
                made.push_str(&format!("    # {description}\n"));
            }
            let type_text = match is_required {
                true => type_text.clone(),
                false => format!("NotRequired[{type_text}]"),
            };
            let line = match is_class {
                true => format!("    {key}: {type_text}\n"),
                false => format!("    {}: {type_text},\n", string(key)),
            };
            made.push_str(&line);
        }
        if !is_class {
            made.push_str("})\n");
        }
        made
    }
}

/// An object's properties, those of its `allOf` included.
#[derive(Default)]
pub(super) struct Members<'s> {
    pub(super) properties: Vec<(&'s str, &'s Value)>,
    pub(super) required: HashSet<&'s str>,
    /// `additionalProperties`, where it is said.
    pub(super) rest: Option<&'s Value>,
}

/// Translates the schemas of one document.
pub(super) struct Types<'s, 'm> {
    root: &'s Value,
    /// The beginning of all classes' names.
    prefix: String,
    scope: &'m mut Scope,
    /// The classes so far, in the order in which they were met.
    pub(super) classes: Vec<Class>,
    /// Classes by the `$ref` that leads to them.
    references: HashMap<&'s str, String>,
    /// Targets of `$ref` that are being translated, and are no classes.
    open: Vec<&'s str>,
}

impl<'s, 'm> Types<'s, 'm> {
    pub(super) fn new(root: &'s Value, prefix: String, scope: &'m mut Scope) -> Self {
        Self {
            root,
            prefix,
            scope,
            classes: Vec::new(),
            references: HashMap::new(),
            open: Vec::new(),
        }
    }

    /// Whether one more schema may be looked at; if so, it is counted.
    pub(super) fn visit(&mut self) -> bool {
        self.scope.visit()
    }

    /// The type of a schema of this document. `hint` names a class for it.
    pub(super) fn type_of(&mut self, schema: &'s Value, hint: &str) -> String {
        self.translate(schema, hint, None, 0)
    }

    /// The properties of an object schema, or nothing if it is something else.
    pub(super) fn members(&mut self, schema: &'s Value) -> Option<Members<'s>> {
        let mut members = Members::default();
        self.collect(schema, &mut members, 0).then_some(members)
    }

    fn translate(
        &mut self,
        schema: &'s Value,
        hint: &str,
        reference: Option<&'s str>,
        depth: usize,
    ) -> String {
        let Value::Object(keywords) = schema else { return "Any".to_owned() };
        if depth > Scope::MAX_DEPTH || !self.scope.visit() {
            return "Any".to_owned();
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
            self.union_of(members, hint, depth)
        } else if let Some(Value::Array(members)) = keywords.get("allOf") {
            self.merged(schema, members, hint, reference, depth)
        } else {
            self.plain(schema, keywords, hint, reference, depth)
        };
        match keywords.get("nullable") {
            Some(Value::Bool(true)) => union([made, "None".to_owned()]),
            _ => made,
        }
    }

    fn plain(
        &mut self,
        schema: &'s Value,
        keywords: &'s Map<String, Value>,
        hint: &str,
        reference: Option<&'s str>,
        depth: usize,
    ) -> String {
        match keywords.get("type") {
            Some(Value::String(kind)) => {
                self.of_kind(kind, schema, keywords, hint, reference, depth)
            }
            Some(Value::Array(kinds)) if kinds.len() <= Scope::MAX_ALTERNATIVES => {
                let kinds = kinds.iter().filter_map(Value::as_str);
                let types: Vec<String> = kinds
                    .map(|kind| self.of_kind(kind, schema, keywords, hint, reference, depth))
                    .collect();
                union(types)
            }
            None if keywords.contains_key("properties") => {
                self.of_kind("object", schema, keywords, hint, reference, depth)
            }
            None if keywords.contains_key("items") => {
                self.of_kind("array", schema, keywords, hint, reference, depth)
            }
            _ => "Any".to_owned(),
        }
    }

    fn of_kind(
        &mut self,
        kind: &str,
        schema: &'s Value,
        keywords: &'s Map<String, Value>,
        hint: &str,
        reference: Option<&'s str>,
        depth: usize,
    ) -> String {
        match kind {
            "string" => "str".to_owned(),
            "integer" => "int".to_owned(),
            "number" => "float".to_owned(),
            "boolean" => "bool".to_owned(),
            "null" => "None".to_owned(),
            "array" => {
                let items = match (keywords.get("prefixItems"), keywords.get("items")) {
                    (Some(Value::Array(items)), None) | (None, Some(Value::Array(items))) => {
                        self.union_of(items, &format!("{hint} item"), depth)
                    }
                    (None, Some(items)) => {
                        self.translate(items, &format!("{hint} item"), None, depth)
                    }
                    _ => "Any".to_owned(),
                };
                format!("list[{items}]")
            }
            "object" => self.object(schema, hint, reference, depth),
            _ => "Any".to_owned(),
        }
    }

    fn object(
        &mut self,
        schema: &'s Value,
        hint: &str,
        reference: Option<&'s str>,
        depth: usize,
    ) -> String {
        let mut members = Members::default();
        if !self.collect(schema, &mut members, depth) {
            return "Any".to_owned();
        }
        if members.properties.is_empty() {
            let values = match members.rest {
                Some(rest) => self.translate(rest, &format!("{hint} value"), None, depth),
                None => "Any".to_owned(),
            };
            return format!("dict[str, {values}]");
        }
        let name = self.scope.claim(format!("{}{}", self.prefix, class_name(&shortened(hint))));
        if let Some(reference) = reference {
            self.references.insert(reference, name.clone());
        }
        // The place among the classes is that of the first meeting, before those of its fields.
        let place = self.classes.len();
        let description = description_of(schema, 1_000);
        self.classes.push(Class { name: name.clone(), description, fields: Vec::new() });
        let shown = members.properties.iter().take(Scope::MAX_PROPERTIES);
        let fields = shown
            .map(|(key, property)| Field {
                key: (*key).to_owned(),
                type_text: self.translate(property, &format!("{hint} {key}"), None, depth),
                is_required: members.required.contains(key),
                description: clean_line(&description_of(property, 300), 300),
            })
            .collect();
        self.classes[place].fields = fields;
        name
    }

    /// Several schemas at once: their properties together if all are objects.
    fn merged(
        &mut self,
        schema: &'s Value,
        members: &'s [Value],
        hint: &str,
        reference: Option<&'s str>,
        depth: usize,
    ) -> String {
        let mut collected = Members::default();
        if self.collect(schema, &mut collected, depth) && !collected.properties.is_empty() {
            return self.object(schema, hint, reference, depth);
        }
        match members {
            [only] => self.translate(only, hint, reference, depth),
            _ => "Any".to_owned(),
        }
    }

    fn union_of(&mut self, members: &'s [Value], hint: &str, depth: usize) -> String {
        if members.len() > Scope::MAX_ALTERNATIVES {
            return "Any".to_owned();
        }
        let types: Vec<String> =
            members.iter().map(|member| self.translate(member, hint, None, depth)).collect();
        union(types)
    }

    fn referred(&mut self, target: &'s str, depth: usize) -> String {
        if let Some(class) = self.references.get(target) {
            return class.clone();
        }
        // A type that contains itself and is no class has no name to be called by.
        if self.open.contains(&target) {
            return "Any".to_owned();
        }
        let Some(schema) = self.resolve(target) else { return "Any".to_owned() };
        self.open.push(target);
        let hint = target.rsplit('/').next().filter(|name| *name != "#").unwrap_or("root");
        let made = self.translate(schema, hint, Some(target), depth);
        self.open.pop();
        made
    }

    pub(super) fn resolve(&self, target: &str) -> Option<&'s Value> {
        self.root.pointer(target.strip_prefix('#')?)
    }

    /// Gathers properties. `false` if the schema is not plainly one of an object.
    fn collect(&mut self, schema: &'s Value, members: &mut Members<'s>, depth: usize) -> bool {
        let Value::Object(keywords) = schema else { return false };
        if depth > Scope::MAX_DEPTH || !self.scope.visit() {
            return false;
        }
        if keywords.get("type").is_some_and(|kind| !names_object(kind)) {
            return false;
        }
        if let Some(target) = keywords.get("$ref").and_then(Value::as_str) {
            let Some(target) = self.resolve(target) else { return false };
            return self.collect(target, members, depth + 1);
        }
        if let Some(Value::Object(properties)) = keywords.get("properties") {
            for (key, property) in properties.iter().take(Scope::MAX_PROPERTIES + 1) {
                if !members.properties.iter().any(|(known, _)| known == key) {
                    members.properties.push((key, property));
                }
            }
        }
        if let Some(Value::Array(required)) = keywords.get("required") {
            members.required.extend(required.iter().filter_map(Value::as_str));
        }
        members.rest = members.rest.or(keywords.get("additionalProperties"));
        let parts = keywords.get("allOf").and_then(Value::as_array);
        parts.is_none_or(|parts| parts.iter().all(|part| self.collect(part, members, depth + 1)))
    }
}

fn names_object(kind: &Value) -> bool {
    match kind {
        Value::String(kind) => kind == "object",
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "object"),
        _ => false,
    }
}

/// The part of an output schema that callers see: FastMCP wraps what is not an object as
/// `{"result": …}` and marks the schema, and the language runtimes undo it.
pub(super) fn unwrapped(schema: &Value) -> &Value {
    let is_wrapped = schema.get("x-fastmcp-wrap-result").and_then(Value::as_bool) == Some(true);
    let result = schema.get("properties").and_then(|properties| properties.get("result"));
    result.filter(|_| is_wrapped).unwrap_or(schema)
}

/// A schema's `description`, or its `title`.
pub(super) fn description_of(schema: &Value, max_chars: usize) -> String {
    let text = schema.get("description").or_else(|| schema.get("title"));
    clean(text.and_then(Value::as_str).unwrap_or_default(), max_chars)
}

/// The last words of a hint: names of deep classes would grow with every level.
fn shortened(hint: &str) -> String {
    const WORDS: usize = 3;
    const MAX_CHARS: usize = 60;
    let words: Vec<&str> = hint.split(' ').collect();
    let last = &words[words.len().saturating_sub(WORDS)..];
    last.join("_").chars().take(MAX_CHARS).collect()
}

fn union(types: impl IntoIterator<Item = String>) -> String {
    let mut members: Vec<String> = Vec::new();
    for text in types {
        for member in split_union(&text) {
            if member == "Any" {
                return "Any".to_owned();
            }
            if !members.iter().any(|known| known == member) {
                members.push(member.to_owned());
            }
        }
    }
    if members.is_empty() {
        return "Any".to_owned();
    }
    // `None` is read best at the end.
    members.sort_by_key(|member| member == "None");
    members.join(" | ")
}

/// The members of a union that was made by [`union`]: what ` | ` separates outside of brackets and
/// of strings.
fn split_union(text: &str) -> Vec<&str> {
    let mut members = Vec::new();
    let (mut depth, mut in_string, mut escaped, mut start) = (0usize, false, false, 0);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => {
                members.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    members.push(text[start..].trim());
    members
}

/// The type of exactly these values.
fn literals(values: &[Value]) -> String {
    let mut exact: Vec<String> = Vec::new();
    let mut kinds: Vec<String> = Vec::new();
    for value in values.iter().take(Scope::MAX_ALTERNATIVES + 1) {
        let is_exact = match value {
            Value::String(_) | Value::Bool(_) => true,
            Value::Number(number) => !number.is_f64(),
            _ => false,
        };
        match literal(value).filter(|_| is_exact) {
            Some(text) => exact.push(text),
            None => kinds.push(kind(value).to_owned()),
        }
    }
    if values.len() > Scope::MAX_ALTERNATIVES {
        return union(values.iter().map(|value| kind(value).to_owned()));
    }
    if !exact.is_empty() {
        kinds.insert(0, format!("Literal[{}]", exact.join(", ")));
    }
    union(kinds)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "None",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list[Any]",
        Value::Object(_) => "dict[str, Any]",
    }
}
