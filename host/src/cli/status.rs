//! `toolcell status`

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use toolcell::monitor::{IsoTime, MonitorReport, NoReport, Rough, ServerReport};
use toolcell::upstream::ServerState;

use super::args::{Cli, StatusArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::{monitor, setup};

/// How far back changes are shown.
const RECENT: Duration = Duration::from_secs(12 * 60 * 60);

/// How many of them.
const MOST_CHANGES: usize = 20;

/// How often `--watch` looks again.
const AGAIN: Duration = Duration::from_secs(2);

/// Whether there is a monitor whose word counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// It runs and reports.
    Running,
    /// It is there and does not report.
    Stale,
    /// It has ended, in good order or not.
    Gone,
}

impl Presence {
    fn of(report: &MonitorReport) -> Self {
        match (report.is_of_a_living_monitor(), report.is_stale()) {
            (true, false) => Self::Running,
            (true, true) => Self::Stale,
            (false, _) => Self::Gone,
        }
    }
}

pub(super) async fn status(cli: &Cli, args: &StatusArgs) -> Result<Exit, Failure> {
    let config = setup::config(cli)?;
    let file = monitor::state_file(&config, args.state_file.as_ref())?;
    if !args.watch {
        return show(&file, args.json);
    }
    setup::until_cancelled(async {
        loop {
            if std::io::stdout().is_terminal() && !args.json {
                // Home, and clear what is below.
                print!("\x1b[H\x1b[J");
            }
            if let Err(failure) = show(&file, args.json) {
                failure.print();
            }
            std::io::stdout().flush()?;
            tokio::time::sleep(AGAIN).await;
        }
    })
    .await
}

fn show(file: &Path, json: bool) -> Result<Exit, Failure> {
    let report = match MonitorReport::read(file) {
        Ok(report) => report,
        Err(NoReport::Missing(_)) => {
            let text = format!(
                "no monitor has run for this configuration (there is no {}); start one with \
                 `toolcell monitor`, or probe once with `toolcell monitor --once`",
                file.display()
            );
            return Err(Failure::usage(text));
        }
        Err(error) => return Err(error.into()),
    };
    let presence = Presence::of(&report);
    if json {
        println!("{}", as_json(&report, presence));
    } else {
        print!("{}", as_text(&report, presence));
    }
    Ok(match presence {
        Presence::Running if report.servers.iter().any(is_down) => Exit::Failed,
        Presence::Running => Exit::Done,
        // What it says may be long past.
        Presence::Stale | Presence::Gone => Exit::Usage,
    })
}

fn is_down(server: &ServerReport) -> bool {
    server.state == ServerState::Down
}

fn as_json(report: &MonitorReport, presence: Presence) -> serde_json::Value {
    json!({
        "ok": presence == Presence::Running && !report.servers.iter().any(is_down),
        "monitor": {
            "state": match presence {
                Presence::Running => "running",
                Presence::Stale => "stale",
                Presence::Gone => "not running",
            },
            "pid": report.pid,
            "started": report.started,
            "written": report.written,
            "age_ms": u64::try_from(report.written.age().as_millis()).unwrap_or(u64::MAX),
            "ended": report.ended,
        },
        "servers": report.servers,
        "transitions": report.transitions,
        "alerts": report.alerts,
    })
}

fn as_text(report: &MonitorReport, presence: Presence) -> String {
    let mut text = headline(report, presence);
    let width = report.servers.iter().map(|it| it.server.len()).max().unwrap_or(0).max(6);
    let _ = writeln!(
        text,
        "{:width$}  {:8}  {:33}  {:>11}  {:>8}  {:>4}  last error",
        "server", "state", "since", "last answer", "failures", "open"
    );
    for server in &report.servers {
        let state = if server.flapping { "flapping" } else { server.state.name() };
        let error = match (&server.unprobed, &server.last_error) {
            (_, Some(error)) => error.clone(),
            (Some(why), None) => format!("not probed: {why}"),
            (None, None) => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "{:width$}  {state:8}  {:33}  {:>11}  {:>8}  {:>4}  {error}",
            server.server,
            since(server),
            server.last_answer.map_or_else(|| "never".to_owned(), ago),
            server.failures,
            server.open_connections,
        );
    }
    changes(report, &mut text);
    for channel in report.alerts.iter().filter(|channel| channel.failed > 0) {
        let _ = writeln!(
            text,
            "! {} alerts were not delivered to {}: {}",
            channel.failed,
            channel.channel,
            channel.last_error.as_deref().unwrap_or("?")
        );
    }
    text
}

fn headline(report: &MonitorReport, presence: Presence) -> String {
    let MonitorReport { pid, started, written, ended, .. } = report;
    let started = format!("started {}", seconds(*started));
    match presence {
        Presence::Running => {
            format!("monitor: running (process {pid}, {started}), reported {}\n", ago(*written))
        }
        Presence::Stale => format!(
            "monitor: process {pid} is there and has not reported for {}; what follows may be past. \
             Is it stopped, or its disk full? Restart `toolcell monitor`\n",
            Rough(written.age())
        ),
        Presence::Gone => {
            let how = match ended {
                Some(ended) => format!("ended {}", ago(*ended)),
                None => format!("was last heard of {}", ago(*written)),
            };
            format!(
                "monitor: not running (process {pid} {how}); what follows is past. Start one with \
                 `toolcell monitor`\n"
            )
        }
    }
}

fn changes(report: &MonitorReport, text: &mut String) {
    let recent = report.transitions.iter().filter(|change| change.at.age() < RECENT);
    let recent: Vec<_> = recent.collect();
    if recent.is_empty() {
        return;
    }
    let hours = RECENT.as_secs() / 3600;
    let _ = writeln!(text, "\nchanges in the last {hours} hours: {}", recent.len());
    for change in recent.iter().skip(recent.len().saturating_sub(MOST_CHANGES)) {
        let (from, to) = (change.from.name(), change.to.name());
        let _ = write!(text, "{}  {}  {from} -> {to}", change.at, change.server);
        let lasted = Rough(Duration::from_secs_f64((change.lasted_ms / 1000.0).clamp(0.0, 1e12)));
        if change.from != ServerState::Unknown {
            let _ = write!(text, " after {lasted}");
        }
        let _ = match &change.cause {
            Some(cause) => writeln!(text, ": {cause}"),
            None => writeln!(text),
        };
    }
}

/// `2026-07-28T12:00:00Z (1h 5m ago)`
fn since(server: &ServerReport) -> String {
    format!("{} ({})", seconds(server.since), ago(server.since))
}

fn seconds(time: IsoTime) -> String {
    humantime::format_rfc3339_seconds(time.0).to_string()
}

fn ago(time: IsoTime) -> String {
    format!("{} ago", Rough(time.age()))
}
