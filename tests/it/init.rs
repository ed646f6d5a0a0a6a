//! `toolcell init`: from nothing to a script, and from other clients' configurations to ours.

use std::fs;

use serde_json::{Value, json};
use toolcell_tests::cli::{Finished, toolcell};
use toolcell_tests::{Cli, fixtures};

/// What it wrote.
fn written(cli: Cli) -> (Finished, String) {
    let file = cli.folder().join("toolcell.toml");
    let running = cli.spawn();
    // The folder is gone with the process.
    let folder = running.folder().to_owned();
    assert!(file.starts_with(&folder));
    let told = running.wait_for_line("docs/clients/");
    assert!(told.contains("Python"));
    let text = fs::read_to_string(file).expect("it wrote the file");
    (running.finish(toolcell_tests::processes::PATIENCE).success(), text)
}

/// Runs `toolcell ARGS` in the folder of another.
fn then(folder: &std::path::Path, args: &[&str]) -> std::process::Output {
    let cli = Cli::new(args[0]);
    let mut command = std::process::Command::new(toolcell());
    command.args(args).current_dir(folder).env("TOOLCELL_CACHE_DIR", cli.cache_folder());
    command.output().expect("toolcell starts")
}

#[test]
fn from_nothing_to_a_script() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let done = then(folder.path(), &["init"]);
    assert!(done.status.success(), "{done:?}");
    let told = String::from_utf8_lossy(&done.stdout);
    for part in ["wrote ", "claude mcp add toolcell -- ", "\"mcpServers\"", "\"servers\""] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    fs::write(folder.path().join("notes.txt"), "remember the milk").expect("a file can be written");
    let script = "from tools import files\nfiles.read_file(path='project/notes.txt')";
    let run = then(folder.path(), &["run", "-c", script]);
    assert!(String::from_utf8_lossy(&run.stdout).contains("remember the milk"), "{run:?}");

    // A second one changes nothing.
    let file = folder.path().join("toolcell.toml");
    fs::write(&file, "# mine\n").expect("a file can be written");
    let refused = then(folder.path(), &["init"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force replaces it"));
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "# mine\n");
    assert!(then(folder.path(), &["init", "--force"]).status.success());
    assert!(fs::read_to_string(&file).expect("it is there").contains("builtin = \"files\""));
}

#[test]
fn servers_of_every_client_are_taken_over_without_their_credentials() {
    let echo = fixtures::misbehaving("ok").command();
    let echo = echo.get_program().to_str().expect("UTF-8");
    let server = |args: Value| json!({ "command": echo, "args": args });
    let secret = "s3cret-of-a-test";
    let claude = json!({ "mcpServers": {
        "demo": { "command": echo, "args": ["ok"], "env": { "API_KEY": secret, "PORT": "80" } },
        "toolcell": { "command": "/usr/bin/toolcell", "args": ["mcp"] },
    } });
    let code = json!({ "oauthAccount": { "id": secret }, "mcpServers": {
        "search": { "type": "http", "url": "https://example.com/mcp",
                    "headers": { "Authorization": format!("Bearer {secret}") } },
    } });
    let cursor = json!({ "mcpServers": { "demo": server(json!(["other"])) } });
    let vscode = format!(
        r#"{{ // a comment
            "inputs": [{{"id": "the-key", "type": "promptString", "password": true}}],
            "servers": {{"asked": {{"command": "{echo}", "args": ["ok"], "env": {{"K": "${{input:the-key}}"}}}}}}, }}"#
    );
    let cli = Cli::new("init")
        .file("home/.config/Claude/claude_desktop_config.json", claude.to_string())
        .file("home/.claude.json", code.to_string())
        .file(".cursor/mcp.json", cursor.to_string())
        .file(".vscode/mcp.json", vscode)
        .arg("--import");
    let (told, toml) = written(cli);
    assert!(!toml.contains(secret), "{toml}");
    assert!(!format!("{told}").contains(secret), "{told}");
    for part in [
        "[servers.demo]",
        "env = { API_KEY = \"${API_KEY}\", PORT = \"80\" }",
        "[servers.search]",
        "Bearer ${SEARCH_TOKEN}",
        "[servers.asked]",
        "env = { K = \"${THE_KEY}\" }",
        "# THE_KEY\n",
    ] {
        assert!(toml.contains(part), "{part:?} is not in {toml}");
    }
    assert!(!toml.contains("[servers.toolcell]"), "{toml}");
    for part in [
        "took over demo from",
        "`toolcell` is toolcell itself",
        "another server is called `demo`",
        "API_KEY, SEARCH_TOKEN, THE_KEY",
        "\"API_KEY\": \"${env:API_KEY}\"",
    ] {
        assert!(told.stdout.contains(part), "{part:?} is not in {told}");
    }

    // And it is a configuration that works.
    let script = "from tools import demo\ndemo.echo(text='hi')";
    let run = Cli::new("run").config(&toml).args(["-c", script]);
    let run = ["API_KEY", "SEARCH_TOKEN", "THE_KEY"]
        .into_iter()
        .fold(run, |run, name| run.env(name, "x"));
    assert!(run.run().success().stdout.contains("hi"));
}

#[test]
fn one_client_and_what_programs_read() {
    let line = Cli::new("init").args(["--client", "claude-code"]).run().success();
    assert!(line.stdout.starts_with("claude mcp add toolcell -- "), "{line}");
    assert!(line.stdout.trim().ends_with("toolcell.toml"), "{line}");
    let cursor = Cli::new("init").args(["--client", "cursor"]).run().success().json();
    assert_eq!(cursor["mcpServers"]["toolcell"]["args"][0], "mcp");

    let report = Cli::new("init")
        .file(".mcp.json", r#"{"mcpServers": {"a": {"command": "x", "env": {"TOKEN": "t"}}}}"#)
        .file(".cursor/mcp.json", r#"{"mcpServers": oops"#)
        .args(["--import", "claude-code", "--import", "cursor", "--json"])
        .run()
        .success()
        .json();
    assert_eq!(report["servers"][0]["name"], "a");
    assert_eq!(report["variables"], json!(["TOKEN"]));
    assert!(report["notes"][0].as_str().is_some_and(|note| note.contains("not JSON")), "{report}");
    assert!(report["clients"]["vscode"].as_str().is_some_and(|json| json.contains("servers")));
    Cli::new("init").args(["--import", "emacs"]).run().expect_code(2);
}
