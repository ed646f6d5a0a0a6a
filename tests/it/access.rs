//! Many users of one `toolcell serve`: who is let in, what each of them may have, and what nobody sees
//! of the others.

use serde_json::{Value, json};
use std::sync::Arc;
use toolcell::journal::{EntryKind, JournalStore, MemoryStore};
use toolcell::upstream::Caller;
use toolcell::{Host, Script};
use toolcell_tests::issuer::{Issuer, now};
use toolcell_tests::serving::{Reply, call, run_python};
use toolcell_tests::tiny_mcp::Eras;
use toolcell_tests::{Cli, HttpFault, Serving, fixtures};

use crate::hosts::{block_on, cache_folder};

const ANNA: &str = "annas-own-token-0123456789";
const BEN: &str = "bens-own-token-9876543210";
const AUDIENCE: &str = "https://tools.example.org/mcp";

/// Two people with a token each; Ben may use one profile only.
fn two_people() -> String {
    format!(
        "[server.tokens.anna]\ntoken = \"{ANNA}\"\n\
         [server.tokens.ben]\ntoken = \"${{BENS_TOKEN}}\"\nprofiles = [\"reader\"]\n"
    )
}

const PROFILES: &str = "default_profile = \"writer\"\n[profiles.reader]\ntools = [\"*\"]\n\
                        [profiles.writer]\ntools = [\"*\"]\n";

fn serve(toml: &str) -> Serving {
    let log = "info,toolcell=debug";
    Serving::of(Cli::new("serve").config(toml).env("BENS_TOKEN", BEN).env("TOOLCELL_LOG", log))
}

fn list_as(serving: &Serving, path: &str, token: &str) -> Reply {
    let list = call(1, "tools/list", &json!({}));
    serving.post(&list).path(path).header("Authorization", &format!("Bearer {token}")).send()
}

fn run_as(serving: &Serving, token: &str, code: &str) -> Value {
    run_with(serving, token, &json!({ "code": code }))
}

#[track_caller]
fn run_with(serving: &Serving, token: &str, arguments: &Value) -> Value {
    let params = json!({ "name": "run_python", "arguments": arguments });
    let post = serving.post(&call(1, "tools/call", &params));
    let reply = post.header("Authorization", &format!("Bearer {token}")).send();
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["result"].clone()
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().expect("a text")
}

#[test]
fn a_token_lets_its_owner_in_and_nothing_else_does() {
    let serving = serve(&format!("{PROFILES}{}", two_people()));
    assert_eq!(list_as(&serving, "/mcp", ANNA).status, 200);
    assert_eq!(list_as(&serving, "/mcp/reader", BEN).status, 200);
    for path in ["/mcp", "/mcp/writer"] {
        let refused = list_as(&serving, path, BEN);
        assert_eq!(refused.status, 403, "{path}: {refused:?}");
        assert!(refused.body.contains("open are reader"), "{refused:?}");
    }
    let list = call(1, "tools/list", &json!({}));
    for query in ["token", "access_token", "authorization", "bearer"] {
        let refused = serving.post(&list).path(&format!("/mcp?{query}={ANNA}")).send();
        assert_eq!(refused.status, 401, "{query}: {refused:?}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"toolcell\""));
    }
    let long = "x".repeat(1 << 20);
    for wrong in [&ANNA[1..], &ANNA.to_uppercase(), "", "a.b.c", &long] {
        let status = list_as(&serving, "/mcp", wrong).status;
        assert!([401, 431].contains(&status), "{status}");
    }
    for path in ["/sse", "/mcp", "/mcp/reader", "/mcp/nothing"] {
        assert_eq!(serving.get(path).status, 401, "{path}");
    }
    assert_eq!(list_as(&serving, "/mcp", ANNA).status, 200);
    let ended = serving.stop();
    let all = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!all.contains("own-token"), "{all}");
}

#[test]
fn i_come_with_a_token_that_is_not_for_here() {
    let issuer = Issuer::start();
    let toml = format!(
        "{PROFILES}{}[server.jwt]\nissuer = \"{}\"\naudience = \"{AUDIENCE}\"\n\
         scopes = [\"tools:use\"]\nprofiles_claim = \"profiles\"\nleeway = \"5s\"\n",
        two_people(),
        issuer.url()
    );
    let serving = serve(&toml);
    let good = || {
        let mut claims = issuer.claims(AUDIENCE, "carla");
        claims["scope"] = "openid tools:use".into();
        claims["profiles"] = json!(["writer"]);
        claims
    };
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = good();
        change(&mut claims);
        claims
    };
    let let_in = list_as(&serving, "/mcp", &issuer.token(&good()));
    assert_eq!(let_in.status, 200, "{let_in:?}");
    let several = with(&|claims| claims["aud"] = json!(["somebody", AUDIENCE]));
    assert_eq!(list_as(&serving, "/mcp", &issuer.token(&several)).status, 200);

    let cases = [
        (
            "expired",
            issuer.token(&with(&|claims| claims["exp"] = (now() - 60).into())),
            "has expired",
        ),
        ("endless", issuer.token(&with(&|claims| claims["exp"] = Value::Null)), "`exp` is missing"),
        (
            "early",
            issuer.token(&with(&|claims| claims["nbf"] = (now() + 60).into())),
            "not valid yet",
        ),
        ("for others", issuer.token(&with(&|claims| claims["aud"] = "x".into())), "this audience"),
        (
            "for nobody",
            issuer.token(&with(&|claims| claims["aud"] = Value::Null)),
            "`aud` is missing",
        ),
        ("of others", issuer.token(&with(&|claims| claims["iss"] = "x".into())), "another issuer"),
        ("forged", issuer.forged(&good()), "its signature"),
        ("unsigned", issuer.unsigned(&good()), "algorithm none is not accepted"),
        ("confused", issuer.confused(&good()), "algorithm HS256 is not accepted"),
        ("unknown key", issuer.token_by("key-99", &good()), "not known to its issuer"),
        ("nameless", issuer.token(&with(&|claims| claims["sub"] = Value::Null)), "names no caller"),
        (
            "lines",
            issuer.token(&with(&|claims| claims["sub"] = "a\nb".into())),
            "no name of a caller",
        ),
        ("borrowed", issuer.token(&with(&|claims| claims["sub"] = "anna".into())), "operator's"),
        ("cut", issuer.token(&good())[..80].to_owned() + ".x", "cannot be read"),
    ];
    for (name, token, reason) in &cases {
        let refused = list_as(&serving, "/mcp", token);
        assert_eq!(refused.status, 401, "{name}: {refused:?}");
        let challenge = refused.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains("error=\"invalid_token\""), "{name}: {challenge}");
        assert!(refused.body.contains(reason), "{name}: {refused:?}");
        assert!(!format!("{refused:?}").contains(&token[..20]), "{name}: {refused:?}");
    }
    let narrow = issuer.token(&with(&|claims| claims["scope"] = "openid".into()));
    let refused = list_as(&serving, "/mcp", &narrow);
    let challenge = refused.header("www-authenticate").expect("a challenge").to_owned();
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(challenge.contains("error=\"insufficient_scope\", scope=\"tools:use\""), "{challenge}");
    assert_eq!(list_as(&serving, "/mcp/reader", &issuer.token(&good())).status, 403);
    let none = issuer.token(&with(&|claims| claims["profiles"] = Value::Null));
    assert_eq!(list_as(&serving, "/mcp", &none).status, 403);

    let ended = serving.stop();
    let all = format!("{}{}", ended.stdout, ended.stderr);
    for (name, token, _) in &cases {
        assert!(!all.contains(&token[..60]), "{name}: {all}");
    }
}

#[test]
fn keys_that_the_issuer_replaces_are_fetched_anew_and_invented_ones_are_no_storm() {
    let issuer = Issuer::start();
    let toml = format!("[server.jwt]\nissuer = \"{}\"\naudience = \"{AUDIENCE}\"\n", issuer.url());
    let serving = serve(&toml);
    let claims = issuer.claims(AUDIENCE, "carla");
    let old = issuer.token(&claims);
    for _ in 0..5 {
        assert_eq!(list_as(&serving, "/mcp", &old).status, 200);
    }
    assert_eq!(issuer.key_fetches(), 1);
    issuer.rotate();
    assert_eq!(list_as(&serving, "/mcp", &issuer.token(&claims)).status, 200);
    assert_eq!(list_as(&serving, "/mcp", &old).status, 401);
    std::thread::scope(|scope| {
        for nth in 0..40 {
            let token = issuer.token_by(&format!("invented-{nth}"), &claims);
            let serving = &serving;
            scope.spawn(move || assert_eq!(list_as(serving, "/mcp", &token).status, 401));
        }
    });
    assert!(issuer.key_fetches() <= 5, "{} fetches", issuer.key_fetches());
    assert_eq!(list_as(&serving, "/mcp", &issuer.token(&claims)).status, 200);
    serving.stop();
}

#[test]
fn a_client_without_a_token_finds_the_way_to_one() {
    let issuer = Issuer::start();
    let toml = format!(
        "{PROFILES}[server.jwt]\nissuer = \"{}\"\naudience = \"{AUDIENCE}\"\nscopes = [\"tools:use\"]\n",
        issuer.url()
    );
    let serving = serve(&toml);
    for path in ["/mcp", "/mcp/reader"] {
        let refused = serving.post(&call(1, "tools/list", &json!({}))).path(path).send();
        assert_eq!(refused.status, 401, "{refused:?}");
        let challenge = refused.header("www-authenticate").expect("a challenge");
        assert!(!challenge.contains("error="), "{challenge}");
        let (_, after) = challenge.split_once("resource_metadata=\"").expect("where to look");
        let url = after.split('"').next().expect("a URL");
        let place = url.strip_prefix(&serving.url("")).expect("a place of its own");
        let document = serving.get(place);
        assert_eq!(document.status, 200, "{document:?}");
        let document = document.json();
        assert_eq!(document["resource"], serving.url(path), "{document}");
        assert_eq!(document["authorization_servers"], json!([issuer.url()]));
        assert_eq!(document["scopes_supported"], json!(["tools:use"]));
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    }
    assert_eq!(serving.get("/.well-known/oauth-protected-resource").status, 200);
    serving.stop();
    // Where no authorization server issues tokens there is nothing to find.
    let serving = serve(&two_people().replace("profiles = [\"reader\"]\n", ""));
    assert_eq!(serving.get("/.well-known/oauth-protected-resource/mcp").status, 404);
    serving.stop();
}

#[test]
fn two_people_share_no_session_no_connection_and_no_credential() {
    let upstream = HttpFault::behaving(Eras::Legacy);
    let toml = format!(
        "[servers.demo]\nurl = \"{}\"\n\
         headers = {{ Authorization = \"Bearer ${{caller.token}}\", X-Who = \"${{caller.id}}\" }}\n{}",
        upstream.url(),
        two_people().replace("profiles = [\"reader\"]\n", "")
    );
    let serving = serve(&toml);
    for (token, own) in [(ANNA, "upstream-secret-of-a"), (BEN, "upstream-secret-of-b")] {
        let code = "from tools import demo\nprint(dir(demo))\ndemo.echo(text='x')";
        let post = serving.post(&run_python(1, code));
        let reply = post
            .header("Authorization", &format!("Bearer {token}"))
            .header("X-Toolcell-Upstream-Token", own)
            .header("Accept", "application/json")
            .send();
        assert_eq!(reply.json()["result"]["isError"], false, "{reply:?}");
    }
    let received = upstream.received();
    let of = |who: &str| {
        let theirs = received.iter().filter(|request| request.header("x-who") == Some(who));
        theirs.collect::<Vec<_>>()
    };
    assert_eq!(of("anna").len() + of("ben").len(), received.len(), "nobody else called");
    for (who, own) in [("anna", "upstream-secret-of-a"), ("ben", "upstream-secret-of-b")] {
        let all = of(who);
        let bearer = format!("Bearer {own}");
        assert!(all.iter().all(|request| request.header("authorization") == Some(&bearer)));
        let methods = all.iter().filter_map(|request| Some(&*request.message.as_ref()?.method));
        let handshakes = methods.filter(|method| *method == "initialize").count();
        assert_eq!(handshakes, 1, "{who} has a connection of their own");
    }

    // Without a token for it the upstream is not called: the caller's own bearer is not handed on.
    let calls = upstream.calls();
    let code = "from tools import demo\ndemo.echo(text='x')";
    assert_eq!(run_as(&serving, ANNA, code)["isError"], true);
    assert_eq!(upstream.calls(), calls);

    let session = |token: &str, code: &str| {
        run_with(&serving, token, &json!({ "code": code, "session": "work" }))
    };
    assert_eq!(session(ANNA, "secret = 42")["isError"], false);
    assert_eq!(session(ANNA, "secret")["structuredContent"]["value"], 42);
    let other = session(BEN, "secret");
    assert!(text(&other).contains("NameError"), "{other}");
    let ended = serving.stop();
    let all = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!all.contains("upstream-secret") && !all.contains("own-token"), "{all}");
    assert!(
        all.contains("called") && all.contains("\"anna\"") && all.contains("\"run_python\""),
        "{all}"
    );
}

#[test]
fn the_third_run_at_once_is_refused_in_words_and_others_are_not() {
    let demo = fixtures::misbehaving("ok").toml("demo");
    let quotas = "[server.quotas]\nconcurrent_runs = 2\n";
    let people = two_people().replace("profiles = [\"reader\"]\n", "");
    let serving = serve(&format!("{demo}{people}{quotas}"));
    let begin = |id: u64| {
        let code = "from tools import demo\ndemo.slow(ms=60000)";
        let post = serving.post(&run_python(id, code)).header("Accept", "text/event-stream");
        let mut stream = post.header("Authorization", &format!("Bearer {ANNA}")).open();
        let (_, message) = stream.message().expect("it tells what it does");
        assert_eq!(message["method"], "notifications/progress", "{message}");
        stream
    };
    let running = [begin(1), begin(2)];
    let third = run_as(&serving, ANNA, "1");
    assert_eq!(third["isError"], true, "{third}");
    assert!(text(&third).contains("you may have 2 runs at once"), "{third}");
    assert_eq!(run_as(&serving, BEN, "1")["isError"], false);
    running.into_iter().for_each(toolcell_tests::serving::Stream::vanish);
    serving.stop();
}

#[test]
fn who_computed_enough_for_a_minute_is_told_when_to_come_back() {
    let people = two_people().replace("profiles = [\"reader\"]\n", "");
    let toml = format!("{people}[server.tokens.ben.quotas]\nfuel_per_minute = \"100k\"\n");
    let serving = serve(&toml);
    assert_eq!(run_as(&serving, BEN, "sum(range(100_000))")["isError"], false);
    let refused = run_as(&serving, BEN, "1");
    assert_eq!(refused["isError"], true, "{refused}");
    assert!(text(&refused).contains("and may use 100k: try again in"), "{refused}");
    assert_eq!(run_as(&serving, ANNA, "1")["isError"], false);
    serving.stop();
}

#[test]
fn who_called_is_in_the_record() {
    let store = Arc::new(MemoryStore::default());
    let host = Host::builder().cache_folder(cache_folder()).journal(Arc::clone(&store) as _);
    let host = block_on(host.build()).expect("a host starts");
    let caller = Caller { id: Some("anna".into()), token: None };
    let script = Script::python("1").caller(caller).client("an-agent 1.0");
    let report = block_on(host.run(script)).expect("it runs");
    let entries = block_on(store.entries(&report.run)).expect("the run has a record");
    let EntryKind::Started { caller, client, .. } = &entries[0].kind else { panic!("{entries:?}") };
    assert_eq!((caller.as_deref(), client.as_deref()), (Some("anna"), Some("an-agent 1.0")));
}
