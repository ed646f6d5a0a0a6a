//! `toolcell plugin`: a plugin is looked at, installed, used, replaced and removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use toolcell_tests::guests::guest;
use toolcell_tests::{Cli, Finished};

/// Compiling takes a while when many do it at once.
const PATIENCE: Duration = Duration::from_secs(300);

/// A folder with a configuration, in which one command follows another.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    pub(crate) fn new(config: &str) -> Self {
        let folder = TempDir::with_prefix("toolcell-plugins-").expect("a temporary folder");
        fs::write(folder.path().join("toolcell.toml"), config).expect("writes");
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("has one")).expect("makes");
        fs::write(path, text).expect("writes");
    }

    pub(crate) fn cli(&self, args: &[&str]) -> Cli {
        let (command, rest) = args.split_first().expect("a command");
        let config = self.path("toolcell.toml");
        let cli = Cli::new(command).arg("--config").arg(config).args(rest.iter().copied());
        cli.limit(PATIENCE)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        self.cli(args).run()
    }

    pub(crate) fn plugin(&self, args: &[&str]) -> Finished {
        self.run(&[&["plugin"], args].concat())
    }

    /// A guest with a manifest beside it.
    pub(crate) fn with_manifest(&self, name: &str, guest_name: &str, manifest: &str) -> String {
        let file = self.path(&format!("{name}.wasm"));
        fs::copy(guest(guest_name), &file).expect("copies");
        self.write(&format!("{name}.toml"), manifest);
        text(&file)
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_component_of_others_is_installed_used_and_removed() {
    let home = Home::new("");
    let typed = text(&guest("typed"));
    let seen = home.plugin(&["inspect", &typed, "--json"]).success().json();
    assert_eq!(seen["kind"], "typed", "{seen}");
    let added = home.plugin(&["add", &typed, "--json"]).success().json();
    assert_eq!(added["name"], "typed");
    assert_eq!(added["sha256"], seen["sha256"]);
    let lock = home.read("toolcell.lock");
    assert!(lock.contains(seen["sha256"].as_str().expect("a digest")), "{lock}");

    let tools = home.run(&["tools", "typed"]).success().stdout;
    assert!(tools.contains("+ greet"), "{tools}");
    let greeted = home.run(&["call", "typed.greet", "--args", r#"{"name":"you"}"#]).success();
    assert!(greeted.stdout.contains("you"), "{}", greeted.stdout);
    let list = home.plugin(&["list", "--json"]).success().json();
    assert_eq!(list["plugins"][0]["state"], "accepted", "{list}");

    home.plugin(&["remove", "typd"]).expect_code(2);
    home.plugin(&["remove", "typed"]).success();
    assert!(!home.path("plugins/typed.wasm").exists() && !home.path("plugins/typed.toml").exists());
    assert!(!home.read("toolcell.lock").contains("typed"));
}

#[test]
fn what_it_asks_for_is_granted_by_a_section_that_leaves_the_rest_as_it_is() {
    let config = "# mine\n[servers.files] # here\nbuiltin = \"files\"\n\
                  roots = { here = { path = \".\" } }\n";
    let home = Home::new(config);
    let manifest = "name = \"caller\"\nversion = \"0.2.0\"\n\
                    [asks]\ntools = [\"files.read_file\", \"mail.send\"]\n";
    let file = home.with_manifest("caller", "caller", manifest);
    let told = home.plugin(&["add", &file]).success().stdout;
    assert!(told.contains("it asks for tools files.read_file: not granted"), "{told}");
    assert!(told.contains("[plugins.caller]\ntools = [\"files.read_file\"]"), "{told}");
    assert!(told.contains("no server fits `mail.send`"), "{told}");
    home.plugin(&["add", &file, "--grant"]).success();
    let expected = format!("{config}\n[plugins.caller]\ntools = [\"files.read_file\"]\n");
    assert_eq!(home.read("toolcell.toml"), expected);

    home.write("note.txt", "hello from a file");
    let order = json!({ "tool": "files.read_file", "arguments": { "path": "here/note.txt" } });
    let called = home.run(&["call", "caller.call", "--args", &order.to_string()]);
    assert!(called.stdout.contains("hello from a file"), "{}{}", called.stdout, called.stderr);
    let order = json!({ "tool": "files.list_directory", "arguments": { "path": "here" } });
    home.run(&["call", "caller.call", "--args", &order.to_string()]).expect_code(1);
}

#[test]
fn a_version_that_grew_is_refused_until_it_is_accepted() {
    let home = Home::new("");
    let manifest = |version: &str, asks: &str| {
        format!("name = \"mine\"\nversion = \"{version}\"\n[asks]\ntools = [{asks}]\n")
    };
    let file = home.with_manifest("mine", "echoes", &manifest("0.1.0", "\"a.b\""));
    home.plugin(&["add", &file]).success();
    let before = (home.read("toolcell.lock"), home.read("plugins/mine.toml"));

    let file = home.with_manifest("mine", "typed", &manifest("0.2.0", "\"a.*\""));
    let refused = home.plugin(&["add", &file]).expect_code(1);
    for words in ["+ tool greet", "+ asks for tools \"a.*\"", "add it with --accept"] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    assert_eq!((home.read("toolcell.lock"), home.read("plugins/mine.toml")), before);
    home.plugin(&["add", &file, "--accept"]).success();
    assert!(home.read("plugins/mine.toml").contains("0.2.0"));
}

#[test]
fn a_file_that_was_changed_behind_the_lock_is_refused() {
    let home = Home::new("");
    let file = home.with_manifest("mine", "echoes", "name = \"mine\"\nversion = \"0.1.0\"\n");
    home.plugin(&["add", &file]).success();
    fs::copy(guest("typed"), home.path("plugins/mine.wasm")).expect("copies");
    let list = home.plugin(&["list"]).expect_code(1).stdout;
    assert!(list.contains("is not the file that was accepted"), "{list}");
    let called = home.run(&["call", "mine.greet", "--args", r#"{"name":"you"}"#]);
    assert_ne!(called.code(), Some(0), "{}", called.stdout);
    assert!(called.stderr.contains("toolcell plugin add --accept mine"), "{}", called.stderr);
}

#[test]
fn a_file_that_was_merely_put_there_is_loaded_unless_the_operator_says_no() {
    let home = Home::new("");
    fs::create_dir_all(home.path("plugins")).expect("makes");
    fs::copy(guest("typed"), home.path("plugins/mine.wasm")).expect("copies");
    let list = home.plugin(&["list", "--json"]).success().json();
    assert_eq!(list["plugins"][0]["state"], "dropped", "{list}");
    home.run(&["call", "mine.greet", "--args", r#"{"name":"you"}"#]).success();
    home.write("toolcell.toml", "plugins_locked = true\n");
    let called = home.run(&["call", "mine.greet", "--args", r#"{"name":"you"}"#]);
    assert!(called.stderr.contains("plugins_locked = true"), "{}", called.stderr);
    home.plugin(&["list"]).expect_code(1);
    home.plugin(&["add", "mine"]).success();
    home.plugin(&["list"]).success();
    home.run(&["call", "mine.greet", "--args", r#"{"name":"you"}"#]).success();
}

#[test]
fn a_projects_tests_run_in_the_real_host_against_recorded_answers() {
    let home = Home::new("");
    home.write(
        "p/plugin.toml",
        "name = \"caller\"\nversion = \"0.1.0\"\n[asks]\ntools = [\"search.*\"]\n\
         [build]\nlanguage = \"rust\"\n",
    );
    fs::create_dir_all(home.path("p/dist")).expect("makes");
    fs::copy(guest("caller"), home.path("p/dist/caller.wasm")).expect("copies");
    let case = |arguments: &str, expect: &str| {
        format!(
            "tool = \"call\"\narguments = {{ tool = \"search.query\", arguments = {arguments} }}\n\
             [[calls]]\ntool = \"search.query\"\narguments = {{ q = \"mcp\" }}\ntext = \"three hits\"\n\
             [expect]\n{expect}\n"
        )
    };
    let project = text(&home.path("p"));
    home.write("p/tests/good.toml", &case("{ q = \"mcp\" }", "contains = \"three hits\""));
    home.write(
        "p/tests/down.toml",
        "tool = \"call\"\narguments = { tool = \"search.query\" }\n[[calls]]\n\
         tool = \"search.query\"\nunavailable = \"connection refused\"\n[expect]\nerror = \"refused\"\n",
    );
    let ran = home.plugin(&["test", &project]);
    assert!(ran.stdout.contains("2 tests, 0 failed"), "{}{}", ran.stdout, ran.stderr);
    ran.success();

    home.write("p/tests/other.toml", &case("{ q = \"mpc\" }", "contains = \"three hits\""));
    let ran = home.plugin(&["test", &project]).expect_code(1).stdout;
    for words in [
        "FAILED  other",
        "it called search.query with {\"q\":\"mpc\"}",
        "it did not call search.query with {\"q\":\"mcp\"}",
        "3 tests, 1 failed",
    ] {
        assert!(ran.contains(words), "{ran}");
    }
    let one = home.plugin(&["test", &project, "--only", "good", "--json"]).success().json();
    assert_eq!(one["tests"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_new_project_is_written_once() {
    let home = Home::new("");
    let folder = text(&home.path("my-plugin"));
    let new = ["new", "my-plugin", "--lang", "python", "--dir", &folder];
    let told = home.plugin(&new).success().stdout;
    assert!(told.contains("toolcell plugin build"), "{told}");
    assert!(home.read("my-plugin/plugin.toml").contains("name = \"my-plugin\""));
    let again = home.plugin(&new).expect_code(2).stderr;
    assert!(again.contains("is not empty"), "{again}");
    home.plugin(&["new", "no name"]).expect_code(2);
}
