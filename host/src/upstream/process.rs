//! Server processes: started with a minimal environment, watched, heard on stderr, and ended with
//! everything that they started. How the ending is made certain is told in [`super::guard`].

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::watch;

use crate::upstream::error::Cause;
use crate::upstream::redact::Redactor;
use crate::upstream::settings::Secret;

/// The variables that a server gets without asking; `LC_*` besides. A server has no business with
/// the host's other variables, which often hold credentials.
const INHERITED_VARIABLES: [&str; 8] =
    ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER"];

/// What is kept of a server's stderr.
const STDERR_BYTES: usize = 8 << 10;

/// Between closing a server's stdin and ending it by force.
const EXIT_TIME: Duration = Duration::from_secs(2);

/// The guard needs 1 s of grace and rarely more than that to kill.
const GUARD_TIME: Duration = Duration::from_secs(3);

/// What to start.
pub(super) struct Program<'a> {
    pub(super) command: &'a str,
    pub(super) args: &'a [String],
    pub(super) env: &'a BTreeMap<String, Secret>,
    pub(super) cwd: Option<&'a Path>,
}

/// A running server process. Dropping it ends the whole tree within about a second, also if the
/// host has ended by then.
pub(super) struct Process {
    /// Open as long as the server may live. `None` once it may not.
    lifeline: Mutex<Option<Lifeline>>,
    exit: watch::Receiver<Option<ExitStatus>>,
    stderr: Arc<StderrTail>,
}

/// The pipes to and from a server.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
}

impl Process {
    /// Starts a program. It lives until the handle is dropped.
    ///
    /// # Errors
    /// The program is not there or cannot be executed; the text names it and says what to do.
    pub(super) fn start(
        program: &Program<'_>,
        redactor: Arc<Redactor>,
        server: &str,
    ) -> Result<(Self, Pipes), Cause> {
        let path = find(program)?;
        let failed = |error: io::Error| {
            Cause::with_source(format!("cannot start {}: {error}", path.display()), error)
        };
        let (mut command, lifeline) = prepare(&path, program.args).map_err(failed)?;
        command.env_clear().envs(environment(program.env));
        if let Some(cwd) = program.cwd {
            command.current_dir(cwd);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let lifeline = lifeline.attach(&child);
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Cause::new("the operating system gave no pipes to the process"));
        };
        let tail = Arc::new(StderrTail::new(redactor));
        tokio::spawn(listen(stderr, Arc::clone(&tail), server.to_owned()));
        let process =
            Self { lifeline: Mutex::new(Some(lifeline)), exit: watch_exit(child), stderr: tail };
        Ok((process, Pipes { stdin, stdout }))
    }

    /// Waits until the process has ended. Cancel-safe.
    pub(super) async fn ended(&self) -> Option<ExitStatus> {
        let mut exit = self.exit.clone();
        let status = exit.wait_for(Option::is_some).await.ok()?;
        *status
    }

    /// The last words on stderr, without secrets. Empty if there were none.
    pub(super) fn stderr_tail(&self) -> String {
        self.stderr.text()
    }

    /// Waits for the end of a server whose stdin was closed, then forces it.
    pub(super) async fn close(&self) {
        if tokio::time::timeout(EXIT_TIME, self.ended()).await.is_err() {
            self.cut_lifeline();
            if tokio::time::timeout(GUARD_TIME, self.ended()).await.is_err() {
                tracing::warn!("a server process does not end although it was killed");
            }
        }
        self.cut_lifeline();
    }

    /// Ends the process and all its descendants by force, without waiting for it.
    pub(super) fn cut_lifeline(&self) {
        drop(self.lifeline.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Collects the exit status. The worker ends with the process, which dropping the lifeline brings
/// about; it holds the `Child`, so that no zombie stays.
fn watch_exit(mut child: Child) -> watch::Receiver<Option<ExitStatus>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        if let Ok(status) = child.wait().await {
            sender.send_replace(Some(status));
        }
    });
    receiver
}

/// Looks the program up, so that the most common mistake gets the clearest words.
fn find(program: &Program<'_>) -> Result<PathBuf, Cause> {
    let cwd = match program.cwd {
        Some(cwd) if !cwd.is_dir() => {
            return Err(Cause::new(format!(
                "its working directory {} is not there",
                cwd.display()
            )));
        }
        Some(cwd) => cwd.to_owned(),
        None => std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
    };
    let cwd = std::path::absolute(&cwd).unwrap_or(cwd);
    let command = program.command;
    let path = match program.env.get("PATH") {
        Some(path) => Some(path.expose().into_owned().into()),
        None => inherited_path(),
    };
    which::which_in(command, path, &cwd).map_err(|_| {
        let text = if !command.contains('/') {
            format!(
                "the command {command:?} was not found in PATH; install it, or give its full path"
            )
        } else if cwd.join(command).exists() {
            format!("the command {command:?} is not an executable file")
        } else {
            format!("the command {command:?} does not exist")
        };
        Cause::new(text)
    })
}

/// What the server will inherit as its `PATH`.
#[expect(clippy::disallowed_methods, reason = "inherited by a child, not a setting of ours")]
fn inherited_path() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}

/// The environment of a server: the harmless part of ours, then what the settings add.
fn environment(
    added: &BTreeMap<String, Secret>,
) -> BTreeMap<std::ffi::OsString, std::ffi::OsString> {
    let inherited = std::env::vars_os().filter(|(name, _)| {
        name.to_str()
            .is_some_and(|name| INHERITED_VARIABLES.contains(&name) || name.starts_with("LC_"))
    });
    let added = added.iter().map(|(name, value)| (name.into(), value.expose().into_owned().into()));
    inherited.chain(added).collect()
}

#[cfg(target_os = "linux")]
use linux::{Lifeline, prepare};

#[cfg(target_os = "linux")]
mod linux {
    //! With a guard.

    use std::io;
    use std::os::fd::AsRawFd;
    use std::path::Path;

    use tokio::process::{Child, Command};

    use crate::upstream::guard;

    /// The host's end of the pipe that the guard watches. Closed on exec, so no other process ever
    /// holds it.
    pub(super) struct Lifeline {
        _write_end: io::PipeWriter,
    }

    /// Both ends, until the guard has its own.
    pub(super) struct Unattached {
        write_end: io::PipeWriter,
        _read_end: io::PipeReader,
    }

    impl Unattached {
        pub(super) fn attach(self, _child: &Child) -> Lifeline {
            Lifeline { _write_end: self.write_end }
        }
    }

    /// The command line that starts a guard, which starts the program.
    pub(super) fn prepare(path: &Path, args: &[String]) -> io::Result<(Command, Unattached)> {
        if !guard::is_armed() {
            return Err(io::Error::other("this binary was linked without the process guard"));
        }
        let (read_end, write_end) = io::pipe()?;
        let fd = read_end.as_raw_fd();
        // This very program, even if its file was replaced or deleted since.
        let mut command = Command::new("/proc/self/exe");
        command.arg0(guard::GUARD_NAME).arg(fd.to_string()).arg(path).args(args);
        // SAFETY: between fork and exec the closure makes one system call and touches no memory of
        // ours. It opens the read end for this child only: no other child can inherit it.
        unsafe {
            command.pre_exec(move || match libc::fcntl(fd, libc::F_SETFD, 0) {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        Ok((command, Unattached { write_end, _read_end: read_end }))
    }
}

#[cfg(not(target_os = "linux"))]
use elsewhere::{Lifeline, prepare};

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    //! Without a guard: a process group, which is killed on drop. A host that is itself killed by
    //! SIGKILL leaves servers behind that ignore the end of their stdin.

    use std::io;
    use std::path::Path;

    use tokio::process::{Child, Command};

    pub(super) struct Lifeline {
        group: Option<libc::pid_t>,
    }

    pub(super) struct Unattached;

    impl Unattached {
        pub(super) fn attach(self, child: &Child) -> Lifeline {
            Lifeline { group: child.id().and_then(|id| id.try_into().ok()) }
        }
    }

    impl Drop for Lifeline {
        fn drop(&mut self) {
            if let Some(group) = self.group {
                // SAFETY: a plain system call.
                unsafe { libc::kill(-group, libc::SIGKILL) };
            }
        }
    }

    pub(super) fn prepare(path: &Path, args: &[String]) -> io::Result<(Command, Unattached)> {
        let mut command = Command::new(path);
        command.args(args).process_group(0);
        Ok((command, Unattached))
    }
}

/// The last bytes of a server's stderr.
struct StderrTail {
    redactor: Arc<Redactor>,
    lines: Mutex<VecDeque<String>>,
}

impl StderrTail {
    fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, lines: Mutex::default() }
    }

    fn push(&self, line: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(line);
        // Redacted while it is whole; half a secret would not be recognised later.
        let text = self.redactor.clean(text.trim_end()).into_owned();
        if text.is_empty() {
            return None;
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_back(text.clone());
        let mut bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
        while bytes > STDERR_BYTES && lines.len() > 1 {
            bytes -= lines.pop_front().map_or(0, |line| line.len() + 1);
        }
        Some(text)
    }

    fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        lines.join("\n")
    }
}

/// Reads stderr line by line until the server closes it. A worker that ends with the process.
async fn listen(mut stderr: ChildStderr, tail: Arc<StderrTail>, server: String) {
    let mut pending = Vec::new();
    // A line is cut where it exceeds the tail, but never through the middle of a secret.
    let cut_at = STDERR_BYTES.max(tail.redactor.longest() * 2);
    while let Ok(read) = read_some(&mut stderr, &mut pending).await {
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            note(&tail, &line, &server);
        }
        if read == 0 {
            note(&tail, &pending, &server);
            return;
        }
        if pending.len() > cut_at {
            let keep = pending.split_off(pending.len() - tail.redactor.longest());
            note(&tail, &pending, &server);
            pending = keep;
        }
    }
}

async fn read_some(from: &mut (impl AsyncRead + Unpin), into: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0u8; 4096];
    let read = from.read(&mut chunk).await?;
    into.extend_from_slice(&chunk[..read]);
    Ok(read)
}

fn note(tail: &StderrTail, line: &[u8], server: &str) {
    if let Some(line) = tail.push(line) {
        tracing::debug!(server, "stderr: {line}");
    }
}
