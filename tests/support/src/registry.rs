//! Registries: Debian's `docker-registry`, as real as any, and one that lies. And the real cosign.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tempfile::TempDir;

use crate::processes::PATIENCE;

/// A program of Debian's that `cargo xtask test` unpacked. `None` on a machine without Debian's
/// packages, where the test says so and ends.
///
/// # Panics
/// The machine has them, and nobody unpacked them.
#[track_caller]
fn debian(program: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TOOLCELL_FIXTURES")
        .expect("TOOLCELL_FIXTURES is not set: run `cargo xtask test`");
    let packages = Path::new(&root).parent().expect("it lies in `fixtures`").join("debian");
    let path = packages.join(program);
    if path.exists() {
        return Some(path);
    }
    let without = packages.join("unavailable").exists();
    assert!(without, "{} is missing: run `cargo xtask test`", path.display());
    eprintln!("skipped: there is no {program} on this machine");
    None
}

/// A real registry on a free port of the loopback interface, with a storage of its own. It ends when
/// dropped, and however the test's process ends.
#[derive(Debug)]
pub struct RealRegistry {
    guard: Child,
    lifeline: Option<ChildStdin>,
    folder: TempDir,
    port: u16,
}

/// `ada` with the password `s3cret`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "ada:$2b$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n";

impl RealRegistry {
    /// One that everybody may use. `None` where it is not installed.
    #[track_caller]
    pub fn open() -> Option<Self> {
        Self::start("")
    }

    /// One that wants the user `ada` and the password `s3cret`.
    #[track_caller]
    pub fn with_login() -> Option<Self> {
        Self::start("auth: { htpasswd: { realm: test, path: HTPASSWD } }\n")
    }

    #[track_caller]
    fn start(auth: &str) -> Option<Self> {
        let program = debian("docker-registry/usr/bin/docker-registry")?;
        let folder = TempDir::with_prefix("toolcell-registry-").expect("a folder can be made");
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        std::fs::write(path("htpasswd"), HTPASSWD).expect("a file can be written");
        let auth = auth.replace("HTPASSWD", &path("htpasswd"));
        let config = format!(
            "version: 0.1\nlog: {{ level: info }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
             http: {{ addr: \"127.0.0.1:0\", relativeurls: true }}\n{auth}",
            path("storage")
        );
        std::fs::write(path("config.yml"), config).expect("a file can be written");
        let mut guard = Command::new("sh")
            .args(["-c", crate::fixtures::GUARD, "guard"])
            .arg(program)
            .args(["serve", &path("config.yml")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let lifeline = guard.stdin.take();
        let stderr = BufReader::new(guard.stderr.take().expect("stderr is a pipe"));
        let mut started = Self { guard, lifeline, folder, port: 0 };
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut said = String::new();
        loop {
            let line = lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("the registry did not start:\n{said}"));
            if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                started.port = digits.parse().expect("a port is a number");
                return Some(started);
            }
            said.push_str(&line);
            said.push('\n');
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Where it keeps what was pushed.
    pub fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.guard.wait();
    }
}

/// The real cosign, in a folder of its own where its keys are.
#[derive(Debug)]
pub struct Cosign {
    program: PathBuf,
    folder: TempDir,
}

impl Cosign {
    /// Version 2 or 3. `None` where it is not installed.
    #[track_caller]
    pub fn version(version: u8) -> Option<Self> {
        let program = debian(&format!("cosign-{version}/usr/bin/cosign"))?;
        let folder = TempDir::with_prefix("toolcell-cosign-").expect("a folder can be made");
        Some(Self { program, folder })
    }

    /// Where it runs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs it: whether it succeeds, and what it says.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> (bool, String) {
        let output = Command::new(&self.program)
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("COSIGN_PASSWORD", "")
            .env("COSIGN_YES", "true")
            .stdin(Stdio::null())
            .output()
            .expect("cosign starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Runs it to success.
    #[track_caller]
    pub fn must(&self, args: &[&str]) -> String {
        let (succeeds, said) = self.run(args);
        assert!(succeeds, "cosign {args:?}: {said}");
        said
    }
}

/// One answer of a [`LyingRegistry`].
#[derive(Clone, Debug)]
pub struct Lie {
    /// The status.
    pub status: u16,
    /// Headers, beside `content-length`.
    pub headers: Vec<(&'static str, String)>,
    /// What is announced as the body's length; none, if the end of the connection tells it.
    pub length: Option<u64>,
    /// The body.
    pub body: Body,
}

/// What comes after the head.
#[derive(Clone, Debug)]
pub enum Body {
    /// These bytes, and the end.
    Bytes(Vec<u8>),
    /// Zeros until the client has enough of them.
    Endless,
    /// These bytes, and then nothing, for as long as the client waits.
    Silence(Vec<u8>),
}

impl Lie {
    /// An honest answer.
    pub fn honest(body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self {
            status: 200,
            headers: vec![],
            length: Some(body.len() as u64),
            body: Body::Bytes(body),
        }
    }

    /// Another status, and nothing else.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::honest("") }
    }

    /// With a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A registry that answers as told, by path. HTTP is written by hand: a library would refuse to lie.
#[derive(Debug)]
pub struct LyingRegistry {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl LyingRegistry {
    /// These answers, by the path after `/v2/`; all else is not found. Its threads end with the
    /// test's process.
    pub fn new(answers: impl IntoIterator<Item = (String, Lie)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of loopback is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let answers: Arc<BTreeMap<String, Lie>> = Arc::new(answers.into_iter().collect());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let seen = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answers, seen) = (answers.clone(), seen.clone());
                // A client that has enough breaks the connection.
                thread::spawn(move || drop(answer(stream, &answers, &seen)));
            }
        });
        Self { address, requests }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn answer(
    mut stream: TcpStream,
    answers: &BTreeMap<String, Lie>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    let path = path.strip_prefix("/v2/").unwrap_or(&path);
    let missing = Lie::status(404);
    let lie = answers.get(path).unwrap_or(&missing);
    let mut text = format!("HTTP/1.1 {} Said\r\nconnection: close\r\n", lie.status);
    for (name, value) in &lie.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(length) = lie.length {
        text.push_str(&format!("content-length: {length}\r\n"));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes())?;
    match &lie.body {
        Body::Bytes(bytes) => stream.write_all(bytes),
        Body::Endless => loop {
            stream.write_all(&[0; 65536])?;
        },
        Body::Silence(bytes) => {
            stream.write_all(bytes)?;
            reader.read_to_end(&mut Vec::new()).map(drop)
        }
    }
}
