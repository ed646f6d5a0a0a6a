//! What is no plugin, or none that can be used: told clearly and early, and nothing half installed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use toolcell_tests::Cli;
use toolcell_tests::guests::guest;

const PATIENCE: Duration = Duration::from_secs(300);

/// A folder in which nothing is installed yet.
struct Home(TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let folder = TempDir::with_prefix("toolcell-bad-").expect("a temporary folder");
        fs::write(folder.path().join("toolcell.toml"), config).expect("writes");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), bytes).expect("writes");
        self.path(name)
    }

    fn add(&self, source: &Path, more: &[&str]) -> toolcell_tests::Finished {
        let cli = Cli::new("plugin").arg("--config").arg(self.path("toolcell.toml")).arg("add");
        cli.arg(source).args(more.iter().copied()).limit(PATIENCE).run()
    }

    /// Adding it fails, the words say why, and there is nothing afterwards.
    #[track_caller]
    fn refuses(&self, source: &Path, words: &[&str]) {
        let refused = self.add(source, &[]).expect_code(2);
        for words in words {
            assert!(refused.stderr.contains(words), "no {words:?} in: {}", refused.stderr);
        }
        assert!(!self.path("toolcell.lock").exists());
        let left = fs::read_dir(self.path("plugins")).map(Iterator::count).unwrap_or_default();
        assert_eq!(left, 0, "something is half installed");
    }
}

#[test]
fn what_is_no_plugin_is_refused_with_words() {
    let home = Home::new("");
    home.refuses(&home.file("text.wasm", "I am a text"), &["it is not WebAssembly"]);
    home.refuses(&home.file("empty.wasm", ""), &["it is not WebAssembly"]);
    home.refuses(
        &home.file("core.wasm", b"\0asm\x01\0\0\0"),
        &["it is a core module", "wasm32-wasip2"],
    );
    home.refuses(&guest("newer"), &["it was built for toolcell:guest"]);
    home.refuses(&guest("alien"), &["it imports what a plugin cannot have"]);
    home.refuses(&guest("liar_duplicates"), &["its tool"]);
    home.refuses(&guest("liar_schema"), &["its tool"]);
    let whole = fs::read(guest("typed")).expect("reads");
    let half = home.file("half.wasm", &whole[..whole.len() / 2]);
    home.refuses(&half, &["it is damaged"]);
    home.refuses(&home.path("nowhere.wasm"), &["neither a file nor a project"]);
}

#[test]
fn a_file_larger_than_any_plugin_is_not_read() {
    let home = Home::new("");
    let path = home.path("large.wasm");
    // Sparse: it takes no room, and reading it would take its time.
    File::create(&path).and_then(|file| file.set_len(200 << 20)).expect("makes");
    home.refuses(&path, &["has 209715200 bytes, and a plugin has at most 67108864"]);
}

#[test]
fn a_manifest_with_a_fault_is_told_with_its_line() {
    let home = Home::new("");
    let file = home.path("echoes.wasm");
    fs::copy(guest("echoes"), &file).expect("copies");
    let with = |more: &str| {
        home.file("echoes.toml", format!("name = \"echoes\"\nversion = \"0.1.0\"\n{more}\n"));
    };
    with("[asks]\ntools = [\"*\"]");
    home.refuses(&file, &["line 4", "\"*\", which is everything; name what the plugin uses"]);
    with("[asks]\ntools = [\"*.*\"]");
    home.refuses(&file, &["which is everything"]);
    with("[ask]");
    home.refuses(&file, &["unknown field `ask`"]);
    with("tools = [\"other\"]");
    home.refuses(
        &file,
        &["names the tool `other`, and the component has no such tool; it has echo"],
    );
    home.file("echoes.toml", vec![b'#'; 100_000]);
    home.refuses(&file, &["has 100000 bytes"]);
}

#[test]
fn names_that_somebody_has_are_refused() {
    let config = "[servers.echoes]\nbuiltin = \"files\"\nroots = { here = { path = \".\" } }\n";
    let home = Home::new(config);
    home.refuses(&guest("echoes"), &["a server is called `echoes`", "--name"]);
    // `a_b.c` and `a.b_c` would be one name for an agent; here it is a dash.
    home.add(&guest("echoes"), &["--name", "a-b"]).success();
    let clash = home.add(&guest("echoes"), &["--name", "a_b"]).expect_code(2).stderr;
    assert!(clash.contains("under one name, `a_b_echo`"), "{clash}");
    assert!(!home.path("plugins/a_b.wasm").exists());
}

#[test]
fn sections_that_mean_nothing_are_told() {
    let check = |config: &str| {
        let cli = Cli::new("config").config(config).arg("check");
        let ended = cli.limit(PATIENCE).run();
        (ended.code(), format!("{}{}", ended.stdout, ended.stderr))
    };
    let (code, text) = check("[plugins.reserach]\n");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("no plugin `reserach` is installed, so this grants nothing"), "{text}");
    let (code, text) = check(
        "[servers.a]\nbuiltin = \"files\"\nroots = { x = { path = \".\" } }\n\
         [plugins.a]\ntools = [\"b.c\"]\nlimits = { fule = 1 }\nstateful = \"0s\"\n\
         [plugins.\"no name\"]\n",
    );
    assert_eq!(code, Some(2), "{text}");
    for words in [
        "a server is called `a`: toolcell.toml:1:",
        "no server is called `b`",
        "unknown key `fule`",
        "plugins.a.stateful",
        "\"no name\" is no plugin's name",
    ] {
        assert!(text.contains(words), "no {words:?} in: {text}");
    }
}
