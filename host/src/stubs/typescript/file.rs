//! All granted tools as one `.d.ts`: what a script may import, and what is there without an import.

use std::borrow::Borrow;
use std::fmt::Write as _;

use super::names::Aliases;
use super::text::{comment, identifier, key, string};
use super::{MAX_BYTES, Signature, indented};
use crate::ids::UpstreamName;
use crate::stubs::function::summary;
use crate::stubs::module::{Collision, ServerStub};
use crate::stubs::text::clean_line;
use crate::tool::ToolDescription;

/// The names that `tools` and the module have of their own, before those of servers.
const OWN: [&str; 16] = [
    "default",
    "tools",
    "call",
    "Image",
    "Audio",
    "ToolError",
    "CallError",
    "ToolDenied",
    "UnknownTool",
    "InvalidArguments",
    "ToolUnavailable",
    "ToolTimeout",
    "ToolRejected",
    "LimitExceeded",
    "ToolCancelled",
    "ToolInterrupted",
];

/// What every script has, whatever is granted.
const ALWAYS: &str = include_str!("always.d.ts");

/// Writes the declarations of all servers' tools as one file.
pub fn declarations_file<T: Borrow<ToolDescription>>(
    servers: &[(UpstreamName, Vec<T>)],
) -> ServerStub {
    let names: Vec<&str> = servers.iter().map(|(server, _)| server.as_str()).collect();
    let aliases = Aliases::new(&names, &OWN);
    let mut collisions = aliases.collisions;
    let mut interfaces = String::new();
    let mut exports = String::new();
    let mut members = String::new();
    for ((server, tools), aliases) in servers.iter().zip(aliases.of) {
        let interface = interface_name(server);
        let shown = &tools[..];
        let count = shown.len();
        let of_tools = if count == 1 { "tool" } else { "tools" };
        let about = format!("Server `{server}`, {count} {of_tools}.\n");
        interfaces.push_str(&comment(about.trim_end()));
        let _ = writeln!(interfaces, "interface {interface} {{");
        let body = methods(&interface, shown, &mut collisions);
        interfaces.push_str(&indented(&body));
        interfaces.push_str("}\n");
        let exact = server.as_str();
        if !OWN.contains(&exact) {
            let _ = writeln!(members, "readonly {}: {interface};", key(exact));
            if identifier(exact) == exact {
                let _ = writeln!(exports, "export const {exact}: {interface};");
            }
        }
        for name in aliases {
            let _ = writeln!(members, "readonly {name}: {interface};");
            let _ = writeln!(exports, "export const {name}: {interface};");
        }
    }
    let mut text = header(servers.iter().map(|(_, tools)| tools.len()).sum());
    for collision in collisions.iter().take(100) {
        let _ = writeln!(text, "// {}", ambiguous(collision));
    }
    text.push_str("declare module \"tools\" {\n");
    text.push_str(&indented(&interfaces));
    text.push_str("  /** All granted servers, by any name. */\n  export interface Tools {\n");
    text.push_str(&indented(&indented(&members)));
    text.push_str("    readonly call: typeof call;\n  }\n");
    text.push_str(&indented(&exports));
    text.push_str(ALWAYS);
    ServerStub { module: "tools".to_owned(), text, collisions }
}

fn header(count: usize) -> String {
    format!(
        "// The {count} tools that are granted, for editors and for tsc:\n\
         //   tsc --noEmit --strict --target es2023 --module esnext --moduleResolution bundler \
         tools.d.ts script.ts\n"
    )
}

/// The methods of one server: each tool by its exact name, and its aliases as the same.
fn methods<T: Borrow<ToolDescription>>(
    interface: &str,
    tools: &[T],
    collisions: &mut Vec<Collision>,
) -> String {
    let tools: Vec<&ToolDescription> = tools.iter().map(Borrow::borrow).collect();
    let names: Vec<&str> = tools.iter().map(|tool| &*tool.name.tool).collect();
    let aliases = Aliases::new(&names, &[]);
    collisions.extend(aliases.collisions);
    let mut body = String::new();
    for (nth, (tool, aliases)) in tools.iter().zip(aliases.of).enumerate() {
        if body.len() > MAX_BYTES {
            let left = tools.len() - nth;
            let _ = writeln!(body, "// … and {left} more tools");
            body.push_str(
                "[name: string]: (args?: object, options?: CallOptions) => Promise<unknown>;\n",
            );
            break;
        }
        let Signature { about, parameter, returns } = Signature::new(tool, true);
        let comma = if parameter.is_empty() { "args?: Record<string, never>, " } else { ", " };
        let name = key(&tool.name.tool);
        let _ = writeln!(
            body,
            "{about}{name}({parameter}{comma}options?: CallOptions): Promise<{returns}>;"
        );
        for alias in aliases {
            let exact = string(&tool.name.tool);
            let about = comment(&summary(tool));
            let _ = writeln!(body, "{about}readonly {alias}: {interface}[{exact}];");
        }
    }
    body
}

/// A type's name that no server's identifier is.
fn interface_name(server: &UpstreamName) -> String {
    // Escaped, so that two servers never share one: `_` is `__`, and anything else a number.
    let mut made = "Server_".to_owned();
    for c in server.as_str().chars() {
        match c {
            '_' => made.push_str("__"),
            c if c.is_ascii_alphanumeric() => made.push(c),
            other => {
                let _ = write!(made, "_{:x}_", u32::from(other));
            }
        }
    }
    made
}

fn ambiguous(collision: &Collision) -> String {
    let Collision { identifier, kept, hidden, .. } = collision;
    let shown = |name: &str| clean_line(&string(name), 100);
    format!("`{identifier}` could be {} or {}: use the exact name", shown(kept), shown(hidden))
}
