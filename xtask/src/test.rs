//! `cargo xtask test`: every test, with the real MCP servers that they talk to.

use std::panic::resume_unwind;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};

use crate::clients;
use crate::conformance;
use crate::fixtures::{self, Fixtures};
use crate::guests;
use crate::process::{self, step};
use crate::registry;
use crate::wasm_toolchain::WasmToolchain;
use crate::workspace::Workspace;

/// Installs what the tests need, builds, and runs them. `args` go to `cargo test`.
pub(crate) fn test(workspace: &Workspace, args: &[String]) -> Result<()> {
    // The one waits for the network, the other for the processor.
    let (installed, built) = thread::scope(|scope| {
        let installing = scope.spawn(|| install(workspace));
        let built = step("building toolcell and its tests (the first time takes minutes)", || {
            process::run(&mut workspace.build_tests())
        });
        (installing.join(), built)
    });
    let (fixtures, wasm) = installed.unwrap_or_else(|panic| resume_unwind(panic))?;
    built?;
    let guests = guests::build(workspace, &wasm)?;
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
    test_python_guests(workspace)?;
    step("running the unit tests of plugins/js-runtime/prepare", || {
        let mut cargo = workspace.cargo();
        cargo.current_dir(workspace.root.join("plugins/js-runtime/prepare"));
        cargo.env("TOOLCELL_INSTALLED", workspace.target.join("fixtures"));
        cargo.args(["test", "--locked", "--lib", "--target-dir"]);
        process::run(cargo.arg(workspace.target.join("js-runtime")))
    })?;
    step("running the unit tests of plugins/research", || {
        let mut cargo = workspace.cargo();
        cargo.current_dir(workspace.root.join("plugins/research"));
        cargo.args(["test", "--locked", "--target-dir"]);
        process::run(cargo.arg(workspace.target.join("guests/native")))
    })?;
    // Whoever asks for certain tests does not mean this one.
    if args.is_empty() { conformance::requirements(workspace) } else { Ok(()) }
}

/// What the tests talk to, and the compiler for guests.
fn install(workspace: &Workspace) -> Result<(Fixtures, WasmToolchain)> {
    let fixtures = fixtures::install(workspace)?;
    clients::install(workspace)?;
    registry::install(workspace)?;
    Ok((fixtures, WasmToolchain::install(workspace)?))
}

/// The unit tests of the Python code that runs in guests. They need the version that the runtime
/// embeds, or one that is close to it.
fn test_python_guests(workspace: &Workspace) -> Result<()> {
    const NEW_ENOUGH: &str = "import sys; sys.exit(sys.version_info < (3, 13))";
    let python = ["python3", "python3.14", "python3.13"]
        .into_iter()
        .find(|python| process::output(python, &["-c", NEW_ENOUGH]).is_some());
    let Some(python) = python else {
        eprintln!("==> skipped: the Python guests' unit tests need Python 3.13 or newer in PATH");
        return Ok(());
    };
    for guest in ["python-runtime", "python-plugin", "digest"] {
        step(&format!("running the unit tests of plugins/{guest}"), || {
            process::run(
                Command::new(python)
                    .current_dir(&workspace.root)
                    .args(["-B", "-m", "unittest", "discover"])
                    .arg(workspace.root.join("plugins").join(guest).join("tests")),
            )
            .with_context(|| format!("the unit tests of plugins/{guest} failed"))
        })?;
    }
    Ok(())
}
