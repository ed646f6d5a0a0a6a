//! `toolcell check`

use std::fmt::Write as _;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use toolcell::config::units::parse_duration;
use toolcell::upstream::CheckReport;

use super::args::{CheckArgs, Cli};
use super::exit::Exit;
use super::failure::Failure;
use super::{setup, tools};

pub(super) async fn check(cli: &Cli, args: &CheckArgs) -> Result<Exit, Failure> {
    let timeout = parse_duration(&args.timeout)
        .map_err(|error| Failure::usage(format!("--timeout: {error}")))?;
    let config = setup::config(cli)?;
    let host = setup::host(cli, config)?;
    let servers = tools::chosen(host.upstreams(), &args.servers)?;
    let checks = servers.iter().map(|server| async {
        let check = host.upstreams().check(server);
        let checked = tokio::time::timeout(timeout, check).await;
        checked.unwrap_or_else(|_| CheckReport::abandoned(server.clone(), timeout))
    });
    let reports = setup::until_cancelled(async { Ok(join_all(checks).await) }).await?;
    if args.json {
        println!("{}", as_json(&reports));
    } else {
        print!("{}", as_text(&reports));
    }
    host.close().await;
    let healthy = reports.iter().all(CheckReport::is_healthy);
    Ok(if healthy { Exit::Done } else { Exit::Failed })
}

fn as_text(reports: &[CheckReport]) -> String {
    if reports.is_empty() {
        return "no servers are configured; see `toolcell --help` for --config\n".to_owned();
    }
    let width = reports.iter().map(|report| report.server.as_str().len()).max().unwrap_or(0).max(6);
    let mut text = format!(
        "{:width$}  {:7}  {:>5}  {:>9}  {:>9}  {:>9}  {}\n",
        "server", "state", "tools", "connect", "handshake", "list", "what it is"
    );
    for report in reports {
        let state = if report.is_healthy() { "ok" } else { "FAILED" };
        let what = [report.server_name.as_deref(), report.server_version.as_deref()];
        let era = report.era.map(|era| format!("({} MCP)", era.name()));
        let what = what.into_iter().flatten().map(str::to_owned).chain(era);
        let what = what.collect::<Vec<_>>().join(" ");
        let _ = writeln!(
            text,
            "{:width$}  {state:7}  {:>5}  {:>9}  {:>9}  {:>9}  {what}",
            report.server.as_str(),
            report.tool_count,
            milliseconds(report, "connect"),
            milliseconds(report, "handshake"),
            milliseconds(report, "list"),
        );
        for line in report.failure.iter().flat_map(|failure| failure.lines()) {
            let _ = writeln!(text, "{:width$}  {line}", "");
        }
        for problem in &report.problems {
            let _ = writeln!(text, "{:width$}  ! {problem}", "");
        }
    }
    text
}

fn milliseconds(report: &CheckReport, phase: &str) -> String {
    let took = report.phases.iter().find(|step| step.phase == phase).map(|step| step.took);
    took.map_or_else(|| "-".to_owned(), |took: Duration| format!("{} ms", took.as_millis()))
}

fn as_json(reports: &[CheckReport]) -> serde_json::Value {
    json!({
        "ok": reports.iter().all(CheckReport::is_healthy),
        "servers": reports,
    })
}
