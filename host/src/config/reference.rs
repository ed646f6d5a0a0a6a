//! The reference page of the configuration, made from the same schema that editors use.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::schema::schema;

/// What stands above the tables.
const INTRODUCTION: &str = "\
<!-- Made by `cargo xtask docs` from host/src/config/. Change it there. -->

# Configuration

toolcell reads one file: that of `--config`, else the one that `TOOLCELL_CONFIG` names, else
`toolcell.toml` in the working directory. It is TOML, or the `mcpServers` JSON of another program (see
[Files of other programs](#files-of-other-programs)). Relative paths in a file start at its folder. An
unknown key is an error, and all problems of a file are told at once, with their lines.

| command | what it does |
|---|---|
| `toolcell config check` | tells every problem and notice; exit code 2 if there is a problem |
| `toolcell config show` | prints what is in force, with all defaults and where it stands, without secrets |
| `toolcell config schema` | prints the JSON Schema; `#:schema ./config.schema.json` in the first line of a file tells editors |
| `toolcell config reference` | prints this page |

## Values

| in a text | stands for |
|---|---|
| `${NAME}` | the environment variable, which must be set |
| `${NAME:-default}` | the environment variable, or the default if it is unset or empty |
| `${file:PATH}` | the content of a file without its last newline, at most 64 KiB |
| `${command:PROGRAM ARGUMENTS…}` | what a program prints, without its last newline, at most 64 KiB within 10 s; no shell is involved, and it runs once per load |
| `${caller.token}` | the caller's own token for upstreams (see `caller_token` of `[server]`); in `headers` and `env` only |
| `${caller.id}` | who the caller is; in `headers` and `env` only |
| `$${` | `${` itself |

`${file:…}` and `${command:…}` have no meaning in files of other programs, which are copied from
anywhere. Callers for whom `${caller.…}` differs never share a connection.

Durations are numbers with a unit: `250ms`, `5s`, `1m30s`, `2h`, `7d`. Sizes are bytes, or have a unit:
`64KiB` and `256MiB` count by 1024, `1MB` by 1000. Counts may be shortened: `20G` is 20 000 000 000.
";

/// What stands below them.
const CONCLUSION: &str = "\
## Reload

A long-running toolcell looks at its files every two seconds, those of `${file:…}` and `env_file`, the
installed plugins and `toolcell.lock` included, and reads them anew when they changed; SIGHUP asks for
it at once, and runs every `${command:…}` again. A file with problems changes nothing: the problems are logged, and what was in
force stays so. Servers whose settings are the same keep their connections. Runs that have begun keep
the servers and rights that they began with.

## Files of other programs

`mcp_config` and `include_mcp_servers` take these files as they are, and so does `--config`:

| written by | shape |
|---|---|
| Claude Desktop, Claude Code, Cursor, Windsurf, Cline, Gemini CLI | `mcpServers`: `command`, `args`, `env`, `cwd`; `url`, `serverUrl` or `httpUrl`, `headers`, `type`; `oauth` or `auth`; `disabled`, `disabledTools`, `excludeTools` |
| VS Code | `servers` (in settings.json below `mcp`), with `type`, `envFile`; what wants one of the `inputs` is left out |
| Zed | `context_servers`, with the `command` as a text or as a table |
| AG2 | `servers`: a list of `server_name`, `transport`, `environment`, `working_dir`, `timeout`, `sse_read_timeout` |
| Mastra | `servers` or the bare table, with `requestInit.headers`, `timeout` in milliseconds |
| smolagents | one bare server, or the bare table: `url`, `transport`, `headers` |

A `timeout` of AG2 and smolagents is the time to connect, in seconds; anyone else's is that of a call,
in milliseconds if it is 1000 or more, else in seconds. `sse_read_timeout` is `read_timeout`. Keys that
mean nothing here are named in a notice. A `.mcp.json` that merely lies in the working directory is
never read: it is part of other people's repositories, and it names programs to start.
";

/// The tables in the order of the page: the name in the schema, the heading, and how its keys are
/// written in the example.
const TABLES: [(&str, &str); 20] = [
    ("", "Top of the file"),
    ("Server", "`[servers.NAME]`"),
    ("Auth", "`[servers.NAME.auth]`"),
    ("Retry", "`[servers.NAME.retry]`"),
    ("Breaker", "`[servers.NAME.breaker]`"),
    ("Hints", "`[servers.NAME.hints]`"),
    ("Tool", "`[servers.NAME.tools.TOOL]`"),
    ("Plugin", "`[plugins.NAME]`"),
    ("Profile", "`[profiles.NAME]`"),
    ("Rule", "`[[profiles.NAME.rules]]`"),
    ("Constraint", "`[profiles.NAME.rules.args]`"),
    ("Limits", "`[limits]`, `[profiles.NAME.limits]` and `[plugins.NAME.limits]`"),
    ("Monitor", "`[monitor]`"),
    ("Serving", "`[server]`"),
    ("Sessions", "`[server.sessions]`"),
    ("Token", "`[server.tokens.NAME]`"),
    ("Quotas", "`[server.quotas]` and `[server.tokens.NAME.quotas]`"),
    ("Jwt", "`[server.jwt]`"),
    ("Bridge", "`[server.bridge]`"),
    ("Allowed", "`[[server.bridge.allow]]`"),
];

/// The page, in Markdown.
pub fn reference() -> String {
    let schema = schema();
    let none = Map::new();
    let definitions = schema["definitions"].as_object().unwrap_or(&none);
    let mut page = INTRODUCTION.to_owned();
    for (name, heading) in TABLES {
        if let Some(definition) = definitions.get(name).or(name.is_empty().then_some(&schema)) {
            table(heading, definition, definitions, &mut page);
        }
    }
    // A table that has no place of its own yet comes at the end rather than nowhere.
    for (name, definition) in definitions {
        let is_placed = TABLES.iter().any(|(placed, _)| placed == name);
        if !is_placed && definition["properties"].is_object() {
            table(name, definition, definitions, &mut page);
        }
    }
    page.push('\n');
    page.push_str(CONCLUSION);
    page
}

fn table(heading: &str, definition: &Value, definitions: &Map<String, Value>, page: &mut String) {
    let description = sentence(definition);
    // Writing to a text cannot fail.
    let _ = write!(page, "\n## {heading}\n\n{description}\n\n");
    page.push_str("| key | type | default | meaning | example |\n|---|---|---|---|---|\n");
    for (key, property) in definition["properties"].as_object().into_iter().flatten() {
        let referred = referred(property, definitions);
        let kind = kind(property, referred);
        let default = match &property["default"] {
            Value::Null => String::new(),
            Value::Array(elements) if elements.is_empty() => String::new(),
            default => code(&inline(default)),
        };
        let meaning = format!("{}{}", sentence(property), words(referred));
        let example = property["examples"].get(0);
        let example = example.map(|example| code(&format!("{key} = {}", inline(example))));
        let cells = [code(key), kind, default, meaning, example.unwrap_or_default()];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        let _ = writeln!(page, "| {} |", cells.join(" | "));
    }
}

/// The description without the line breaks of its source.
fn sentence(value: &Value) -> String {
    let description = value["description"].as_str().unwrap_or_default();
    description.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn code(text: &str) -> String {
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

/// The name of the definition that a property refers to.
fn reference_name(property: &Value) -> Option<&str> {
    let all_of = property["allOf"].get(0).unwrap_or(property);
    all_of["$ref"].as_str()?.strip_prefix("#/definitions/")
}

fn referred<'s>(property: &Value, definitions: &'s Map<String, Value>) -> Option<&'s Value> {
    definitions.get(reference_name(property)?)
}

/// The words that may be written, each with its meaning.
fn choices(referred: Option<&Value>) -> Vec<(&str, String)> {
    let Some(referred) = referred else { return Vec::new() };
    let choices = referred["oneOf"].as_array().into_iter().flatten();
    choices.filter_map(|choice| Some((choice["const"].as_str()?, sentence(choice)))).collect()
}

fn words(referred: Option<&Value>) -> String {
    let words = choices(referred).into_iter();
    words.map(|(word, meaning)| format!(" `{word}`: {meaning}")).collect()
}

fn kind(property: &Value, referred: Option<&Value>) -> String {
    if let Some(kind) = property["x-type"].as_str() {
        return kind.to_owned();
    }
    if let Some(referred) = referred {
        let choices: Vec<String> =
            choices(Some(referred)).iter().map(|(word, _)| format!("`\"{word}\"`")).collect();
        if !choices.is_empty() {
            return choices.join(", ");
        }
        return type_words(&referred["type"]);
    }
    match property["type"].as_str() {
        Some("array") => match kind(&property["items"], None).as_str() {
            "" => "list".to_owned(),
            items => format!("list of {items}s"),
        },
        Some("object") => "table by name".to_owned(),
        _ => type_words(&property["type"]),
    }
}

fn type_words(kind: &Value) -> String {
    match kind {
        Value::Array(kinds) => kinds.iter().map(type_words).collect::<Vec<_>>().join(" or "),
        Value::String(kind) => match kind.as_str() {
            "string" => "text".to_owned(),
            "integer" => "whole number".to_owned(),
            "boolean" => "true or false".to_owned(),
            "array" => "list".to_owned(),
            "object" => "table".to_owned(),
            other => other.to_owned(),
        },
        _ => "any value".to_owned(),
    }
}

/// A value as TOML has it on one line.
pub fn inline(value: &Value) -> String {
    match value {
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let members = members.map(|(key, value)| format!("{} = {}", bare(key), inline(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        // A text of TOML has the escapes of JSON's, and one character more that must have one.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007f"),
        _ => value.to_string(),
    }
}

/// A key, in quotes if it needs them.
pub fn bare(key: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(fits) {
        key.to_owned()
    } else {
        inline(&Value::from(key))
    }
}
