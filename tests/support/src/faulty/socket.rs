//! Connections that can be ended in every way, from any thread, and are counted.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::lock;

/// The byte that tells `misbehaving-mcp proxy` to fail. It stands in no JSON.
pub(super) const DIE: u8 = 1;

/// All connections of a server.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    open: Mutex<HashMap<u64, Arc<Socket>>>,
    opened: AtomicU64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) number: u64,
    stream: TcpStream,
    outgoing: Mutex<Outgoing>,
}

#[derive(Debug, Default)]
struct Outgoing {
    /// How messages stand on it, once it carries a stream of them.
    framing: Option<Framing>,
    /// The rest of what was begun; it comes before anything else.
    rest: Vec<u8>,
}

/// How messages stand in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Lines,
    Events,
}

impl Framing {
    fn frame(self, message: &str) -> Vec<u8> {
        match self {
            Self::Lines => format!("{message}\n"),
            Self::Events => format!("event: message\ndata: {message}\n\n"),
        }
        .into_bytes()
    }
}

impl Sockets {
    pub(super) fn adopt(&self, stream: TcpStream) -> io::Result<Arc<Socket>> {
        stream.set_nodelay(true)?;
        let number = self.opened.fetch_add(1, Ordering::AcqRel) + 1;
        let socket = Arc::new(Socket { number, stream, outgoing: Mutex::default() });
        lock(&self.open).insert(number, Arc::clone(&socket));
        Ok(socket)
    }

    pub(super) fn forget(&self, socket: &Socket) {
        lock(&self.open).remove(&socket.number);
        // Its last copy may live in some thread for a moment longer.
        if !socket.lingers_for_no_time() {
            let _ = socket.stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn open(&self) -> usize {
        lock(&self.open).len()
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<Socket>> {
        lock(&self.open).get(&number).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Socket>> {
        lock(&self.open).values().cloned().collect()
    }

    pub(super) fn close_all(&self) {
        self.all().iter().for_each(|socket| socket.close());
    }

    pub(super) fn reset_all(&self) {
        self.all().iter().for_each(|socket| socket.reset());
    }

    /// Makes the child processes fail.
    pub(super) fn end_processes(&self) {
        let sockets = self.all();
        for socket in sockets.iter().filter(|socket| socket.framing() == Some(Framing::Lines)) {
            let _ = (&socket.stream).write_all(&[DIE]);
        }
    }

    /// One message to every stream.
    pub(super) fn tell_all(&self, message: &str) {
        for socket in self.all() {
            let _ = socket.send(message);
        }
    }

    /// The beginning of a message to every stream.
    pub(super) fn begin_all(&self, message: &str) {
        for socket in self.all() {
            let _ = socket.send_half(message);
        }
    }
}

impl Socket {
    /// From now on it carries a stream of messages.
    pub(super) fn carry(&self, framing: Framing) {
        lock(&self.outgoing).framing = Some(framing);
    }

    pub(super) fn framing(&self) -> Option<Framing> {
        lock(&self.outgoing).framing
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// One message, if this carries a stream of them.
    pub(super) fn send(&self, message: &str) -> io::Result<()> {
        let mut outgoing = lock(&self.outgoing);
        let Some(framing) = outgoing.framing else { return Ok(()) };
        let mut bytes = std::mem::take(&mut outgoing.rest);
        bytes.extend(framing.frame(message));
        (&self.stream).write_all(&bytes)
    }

    /// The first half of a message; the other one comes before the next message.
    pub(super) fn send_half(&self, message: &str) -> io::Result<()> {
        let mut outgoing = lock(&self.outgoing);
        let Some(framing) = outgoing.framing else { return Ok(()) };
        let mut bytes = framing.frame(message);
        outgoing.rest = bytes.split_off(bytes.len() / 2);
        (&self.stream).write_all(&bytes)
    }

    /// Bytes as they are.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let _turn = lock(&self.outgoing);
        (&self.stream).write_all(bytes)
    }

    /// Returns when the client has closed the connection, or somebody ends it here.
    pub(super) fn wait_for_the_client_to_go(&self) {
        while matches!((&self.stream).read(&mut [0; 512]), Ok(1..)) {}
    }

    /// An end in good order. Whoever reads or writes it wakes up.
    pub(super) fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// A reset: the socket lingers for no time, and goes as soon as its thread lets go of it, which
    /// this wakes.
    pub(super) fn reset(&self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let length = libc::socklen_t::try_from(size_of_val(&linger)).expect("two integers");
        // SAFETY: the descriptor is open, and the pointer and length describe `linger`.
        unsafe {
            let value = (&raw const linger).cast();
            libc::setsockopt(
                self.stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                value,
                length,
            );
        }
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    fn lingers_for_no_time(&self) -> bool {
        let mut linger = libc::linger { l_onoff: 0, l_linger: 0 };
        let mut length = libc::socklen_t::try_from(size_of_val(&linger)).expect("two integers");
        // SAFETY: the descriptor is open, and the pointers describe `linger` and its length.
        let failed = unsafe {
            let value = (&raw mut linger).cast();
            libc::getsockopt(
                self.stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                value,
                &raw mut length,
            )
        };
        failed == 0 && linger.l_onoff != 0
    }
}
