//! `cargo xtask wasm-toolchain`: what compiles our guests, and the plugins that tests write, for wasm32.
//!
//! Whoever has rustup runs `rustup target add wasm32-wasip2` and needs nothing of this. Where rustup's
//! toolchain lacks a target, Debian's `rustc-web`, with the library sources that match it, is unpacked
//! below the build folder: nothing is installed, no root is needed, and an unmodified
//! `cargo build --release --target wasm32-wasip2` works with the variables that `env` has.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{self, step};
use crate::workspace::Workspace;

/// What guests are compiled for: components, core modules with our WIT, and runtimes without WASI.
pub(crate) const TARGETS: [&str; 3] = ["wasm32-wasip2", "wasm32-wasip1", "wasm32-unknown-unknown"];

/// The compiler's version that was tried. Where apt offers another, that one is taken.
const RUSTC_WEB: &str = "1.96.0+dfsg1-1~deb12u2";
const LLVM: &str = "1:22.1.8-1~deb12u1";

/// What LLVM's libraries need, by the name that the loader misses, and the package that has it.
const LIBRARIES: [(&str, &str); 12] = [
    ("libbsd.so.0", "libbsd0"),
    ("libedit.so.2", "libedit2"),
    ("libffi.so.8", "libffi8"),
    ("libicudata.so.72", "libicu72"),
    ("libicuuc.so.72", "libicu72"),
    ("liblzma.so.5", "liblzma5"),
    ("libmd.so.0", "libmd0"),
    ("libtinfo.so.6", "libtinfo6"),
    ("libxml2.so.2", "libxml2"),
    ("libz.so.1", "zlib1g"),
    ("libz3.so.4", "libz3-4"),
    ("libzstd.so.1", "libzstd1"),
];

/// A way to compile for wasm32.
pub(crate) struct WasmToolchain {
    /// Set for cargo; none where rustup's toolchain has the targets.
    variables: Vec<(String, String)>,
    targets: Vec<&'static str>,
    /// The variables as a text that a shell can source: lines of `export NAME='value'`.
    pub(crate) env_file: PathBuf,
}

impl WasmToolchain {
    /// Makes sure that there is one. Downloads some 150 MB once if rustup's toolchain lacks a target.
    ///
    /// # Errors
    /// rustup's toolchain has no wasm target, and apt cannot help.
    pub(crate) fn install(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.target.join("wasm-toolchain");
        fs::create_dir_all(&folder)
            .with_context(|| format!("failed to create {}", folder.display()))?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock().context("failed to lock the toolchain's folder")?;
        let env_file = folder.join("env");
        let rust = Rust::installed()?;
        let mut targets = TARGETS.to_vec();
        targets.retain(|target| rust.has(target));
        let mut variables = Vec::new();
        if targets.len() < TARGETS.len() {
            match unpacked(&folder, &rust) {
                Ok(found) => {
                    variables = found;
                    targets = TARGETS.to_vec();
                }
                // Enough for plugins. What is for another target is not built.
                Err(error) if targets.contains(&TARGETS[0]) => {
                    eprintln!("==> only for {}: {error:#}", targets.join(" and "));
                }
                Err(error) => {
                    return Err(error.context(format!(
                        "nothing here compiles for wasm32: run `rustup target add {}`",
                        TARGETS.join(" ")
                    )));
                }
            }
        }
        let toolchain = Self { variables, targets, env_file };
        fs::write(&toolchain.env_file, toolchain.shell())?;
        Ok(toolchain)
    }

    /// Whether it compiles for this target.
    pub(crate) fn has(&self, target: &str) -> bool {
        self.targets.contains(&target)
    }

    /// Makes a cargo command compile with it.
    pub(crate) fn apply<'a>(&self, cargo: &'a mut Command) -> &'a mut Command {
        // Flags and wrappers that are meant for the host's compiler would take the place of ours.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"] {
            cargo.env_remove(name);
        }
        cargo.envs(self.variables.iter().map(|(name, value)| (name, value)))
    }

    /// The variables as a shell's text.
    pub(crate) fn shell(&self) -> String {
        let line = |(name, value): &(String, String)| {
            format!("export {name}='{}'\n", value.replace('\'', r"'\''"))
        };
        self.variables.iter().map(line).collect()
    }
}

/// The Rust that builds the host.
struct Rust {
    sysroot: PathBuf,
    host: String,
}

impl Rust {
    fn installed() -> Result<Self> {
        const NEEDED: &str = "rustc cannot be started";
        let sysroot = process::output("rustc", &["--print", "sysroot"]).context(NEEDED)?;
        let version = process::output("rustc", &["-vV"]).context(NEEDED)?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.context("rustc does not say what it runs on")?.to_owned();
        Ok(Self { sysroot: PathBuf::from(sysroot), host })
    }

    fn has(&self, target: &str) -> bool {
        self.sysroot.join("lib/rustlib").join(target).join("lib").is_dir()
    }

    /// Where rustup's toolchains have their own linkers.
    fn linkers(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(&self.host).join("bin")
    }
}

/// Unpacks Debian's packages unless that was done, and gives the variables with which they compile.
fn unpacked(folder: &Path, rust: &Rust) -> Result<Vec<(String, String)>> {
    let linkers = rust.linkers();
    for linker in ["rust-lld", "wasm-component-ld", "gcc-ld/wasm-ld"] {
        let linker = linkers.join(linker);
        ensure!(linker.is_file(), "rustup's toolchain has no {}", linker.display());
    }
    let to = folder.join(RUSTC_WEB.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    let stamp = to.join("installed");
    if !stamp.exists() {
        step("unpacking a compiler for wasm32 from Debian's packages (some 150 MB)", || {
            if to.exists() {
                fs::remove_dir_all(&to)
                    .with_context(|| format!("failed to clear {}", to.display()))?;
            }
            fill(&to)?;
            fs::write(&stamp, "")?;
            Ok(())
        })?;
    }
    let text = |path: PathBuf| {
        let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
        // Cargo splits flags at spaces.
        ensure!(!text.contains(' '), "the path {text:?} has a space");
        Ok(text.to_owned())
    };
    let wasi = to.join("root/usr/lib/wasm32-wasi");
    let flags = format!(
        "-Clink-self-contained=no -Lnative={} -Clink-arg={}",
        text(wasi.clone())?,
        text(wasi.join("crt1-reactor.o"))?
    );
    let find_linker =
        format!("-Clink-arg=--wasm-ld-path={}", text(linkers.join("gcc-ld/wasm-ld"))?);
    let lld = text(linkers.join("rust-lld"))?;
    let variables = [
        ("RUSTC", text(to.join("bin/rustc"))?),
        // The library is compiled from its sources, which cargo calls unstable.
        ("RUSTC_BOOTSTRAP", "1".to_owned()),
        ("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort".to_owned()),
        ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", lld.clone()),
        ("CARGO_TARGET_WASM32_WASIP1_LINKER", lld),
        ("CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS", flags.clone()),
        ("CARGO_TARGET_WASM32_WASIP2_LINKER", text(linkers.join("wasm-component-ld"))?),
        ("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", format!("{flags} {find_linker}")),
        ("CC_wasm32_unknown_unknown", text(to.join("bin/clang"))?),
    ];
    Ok(variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Downloads and unpacks into `to/root`, and writes `to/bin`: programs that find their libraries there.
fn fill(to: &Path) -> Result<()> {
    let (debs, root, bin) = (to.join("debs"), to.join("root"), to.join("bin"));
    for folder in [&debs, &root, &bin] {
        fs::create_dir_all(folder)?;
    }
    for program in ["apt-get", "dpkg"] {
        process::output(program, &["--version"])
            .with_context(|| format!("there is no {program}: not a Debian-like system"))?;
    }
    if let Err(stale) = download(&debs, &packages()?) {
        // The lists are older than what the mirrors have now.
        update();
        download(&debs, &packages()?).map_err(|_| stale)?;
    }
    unpack(&debs, &root)?;
    let rustc = root.join("usr/bin/rustc");
    let clang = fs::read_dir(root.join("usr/lib"))?
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/clang")))
        .find(|path| path.exists())
        .context("the packages have no clang")?;
    // Whatever the system lacks is unpacked too; a library may need a further one.
    for _ in 0..4 {
        let missing = missing(&root, &[&rustc, &clang])?;
        if missing.is_empty() {
            break;
        }
        download(&debs, &missing)?;
        unpack(&debs, &root)?;
    }
    for (name, program) in [("rustc", &rustc), ("clang", &clang)] {
        let script = format!(
            "#!/bin/sh\nLD_LIBRARY_PATH='{}'${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}} exec '{}' \"$@\"\n",
            libraries(&root)?,
            program.display()
        );
        let path = bin.join(name);
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let path = path.to_str().context("the build folder's path is UTF-8")?;
        process::output(path, &["--version"])
            .with_context(|| format!("the unpacked {name} does not run"))?;
    }
    fs::remove_dir_all(&debs)?;
    Ok(())
}

/// The packages as apt takes them: the pinned versions if apt has them, what it offers otherwise.
fn packages() -> Result<Vec<String>> {
    let offered = |name: &str| {
        let policy = process::output("apt-cache", &["policy", name])?;
        let versions = policy.lines().map(str::trim);
        let versions: Vec<String> = versions
            .filter_map(|line| line.strip_prefix("Candidate: ").map(str::to_owned))
            .filter(|version| version != "(none)")
            .collect();
        Some((versions.into_iter().next()?, policy))
    };
    if offered("rustc-web").is_none() {
        // The lists are empty in a fresh container.
        update();
    }
    let (candidate, policy) =
        offered("rustc-web").context("apt offers no package `rustc-web` (Debian 12 has it)")?;
    let version = if policy.contains(RUSTC_WEB) { RUSTC_WEB.to_owned() } else { candidate };
    let minor = version.split('.').take(2).collect::<Vec<_>>().join(".");
    let library = format!("libstd-rust-web-{minor}");
    let needs = process::output("apt-cache", &["depends", &library]).unwrap_or_default();
    let llvm = needs.lines().find_map(|line| line.trim().strip_prefix("Depends: libllvm"));
    let llvm = llvm.with_context(|| format!("apt does not know what {library} needs"))?.to_owned();
    let exactly = |name: &str, version: &str| format!("{name}={version}");
    let mut packages: Vec<_> = ["rustc-web", &library, "libstd-rust-web-dev", "rust-web-src"]
        .iter()
        .map(|name| exactly(name, &version))
        .collect();
    for name in [
        format!("libllvm{llvm}"),
        format!("clang-{llvm}"),
        format!("libclang-cpp{llvm}"),
        format!("libclang-common-{llvm}-dev"),
    ] {
        let pinned = offered(&name).is_some_and(|(_, policy)| policy.contains(LLVM));
        packages.push(if pinned { exactly(&name, LLVM) } else { name });
    }
    packages.push("wasi-libc".to_owned());
    Ok(packages)
}

/// Fetches apt's lists. Only root may, and whoever may not gets a better message from what follows.
fn update() {
    let _ = process::run(Command::new("apt-get").args(["update", "-qq"]));
}

fn download(to: &Path, packages: &[String]) -> Result<()> {
    process::run(
        Command::new("apt-get")
            .current_dir(to)
            // Root would otherwise be warned that another user cannot write here.
            .args(["download", "-qq", "-o", "APT::Sandbox::User=root"])
            .args(packages)
            .stdout(Stdio::null()),
    )
}

fn unpack(debs: &Path, root: &Path) -> Result<()> {
    for deb in fs::read_dir(debs)? {
        let deb = deb?.path();
        process::run(Command::new("dpkg").arg("-x").arg(&deb).arg(root))?;
        fs::remove_file(&deb)?;
    }
    Ok(())
}

/// Where the packages put libraries on this kind of machine.
fn libraries(root: &Path) -> Result<String> {
    let folder = fs::read_dir(root.join("usr/lib"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_str().is_some_and(|path| path.ends_with("-linux-gnu")))
        .context("the packages have no libraries")?;
    let folder = folder.to_str().context("the build folder's path is UTF-8")?.to_owned();
    // Some packages of Debian 12 are not merged into `/usr` yet.
    Ok(format!("{folder}:{}", folder.replacen("/usr/lib/", "/lib/", 1)))
}

/// The packages with the libraries that these programs lack.
fn missing(root: &Path, programs: &[&Path]) -> Result<Vec<String>> {
    let mut packages = Vec::new();
    for program in programs {
        let mut ldd = Command::new("ldd");
        ldd.arg(program).env("LD_LIBRARY_PATH", libraries(root)?);
        let (_, said) = process::everything_said(&mut ldd)?;
        for line in said.lines().filter(|line| line.contains("not found")) {
            let name = line.split_whitespace().next().unwrap_or_default();
            let package = LIBRARIES.iter().find(|(library, _)| *library == name);
            let Some((_, package)) = package else {
                bail!("{} needs {name}, and no package is known to have it", program.display());
            };
            packages.push((*package).to_owned());
        }
    }
    packages.sort();
    packages.dedup();
    Ok(packages)
}
