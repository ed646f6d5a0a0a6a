//! Servers over streamable HTTP through the front door: a real one that is restarted, and one that
//! fails in every way that HTTP has.

use std::time::Duration;

use serde_json::{Value, json};
use toolcell_tests::tiny_mcp::Eras;
use toolcell_tests::{
    Cli, Fault, Finished, HttpFault, Proxy, Server, TlsEnd, fixtures, wait_until,
};

use crate::hosts::{Configured, survives_restarts, value};

const ECHO: &str = "tools['x']['echo'](text='hi')";

fn run(server: &Server, code: &str) -> Finished {
    Cli::new("run").config(&server.toml("x")).arg("--json").args(["-c", code]).run()
}

fn check(server: &Server) -> (Option<i32>, Value) {
    let check = Cli::new("check").config(&server.toml("x")).arg("--json").run();
    (check.code(), check.json()["servers"][0].clone())
}

#[test]
fn a_real_server_answers_and_a_restarted_one_answers_again() {
    survives_restarts(fixtures::everything_http());
}

#[test]
fn both_eras_are_spoken() {
    for (eras, era) in [(Eras::Legacy, "legacy"), (Eras::Modern, "modern"), (Eras::Both, "modern")]
    {
        let http = HttpFault::behaving(eras);
        let (code, report) = check(&http.server());
        assert_eq!((code, &report["era"]), (Some(0), &json!(era)), "{report}");
        let run = run(&http.server(), ECHO).success();
        assert_eq!(run.json()["value"], "hi", "{run}");
        assert_eq!(http.calls(), 1);
    }
}

#[test]
fn a_status_that_refuses_is_told_with_what_to_do() {
    #[track_caller]
    fn refuses(status: u16, parts: &[&str]) {
        for eras in [Eras::Legacy, Eras::Modern] {
            let http = HttpFault::always(eras, Fault::Status(status));
            let run = run(&http.server(), ECHO).expect_code(4);
            let report = run.json();
            let message = report["error"]["message"].as_str().unwrap_or_default();
            let (code, checked) = check(&http.server());
            assert_eq!(code, Some(1), "{status}: {checked}");
            let failure = checked["failure"].as_str().unwrap_or_default();
            for part in parts {
                assert!(message.contains(part), "{status}: {part:?} is not in {message}");
                assert!(failure.contains(part), "{status}: {part:?} is not in {failure}");
            }
        }
    }
    refuses(401, &["HTTP 401", "check the credentials in its headers"]);
    refuses(403, &["HTTP 403", "check the credentials in its headers"]);
    refuses(404, &["HTTP 404", "is its URL the MCP endpoint?"]);
    refuses(429, &["HTTP 429", "try again after 1 s"]);
    refuses(500, &["HTTP 500", "as told"]);
    refuses(503, &["HTTP 503", "try again after 1 s"]);
}

#[test]
fn a_fault_in_a_call_fails_that_call_and_the_next_one_works() {
    #[track_caller]
    fn fails(fault: Fault, class: &str, part: &str) {
        for eras in [Eras::Legacy, Eras::Modern] {
            let http = HttpFault::on_calls(eras, fault.clone());
            // The tool says that it only reads; then it would be called again.
            let server = http.server().setting("call_timeout = \"500ms\"");
            let server = server.setting("tools.echo.read_only = false");
            let host = Configured::new(|_| server.toml("x"));
            let code = format!(
                "try:\n    seen = {ECHO}\nexcept tools.ToolError as error:\n    seen = [type(error).__name__, str(error)]\nseen"
            );
            let seen = value(&host.python(&code));
            let message = seen[1].as_str().unwrap_or_default();
            assert_eq!(seen[0], class, "{fault:?}: {seen}");
            assert!(message.contains(part) && message.contains("server x"), "{fault:?}: {message}");
            assert_eq!(http.calls(), 1, "{fault:?}: a call is never made twice");
            http.heal();
            assert_eq!(value(&host.python(&code)), "hi", "{fault:?}");
        }
    }
    fails(Fault::Hang, "ToolTimeout", "did not answer within 500 ms (during a call)");
    fails(Fault::SseStops, "ToolTimeout", "did not answer within 500 ms (during a call)");
    fails(Fault::SseEnds, "ToolUnavailable", "ended before the answer");
    fails(Fault::Reset, "ToolUnavailable", "lost before an answer came");
    fails(Fault::Truncated, "ToolUnavailable", "broke before the answer was complete");
    fails(Fault::Html, "ToolUnavailable", "is this an MCP endpoint?");
    fails(Fault::Status(500), "ToolUnavailable", "HTTP 500");
    fails(Fault::HugeBody(20 << 20), "LimitExceeded", "larger than 16777216 bytes");
}

#[test]
fn a_server_that_hangs_is_let_go_of() {
    let http = HttpFault::always(Eras::Both, Fault::Hang);
    let server = http.server().setting("connect_timeout = \"500ms\"");
    let run = run(&server, ECHO).expect_code(4);
    let message = run.json()["error"]["message"].to_string();
    assert!(message.contains("within 500 ms (in the MCP handshake)"), "{run}");
    let (code, report) = check(&server);
    assert_eq!(code, Some(1), "{report}");
    wait_until(Duration::from_secs(5), "the connections are closed", || http.abandoned() >= 2);
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_origin() {
    let thief = HttpFault::behaving(Eras::Both);
    let http = HttpFault::always(Eras::Both, Fault::Redirect(thief.url()));
    let server = http.server().setting("headers = { Authorization = \"Bearer s3cret-token\" }");
    let run = run(&server, ECHO).expect_code(4);
    let message = run.json()["error"]["message"].to_string();
    assert!(message.contains("HTTP 307") && message.contains("it points to"), "{run}");
    assert!(!http.received().is_empty());
    assert_eq!(thief.received().len(), 0, "the other origin was asked");
}

#[test]
fn headers_and_credentials_of_a_url_reach_the_server_and_no_text() {
    let http = HttpFault::behaving(Eras::Both);
    let url = http.url().replace("http://", "http://anna:hunter%2122@");
    let server = Server::http(format!("{url}?key=query-secret"));
    let server = server.setting("headers = { \"X-Token\" = \"${THE_TOKEN}\" }");
    let cli = |command: &str| {
        let cli = Cli::new(command).config(&server.toml("x")).env("THE_TOKEN", "tok-5f2a9c");
        cli.env("TOOLCELL_LOG", "trace,toolcell=trace")
    };
    let code = "tools['x']['echo'](text='hi')";
    let fine = cli("run").args(["-c", code]).run().success();
    let received = http.received();
    for request in &received {
        assert_eq!(request.header("x-token"), Some("tok-5f2a9c"));
        assert_eq!(request.header("authorization"), Some("Basic YW5uYTpodW50ZXIhMjI="));
        assert!(request.path.ends_with("?key=query-secret"), "{}", request.path);
    }
    http.fail(Fault::Status(401));
    let refused = cli("run").args(["-c", code]).run().expect_code(4);
    let checked = cli("check").run().expect_code(1);
    drop(http);
    let gone = cli("check").run().expect_code(1);
    for finished in [fine, refused, checked, gone] {
        for secret in ["tok-5f2a9c", "hunter", "YW5uYTpodW50", "query-secret"] {
            let told = finished.stdout.contains(secret) || finished.stderr.contains(secret);
            assert!(!told, "{secret} is told: {finished}");
        }
    }
}

#[test]
fn an_authority_of_the_operators_own_is_trusted_where_it_is_named() {
    let http = HttpFault::behaving(Eras::Both);
    let tls = TlsEnd::before(http.address());
    let refused = run(&Server::at(tls.url()), ECHO).expect_code(4);
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("the TLS certificate of localhost:"), "{refused}");
    assert!(http.received().is_empty());
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, tls.authority()).expect("a temporary file can be written");
    let trusting = |url: String| Server::at(url).setting(&format!("ca_file = {file:?}"));
    let fine = run(&trusting(tls.url()), ECHO).success();
    assert_eq!(fine.json()["value"], "hi", "{fine}");
    // Another name than the certificate's.
    let refused = run(&trusting(tls.url().replace("localhost", "127.0.0.1")), ECHO).expect_code(4);
    let message = refused.json()["error"]["message"].to_string();
    assert!(message.contains("is not trusted"), "{refused}");
}

#[test]
fn a_proxy_is_gone_through_and_its_password_told_to_nobody_else() {
    #[track_caller]
    fn goes_through(proxy: &Proxy, server: Server, first_line: &str) {
        let proxy_url = format!("http://anna:pr0xy-pass@{}", proxy.address());
        let server = server.setting("proxy = \"${THE_PROXY}\"");
        let cli = Cli::new("run").config(&server.toml("x")).env("THE_PROXY", proxy_url);
        let run =
            cli.env("TOOLCELL_LOG", "trace,toolcell=trace").args(["-c", ECHO]).run().success();
        assert_eq!(run.stdout.trim(), "hi", "{run}");
        let heads = proxy.heads();
        let head = heads.first().expect("the proxy was asked");
        assert!(head.starts_with(first_line), "{head}");
        let head = head.to_ascii_lowercase();
        let password = "proxy-authorization: basic yw5uytpwcjb4es1wyxnz";
        assert!(head.contains(password), "{head}");
        for secret in ["pr0xy-pass", "YW5uYTpwcjB4eS1wYXNz"] {
            assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret), "{run}");
        }
    }
    // Only the proxy knows the name; and loopback is no exception from a proxy that is configured.
    let http = HttpFault::behaving(Eras::Both);
    for url in ["http://mcp.test/mcp".to_owned(), http.url()] {
        let first_line = format!("POST {url} HTTP/1.1");
        goes_through(&Proxy::before(http.address()), Server::at(&url), &first_line);
    }
    let tls = TlsEnd::before(http.address());
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, tls.authority()).expect("a temporary file can be written");
    let server = Server::at("https://localhost/mcp").setting(&format!("ca_file = {file:?}"));
    let seen = http.received().len();
    goes_through(&Proxy::before(tls.address()), server, "CONNECT localhost:443 HTTP/1.1");
    let behind = http.received().split_off(seen);
    assert!(behind.iter().all(|request| request.header("proxy-authorization").is_none()));
}

#[test]
fn a_forgotten_session_is_renewed_without_the_script_seeing_it() {
    let http = HttpFault::behaving(Eras::Legacy);
    let host = Configured::new(|_| http.server().toml("x"));
    assert_eq!(value(&host.python(ECHO)), "hi");
    // From now on there is status 400 and an error without an id.
    http.forget_sessions();
    assert_eq!(value(&host.python(ECHO)), "hi");
    let opened = http.received().into_iter().filter_map(|request| request.message);
    let opened = opened.filter(|message| message.method == "initialize").count();
    assert_eq!(opened, 2);
}

#[test]
fn one_handshake_serves_many_calls_of_many_runs() {
    let http = HttpFault::behaving(Eras::Legacy);
    let host = Configured::new(|_| http.server().toml("x"));
    let code = "import asyncio\nfrom tools import aio\n\
                await asyncio.gather(*(aio.x.echo(text=str(n)) for n in range(5)))";
    for _ in 0..3 {
        assert_eq!(value(&host.python(code)), json!(["0", "1", "2", "3", "4"]));
    }
    let methods = http.received().into_iter().filter_map(|request| request.message);
    let methods: Vec<String> = methods.map(|message| message.method).collect();
    let count = |method: &str| methods.iter().filter(|other| *other == method).count();
    assert_eq!((count("initialize"), count("tools/list"), count("tools/call")), (1, 1, 15));
}
