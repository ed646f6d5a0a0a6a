//! An MCP server that does any fault, over any transport, at any moment, and says what it saw.
//!
//! [`Fault`] × [`Wire`] × [`Moment`] is the vocabulary. The server lives in the test's own process,
//! on real sockets; on stdio a child process (`misbehaving-mcp proxy`) carries its lines, so that
//! there is a process which can die. Apart from the fault that is armed it speaks real MCP. It
//! counts what is open, so that a test can show that nothing was left behind.
//!
//! - `plan`: what is armed, and what a request is answered with.
//! - `socket`: connections that can be ended in every way.
//! - `http`: streamable HTTP and HTTP+SSE. `lines`: the other end of the child process.

mod http;
mod lines;
mod plan;
mod socket;
mod tls;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use toolcell::upstream::settings::{HttpFlavour, HttpSettings, Secret, TransportSettings};

use crate::cli::profile_folder;
use crate::processes::{Marker, PATIENCE, wait_until};
use crate::tiny_mcp::{Eras, Request};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing listens.
    Refused,
    /// The name of the server's host does not exist.
    Dns,
    /// The server's certificate is signed by nobody.
    Tls,
    /// The URL's path leads to nothing.
    WrongPath,
    /// There is no such program.
    CommandMissing,
    /// The server dies: at the start, in a list, in a call, or while nothing happens.
    Exits,
    /// The server reads, and never answers.
    Silent,
    /// The answer comes after its time: [`Faulty::LATE`] later.
    Late,
    /// Half of a line, or of a body, or of an event; and then nothing.
    HalfLine,
    /// More than anybody reads.
    OverTheCap,
    /// The answer to a question that nobody asked.
    WrongId,
    /// The answer, twice.
    DuplicateId,
    /// A block of content of a type that nobody knows.
    UnknownBlock,
    /// A content type of HTTP that is not MCP's.
    UnknownMediaType,
    /// JSON that is no JSON-RPC.
    NotJsonRpc,
    /// This status of HTTP, with what belongs to it.
    Status(u16),
    /// The server dies and another one takes its place, which knows nothing of the first one's time.
    Restart,
    /// The connection is reset, in the middle of an answer if there is one.
    Reset,
    /// A stream of events that begins and falls silent.
    StreamStops,
    /// The connection is closed as if all was well.
    CleanClose,
    /// The server speaks only a revision of the protocol that is older than what we know.
    Older,
    /// The server speaks only a revision of the protocol that is newer than what we know.
    Newer,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Refused,
        Self::Dns,
        Self::Tls,
        Self::WrongPath,
        Self::CommandMissing,
        Self::Exits,
        Self::Silent,
        Self::Late,
        Self::HalfLine,
        Self::OverTheCap,
        Self::WrongId,
        Self::DuplicateId,
        Self::UnknownBlock,
        Self::UnknownMediaType,
        Self::NotJsonRpc,
        Self::Status(401),
        Self::Status(403),
        Self::Status(404),
        Self::Status(429),
        Self::Status(500),
        Self::Status(503),
        Self::Restart,
        Self::Reset,
        Self::StreamStops,
        Self::CleanClose,
        Self::Older,
        Self::Newer,
    ];
}

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The pipes of a child process.
    Stdio,
    /// HTTP+SSE (revision 2024-11-05).
    Sse,
    /// Streamable HTTP. To requests of the old era it answers with streams of events and hands out
    /// sessions; to those of the new one with JSON.
    Http,
}

/// When the fault shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// At the start, or in the handshake.
    Connect,
    /// When the tools are listed.
    List,
    /// When a tool is called.
    Call,
    /// While nobody calls: at once where that is possible, or when the server is asked whether it
    /// is there.
    Idle,
}

impl Moment {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Connect, Self::List, Self::Call, Self::Idle];
}

/// One message as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Over which connection of the network, or from which process; counted from 1.
    pub connection: u64,
    /// In which MCP session.
    pub session: Option<String>,
    /// The `Authorization` header, or the variable `TOKEN` of the process.
    pub token: String,
    /// What.
    pub message: Request,
}

/// A running server. It ends when dropped.
#[derive(Debug)]
pub struct Faulty {
    shared: Arc<Shared>,
    marker: Marker,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    acceptor: Mutex<Option<Acceptor>>,
    wire: Wire,
    eras: Eras,
    plan: plan::Plan,
    sockets: socket::Sockets,
    seen: Mutex<Vec<Seen>>,
    /// The numbers of the calls that were executed, in order.
    executed: Mutex<Vec<u64>>,
    /// MCP sessions that are alive.
    sessions: Mutex<Vec<String>>,
    next_session: AtomicU64,
    /// The children that carry our lines.
    children: Mutex<Vec<i32>>,
}

#[derive(Debug)]
struct Acceptor {
    worker: JoinHandle<()>,
    over: Arc<AtomicBool>,
}

impl Faulty {
    /// How much later a late answer comes.
    pub const LATE: Duration = Duration::from_millis(2500);

    /// Starts one that behaves.
    pub fn start(wire: Wire, eras: Eras) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port of loopback is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            address,
            acceptor: Mutex::default(),
            wire,
            eras: if wire == Wire::Sse { Eras::Legacy } else { eras },
            plan: plan::Plan::default(),
            sockets: socket::Sockets::default(),
            seen: Mutex::default(),
            executed: Mutex::default(),
            sessions: Mutex::default(),
            next_session: AtomicU64::new(1),
            children: Mutex::default(),
        });
        shared.accept(listener);
        Self { shared, marker: Marker::new() }
    }

    /// How it is reached.
    pub fn transport(&self) -> TransportSettings {
        match self.shared.wire {
            Wire::Stdio => TransportSettings::Stdio {
                command: match self.shared.plan.is_armed(Fault::CommandMissing) {
                    true => "/nowhere/no-such-server".to_owned(),
                    false => path(&profile_folder().join("misbehaving-mcp")),
                },
                args: vec!["proxy".to_owned(), self.shared.address.to_string()],
                env: BTreeMap::from([(
                    Marker::VARIABLE.to_owned(),
                    Secret::new(self.marker.as_str()),
                )]),
                cwd: None,
            },
            Wire::Sse | Wire::Http => TransportSettings::Http(HttpSettings {
                flavour: match self.shared.wire {
                    Wire::Sse => HttpFlavour::Sse,
                    _ => HttpFlavour::StreamableHttp,
                },
                ..HttpSettings::new(self.url())
            }),
        }
    }

    /// Its endpoint. While one of the faults that are wrong URLs is armed it is that URL.
    pub fn url(&self) -> String {
        let Shared { address, .. } = *self.shared;
        let shared = &self.shared;
        let path = match shared.wire {
            _ if shared.plan.is_armed(Fault::WrongPath) => "nothing",
            Wire::Sse => "sse",
            _ => "mcp",
        };
        if shared.plan.is_armed(Fault::Dns) {
            // A label that is longer than DNS allows cannot be asked for, so no resolver has to be there.
            return format!("http://{}.invalid/{path}", "no-such-host".repeat(6));
        }
        let scheme = if shared.plan.is_armed(Fault::Tls) { "https" } else { "http" };
        format!("{scheme}://{address}/{path}")
    }

    /// From now on this goes wrong at that moment.
    pub fn arm(&self, fault: Fault, moment: Moment) {
        self.shared.plan.arm(fault, moment);
        match fault {
            Fault::Refused => {
                self.shared.stop_accepting();
                self.shared.sockets.close_all();
            }
            Fault::Restart => self.restart(),
            Fault::Reset | Fault::CleanClose if moment == Moment::Idle => {
                // It happens once. Who comes then finds all well.
                self.shared.plan.heal();
                self.shared.fail_now(fault);
            }
            _ if moment == Moment::Idle => self.shared.fail_now(fault),
            _ => {}
        }
    }

    /// From now on all is well: what has died is there again, on the same port.
    pub fn heal(&self) {
        self.shared.plan.heal();
        self.shared.listen_again();
    }

    /// Dies and comes back on the same port, and knows none of the sessions it had.
    pub fn restart(&self) {
        self.kill_processes();
        self.shared.exit();
        self.heal();
    }

    /// Kills the child processes that carry our lines.
    pub fn kill_processes(&self) {
        let children = std::mem::take(&mut *lock(&self.shared.children));
        for child in children {
            // SAFETY: kill has no preconditions. The id is that of a child which has not ended its
            // connection with us.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
    }

    /// Everything that came, in order.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// How often a method came.
    pub fn count(&self, method: &str) -> usize {
        lock(&self.shared.seen).iter().filter(|seen| seen.message.method == method).count()
    }

    /// How many connections began with a handshake.
    pub fn handshakes(&self) -> usize {
        match self.shared.eras {
            Eras::Modern => self.count("server/discover"),
            Eras::Legacy | Eras::Both => self.count("initialize"),
        }
    }

    /// The numbers of the calls that were executed, in order.
    pub fn executed(&self) -> Vec<u64> {
        lock(&self.shared.executed).clone()
    }

    /// How many connections are open: sockets, or child processes.
    pub fn open(&self) -> usize {
        self.shared.sockets.open()
    }

    /// How many there ever were.
    pub fn opened(&self) -> u64 {
        self.shared.sockets.opened()
    }

    /// The child processes that are alive: ids and command lines.
    pub fn processes(&self) -> Vec<(u32, String)> {
        match self.shared.wire {
            Wire::Stdio => self.marker.processes(),
            Wire::Sse | Wire::Http => Vec::new(),
        }
    }

    /// Says something unasked, to all who listen.
    pub fn tell_all(&self, message: &str) {
        self.shared.sockets.tell_all(message);
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.shared.plan.heal();
        self.shared.stop_accepting();
        self.shared.sockets.close_all();
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: TcpListener) {
        let shared = Arc::clone(self);
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let worker = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if until.load(Ordering::Acquire) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.converse(stream));
            }
        });
        *lock(&self.acceptor) = Some(Acceptor { worker, over });
    }

    fn stop_accepting(&self) {
        let acceptor = lock(&self.acceptor).take();
        if let Some(Acceptor { worker, over }) = acceptor {
            over.store(true, Ordering::Release);
            // Wakes it, so that it sees that it is over.
            let _ = TcpStream::connect(self.address);
            let _ = worker.join();
        }
    }

    fn listen_again(self: &Arc<Self>) {
        if lock(&self.acceptor).is_some() {
            return;
        }
        let mut listener = None;
        wait_until(PATIENCE, "the port is free again", || {
            listener = TcpListener::bind(self.address).ok();
            listener.is_some()
        });
        self.accept(listener.expect("it was waited for"));
    }

    fn converse(self: Arc<Self>, stream: TcpStream) {
        let Ok(socket) = self.sockets.adopt(stream) else { return };
        // A broken connection is what a client of a broken server leaves, and what it makes.
        let _ = match self.wire {
            _ if self.plan.is_armed(Fault::Tls) => tls::offer_certificate(&socket),
            Wire::Stdio => self.serve_lines(&socket),
            Wire::Sse | Wire::Http => self.serve_http(&socket),
        };
        self.sockets.forget(&socket);
    }

    /// The whole server dies in the middle of something: nobody listens from now on.
    fn exit(&self) {
        self.stop_accepting();
        lock(&self.sessions).clear();
        self.sockets.end_processes();
        self.sockets.reset_all();
    }

    fn note(&self, seen: Seen) {
        lock(&self.seen).push(seen);
    }

    fn note_execution(&self, request: &Request) {
        if let Some(number) = request.arguments()["number"].as_u64() {
            lock(&self.executed).push(number);
        }
    }
}

fn path(path: &std::path::Path) -> String {
    path.to_str().expect("paths of tests are UTF-8").to_owned()
}

/// A thread that panicked while it held one of these locks has failed the test already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
