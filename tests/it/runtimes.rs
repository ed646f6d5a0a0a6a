//! The cache of language runtimes: listed, verified, removed, and never trusted when something is
//! wrong with it. Every test works on a copy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use toolcell_tests::Cli;
use toolcell_tests::cli::toolcell;
use toolcell_tests::guests::guest;

use crate::hosts::cache_folder;

/// Compiling takes some seconds, and several at once take longer.
const PATIENCE: Duration = Duration::from_secs(300);

fn runtimes(cache: &Path, args: &[&str]) -> Cli {
    let cli = Cli::new("runtimes").arg("--cache-dir").arg(cache);
    cli.args(args.iter().copied()).limit(PATIENCE)
}

fn sum(cache: &Path) -> Cli {
    Cli::new("run").args(["-q", "-c", "1 + 1", "--cache-dir"]).arg(cache).limit(PATIENCE)
}

/// A copy of the current Python runtime's files that `wanted` wants.
struct Copy {
    _folder: TempDir,
    cache: PathBuf,
    runtime: PathBuf,
}

impl Copy {
    fn new(wanted: impl Fn(&str) -> bool) -> Self {
        let list = runtimes(&cache_folder(), &["--json"]).run().success().json();
        let list = list["runtimes"].as_array().expect("a list").clone();
        let python =
            |runtime: &&Value| runtime["id"].as_str().is_some_and(|id| id.starts_with("python-"));
        let current = list.iter().filter(python).find(|runtime| runtime["current"] == true);
        let from = current.and_then(|runtime| runtime["folder"].as_str());
        let from = Path::new(from.expect("the current runtime is built"));
        let folder = TempDir::with_prefix("toolcell-cache-").expect("a temporary folder");
        let cache = folder.path().join("cache");
        let runtime = cache.join(from.file_name().expect("a name"));
        fs::create_dir_all(&runtime).expect("a folder can be made");
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).expect("ours");
        for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
            let name = entry.file_name().into_string().expect("UTF-8");
            if wanted(&name) {
                fs::copy(entry.path(), runtime.join(&name)).expect("copies");
            }
        }
        Self { _folder: folder, cache, runtime }
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.runtime).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
        let mut names: Vec<String> = names.map(|name| name.expect("UTF-8")).collect();
        names.sort();
        names
    }

    fn compiled(&self) -> PathBuf {
        let names = self.files();
        let name = names.iter().find(|name| name.ends_with(".cwasm")).expect("compiled code");
        self.runtime.join(name)
    }
}

fn change_a_byte(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().read(true).write(true).open(path).expect("opens");
    let middle = file.metadata().expect("is there").len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).expect("reads");
    file.write_all_at(&[byte[0] ^ 0xff], middle).expect("writes");
}

fn sound(listing: &Value) -> &Value {
    &listing["runtimes"][0]["sound"]
}

#[test]
fn the_cache_is_listed_verified_and_removed() {
    let copy = Copy::new(|_| true);
    let verified = runtimes(&copy.cache, &["verify", "--json"]).run().success().json();
    assert_eq!(sound(&verified), true);
    let listed = runtimes(&copy.cache, &[]).run().success();
    assert!(listed.stdout.contains("python-") && listed.stdout.contains("current"), "{listed}");

    change_a_byte(&copy.runtime.join("runtime.wasm"));
    let verified = runtimes(&copy.cache, &["verify", "--json"]).run().expect_code(1);
    assert_eq!(sound(&verified.json()), false);
    assert!(verified.stderr.contains("rebuilt at its next use"), "{verified}");
    // What is compiled is sound and enough.
    assert_eq!(sum(&copy.cache).run().success().stdout, "2\n");

    fs::create_dir(copy.cache.join("python-0000000000000000")).expect("a folder can be made");
    let listed = runtimes(&copy.cache, &[]).run().success();
    assert!(listed.stdout.contains("stale"), "{listed}");
    runtimes(&copy.cache, &["remove"]).run().success();
    assert!(copy.runtime.exists() && !copy.cache.join("python-0000000000000000").exists());
    runtimes(&copy.cache, &["remove", "--all"]).run().success();
    assert!(!copy.runtime.exists());
    let none = runtimes(&copy.cache, &["list"]).run().success();
    assert_eq!(none.stdout, "none\n");
}

#[test]
fn corrupt_code_is_not_run_but_compiled_again() {
    let copy = Copy::new(|_| true);
    let compiled = copy.compiled();
    let stamp = compiled.with_extension("cwasm.stamp");
    fs::write(&stamp, "{\"blake3\":").expect("writes");
    runtimes(&copy.cache, &["verify"]).run().expect_code(1);
    change_a_byte(&compiled);
    let run = sum(&copy.cache).run().success();
    assert_eq!(run.stdout, "2\n");
    assert!(run.stderr.contains("compiling the python runtime"), "{run}");
    runtimes(&copy.cache, &["verify"]).run().success();
    let again = sum(&copy.cache).run().success();
    assert_eq!(again.stderr, "", "the second start finds it compiled");

    // An attacker who can also mend the size and the times is seen as well: the file is not the one
    // that was stamped.
    let bytes = fs::read(&compiled).expect("reads");
    fs::write(&compiled, &bytes[..bytes.len() / 2]).expect("writes");
    let verified = runtimes(&copy.cache, &["verify", "--json"]).run().expect_code(1).json();
    assert_eq!(sound(&verified), false);
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_half_written() {
    let copy = Copy::new(|name| name.starts_with("runtime.wasm"));
    // No file may grow over a megabyte, and whoever tries is told so instead of killed.
    let script = "trap '' XFSZ; ulimit -f 1024; exec \"$@\"";
    let output = Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(toolcell())
        .args(["run", "-c", "1 + 1", "--cache-dir"])
        .arg(&copy.cache)
        .output()
        .expect("bash starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for part in ["cannot write", ".cwasm", "TOOLCELL_CACHE_DIR", "File too large"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert_eq!(copy.files(), ["runtime.wasm", "runtime.wasm.stamp"]);
}

#[test]
fn a_cache_that_is_not_ours_alone_is_refused() {
    let folder = TempDir::new().expect("a temporary folder");
    for (mode, refused) in [(0o777, true), (0o770, true), (0o755, false)] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("ours");
        let listed = runtimes(folder.path(), &["list"]).run();
        if refused {
            let listed = listed.expect_code(2);
            assert!(listed.stderr.contains("can be written to by other users"), "{listed}");
            sum(folder.path()).run().expect_code(2);
        } else {
            listed.success();
        }
    }
    let file = folder.path().join("file");
    fs::write(&file, "").expect("writes");
    let said = sum(&file).run().expect_code(2);
    assert!(said.stderr.contains("cache folder"), "{said}");
}

#[test]
fn code_of_plugins_that_nobody_used_for_long_is_removed() {
    let folder = TempDir::with_prefix("toolcell-cache-").expect("a temporary folder");
    let cache = folder.path().join("cache");
    let inspect = |name: &str| {
        let plugin = Cli::new("plugin").arg("inspect").arg(guest(name)).arg("--cache-dir");
        plugin.arg(&cache).limit(PATIENCE).run().success();
    };
    let plugins = || {
        let list = runtimes(&cache, &["--json"]).run().success().json();
        let all = list["runtimes"].as_array().expect("a list").clone();
        let one = |it: Value| (it["id"].as_str().expect("an id").to_owned(), it["current"] == true);
        all.into_iter().map(one).collect::<Vec<_>>()
    };
    let aged = |name: &str, days: u64| {
        let path = cache.join(name);
        let _ = fs::create_dir(&path);
        let time = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
        fs::File::open(&path).and_then(|folder| folder.set_modified(time)).expect("ours");
    };
    inspect("typed");
    let (typed, _) = plugins().remove(0);
    assert!(typed.starts_with("plugin-"), "{typed}");
    aged("plugin-old", 31);
    aged("plugin-young", 29);
    aged("toolchain-python-old", 300);
    aged(&typed, 29);
    // Using it keeps it; what is used by nobody goes when something new comes.
    inspect("typed");
    assert!(cache.join("plugin-old").exists(), "nothing was compiled");
    inspect("echoes");
    let left = plugins();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(!cache.join("plugin-old").exists() && cache.join("plugin-young").exists());
    assert!(cache.join("toolchain-python-old").exists(), "which is no plugin's");
    aged("plugin-young", 29);
    assert!(
        left.contains(&(typed.clone(), true)) && left.contains(&("plugin-young".into(), false))
    );
    let modified = fs::metadata(cache.join(&typed)).and_then(|it| it.modified()).expect("ours");
    assert!(modified.elapsed().is_ok_and(|age| age < PATIENCE), "it was used");

    // One that this engine did not compile is stale at once, where somebody asks.
    runtimes(&cache, &["remove"]).run().success();
    assert_eq!(plugins().len(), 2);
    aged(&typed, 31);
    runtimes(&cache, &["remove"]).run().success();
    assert_eq!(plugins().len(), 1);
    runtimes(&cache, &["remove", "--all"]).run().success();
    assert!(plugins().is_empty());
    inspect("typed");
}
