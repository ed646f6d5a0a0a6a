//! What the host calls: the exports of a plugin. `plugin!` ties them to the plugin's tools.

use std::sync::Once;

use crate::bindings::exports::toolcell::guest::plugin;
use crate::bindings::toolcell::guest::tools as wit;
use crate::imports;
use crate::log::Level;
use crate::tool::{Entry, Refusal};

/// Lists the tools.
#[must_use]
pub fn list_tools(entries: &[Entry]) -> Vec<plugin::Definition> {
    say_panics();
    let definitions = entries.iter().map(|entry| {
        let definition = (entry.definition)();
        plugin::Definition {
            name: definition.name.to_owned(),
            title: definition.title.map(str::to_owned),
            description: definition.description,
            input_schema: definition.input_schema.to_string(),
            output_schema: definition.output_schema.map(|schema| schema.to_string()),
            read_only: definition.hints.read_only,
            idempotent: definition.hints.idempotent,
            destructive: definition.hints.destructive,
        }
    });
    definitions.collect()
}

/// Calls one of them.
///
/// # Errors
/// There is no such tool, or the arguments do not fit.
pub fn call_tool(
    entries: &[Entry],
    name: String,
    arguments: &str,
) -> Result<wit::Output, plugin::Refusal> {
    say_panics();
    match crate::tool::call(entries, &name, arguments) {
        Ok(output) => Ok(output.into()),
        Err(Refusal::UnknownTool) => Err(plugin::Refusal::UnknownTool(name)),
        Err(Refusal::InvalidArguments { path, message }) => {
            let wrong = wit::InvalidArguments { path, message };
            Err(plugin::Refusal::InvalidArguments(wrong))
        }
    }
}

/// A panic ends the call by a trap, which has no words of its own: they go to the log and to stderr.
fn say_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let message = panic.to_string();
            imports::log(Level::Critical, &message);
            imports::write_stderr(&format!("{message}\n"));
        }));
    });
}
