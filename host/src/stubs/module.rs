//! One server becomes one Python module.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;

use super::function::{Function, summary};
use super::identifiers::{identifier, is_identifier};
use super::schema::Scope;
use super::text::{clean_line, string};
use crate::ids::UpstreamName;
use crate::tool::ToolDescription;

/// How much of each tool is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// One line: its name, and the first sentence of its description as a comment.
    Names,
    /// Its signature and the types that it refers to.
    Signatures,
    /// All of it, with docstrings.
    Full,
}

/// Two names that have one identifier. The first one listed has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// The tool whose arguments these are; `None` if they are tools.
    pub arguments_of: Option<String>,
    /// What both names become.
    pub identifier: String,
    /// The name that the identifier means.
    pub kept: String,
    /// The name that is reached only as text: `tools["server"]["name"](…)`.
    pub hidden: String,
}

impl Collision {
    pub(super) fn new(of: Option<String>, identifier: &str, kept: &str, hidden: &str) -> Self {
        Self {
            arguments_of: of,
            identifier: identifier.to_owned(),
            kept: kept.to_owned(),
            hidden: hidden.to_owned(),
        }
    }
}

impl fmt::Display for Collision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arguments_of, identifier, kept, hidden } = self;
        let shown = |name: &str| clean_line(&string(name), 100);
        let (kept, hidden) = (shown(kept), shown(hidden));
        match arguments_of {
            Some(tool) => {
                let tool = clean_line(tool, 100);
                write!(f, "argument {hidden} of {tool} is hidden: `{identifier}` is {kept}")
            }
            None => write!(f, "tool {hidden} is hidden: `{identifier}` is {kept}"),
        }
    }
}

/// The stub of a server.
#[derive(Clone, Debug)]
pub struct ServerStub {
    /// The module's name: `from tools import NAME`.
    pub module: String,
    /// Python source, as of a `.pyi` file.
    pub text: String,
    /// Names that could not be told apart.
    pub collisions: Vec<Collision>,
}

/// A module's text does not grow beyond this by more than one tool; further tools are only named,
/// and at twice as much, only counted.
const MAX_BYTES: usize = 256 << 10;

/// Writes the stub of a server. The tools keep their order; of two with the same identifier, the
/// first one has it.
pub fn server_stub<T: Borrow<ToolDescription>>(
    server: &UpstreamName,
    tools: &[T],
    detail: Detail,
) -> ServerStub {
    let module = identifier(server.as_str());
    let mut collisions = Vec::new();
    let mut shown: Vec<&ToolDescription> = Vec::new();
    let mut names: HashMap<String, &str> = HashMap::new();
    for tool in tools.iter().map(Borrow::borrow) {
        let name = identifier(&tool.name.tool);
        match names.get(&name) {
            Some(first) => collisions.push(Collision::new(None, &name, first, &tool.name.tool)),
            None => {
                names.insert(name, &tool.name.tool);
                shown.push(tool);
            }
        }
    }

    let mut scope = Scope::new(names.into_keys());
    let mut body = String::new();
    for (nth, tool) in shown.iter().enumerate() {
        if body.len() > 2 * MAX_BYTES {
            body.push_str(&format!("\n# … and {} more tools\n", shown.len() - nth));
            break;
        }
        if detail == Detail::Names || body.len() > MAX_BYTES {
            body.push_str(&name_line(&module, tool));
        } else {
            let function = Function::new(tool, &mut scope, &mut collisions);
            body.push('\n');
            body.push_str(&function.render(detail));
        }
    }
    let mut text = header(server, &module, tools.len());
    for collision in collisions.iter().take(100) {
        text.push_str(&format!("# {collision}\n"));
    }
    if detail != Detail::Names {
        text.push_str("from typing import Any, Literal, NotRequired, TypedDict\n");
    }
    text.push_str(&body);
    ServerStub { module, text, collisions }
}

/// Writes the stub of one tool, without a header.
pub fn tool_stub(tool: &ToolDescription, detail: Detail) -> String {
    let name = identifier(&tool.name.tool);
    if detail == Detail::Names {
        return name_line(&identifier(tool.name.upstream.as_str()), tool);
    }
    Function::new(tool, &mut Scope::new([name]), &mut Vec::new()).render(detail)
}

/// The lines that tell of what else a server offers to a script: nothing if there is nothing.
pub fn offers_note(server: &UpstreamName, resources: usize, prompts: usize) -> String {
    let mut note = String::new();
    if resources > 0 {
        note.push_str(&format!(
            "# It has resources: `import resources`, `resources.list(\"{server}\")`, \
             `resources.templates(\"{server}\")`, `resources.read(\"{server}\", uri)`.\n"
        ));
    }
    if prompts > 0 {
        note.push_str(&format!(
            "# It has prompts: `import prompts`, `prompts.list(\"{server}\")`, \
             `prompts.get(\"{server}\", name, argument=…)`.\n"
        ));
    }
    note
}

fn header(server: &UpstreamName, module: &str, count: usize) -> String {
    let tools = if count == 1 { "tool" } else { "tools" };
    format!(
        "# Server `{server}`, {count} {tools}. Use: `from tools import {module}`, then \
         `{module}.NAME(argument=value)`.\n\
         # `aio.{module}` has the same functions as coroutines: `await aio.{module}.NAME(…)`.\n\
         # By any name: `tools[\"{server}\"][\"NAME\"](argument=value)`.\n"
    )
}

fn name_line(module: &str, tool: &ToolDescription) -> String {
    let name = &tool.name.tool;
    let summary = summary(tool);
    let real = if is_identifier(name) {
        String::new()
    } else {
        format!(" ({})", clean_line(&string(name), 100))
    };
    let comment = format!("{real} {summary}").trim().to_owned();
    let comment = if comment.is_empty() { comment } else { format!("  # {comment}") };
    format!("{module}.{}{comment}\n", identifier(name))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
