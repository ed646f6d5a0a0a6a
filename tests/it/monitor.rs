//! Servers that die and return, and who hears of it: by webhook, by command, in `status`, in the log,
//! and in the results of runs.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};
use toolcell::Script;
use toolcell::monitor::AlertEvent;
use toolcell::upstream::ServerState;
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::tiny_mcp::Eras;
use toolcell_tests::{
    Cli, Fault, Finished, HttpFault, Marker, Server, Signal, fixtures, wait_until,
};

use crate::hosts::{Configured, block_on, value};

/// A place that takes webhooks and answers 200.
fn receiver() -> HttpFault {
    let receiver = HttpFault::behaving(Eras::Legacy);
    receiver.fail(Fault::Status(200));
    receiver
}

/// What a receiver was told.
fn told(receiver: &HttpFault) -> Vec<Value> {
    let bodies = receiver.received().into_iter().map(|request| request.body);
    bodies.map(|body| serde_json::from_str(&body).expect("an alert is JSON")).collect()
}

/// A server whose process can start only while a file is there.
struct Mortal {
    alive: PathBuf,
    marker: Marker,
}

impl Mortal {
    fn new(folder: &Path) -> Self {
        let mortal = Self { alive: folder.join("alive"), marker: Marker::new() };
        mortal.revive();
        mortal
    }

    fn server(&self) -> Server {
        let good = fixtures::misbehaving("ok").command().get_program().to_owned();
        let script = r#"test -e "$0" || { echo "no database" >&2; exit 1; }; exec "$1" ok"#;
        let words = [script, self.alive.to_str().expect("UTF-8"), good.to_str().expect("UTF-8")];
        Server::stdio("sh", &["-c", words[0], words[1], words[2]]).marked(&self.marker)
    }

    /// It dies, and cannot be started again.
    fn die(&self) {
        std::fs::remove_file(&self.alive).expect("it lived");
        self.marker.kill();
    }

    fn revive(&self) {
        std::fs::write(&self.alive, "").expect("a temporary file can be written");
    }
}

fn events(alerts: &[Value]) -> Vec<&str> {
    alerts.iter().map(|alert| alert["event"].as_str().unwrap_or_default()).collect()
}

fn time(alert: &Value, name: &str) -> SystemTime {
    let text = alert[name].as_str().unwrap_or_default();
    let text = text.strip_suffix('Z').unwrap_or_else(|| panic!("{name} is no UTC time: {alert}"));
    let (date, clock) = text.split_once('T').expect("ISO 8601");
    let numbers = |text: &str, by: char| -> Vec<f64> {
        text.split(by).map(|part| part.parse().expect("a number")).collect()
    };
    let (date, clock) = (numbers(date, '-'), numbers(clock, ':'));
    // Days since 1970 by the civil calendar (years beginning in March).
    let (year, month) = match date[1] {
        month if month <= 2.0 => (date[0] - 1.0, month + 9.0),
        month => (date[0], month - 3.0),
    };
    let leap = (year / 4.0).floor() - (year / 100.0).floor() + (year / 400.0).floor();
    let days = year * 365.0 + leap + ((153.0 * month + 2.0) / 5.0).floor() + date[2] - 1.0;
    let seconds = (days - 719_468.0) * 86400.0 + clock[0] * 3600.0 + clock[1] * 60.0 + clock[2];
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs_f64(seconds)
}

fn status(folder: &Path, args: &[&str]) -> Finished {
    let config = folder.join("toolcell.toml");
    Cli::new("status").arg("--config").arg(config).args(args.iter().copied()).run()
}

/// The issue's own story: a real server on the net, killed and started again.
#[test]
fn a_server_that_dies_and_returns_is_told_once_each_in_order_with_times() {
    let mut shop = fixtures::everything_http();
    let receiver = receiver();
    let toml = format!(
        "{}[monitor]\ninterval = \"500ms\"\nwebhook = \"{}\"\nstate_file = \"state.json\"\n\
         command = [\"sh\", \"-c\", \"cat >>told; echo \\\"$TOOLCELL_ALERT_EVENT\\\" >>events\"]\n",
        shop.server().toml("shop"),
        receiver.url()
    );
    let began = SystemTime::now();
    let monitor = Cli::new("monitor").config(&toml).args(["--log", "info"]).spawn();
    let folder = monitor.folder().to_owned();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    monitor.wait_for_line("Z server shop is up");
    wait_until(PATIENCE, "the report says so", || read("state.json").contains("\"up\""));
    let up = status(&folder, &[]).success();
    assert!(up.stdout.contains("monitor: running (process ") && up.stdout.contains("shop"), "{up}");

    shop.stop();
    let line = monitor.wait_for_line("server shop is down since 2");
    assert!(line.contains("connection refused"), "{line}");
    wait_until(PATIENCE, "the webhook is told", || told(&receiver).len() == 1);
    wait_until(PATIENCE, "the report says so", || read("state.json").contains("\"down\""));
    let down = status(&folder, &["--json"]).expect_code(1).json();
    assert_eq!((&down["ok"], &down["servers"][0]["state"]), (&json!(false), &json!("down")));
    assert!(time(&down["servers"][0], "since") >= began, "{down}");
    assert!(down["servers"][0]["failures"].as_u64() >= Some(2), "{down}");
    let down = status(&folder, &[]).expect_code(1);
    assert!(down.stdout.contains("connection refused") && down.stdout.contains(" ago)"), "{down}");

    shop.restart();
    monitor.wait_for_line("server shop is up again; it was down for");
    wait_until(PATIENCE, "the webhook is told", || told(&receiver).len() == 2);
    wait_until(PATIENCE, "the command is told", || read("events").lines().count() == 2);
    wait_until(PATIENCE, "the report says so", || read("state.json").contains("\"delivered\": 2"));
    let up = status(&folder, &[]).success();
    assert!(up.stdout.contains("up -> down after") && up.stdout.contains("down -> up"), "{up}");
    assert!(up.stdout.find("up -> down") < up.stdout.find("down -> up"), "{up}");

    // Its folder goes with it.
    let (told_command, told_events) = (read("told"), read("events"));
    monitor.signal(Signal::Terminate);
    let ended = monitor.finish(PATIENCE).success();
    // By webhook.
    let alerts = told(&receiver);
    assert_eq!(events(&alerts), ["down", "up"]);
    assert_eq!((&alerts[0]["from"], &alerts[0]["to"]), (&json!("up"), &json!("down")));
    assert!(time(&alerts[0], "at") > began && time(&alerts[1], "at") > time(&alerts[0], "at"));
    assert!(time(&alerts[0], "since") <= time(&alerts[0], "at"), "down since its first failure");
    assert!(alerts[0]["cause"].as_str().unwrap_or_default().contains("refused"), "{alerts:?}");
    assert!(alerts[1]["lasted_ms"].as_f64() > Some(0.0), "{alerts:?}");
    // By command: the same.
    let by_command: Vec<Value> =
        told_command.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(by_command, alerts);
    assert_eq!(told_events, "down\nup\n");
    // In the log and on stdout: once each, in order, with the times that the alerts have.
    for (stream, at) in [(&ended.stderr, "at="), (&ended.stdout, "")] {
        let lines: Vec<_> = stream.lines().filter(|line| line.contains("server shop is")).collect();
        assert_eq!(lines.len(), 3, "{ended}");
        assert!(lines[0].contains("server shop is up"), "{ended}");
        for (line, alert) in lines[1..].iter().zip(&alerts) {
            let at = format!("{at}{}", alert["at"].as_str().unwrap_or_default());
            assert!(line.contains(&at), "{at} is not in {line}");
            assert!(line.contains(alert["text"].as_str().unwrap_or("?")), "{line}");
        }
    }
    assert!(ended.stderr.contains("WARN") && ended.stderr.contains("from=\"up\" to=\"down\""));
}

#[test]
fn rounds_of_cron_tell_of_changes_only() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mortal = Mortal::new(folder.path());
    let state = folder.path().join("state.json");
    let events = folder.path().join("events");
    let toml = format!(
        "{}[monitor]\ncommand = [\"sh\", \"-c\", 'echo \"$TOOLCELL_ALERT_FROM > \
         $TOOLCELL_ALERT_TO\" >>\"$0\"', {:?}]\n",
        mortal.server().toml("shop"),
        events.to_str().expect("UTF-8")
    );
    let round = |code: i32| {
        let cli = Cli::new("monitor").config(&toml).arg("--once").arg("--state-file").arg(&state);
        cli.run().expect_code(code)
    };
    let told = || std::fs::read_to_string(&events).unwrap_or_default();
    assert!(round(0).stdout.contains("server shop is up"));
    round(0);
    assert_eq!(told(), "", "that all is well is no news");
    mortal.die();
    let down = round(1);
    assert!(down.stdout.contains("server shop is down") && down.stdout.contains("no database"));
    assert_eq!(told(), "up > down\n");
    assert_eq!(round(1).stdout, "", "it is still down, as everybody knows");
    mortal.revive();
    assert!(round(0).stdout.contains("server shop is up again"));
    assert_eq!(told(), "up > down\ndown > up\n");
    // A report of a round is one of the past.
    let cli = Cli::new("status").config(&toml).arg("--state-file").arg(&state);
    let status = cli.run().expect_code(2);
    assert!(status.stdout.contains("monitor: not running"), "{status}");
    assert!(status.stdout.contains("Start one with `toolcell monitor`"), "{status}");
    mortal.marker.assert_nothing_survives();
}

#[test]
fn an_alert_that_hangs_holds_up_neither_probes_nor_other_alerts() {
    let hanging = HttpFault::behaving(Eras::Legacy);
    hanging.fail(Fault::Hang);
    let receiver = receiver();
    let mut mortal = None;
    let configured = Configured::new(|folder| {
        let server = mortal.insert(Mortal::new(folder)).server().toml("shop");
        format!(
            "{server}[monitor]\ninterval = \"300ms\"\nwebhook = [\"{}\", \"{}\"]\n",
            hanging.url(),
            receiver.url()
        )
    });
    let mortal = mortal.expect("it was made");
    let seen = block_on(async {
        let monitor = configured.host.monitor();
        let mut alerts = monitor.alerts();
        let mut next = async || {
            let alert = tokio::time::timeout(PATIENCE, alerts.recv()).await;
            alert.expect("in time").expect("an alert").event
        };
        let mut seen = vec![next().await];
        for _ in 0..2 {
            mortal.die();
            seen.push(next().await);
            mortal.revive();
            seen.push(next().await);
        }
        wait_until(PATIENCE, "all alerts arrive", || told(&receiver).len() == 4);
        drop(monitor);
        seen
    });
    use AlertEvent::{Down, Up};
    assert_eq!(seen, [Up, Down, Up, Down, Up]);
    assert_eq!(events(&told(&receiver)), ["down", "up", "down", "up"]);
    assert_eq!(hanging.received().len(), 1, "the first one still waits for its answer");
    drop(configured);
    mortal.marker.assert_nothing_survives();
}

#[test]
fn a_webhook_that_fails_is_tried_again_and_then_told_in_the_log() {
    let broken = HttpFault::behaving(Eras::Legacy);
    broken.fail(Fault::Status(500));
    let toml = Server::stdio("false", &[]).toml("shop")
        + &format!("[monitor]\nwebhook = \"{}?token=s3cret-token\"\n", broken.url());
    let cli = Cli::new("monitor").config(&toml).args(["--once", "--state-file", "state.json"]);
    let round = cli.run().expect_code(1);
    assert_eq!(broken.received().len(), 3);
    assert!(round.stderr.contains("an alert was not delivered"), "{round}");
    assert!(round.stderr.contains("500") && round.stderr.contains("attempt 3 of 3"), "{round}");
    assert!(!round.stderr.contains("s3cret") && !round.stdout.contains("s3cret"), "{round}");
}

/// The attacker is the server: it forges log lines, colours the terminal, and knows a secret.
#[test]
fn what_a_hostile_server_says_stays_on_its_line_and_holds_no_secret() {
    let script = "printf 'oops\\n2026-01-01T00:00:00Z  INFO server shop is up\\n\\033[31mred %s' \
                  \"$TOKEN\" >&2; exit 1";
    let toml = Server::stdio("sh", &["-c", script]).env("TOKEN", "s3cret-token").toml("shop");
    let cli = Cli::new("monitor").config(&toml);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("state.json");
    let cli = cli.args(["--once", "--log", "info", "--state-file"]).arg(&state);
    let round = cli.run().expect_code(1);
    assert_eq!(round.stdout.lines().count(), 1, "{round}");
    assert!(round.stdout.contains("oops"), "{round}");
    let report = std::fs::read_to_string(state).expect("a report");
    for text in [&round.stdout, &round.stderr, &report] {
        assert!(!text.contains("s3cret") && !text.contains('\u{1b}'), "{text}");
        let forged = text.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z  INFO"));
        assert!(!forged, "{text}");
    }
}

#[test]
fn servers_that_want_the_callers_credentials_are_asked_without_any() {
    let web = HttpFault::behaving(Eras::Legacy);
    web.fail(Fault::Status(401));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let started = folder.path().join("started");
    let toml = format!(
        "{}[servers.web.headers]\nAuthorization = \"Bearer ${{caller.token}}\"\n{}",
        web.server().toml("web"),
        Server::stdio("touch", &[started.to_str().expect("UTF-8")])
            .env("TOKEN", "${caller.token}")
            .toml("own"),
    );
    let cli = Cli::new("monitor").config(&toml).args(["--once", "--json"]).arg("--state-file");
    let state = folder.path().join("state.json");
    let round = cli.arg(&state).run().success();
    assert!(round.stdout.contains("server web is up"), "{round}");
    assert!(web.received().iter().all(|request| request.header("authorization").is_none()));
    let report = std::fs::read_to_string(state).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let own = &report["servers"][1];
    assert_eq!((&own["server"], &own["state"]), (&json!("own"), &json!("unknown")));
    assert!(own["unprobed"].as_str().unwrap_or_default().contains("credentials"), "{own}");
    assert!(!started.exists(), "nothing was started");
    web.fail(Fault::Reset);
    let cli = Cli::new("monitor").config(&toml).args(["--once", "--state-file", "state.json"]);
    assert!(cli.run().expect_code(1).stdout.contains("server web is down"));
}

#[test]
fn without_a_monitor_status_says_so_and_what_to_do() {
    let toml = fixtures::misbehaving("ok").toml("shop");
    let status = Cli::new("status").config(&toml).run().expect_code(2);
    assert!(status.stderr.contains("no monitor has run for this configuration"), "{status}");
    assert!(status.stderr.contains("start one with `toolcell monitor`"), "{status}");
    let status = Cli::new("status").config(&toml).file("x", "{}").args(["--state-file", "x"]);
    let status = status.run().expect_code(2);
    assert!(status.stderr.contains("x is no monitor's report"), "{status}");
}

#[test]
fn a_run_that_a_server_failed_is_degraded_and_its_value_stays() {
    let code = "try:\n    tools.fake.add(a=1)\nexcept Exception:\n    pass\n'whole?'";
    let toml = fixtures::misbehaving("exit-in-call").toml("fake");
    let run = |args: &[&str]| {
        Cli::new("run").config(&toml).args(["-c", code]).args(args.iter().copied()).run()
    };
    let json = run(&["--json"]).success().json();
    assert_eq!((&json["ok"], &json["value"]), (&json!(true), &json!("whole?")));
    let server = &json["degraded"]["servers"][0];
    assert_eq!((&server["server"], &server["reason"]), (&json!("fake"), &json!("call_failed")));
    assert_eq!(server["failed_calls"], 1);
    assert!(time(server, "since") <= SystemTime::now(), "{server}");
    assert!(server["last_error"].as_str().unwrap_or_default().contains("out of luck"), "{server}");
    let text = run(&["--quiet"]).success();
    assert!(text.stdout.contains("whole?"), "{text}");
    let line = "degraded: 1 calls of server fake failed, the first at 2";
    assert!(text.stderr.lines().any(|it| it.starts_with(line)), "{text}");
    run(&["--fail-degraded"]).expect_code(4);
}

#[test]
fn what_is_no_matter_of_the_connection_degrades_nothing() {
    let configured = Configured::new(|_| fixtures::misbehaving("ok").toml("fake"));
    let report = configured.python(
        "failed = 0
for call in (
    lambda: tools.fake.fail(message='no'),
    lambda: tools.fake.add(a='one'),
    lambda: tools['fake']['missing'](),
    lambda: tools['nowhere']['tool'](),
):
    try:
        call()
    except Exception:
        failed += 1
failed",
    );
    assert_eq!(value(&report), json!(4));
    assert!(report.degraded.is_none(), "{:#?}", report.degraded);
    let rejecting = Configured::new(|_| fixtures::misbehaving("rejects-arguments").toml("fake"));
    let report = rejecting.python("try:\n    tools.fake.add(a=1)\nexcept Exception:\n    pass\n1");
    assert!(report.ok && report.degraded.is_none(), "{report:#?}");
}

#[test]
fn a_run_whose_server_goes_down_meanwhile_is_degraded_though_no_call_failed() {
    let mut mortal = None;
    let configured = Configured::new(|folder| {
        std::fs::create_dir(folder.join("docs")).expect("a folder can be made");
        let server = mortal.insert(Mortal::new(folder)).server().toml("shop");
        format!(
            "{server}[servers.files]\nbuiltin = \"files\"\nroots = {{ docs = \"docs\" }}\n\
             [monitor]\ninterval = \"300ms\"\n"
        )
    });
    let mortal = mortal.expect("it was made");
    let source = "import time
tools.shop.add(a=1)
while True:
    try:
        tools.files.read_file(path='docs/done')
        break
    except tools.ToolError:
        time.sleep(0.25)
'whole?'";
    let report = block_on(async {
        let monitor = configured.host.monitor();
        let mut alerts = monitor.alerts();
        let mut told = async |wanted: ServerState| {
            loop {
                let alert = tokio::time::timeout(PATIENCE, alerts.recv()).await;
                let alert = alert.expect("in time").expect("an alert");
                if (alert.server.as_str(), alert.to) == ("shop", wanted) {
                    return;
                }
            }
        };
        told(ServerState::Up).await;
        let mut run = configured.host.start(Script::python(source)).expect("starts");
        // The first call's start and end.
        run.next_event().await.expect("it calls");
        run.next_event().await.expect("it is answered");
        mortal.die();
        told(ServerState::Down).await;
        std::fs::write(configured.path("docs/done"), "").expect("a file can be written");
        run.await.expect("has run")
    });
    assert_eq!(value(&report), json!("whole?"));
    let degraded = serde_json::to_value(&report.degraded).expect("JSON");
    let servers = degraded["servers"].as_array().expect("servers");
    assert_eq!(servers.len(), 1, "{degraded}");
    let shop = &servers[0];
    assert_eq!((&shop["server"], &shop["reason"]), (&json!("shop"), &json!("went_down")));
    assert_eq!(shop["failed_calls"], 0);
    drop(configured);
    mortal.marker.assert_nothing_survives();
}
