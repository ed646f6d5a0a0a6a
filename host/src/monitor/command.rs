//! The alert command: a program of the operator's, started once per alert.
//!
//! No shell is in between. It gets the alert as JSON on stdin and as `TOOLCELL_ALERT_*` variables
//! beside our own environment. It has a process group of its own, which is killed when its time is
//! over or nobody waits for it any more.

use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, Command};
use tokio_util::task::AbortOnDropHandle;

use super::alert::Alert;
use crate::upstream::one_line;

/// What is kept of its stderr, for the log.
const STDERR_BYTES: usize = 2 << 10;

/// How long its last words may be on their way after it has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Runs the command to its end. Cancel-safe: dropped, it kills the group.
///
/// # Errors
/// It cannot be started, took too long, or says by its exit code that it failed; the text says so.
pub(super) async fn run(command: &[String], alert: &Alert, within: Duration) -> Result<(), String> {
    let Some((program, args)) = command.split_first() else {
        return Err("the command is empty".to_owned());
    };
    let mut child = Command::new(program)
        .args(args)
        .envs(alert.variables())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    let mut group = Group::of(&child);
    let said = Arc::new(Mutex::new(Vec::new()));
    let stderr = child.stderr.take();
    let mut listener = AbortOnDropHandle::new(tokio::spawn(listen(stderr, Arc::clone(&said))));
    let input = format!("{}\n", alert.to_json());
    let ended = tokio::time::timeout(within, feed_and_wait(&mut child, input.as_bytes())).await;
    let status = match ended {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return Err(format!("{program} cannot be waited for: {error}")),
        Err(_) => {
            return Err(format!(
                "{program} did not end within {} ms and was killed",
                within.as_millis()
            ));
        }
    };
    // Its number is free for others from now on.
    group.0 = None;
    if status.success() {
        return Ok(());
    }
    // What it left running may hold stderr open.
    let _ = tokio::time::timeout(LAST_WORDS, &mut listener).await;
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    Err(format!("{program} failed ({status}): {}", one_line(&String::from_utf8_lossy(&said))))
}

/// A program need not read its stdin.
async fn feed_and_wait(child: &mut Child, input: &[u8]) -> io::Result<std::process::ExitStatus> {
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(input).await;
        }
    };
    // The input is far smaller than a pipe, so writing it never waits for the program.
    feed.await;
    child.wait().await
}

/// Keeps the first part and reads on, so that the program is not held up.
async fn listen(stderr: Option<ChildStderr>, said: Arc<Mutex<Vec<u8>>>) {
    let Some(mut stderr) = stderr else { return };
    let mut chunk = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut chunk).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        let room = STDERR_BYTES.saturating_sub(said.len()).min(length);
        said.extend_from_slice(&chunk[..room]);
    }
}

/// The process group of a child that was not waited for yet. Killed on drop.
struct Group(Option<libc::pid_t>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| id.try_into().ok()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // SAFETY: a plain system call. The leader was not waited for, so the number is its.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::ids::UpstreamName;
    use crate::monitor::AlertEvent;
    use crate::upstream::ServerState;

    fn alert() -> Alert {
        Alert {
            event: AlertEvent::Down,
            server: UpstreamName::try_new("github").unwrap(),
            from: ServerState::Up,
            to: ServerState::Down,
            at: SystemTime::UNIX_EPOCH,
            since: SystemTime::UNIX_EPOCH,
            lasted: Duration::from_secs(1),
            cause: Some("refused; $(touch /tmp/x) `id`".into()),
            untold_changes: 0,
        }
    }

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(ToOwned::to_owned).to_vec()
    }

    #[tokio::test]
    async fn it_gets_the_alert_as_json_and_as_variables() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told");
        let command = ["sh", "-c", "cat >\"$0\"; env | grep ^TOOLCELL_ALERT_ | sort >>\"$0\""];
        let mut command = command.map(ToOwned::to_owned).to_vec();
        command.push(file.to_str().unwrap().to_owned());
        run(&command, &alert(), Duration::from_secs(20)).await.unwrap();
        let told = std::fs::read_to_string(file).unwrap();
        let (json, variables) = told.split_once('\n').unwrap();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!((&json["event"], &json["server"]), (&"down".into(), &"github".into()));
        assert_eq!(json["cause"], "refused; $(touch /tmp/x) `id`");
        for line in [
            "TOOLCELL_ALERT_EVENT=down",
            "TOOLCELL_ALERT_SERVER=github",
            "TOOLCELL_ALERT_AT=1970-01-01T00:00:00.000Z",
            "TOOLCELL_ALERT_CAUSE=refused; $(touch /tmp/x) `id`",
        ] {
            assert!(variables.lines().any(|it| it == line), "{line} is not in {variables}");
        }
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told_in_words() {
        let second = Duration::from_secs(20);
        let missing = run(&["/no/such/program".to_owned()], &alert(), second).await;
        assert!(missing.unwrap_err().starts_with("/no/such/program cannot be started: "));
        let failed = run(&shell("echo 'no \n route' >&2; exit 3"), &alert(), second).await;
        assert_eq!(failed.unwrap_err(), "sh failed (exit status: 3): no route");
    }

    #[tokio::test]
    async fn when_its_time_is_over_it_ends_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let mut command = shell("sleep 600 & echo $! >\"$0\"; wait");
        command.push(file.to_str().unwrap().to_owned());
        let started = Instant::now();
        let failed = run(&command, &alert(), Duration::from_millis(700)).await.unwrap_err();
        assert_eq!(failed, "sh did not end within 700 ms and was killed");
        assert!(started.elapsed() < Duration::from_secs(20));
        let child: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        while !gone() {
            assert!(started.elapsed() < Duration::from_secs(20), "its child lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
