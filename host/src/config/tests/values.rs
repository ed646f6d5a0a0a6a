//! Where values come from besides the environment, and when they are read anew.

use std::sync::Arc;
use std::time::Duration;

use super::Folder;
use crate::config::{Config, Watch, show};
use crate::upstream::settings::{Secret, TransportSettings};

fn env(folder: &Folder) -> std::collections::BTreeMap<String, Secret> {
    let TransportSettings::Stdio { env, .. } = folder.load().servers.remove(0).transport else {
        panic!("stdio");
    };
    env
}

#[test]
fn values_come_from_files_and_commands() {
    let folder = Folder::new(&[
        (
            "toolcell.toml",
            r#"[servers.a]
            command = "x"
            [servers.a.env]
            FILE = "Bearer ${file:secrets/token}"
            TWO_LINES = "${file:two-lines}"
            COMMAND = "${command:sh -c 'echo \"a  b\"; echo ran >> runs'}"
            AGAIN = "<${command:sh -c 'echo \"a  b\"; echo ran >> runs'}>"
            ENVIRONMENT = "${command:sh -c 'test -n \"$PATH\" && pwd'}"
            ESCAPED = "$${file:x}"
            "#,
        ),
        ("secrets/token", "s3cret-file\n"),
        ("two-lines", "one\ntwo\r\n"),
    ]);
    let env = env(&folder);
    let expected = [
        ("FILE", "Bearer s3cret-file"),
        ("TWO_LINES", "one\ntwo"),
        ("COMMAND", "a  b"),
        ("AGAIN", "<a  b>"),
        ("ESCAPED", "${file:x}"),
    ];
    for (name, value) in expected {
        assert!(env[name] == Secret::new(value), "{name}");
    }
    let here = folder.path("").canonicalize().expect("a folder");
    assert!(env["ENVIRONMENT"] == Secret::new(here.to_str().expect("UTF-8")));
    let runs = std::fs::read_to_string(folder.path("runs")).expect("the command ran");
    assert_eq!(runs, "ran\n", "once per load");
}

#[test]
fn what_gives_no_value_is_told_without_its_output() {
    #[track_caller]
    fn check(value: &str, expected: &str) {
        let text = format!("[servers.a]\ncommand = 'x'\nenv.K = \"\"\"{value}\"\"\"\n");
        let folder = Folder::toml(&text);
        std::fs::write(folder.path("large"), "x".repeat((64 << 10) + 1)).expect("a file");
        std::fs::write(folder.path("binary"), b"\xff").expect("a file");
        let problems = folder.problems();
        let [problem] = &problems[..] else { panic!("{problems:#?}") };
        let cause = problem.split_once("servers.a.env.K: ").expect("a path").1;
        let cause = cause.replace(folder.path("").to_str().expect("UTF-8"), "");
        assert_eq!(cause, expected);
    }
    check("${file:gone}", "gone cannot be read: No such file or directory (os error 2)");
    check("${file:large}", "large gives more than 64KiB");
    check("${file:binary}", "binary gives no UTF-8 text");
    check("${file:}", "no file is named; write ${file:PATH}");
    check("${command:}", "no command is named");
    check("${command:sh -c 'x}", "a quote is never closed");
    check(
        "${command:no-such-program}",
        "the command `no-such-program` cannot be started: No such file or directory (os error 2)",
    );
    check(
        "${command:sh -c 'echo s3cret; echo why >&2; exit 3'}",
        "the command `sh` ended with exit code 3: why",
    );
    check("${command:sh -c 'kill -9 $$'}", "the command `sh` was killed");
    check("${command:yes}", "the command `yes` gives more than 64KiB");
}

#[test]
fn several_commands_run_side_by_side() {
    // Each waits for the other, and none would end alone.
    let meet = |own: &str, other: &str| {
        format!(
            "${{command:sh -c 'touch {own}; until test -e {other}; do sleep 0.01; done; echo {own}'}}"
        )
    };
    let text = format!(
        "[servers.a]\ncommand = 'x'\nenv = {{ A = \"{}\", B = \"{}\" }}\n",
        meet("one", "two"),
        meet("two", "one"),
    );
    let env = env(&Folder::toml(&text));
    assert!(env["A"] == Secret::new("one") && env["B"] == Secret::new("two"));
}

#[test]
fn what_is_in_force_is_shown_without_secrets() {
    let folder = Folder::new(&[
        (
            "toolcell.toml",
            r#"mcp_config = "mcp.json"
            [servers.a]
            command = "x"
            args = ["--token=${TOKEN}", "--key", "s3cret-plain", "--file=${file:secret}", "plain"]
            env = { K = "s3cret-plain", F = "${file:secret}" }
            [servers.b]
            url = "https://me:s3cret-plain@x.example/${TOKEN}?k=s3cret-plain"
            headers = { A = "${TOKEN}", B = "s3cret-plain" }
            proxy = "http://me:s3cret-plain@x.example"
            auth = { client_id = "${command:cat secret}", client_secret = "s3cret-plain" }
            [monitor]
            webhook = "https://x.example/s3cret-plain"
            command = ["notify", "${TOKEN}"]
            "#,
        ),
        ("secret", "s3cret-file"),
        ("mcp.json", r#"{"mcpServers": {"c": {"command": "x", "args": ["${TOKEN}"]}}}"#),
    ]);
    let config = folder.load();
    let shown = show(&config, None).expect("all of it");
    let text = shown.to_string();
    assert!(!text.contains("s3cret"), "{text}");
    let args = &shown["servers"]["a"]["args"];
    let expected = ["--token=${TOKEN}", "--key", "<secret>", "--file=${file:secret}", "plain"];
    assert_eq!(*args, serde_json::json!(expected));
    assert_eq!(shown["servers"]["b"]["url"], "https://<secret>@x.example/${TOKEN}?k=<secret>");
    assert_eq!(shown["servers"]["c"]["args"][0], "${TOKEN}");
    assert_eq!(shown["servers"]["a"]["origin"], "toolcell.toml:2:22: servers.a");
    assert_eq!(shown["servers"]["c"]["origin"], "mcp.json: mcpServers.c");

    let only = show(&config, Some("b")).expect("one of it");
    assert_eq!(only["servers"].as_object().map(serde_json::Map::len), Some(1));
    let error = show(&config, Some("d")).expect_err("none of it");
    assert!(error.to_string().starts_with("no server is called `d`"), "{error}");
}

/// A hangup is heard by all who watch in this process, so one test watches at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Starts to watch, with looks in quick succession.
fn watch(folder: &Folder) -> (Config, Watch) {
    let lookup = Arc::new(|_: &str| None);
    let period = Duration::from_millis(50);
    Watch::start_every(period, None, &folder.path(""), lookup).expect("it can be read")
}

#[tokio::test]
async fn a_changed_file_is_read_anew_and_problems_are_told_once() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new(&[
        ("toolcell.toml", "[servers.a]\ncommand = 'x'\nenv.K = '${file:secret}'\n"),
        ("secret", "one"),
    ]);
    let (config, mut watch) = watch(&folder);
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path(name), text).expect("a file can be written");
    };
    // A value's file, then a mistake, then its cure.
    write("secret", "two");
    let changed = watch.next().await.expect("it can be read");
    assert_ne!(changed.servers, config.servers);
    write("toolcell.toml", "[server.a]\n");
    watch.next().await.expect_err("a problem");
    let quiet = tokio::time::timeout(Duration::from_millis(500), watch.next()).await;
    assert!(quiet.is_err(), "a problem is told once");
    write("toolcell.toml", "mcp_config = 'later.json'\n");
    watch.next().await.expect_err("a file is missing");
    write("later.json", r#"{"mcpServers": {"b": {"command": "x"}}}"#);
    let cured = watch.next().await.expect("it can be read");
    assert_eq!(cured.servers[0].name.as_str(), "b");
}

#[cfg(unix)]
#[tokio::test]
async fn a_hangup_asks_again_for_what_no_file_tells() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new(&[
        ("toolcell.toml", "[servers.a]\ncommand = 'x'\nenv.K = '${command:cat secret}'\n"),
        ("secret", "one"),
    ]);
    let (config, mut watch) = watch(&folder);
    std::fs::write(folder.path("secret"), "two").expect("a file can be written");
    let quiet = tokio::time::timeout(Duration::from_millis(500), watch.next()).await;
    assert!(quiet.is_err(), "a command's sources are not known");
    // SAFETY: the watch has taken the signal's handling over, for this whole process.
    unsafe {
        libc::raise(libc::SIGHUP);
    }
    let changed = watch.next().await.expect("it can be read");
    assert_ne!(changed.servers, config.servers);
}
