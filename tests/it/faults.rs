//! Every fault, over every transport, at every moment: a typed error that names the server and the
//! way out, in time; then recovery; and nothing left behind. One table, told by `expected`.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use tokio::runtime::Handle;
use toolcell::ids::{ToolName, UpstreamName};
use toolcell::tool::Phase;
use toolcell::upstream::settings::{Retry, Timeouts, UpstreamSettings};
use toolcell::upstream::{CallContext, Caller, UpstreamError, Upstreams};
use toolcell_tests::faulty::{Fault, Faulty, Moment, Wire};
use toolcell_tests::tiny_mcp::Eras;

/// A transport in one of its eras.
const COLUMNS: [(Wire, Eras); 5] = [
    (Wire::Stdio, Eras::Legacy),
    (Wire::Stdio, Eras::Modern),
    (Wire::Sse, Eras::Legacy),
    (Wire::Http, Eras::Legacy),
    (Wire::Http, Eras::Modern),
];

/// How many cells are told at once. They mostly wait.
const WORKERS: usize = 24;

/// The deadline of everything that is asked in a cell, and what a busy machine may add to it.
const DEADLINE: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(4);

/// For what has to come to its end by itself.
const GENEROUS: Duration = Duration::from_secs(15);

#[derive(Clone, Copy)]
struct Cell {
    fault: Fault,
    wire: Wire,
    eras: Eras,
    moment: Moment,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, wire, eras, moment } = self;
        write!(f, "{fault:?} × {wire:?}, {eras:?} × {moment:?}")
    }
}

/// What has to come of a cell.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// There is no such thing, because …
    Senseless(&'static str),
    /// Nobody notices.
    Fine,
    /// An error of this kind, in this phase if it has one, that says this.
    Fails(Kind, Option<Phase>, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unavailable,
    TimedOut,
    TooLarge,
    BadAnswer,
    Unauthorized,
    Other,
}

impl Kind {
    fn of(error: &UpstreamError) -> Self {
        match error {
            UpstreamError::Unavailable { .. } => Self::Unavailable,
            UpstreamError::TimedOut { .. } => Self::TimedOut,
            UpstreamError::AnswerTooLarge { .. } => Self::TooLarge,
            UpstreamError::BadAnswer { .. } => Self::BadAnswer,
            UpstreamError::Unauthorized { .. } => Self::Unauthorized,
            _ => Self::Other,
        }
    }
}

/// The table.
fn expected(Cell { fault, wire, eras, moment }: Cell) -> Expected {
    use Expected::{Fails, Fine, Senseless};
    use Kind::{BadAnswer, TimedOut, TooLarge, Unauthorized, Unavailable};
    let phase = Some(match moment {
        Moment::Connect => Phase::Handshake,
        Moment::List => Phase::List,
        Moment::Call => Phase::Call,
        Moment::Idle => Phase::Probe,
    });
    let (pipes, connects) = (wire == Wire::Stdio, moment == Moment::Connect);
    // Its answers come in the exchange of their requests, as JSON.
    let is_json = wire == Wire::Http && eras == Eras::Modern;
    let in_time = "did not answer within 2 s";
    match fault {
        Fault::Dns | Fault::Tls | Fault::WrongPath if pipes => Senseless("pipes have no URL"),
        Fault::CommandMissing if !pipes => Senseless("what is on the net has no command"),
        Fault::Dns | Fault::Tls | Fault::WrongPath | Fault::CommandMissing if !connects => {
            Senseless("where a server is matters when it is connected; afterwards it is Refused")
        }
        Fault::Dns => Fails(Unavailable, Some(Phase::Connect), "cannot be resolved (DNS)"),
        Fault::Tls => Fails(Unavailable, Some(Phase::Connect), "is not trusted"),
        Fault::WrongPath => Fails(Unavailable, phase, "is its URL the MCP endpoint?"),
        Fault::CommandMissing => Fails(Unavailable, Some(Phase::Connect), "no-such-server"),
        Fault::Refused if pipes => Senseless("pipes have no listener"),
        Fault::Refused => Fails(Unavailable, Some(Phase::Connect), "is the server running?"),

        // A list is asked for again, and a probe looks twice; nobody makes a call twice.
        Fault::Exits if pipes && moment == Moment::Call => Fails(Unavailable, phase, "out of luck"),
        Fault::Exits if pipes => Fails(Unavailable, Some(Phase::Handshake), "out of luck"),
        Fault::Exits if moment == Moment::Call => Fails(Unavailable, phase, "before"),
        Fault::Exits => Fails(Unavailable, Some(Phase::Connect), "is the server running?"),
        Fault::Restart if moment != Moment::Idle => {
            Senseless("it happens between calls; within one it is Exits")
        }
        Fault::Restart => Fine,

        Fault::Silent | Fault::Late => Fails(TimedOut, phase, in_time),
        Fault::HalfLine => Fails(TimedOut, phase, in_time),
        Fault::StreamStops if pipes => Senseless("on pipes this is HalfLine"),
        Fault::StreamStops => Fails(TimedOut, phase, in_time),
        Fault::OverTheCap => Fails(TooLarge, None, "ask it for less at once"),
        Fault::WrongId if is_json => Fails(BadAnswer, None, "it answers another request"),
        Fault::WrongId if wire == Wire::Http => {
            Fails(Unavailable, phase, "ended before the answer")
        }
        Fault::WrongId => Fails(TimedOut, phase, in_time),
        Fault::DuplicateId => Fine,
        Fault::NotJsonRpc if is_json => Fails(BadAnswer, None, "it is not JSON-RPC"),
        Fault::NotJsonRpc if wire == Wire::Http => {
            Fails(Unavailable, phase, "ended before the answer")
        }
        Fault::NotJsonRpc => Fails(TimedOut, phase, in_time),
        Fault::UnknownBlock if moment != Moment::Call => {
            Senseless("only answers of tools have blocks")
        }
        Fault::UnknownBlock => Fine,
        Fault::UnknownMediaType | Fault::Status(_) if pipes => Senseless("pipes know no HTTP"),
        Fault::UnknownMediaType if wire == Wire::Sse && !connects => {
            Senseless("answers come over the stream, which has its type from the beginning")
        }
        Fault::UnknownMediaType => Fails(Unavailable, phase, "is this an MCP endpoint?"),

        Fault::Status(401 | 403) => Fails(Unauthorized, None, "check the credentials"),
        Fault::Status(404) => Fails(Unavailable, phase, "404"),
        Fault::Status(429 | 503) => Fails(Unavailable, phase, "try again after 1 s"),
        Fault::Status(_) => Fails(Unavailable, phase, "HTTP 500"),

        Fault::Reset if pipes => Senseless("a pipe cannot be reset; its process Exits"),
        Fault::Reset | Fault::CleanClose if moment == Moment::Idle => Fine,
        Fault::Reset => Fails(Unavailable, phase, "before"),
        Fault::CleanClose if pipes => Fails(Unavailable, phase, "exit status 0"),
        Fault::CleanClose if wire == Wire::Sse => {
            Fails(Unavailable, phase, "the server ended its stream of events")
        }
        Fault::CleanClose => Fails(Unavailable, phase, "before"),

        Fault::Older | Fault::Newer if !connects => Senseless("it shows in the handshake"),
        Fault::Older | Fault::Newer if eras == Eras::Modern => {
            Fails(Unavailable, phase, "protocol")
        }
        // What else it says is as it should be, and most servers of another revision work.
        Fault::Older | Fault::Newer => Fine,
    }
}

fn server() -> UpstreamName {
    UpstreamName::try_new("s").expect("a name")
}

/// Only what ends by its deadline has a short one: the machine may be busy.
fn patience(cell: Cell) -> Duration {
    match expected(cell) {
        Expected::Fails(Kind::TimedOut, ..) => DEADLINE,
        _ => GENEROUS,
    }
}

fn settings(faulty: &Faulty, cell: Cell) -> UpstreamSettings {
    UpstreamSettings {
        timeouts: Timeouts { connect: GENEROUS, handshake: patience(cell), ..Timeouts::default() },
        retry: Retry {
            base: Duration::from_millis(10),
            cap: Duration::from_millis(50),
            ..Retry::default()
        },
        ..UpstreamSettings::new(server(), faulty.transport())
    }
}

async fn list(upstreams: &Upstreams) -> Result<(), UpstreamError> {
    upstreams.access(Caller::anonymous()).catalog(&server()).await.map(drop)
}

/// Calls the tool that changes things: a call of it must never be made twice.
async fn call(upstreams: &Upstreams, number: u64, timeout: Duration) -> Result<(), UpstreamError> {
    let tool = ToolName::new(server(), "act");
    let arguments = RawValue::from_string(format!("{{\"number\":{number}}}")).expect("JSON");
    let access = upstreams.access(Caller::anonymous());
    access.call(&tool, &arguments, timeout, CallContext::default()).await.map(drop)
}

async fn probe(upstreams: &Upstreams) -> Result<(), UpstreamError> {
    upstreams
        .probe(&server(), GENEROUS)
        .await
        .expect("a server that takes nothing from its callers")
}

/// One cell, with a runtime of its own. Says what is wrong.
fn tell(cell: Cell, closes: bool) -> Vec<String> {
    /// Much memory and much work: one at a time.
    static HEAVY: Mutex<()> = Mutex::new(());
    let _turn = (cell.fault == Fault::OverTheCap).then(|| HEAVY.lock().expect("no thread panics"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(async {
        let faulty = Faulty::start(cell.wire, cell.eras);
        let mut wrong = Vec::new();
        let told = tell_within(&faulty, cell, closes, &mut wrong);
        if tokio::time::timeout(Duration::from_secs(30), told).await.is_err() {
            wrong.push("it hangs".to_owned());
        }
        // Nothing may be left, however the cell went.
        let start = Instant::now();
        let left = loop {
            let tasks = Handle::current().metrics().num_alive_tasks();
            let (open, processes) = (faulty.open(), faulty.processes());
            if tasks == 0 && open == 0 && processes.is_empty() {
                break None;
            }
            if start.elapsed() > Duration::from_secs(8) {
                break Some(format!("left behind: {tasks} tasks, {open} sockets, {processes:?}"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        wrong.extend(left);
        wrong
    })
}

async fn tell_within(faulty: &Faulty, cell: Cell, closes: bool, wrong: &mut Vec<String>) {
    let Cell { fault, moment, .. } = cell;
    if moment == Moment::Connect {
        faulty.arm(fault, moment);
    }
    let upstreams = Upstreams::new(vec![settings(faulty, cell)], None).expect("one server");
    let warm = match moment {
        Moment::Connect => Ok(()),
        Moment::List => probe(&upstreams).await,
        Moment::Call | Moment::Idle => match list(&upstreams).await {
            Ok(()) => call(&upstreams, 1, GENEROUS).await,
            failed => failed,
        },
    };
    if let Err(error) = warm {
        wrong.push(format!("nothing was wrong yet: {error}"));
    }
    if moment != Moment::Connect {
        faulty.arm(fault, moment);
    }
    if moment != Moment::Connect {
        // What ends all connections has done so before anybody calls; in a call it would be Exits.
        let ends = [Fault::Refused, Fault::Exits, Fault::Reset, Fault::CleanClose];
        let ended = || faulty.open() == 0;
        if fault == Fault::Refused || (moment == Moment::Idle && ends.contains(&fault)) {
            until(ended).await;
        }
        // That nothing happens for a moment is what idling is.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let start = Instant::now();
    let outcome = match moment {
        Moment::Connect | Moment::List => list(&upstreams).await,
        Moment::Call => call(&upstreams, 2, patience(cell)).await,
        Moment::Idle => probe(&upstreams).await,
    };
    // An error that may be tried again is: three times in all.
    if start.elapsed() > DEADLINE * 3 + SLACK {
        wrong.push(format!("it took {:?}", start.elapsed()));
    }
    wrong.extend(judge(expected(cell), &outcome));

    faulty.heal();
    let moved = [Fault::Dns, Fault::Tls, Fault::WrongPath, Fault::CommandMissing].contains(&fault);
    if moved {
        upstreams.apply(vec![settings(faulty, cell)]).expect("one server");
    }
    if let Err(error) = call(&upstreams, 3, GENEROUS).await {
        wrong.push(format!("all is well again, but: {error}"));
    }
    let mut executed = faulty.executed();
    let count = executed.len();
    executed.sort_unstable();
    executed.dedup();
    if executed.len() != count || !executed.contains(&3) {
        wrong.push(format!("executed were {:?}", faulty.executed()));
    }
    if closes {
        upstreams.close().await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn judge(expected: Expected, outcome: &Result<(), UpstreamError>) -> Option<String> {
    match (expected, outcome) {
        (Expected::Senseless(why), _) => Some(format!("it was told, although {why}")),
        (Expected::Fine, Ok(())) => None,
        (Expected::Fails(kind, phase, part), Err(error)) => {
            let text = error.to_string();
            let same = Kind::of(error) == kind && error.phase() == phase;
            let told = text.contains(part) && text.contains("server s");
            (!same || !told).then(|| {
                let (found, in_phase) = (Kind::of(error), error.phase());
                format!("{expected:?}, found {found:?} in {in_phase:?}: {text}")
            })
        }
        (Expected::Fine, Err(error)) => {
            Some(format!("should be fine: {:?}: {error}", error.phase()))
        }
        (Expected::Fails(..), Ok(())) => Some(format!("{expected:?}, found all well")),
    }
}

#[test]
fn every_fault_over_every_transport_at_every_moment() {
    let moments =
        |fault, (wire, eras)| Moment::ALL.map(|moment| Cell { fault, wire, eras, moment });
    let cells: Vec<Cell> = Fault::ALL
        .into_iter()
        .flat_map(|fault| COLUMNS.into_iter().flat_map(move |column| moments(fault, column)))
        .filter(|cell| !matches!(expected(*cell), Expected::Senseless(_)))
        .collect();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((index, cell)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            cells.get(index).map(|cell| (index, *cell))
        } {
            // In good order, and by being dropped: neither leaves anything.
            let found = tell(cell, index % 2 == 0);
            if !found.is_empty() {
                let mut wrong = wrong.lock().expect("no thread panics");
                wrong.push(format!("{cell}\n    {}", found.join("\n    ")));
            }
        }
    };
    thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(work))));
    let wrong = wrong.into_inner().expect("no thread panics");
    assert!(wrong.is_empty(), "{} of {} cells:\n{}", wrong.len(), cells.len(), wrong.join("\n"));
}
