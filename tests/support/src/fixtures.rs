//! MCP servers to call: real ones from npm and PyPI, and our own that misbehaves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};
use toolcell::upstream::settings::{HttpSettings, Secret, TransportSettings};

use crate::cli::profile_folder;
use crate::processes::{Marker, PATIENCE};

/// An MCP server as a configuration describes it.
#[derive(Clone, Debug, Default)]
pub struct Server {
    command: Option<PathBuf>,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    url: Option<String>,
    transport: Option<&'static str>,
    more: String,
}

impl Server {
    /// A server on stdio.
    pub fn stdio(command: impl Into<PathBuf>, args: &[&str]) -> Self {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Self { command: Some(command.into()), args, ..Self::default() }
    }

    /// A server on streamable HTTP.
    pub fn http(url: impl Into<String>) -> Self {
        Self { transport: Some("streamable-http"), ..Self::at(url) }
    }

    /// A server on HTTP+SSE.
    pub fn sse(url: impl Into<String>) -> Self {
        Self { transport: Some("sse"), ..Self::at(url) }
    }

    /// A server on either of them: the host has to find out.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: Some(url.into()), ..Self::default() }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Sets a variable of its process.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// Marks its process and whatever that starts.
    pub fn marked(self, marker: &Marker) -> Self {
        self.env(Marker::VARIABLE, marker.as_str())
    }

    /// Adds a line to its table, such as `connect_timeout = "1s"`.
    pub fn setting(mut self, line: &str) -> Self {
        self.more.push_str(line);
        self.more.push('\n');
        self
    }

    /// Its table of `toolcell.toml`, `[servers.NAME]`.
    pub fn toml(&self, name: &str) -> String {
        // A JSON string is a TOML string too.
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        let mut toml = format!("[servers.{name}]\n");
        if let Some(command) = &self.command {
            let args: Vec<String> = self.args.iter().map(|arg| quote(arg)).collect();
            let command = quote(command.to_str().expect("paths of tests are UTF-8"));
            let _ = writeln!(toml, "command = {command}\nargs = [{}]", args.join(", "));
        }
        if let Some(url) = &self.url {
            let _ = writeln!(toml, "url = {}", quote(url));
        }
        if let Some(transport) = self.transport {
            let _ = writeln!(toml, "transport = {}", quote(transport));
        }
        toml.push_str(&self.more);
        if !self.env.is_empty() {
            let _ = writeln!(toml, "[servers.{name}.env]");
            for (variable, value) in &self.env {
                let _ = writeln!(toml, "{} = {}", quote(variable), quote(value));
            }
        }
        toml.push('\n');
        toml
    }

    /// How a client of the bridge names it: a command, or the URL of a server on streamable HTTP.
    pub fn params(&self) -> Value {
        match &self.url {
            Some(url) => json!({ "type": "StreamableHttpServerParams", "url": url }),
            None => json!({
                "type": "StdioServerParams", "command": self.command, "args": self.args,
            }),
        }
    }

    /// How the library reaches it. Over HTTP it finds out in which way.
    ///
    /// # Panics
    /// It has neither a command nor a URL.
    #[track_caller]
    pub fn transport(&self) -> TransportSettings {
        match (&self.command, &self.url) {
            (Some(command), _) => TransportSettings::Stdio {
                command: command.to_str().expect("paths of tests are UTF-8").to_owned(),
                args: self.args.clone(),
                env: self.env.iter().map(|(k, v)| (k.clone(), Secret::new(v))).collect(),
                cwd: None,
            },
            (None, Some(url)) => TransportSettings::Http(HttpSettings::new(url)),
            (None, None) => panic!("it has neither a command nor a URL"),
        }
    }

    /// A command that starts it, for tests that use no configuration.
    ///
    /// # Panics
    /// It is reached over HTTP.
    #[track_caller]
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.command.as_ref().expect("a server on stdio"));
        command.args(&self.args).envs(&self.env);
        command
    }
}

/// The folder in which `cargo xtask test` installed the servers.
///
/// # Panics
/// It did not.
#[track_caller]
pub(crate) fn installed(path: &str) -> PathBuf {
    let Some(root) = std::env::var_os("TOOLCELL_FIXTURES") else {
        panic!(
            "TOOLCELL_FIXTURES is not set: run `cargo xtask test`, which installs the MCP servers, or set \
             it to what `cargo xtask fixtures` prints"
        );
    };
    let path = Path::new(&root).join(path);
    assert!(path.exists(), "{} is missing: run `cargo xtask test`", path.display());
    path
}

#[track_caller]
fn node(package: &str, args: &[&str]) -> Server {
    let file =
        installed(&format!("npm/node_modules/@modelcontextprotocol/{package}/dist/index.js"));
    let file = file.to_str().expect("paths of tests are UTF-8");
    Server::stdio("node", &[&[file], args].concat())
}

/// npm's server-everything on stdio (2025-11-25): `echo`, `get-sum`, `get-structured-content`,
/// `get-tiny-image`, `trigger-long-running-operation` and more.
#[track_caller]
pub fn everything_stdio() -> Server {
    node("server-everything", &["stdio"])
}

/// npm's server-filesystem on stdio (2025-11-25), serving these directories.
#[track_caller]
pub fn filesystem(directories: &[&Path]) -> Server {
    let paths = directories.iter().map(|path| path.to_str().expect("paths of tests are UTF-8"));
    node("server-filesystem", &paths.collect::<Vec<_>>())
}

/// npm's server-memory on stdio (2025-11-25), a knowledge graph kept in this file.
#[track_caller]
pub fn memory(file: &Path) -> Server {
    let file = file.to_str().expect("paths of tests are UTF-8");
    node("server-memory", &[]).env("MEMORY_FILE_PATH", file)
}

/// PyPI's mcp-server-time on stdio (both eras): `get_current_time`, `convert_time`.
#[track_caller]
pub fn time() -> Server {
    Server::stdio(installed("python/bin/mcp-server-time"), &["--local-timezone", "UTC"])
}

/// PyPI's mcp-server-git on stdio (both eras), for this repository.
#[track_caller]
pub fn git(repository: &Path) -> Server {
    let repository = repository.to_str().expect("paths of tests are UTF-8");
    Server::stdio(installed("python/bin/mcp-server-git"), &["--repository", repository])
}

/// A Python that has the MCP SDK (`import mcp`), for independent clients and servers.
#[track_caller]
pub fn python_with_mcp() -> PathBuf {
    installed("python/bin/python")
}

/// A search server on stdio, written with the official SDK: `search` over the documents in this file.
#[track_caller]
pub fn search(corpus: &Path) -> Server {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/search/search_server.py");
    let corpus = corpus.to_str().expect("paths of tests are UTF-8");
    Server::stdio(python_with_mcp(), &[program, corpus])
}

/// One of the corpora that come with it: `papers`, `wiki`, `notes`.
pub fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/search/{name}.jsonl"))
}

/// A server on stdio with what the official conformance suite looks for, in both eras.
///
/// # Panics
/// It was not built.
#[track_caller]
pub fn conformance_server() -> Server {
    let binary = profile_folder().join("conformance-server");
    assert!(binary.exists(), "{} is missing: `cargo xtask test`", binary.display());
    Server::stdio(binary, &[])
}

/// Our own server on stdio that breaks one rule; `misbehaving-mcp --list` shows the modes.
///
/// # Panics
/// It was not built.
#[track_caller]
pub fn misbehaving(mode: &str) -> Server {
    let binary = profile_folder().join("misbehaving-mcp");
    let path = binary.display();
    assert!(
        binary.exists(),
        "{path} is missing: `cargo xtask test`, or `cargo build --bin misbehaving-mcp`"
    );
    Server::stdio(binary, &[mode])
}

/// npm's server-everything on streamable HTTP, on a free port of the loopback interface.
///
/// # Panics
/// It does not start.
#[track_caller]
pub fn everything_http() -> RealHttp {
    RealHttp::start(everything("streamableHttp"), "/mcp", 0)
}

/// npm's server-everything on HTTP+SSE (2024-11-05), likewise.
///
/// # Panics
/// It does not start.
#[track_caller]
pub fn everything_sse() -> RealHttp {
    RealHttp::start(everything("sse"), "/sse", 0)
}

#[track_caller]
fn everything(transport: &str) -> Vec<PathBuf> {
    let index = "npm/node_modules/@modelcontextprotocol/server-everything/dist/index.js";
    let loopback = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/npm/loopback.mjs");
    ["node".into(), "--import".into(), loopback.into(), installed(index), transport.into()].into()
}

/// A server of PyPI's SDK on HTTP+SSE, on a free port of the loopback interface. Its tool `add` just
/// answers, `order` and `where` ask first: for a number, for roots.
///
/// # Panics
/// It does not start.
#[track_caller]
pub fn python_sse() -> RealHttp {
    RealHttp::start(python_sdk("sse"), "/sse", 0)
}

/// The same on streamable HTTP (both eras).
///
/// # Panics
/// It does not start.
#[track_caller]
pub fn python_http() -> RealHttp {
    RealHttp::start(python_sdk("streamable-http"), "/mcp", 0)
}

/// The same on stdio (both eras).
#[track_caller]
pub fn python_stdio() -> Server {
    Server::stdio(python_with_mcp(), &["-c", PYTHON_SDK, "stdio"])
}

#[track_caller]
fn python_sdk(transport: &str) -> Vec<PathBuf> {
    [python_with_mcp(), "-c".into(), PYTHON_SDK.into(), transport.into()].into()
}

/// The socket is made here, because only its maker knows the port that it got.
const PYTHON_SDK: &str = r#"
import os, socket, sys
from typing import Annotated
from mcp.server import MCPServer
from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve
from mcp_types import ListRootsResult
from pydantic import BaseModel

server = MCPServer("python-sdk", version="1")

class Order(BaseModel):
    size: int

async def size(what: str) -> Elicit[Order]:
    return Elicit(f"How many {what}?", Order)

@server.tool()
async def order(what: str, answer: Annotated[ElicitationResult[Order], Resolve(size)]) -> str:
    """Asks how many, and orders them."""
    ordered = answer.data.size if answer.action == "accept" else 0
    return f"{answer.action}: {ordered} {what}"

async def folders() -> ListRoots:
    return ListRoots()

@server.tool()
async def where(folders: Annotated[ListRootsResult, Resolve(folders)]) -> str:
    """Asks where it may work."""
    return " ".join(str(root.uri) for root in folders.roots)

@server.tool()
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b

if sys.argv[1] == "stdio":
    server.run("stdio")
    sys.exit()

import uvicorn

app = server.sse_app() if sys.argv[1] == "sse" else server.streamable_http_app()
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(os.environ["PORT"])))
listener.listen(64)
print(f"listening at 127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
"#;

/// A real server over HTTP. It ends when this is dropped, or when the test's process ends in any way.
#[derive(Debug)]
pub struct RealHttp {
    command: Vec<PathBuf>,
    path: &'static str,
    guard: Child,
    lifeline: Option<ChildStdin>,
    port: u16,
}

/// Starts `"$@"`, and kills it as soon as its own stdin reaches its end: the pipe's other end is ours,
/// and the kernel closes it however we end. Only the server holds the stderr pipe.
pub(crate) const GUARD: &str = r#"
exec 3>&2 2>/dev/null
"$@" </dev/null >/dev/null 2>&3 3>&- &
exec 3>&-
cat
kill -KILL "$!"
wait "$!"
"#;

impl RealHttp {
    #[track_caller]
    pub(crate) fn start(command: Vec<PathBuf>, path: &'static str, port: u16) -> Self {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .args(&command)
            .env("PORT", port.to_string())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let lifeline = guard.stdin.take();
        let stderr = BufReader::new(guard.stderr.take().expect("stderr is a pipe"));
        let mut started = Self { command, path, guard, lifeline, port };
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut said = String::new();
        loop {
            let line = lines.recv_timeout(PATIENCE);
            let line =
                line.unwrap_or_else(|_| panic!("{:?} did not start:\n{said}", started.command));
            if let Some(address) = line.strip_prefix("listening at 127.0.0.1:") {
                started.port = address.trim().parse().expect("a port is a number");
                return started;
            }
            said.push_str(&line);
            said.push('\n');
        }
    }

    /// Its MCP endpoint.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.path)
    }

    /// As a configuration's server.
    pub fn server(&self) -> Server {
        match self.path {
            "/sse" => Server::sse(self.url()),
            _ => Server::http(self.url()),
        }
    }

    /// Ends it at once. Its port refuses connections from now on.
    pub fn stop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.guard.wait();
    }

    /// Ends it and starts another on the same port, which knows none of the first one's sessions.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        *self = Self::start(self.command.clone(), self.path, self.port);
    }
}

impl Drop for RealHttp {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpStream;

    use super::*;

    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

    #[test]
    fn every_server_on_stdio_answers_and_ends_with_its_input() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let servers = [
            ("everything", everything_stdio()),
            ("filesystem", filesystem(&[folder.path()])),
            ("memory", memory(&folder.path().join("memory.json"))),
            ("time", time()),
            ("git", git(root.parent().expect("tests/ lies in the root"))),
            ("search", search(&corpus("papers"))),
            ("misbehaving", misbehaving("ok")),
        ];
        for (name, server) in servers {
            let marker = Marker::new();
            let mut command = server.marked(&marker).command();
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut stdin = child.stdin.take().expect("stdin is a pipe");
            writeln!(stdin, "{INITIALIZE}").expect("the server reads");
            let mut answer = String::new();
            let stdout = child.stdout.take().expect("stdout is a pipe");
            BufReader::new(stdout).read_line(&mut answer).expect("the server writes");
            assert!(answer.contains(r#""protocolVersion":"2025-11-25""#), "{name}: {answer}");
            drop(stdin);
            child.wait().expect("a child can be waited for");
            marker.assert_nothing_survives();
        }
    }

    #[test]
    fn a_server_on_http_stops_and_restarts_on_its_port() {
        let mut server = everything_http();
        let address = server.url()["http://".len()..].trim_end_matches("/mcp").to_owned();
        assert!(TcpStream::connect(&address).is_ok());
        server.restart();
        assert!(server.url().contains(&address) && TcpStream::connect(&address).is_ok());
        server.stop();
        assert!(TcpStream::connect(&address).is_err());
    }

    #[test]
    fn a_server_is_a_table_of_the_configuration() {
        let server =
            Server::stdio("/bin/x", &["a \"b\""]).env("K", "v\\").setting("call_timeout = \"1s\"");
        let expected = r#"[servers.one]
command = "/bin/x"
args = ["a \"b\""]
call_timeout = "1s"
[servers.one.env]
"K" = "v\\"

"#;
        assert_eq!(server.toml("one"), expected);
    }
}
