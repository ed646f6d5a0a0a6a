//! The files of other programs, shape by shape.

use std::path::Path;
use std::time::Duration;

use super::{Folder, notices};
use crate::config::Config;
use crate::upstream::settings::{
    AuthSettings, HttpFlavour, HttpSettings, Secret, TransportSettings, UpstreamSettings,
};

#[test]
fn the_json_of_other_hosts_is_accepted_as_it_is() {
    let claude = r#"{
      "globalShortcut": "",
      "mcpServers": {
        "My Server": { "command": "npx", "args": ["-y", "x"], "env": { "KEY": "${TOKEN}" } },
        "off": { "command": "x", "disabled": true },
        "kept": { "command": "x", "alwaysAllow": ["a"], "timeout": 60, "description": "d" }
      }
    }"#;
    let vscode = r#"// VS Code
    {
      "inputs": [{ "id": "key", "type": "promptString" }],
      "servers": {
        "web": { "type": "http", "url": "https://x.example/mcp", "headers": { "X-Key": "${env:TOKEN}" } },
        "old": { "type": "sse", "url": "https://x.example/sse" },
        "asks": { "command": "x", "env": { "KEY": "${input:key}" } },
        "here": { "type": "stdio", "command": "${workspaceFolder}/bin/x", "cwd": "${workspaceFolder}", },
      },
    }"#;
    let ag2 = r#"{"servers": [{"server_name": "ag2", "url": "http://localhost/mcp", "transport": "streamable_http", "sse_read_timeout": 60}]}"#;
    let bare =
        r#"{"mastra": {"url": "http://localhost/mcp", "requestInit": {"headers": {"A": "b"}}}}"#;
    let folder = Folder::new(&[
        (
            "toolcell.toml",
            "mcp_config = 'claude.json'\ninclude_mcp_servers = ['.vscode/mcp.json', 'ag2.json', 'bare.json']\n\
             [profiles.p]\ntools = ['web', 'old.*', 'kept']\n",
        ),
        ("claude.json", claude),
        (".vscode/mcp.json", vscode),
        ("ag2.json", ag2),
        ("bare.json", bare),
    ]);
    let config = folder.load();
    let names: Vec<&str> = config.servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["My-Server", "kept", "web", "old", "here", "ag2", "mastra"]);
    let TransportSettings::Http(HttpSettings { headers, .. }) = &config.servers[2].transport else {
        panic!("HTTP");
    };
    assert_eq!(headers["X-Key"], Secret::new("s3cret-value"));
    let TransportSettings::Stdio { command, cwd, .. } = &config.servers[4].transport else {
        panic!("stdio");
    };
    assert_eq!(Path::new(command), folder.path("bin/x"));
    assert_eq!(cwd.as_deref(), Some(folder.directory.path()));
    assert_eq!(
        notices(&config),
        [
            "claude.json: mcpServers.\"My Server\": the server is called `My-Server` here",
            "claude.json: mcpServers.off: it is disabled there, so it is left out",
            "claude.json: mcpServers.kept.timeout: `timeout` is taken as call_timeout = \"1m\"",
            "claude.json: mcpServers.kept: these keys mean nothing here and are ignored: `alwaysAllow`",
            ".vscode/mcp.json: inputs: `inputs` are asked for by VS Code only, and are ignored",
            ".vscode/mcp.json: servers.asks: it wants the input `key`, which VS Code asks for: it is left out",
        ]
    );
}

/// What a file of another program comes to.
#[track_caller]
fn imported(name: &str, text: &str) -> (Folder, Config) {
    let folder =
        Folder::new(&[(name, text), (".env", "# ours\nexport KEY=\"${x} y\"\n\nOTHER=z\n")]);
    let config = folder.load_file(Some(name)).unwrap_or_else(|error| panic!("{error}"));
    (folder, config)
}

/// The only server of such a file.
#[track_caller]
fn one(text: &str) -> UpstreamSettings {
    let (_, mut config) = imported("x.json", text);
    assert_eq!(config.servers.len(), 1);
    config.servers.remove(0)
}

fn http(settings: &UpstreamSettings) -> &HttpSettings {
    let TransportSettings::Http(http) = &settings.transport else { panic!("HTTP") };
    http
}

#[test]
fn every_shape_names_the_server_and_how_to_reach_it() {
    #[track_caller]
    fn command(text: &str, name: &str, line: &str) {
        let server = one(text);
        let TransportSettings::Stdio { command, args, .. } = &server.transport else {
            panic!("stdio");
        };
        let words: Vec<&str> = std::iter::once(command).chain(args).map(String::as_str).collect();
        assert_eq!((server.name.as_str(), &*words.join(" ")), (name, line));
    }
    #[track_caller]
    fn url(text: &str, name: &str, url: &str, flavour: HttpFlavour) {
        let server = one(text);
        let http = http(&server);
        assert_eq!((server.name.as_str(), &*http.url, http.flavour), (name, url, flavour));
    }
    use HttpFlavour::{Detect, Sse, StreamableHttp};
    // Claude Desktop
    command(r#"{"mcpServers": {"a": {"command": "npx", "args": ["-y", "x"]}}}"#, "a", "npx -y x");
    // Claude Code
    url(
        r#"{"mcpServers": {"a": {"type": "http", "url": "https://x/mcp"}}}"#,
        "a",
        "https://x/mcp",
        StreamableHttp,
    );
    // Cursor
    url(r#"{"mcpServers": {"a": {"url": "https://x/mcp"}}}"#, "a", "https://x/mcp", Detect);
    // Windsurf
    url(r#"{"mcpServers": {"a": {"serverUrl": "https://x/sse"}}}"#, "a", "https://x/sse", Detect);
    // VS Code, in mcp.json and in settings.json
    url(
        r#"{"servers": {"a": {"type": "sse", "url": "https://x/sse"}}}"#,
        "a",
        "https://x/sse",
        Sse,
    );
    command(r#"{"mcp": {"servers": {"a": {"type": "stdio", "command": "x"}}}}"#, "a", "x");
    // Zed, old and new
    command(
        r#"{"context_servers": {"a": {"command": {"path": "x", "args": ["y"], "env": {"K": "v"}}, "settings": {}}}}"#,
        "a",
        "x y",
    );
    command(
        r#"{"context_servers": {"a": {"source": "custom", "command": "x", "args": ["y"]}}}"#,
        "a",
        "x y",
    );
    // AG2
    command(
        r#"{"servers": [{"server_name": "a", "transport": "stdio", "command": "x", "args": ["y"], "environment": null, "working_dir": null, "encoding": "utf-8", "encoding_error_handler": "strict", "session_options": null}]}"#,
        "a",
        "x y",
    );
    url(
        r#"{"servers": [{"server_name": "a", "transport": "sse", "url": "https://x/sse", "headers": null}]}"#,
        "a",
        "https://x/sse",
        Sse,
    );
    // Mastra
    url(r#"{"servers": {"a": {"url": "https://x/mcp"}}}"#, "a", "https://x/mcp", Detect);
    // smolagents: bare, in a list, and by name
    let bare = r#"{"url": "https://x/mcp", "transport": "streamable-http"}"#;
    url(bare, "x", "https://x/mcp", StreamableHttp);
    url(&format!("[{bare}]"), "x-1", "https://x/mcp", StreamableHttp);
    url(&format!(r#"{{"a": {bare}}}"#), "a", "https://x/mcp", StreamableHttp);
    // A transport that nobody looks at, beside what says it.
    command(r#"{"mcpServers": {"a": {"type": "http", "command": "x"}}}"#, "a", "x");
}

#[test]
fn times_are_taken_over_in_the_units_of_their_writers() {
    #[track_caller]
    fn check(server: &str, connect: f64, handshake: f64, read: f64, call: Option<f64>) {
        let settings = one(&format!(r#"{{"servers": [{server}]}}"#));
        let timeouts = &settings.timeouts;
        let found = [timeouts.connect, timeouts.handshake, timeouts.read];
        assert_eq!(found, [connect, handshake, read].map(Duration::from_secs_f64), "{server}");
        assert_eq!(timeouts.call, call.map(Duration::from_secs_f64), "{server}");
    }
    // AG2
    let sse = r#"{"server_name": "a", "url": "https://x", "timeout": 10, "sse_read_timeout": 300}"#;
    check(sse, 10.0, 10.0, 300.0, None);
    check(r#"{"server_name": "a", "url": "https://x", "timeout": 0.5}"#, 0.5, 0.5, 30.0, None);
    // Mastra: milliseconds
    check(r#"{"url": "https://x", "timeout": 20000}"#, 5.0, 30.0, 30.0, Some(20.0));
    check(r#"{"command": "x", "timeout": 60000}"#, 5.0, 30.0, 60.0, Some(60.0));
    // Cline: seconds
    check(r#"{"command": "x", "timeout": 45}"#, 5.0, 30.0, 45.0, Some(45.0));
    // AutoGen: seconds
    check(r#"{"command": "x", "read_timeout_seconds": 9}"#, 5.0, 30.0, 30.0, Some(9.0));
    let all = one(r#"{"servers": {"a": {"command": "x"}}, "timeout": 90000}"#);
    assert_eq!(all.timeouts.call, Some(Duration::from_secs(90)));
}

#[test]
fn headers_environments_and_oauth_are_taken_over() {
    let mastra = one(
        r#"{"servers": {"a": {"url": "https://x", "requestInit": {"headers": {"A": "${TOKEN}"}}}}}"#,
    );
    assert_eq!(http(&mastra).headers["A"], Secret::new("s3cret-value"));

    let (folder, config) = imported(
        ".vscode/mcp.json",
        r#"{"servers": {"a": {"command": "x", "envFile": "${workspaceFolder}/.env", "env": {"OTHER": "wins"}}}}"#,
    );
    let TransportSettings::Stdio { env, .. } = &config.servers[0].transport else {
        panic!("stdio");
    };
    assert_eq!(env["KEY"], Secret::new("${x} y"), "in {}", folder.path("").display());
    assert_eq!(env["OTHER"], Secret::new("wins"));

    let auth = |server: &str| {
        let text = format!(r#"{{"mcpServers": {{"a": {server}}}}}"#);
        http(&one(&text)).auth.clone()
    };
    let expected = AuthSettings {
        grant: Default::default(),
        client_id: Some("me".into()),
        client_secret: Some(Secret::new("s3cret-value")),
        client_metadata_url: None,
        scopes: vec!["read".into(), "write".into()],
        redirect_port: None,
    };
    let cursor = r#"{"url": "https://x", "auth": {"CLIENT_ID": "me", "CLIENT_SECRET": "${env:TOKEN}", "scopes": ["read", "write"]}}"#;
    assert_eq!(auth(cursor), Some(expected));
    let claude = r#"{"url": "https://x", "oauth": {"clientId": "me", "callbackPort": 8080}}"#;
    assert_eq!(auth(claude).map(|auth| auth.redirect_port), Some(Some(8080)));
}

#[test]
fn tools_that_are_switched_off_are_hidden() {
    let server = one(r#"{"mcpServers": {"a": {"command": "x", "disabledTools": ["delete"]}}}"#);
    assert!(server.tools["delete"].hidden);
}

#[test]
fn what_is_no_server_for_us_is_left_out_with_a_notice() {
    #[track_caller]
    fn check(server: &str, expected: &str) {
        let text = format!(r#"{{"mcpServers": {{"a": {server}}}}}"#);
        let (_, config) = imported("x.json", &text);
        assert!(config.servers.is_empty());
        assert_eq!(notices(&config), [format!("x.json: mcpServers.a: {expected}")]);
    }
    check(r#"{"command": "x", "disabled": true}"#, "it is disabled there, so it is left out");
    check(r#"{"command": "x", "enabled": false}"#, "it is disabled there, so it is left out");
    check(
        r#"{"url": "wss://x", "type": "ws"}"#,
        "it is reached over a WebSocket, so it is left out",
    );
    check(
        r#"{"source": "extension", "settings": {}}"#,
        "an extension of Zed brings it, so it is left out",
    );
    check(
        r#"{"command": "x", "env": {"K": "${input:key}"}}"#,
        "it wants the input `key`, which VS Code asks for: it is left out",
    );
}

#[test]
fn a_file_from_elsewhere_reads_no_file_and_runs_no_command() {
    for value in ["${file:.env}", "${command:touch ran}"] {
        let text = format!(r#"{{"mcpServers": {{"a": {{"command": "x", "args": ["{value}"]}}}}}}"#);
        let folder = Folder::new(&[("toolcell.toml", "mcp_config = 'x.json'"), ("x.json", &text)]);
        folder.check_problems(&[
            "x.json: mcpServers.a.args[0]: `${file:…}` and `${command:…}` have no meaning in a file \
             of other programs, which may come from anywhere; write the server in toolcell.toml, or \
             use ${NAME}",
        ]);
        assert!(!folder.path("ran").exists());
    }
}
