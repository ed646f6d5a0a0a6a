//! Where values come from besides the environment: `${file:PATH}` and `${command:PROGRAM …}`.
//!
//! A command is split into words as a shell would, but no shell runs it. It gets this process's
//! environment, starts in the file's folder, and runs once per load however often it is written.
//! Errors tell what it printed on stderr, never what it printed on stdout.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::load::MAX_FILE_BYTES;

/// The most that a file or a command may give.
const MAX_VALUE_BYTES: u64 = 64 << 10;

/// How long a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// What is kept of a command's last words.
const MAX_STDERR_BYTES: usize = 300;

/// The files and commands of one load.
#[derive(Default)]
pub(super) struct Providers {
    /// Every file that was looked at, as it was then.
    files: RefCell<Vec<FileState>>,
    outputs: RefCell<HashMap<Job, Result<String, String>>>,
    /// While this is set commands are only taken note of, to be run at once later.
    rehearsing: Cell<bool>,
    wanted: RefCell<Vec<Job>>,
}

/// A command line, and the folder in which it runs.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Job {
    folder: PathBuf,
    line: String,
}

impl Providers {
    /// Does something twice: first only to learn which commands it wants, then, after these ran side
    /// by side, for its result.
    pub(super) fn prepare(&self, mut work: impl FnMut()) {
        self.rehearsing.set(true);
        work();
        self.rehearsing.set(false);
        let wanted = self.wanted.take();
        let results = thread::scope(|scope| {
            let workers: Vec<_> =
                wanted.iter().map(|job| scope.spawn(|| run(&job.line, &job.folder))).collect();
            let failed = || Err("it could not be run".to_owned());
            let results =
                workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| failed()));
            results.collect::<Vec<_>>()
        });
        self.outputs.borrow_mut().extend(wanted.into_iter().zip(results));
    }

    /// The content of a file, without the newline at its end.
    pub(super) fn file(&self, path: &Path) -> Result<String, String> {
        let shown = path.display();
        let bytes = self.read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
        value(bytes).map_err(|cause| format!("{shown} {cause}"))
    }

    /// At most [`MAX_FILE_BYTES`] and one of a file, of which note is taken.
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = read(path);
        let content = bytes.as_deref().ok().map(blake3::hash);
        self.take_note(FileState { path: path.to_owned(), is_folder: false, content });
        bytes
    }

    /// Takes note of a folder of plugins.
    pub(super) fn folder(&self, path: &Path) {
        let content = listing(path).ok();
        self.take_note(FileState { path: path.to_owned(), is_folder: true, content });
    }

    fn take_note(&self, state: FileState) {
        let mut files = self.files.borrow_mut();
        match files.iter_mut().find(|known| known.path == state.path) {
            Some(known) => *known = state,
            None => files.push(state),
        }
    }

    /// The files that were looked at.
    pub(super) fn into_files(self) -> Vec<FileState> {
        self.files.into_inner()
    }

    /// What a command prints, without the newline at its end.
    pub(super) fn command(&self, line: &str, folder: &Path) -> Result<String, String> {
        let job = Job { folder: folder.to_owned(), line: line.to_owned() };
        if self.rehearsing.get() {
            let mut wanted = self.wanted.borrow_mut();
            if !wanted.contains(&job) {
                wanted.push(job);
            }
            return Ok(String::new());
        }
        let mut outputs = self.outputs.borrow_mut();
        outputs.entry(job).or_insert_with(|| run(line, folder)).clone()
    }
}

/// A file, and what was in it; nothing if it could not be read. Or a folder of plugins, and what is
/// told of them without reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileState {
    path: PathBuf,
    is_folder: bool,
    content: Option<blake3::Hash>,
}

impl FileState {
    /// The same file as it is now.
    pub(super) fn again(&self) -> Self {
        let Self { path, is_folder, content: _ } = self;
        let content = if *is_folder {
            listing(path).ok()
        } else {
            read(path).ok().as_deref().map(blake3::hash)
        };
        Self { path: path.clone(), is_folder: *is_folder, content }
    }
}

/// What a folder says of its components, manifests and signatures: names, sizes, times.
fn listing(folder: &Path) -> io::Result<blake3::Hash> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder)?.filter_map(Result::ok) {
        let path = entry.path();
        let of_plugin = path
            .extension()
            .is_some_and(|kind| ["wasm", "toml", "sig"].iter().any(|of| kind == *of));
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // A link's target counts, not the link.
        if let Some(metadata) = fs::metadata(&path).ok().filter(|_| of_plugin && !hidden) {
            let (size, time) = (metadata.len(), metadata.modified().ok());
            lines.push(format!("{:?} {size} {time:?}", entry.file_name()));
        }
    }
    lines.sort();
    Ok(blake3::hash(lines.join("\n").as_bytes()))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Bytes as a value.
fn value(mut bytes: Vec<u8>) -> Result<String, &'static str> {
    if bytes.len() as u64 > MAX_VALUE_BYTES {
        return Err("gives more than 64KiB");
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| "gives no UTF-8 text")
}

fn run(line: &str, folder: &Path) -> Result<String, String> {
    let words = shell_words::split(line).map_err(|_| "a quote is never closed".to_owned())?;
    let Some((program, args)) = words.split_first() else {
        return Err("no command is named".to_owned());
    };
    let told = |cause: &str| format!("the command `{program}` {cause}");
    // A path starts at the file's folder, as everywhere; a name is looked up in `PATH`.
    let is_path = program.contains(std::path::is_separator);
    let path = if is_path { folder.join(program) } else { PathBuf::from(program) };
    let mut command = Command::new(path);
    command.args(args).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that what it starts ends with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn().map_err(|error| told(&format!("cannot be started: {error}")))?;
    let id = child.id();
    let (done, waiting) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens any more if it took too long.
        let _ = done.send(watch(child));
    });
    let Ok(ended) = waiting.recv_timeout(COMMAND_TIMEOUT) else {
        kill_group(id);
        return Err(told(&format!("did not end within {} s", COMMAND_TIMEOUT.as_secs())));
    };
    ended.map_err(|cause| told(&cause))
}

/// Reads what a child prints, until its end.
fn watch(mut child: Child) -> Result<String, String> {
    let stderr = child.stderr.take();
    let last_words = thread::spawn(move || stderr.map(last_words).unwrap_or_default());
    let mut bytes = Vec::new();
    let read = match child.stdout.take() {
        // The pipe is closed after that, which ends a child that goes on and on.
        Some(stdout) => stdout.take(MAX_VALUE_BYTES + 1).read_to_end(&mut bytes),
        None => Ok(0),
    };
    let too_long = bytes.len() as u64 > MAX_VALUE_BYTES;
    let status = child.wait().map_err(|error| format!("cannot be waited for: {error}"))?;
    let value = value(bytes)?;
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if status.success() || too_long {
        return Ok(value);
    }
    let last_words = last_words.join().unwrap_or_default();
    let ended = match status.code() {
        Some(code) => format!("ended with exit code {code}"),
        None => "was killed".to_owned(),
    };
    match last_words.trim() {
        "" => Err(ended),
        words => Err(format!("{ended}: {words}")),
    }
}

/// The end of what is read, in one line.
fn last_words(mut from: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(MAX_STDERR_BYTES));
    }
    let text = String::from_utf8_lossy(&kept);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(unix)]
fn kill_group(leader: u32) {
    let Ok(leader) = libc::pid_t::try_from(leader) else { return };
    // SAFETY: `kill` takes plain numbers. The leader was not waited for yet, so the group is ours.
    unsafe {
        libc::kill(-leader, libc::SIGKILL);
    }
}

#[cfg(not(unix))]
fn kill_group(_: u32) {}
