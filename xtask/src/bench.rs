//! `cargo xtask bench`: toolcell's speed beside pyeryx's and native CPython's, as ratios in one run;
//! that of the façade beside `eryx serve`'s, and that of plugins beside Extism's and
//! quickjs-emscripten's.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{self, step};
use crate::workspace::Workspace;

const PYERYX: &str = "pyeryx[serve]==0.11.0";
const EXTISM: &str = "extism==1.1.1";
const QUICKJS: &str = "quickjs-emscripten@0.32.0";

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
    let plugins =
        step("building the benchmark of plugins", || benchmark(workspace, "plugins", &[]))?;
    let mut beside = Command::new("python3");
    beside.current_dir(&workspace.root).arg("benches/compare_plugins.py");
    beside.args(["--plugins", &plugins, "--extism", &extism(workspace)?]);
    if let Some(folder) = quickjs(workspace)? {
        beside.args(["--quickjs", &folder]);
    }
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
            beside.env(name, value);
        }
    }
    if let Some(rival) = rival {
        compare.args(["--pyeryx", &rival]);
        facade.arg("--eryx").arg(Path::new(&rival).with_file_name("eryx"));
    }
    step("measuring (some minutes; leave the machine alone)", || {
        process::run(&mut compare)?;
        process::run(&mut facade)?;
        process::run(&mut beside)
    })
}

/// An interpreter with Extism's host for Python.
fn extism(workspace: &Workspace) -> Result<String> {
    let folder = workspace.root.join("target/bench/extism");
    let interpreter = folder.join("bin/python");
    once("installing extism", &folder, || {
        process::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        process::run(Command::new(&interpreter).args(["-m", "pip", "install", "--quiet", EXTISM]))
    })?;
    Ok(interpreter.display().to_string())
}

/// A folder in which Node finds quickjs-emscripten, if there is Node.
fn quickjs(workspace: &Workspace) -> Result<Option<String>> {
    if process::output("npm", &["--version"]).is_none() {
        eprintln!("==> no npm in PATH: the table comes without quickjs-emscripten");
        return Ok(None);
    }
    let folder = workspace.root.join("target/bench/quickjs-emscripten");
    once("installing quickjs-emscripten", &folder, || {
        std::fs::create_dir_all(&folder).context("failed to make a folder")?;
        let mut install = Command::new("npm");
        install.args(["install", "--silent", "--no-save", "--prefix"]).arg(&folder).arg(QUICKJS);
        process::run(&mut install)
    })?;
    Ok(Some(folder.display().to_string()))
}

/// Installs something in a folder, unless it was done before.
fn once(words: &str, folder: &Path, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(());
    }
    step(words, || {
        install()?;
        std::fs::write(&complete, "").context("failed to write a stamp")
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
