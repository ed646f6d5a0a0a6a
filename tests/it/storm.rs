//! Servers that die at random while thousands of calls are under way: no call is lost without a
//! word, and none that may have been executed is made again unless its tool allows that.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use toolcell::tool::Phase;
use toolcell::upstream::settings::Retry;
use toolcell::upstream::{Access, UpstreamError};
use toolcell_tests::faulty::{Faulty, Wire};
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::tiny_mcp::Eras;
use toolcell_tests::wait_until;

use crate::door::{anybody, call_within, list, settings, upstreams};
use crate::hosts::block_on;

/// Calls that are under way at once.
const AT_ONCE: usize = 64;

/// Random numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    /// A seed of this moment, which is printed: a test that fails can be told again.
    fn new() -> Self {
        let seed = std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = || std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.subsec_nanos().into());
        let seed = seed.unwrap_or_else(now);
        println!("STORM_SEED={seed}");
        Self(seed | 1)
    }

    /// xorshift64
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct Storm {
    /// How each call ended, by its number.
    ended: Vec<Option<Result<String, UpstreamError>>>,
    kills: usize,
}

/// Makes so many calls, and kills the server after a random number of them again and again.
async fn storm(access: &Access, tool: &'static str, count: usize, kill: impl Fn()) -> Storm {
    let mut random = Random::new();
    let (next, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let ended = Arc::new(Mutex::new((0..count).map(|_| None).collect::<Vec<_>>()));
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (next, done, ended) = (Arc::clone(&next), Arc::clone(&done), Arc::clone(&ended));
            let access = access.clone();
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let at = usize::try_from(number).expect("few");
                    if at >= count {
                        return;
                    }
                    let arguments = json!({"number": number});
                    let end = call_within(&access, tool, arguments, PATIENCE).await;
                    ended.lock().expect("no thread panics")[at] = Some(end);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut kills = 0;
    let mut kill_at = 0;
    loop {
        kill_at += 100 + usize::try_from(random.below(300)).expect("few");
        if kill_at + AT_ONCE >= count {
            break;
        }
        while done.load(Ordering::Relaxed) < kill_at {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        kill();
        kills += 1;
    }
    for worker in workers {
        worker.await.expect("no worker panics");
    }
    let ended = std::mem::take(&mut *ended.lock().expect("no thread panics"));
    Storm { ended, kills }
}

/// Ten thousand calls of a tool that changes things.
fn calls_that_must_not_be_repeated(wire: Wire, eras: Eras) {
    const COUNT: usize = 10_000;
    let faulty = Faulty::start(wire, eras);
    let Storm { ended, kills } = block_on(async {
        let mut settings = settings(faulty.transport());
        settings.retry.attempts = 8;
        // Of a server that is left alone there is another story; here nobody may be spared.
        settings.breaker.failures = 0;
        let upstreams = upstreams(settings);
        let access = anybody(&upstreams);
        list(&access).await.expect("all is well");
        let kill = || match wire {
            Wire::Stdio => faulty.kill_processes(),
            _ => faulty.restart(),
        };
        let storm = storm(&access, "act", COUNT, kill).await;
        upstreams.close().await;
        storm
    });
    assert!(kills >= COUNT / 400 - 2, "{kills} kills");
    let mut executed = faulty.executed();
    let count = executed.len();
    executed.sort_unstable();
    executed.dedup();
    assert_eq!(executed.len(), count, "a call was executed twice");
    let (mut answered, mut lost) = (0, 0);
    for (number, end) in ended.iter().enumerate() {
        let number = number as u64;
        match end.as_ref().unwrap_or_else(|| panic!("call {number} never ended")) {
            Ok(text) => {
                assert_eq!(text, "done");
                assert!(executed.binary_search(&number).is_ok(), "{number} was never executed");
                answered += 1;
            }
            Err(UpstreamError::Unavailable { phase: Phase::Call, .. }) => lost += 1,
            // Nothing was sent, and it was tried often enough.
            Err(
                error @ (UpstreamError::Unavailable { .. }
                | UpstreamError::Down { .. }
                | UpstreamError::TimedOut { phase: Phase::Connect, .. }),
            ) => {
                let text = error.to_string();
                assert!(executed.binary_search(&number).is_err(), "{number} was executed: {text}");
            }
            Err(error) => panic!("call {number}: {error:?}"),
        }
    }
    println!("{wire:?}: {kills} kills; {answered} answered, {lost} lost in the middle");
    assert!(lost > 0, "the storm was none");
    assert!(answered > COUNT / 2, "{answered} answered, {lost} lost");
    wait_until(PATIENCE, "nothing is left", || faulty.open() == 0 && faulty.processes().is_empty());
}

#[test]
fn ten_thousand_calls_over_pipes_survive_a_server_that_is_killed_again_and_again() {
    calls_that_must_not_be_repeated(Wire::Stdio, Eras::Modern);
}

#[test]
fn ten_thousand_calls_over_http_survive_a_server_that_is_restarted_again_and_again() {
    calls_that_must_not_be_repeated(Wire::Http, Eras::Legacy);
}

#[test]
fn calls_that_may_be_repeated_are_and_all_succeed() {
    for (wire, tool) in [(Wire::Stdio, "again"), (Wire::Http, "look")] {
        let faulty = Faulty::start(wire, Eras::Modern);
        let Storm { ended, kills } = block_on(async {
            let mut settings = settings(faulty.transport());
            // Some are hit more than once.
            settings.retry = Retry { attempts: 10, ..settings.retry };
            settings.breaker.failures = 0;
            let upstreams = upstreams(settings);
            let access = anybody(&upstreams);
            list(&access).await.expect("all is well");
            let kill = || match wire {
                Wire::Stdio => faulty.kill_processes(),
                _ => faulty.restart(),
            };
            let storm = storm(&access, tool, 2000, kill).await;
            upstreams.close().await;
            storm
        });
        assert!(kills > 3, "{kills} kills");
        for (number, end) in ended.iter().enumerate() {
            let end = end.as_ref().unwrap_or_else(|| panic!("call {number} never ended"));
            assert!(end.is_ok(), "{wire:?}, call {number}: {end:?}");
        }
        let mut executed = faulty.executed();
        executed.sort_unstable();
        executed.dedup();
        assert_eq!(executed.len(), 2000);
    }
}
