//! Nothing of a server outlives its connection, however the connection, or the host, ends.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{SHELL_SERVER, call, call_within, only, stdio};
use crate::upstream::Upstreams;
use crate::upstream::settings::TransportSettings;

/// A tree of processes that cling to life, each with the mark in its environment: children and
/// grandchildren, one that ignores SIGTERM, one in a session of its own, one whose parent is gone.
const TREE: &str = r#"
sleep 1000 &
sh -c 'sleep 1000 & sleep 1000' &
sh -c 'trap "" TERM HUP INT; while :; do sleep 1; done' &
setsid sh -c 'sleep 1000' &
(setsid sh -c 'trap "" TERM; sleep 1000; :' &)
"#;

/// A mark that no other test has, and the server with it.
fn marked(script: &str) -> (String, TransportSettings) {
    let mark = format!("mark-{}", crate::ids::RunId::random());
    let script = format!("{TREE}\n{script}");
    let transport = stdio("sh", &["-c", &script], &[("TOOLCELL_TEST_MARK", &mark)]);
    (mark, transport)
}

/// All processes with the mark, guards included.
fn survivors(mark: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()) && *pid != own)
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(mark.len()).any(|window| window == mark.as_bytes())
        })
        .map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!("{pid}: {}", String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .collect()
}

async fn alive(mark: &str, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while survivors(mark).len() < count {
        assert!(Instant::now() < deadline, "the tree did not grow: {:#?}", survivors(mark));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn gone(mark: &str, within: Duration) {
    let deadline = Instant::now() + within;
    while !survivors(mark).is_empty() {
        assert!(Instant::now() < deadline, "still there: {:#?}", survivors(mark));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Nine and more processes: the guard, the server, and the tree.
async fn grown(script: &str) -> (String, Upstreams) {
    let (mark, transport) = marked(script);
    let upstreams = only(transport);
    call(&upstreams, "echo", "{}").await.unwrap();
    alive(&mark, 9).await;
    (mark, upstreams)
}

#[tokio::test]
async fn nothing_survives_a_close() {
    let (mark, upstreams) = grown(SHELL_SERVER).await;
    let started = Instant::now();
    upstreams.close().await;
    assert_eq!(survivors(&mark), Vec::<String>::new());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test]
async fn nothing_survives_the_close_of_a_server_that_will_not_end() {
    let stubborn = format!("trap '' TERM INT HUP\n{SHELL_SERVER}\nwhile :; do sleep 1; done");
    let (mark, upstreams) = grown(&stubborn).await;
    let started = Instant::now();
    upstreams.close().await;
    assert_eq!(survivors(&mark), Vec::<String>::new());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn nothing_survives_a_drop() {
    let (mark, upstreams) = grown(SHELL_SERVER).await;
    drop(upstreams);
    gone(&mark, Duration::from_secs(3)).await;
}

#[tokio::test]
async fn nothing_survives_the_death_of_the_server_itself() {
    for end in ["die", "killed"] {
        let (mark, upstreams) = grown(SHELL_SERVER).await;
        call(&upstreams, end, "{}").await.unwrap_err();
        gone(&mark, Duration::from_secs(3)).await;
    }
}

#[tokio::test]
async fn nothing_survives_an_opening_that_fails_or_is_given_up() {
    let (mark, transport) = marked("exit 1");
    call(&only(transport), "echo", "{}").await.unwrap_err();
    gone(&mark, Duration::from_secs(3)).await;

    let (mark, transport) = marked("sleep 1000");
    let upstreams = only(transport);
    let call = call_within(&upstreams, "echo", "{}", Duration::from_secs(60));
    assert!(tokio::time::timeout(Duration::from_millis(500), call).await.is_err());
    gone(&mark, Duration::from_secs(3)).await;
}

#[test]
fn nothing_survives_the_end_of_the_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mark, upstreams) = runtime.block_on(grown(SHELL_SERVER));
    drop(runtime);
    drop(upstreams);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(gone(&mark, Duration::from_secs(3)));
}

/// Not a test of its own: the host of `nothing_survives_the_sigkill_of_the_host`, which is this
/// binary again.
#[tokio::test]
#[ignore = "started by another test"]
#[expect(clippy::disallowed_methods, reason = "how the other test tells this process its part")]
async fn a_host_to_be_killed() {
    if std::env::var_os("TOOLCELL_TEST_HOST").is_none() {
        return;
    }
    let (mark, _upstreams) = grown(SHELL_SERVER).await;
    println!("MARK {mark}");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn nothing_survives_the_sigkill_of_the_host() {
    let mut host = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "upstream::tests::processes::a_host_to_be_killed"])
        .args(["--ignored", "--nocapture"])
        .env("TOOLCELL_TEST_HOST", "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let mark = lines
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("MARK ")?.1.to_owned()))
        .expect("the host says its mark");
    assert!(survivors(&mark).len() >= 9);
    host.kill().unwrap();
    host.wait().unwrap();
    gone(&mark, Duration::from_secs(3)).await;
}

#[tokio::test]
async fn nothing_survives_the_sigkill_of_a_guard() {
    let (mark, transport) = marked(SHELL_SERVER);
    let upstreams = only(transport);
    let server = call(&upstreams, "pid", "{}").await.unwrap().first_text().to_owned();
    let stat = std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap();
    let guard = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().to_owned();
    let name = std::fs::read(format!("/proc/{guard}/cmdline")).unwrap();
    assert!(name.starts_with(b"toolcell-guard\0"));
    std::process::Command::new("kill").args(["-9", &guard]).status().unwrap();
    // The kernel ends the server. What the server had started is beyond anyone's reach but ours.
    let deadline = Instant::now() + Duration::from_secs(3);
    while std::path::Path::new(&format!("/proc/{server}")).exists() {
        assert!(Instant::now() < deadline, "the server is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for line in survivors(&mark) {
        let pid = line.split_once(':').unwrap().0;
        std::process::Command::new("kill").args(["-9", pid]).status().unwrap();
    }
}

/// The ends of a server's pipes belong to the server alone, so that each side notices the other's
/// end; and no server holds the lifeline of another.
#[tokio::test]
async fn a_server_inherits_three_descriptors_and_no_more() {
    let first = only(super::shell_server());
    call(&first, "echo", "{}").await.unwrap();
    let second = only(super::shell_server());
    let pid = call(&second, "pid", "{}").await.unwrap().first_text().to_owned();
    // A shell opens some for a moment while it works on a line. What it inherited is always there.
    let mut open = BTreeMap::new();
    for look in 0..20 {
        let seen = descriptors(&pid);
        match look {
            0 => open = seen,
            _ => open.retain(|fd, of| seen.get(fd) == Some(of)),
        }
        call(&second, "echo", "{}").await.unwrap();
    }
    assert!(open.keys().eq(&[0, 1, 2]), "{open:?}");
}

/// A process's open descriptors, and what they are of. Shells keep copies of what they redirect at 10
/// and above; these are left out.
fn descriptors(pid: &str) -> BTreeMap<u32, PathBuf> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        let fd = entry.file_name().to_str().unwrap().parse().unwrap();
        // One that is closed meanwhile was only for a moment.
        Some((fd, std::fs::read_link(entry.path()).ok()?))
    };
    entries.filter_map(read).filter(|(fd, _)| *fd < 10).collect()
}
