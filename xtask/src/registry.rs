//! What the tests of plugins' distribution run against: Debian's `docker-registry` and its `cosign`, of
//! both forms of signatures. Fetched by apt from Debian's own archive and unpacked below
//! `target/fixtures/debian/`; nothing is installed on the machine.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::fixtures::once;
use crate::process;
use crate::workspace::Workspace;

/// What tells Debian's archive from anybody else's.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A package, the release of Debian that has it, and the folder that it is unpacked into.
const PACKAGES: [(&str, &str, &str); 3] = [
    ("docker-registry", "trixie", "docker-registry"),
    ("cosign", "trixie", "cosign-2"),
    ("cosign", "sid", "cosign-3"),
];

/// Unpacks what is not there yet. A machine without apt or Debian's keys goes without, and the tests
/// that need them say so.
///
/// # Errors
/// The archive cannot be reached.
pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    let root = workspace.target.join("fixtures/debian");
    fs::create_dir_all(&root).with_context(|| format!("failed to create {}", root.display()))?;
    let lock = File::create(root.join("lock"))?;
    lock.lock().context("failed to lock the packages' folder")?;
    let unavailable = root.join("unavailable");
    let has = |program: &str| process::output(program, &["--version"]).is_some();
    if !(has("apt-get") && has("dpkg") && Path::new(KEYRING).exists()) {
        eprintln!(
            "==> skipped: the tests against a real registry and the real cosign need apt and \
             {KEYRING} (Debian, Ubuntu: `apt install debian-archive-keyring`)"
        );
        fs::write(unavailable, "")?;
        return Ok(());
    }
    if unavailable.exists() {
        fs::remove_file(unavailable)?;
    }
    for (package, release, folder) in PACKAGES {
        let title = format!("fetching {package} from Debian {release}");
        once(&root.join(folder), &title, || unpack(package, release, &root.join(folder)))?;
    }
    Ok(())
}

/// Fetches a package with lists of our own, whatever the machine's are.
fn unpack(package: &str, release: &str, to: &Path) -> Result<()> {
    let apt = to.join("apt");
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    let sources = apt.join("sources.list");
    let line = format!("deb [signed-by={KEYRING}] http://deb.debian.org/debian {release} main\n");
    fs::write(&sources, line)?;
    let options = [
        format!("Dir::Etc::SourceList={}", sources.display()),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::Lists={}", apt.join("lists").display()),
        format!("Dir::Cache={}", apt.join("cache").display()),
    ];
    let apt_get = || {
        let mut command = Command::new("apt-get");
        command.current_dir(&apt).arg("-qq");
        for option in &options {
            command.args(["-o", option]);
        }
        // apt's own user may not write below the build folder.
        command.args(["-o", "APT::Sandbox::User=root"]);
        command
    };
    process::run(apt_get().arg("update"))?;
    process::run(apt_get().args(["download", package]))?;
    let archives = fs::read_dir(&apt)?.filter_map(Result::ok).map(|entry| entry.path());
    let archive = archives.into_iter().find(|path| path.extension().is_some_and(|e| e == "deb"));
    let archive = archive.with_context(|| format!("apt-get brought no {package}"))?;
    process::run(Command::new("dpkg").arg("-x").arg(archive).arg(to))?;
    fs::remove_dir_all(&apt)?;
    Ok(())
}
