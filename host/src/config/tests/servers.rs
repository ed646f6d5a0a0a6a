//! The keys of `[servers.NAME]`: what they become, and what is said of mistakes in them.

use std::time::Duration;

use super::{Folder, notices};
use crate::config::MonitorSettings;
use crate::upstream::settings::{
    AuthGrant, AuthSettings, Breaker, ConnectionCaps, Hints, HttpFlavour, HttpSettings, Lifecycle,
    Retry, Secret, SecretPart, Timeouts, ToolSettings, TransportSettings, UpstreamSettings,
};

/// The settings of one server with `command = 'x'` and these lines.
#[track_caller]
fn server(lines: &str) -> UpstreamSettings {
    let text = format!("[servers.a]\ncommand = 'x'\n{lines}");
    Folder::toml(&text).load().servers.remove(0)
}

/// The problem of one server with `command = 'x'` and these lines, from the path on.
#[track_caller]
fn refused(lines: &str, expected: &str) {
    refused_with("command = 'x'", lines, expected);
}

#[track_caller]
fn refused_with(first: &str, lines: &str, expected: &str) {
    let text = format!("[servers.a]\n{first}\n{lines}");
    let problems = Folder::toml(&text).problems();
    let [problem] = &problems[..] else { panic!("one problem is expected: {problems:#?}") };
    assert_eq!(problem.split_once(": ").expect("a place").1, expected);
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_server_without_further_keys_has_the_defaults() {
    let plain = server("");
    let defaults = UpstreamSettings::new(plain.name.clone(), plain.transport.clone());
    assert_eq!(plain, defaults);
    assert_eq!(defaults.probe_interval, Some(MonitorSettings::default().interval));
}

#[test]
fn every_key_of_a_servers_behaviour_is_heard() {
    let settings = server(
        r#"pool_timeout = "1s"
        connect_timeout = "2s"
        handshake_timeout = "3s"
        write_timeout = "4s"
        read_timeout = "5s"
        call_timeout = "6s"
        idle_timeout = "7m"
        lifecycle = "on-demand"
        max_connections = 8
        max_idle_connections = 3
        retry = { attempts = 9, base = "10ms", cap = "11s" }
        breaker = { failures = 12, cooldown = "13s", max_cooldown = "14m" }
        probe_interval = "15s"
        hints = { on_timeout = "t", on_unavailable = "u", on_tool_error = "e", fallback = "a.b" }
        [servers.a.tools."find.all"]
        hidden = true
        title = "T"
        description = "D"
        parameters = { q = "Q" }
        read_only = true
        idempotent = false
        call_timeout = "16s"
        hints = { on_timeout = "tt" }
        "#,
    );
    let text = |text: &str| Some(text.to_owned());
    let expected = Timeouts {
        pool: seconds(1),
        connect: seconds(2),
        handshake: seconds(3),
        write: seconds(4),
        read: seconds(5),
        call: Some(seconds(6)),
        idle: Some(seconds(7 * 60)),
    };
    assert_eq!(settings.timeouts, expected);
    assert_eq!(settings.lifecycle, Lifecycle::OnDemand);
    assert_eq!(settings.connections, ConnectionCaps { max: 8, max_idle: 3 });
    let retry = Retry { attempts: 9, base: Duration::from_millis(10), cap: seconds(11) };
    assert_eq!(settings.retry, retry);
    let breaker = Breaker { failures: 12, cooldown: seconds(13), max_cooldown: seconds(14 * 60) };
    assert_eq!(settings.breaker, breaker);
    assert_eq!(settings.probe_interval, Some(seconds(15)));
    let hints = Hints {
        on_timeout: text("t"),
        on_unavailable: text("u"),
        on_tool_error: text("e"),
        fallback: text("a.b"),
    };
    assert_eq!(settings.hints, hints);
    let tool = ToolSettings {
        hidden: true,
        title: text("T"),
        description: text("D"),
        parameters: [("q".to_owned(), "Q".to_owned())].into(),
        read_only: Some(true),
        idempotent: Some(false),
        call_timeout: Some(seconds(16)),
        hints: Hints { on_timeout: text("tt"), ..Hints::default() },
    };
    assert_eq!(settings.tools["find.all"], tool);
}

#[test]
fn short_forms_mean_the_whole() {
    assert_eq!(server("retry = 7").retry, Retry { attempts: 7, ..Retry::default() });
    assert_eq!(server("retry = false").retry.attempts, 1);
    assert_eq!(server("retry = true").retry, Retry::default());
    assert_eq!(server("breaker = false").breaker.failures, 0);
    assert_eq!(server("breaker = true").breaker, Breaker::default());
    assert_eq!(server("idle_timeout = 'never'").timeouts.idle, None);
    assert_eq!(server("probe_interval = 'never'").probe_interval, None);
    assert_eq!(server("lifecycle = 'fresh'").lifecycle, Lifecycle::Fresh);
    assert_eq!(server("max_connections = 2").connections, ConnectionCaps { max: 2, max_idle: 2 });
    let long_pause = server("retry = { base = '1m' }").retry;
    assert_eq!((long_pause.base, long_pause.cap), (seconds(60), seconds(60)));
}

#[test]
fn timeouts_that_are_not_given_follow_those_that_are() {
    #[track_caller]
    fn check(lines: &str, connect: u64, handshake: u64, read: u64) {
        let timeouts = server(lines).timeouts;
        let found = [timeouts.connect, timeouts.handshake, timeouts.read];
        assert_eq!(found, [connect, handshake, read].map(seconds), "{lines}");
    }
    check("", 5, 30, 30);
    check("connect_timeout = '2s'", 2, 2, 30);
    check("connect_timeout = '2s'\nhandshake_timeout = '9s'", 2, 9, 30);
    check("handshake_timeout = '9s'", 5, 9, 30);
    check("call_timeout = '10s'", 5, 30, 30);
    check("call_timeout = '5m'", 5, 30, 300);
    check("call_timeout = '5m'\nread_timeout = '40s'", 5, 30, 40);
    check("tools.slow = { call_timeout = '9m' }", 5, 30, 540);
}

#[test]
fn the_monitors_interval_is_that_of_servers_that_have_none() {
    let folder = Folder::toml(
        "[monitor]\ninterval = '5s'\n[servers.a]\ncommand = 'x'\n\
         [servers.b]\ncommand = 'x'\nprobe_interval = '7s'\n",
    );
    let intervals = folder.load().servers.into_iter().map(|server| server.probe_interval);
    assert_eq!(intervals.collect::<Vec<_>>(), [Some(seconds(5)), Some(seconds(7))]);
}

#[test]
fn http_has_keys_of_its_own() {
    let folder = Folder::new(&[
        (
            "toolcell.toml",
            r#"[servers.a]
            url = "https://x.example/mcp"
            transport = "sse"
            headers = { X = "id=${caller.id};key=${TOKEN}" }
            proxy = "http://me:${TOKEN}@proxy.example:3128"
            ca_file = "ca.pem"
            [servers.b]
            url = "https://x.example/mcp"
            auth = { grant = "client-credentials", client_id = "me", client_secret = "${TOKEN}", client_metadata_url = "https://x.example/me.json", scopes = ["a", "b"], redirect_port = 8765 }
            "#,
        ),
        ("ca.pem", ""),
    ]);
    let mut config = folder.load();
    let TransportSettings::Http(b) = config.servers.remove(1).transport else { panic!("HTTP") };
    let TransportSettings::Http(a) = config.servers.remove(0).transport else { panic!("HTTP") };
    let header = Secret::template(vec![
        SecretPart::Text("id=".into()),
        SecretPart::CallerId,
        SecretPart::Text(";key=s3cret-value".into()),
    ]);
    let expected = HttpSettings {
        flavour: HttpFlavour::Sse,
        headers: [("X".to_owned(), header)].into(),
        proxy: Some(Secret::new("http://me:s3cret-value@proxy.example:3128")),
        ca_file: Some(folder.path("ca.pem")),
        ..HttpSettings::new("https://x.example/mcp")
    };
    assert_eq!(a, expected);
    let auth = AuthSettings {
        grant: AuthGrant::ClientCredentials,
        client_id: Some("me".into()),
        client_secret: Some(Secret::new("s3cret-value")),
        client_metadata_url: Some("https://x.example/me.json".into()),
        scopes: vec!["a".into(), "b".into()],
        redirect_port: Some(8765),
    };
    assert_eq!((b.flavour, b.auth), (HttpFlavour::Detect, Some(auth)));
}

#[test]
fn mistakes_in_a_servers_keys_are_told_with_a_way_out() {
    let too_long = format!("hints = {{ on_timeout = '{}' }}", "x".repeat(4_001));
    let check = |lines: &str, expected: &str| refused(lines, expected);
    check(
        "idle_timeout = 'nevr'",
        r#"servers.a.idle_timeout: "nevr" does not begin with a number: write for example "1m30s"; or write "never""#,
    );
    check(
        "lifecycle = 'polled'",
        r#"servers.a.lifecycle: unknown word "polled"; did you mean `pooled`?"#,
    );
    check("max_connections = 0", "servers.a.max_connections: write a number from 1 to 1000");
    check(
        "max_connections = 2\nmax_idle_connections = 3",
        "servers.a.max_idle_connections: it is more than `max_connections`, which is 2; lower this or raise that",
    );
    check("retry = 0", "servers.a.retry: write a number from 1 to 20");
    check(
        "retry = { atempts = 2 }",
        "servers.a.retry.atempts: unknown key `atempts` in servers.a.retry; did you mean `attempts`?",
    );
    check(
        "retry = { base = '2s', cap = '1s' }",
        "servers.a.retry.cap: it is shorter than `base`; give a `cap` that is at least as long as `base`",
    );
    check(
        "breaker = 3",
        "servers.a.breaker: a table { failures = 5 }, or false is expected, and this is a whole number",
    );
    check(
        "hints = { fallback = 'search' }",
        "servers.a.hints.fallback: this is no tool's name; write \"SERVER.TOOL\"",
    );
    check(
        "tools.x.hints = { fallback = 'b.search' }",
        "servers.a.tools.x.hints.fallback: no server is called `b`; there is only `a`",
    );
    check(&too_long, "servers.a.hints.on_timeout: the text is longer than 4000 characters");
    check(
        "tools.x.call_timeout = '0s'",
        "servers.a.tools.x.call_timeout: 0 would let nothing run: every limit is at least 1",
    );
    check(
        "tools.x.hiden = true",
        "servers.a.tools.x.hiden: unknown key `hiden` in servers.a.tools.x; did you mean `hidden`?",
    );
    check(
        "args = ['${caller.id}']",
        "servers.a.args[0]: what belongs to the caller can stand in `headers` and `env` only",
    );
    check(
        "env = { K = '${caller.name}' }",
        "servers.a.env.K: of the caller there are only `${caller.token}` and `${caller.id}`",
    );
    check(
        "proxy = 'http://x'",
        "servers.a.proxy: `proxy` belongs to servers with `url`, and this one has `command`; remove it",
    );
}

#[test]
fn mistakes_in_the_keys_of_http_are_told_with_a_way_out() {
    let check = |lines: &str, expected: &str| refused_with("url = 'https://x'", lines, expected);
    check(
        "proxy = 's3cret'",
        "servers.a.proxy: this is no URL that begins with http:// or https://; write for example http://127.0.0.1:3128",
    );
    check(
        "auth = { grant = 'client-credentials', client_id = 'x' }",
        "servers.a.auth: grant = \"client-credentials\" needs `client_secret`; write client_secret = \"…\"",
    );
    check(
        "auth = { grant = 'client_credentials' }",
        "servers.a.auth.grant: unknown word \"client_credentials\"; did you mean `client-credentials`?",
    );
    check(
        "auth = { redirect_port = 0 }",
        "servers.a.auth.redirect_port: 0 is no port; leave it out for any free port",
    );
    check("auth = { scopes = ['a b'] }", "servers.a.auth.scopes[0]: a scope is one word");
    check(
        "auth = {}\nheaders = { authorization = 'x' }",
        "servers.a.auth: `auth` and the header `authorization` exclude each other; remove one of the two",
    );
    check(
        "transport = 'stdio'",
        "servers.a.transport: a server with `url` does not speak stdio; use streamable-http or sse, or leave it out",
    );
}

#[test]
fn a_hint_at_which_agents_would_stop_is_mentioned() {
    let folder =
        Folder::toml("[servers.a]\ncommand = 'x'\nhints = { on_timeout = 'Say TERMINATE.' }\n");
    assert_eq!(
        notices(&folder.load()),
        ["toolcell.toml:3:11: servers.a.hints.on_timeout: the hint has the word TERMINATE, at \
          which some agents stop"]
    );
}
