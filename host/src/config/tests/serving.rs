//! `[server]`: who may come in, and how much of us they may take.

use std::time::Duration;

use super::{Folder, notices};
use crate::config::show;
use crate::server::access::{CallerToken, TokenDigest};
use crate::server::settings::ServerSettings;

const TOKEN: &str = "a-token-of-32-characters-or-more";

#[test]
fn everything_about_serving_is_read() {
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let config = Folder::toml(&format!(
        r#"
        [server]
        listen = "0.0.0.0:8080"
        public_url = "https://tools.example.org/"
        allowed_hosts = ["Tools.internal"]
        allowed_origins = ["https://app.example.org", "http://localhost:5173/"]
        max_body = "4MiB"
        request_timeout = "5s"
        max_connections = 100
        max_mcp_sessions = 200
        mcp_session_idle = "10m"
        max_result = "32KiB"
        list_changed = false
        caller_token = "bearer"
        sessions = {{ per_caller = 4, total = 40, idle = "5m" }}
        quotas = {{ concurrent_runs = 2, fuel_per_minute = "100G" }}
        [server.tokens.ops]
        token = "${{OPS_TOKEN}}"
        caller = "ops@example.org"
        quotas = {{ concurrent_runs = 20, concurrent_calls = 50, sessions = 9 }}
        [server.tokens.agent]
        sha256 = "{digest}"
        profiles = ["reader"]
        [server.jwt]
        issuer = "https://login.example.org"
        algorithms = ["ES256"]
        caller_claim = "email"
        profiles_claim = "profiles"
        scopes = ["tools:use"]
        leeway = "5s"
        [profiles.reader]
        [profiles.writer]
        "#
    ))
    .set("OPS_TOKEN", TOKEN)
    .load();
    let ServerSettings {
        listen,
        allowed_hosts,
        allowed_origins,
        max_body_bytes,
        request_timeout,
        max_connections,
        max_mcp_sessions,
        mcp_session_idle,
        sessions,
        result_bytes,
        list_changed,
        access,
        bridge,
    } = &config.server;
    assert_eq!(listen.to_string(), "0.0.0.0:8080");
    assert_eq!(allowed_hosts, &["tools.example.org", "tools.internal"]);
    assert_eq!(allowed_origins, &["https://app.example.org", "http://localhost:5173"]);
    assert_eq!((*max_body_bytes, *result_bytes, *list_changed), (4 << 20, 32 << 10, false));
    assert_eq!(*request_timeout, Duration::from_secs(5));
    assert_eq!((*max_connections, *max_mcp_sessions), (100, 200));
    assert_eq!(*mcp_session_idle, Duration::from_secs(600));
    assert_eq!((sessions.per_caller, sessions.total), (4, 40));
    assert_eq!(sessions.idle, Duration::from_secs(300));
    assert_eq!(access.public_url.as_deref(), Some("https://tools.example.org"));
    assert_eq!(access.caller_token, CallerToken::Bearer);
    let [ops, agent] = &access.tokens[..] else { panic!("{access:?}") };
    assert_eq!((&*ops.caller, ops.digest), ("ops@example.org", TokenDigest::of(TOKEN)));
    assert_eq!((&*agent.caller, agent.digest), ("agent", TokenDigest::of("abc")));
    assert_eq!(agent.profiles.as_deref(), Some(&["reader".to_owned()][..]));
    let quotas = ops.quotas.or(access.quotas);
    assert_eq!((quotas.concurrent_runs, quotas.concurrent_calls), (Some(20), Some(50)));
    assert_eq!(quotas.sessions, Some(9));
    assert_eq!(quotas.fuel_per_minute, Some(100_000_000_000));
    let jwt = access.jwt.as_ref().expect("jwt");
    assert_eq!((&*jwt.issuer, &jwt.audiences[..]), ("https://login.example.org", &[][..]));
    assert_eq!((&jwt.algorithms[..], &*jwt.caller_claim), (&["ES256".to_owned()][..], "email"));
    assert_eq!(jwt.leeway, Duration::from_secs(5));
    assert_eq!(bridge, &None);

    let shown = show(&config, None).expect("all servers").to_string();
    for secret in [TOKEN, digest] {
        assert!(!shown.contains(secret) && !format!("{config:?}").contains(secret), "{shown}");
    }
}

#[test]
fn what_makes_no_sense_is_told_with_a_way_out() {
    #[track_caller]
    fn check(toml: &str, expected: &[&str]) {
        let folder = Folder::toml(toml).set("SHORT", "hunter22").set("LONG", TOKEN);
        folder.check_problems(expected);
        assert!(!folder.problems().join("\n").contains("hunter22"));
    }
    check(
        "[server]\nlisten = \"7420\"\nmax_connections = 0\nrequest_timeout = \"soon\"\n",
        &[
            "toolcell.toml:2:1: server.listen: \"7420\" is no address and port; write for example \
             \"127.0.0.1:7420\", or \"0.0.0.0:7420\" for all",
            "toolcell.toml:3:1: server.max_connections: 0 would let nothing run: every limit is at \
             least 1",
            "toolcell.toml:4:1: server.request_timeout: \"soon\" does not begin with a number: write \
             for example \"1m30s\"",
        ],
    );
    check(
        "[server]\nallowed_hosts = [\"https://x\"]\nallowed_origins = [\"https://x/y\"]\n\
         public_url = \"https://x/mcp\"\n",
        &[
            "toolcell.toml:2:18: server.allowed_hosts[0]: \"https://x\" is no host; write a name \
             without scheme and path, for example tools.example.org",
            "toolcell.toml:3:20: server.allowed_origins[0]: \"https://x/y\" is no origin of a web \
             page; write scheme, host and port alone: https://app.example.org",
            "toolcell.toml:4:1: server.public_url: leave out `/mcp` at the end; write for example \
             https://tools.example.org",
        ],
    );
    check(
        "[server.tokens.a]\ntoken = \"${SHORT}\"\n[server.tokens.b]\n[server.tokens.c]\n\
         sha256 = \"ba78\"\n[server.tokens.d]\ntoken = \"${LONG}\"\nprofiles = [\"defualt\"]\n\
         [server.tokens.e]\ntoken = \"${LONG}\"\n",
        &[
            "toolcell.toml:2:1: server.tokens.a.token: a token of fewer than 16 characters can be \
             guessed; `openssl rand -hex 32` makes one",
            "toolcell.toml:3:16: server.tokens.b: it has no token; write token = \
             \"${NAME_OF_A_VARIABLE}\" or sha256 = \"…\"",
            "toolcell.toml:5:1: server.tokens.c.sha256: this is no SHA-256 in hexadecimal: it has 64 \
             digits; `printf %s TOKEN | sha256sum` prints it",
            "toolcell.toml:8:13: server.tokens.d.profiles[0]: there is no profile \"defualt\"; did \
             you mean `default`?",
            "toolcell.toml:9:16: server.tokens.e: it is the same token as that of `d`; give \
             everybody a token of their own: `openssl rand -hex 32` makes one",
        ],
    );
    check(
        "[server.jwt]\nissuer = \"https://x\"\nalgorithms = [\"HS256\", \"none\"]\n",
        &[
            "toolcell.toml:1:9: server.jwt: it does not say for whom a token has to be, so one for \
             anybody would do; write `audience`, or `public_url` of [server]",
            "toolcell.toml:3:15: server.jwt.algorithms[0]: \"HS256\" is no algorithm that can be \
             accepted; there are `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, \
             `ES384`, `EdDSA`",
            "toolcell.toml:3:24: server.jwt.algorithms[1]: \"none\" is no algorithm that can be \
             accepted; there are `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, \
             `ES384`, `EdDSA`",
        ],
    );
    check(
        "[server.jwt]\naudience = \"a\"\n[server.quotas]\nfuel_per_minute = \"0\"\n",
        &[
            "toolcell.toml:1:9: server.jwt: it names no issuer; write issuer = \"https://…\", as it \
             stands in the claim `iss`",
            "toolcell.toml:4:1: server.quotas.fuel_per_minute: 0 would let nothing run: every limit \
             is at least 1",
        ],
    );
}

#[test]
fn what_is_risky_is_mentioned() {
    let open = Folder::toml("[server]\nlisten = \"[::]:7420\"\n").load();
    let expected = "toolcell.toml:2:1: server.listen: beyond this machine a token is required, so \
                    `toolcell serve` will refuse to start: write [server.tokens.NAME] or [server.jwt]";
    assert_eq!(notices(&open), [expected]);
    let plain = "[server.jwt]\nissuer = \"http://login.example.org\"\naudience = \"a\"\n";
    let told = notices(&Folder::toml(plain).load());
    assert!(told.len() == 1 && told[0].contains("over plain HTTP"), "{told:?}");
    let near = plain.replace("login.example.org", "127.0.0.1:9");
    assert_eq!(notices(&Folder::toml(&near).load()), [""; 0]);
}
