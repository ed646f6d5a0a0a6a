//! `toolcell check`, and the same before a run: `toolcell run --preflight`.

use std::fmt::Write as _;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::json;
use toolcell::Host;
use toolcell::config::Profile;
use toolcell::config::units::parse_duration;
use toolcell::ids::UpstreamName;
use toolcell::upstream::settings::Secret;
use toolcell::upstream::{Caller, CheckReport};

use super::args::{CallerArgs, CheckArgs, Cli};
use super::exit::Exit;
use super::failure::Failure;
use super::{setup, tools};

/// Checks under way at once. Each may start a process.
const AT_ONCE: usize = 16;

pub(super) async fn check(cli: &Cli, args: &CheckArgs) -> Result<Exit, Failure> {
    let within = time(&args.timeout, "--timeout")?;
    let caller = caller(&args.caller)?;
    let config = setup::config(cli)?;
    let host = setup::host(cli, config)?;
    let servers = tools::chosen(host.upstreams(), &args.servers)?;
    let checks = check_all(&host, &servers, &caller, within);
    let reports = setup::until_cancelled(async { Ok(checks.await) }).await?;
    if args.json {
        println!("{}", as_json(&reports));
    } else {
        print!("{}", as_text(&reports));
    }
    host.close().await;
    let healthy = reports.iter().all(CheckReport::is_healthy);
    Ok(if healthy { Exit::Done } else { Exit::Failed })
}

/// Checks the servers of which a run under this profile may call something, before it starts.
pub(super) async fn preflight(host: &Host, profile: &Profile, within: &str) -> Result<(), Failure> {
    let within = time(within, "--preflight-timeout")?;
    let mut servers = host.upstreams().names();
    servers.retain(|server| profile.policy.may_grant_server(server.as_str()));
    let reports = check_all(host, &servers, &Caller::anonymous(), within).await;
    let sick: Vec<_> = reports.iter().filter(|report| !report.is_healthy()).collect();
    if sick.is_empty() {
        return Ok(());
    }
    let mut text = format!(
        "the preflight failed, so nothing was run: {} of {} servers cannot be used",
        sick.len(),
        reports.len()
    );
    for failure in sick.iter().filter_map(|report| report.failure.as_deref()) {
        let _ = write!(text, "\n  {}", failure.replace('\n', "\n    "));
    }
    Err(Failure::Upstream(text))
}

/// All reports, in the order of the servers. Each check has the whole time for itself.
async fn check_all(
    host: &Host,
    servers: &[UpstreamName],
    caller: &Caller,
    within: Duration,
) -> Vec<CheckReport> {
    let checks = servers.iter().map(|server| async move {
        host.upstreams().check_for(server, caller, Some(within)).await
    });
    // As a list: futures of a stream that borrow from it are no `Send` futures.
    let checks: Vec<_> = checks.collect();
    stream::iter(checks).buffered(AT_ONCE).collect().await
}

fn time(text: &str, flag: &str) -> Result<Duration, Failure> {
    parse_duration(text).map_err(|error| Failure::usage(format!("{flag}: {error}")))
}

/// For whom the check is made, as far as servers' settings refer to it.
fn caller(args: &CallerArgs) -> Result<Caller, Failure> {
    let token = args.token_env.as_deref().map(|name| {
        let token = toolcell::config::env::of_process(name).filter(|token| !token.is_empty());
        let missing = || Failure::usage(format!("--caller-token-env: {name} is not set"));
        token.map(Secret::new).ok_or_else(missing)
    });
    Ok(Caller { id: args.id.as_deref().map(Into::into), token: token.transpose()? })
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
