//! What servers do wrong, and what the caller learns.

use std::time::{Duration, Instant};

use super::{call, call_within, only, settings, shell_server, stdio, upstream_name};
use crate::tool::Phase;
use crate::upstream::{Caller, Era, UpstreamError, Upstreams};

#[tokio::test]
async fn a_good_server_is_listed_once_and_called() {
    let upstreams = only(shell_server());
    let name = upstream_name("s");
    let catalog = upstreams.access(Caller::anonymous()).catalog(&name).await.unwrap();
    assert_eq!(catalog.era, Era::Legacy);
    assert_eq!(catalog.server_name.as_deref(), Some("shell"));
    assert_eq!(catalog.tools.len(), 2);
    assert_eq!(call(&upstreams, "echo", "{}").await.unwrap().first_text(), "ok");
    let again = upstreams.access(Caller::anonymous()).catalog(&name).await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&catalog, &again), "the list is kept");
    call(&upstreams, "changed", "{}").await.unwrap();
    let changed = upstreams.access(Caller::anonymous()).catalog(&name).await.unwrap();
    assert_eq!(&*changed.tools[1].name.tool, "pid99");
    upstreams.close().await;
    let error = call(&upstreams, "echo", "{}").await.unwrap_err();
    assert!(matches!(error, UpstreamError::Closed { .. }), "{error}");
}

#[tokio::test]
async fn the_faults_of_answers_are_told_apart_and_the_connection_stays() {
    let upstreams = only(shell_server());
    let pid = call(&upstreams, "pid", "{}").await.unwrap();
    let error = call(&upstreams, "reject", "{}").await.unwrap_err();
    let UpstreamError::Rejected { code: -32602, message, data: Some(_), .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(message, "bad arguments for [redacted]");
    assert!(call(&upstreams, "fail", "{}").await.unwrap().is_error);
    for tool in ["huge", "huge_ts"] {
        let error = call(&upstreams, tool, "{}").await.unwrap_err();
        assert!(matches!(error, UpstreamError::AnswerTooLarge { .. }), "{error}");
    }
    let error = call(&upstreams, "deep", "{}").await.unwrap_err();
    assert!(error.to_string().contains("nested deeper than 127 levels"), "{error}");
    let error = call(&upstreams, "input", "{}").await.unwrap_err();
    assert!(error.to_string().contains("asks for elicitation/create"), "{error}");
    let refusal = call(&upstreams, "ask", "{}").await.unwrap();
    assert!(refusal.first_text().contains("nobody who could answer sampling"), "{refusal:?}");
    assert_eq!(call(&upstreams, "banner", "{}").await.unwrap().first_text(), "ok");
    let still = call(&upstreams, "pid", "{}").await.unwrap();
    assert_eq!(pid.first_text(), still.first_text());
}

#[tokio::test]
async fn a_dead_server_is_explained_at_once_and_started_again() {
    let upstreams = only(shell_server());
    let pid = call(&upstreams, "pid", "{}").await.unwrap();
    for (tool, expected) in [
        ("die", "failed with exit status 3"),
        ("killed", "killed by signal 9"),
        ("close_stdout", "it closed its stdout"),
        ("noise", "text that is not MCP"),
    ] {
        let started = Instant::now();
        // A call that is under way beside it ends, too.
        let (error, other) =
            tokio::join!(call(&upstreams, tool, "{}"), call(&upstreams, "hang", "{}"));
        let error = error.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, UpstreamError::Unavailable { phase: Phase::Call, .. }),
            "{tool}: {error}"
        );
        assert!(text.contains(expected), "{tool}: {text}");
        assert!(text.contains("starting"), "{tool}: stderr belongs to it: {text}");
        assert!(!text.contains("swordfish"), "{tool}: {text}");
        assert!(started.elapsed() < Duration::from_secs(3), "{tool}: {:?}", started.elapsed());
        assert!(matches!(other.unwrap_err(), UpstreamError::Unavailable { .. }), "{tool}");
        let new = call(&upstreams, "pid", "{}").await.unwrap();
        assert_ne!(new.first_text(), pid.first_text(), "{tool}");
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_or_late_is_cancelled_and_the_connection_stays() {
    let upstreams = only(shell_server());
    let pid = call(&upstreams, "pid", "{}").await.unwrap();
    let late = call_within(&upstreams, "hang", "{}", Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(late, UpstreamError::TimedOut { phase: Phase::Call, .. }), "{late}");
    let dropped =
        tokio::time::timeout(Duration::from_millis(100), call(&upstreams, "hang", "{}")).await;
    assert!(dropped.is_err());
    assert_eq!(call(&upstreams, "cancelled", "{}").await.unwrap().first_text(), "2");
    assert_eq!(call(&upstreams, "pid", "{}").await.unwrap().first_text(), pid.first_text());
}

#[tokio::test]
async fn what_is_under_way_when_all_is_closed_is_cancelled_at_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let heard = || std::fs::read_to_string(&log).unwrap_or_default();
    let noting = r#"tee "$LOG" | sh -c "$SERVER""#;
    let env = [("LOG", log.to_str().unwrap()), ("SERVER", super::SHELL_SERVER), ("SECRET", "-")];
    let upstreams = only(stdio("sh", &["-c", noting], &env));
    let mut hanging = std::pin::pin!(call(&upstreams, "hang", "{}"));
    while !heard().contains(r#""name":"hang""#) {
        let asked = tokio::time::timeout(Duration::from_millis(10), &mut hanging).await;
        assert!(asked.is_err(), "{asked:?}");
    }
    // The caller has not even noticed yet.
    upstreams.close().await;
    assert!(heard().contains("notifications/cancelled"), "{}", heard());
    let error = hanging.await.unwrap_err();
    assert!(matches!(error, UpstreamError::Closed { .. }), "{error}");
}

#[tokio::test]
async fn callers_who_come_together_share_one_connection() {
    let upstreams = only(shell_server());
    let calls = (0..20).map(|_| call(&upstreams, "pid", "{}"));
    let pids: std::collections::HashSet<String> = futures::future::join_all(calls)
        .await
        .into_iter()
        .map(|output| output.unwrap().first_text().to_owned())
        .collect();
    assert_eq!(pids.len(), 1, "{pids:?}");
}

#[tokio::test]
async fn an_opening_survives_the_first_of_its_callers() {
    let upstreams = only(stdio("sh", &["-c", &format!("sleep 0.5; {}", super::SHELL_SERVER)], &[]));
    let first = call_within(&upstreams, "pid", "{}", Duration::from_millis(300));
    let second = call(&upstreams, "pid", "{}");
    let (first, second) = tokio::join!(first, second);
    let error = first.unwrap_err();
    assert!(matches!(error, UpstreamError::TimedOut { phase: Phase::Handshake, .. }), "{error}");
    second.unwrap();
}

#[tokio::test]
async fn what_cannot_be_started_is_named_with_the_way_out() {
    #[track_caller]
    fn check(error: &str, part: &str) {
        assert!(error.contains(part), "{error}");
    }
    let fault = async |transport| call(&only(transport), "x", "{}").await.unwrap_err().to_string();
    let error = fault(stdio("no-such-command-5417", &[], &[])).await;
    check(&error, "server s is not available (connecting)");
    check(&error, "was not found in PATH");
    check(&fault(stdio("/no/such/command", &[], &[])).await, "does not exist");
    check(&fault(stdio("/etc/passwd", &[], &[])).await, "not an executable");
    let error = fault(stdio("sh", &["-c", "echo oh dear >&2; exit 4"], &[])).await;
    check(&error, "exit status 4");
    check(&error, "oh dear");
    let script = "echo usage: server PORT; cat >/dev/null";
    let mut settings = settings("s", stdio("sh", &["-c", script], &[]));
    settings.timeouts.handshake = Duration::from_millis(300);
    let report = Upstreams::new(vec![settings], None).unwrap().check(&upstream_name("s")).await;
    check(&report.failure.unwrap(), "usage: server PORT");
}

#[tokio::test]
async fn a_silent_server_times_out_in_its_handshake() {
    for script in ["sleep 1000", "cat > /dev/null"] {
        let mut settings = settings("s", stdio("sh", &["-c", script], &[]));
        settings.timeouts.handshake = Duration::from_millis(300);
        let upstreams = Upstreams::new(vec![settings], None).unwrap();
        let report = upstreams.check(&upstream_name("s")).await;
        let failure = report.failure.unwrap();
        assert!(
            failure.contains("did not answer within 300 ms (in the MCP handshake)"),
            "{failure}"
        );
        assert_eq!(report.phases.last().unwrap().phase, "handshake");
    }
}

#[tokio::test]
async fn a_server_that_ignores_what_it_does_not_know_still_shakes_hands() {
    let mute =
        super::SHELL_SERVER.replace(r#"error '{"code":-32601,"message":"Method not found"}'"#, ":");
    let upstreams = only(stdio("sh", &["-c", &mute], &[]));
    call(&upstreams, "echo", "{}").await.unwrap();
}

#[tokio::test]
async fn a_server_that_dies_of_the_unknown_gets_a_second_start() {
    let fragile = super::SHELL_SERVER
        .replace(r#"error '{"code":-32601,"message":"Method not found"}'"#, "exit 9");
    let upstreams = only(stdio("sh", &["-c", &fragile], &[]));
    call(&upstreams, "echo", "{}").await.unwrap();
    call(&upstreams, "die", "{}").await.unwrap_err();
    call(&upstreams, "echo", "{}").await.unwrap();
}

#[tokio::test]
async fn a_server_sees_only_a_minimal_environment() {
    let upstreams = only(shell_server());
    let names = call(&upstreams, "environment", "{}").await.unwrap();
    assert!(names.first_text().contains("SECRET"), "{names:?}");
    // cargo gives every test a dozen variables of its own, which no server is to see.
    assert!(!names.first_text().contains("CARGO"), "{names:?}");
}

#[tokio::test]
async fn a_check_tells_times_and_tools() {
    let report = only(shell_server()).check(&upstream_name("s")).await;
    assert!(report.is_healthy(), "{report:?}");
    let phases: Vec<_> = report.phases.iter().map(|phase| phase.phase).collect();
    assert_eq!(phases, ["connect", "handshake", "list"]);
    assert_eq!(report.tool_count, 2);
}
