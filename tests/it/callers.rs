//! What the pool of connections promises, shown by what the server saw: who shares a connection,
//! when one is opened and closed, who waits, and what a cancelled call leaves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::join_all;
use serde_json::json;
use toolcell::tool::Phase;
use toolcell::upstream::settings::{
    Breaker, ConnectionCaps, HttpSettings, Lifecycle, Retry, Secret, SecretPart, Timeouts,
    TransportSettings,
};
use toolcell::upstream::{Access, Caller, UpstreamError, Upstreams};
use toolcell_tests::faulty::{Fault, Faulty, Moment, Seen, Wire};
use toolcell_tests::tiny_mcp::Eras;

use crate::door::{anybody, call, call_within, list, settings, until, upstreams};
use crate::hosts::block_on;

const ALL: [(Wire, Eras); 4] = [
    (Wire::Stdio, Eras::Legacy),
    (Wire::Stdio, Eras::Modern),
    (Wire::Http, Eras::Legacy),
    (Wire::Http, Eras::Modern),
];

/// How it is reached with the caller's own token.
fn with_token(faulty: &Faulty) -> TransportSettings {
    let token = Secret::template(vec![SecretPart::Text("Bearer ".into()), SecretPart::CallerToken]);
    match faulty.transport() {
        TransportSettings::Stdio { command, args, mut env, cwd } => {
            env.insert("TOKEN".into(), token);
            TransportSettings::Stdio { command, args, env, cwd }
        }
        TransportSettings::Http(http) => TransportSettings::Http(HttpSettings {
            headers: BTreeMap::from([("authorization".into(), token)]),
            ..http
        }),
        other => other,
    }
}

fn caller(upstreams: &Upstreams, token: &str) -> Access {
    upstreams.access(Caller { id: None, token: Some(Secret::new(token)) })
}

#[test]
fn callers_with_different_credentials_never_share_a_connection() {
    for (wire, eras) in ALL {
        let faulty = Faulty::start(wire, eras);
        block_on(async {
            let upstreams = upstreams(settings(with_token(&faulty)));
            let callers = ["anna", "ben", "anna"].map(|token| caller(&upstreams, token));
            let calls = (0..60).map(|n| call(&callers[n % 3], "act", json!({"number": n})));
            for outcome in join_all(calls).await {
                outcome.expect("all is well");
            }
            let nobody = call(&anybody(&upstreams), "act", json!({})).await;
            assert!(matches!(nobody, Err(UpstreamError::Caller { .. })), "{nobody:?}");
            upstreams.close().await;
        });
        let seen = faulty.seen();
        let sharing = |key: &dyn Fn(&Seen) -> Option<String>| {
            let mut tokens: HashMap<String, HashSet<&str>> = HashMap::new();
            for seen in &seen {
                if let Some(key) = key(seen) {
                    tokens.entry(key).or_default().insert(&seen.token);
                }
            }
            assert!(tokens.values().all(|tokens| tokens.len() == 1), "{wire:?}: {tokens:?}");
            tokens.len()
        };
        let connections = sharing(&|seen| Some(seen.connection.to_string()));
        let sessions = sharing(&|seen| seen.session.clone());
        let by = |token: &str| {
            let calls = seen.iter().filter(|seen| seen.message.method == "tools/call");
            calls.filter(|seen| seen.token == token).count()
        };
        assert_eq!((by("Bearer anna"), by("Bearer ben")), (40, 20), "{wire:?}, {eras:?}");
        // The same token is the same connection.
        assert_eq!(faulty.handshakes(), 2, "{wire:?}, {eras:?}");
        match (wire, eras) {
            (Wire::Stdio, _) => assert_eq!(connections, 2),
            (_, Eras::Legacy) => assert_eq!(sessions, 2),
            _ => {}
        }
    }
}

#[test]
fn a_caller_with_200_calls_makes_one_handshake() {
    for (wire, eras) in ALL {
        let faulty = Faulty::start(wire, eras);
        block_on(async {
            let upstreams = upstreams(settings(faulty.transport()));
            let access = anybody(&upstreams);
            let calls = (0..200).map(|n| call(&access, "act", json!({"number": n})));
            let outcomes: Vec<_> =
                futures::stream::iter(calls).buffer_unordered(64).collect().await;
            assert!(outcomes.iter().all(Result::is_ok), "{wire:?}, {eras:?}: {outcomes:?}");
            upstreams.close().await;
        });
        assert_eq!((faulty.handshakes(), faulty.executed().len()), (1, 200), "{wire:?}, {eras:?}");
    }
}

#[test]
fn connections_on_demand_belong_to_their_user_and_end_with_it() {
    let faulty = Faulty::start(Wire::Stdio, Eras::Modern);
    block_on(async {
        let mut settings = settings(faulty.transport());
        settings.lifecycle = Lifecycle::OnDemand;
        let upstreams = upstreams(settings);
        let (one, two) = (anybody(&upstreams), anybody(&upstreams));
        assert_eq!(faulty.opened(), 0);
        for _ in 0..3 {
            call(&one, "act", json!({})).await.expect("all is well");
        }
        assert_eq!(faulty.opened(), 1);
        call(&two, "act", json!({})).await.expect("all is well");
        assert_eq!((faulty.opened(), faulty.open()), (2, 2));
        drop(one);
        until("the first one's connection is closed", || faulty.open() == 1).await;
        call(&two, "act", json!({})).await.expect("all is well");
        drop(two);
        until("the second one's is closed too", || faulty.open() == 0).await;
        assert_eq!(faulty.opened(), 2);
    });
}

#[test]
fn fresh_connections_serve_one_call_each() {
    let faulty = Faulty::start(Wire::Stdio, Eras::Modern);
    block_on(async {
        let mut settings = settings(faulty.transport());
        settings.lifecycle = Lifecycle::Fresh;
        let upstreams = upstreams(settings);
        for _ in 0..3 {
            call(&anybody(&upstreams), "act", json!({})).await.expect("all is well");
        }
        until("all are closed", || faulty.open() == 0).await;
        assert_eq!(faulty.opened(), 3);
    });
}

#[test]
fn the_eleventh_caller_waits_for_a_place_and_takes_an_idle_one() {
    let faulty = Faulty::start(Wire::Stdio, Eras::Modern);
    block_on(async {
        let mut settings = settings(with_token(&faulty));
        assert_eq!(settings.connections, ConnectionCaps { max: 10, max_idle: 5 });
        settings.timeouts.pool = Duration::from_millis(300);
        let upstreams = upstreams(settings);
        let mut busy: Vec<_> = (0..10)
            .map(|n| {
                let access = caller(&upstreams, &format!("caller-{n}"));
                let arguments = json!({"ms": 600_000});
                tokio::spawn(async move { call(&access, "wait", arguments).await })
            })
            .collect();
        until("ten are busy", || faulty.count("tools/call") == 10).await;
        let eleventh = caller(&upstreams, "caller-10");
        let refused = call(&eleventh, "act", json!({})).await.expect_err("no place is free");
        assert_eq!(refused.phase(), Some(Phase::Pool), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("server s did not answer within 300 ms"), "{text}");
        assert!(text.contains("all of its 10 connections are in use"), "{text}");
        // A caller who goes leaves an idle connection, which makes room.
        busy.remove(0).abort();
        until("the server was told", || faulty.count("notifications/cancelled") == 1).await;
        call(&eleventh, "act", json!({})).await.expect("there is a place now");
        assert_eq!(faulty.opened(), 11);
        busy.iter().for_each(tokio::task::JoinHandle::abort);
        until("five idle ones are left", || faulty.open() == 5).await;
        upstreams.close().await;
        until("nothing is left open", || faulty.open() == 0).await;
    });
}

#[test]
fn an_idle_connection_is_closed_in_time_and_opened_again() {
    let faulty = Faulty::start(Wire::Stdio, Eras::Modern);
    block_on(async {
        let mut settings = settings(faulty.transport());
        settings.timeouts.idle = Some(Duration::from_millis(200));
        let upstreams = upstreams(settings);
        for opened in 1..=2 {
            call(&anybody(&upstreams), "act", json!({})).await.expect("all is well");
            until("it is closed", || faulty.open() == 0).await;
            assert_eq!(faulty.opened(), opened);
        }
    });
}

#[test]
fn a_server_that_is_down_is_left_alone_and_comes_back() {
    let faulty = Faulty::start(Wire::Http, Eras::Legacy);
    block_on(async {
        let mut settings = settings(faulty.transport());
        settings.retry = Retry { attempts: 1, ..Retry::default() };
        settings.breaker = Breaker { cooldown: Duration::from_secs(1), ..Breaker::default() };
        let upstreams = upstreams(settings);
        let access = anybody(&upstreams);
        faulty.arm(Fault::Refused, Moment::Connect);
        for _ in 0..5 {
            let error = call(&access, "act", json!({})).await.expect_err("nothing listens");
            assert!(matches!(error, UpstreamError::Unavailable { .. }), "{error}");
        }
        faulty.heal();
        let error = call(&access, "act", json!({})).await.expect_err("it is left alone");
        let text = error.to_string();
        for part in
            ["server s has been down since 20", "is tried again at 20", "is the server running?"]
        {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert_eq!(faulty.opened(), 0, "it was asked all the same");
        let start = Instant::now();
        while call(&access, "act", json!({})).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "it does not come back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(faulty.executed().len(), 0, "only numbered calls are noted");
        assert_eq!(faulty.count("tools/call"), 1);
    });
}

#[test]
fn a_tool_that_keeps_silent_is_left_alone_and_the_others_are_not() {
    let faulty = Faulty::start(Wire::Stdio, Eras::Modern);
    block_on(async {
        let mut settings = settings(faulty.transport());
        settings.retry = Retry { attempts: 1, ..Retry::default() };
        let upstreams = upstreams(settings);
        let access = anybody(&upstreams);
        list(&access).await.expect("all is well");
        let wait = || {
            let short = Duration::from_millis(100);
            call_within(&access, "wait", json!({"ms": 600_000}), short)
        };
        for _ in 0..5 {
            let error = wait().await.expect_err("it takes ten minutes");
            assert_eq!(error.phase(), Some(Phase::Call), "{error}");
        }
        let error = wait().await.expect_err("it is left alone");
        assert!(matches!(error, UpstreamError::Down { .. }), "{error}");
        assert!(error.to_string().contains("tool s.wait has been down since"), "{error}");
        call(&access, "act", json!({})).await.expect("the server is there");
        assert_eq!(faulty.count("notifications/cancelled"), 5);
        upstreams.close().await;
    });
}

#[test]
fn fifty_who_wait_for_a_dead_server_make_one_reconnection() {
    let faulty = Faulty::start(Wire::Stdio, Eras::Modern);
    block_on(async {
        let upstreams = upstreams(settings(faulty.transport()));
        let access = anybody(&upstreams);
        // Whether a call may be repeated is known from the list.
        list(&access).await.expect("all is well");
        faulty.kill_processes();
        until("it is dead", || faulty.open() == 0).await;
        let calls = (0..50).map(|n| call(&access, "again", json!({"number": n})));
        let outcomes = join_all(calls).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!((faulty.opened(), faulty.handshakes()), (2, 2));
        upstreams.close().await;
    });
}

#[test]
fn a_cancelled_call_is_cancelled_at_the_server_and_the_connection_lives_on() {
    for (wire, eras) in ALL {
        let faulty = Faulty::start(wire, eras);
        block_on(async {
            let upstreams = upstreams(settings(faulty.transport()));
            let access = anybody(&upstreams);
            call(&access, "act", json!({})).await.expect("all is well");
            let before = faulty.open();
            faulty.arm(Fault::Silent, Moment::Call);
            let asks = access.clone();
            let asking = tokio::spawn(async move { call(&asks, "act", json!({})).await });
            until("it was asked", || faulty.count("tools/call") == 2).await;
            asking.abort();
            if (wire, eras) == (Wire::Http, Eras::Modern) {
                // The end of its stream is how the server learns of it.
                until("the stream is closed", || faulty.open() < before.max(1)).await;
                assert_eq!(faulty.count("notifications/cancelled"), 0);
            } else {
                until("it was told", || faulty.count("notifications/cancelled") == 1).await;
                let seen = faulty.seen();
                let last = |method: &str| {
                    seen.iter().rev().find(|seen| seen.message.method == method).expect("came")
                };
                let cancelled = &last("notifications/cancelled").message.params["requestId"];
                assert_eq!(Some(cancelled), last("tools/call").message.id.as_ref());
            }
            faulty.heal();
            call(&access, "act", json!({})).await.expect("the connection lives on");
            assert_eq!(faulty.handshakes(), 1, "{wire:?}, {eras:?}");
            upstreams.close().await;
        });
    }
}

#[test]
fn giving_up_on_a_server_that_hangs_at_its_start_leaves_nothing() {
    for (wire, eras) in ALL {
        let faulty = Faulty::start(wire, eras);
        faulty.arm(Fault::Silent, Moment::Connect);
        block_on(async {
            let settings = settings(faulty.transport());
            let timeouts = Timeouts { handshake: Duration::from_secs(600), ..Timeouts::default() };
            let upstreams =
                upstreams(toolcell::upstream::settings::UpstreamSettings { timeouts, ..settings });
            let access = anybody(&upstreams);
            let asks = access.clone();
            let asking = tokio::spawn(async move { call(&asks, "act", json!({})).await });
            until("it was asked", || !faulty.seen().is_empty()).await;
            asking.abort();
            until("nothing is left", || faulty.open() == 0 && faulty.processes().is_empty()).await;
            assert_eq!(upstreams.open_connections()[0].1, 0);
        });
    }
}
