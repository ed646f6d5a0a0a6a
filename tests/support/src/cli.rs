//! Runs the real `toolcell` binary, as a person or a shell would.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::processes::PATIENCE;

/// The folder of cargo's profile in which this test was built, `target/debug` or the like.
pub(crate) fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its file");
    let deps = test.parent().expect("a file has a folder");
    deps.parent().expect("tests lie in `deps`").to_owned()
}

/// The `toolcell` binary: `TOOLCELL_BIN`, or the one that was built next to this test.
///
/// # Panics
/// There is none.
#[track_caller]
pub fn toolcell() -> PathBuf {
    let binary = std::env::var_os("TOOLCELL_BIN")
        .map_or_else(|| profile_folder().join("toolcell"), PathBuf::from);
    let path = binary.display();
    assert!(
        binary.exists(),
        "{path} is missing: `cargo xtask test`, or `cargo build --bin toolcell`"
    );
    binary
}

/// One invocation of `toolcell`, in a folder of its own, with no environment but what a test says.
#[derive(Debug)]
pub struct Cli {
    folder: TempDir,
    program: PathBuf,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    stdin: Vec<u8>,
    limit: Duration,
}

impl Cli {
    /// `toolcell SUBCOMMAND`.
    ///
    /// The working directory is empty and temporary, `HOME` lies in it, and the cache of compiled
    /// components is the one that all tests share.
    #[track_caller]
    pub fn new(subcommand: &str) -> Self {
        let mut cli = Self::of(toolcell());
        cli.args.push(subcommand.into());
        cli
    }

    /// Another program, under the same circumstances.
    #[track_caller]
    pub fn of(program: PathBuf) -> Self {
        let folder =
            TempDir::with_prefix("toolcell-test-").expect("a temporary folder can be made");
        let home = folder.path().join("home");
        fs::create_dir(&home).expect("a folder can be made in a temporary one");
        let cache = std::env::var_os("TOOLCELL_CACHE_DIR").unwrap_or_else(|| {
            let target = profile_folder().parent().map(|target| target.join("toolcell"));
            target.expect("a profile's folder lies in the build folder").into()
        });
        let path = std::env::var_os("PATH").unwrap_or_default();
        let env = [("PATH", path), ("HOME", home.into()), ("TOOLCELL_CACHE_DIR", cache)];
        let env = env.map(|(name, value)| (name.into(), value)).into();
        let limit = Duration::from_secs(60);
        Self { folder, program, args: vec![], env, stdin: vec![], limit }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<T: Into<OsString>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// What it reads from stdin; nothing unless told.
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    /// Writes `toolcell.toml` and adds `--config toolcell.toml`.
    pub fn config(self, toml: &str) -> Self {
        self.file("toolcell.toml", toml).args(["--config", "toolcell.toml"])
    }

    /// Writes a file below the working directory.
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(name);
        let folder = path.parent().expect("a file has a folder");
        fs::create_dir_all(folder).expect("a folder can be made in a temporary one");
        fs::write(&path, text).expect("a temporary file can be written");
        self
    }

    /// Writes a program below the working directory.
    pub fn program(self, name: &str, text: &str) -> Self {
        let cli = self.file(name, text);
        let path = cli.folder().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .expect("who wrote a file may change its mode");
        cli
    }

    /// How long [`Cli::run`] waits before it kills and panics; a minute unless told.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Where it keeps compiled components.
    pub fn cache_folder(&self) -> PathBuf {
        PathBuf::from(&self.env[OsStr::new("TOOLCELL_CACHE_DIR")])
    }

    /// The working directory.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs to the end.
    ///
    /// # Panics
    /// It cannot start, or has not ended within the limit.
    #[track_caller]
    pub fn run(self) -> Finished {
        let limit = self.limit;
        self.spawn().finish(limit)
    }

    /// Starts it. Its stdin is closed as soon as the given text is written.
    #[track_caller]
    pub fn spawn(self) -> Running {
        let mut running = self.spawn_talking();
        running.stdin = None;
        running
    }

    /// Starts it, and keeps its stdin open for [`Running::write`].
    #[track_caller]
    pub fn spawn_talking(self) -> Running {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.env).current_dir(self.folder.path());
        // A process group of its own, so that a test can end all of it and Ctrl-C reaches it alone.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = format!("{} {:?}", self.program.display(), self.args);
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("failed to start {shown}: {error}"));
        let captured = Arc::new(Captured::default());
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let readers = vec![
            captured.clone().read(stdout, |text| &mut text.stdout),
            captured.clone().read(stderr, |text| &mut text.stderr),
        ];
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // Who ends without reading breaks the pipe, and may.
        let _ = stdin.write_all(&self.stdin);
        let start = Instant::now();
        Running { child, shown, stdin: Some(stdin), captured, readers, start, folder: self.folder }
    }
}

/// A signal that a person, a shell or an operating system sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// The polite request to end.
    Terminate,
    /// The end without a last word.
    Kill,
}

#[derive(Default)]
struct Text {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

#[derive(Default)]
struct Captured {
    text: Mutex<Text>,
    changed: Condvar,
}

impl Captured {
    fn read(
        self: Arc<Self>,
        mut from: impl Read + Send + 'static,
        into: fn(&mut Text) -> &mut Vec<u8>,
    ) -> JoinHandle<()> {
        thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(length @ 1..) = from.read(&mut chunk) {
                into(&mut self.text.lock().expect("no reader panics")).extend(&chunk[..length]);
                self.changed.notify_all();
            }
        })
    }

    fn strings(&self) -> (String, String) {
        let text = self.text.lock().expect("no reader panics");
        let string = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (string(&text.stdout), string(&text.stderr))
    }
}

/// A `toolcell` that has been started. It is killed with its process group when this is dropped.
pub struct Running {
    child: Child,
    shown: String,
    stdin: Option<ChildStdin>,
    captured: Arc<Captured>,
    readers: Vec<JoinHandle<()>>,
    start: Instant,
    folder: TempDir,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The working directory.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes to its stdin, which [`Cli::spawn_talking`] left open.
    #[track_caller]
    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(text.as_bytes()).expect("it reads its stdin");
    }

    /// Ends its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until a line of stdout or stderr contains `part`, and returns that line.
    ///
    /// # Panics
    /// No such line comes in time.
    #[track_caller]
    pub fn wait_for_line(&self, part: &str) -> String {
        self.wait_for_line_with(part, part)
    }

    /// As [`Running::wait_for_line`], for a line with two parts.
    ///
    /// # Panics
    /// No such line comes in time.
    #[track_caller]
    pub fn wait_for_line_with(&self, part: &str, other: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut text = self.captured.text.lock().expect("no reader panics");
        loop {
            for stream in [&text.stdout, &text.stderr] {
                let complete = stream.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
                let lines = String::from_utf8_lossy(&stream[..complete]);
                let mut lines = lines.lines();
                if let Some(line) = lines.find(|line| line.contains(part) && line.contains(other)) {
                    return line.to_owned();
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(text);
                let (stdout, stderr) = self.captured.strings();
                panic!("{} never said {part:?}\nstdout: {stdout}\nstderr: {stderr}", self.shown);
            }
            text = self.captured.changed.wait_timeout(text, left).expect("no reader panics").0;
        }
    }

    /// What it wrote on stdout so far.
    pub fn stdout(&self) -> String {
        self.captured.strings().0
    }

    /// Sends a signal to the process itself, not to its group.
    pub fn signal(&self, signal: Signal) {
        let number = match signal {
            Signal::Interrupt => libc::SIGINT,
            Signal::Terminate => libc::SIGTERM,
            Signal::Kill => libc::SIGKILL,
        };
        let pid = i32::try_from(self.child.id()).expect("a pid is an i32");
        // SAFETY: kill has no preconditions, and the child has not been waited for.
        unsafe { libc::kill(pid, number) };
    }

    /// Waits for the end, for at most `limit`.
    ///
    /// # Panics
    /// It has not ended by then. What it had said is shown, and it is killed.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Finished {
        let deadline = Instant::now() + limit;
        let status = loop {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    let (stdout, stderr) = self.captured.strings();
                    let shown = &self.shown;
                    panic!("{shown} still ran after {limit:?}\nstdout: {stdout}\nstderr: {stderr}");
                }
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        let elapsed = self.start.elapsed();
        // Whoever else holds the pipes must not hold up the test: a second is for our own readers.
        let patience = Instant::now() + Duration::from_secs(1);
        while !self.readers.iter().all(JoinHandle::is_finished) && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
        let (stdout, stderr) = self.captured.strings();
        Finished { shown: self.shown.clone(), status, stdout, stderr, elapsed }
    }

    fn kill_group(&mut self) {
        let pid = i32::try_from(self.child.id()).expect("a pid is an i32");
        // SAFETY: kill has no preconditions. The group's leader is our child and not yet waited for,
        // so the number cannot have been given to another group.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill_group();
        }
    }
}

/// What a `toolcell` that ended has left.
#[derive(Clone, Debug)]
pub struct Finished {
    shown: String,
    status: ExitStatus,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
    /// From start to end.
    pub elapsed: Duration,
}

impl Finished {
    /// The exit code; `None` if a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The number of the signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Asserts this exit code; what was printed is in the message.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{self}");
        self
    }

    /// Asserts exit code 0.
    #[track_caller]
    pub fn success(self) -> Self {
        self.expect_code(0)
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON: {error}\n{self}"))
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { shown, status, stdout, stderr, .. } = self;
        write!(f, "{shown}: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Cli {
        Cli::of("/bin/sh".into()).args(["-c", script])
    }

    #[test]
    fn a_finished_program_left_its_words_and_its_code() {
        let cli = shell(
            "read line; echo \"{\\\"line\\\": \\\"$line\\\"}\"; pwd >&2; echo $SECRET; exit 7",
        );
        let folder = cli.folder().canonicalize().expect("the folder exists");
        let finished = cli.stdin("one\n").run().expect_code(7);
        assert_eq!(finished.stdout, "{\"line\": \"one\"}\n\n");
        assert_eq!(finished.json()["line"], "one");
        assert_eq!(finished.stderr.trim(), folder.to_str().expect("UTF-8"));
    }

    #[test]
    fn a_running_program_can_be_heard_and_signalled() {
        let running =
            shell("trap 'echo caught; exit 130' INT; echo ready; while :; do sleep 0.01; done");
        let running = running.spawn();
        assert_eq!(running.wait_for_line("read"), "ready");
        running.signal(Signal::Interrupt);
        assert_eq!(running.finish(PATIENCE).expect_code(130).stdout, "ready\ncaught\n");
    }

    #[test]
    #[should_panic(expected = "still ran after")]
    fn a_program_that_does_not_end_is_killed() {
        shell("sleep 600").limit(Duration::from_millis(50)).run();
    }

    #[test]
    fn whoever_holds_the_pipes_does_not_hold_up_the_test() {
        let marker = crate::Marker::new();
        let cli = shell("sleep 600 & echo done").env(crate::Marker::VARIABLE, marker.as_str());
        assert_eq!(cli.run().success().stdout, "done\n");
        marker.kill();
    }
}
