//! AutoGen Studio: the real server of its MCP panel and the real front end, out of the package that
//! `cargo xtask test` installs, and what speaks to both bridges in one run (`tests/clients/studio/`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::cli::Cli;
use crate::clients::programs;
use crate::fixtures::{RealHttp, Server, installed};

#[track_caller]
fn python() -> PathBuf {
    installed("../clients/studio/bin/python")
}

fn program(name: &str) -> PathBuf {
    programs().join("studio").join(name)
}

/// The real server, on a free port of the loopback interface.
///
/// # Panics
/// It does not start.
#[track_caller]
pub fn server() -> RealHttp {
    RealHttp::start(vec![python(), program("server.py")], "", 0)
}

/// A server on stdio that sends what others never do on demand: see `probe.py`.
#[track_caller]
pub fn probe() -> Server {
    let program = program("probe.py");
    Server::stdio(python(), &[program.to_str().expect("paths of tests are UTF-8")])
}

/// The same on streamable HTTP.
///
/// # Panics
/// It does not start.
#[track_caller]
pub fn probe_http() -> RealHttp {
    RealHttp::start(vec![python(), program("probe.py"), "http".into()], "/mcp", 0)
}

/// The front end's own client class at work; `asked` is described in `frontend.mjs`.
///
/// # Panics
/// It is not installed.
#[track_caller]
pub fn front_end(mut asked: Value) -> Cli {
    let text = |path: PathBuf| Value::from(path.to_str().expect("paths of tests are UTF-8"));
    asked["ui"] = text(package().join("web/ui"));
    asked["typescript"] = text(installed("../clients/tsc/node_modules/typescript"));
    // Node.js 20 has the browser's WebSocket behind a flag, later ones without.
    Cli::of("node".into())
        .args(["--experimental-websocket", "--no-warnings"])
        .arg(program("frontend.mjs"))
        .arg(asked.to_string())
        .limit(Duration::from_secs(120))
}

/// The comparison of both bridges; `asked` is described in `compare.py`.
///
/// # Panics
/// It is not installed.
#[track_caller]
pub fn comparison(asked: &Value) -> Cli {
    let python = python();
    // Beside the environment, so that no compiled file gets into the sources.
    let compiled = python.parent().and_then(Path::parent).expect("it is in bin/").join("compiled");
    Cli::of(python)
        .env("PYTHONPYCACHEPREFIX", compiled)
        .arg(program("compare.py"))
        .arg(asked.to_string())
        .limit(Duration::from_secs(300))
}

/// The rows of the list of differences, as a page has them.
///
/// # Panics
/// It is not installed.
#[track_caller]
pub fn listed_differences() -> Vec<String> {
    let told = Cli::of(python()).arg("-B").arg(program("differences.py")).run().success();
    told.stdout.lines().map(str::to_owned).collect()
}

/// The installed Python package.
#[track_caller]
fn package() -> PathBuf {
    let libraries = installed("../clients/studio/lib");
    let versions = libraries.read_dir().expect("an environment has libraries");
    let packages =
        versions.filter_map(Result::ok).map(|version| version.path().join("site-packages"));
    let found = packages.map(|packages| packages.join("autogenstudio")).find(|path| path.exists());
    found.expect("autogenstudio is installed")
}
