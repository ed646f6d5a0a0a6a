//! What clients see of the façade before they call anything: every word of it is in every prompt of
//! every agent, so there are few.

use serde_json::{Map, Value, json};

use crate::language::Language;

pub(in crate::server::mcp) const SEARCH_TOOLS: &str = "search_tools";
pub(in crate::server::mcp) const DESCRIBE_TOOLS: &str = "describe_tools";
pub(in crate::server::mcp) const RUN_PYTHON: &str = "run_python";

pub(in crate::server::mcp) const RUN_TYPESCRIPT: &str = "run_typescript";
pub(in crate::server::mcp) const SESSIONS: &str = "sessions";
pub(in crate::server::mcp) const READ_MORE: &str = "read_more";

/// All of them, whatever a profile's runtimes are.
pub(in crate::server::mcp) const NAMES: [&str; 6] =
    [SEARCH_TOOLS, DESCRIBE_TOOLS, RUN_PYTHON, RUN_TYPESCRIPT, SESSIONS, READ_MORE];

/// The tool that runs scripts of this language.
fn runner(language: Language) -> &'static str {
    match language {
        Language::Python => RUN_PYTHON,
        Language::JavaScript => RUN_TYPESCRIPT,
    }
}

/// The language's name here: agents are shown TypeScript's types.
pub(super) fn name_of(language: Language) -> &'static str {
    match language {
        Language::Python => "python",
        Language::JavaScript => "typescript",
    }
}

/// The names of those that a profile with these runtimes has.
pub(super) fn names(runtimes: &[Language]) -> Vec<&'static str> {
    let runners = Language::ALL.into_iter().filter(|language| runtimes.contains(language));
    let mut names = vec![SEARCH_TOOLS, DESCRIBE_TOOLS];
    names.extend(runners.map(runner));
    names.extend([SESSIONS, READ_MORE]);
    names
}

/// Servers that the instructions name; the others are found by searching.
const NAMED_SERVERS: usize = 30;

/// How to work with toolcell, in a few lines.
pub(in crate::server::mcp) fn instructions(servers: &[String], runtimes: &[Language]) -> String {
    let named = servers.iter().take(NAMED_SERVERS).cloned().collect::<Vec<_>>().join(", ");
    let more = match servers.len().saturating_sub(NAMED_SERVERS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let connected = match servers.is_empty() {
        true => "No server is connected.".to_owned(),
        false => format!("Connected servers: {named}{more}."),
    };
    let (python, typescript) =
        (runtimes.contains(&Language::Python), runtimes.contains(&Language::JavaScript));
    let (languages, runners) = match (python, typescript) {
        (true, true) => ("Python or TypeScript", "run_python or run_typescript"),
        (false, true) => ("TypeScript", RUN_TYPESCRIPT),
        (_, false) => ("Python", RUN_PYTHON),
    };
    let mut words = format!(
        "Tools of MCP servers, called from {languages} that runs in a sandbox. {connected}\n\
         1. search_tools finds tools; describe_tools shows full signatures.\n\
         2. {runners} runs one script that calls as many tools as the task needs: loop, filter and \
         combine in code, and return only what you need.\n"
    );
    if python || !typescript {
        words.push_str(
            "In Python: `from tools import SERVER`, then `SERVER.TOOL(argument=value)`; \
             `tools[\"any-server\"][\"any.tool\"](...)` for other names; concurrently with \
             `await asyncio.gather(aio.SERVER.TOOL(...), ...)`.\n",
        );
    }
    if typescript {
        words.push_str(
            "In TypeScript: `import { SERVER } from \"tools\"`, then \
             `await SERVER.TOOL({ argument: value })`; concurrently with `Promise.all`.\n",
        );
    }
    words.push_str(
        "The last expression is the result. A failed call raises `ToolError` with the reason.",
    );
    words
}

/// The tools' definitions for a profile with these runtimes.
pub(in crate::server::mcp) fn tools(runtimes: &[Language]) -> Vec<Value> {
    let mut search = json!({
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
    });
    let default = runtimes.first().map_or("python", |language| name_of(*language));
    let languages =
        json!({ "type": "string", "enum": ["python", "typescript"], "default": default });
    if runtimes.len() > 1 {
        search["language"] = languages.clone();
    }
    let mut tools = vec![
        tool(
            SEARCH_TOOLS,
            "Find tools",
            "Find tools of the connected servers by what they do. Call it before writing a script. An \
             empty query lists all.",
            json!({ "type": "object", "properties": search, "required": ["query"] }),
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
                    "language": languages,
                },
                "required": ["names"],
            }),
            true,
        ),
    ];
    tools.extend(Language::ALL.into_iter().filter(|it| runtimes.contains(it)).map(run_tool));
    tools.push(tool(
        SESSIONS,
        "Sessions",
        "List the sessions that are kept for you, or end one.",
        json!({
            "type": "object",
            "properties": {
                "reset": { "type": "string", "description": "The session to end" },
            },
        }),
        false,
    ));
    tools.push(tool(
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
    ));
    tools
}

fn run_tool(language: Language) -> Value {
    let (title, description) = match language {
        Language::Python => (
            "Run Python",
            "Run a Python script (CPython 3.14, standard library, no network, no files) that can call \
             the connected tools. Returns its last expression as JSON, what it printed, and every call \
             it made. Do all steps of a task in one script.",
        ),
        Language::JavaScript => (
            "Run TypeScript",
            "Run a TypeScript or JavaScript script (ES2023, top-level await, no fetch, no npm) that can \
             call the connected tools. Returns its last expression or `export default`, what it printed, \
             and every call.",
        ),
    };
    let mut properties = json!({
        "code": { "type": "string", "description": "The script" },
        "session": {
            "type": "string",
            "description": "A name: variables, imports and functions are kept for the next run with \
                            this name",
        },
        "input": { "description": "Any JSON; the script has it as `inputs`" },
    });
    if language == Language::JavaScript {
        properties["check"] = json!({
            "type": "boolean", "description": "First compare calls with the tools' types",
        });
    }
    let schema = json!({ "type": "object", "properties": properties, "required": ["code"] });
    tool(runner(language), title, description, schema, false)
}

/// Refuses arguments that the tool does not have: whoever writes one means something by it.
pub(in crate::server::mcp) fn check_names(
    tool: &str,
    arguments: &Map<String, Value>,
    runtimes: &[Language],
) -> Result<(), String> {
    let all = tools(runtimes);
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
        let sizes = |runtimes: &[Language]| {
            let definitions = serde_json::to_string(&tools(runtimes)).unwrap().len();
            (definitions, definitions + instructions(&servers, runtimes).len())
        };
        let (definitions, all) = sizes(&[Language::Python]);
        assert!(definitions <= 3072 && all <= 3072 + 500, "{definitions} {all}");
        // A second language is a second tool, and a line of how to write it.
        let (definitions, all) = sizes(&Language::ALL);
        assert!(definitions <= 3072 + 600 && all <= 3072 + 1400, "{definitions} {all}");
    }

    #[test]
    fn a_profile_of_one_language_says_nothing_of_the_other() {
        for (runtimes, other) in
            [([Language::Python], "run_typescript"), ([Language::JavaScript], "run_python")]
        {
            let told = serde_json::to_string(&tools(&runtimes)).unwrap();
            let told = told + &instructions(&[], &runtimes);
            assert!(!told.contains(other), "{told}");
            let names: Vec<_> = tools(&runtimes).iter().map(|it| it["name"].clone()).collect();
            assert_eq!(names, self::names(&runtimes));
        }
    }

    #[test]
    fn instructions_name_the_servers_but_not_without_end() {
        let words = |servers: &[String]| instructions(servers, &Language::ALL);
        assert!(words(&[]).contains("No server is connected"));
        let servers: Vec<String> = (0..32).map(|n| format!("s{n}")).collect();
        let text = words(&servers);
        assert!(text.contains("s29 and 2 more") && !text.contains("s30,"), "{text}");
    }

    #[test]
    fn an_argument_that_a_tool_does_not_have_is_named() {
        let arguments = |json: Value| json.as_object().cloned().unwrap();
        let check = |given| check_names(RUN_PYTHON, &arguments(given), &Language::ALL);
        let words = check(json!({ "code": "1", "sesion": "a" })).unwrap_err();
        assert!(words.contains("\"sesion\"") && words.contains("code, session, input"), "{words}");
        assert_eq!(check(json!({ "code": "1" })), Ok(()));
    }

    #[test]
    fn every_client_accepts_the_names() {
        for tool in tools(&Language::ALL) {
            let name = tool["name"].as_str().unwrap();
            assert!(NAMES.contains(&name));
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        }
    }
}
