//! `cargo xtask bench`: toolcell's speed beside pyeryx's and native CPython's, as ratios in one run;
//! and that of the façade beside `eryx serve`'s.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{self, step};
use crate::workspace::Workspace;

const PYERYX: &str = "pyeryx[serve]==0.11.0";

/// Builds the benchmarks, installs the rival, and prints the table.
pub(crate) fn bench(workspace: &Workspace) -> Result<()> {
    let (metered, memory, toolcell) = step("building the benchmarks (release)", || {
        Ok((benchmark(workspace, "sandbox", &[])?, benchmark(workspace, "memory", &[])?, {
            process::run(workspace.cargo().args([
                "build",
                "--locked",
                "--release",
                "--workspace",
            ]))?;
            workspace.toolcell("release")
        }))
    })?;
    let unmetered = step("building the benchmark without metering", || {
        benchmark(workspace, "sandbox", &["--features", "toolcell/benchmark-unmetered"])
    })?;
    let rival = pyeryx(workspace)?;
    let mut compare = Command::new("python3");
    compare.current_dir(&workspace.root).arg("benches/compare.py");
    compare.args(["--metered", &metered, "--unmetered", &unmetered, "--memory", &memory]);
    compare.arg("--toolcell").arg(toolcell.get_program());
    for (name, value) in toolcell.get_envs() {
        if let Some(value) = value {
            compare.env(name, value);
        }
    }
    let mut facade = Command::new("python3");
    facade.current_dir(&workspace.root).arg("benches/facade.py");
    facade.arg("--toolcell").arg(toolcell.get_program());
    for (name, value) in toolcell.get_envs() {
        if let Some(value) = value {
            facade.env(name, value);
        }
    }
    if let Some(rival) = rival {
        compare.args(["--pyeryx", &rival]);
        facade.arg("--eryx").arg(Path::new(&rival).with_file_name("eryx"));
    }
    step("measuring (some minutes; leave the machine alone)", || {
        process::run(&mut compare)?;
        process::run(&mut facade)
    })
}

/// Builds one benchmark and says where it is. Cargo names the file by a hash and tells it as JSON.
fn benchmark(workspace: &Workspace, name: &str, features: &[&str]) -> Result<String> {
    let output = workspace
        .cargo()
        .args(["bench", "--locked", "--workspace", "--no-run", "--bench", name])
        .args(["--message-format", "json-render-diagnostics"])
        .args(features)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("failed to start cargo")?;
    anyhow::ensure!(output.status.success(), "cargo bench --bench {name} failed");
    let text = String::from_utf8_lossy(&output.stdout);
    let built = text
        .lines()
        .filter(|line| line.contains("\"reason\":\"compiler-artifact\""))
        .filter(|line| line.contains(&format!("\"name\":\"{name}\"")))
        .find_map(|line| line.split("\"executable\":\"").nth(1)?.split('"').next());
    built.map(str::to_owned).with_context(|| format!("cargo did not tell where {name} is"))
}

/// An interpreter with pyeryx, if there is a Python that it has wheels for.
fn pyeryx(workspace: &Workspace) -> Result<Option<String>> {
    const NEW_ENOUGH: &str = "import sys; sys.exit(not (3, 12) <= sys.version_info[:2])";
    let python = ["python3", "python3.14", "python3.13", "python3.12"]
        .into_iter()
        .find(|python| process::output(python, &["-c", NEW_ENOUGH]).is_some());
    let Some(python) = python else {
        eprintln!("==> no Python 3.12 or newer in PATH: the table comes without pyeryx");
        return Ok(None);
    };
    let folder = workspace.root.join("target/bench/pyeryx-serve");
    let interpreter = folder.join("bin/python");
    let complete = folder.join("complete");
    if !complete.exists() {
        step("installing pyeryx", || {
            process::run(Command::new(python).args(["-m", "venv"]).arg(&folder))?;
            process::run(
                Command::new(&interpreter).args(["-m", "pip", "install", "--quiet", PYERYX]),
            )?;
            std::fs::write(&complete, "").context("failed to write a stamp")
        })?;
    }
    Ok(Some(interpreter.display().to_string()))
}
