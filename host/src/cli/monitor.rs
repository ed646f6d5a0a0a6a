//! `toolcell monitor`

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use toolcell::Host;
use toolcell::config::units::format_duration;
use toolcell::config::{Config, MonitorSettings};
use toolcell::monitor::{Alert, Monitor, MonitorReport, MonitorScope, default_state_file};
use toolcell::upstream::ServerState;

use super::args::{Cli, MonitorArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::setup::Interrupts;
use super::{setup, tools};

/// How long a monitor that was asked to end waits for alerts that are on their way.
const LAST_ALERTS: Duration = Duration::from_secs(10);

/// The same for a round: the next one will not repeat them.
const LAST_ALERTS_OF_A_ROUND: Duration = Duration::from_secs(60);

pub(super) async fn monitor(cli: &Cli, args: &MonitorArgs) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::new();
    let (config, mut watch) = setup::watched_config(cli)?;
    let mut settings = settings(&config, args)?;
    let mut scope = MonitorScope { servers: None, config: config.sources.first().cloned() };
    let host = setup::host(cli, config)?;
    let servers = tools::chosen(host.upstreams(), &args.servers)?;
    if servers.is_empty() {
        return Err(Failure::usage(
            "no servers are configured; see `toolcell --help` for --config",
        ));
    }
    greet(&settings, servers.len(), args);
    scope.servers = (!args.servers.is_empty()).then_some(servers);
    let exit = if args.once {
        once(&host, &settings, scope, args, &mut interrupts).await?
    } else {
        loop {
            let monitor = Monitor::start(host.upstreams(), &settings, scope.clone());
            let alerts = monitor.alerts();
            let changed = tokio::select! {
                config = setup::changed_config(&mut watch) => Some(config),
                () = print_all(alerts, args.json) => None,
                () = interrupts.next() => None,
            };
            // Once more means: at once.
            interrupts
                .until_one(async {
                    monitor.stop(LAST_ALERTS).await;
                    Ok(())
                })
                .await?;
            // It was asked to end, and has.
            let Some(config) = changed else { break Exit::Done };
            settings = self::settings(&config, args)?;
            let reloaded = host.reload(config)?;
            eprintln!("toolcell: the configuration changed: {reloaded}");
        }
    };
    host.close().await;
    Ok(exit)
}

fn settings(config: &Config, args: &MonitorArgs) -> Result<MonitorSettings, Failure> {
    let state_file = Some(state_file(config, args.state_file.as_ref())?);
    Ok(MonitorSettings { state_file, ..config.monitor.clone() })
}

fn greet(settings: &MonitorSettings, servers: usize, args: &MonitorArgs) {
    let Some(file) = &settings.state_file else { return };
    warn_of_another(file);
    if !args.once {
        eprintln!(
            "toolcell: watching {servers} servers, by default every {}; `toolcell status` reads {}",
            format_duration(settings.interval),
            file.display()
        );
    }
}

/// Probes each server once.
async fn once(
    host: &Host,
    settings: &MonitorSettings,
    scope: MonitorScope,
    args: &MonitorArgs,
    interrupts: &mut Interrupts,
) -> Result<Exit, Failure> {
    let monitor = Monitor::idle(host.upstreams(), settings, scope);
    let mut alerts = monitor.alerts();
    let round = async {
        monitor.probe_once().await;
        let report = monitor.report();
        monitor.stop(LAST_ALERTS_OF_A_ROUND).await;
        Ok(report)
    };
    let report = interrupts.until_one(round).await?;
    while let Ok(alert) = alerts.try_recv() {
        print(&alert, args.json);
    }
    let down = report.servers.iter().any(|server| server.state == ServerState::Down);
    Ok(if down { Exit::Failed } else { Exit::Done })
}

/// Where the monitor of this configuration keeps its report.
pub(super) fn state_file(config: &Config, wish: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    let written = wish.or(config.monitor.state_file.as_ref()).cloned();
    let source = config.sources.first().map(PathBuf::as_path);
    written.or_else(|| default_state_file(source)).ok_or_else(|| {
        Failure::usage("there is no home folder for the monitor's report; use --state-file")
    })
}

fn warn_of_another(file: &std::path::Path) {
    let Ok(report) = MonitorReport::read(file) else { return };
    if report.is_of_a_living_monitor() && !report.is_stale() && report.pid != std::process::id() {
        eprintln!(
            "toolcell: another monitor (process {}) keeps the same report; alerts will come twice",
            report.pid
        );
    }
}

async fn print_all(mut alerts: broadcast::Receiver<Alert>, json: bool) {
    loop {
        match alerts.recv().await {
            Ok(alert) => print(&alert, json),
            Err(RecvError::Lagged(missed)) => {
                eprintln!("toolcell: {missed} changes came too fast to be printed");
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn print(alert: &Alert, json: bool) {
    let at = humantime::format_rfc3339_millis(alert.at);
    let mut out = std::io::stdout().lock();
    // Whoever closed the pipe does not want to know; the alerts go out all the same.
    let _ = match json {
        true => writeln!(out, "{}", alert.to_json()),
        false => writeln!(out, "{at} {alert}"),
    };
    let _ = out.flush();
}
