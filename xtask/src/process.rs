//! Running other programs: in view, with errors that say what failed, and none left behind.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Prints the title of a step, performs it, and prints how long it took. All on stderr.
pub(crate) fn step<T>(title: &str, perform: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {title}");
    let start = Instant::now();
    let done = perform()?;
    eprintln!("    done in {:.1} s: {title}", start.elapsed().as_secs_f64());
    Ok(done)
}

/// Runs a program to its end. It has no stdin; its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("failed to start `{}`", words(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", words(command));
    }
    Ok(())
}

/// Runs a program to its end and gives what it says on stdout and stderr, and whether it succeeded.
pub(crate) fn everything_said(command: &mut Command) -> Result<(bool, String)> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start `{}`", words(command)))?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

/// What a program prints on stdout, trimmed; `None` when it cannot be run or fails.
pub(crate) fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.trim().to_owned())
}

fn words(command: &Command) -> String {
    let args = command.get_args().map(|arg| arg.to_string_lossy());
    std::iter::once(command.get_program().to_string_lossy())
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Starts `"$@"` and ends it as soon as its own stdin reaches its end: the pipe's other end is ours,
/// and the kernel closes it however we end, Ctrl-C and SIGKILL included. Only the program itself
/// holds the stderr pipe, so that pipe's end means that the program has ended.
const GUARD: &str = r#"
trap : INT TERM
exec 3>&2 2>/dev/null
"$@" </dev/null >/dev/null 2>&3 3>&- &
exec 3>&-
cat
kill -KILL "$!"
wait "$!"
"#;

/// A program that lives as long as this value, and never longer than this process.
pub(crate) struct Guarded {
    guard: Child,
    lifeline: Option<ChildStdin>,
}

impl Guarded {
    /// Starts `command` and waits until it prints a stderr line that starts with `sign`. Returns
    /// the rest of that line.
    pub(crate) fn start(command: &Command, sign: &str, within: Duration) -> Result<(Self, String)> {
        let mut guarded = Command::new("sh");
        guarded.args(["-c", GUARD, "guard"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => guarded.env(name, value),
                None => guarded.env_remove(name),
            };
        }
        let mut guard = guarded
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start `{}`", words(command)))?;
        let lifeline = guard.stdin.take();
        let stderr = guard.stderr.take().context("stderr is a pipe")?;
        let started = Self { guard, lifeline };

        // Reads to the end, so that the program never waits for a full pipe.
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let deadline = Instant::now() + within;
        let mut said = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(sign) {
                        return Ok((started, rest.trim().to_owned()));
                    }
                    said.push_str(&line);
                    said.push('\n');
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    bail!("`{}` was not ready within {within:?}; it said:\n{said}", words(command));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    bail!("`{}` ended at its start; it said:\n{said}", words(command));
                }
            }
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.guard.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_guarded_program_ends_with_its_guard() {
        let program = shell("echo pid $$ >&2; exec sleep 300");
        let (guarded, pid) =
            Guarded::start(&program, "pid ", Duration::from_secs(10)).expect("starts");
        let process = std::path::PathBuf::from(format!("/proc/{pid}"));
        assert!(process.exists());
        drop(guarded);
        assert!(!process.exists());
    }

    #[test]
    fn a_guarded_program_that_fails_is_reported_with_its_words() {
        let started = Guarded::start(&shell("echo no luck >&2"), "pid ", Duration::from_secs(10));
        let error = started.err().expect("it never says `pid`").to_string();
        assert!(error.contains("ended at its start") && error.contains("no luck"), "{error}");
    }
}
