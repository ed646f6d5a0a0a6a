//! `cargo xtask test`: every test, with the real MCP servers that they talk to.

use std::process::Command;

use anyhow::{Context, Result};

use crate::clients;
use crate::conformance;
use crate::fixtures;
use crate::guests;
use crate::process::{self, step};
use crate::wasm_toolchain::WasmToolchain;
use crate::workspace::Workspace;

/// Installs what the tests need, builds, and runs them. `args` go to `cargo test`.
pub(crate) fn test(workspace: &Workspace, args: &[String]) -> Result<()> {
    let fixtures = fixtures::install(workspace)?;
    clients::install(workspace)?;
    let wasm = WasmToolchain::install(workspace)?;
    let guests = guests::build(workspace, &wasm)?;
    step("building toolcell and its tests (the first time takes some minutes)", || {
        process::run(&mut workspace.build_tests())
    })?;
    let mut toolcell = workspace.toolcell("debug");
    step("building the Python runtime (once)", || {
        process::run(toolcell.args(["runtimes", "build"]))
    })?;
    step("running the tests", || {
        process::run(
            workspace
                .cargo()
                .args(["test", "--locked", "--workspace"])
                .args(args)
                .env("TOOLCELL_FIXTURES", &fixtures.root)
                .env("TOOLCELL_WASM_ENV", &wasm.env_file)
                .env("TOOLCELL_GUESTS", &guests)
                .env("TOOLCELL_BIN", toolcell.get_program()),
        )
    })?;
    test_python_runtime(workspace)?;
    // Whoever asks for certain tests does not mean this one.
    if args.is_empty() { conformance::requirements(workspace) } else { Ok(()) }
}

/// The unit tests of the Python runtime's own Python code. They need the version that it embeds, or
/// one that is close to it.
fn test_python_runtime(workspace: &Workspace) -> Result<()> {
    const NEW_ENOUGH: &str = "import sys; sys.exit(sys.version_info < (3, 13))";
    let tests = workspace.root.join("plugins/python-runtime/tests");
    if !tests.is_dir() {
        eprintln!("==> skipped: the Python runtime has no unit tests");
        return Ok(());
    }
    let python = ["python3", "python3.14", "python3.13"]
        .into_iter()
        .find(|python| process::output(python, &["-c", NEW_ENOUGH]).is_some());
    let Some(python) = python else {
        eprintln!("==> skipped: the Python runtime's unit tests need Python 3.13 or newer in PATH");
        return Ok(());
    };
    step("running the Python runtime's unit tests", || {
        process::run(
            Command::new(python)
                .current_dir(&workspace.root)
                .args(["-B", "-m", "unittest", "discover"])
                .arg(tests),
        )
        .context("the Python runtime's unit tests failed")
    })
}
