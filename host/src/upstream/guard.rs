//! The guard: a small process between us and each server's process, which sees to it that nothing
//! of the server outlives its connection, however the host ends.
//!
//! A server is often a tree of processes (`npx` starts a shell, which starts node, which starts a
//! browser). Killing the one that we started leaves the others behind, and if the host itself is
//! killed by SIGKILL it can kill nothing. So the host starts *itself* under the name
//! [`GUARD_NAME`]; a constructor, which runs before `main`, recognises the name and becomes the
//! guard. That works in every binary that links this library, tests included, and needs no second
//! program to install. The guard
//!
//! - is its own session, so the terminal's Ctrl-C does not reach it or the server;
//! - is a *child subreaper*: a descendant whose parent died becomes its child, not init's;
//! - starts the server with the stdin, stdout and stderr that it got, and lets go of the first two;
//! - waits for the server's end, and for the end of the *lifeline*: a pipe whose other end only the
//!   host holds. When the host closes it, or ceases to exist, the guard ends the whole tree, first
//!   by SIGTERM, a second later by SIGKILL, until it has no child left;
//! - ends with the server's exit code, or 128 + the signal's number.
//!
//! If the guard itself is killed, the kernel kills the server's main process (PDEATHSIG).
//! Elsewhere than on Linux there is no guard and the host kills the server's process group.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The guard's `argv[0]`.
pub(super) const GUARD_NAME: &str = "toolcell-guard";

/// Between SIGTERM and SIGKILL when the host is done with the server.
const GRACE: Duration = Duration::from_secs(1);

/// The same for what a server leaves behind when it ends by itself. Short: calls may be waiting for
/// the news.
const LEFTOVER_GRACE: Duration = Duration::from_millis(200);

/// How long the guard tries to kill what starts new processes faster than they are killed.
const KILL_TIME: Duration = Duration::from_secs(5);

static ARMED: AtomicBool = AtomicBool::new(false);

/// Whether this binary can be started as a guard. It cannot if a linker dropped the constructor.
pub(super) fn is_armed() -> bool {
    ARMED.load(Ordering::Relaxed)
}

#[ctor::ctor(unsafe)]
fn divert() {
    ARMED.store(true, Ordering::Relaxed);
    // Not std::env::args: before main it is empty on some C libraries.
    let Ok(cmdline) = std::fs::read("/proc/self/cmdline") else { return };
    let name_len = GUARD_NAME.len();
    if cmdline.get(name_len) != Some(&0) || &cmdline[..name_len] != GUARD_NAME.as_bytes() {
        return;
    }
    let arguments: Vec<CString> = cmdline[name_len + 1..]
        .split_inclusive(|byte| *byte == 0)
        .filter_map(|word| CStr::from_bytes_with_nul(word).ok().map(CStr::to_owned))
        .collect();
    let code = match arguments.split_first() {
        Some((lifeline, command)) if !command.is_empty() => {
            match lifeline.to_str().ok().and_then(|digits| digits.parse().ok()) {
                Some(lifeline) => stand_guard(lifeline, command),
                None => 125,
            }
        }
        _ => 125,
    };
    // SAFETY: ends the process without running destructors of a program that never started.
    unsafe { libc::_exit(code) }
}

/// The guard's whole life. `command` is the program's path, then its arguments.
fn stand_guard(lifeline: RawFd, command: &[CString]) -> i32 {
    let Some(child_signals) = prepare() else { return 125 };
    let Some(server) = start(lifeline, command) else { return 125 };
    release_standard_streams();
    match wait(lifeline, child_signals, server) {
        Ended::Server(status) => {
            end_all(None, LEFTOVER_GRACE);
            exit_code(status)
        }
        Ended::Lifeline => exit_code(end_all(Some(server), GRACE).unwrap_or(libc::SIGKILL)),
    }
}

/// Makes this process fit to be a guard. Gives the descriptor that becomes readable when a child
/// ends.
fn prepare() -> Option<RawFd> {
    // SAFETY: plain system calls on this process, which has one thread and has run no other code.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        libc::setsid();
        // The lifeline alone says when to end. A service manager that signals every process of the
        // service ends the host, and so the lifeline, too.
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let mut mask = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut mask);
        libc::sigaddset(&mut mask, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut());
        let fd = libc::signalfd(-1, &mask, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        (fd >= 0).then_some(fd)
    }
}

/// Starts the server in a process group of its own.
fn start(lifeline: RawFd, command: &[CString]) -> Option<libc::pid_t> {
    let mut arguments: Vec<*const libc::c_char> =
        command.iter().map(|word| word.as_ptr()).collect();
    arguments.push(std::ptr::null());
    // SAFETY: this process has one thread, so the child may use all of libc after the fork.
    unsafe {
        let guard = libc::getpid();
        match libc::fork() {
            -1 => None,
            0 => {
                libc::setpgid(0, 0);
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                // The guard may have died before the line above.
                if libc::getppid() != guard {
                    libc::_exit(125);
                }
                libc::close(lifeline);
                restore_signals();
                libc::execv(arguments[0], arguments.as_ptr());
                libc::_exit(report_failed_exec(&command[0]))
            }
            child => {
                // Both sides do it, so that the group exists whoever runs first.
                libc::setpgid(child, child);
                Some(child)
            }
        }
    }
}

/// Undoes what a program would inherit through `exec`: ignored and blocked signals.
fn restore_signals() {
    // SAFETY: plain system calls on this process.
    unsafe {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut mask = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut mask);
        libc::sigprocmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut());
    }
}

/// Says on stderr why the program did not start. Gives the exit code that shells use.
fn report_failed_exec(program: &CStr) -> i32 {
    let error = std::io::Error::last_os_error();
    eprintln!("cannot start {}: {error}", program.to_string_lossy());
    if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }
}

/// Lets go of stdin and stdout, so that the ends of the pipes belong to the server alone and each
/// side notices when the other closes. The numbers stay taken.
fn release_standard_streams() {
    // SAFETY: plain system calls; nothing in this process uses the two descriptors.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        for fd in [0, 1] {
            if null < 0 || libc::dup2(null, fd) < 0 {
                libc::close(fd);
            }
        }
    }
}

enum Ended {
    /// The server's main process, with its wait status.
    Server(libc::c_int),
    /// The host's interest.
    Lifeline,
}

fn wait(lifeline: RawFd, child_signals: RawFd, server: libc::pid_t) -> Ended {
    loop {
        // The children first: a signal may have come before the descriptor existed.
        if let Some(status) = reap(Some(server)) {
            return Ended::Server(status);
        }
        let mut polled = [lifeline, child_signals].map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        // SAFETY: the array outlives the call.
        unsafe { libc::poll(polled.as_mut_ptr(), 2, -1) };
        if polled[0].revents != 0 {
            return Ended::Lifeline;
        }
        drain(child_signals);
    }
}

fn drain(child_signals: RawFd) {
    let mut buffer = [0u8; 1024];
    // SAFETY: the buffer is as long as we say; the descriptor does not block.
    while unsafe { libc::read(child_signals, buffer.as_mut_ptr().cast(), buffer.len()) } > 0 {}
}

/// Collects every child that has ended. Gives the server's wait status if it was among them.
fn reap(server: Option<libc::pid_t>) -> Option<libc::c_int> {
    let mut found = None;
    loop {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
        if pid <= 0 {
            return found;
        }
        if Some(pid) == server {
            found = Some(status);
        }
    }
}

/// Ends whatever descends from us: SIGTERM, then after `grace` SIGKILL, until there is no child
/// left. `server` is the main process unless it was collected before. Gives its wait status if it
/// ended here.
fn end_all(server: Option<libc::pid_t>, grace: Duration) -> Option<libc::c_int> {
    let started = Instant::now();
    let mut status = None;
    signal_all(server, libc::SIGTERM);
    while started.elapsed() < grace {
        status = status.or(reap(server));
        if !has_children() {
            return status;
        }
        nap();
    }
    while started.elapsed() < grace + KILL_TIME {
        signal_all(server.filter(|_| status.is_none()), libc::SIGKILL);
        status = status.or(reap(server));
        if !has_children() {
            return status;
        }
        nap();
    }
    status
}

fn nap() {
    // SAFETY: a plain system call. Children end within microseconds of the signal, but some need
    // to write a file first.
    unsafe { libc::usleep(5_000) };
}

fn has_children() -> bool {
    // SAFETY: asks without collecting; the structure outlives the call.
    unsafe {
        let mut info = std::mem::zeroed::<libc::siginfo_t>();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_ALL, 0, &mut info, flags) == 0
    }
}

fn signal_all(server: Option<libc::pid_t>, signal: libc::c_int) {
    // SAFETY: plain system calls. They reach our own descendants: the server's id is its own as long
    // as it was not collected, and the others were listed a moment ago.
    unsafe {
        if let Some(server) = server {
            // The group at once, so that none of it forks away between the list and the signals.
            libc::kill(-server, signal);
        }
        for pid in descendants() {
            libc::kill(pid, signal);
            // A stopped process does not see SIGTERM before it goes on.
            libc::kill(pid, libc::SIGCONT);
        }
    }
}

/// Every process below this one.
fn descendants() -> Vec<libc::pid_t> {
    // SAFETY: a plain system call.
    let mut queue = vec![unsafe { libc::getpid() }];
    let mut next = 0;
    while next < queue.len() {
        let pid = queue[next];
        next += 1;
        for child in children(pid) {
            if !queue.contains(&child) {
                queue.push(child);
            }
        }
    }
    queue.remove(0);
    queue
}

/// The children of one process, by the kernel's list, or without that by looking at everyone.
fn children(pid: libc::pid_t) -> Vec<libc::pid_t> {
    let mut found = Vec::new();
    let mut listed = false;
    if let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) {
        for thread in threads.flatten() {
            if let Ok(line) = std::fs::read_to_string(thread.path().join("children")) {
                listed = true;
                found.extend(
                    line.split_ascii_whitespace().filter_map(|pid| pid.parse::<libc::pid_t>().ok()),
                );
            }
        }
    }
    if listed { found } else { children_by_search(pid) }
}

fn children_by_search(parent: libc::pid_t) -> Vec<libc::pid_t> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &libc::pid_t| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: libc::pid_t) -> Option<libc::pid_t> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent …`, and the name may have spaces and parentheses.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn exit_code(status: libc::c_int) -> i32 {
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else if libc::WIFSIGNALED(status) {
        128 + libc::WTERMSIG(status)
    } else {
        125
    }
}
