//! One tool becomes one Python function.

use std::collections::HashMap;

use serde_json::Value;

use super::identifiers::{class_name, identifier};
use super::module::{Collision, Detail};
use super::schema::{Class, Members, Scope, Types, description_of, unwrapped};
use super::text::{clean, clean_line, docstring, literal, string};
use crate::tool::ToolDescription;

/// Width of a signature on one line.
const MAX_WIDTH: usize = 100;

/// The parts of a tool's stub.
pub(super) struct Function {
    classes: Vec<Class>,
    name: String,
    parameters: Vec<String>,
    returns: String,
    documentation: String,
}

impl Function {
    /// Translates a tool. Arguments that cannot be told apart are added to the collisions.
    pub(super) fn new(
        tool: &ToolDescription,
        scope: &mut Scope,
        collisions: &mut Vec<Collision>,
    ) -> Self {
        scope.next_tool();
        let prefix = class_name(&tool.name.tool.chars().take(60).collect::<String>());
        let mut types = Types::new(&tool.input_schema, prefix.clone(), scope);
        let arguments = types.members(&tool.input_schema);
        let (parameters, argument_lines) = match arguments {
            Some(members) => parameters(tool, &members, &mut types, collisions),
            None => (vec!["**arguments: Any".to_owned()], Vec::new()),
        };
        let mut classes = types.classes;
        let returns = match tool.output_schema.as_deref() {
            Some(schema) => {
                let mut types = Types::new(schema, prefix, scope);
                let returns = types.type_of(unwrapped(schema), "result");
                classes.append(&mut types.classes);
                returns
            }
            None => "Any".to_owned(),
        };
        let documentation = documentation(tool, &argument_lines);
        let name = identifier(&tool.name.tool);
        Self { classes, name, parameters, returns, documentation }
    }

    /// Its Python source: the classes of its types, then the function.
    pub(super) fn render(&self, detail: Detail) -> String {
        let documented = detail == Detail::Full;
        let mut made = String::new();
        for class in &self.classes {
            made.push_str(&class.render(documented));
            made.push('\n');
        }
        made.push_str(&self.signature());
        if documented && !self.documentation.is_empty() {
            made.push('\n');
            made.push_str(&docstring(&self.documentation, 4));
        } else {
            made.push_str(" ...\n");
        }
        made
    }

    fn signature(&self) -> String {
        let Self { name, parameters, returns, .. } = self;
        let line = format!("def {name}({}) -> {returns}:", parameters.join(", "));
        if line.len() <= MAX_WIDTH || parameters.is_empty() {
            return line;
        }
        let lines: String = parameters.iter().map(|one| format!("    {one},\n")).collect();
        format!("def {name}(\n{lines}) -> {returns}:")
    }
}

/// The parameters as Python writes them, and what documentation says of each.
fn parameters<'s>(
    tool: &ToolDescription,
    members: &Members<'s>,
    types: &mut Types<'s, '_>,
    collisions: &mut Vec<Collision>,
) -> (Vec<String>, Vec<String>) {
    let mut required = Vec::new();
    let mut optional = Vec::new();
    let mut lines = Vec::new();
    let mut names: HashMap<String, &str> = HashMap::new();
    for (key, schema) in members.properties.iter().take(Scope::MAX_PROPERTIES) {
        let name = identifier(key);
        if let Some(first) = names.get(&name) {
            let of = Some(tool.name.to_string());
            collisions.push(Collision::new(of, &name, first, key));
            continue;
        }
        let type_text = types.type_of(schema, key);
        let default = schema.get("default").and_then(literal);
        if members.required.contains(key) {
            required.push(format!("{name}: {type_text}"));
        } else {
            let default = default.as_deref().unwrap_or("...");
            optional.push(format!("{name}: {type_text} = {default}"));
        }
        lines.extend(argument_line(&name, key, schema));
        names.insert(name, key);
    }
    let mut parameters = Vec::new();
    if !required.is_empty() || !optional.is_empty() {
        parameters.push("*".to_owned());
    }
    parameters.append(&mut required);
    parameters.append(&mut optional);
    let is_open = match members.rest {
        Some(Value::Bool(open)) => *open,
        rest => rest.is_some(),
    };
    if is_open || members.properties.len() > Scope::MAX_PROPERTIES {
        parameters.push("**more: Any".to_owned());
    }
    (parameters, lines)
}

fn argument_line(name: &str, key: &str, schema: &Value) -> Option<String> {
    let description = description_of(schema, 600).replace('\n', "\n        ");
    let sent_as = if name == key {
        String::new()
    } else {
        format!(" (sent as {})", clean_line(&string(key), 100))
    };
    if description.is_empty() && sent_as.is_empty() {
        return None;
    }
    Some(format!("    {name}{sent_as}: {description}").trim_end().to_owned())
}

fn documentation(tool: &ToolDescription, argument_lines: &[String]) -> String {
    const MAX_CHARS: usize = 4_000;
    let description = tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default();
    let mut text = clean(description, MAX_CHARS);
    if !argument_lines.is_empty() {
        let blank = if text.is_empty() { "" } else { "\n\n" };
        text.push_str(&format!("{blank}Args:\n{}", argument_lines.join("\n")));
    }
    text
}

/// The first sentence of what a tool does, on one line.
pub(super) fn summary(tool: &ToolDescription) -> String {
    const MAX_CHARS: usize = 120;
    let description = tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default();
    let paragraph = clean(description, 4 * MAX_CHARS);
    let paragraph = paragraph.split("\n\n").next().unwrap_or_default();
    let sentence = paragraph.split(". ").next().unwrap_or_default();
    clean_line(sentence, MAX_CHARS)
}
