//! The same descriptions as TypeScript declarations: one function per tool, which takes one object.
//!
//! Types are written in place and not named: a declaration says all by itself, and two tools never
//! clash over the name of a type. What refers to itself is `unknown` where it does.

mod file;
mod names;
mod text;
mod types;

use std::borrow::Borrow;
use std::collections::HashMap;

use serde_json::Value;

use super::function::summary;
use super::module::{Collision, Detail, ServerStub};
use super::schema::{Members, Scope, description_of, unwrapped};
use super::text::clean;
use crate::ids::UpstreamName;
use crate::tool::ToolDescription;
use text::{comment, identifier, key, string};
use types::Shapes;

pub use file::declarations_file;

/// Width of a declaration on one line.
const MAX_WIDTH: usize = 100;

/// A module's text does not grow beyond this by more than one tool; of further tools there is a line.
const MAX_BYTES: usize = 256 << 10;

/// Writes the declarations of a server's tools. The tools keep their order; of two with the same
/// identifier, the first one has it.
pub fn server_declarations<T: Borrow<ToolDescription>>(
    server: &UpstreamName,
    tools: &[T],
    detail: Detail,
) -> ServerStub {
    let module = identifier(server.as_str());
    let mut collisions = Vec::new();
    let mut names: HashMap<String, &str> = HashMap::new();
    let mut body = String::new();
    for (nth, tool) in tools.iter().map(Borrow::borrow).enumerate() {
        let name = identifier(&tool.name.tool);
        if let Some(first) = names.get(&name) {
            collisions.push(Collision::new(None, &name, first, &tool.name.tool));
            continue;
        }
        names.insert(name, &tool.name.tool);
        if body.len() > 2 * MAX_BYTES {
            body.push_str(&format!("// … and {} more tools\n", tools.len() - nth));
            break;
        }
        let detail = if body.len() > MAX_BYTES { Detail::Names } else { detail };
        body.push_str(&tool_declaration(tool, detail));
    }
    let count = tools.len();
    let of_tools = if count == 1 { "tool" } else { "tools" };
    let mut text = format!(
        "// Server `{server}`, {count} {of_tools}. Use: `import {{ {module} }} from \"tools\"`, then \
         `await {module}.NAME({{ argument: value }})`.\n\
         // By any name: `tools[\"{server}\"][\"NAME\"]({{ argument: value }})`.\n"
    );
    for collision in collisions.iter().take(100) {
        text.push_str(&format!("// {collision}\n"));
    }
    text.push_str(&body);
    ServerStub { module, text, collisions }
}

/// Writes the declaration of one tool.
pub fn tool_declaration(tool: &ToolDescription, detail: Detail) -> String {
    let name = identifier(&tool.name.tool);
    if detail == Detail::Names {
        let module = identifier(tool.name.upstream.as_str());
        let real = if name == *tool.name.tool { String::new() } else { string(&tool.name.tool) };
        let said = format!("{real} {}", summary(tool));
        let said =
            if said.trim().is_empty() { String::new() } else { format!(" // {}", said.trim()) };
        return format!("{module}.{name}{said}\n");
    }
    let Signature { about, parameter, returns } = Signature::new(tool, detail == Detail::Full);
    format!("{about}export function {name}({parameter}): Promise<{returns}>;\n")
}

/// The parts of a tool's declaration.
struct Signature {
    about: String,
    parameter: String,
    returns: String,
}

impl Signature {
    fn new(tool: &ToolDescription, documented: bool) -> Self {
        let parameter = parameter(&tool.input_schema, documented);
        let returns = match tool.output_schema.as_deref() {
            Some(schema) => Shapes::new(schema, &mut Scope::new([])).type_of(unwrapped(schema)),
            None => "unknown".to_owned(),
        };
        let about = tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default();
        let about = if documented { comment(&clean(about, 4_000)) } else { String::new() };
        Self { about, parameter, returns }
    }
}

/// The one parameter: an object of all arguments, which can be left out if each of them can.
fn parameter(schema: &Value, documented: bool) -> String {
    let mut scope = Scope::new([]);
    let mut shapes = Shapes::new(schema, &mut scope);
    let Some(members) = shapes.members(schema) else {
        return "args?: Record<string, unknown>".to_owned();
    };
    let optional = if members.required.is_empty() { "?" } else { "" };
    if members.properties.is_empty() {
        return match members.rest {
            Some(Value::Bool(false)) => String::new(),
            _ => "args?: Record<string, unknown>".to_owned(),
        };
    }
    let fields = fields(&members, &mut shapes, documented);
    let line = format!("args{optional}: {{ {} }}", fields.join(" "));
    if line.len() <= MAX_WIDTH && !line.contains('\n') {
        return line;
    }
    let lines: String = fields.iter().map(|field| format!("{field}\n")).collect();
    format!("args{optional}: {{\n{}}}", indented(&lines))
}

fn fields<'s>(members: &Members<'s>, shapes: &mut Shapes<'s, '_>, documented: bool) -> Vec<String> {
    let shown = members.properties.iter().take(Scope::MAX_PROPERTIES);
    let mut fields: Vec<String> = shown
        .map(|(name, schema)| {
            let optional = if members.required.contains(name) { "" } else { "?" };
            let about = match documented {
                true => comment(&about_field(schema)),
                false => String::new(),
            };
            format!("{about}{}{optional}: {};", key(name), shapes.type_of(schema))
        })
        .collect();
    let is_open = match members.rest {
        Some(Value::Bool(open)) => *open,
        rest => rest.is_some(),
    };
    if is_open || members.properties.len() > Scope::MAX_PROPERTIES {
        fields.push("[more: string]: unknown;".to_owned());
    }
    fields
}

/// What an argument is, and what it is if it is left out.
fn about_field(schema: &Value) -> String {
    let about = description_of(schema, 600);
    let default = schema.get("default").map(Value::to_string).filter(|text| text.len() <= 80);
    match default {
        Some(default) => format!("{about}\n@default {}", clean(&default, 80)).trim().to_owned(),
        None => about,
    }
}

fn indented(lines: &str) -> String {
    lines.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests;
