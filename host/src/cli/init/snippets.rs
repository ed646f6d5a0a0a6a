//! The line, or the few lines, by which a client finds toolcell.

use std::path::Path;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

/// A client that toolcell can be given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Client {
    /// Claude Code
    ClaudeCode,
    /// Claude Desktop
    ClaudeDesktop,
    /// Cursor
    Cursor,
    /// VS Code
    Vscode,
    /// A program in Python, with the official SDK
    Python,
}

/// All of them, in the order in which they are shown.
pub(super) const CLIENTS: [Client; 5] =
    [Client::ClaudeCode, Client::ClaudeDesktop, Client::Cursor, Client::Vscode, Client::Python];

/// How toolcell is started.
pub(super) struct Start<'a> {
    /// The program's file: desktop programs do not have a shell's PATH.
    pub(super) program: &'a Path,
    /// Whether a shell finds it by its name.
    pub(super) is_in_path: bool,
    pub(super) config: &'a Path,
    /// Variables that the configuration needs.
    pub(super) variables: &'a [String],
}

impl Client {
    /// As it is written on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::ClaudeDesktop => "claude-desktop",
            Self::Cursor => "cursor",
            Self::Vscode => "vscode",
            Self::Python => "python",
        }
    }

    /// What is done with the snippet.
    pub(super) fn instruction(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code: run",
            Self::ClaudeDesktop => "Claude Desktop: Settings → Developer → Edit Config",
            Self::Cursor => {
                "Cursor: in .cursor/mcp.json, or in ~/.cursor/mcp.json for every project"
            }
            Self::Vscode => "VS Code: in .vscode/mcp.json, or `MCP: Open User Configuration`",
            Self::Python => "Python (pip install mcp); docs/clients/ has the agent frameworks",
        }
    }

    /// The snippet.
    pub(super) fn snippet(self, start: &Start<'_>) -> String {
        match self {
            Self::ClaudeCode => {
                let words = start.in_a_shell();
                format!("claude mcp add toolcell -- {}", words.join(" "))
            }
            Self::ClaudeDesktop => {
                start.json("mcpServers", json!({}), |_| "put its value here".to_owned())
            }
            Self::Cursor => start.json("mcpServers", json!({}), |name| format!("${{env:{name}}}")),
            Self::Vscode => {
                let kind = json!({ "type": "stdio" });
                start.json("servers", kind, |name| format!("${{env:{name}}}"))
            }
            Self::Python => start.python(),
        }
    }
}

impl Start<'_> {
    fn short_program(&self) -> String {
        if self.is_in_path { "toolcell".to_owned() } else { self.program.display().to_string() }
    }

    fn args(&self) -> [String; 3] {
        ["mcp".to_owned(), "--config".to_owned(), self.config.display().to_string()]
    }

    fn in_a_shell(&self) -> Vec<String> {
        let words = [self.short_program()].into_iter().chain(self.args());
        words.map(|word| quoted(&word)).collect()
    }

    fn json(&self, table: &str, entry: Value, value: impl Fn(&str) -> String) -> String {
        let mut entry = match entry {
            Value::Object(entry) => entry,
            _ => Map::new(),
        };
        entry.insert("command".to_owned(), self.program.display().to_string().into());
        entry.insert("args".to_owned(), self.args().to_vec().into());
        if !self.variables.is_empty() {
            let variables = self.variables.iter().map(|name| (name.clone(), value(name).into()));
            entry.insert("env".to_owned(), Value::Object(variables.collect()));
        }
        format!("{:#}", json!({ table: { "toolcell": entry } }))
    }

    fn python(&self) -> String {
        // A text of JSON is one of Python, too.
        let text = |text: &str| Value::from(text).to_string();
        let args = self.args().map(|arg| text(&arg)).join(", ");
        let program = text(&self.short_program());
        let env = match self.variables.is_empty() {
            true => String::new(),
            false => {
                let variables = self.variables.iter();
                let variables = variables.map(|name| format!("{0}: os.environ[{0}]", text(name)));
                format!(", env={{{}}}", variables.collect::<Vec<_>>().join(", "))
            }
        };
        let os = if self.variables.is_empty() { "" } else { "import os\n" };
        format!(
            "{os}from mcp import Client, StdioServerParameters\n\n\
             server = StdioServerParameters(command={program}, args=[{args}]{env})\n\
             async with Client(server) as client:\n    \
             print(await client.call_tool(\"run_python\", {{\"code\": \"sum(range(10))\"}}))"
        )
    }
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snippet(client: Client, is_in_path: bool, variables: &[&str]) -> String {
        let variables: Vec<String> = variables.iter().map(|&name| name.to_owned()).collect();
        client.snippet(&Start {
            program: Path::new("/opt/bin/toolcell"),
            is_in_path,
            config: Path::new("/my work/toolcell.toml"),
            variables: &variables,
        })
    }

    #[test]
    fn a_shell_gets_words_and_a_desktop_program_gets_paths() {
        let line = "claude mcp add toolcell -- toolcell mcp --config '/my work/toolcell.toml'";
        assert_eq!(snippet(Client::ClaudeCode, true, &["KEY"]), line);
        let json: Value =
            serde_json::from_str(&snippet(Client::ClaudeDesktop, true, &[])).expect("JSON");
        assert_eq!(
            json,
            json!({ "mcpServers": { "toolcell": {
                "command": "/opt/bin/toolcell",
                "args": ["mcp", "--config", "/my work/toolcell.toml"],
            } } })
        );
    }

    #[test]
    fn variables_are_handed_on_and_their_values_are_not_known() {
        let json: Value =
            serde_json::from_str(&snippet(Client::Vscode, true, &["KEY"])).expect("JSON");
        let entry = &json["servers"]["toolcell"];
        assert_eq!((&entry["type"], &entry["env"]["KEY"]), (&json!("stdio"), &json!("${env:KEY}")));
        let python = snippet(Client::Python, false, &["KEY"]);
        assert!(python.contains(r#"command="/opt/bin/toolcell""#), "{python}");
        assert!(python.contains(r#"env={"KEY": os.environ["KEY"]}"#), "{python}");
    }
}
