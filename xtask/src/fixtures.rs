//! The real MCP servers that demo and tests run against, pinned in `tests/fixtures/` and installed
//! below the build folder: `target/fixtures/HASH-OF-PINS/{npm,python}`.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{self, step};
use crate::workspace::Workspace;

/// The installed servers.
pub(crate) struct Fixtures {
    /// The folder that holds `npm/` and `python/`: what the tests expect in `TOOLCELL_FIXTURES`.
    pub(crate) root: PathBuf,
}

impl Fixtures {
    /// A script that a PyPI package installed.
    pub(crate) fn python(&self, script: &str) -> PathBuf {
        self.root.join("python/bin").join(script)
    }

    /// A file of the npm package `@modelcontextprotocol/NAME`.
    pub(crate) fn npm(&self, package: &str, file: &str) -> PathBuf {
        self.root.join("npm/node_modules/@modelcontextprotocol").join(package).join(file)
    }
}

/// Installs what is not installed yet.
///
/// # Errors
/// python3 with venv, Node.js or npm is missing, or a registry cannot be reached.
pub(crate) fn install(workspace: &Workspace) -> Result<Fixtures> {
    let pins = workspace.root.join("tests/fixtures");
    let read = |name: &str| {
        let path = pins.join(name);
        fs::read(&path).with_context(|| format!("failed to read {}", path.display()))
    };
    let mut hash = Fnv::new();
    for name in ["npm/package.json", "npm/package-lock.json", "python/requirements.txt"] {
        hash.write(&read(name)?);
    }
    let root = workspace.target.join("fixtures").join(hash.to_string());
    fs::create_dir_all(&root).with_context(|| format!("failed to create {}", root.display()))?;
    let lock = File::create(root.join("lock"))?;
    lock.lock().context("failed to lock the fixtures' folder")?;
    let title = "installing MCP servers from npm (some 40 MB)";
    install_npm(title, &pins.join("npm"), &root.join("npm"))?;
    install_python(&pins.join("python/requirements.txt"), &root.join("python"))?;
    Ok(Fixtures { root })
}

/// Installs npm packages that the servers' own must not mix with, from pins of their own, below
/// `target/fixtures/`. Returns the folder.
pub(crate) fn install_npm_apart(workspace: &Workspace, pins: &Path, name: &str) -> Result<PathBuf> {
    let mut hash = Fnv::new();
    for pin in ["package.json", "package-lock.json"] {
        let path = pins.join(pin);
        hash.write(&fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?);
    }
    let root = workspace.target.join("fixtures").join(format!("{name}-{hash}"));
    fs::create_dir_all(&root).with_context(|| format!("failed to create {}", root.display()))?;
    let lock = File::create(root.join("lock"))?;
    lock.lock().context("failed to lock the fixtures' folder")?;
    let to = root.join("npm");
    install_npm(&format!("installing {name} from npm"), pins, &to)?;
    Ok(to)
}

fn install_npm(title: &str, pins: &Path, to: &Path) -> Result<()> {
    once(to, title, || npm_ci(pins, to))
}

fn install_python(requirements: &Path, to: &Path) -> Result<()> {
    once(to, "installing MCP servers from PyPI (some 80 MB)", || venv(requirements, to, &[]))
}

/// Installs what `pins` has as `package.json` and `package-lock.json` into the empty folder `to`.
pub(crate) fn npm_ci(pins: &Path, to: &Path) -> Result<()> {
    const NEEDED: &str = "Node.js 20 or newer with npm is needed";
    let version = process::output("node", &["--version"]).context(NEEDED)?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|n| n.parse().ok());
    if major.is_none_or(|major: u32| major < 20) {
        bail!("{NEEDED}: this one is {version}");
    }
    process::output("npm", &["--version"]).context(NEEDED)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(pins.join(name), to.join(name))?;
    }
    // No package here has a reason to run a script of its own while it is installed.
    process::run(
        Command::new("npm")
            .current_dir(to)
            .args(["ci", "--omit=dev", "--ignore-scripts", "--loglevel=error"])
            .args(["--no-audit", "--no-fund", "--no-update-notifier"]),
    )
}

/// Makes a virtual environment of the empty folder `to`, and installs the requirements there.
/// `args` go to `pip install`.
pub(crate) fn venv(requirements: &Path, to: &Path, args: &[&str]) -> Result<()> {
    const NEEDED: &str = "python3 (3.11 or newer) with venv and pip is needed \
                          (Debian, Ubuntu: `apt install python3-venv`)";
    process::output("python3", &["-c", "import venv, ensurepip"]).context(NEEDED)?;
    process::run(Command::new("python3").args(["-m", "venv"]).arg(to)).context(NEEDED)?;
    process::run(
        Command::new(to.join("bin/python"))
            .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"])
            .args(args)
            .arg("--requirement")
            .arg(requirements),
    )
}

/// Fills the folder `to` unless that was done to the end before.
pub(crate) fn once(to: &Path, title: &str, fill: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = to.join("installed");
    if stamp.exists() {
        return Ok(());
    }
    step(title, || {
        if to.exists() {
            fs::remove_dir_all(to).with_context(|| format!("failed to clear {}", to.display()))?;
        }
        fs::create_dir_all(to)?;
        fill()?;
        fs::write(&stamp, "")?;
        Ok(())
    })
}

/// FNV-1a: tells sets of pins apart, and protects nothing.
pub(crate) struct Fnv(u64);

impl Fnv {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl fmt::Display for Fnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
