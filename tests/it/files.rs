//! The built-in `files` upstream, through scripts: what it does, and that nothing outside of its
//! roots can be reached.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use toolcell_tests::{Cli, Finished};

const CONFIG: &str = r#"
[servers.files]
builtin = "files"
[servers.files.roots]
work = "work"
docs = { path = "docs", read_only = true }
"#;

/// Runs code with two roots in an empty folder, `work` and the read-only `docs`, and a secret beside.
#[track_caller]
fn run(code: &str) -> Finished {
    let cli = Cli::new("run").config(CONFIG);
    let cli = cli.file("work/a.txt", "alpha\nbeta\n").file("work/sub/b.txt", "beta two\n");
    let cli = cli.file("docs/readme.md", "read me").file("secret.txt", "the secret");
    let outside = cli.folder().join("secret.txt");
    symlink(&outside, cli.folder().join("work/link")).expect("a link can be made");
    symlink("..", cli.folder().join("work/up")).expect("a link can be made");
    let code = format!("from tools import files\n{code}");
    cli.arg("--json").args(["-c", &code]).run()
}

#[test]
fn a_script_reads_writes_edits_lists_searches_and_looks() {
    let run = run(r#"
files.write_file(path="work/new.txt", text="one two")
files.edit_file(path="work/new.txt", old_text="two", new_text="zwei")
files.create_directory(path="work/deep/er")
{
    "read": files.read_file(path="work/new.txt")["text"],
    "part": files.read_file(path="work/a.txt", offset=6, limit=4)["text"],
    "list": [entry["name"] for entry in files.list_directory(path="work")["entries"]],
    "found": [(match["path"], match["line"]) for match in files.search_files(pattern="*.txt", contains="beta")["matches"]],
    "size": files.stat(path="work/a.txt")["size_bytes"],
    "kind": files.stat(path="work/deep/er")["kind"],
    "readme": files.read_file(path="docs/readme.md")["text"],
}
"#)
    .success();
    let expected = json!({
        "read": "one zwei",
        "part": "beta",
        "list": ["a.txt", "deep", "link", "new.txt", "sub", "up"],
        "found": [["work/a.txt", 2], ["work/sub/b.txt", 1]],
        "size": 11,
        "kind": "directory",
        "readme": "read me",
    });
    assert_eq!(run.json()["value"], expected, "{run}");
}

#[test]
fn nothing_outside_of_the_roots_can_be_reached() {
    let run = run(r#"
paths = [
    "work/../secret.txt", "work/link", "work/up/secret.txt", "/etc/passwd", "../secret.txt",
    "work/sub/../../secret.txt", "secret.txt", "work//../secret.txt", "work/./../secret.txt",
    "work/\0/../secret.txt", "docs/../work/../secret.txt",
]
seen = []
for path in paths:
    for attempt in (
        lambda: files.read_file(path=path),
        lambda: files.write_file(path=path, text="gone"),
        lambda: files.edit_file(path=path, old_text="the secret", new_text="gone"),
        lambda: files.create_directory(path=path + "/made"),
    ):
        try:
            seen.append([path, attempt()])
        except tools.ToolError as error:
            assert "the secret" not in str(error), error
found = files.search_files(pattern="**", contains="the secret")["matches"]
[seen, found]
"#)
    .success();
    assert_eq!(run.json()["value"], json!([[], []]), "{run}");
}

#[test]
fn the_secret_beside_the_roots_stays_as_it_was() {
    let cli = Cli::new("run").config(CONFIG).file("secret.txt", "the secret");
    let cli = cli.file("work/a", "").file("docs/a", "");
    let secret = cli.folder().join("secret.txt");
    symlink(&secret, cli.folder().join("work/link")).expect("a link can be made");
    let code = "
for path in ('work/link', 'work/../secret.txt'):
    try:
        tools['files']['write_file'](path=path, text='gone')
    except tools.ToolError:
        pass
print('tried')";
    let running = cli.args(["-c", code]).spawn();
    running.wait_for_line("tried");
    assert_eq!(
        fs::read_to_string(running.folder().join("secret.txt")).ok().as_deref(),
        Some("the secret")
    );
    running.finish(std::time::Duration::from_secs(10)).success();
}

#[test]
fn a_read_only_root_refuses_whatever_writes_in_words() {
    let run = run(r#"
seen = []
for attempt in (
    lambda: files.write_file(path="docs/new.txt", text="x"),
    lambda: files.edit_file(path="docs/readme.md", old_text="read", new_text="write"),
    lambda: files.create_directory(path="docs/new"),
):
    try:
        seen.append(attempt())
    except tools.ToolError as error:
        seen.append(type(error).__name__ + " " + str("read-only" in str(error)))
seen.append(files.read_file(path="docs/readme.md")["text"])
seen
"#)
    .success();
    let refused = "ToolError True";
    assert_eq!(run.json()["value"], json!([refused, refused, refused, "read me"]), "{run}");
}

#[test]
fn where_all_is_read_only_the_writing_tools_are_not_even_offered() {
    let toml = "[servers.files]\nbuiltin = \"files\"\nroots = { docs = { path = \".\", read_only = true } }\n";
    let tools = Cli::new("tools").config(toml).run().success();
    assert!(tools.stdout.contains("read_file") && !tools.stdout.contains("write_file"), "{tools}");
}

#[test]
fn what_cannot_be_done_is_said_so_that_the_script_can_go_on() {
    let run = run(r#"
seen = []
for attempt in (
    lambda: files.read_file(path="work/missing.txt"),
    lambda: files.read_file(path="wrok/a.txt"),
    lambda: files.edit_file(path="work/a.txt", old_text="gamma", new_text="delta"),
    lambda: files.read_file(path="work/sub"),
):
    try:
        seen.append(attempt())
    except tools.ToolError as error:
        seen.append(str(error))
seen
"#)
    .success();
    let value = run.json()["value"].clone();
    let words: Vec<&str> =
        value.as_array().into_iter().flatten().filter_map(|it| it.as_str()).collect();
    assert_eq!(words.len(), 4, "{run}");
    assert!(words[0].contains("missing.txt"), "{run}");
    assert!(words[1].contains("work"), "the roots are named: {run}");
    assert!(words[2].contains("not"), "{run}");
    assert!(words[3].contains("directory"), "{run}");
}

#[test]
fn a_root_that_is_not_there_is_named() {
    let toml = "[servers.files]\nbuiltin = \"files\"\nroots = { data = \"no/such/folder\" }\n";
    let check = Cli::new("check").config(toml).run().expect_code(1);
    assert!(check.stdout.contains("no/such/folder"), "{check}");
    let run =
        Cli::new("run").config(toml).args(["-c", "tools['files']['stat'](path='data')"]).run();
    let run = run.expect_code(4);
    assert!(run.stderr.contains("no/such/folder"), "{run}");
}
