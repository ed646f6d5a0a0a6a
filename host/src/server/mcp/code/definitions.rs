//! What clients see of the façade before they call anything: every word of it is in every prompt of
//! every agent, so there are few.

use serde_json::{Map, Value, json};

pub(in crate::server::mcp) const SEARCH_TOOLS: &str = "search_tools";
pub(in crate::server::mcp) const DESCRIBE_TOOLS: &str = "describe_tools";
pub(in crate::server::mcp) const RUN_PYTHON: &str = "run_python";

pub(in crate::server::mcp) const PYTHON_SESSIONS: &str = "python_sessions";

pub(in crate::server::mcp) const READ_MORE: &str = "read_more";

/// All of them.
pub(in crate::server::mcp) const NAMES: [&str; 5] =
    [SEARCH_TOOLS, DESCRIBE_TOOLS, RUN_PYTHON, PYTHON_SESSIONS, READ_MORE];

/// Servers that the instructions name; the others are found by searching.
const NAMED_SERVERS: usize = 30;

/// How to work with toolcell, in a few lines.
pub(in crate::server::mcp) fn instructions(servers: &[String]) -> String {
    let named = servers.iter().take(NAMED_SERVERS).cloned().collect::<Vec<_>>().join(", ");
    let more = match servers.len().saturating_sub(NAMED_SERVERS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let connected = match servers.is_empty() {
        true => "No server is connected.".to_owned(),
        false => format!("Connected servers: {named}{more}."),
    };
    format!(
        "Tools of MCP servers, called from Python that runs in a sandbox. {connected}\n\
         1. search_tools finds tools; describe_tools shows full signatures.\n\
         2. run_python runs one script that calls as many tools as the task needs: loop, filter and \
         combine in code, and return only what you need.\n\
         In a script: `from tools import SERVER`, then `SERVER.TOOL(argument=value)`; \
         `tools[\"any-server\"][\"any.tool\"](...)` for other names; concurrently with \
         `await asyncio.gather(aio.SERVER.TOOL(...), ...)`. The last expression is the result. A failed \
         call raises `tools.ToolError` with the reason."
    )
}

/// The tools' definitions.
pub(in crate::server::mcp) fn tools() -> Vec<Value> {
    vec![
        tool(
            SEARCH_TOOLS,
            "Find tools",
            "Find tools of the connected servers by what they do. Call it before writing a script. An \
             empty query lists all.",
            json!({
                "type": "object",
                "properties": {
                    "query": { "type": "string", "description": "What you want to do, in a few words" },
                    "detail": {
                        "type": "string",
                        "enum": ["names", "signatures", "full"],
                        "default": "signatures",
                        "description": "How much to show of each tool",
                    },
                    "limit": {
                        "type": "integer", "default": 10, "minimum": 1, "maximum": 200,
                        "description": "The most tools to show",
                    },
                },
                "required": ["query"],
            }),
            true,
        ),
        tool(
            DESCRIBE_TOOLS,
            "Describe tools",
            "Show the typed signature and documentation of tools, by name.",
            json!({
                "type": "object",
                "properties": {
                    "names": {
                        "type": "array", "items": { "type": "string" },
                        "description": "SERVER.TOOL, or SERVER for all of its tools",
                    },
                    "language": {
                        "type": "string", "enum": ["python", "typescript"], "default": "python",
                    },
                },
                "required": ["names"],
            }),
            true,
        ),
        tool(
            RUN_PYTHON,
            "Run Python",
            "Run a Python script (CPython 3.14, standard library, no network, no files) that can call \
             the connected tools. Returns its last expression as JSON, what it printed, and every call \
             it made. Do all steps of a task in one script.",
            json!({
                "type": "object",
                "properties": {
                    "code": { "type": "string", "description": "The script" },
                    "session": {
                        "type": "string",
                        "description": "A name: variables, imports and functions are kept for the next \
                                        run with this name",
                    },
                    "input": { "description": "Any JSON; the script has it as `inputs`" },
                },
                "required": ["code"],
            }),
            false,
        ),
        tool(
            PYTHON_SESSIONS,
            "Python sessions",
            "List the sessions that run_python keeps for you, or end one.",
            json!({
                "type": "object",
                "properties": {
                    "reset": { "type": "string", "description": "The session to end" },
                },
            }),
            false,
        ),
        tool(
            READ_MORE,
            "Read more",
            "Read the rest of a result that was too long.",
            json!({
                "type": "object",
                "properties": {
                    "link": { "type": "string", "description": "toolcell://results/… as given" },
                    "page": { "type": "integer", "minimum": 1 },
                },
                "required": ["link"],
            }),
            true,
        ),
    ]
}

/// Refuses arguments that the tool does not have: whoever writes one means something by it.
pub(in crate::server::mcp) fn check_names(
    tool: &str,
    arguments: &Map<String, Value>,
) -> Result<(), String> {
    let all = tools();
    let Some(definition) = all.iter().find(|it| it["name"] == *tool) else { return Ok(()) };
    let Some(known) = definition["inputSchema"]["properties"].as_object() else { return Ok(()) };
    let Some(unknown) = arguments.keys().find(|name| !known.contains_key(*name)) else {
        return Ok(());
    };
    let shown: String = unknown.chars().take(100).collect();
    let known: Vec<&str> = known.keys().map(String::as_str).collect();
    Err(format!("{tool} has no argument {shown:?}; it has {}", known.join(", ")))
}

fn tool(name: &str, title: &str, description: &str, schema: Value, read_only: bool) -> Value {
    json!({
        "name": name,
        "title": title,
        "description": description,
        "inputSchema": schema,
        "annotations": { "readOnlyHint": read_only, "openWorldHint": !read_only },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_a_model_has_to_read_is_small() {
        let servers: Vec<String> = (0..500).map(|n| format!("server-{n}")).collect();
        let size = serde_json::to_string(&tools()).unwrap().len() + instructions(&servers).len();
        assert!(size <= 3072 + 500, "{size}");
        let definitions = serde_json::to_string(&tools()).unwrap().len();
        assert!(definitions <= 3072, "{definitions}");
    }

    #[test]
    fn instructions_name_the_servers_but_not_without_end() {
        assert!(instructions(&[]).contains("No server is connected"));
        let servers: Vec<String> = (0..32).map(|n| format!("s{n}")).collect();
        let text = instructions(&servers);
        assert!(text.contains("s29 and 2 more") && !text.contains("s30,"), "{text}");
    }

    #[test]
    fn an_argument_that_a_tool_does_not_have_is_named() {
        let arguments = |json: Value| json.as_object().cloned().unwrap();
        let wrong = arguments(json!({ "code": "1", "sesion": "a" }));
        let words = check_names(RUN_PYTHON, &wrong).unwrap_err();
        assert!(words.contains("\"sesion\"") && words.contains("code, session, input"), "{words}");
        assert_eq!(check_names(RUN_PYTHON, &arguments(json!({ "code": "1" }))), Ok(()));
    }

    #[test]
    fn every_client_accepts_the_names() {
        for tool in tools() {
            let name = tool["name"].as_str().unwrap();
            assert!(NAMES.contains(&name));
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        }
    }
}
