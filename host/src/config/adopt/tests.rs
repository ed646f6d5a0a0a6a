//! What other programs' servers become, and that no credential gets into it.

use std::path::Path;

use super::*;

fn adopted(text: &str) -> Adoption {
    let mut adoption = Adoption::default();
    adoption.file(Path::new("/project/.mcp.json"), text, Path::new("/project"), &|_| None);
    adoption
}

#[track_caller]
fn check(server: &str, expected: &[&str], variables: &[&str]) {
    let adoption = adopted(&format!(r#"{{"mcpServers": {{"s": {server}}}}}"#));
    assert_eq!(adoption.notes(), &[] as &[String], "{server}");
    let toml = &adoption.found()[0].toml;
    let lines: Vec<&str> = toml.lines().collect();
    assert_eq!((lines[0], &lines[1..]), ("[servers.s]", expected), "{server}");
    assert_eq!(adoption.variables(), variables, "{server}");
}

#[test]
fn servers_become_tables() {
    check(
        r#"{"command": "npx", "args": ["-y", "a-server", "/data"], "cwd": "work"}"#,
        &[
            r#"command = "npx""#,
            r#"args = ["-y", "a-server", "/data"]"#,
            r#"cwd = "/project/work""#,
        ],
        &[],
    );
    check(
        r#"{"type": "http", "url": "https://example.com/mcp", "disabledTools": ["drop"]}"#,
        &[
            r#"url = "https://example.com/mcp""#,
            r#"transport = "streamable-http""#,
            r#"tools = { drop = { hidden = true } }"#,
        ],
        &[],
    );
}

#[test]
fn credentials_become_variables_and_settings_stay() {
    check(
        r#"{"command": "x", "env": {"API_KEY": "abc", "LOG_LEVEL": "debug", "PORT": "8080",
            "DATA": "/srv/data", "DATABASE": "postgres://u:p@h/d", "OLD": "${OLD_TOKEN}"}}"#,
        &[
            r#"command = "x""#,
            r#"env = { API_KEY = "${API_KEY}", LOG_LEVEL = "debug", PORT = "8080", DATA = "/srv/data", DATABASE = "${DATABASE}", OLD = "${OLD_TOKEN}" }"#,
        ],
        &["API_KEY", "DATABASE"],
    );
    check(
        r#"{"url": "https://x.example/mcp?api_key=abc&page=1",
            "headers": {"Authorization": "Bearer abc", "X-Api-Key": "def", "Accept": "text/plain"}}"#,
        &[
            r#"url = "https://x.example/mcp?api_key=${S_API_KEY}&page=1""#,
            r#"headers = { Authorization = "Bearer ${S_TOKEN}", X-Api-Key = "${S_X_API_KEY}", Accept = "text/plain" }"#,
        ],
        &["S_API_KEY", "S_TOKEN", "S_X_API_KEY"],
    );
    check(
        r#"{"command": "npx", "args": ["mcp-remote", "https://x.example", "--header", "Authorization: Bearer abc", "--token", "abc", "--secret=def", "--keyless"]}"#,
        &[
            r#"command = "npx""#,
            r#"args = ["mcp-remote", "https://x.example", "--header", "Authorization: Bearer ${S_TOKEN}", "--token", "${S_TOKEN}", "--secret=${S_SECRET}", "--keyless"]"#,
        ],
        &["S_SECRET", "S_TOKEN"],
    );
    check(
        r#"{"url": "https://x.example/mcp", "oauth": {"clientId": "me", "clientSecret": "abc"}}"#,
        &[
            r#"url = "https://x.example/mcp""#,
            r#"auth = { client_id = "me", client_secret = "${S_CLIENT_SECRET}" }"#,
        ],
        &["S_CLIENT_SECRET"],
    );
}

#[test]
fn what_an_editor_asks_for_is_a_variable() {
    let adoption = adopted(
        r#"{"inputs": [{"id": "api-key", "type": "promptString"}],
            "servers": {"s": {"command": "x", "env": {"KEY": "${input:api-key}"}}}}"#,
    );
    assert!(adoption.found()[0].toml.contains(r#"env = { KEY = "${API_KEY}" }"#));
    assert_eq!((adoption.variables(), adoption.notes().len()), (vec!["API_KEY".to_owned()], 0));
}

#[test]
fn two_values_have_two_variables_and_two_servers_two_names() {
    let mut adoption = adopted(
        r#"{"mcpServers": {"a": {"command": "x", "env": {"TOKEN": "one"}},
                           "b": {"command": "y", "env": {"TOKEN": "two"}},
                           "c": {"command": "z", "env": {"TOKEN": "one"}},
                           "us": {"command": "/opt/bin/toolcell", "args": ["mcp"]}}}"#,
    );
    let tables: Vec<&str> = adoption.found().iter().map(|server| server.toml.as_str()).collect();
    assert!(
        tables[0].contains(r#""${TOKEN}""#) && tables[2].contains(r#""${TOKEN}""#),
        "{tables:?}"
    );
    assert!(tables[1].contains(r#""${B_TOKEN}""#), "{tables:?}");
    assert!(adoption.notes()[0].contains("`us` is toolcell itself"));

    let project = Path::new("/project");
    let other = r#"{"mcpServers": {"a": {"command": "other"}}}"#;
    adoption.file(Path::new("/users/x.json"), other, project, &|_| None);
    assert_eq!(adoption.found().len(), 3);
    assert!(adoption.notes()[1].contains("another server is called `a`"), "{:?}", adoption.notes());
}

#[test]
fn claude_code_has_servers_for_all_and_for_one_project() {
    let mut adoption = Adoption::default();
    let text = r#"{"numStartups": 3, "mcpServers": {"all": {"command": "x"}},
        "projects": {"/project": {"mcpServers": {"ours": {"command": "y"}}},
                     "/elsewhere": {"mcpServers": {"theirs": {"command": "z"}}}}}"#;
    adoption.file(Path::new("/users/.claude.json"), text, Path::new("/project"), &|_| None);
    let names: Vec<&str> = adoption.found().iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["all", "ours"]);
    adoption.file(Path::new("/users/x"), r#"{"numStartups": 3}"#, Path::new("/"), &|_| None);
    adoption.file(Path::new("/users/y"), r#"{"key": "s3cret" oops"#, Path::new("/"), &|_| None);
    assert_eq!(adoption.notes(), ["/users/y:1:18: not JSON"]);
}
