//! `toolcell run`

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::value::RawValue;
use toolcell::events::{RunEvent, Stream};
use toolcell::language::Language;
use toolcell::runs::{ErrorKind, RunReport, StartError};
use toolcell::sandbox::GuestDirectory;
use toolcell::{Host, Script};

use super::args::{Cli, LimitArgs, RunArgs, ScriptLanguage};
use super::check;
use super::exit::Exit;
use super::failure::Failure;
use super::pretty::pretty;
use super::setup::{self, Interrupts};
use super::status_line::StatusLine;

/// How long connections may take to end in good order after a run.
const CLOSING: Duration = Duration::from_secs(5);

pub(super) async fn run(cli: &Cli, args: &RunArgs) -> Result<Exit, Failure> {
    let done = start(cli, args).await;
    if let (true, Err(failure)) = (args.json, &done) {
        print_failure_as_json(failure);
        return Ok(failure.exit());
    }
    done
}

async fn start(cli: &Cli, args: &RunArgs) -> Result<Exit, Failure> {
    let script = script(args)?;
    let config = setup::config(cli)?;
    let profile = setup::profile(&config, &args.grants, limits(&args.limits))?;
    let host = setup::host(cli, config)?;
    let mut interrupts = Interrupts::new();
    if args.preflight {
        let preflight = check::preflight(&host, &profile, &args.preflight_timeout);
        interrupts.until_one(preflight).await?;
    }
    interrupts
        .until_one(async { Ok(host.prepare(script.language(), setup::progress).await?) })
        .await?;
    let mut run = host.start_with(&profile, script)?;

    let cancel = run.cancellation();
    let watcher = tokio::spawn(async move {
        interrupts.next().await;
        cancel.cancel();
        // Once more means: at once. Children die with us whatever happens.
        interrupts.next().await;
        #[expect(clippy::disallowed_methods, reason = "asked for twice: guards end the children")]
        std::process::exit(130);
    });
    let status = StatusLine::new(!args.json && !args.quiet);
    let mut printer = Printer { live: !args.json, in_line: None, status };
    while let Some(event) = run.next_event().await {
        printer.event(&event);
    }
    let report = run.await?;
    let exit = match Exit::of_report(&report) {
        Exit::Done if args.fail_degraded && report.degraded.is_some() => Exit::Upstream,
        exit => exit,
    };
    if args.json {
        print_json(&report);
    } else {
        printer.report(&report, args.quiet);
    }
    close(&host).await;
    watcher.abort();
    Ok(exit)
}

async fn close(host: &Host) {
    // What does not end in time is killed when the host is dropped.
    let _ = tokio::time::timeout(CLOSING, host.close()).await;
}

fn script(args: &RunArgs) -> Result<Script, Failure> {
    let (name, source) = match (&args.code, &args.file) {
        (Some(code), _) => ("code", code.clone()),
        (None, Some(path)) if path == Path::new("-") => {
            ("stdin", text("stdin", read_capped(std::io::stdin().lock())?)?)
        }
        (None, Some(path)) => {
            let language = args.lang.unwrap_or_else(|| language_of(path));
            let script = in_language(language, read_file(path)?);
            return with_wishes(script.name(path.display().to_string()), args);
        }
        (None, None) => return Err(Failure::usage("name a script, or give one with -c")),
    };
    let language = args.lang.unwrap_or(ScriptLanguage::Python);
    let name = match language {
        // By its name the runtime tells JavaScript from TypeScript.
        ScriptLanguage::JavaScript => format!("{name}.js"),
        ScriptLanguage::Python | ScriptLanguage::TypeScript => format!("<{name}>"),
    };
    with_wishes(in_language(language, source).name(name), args)
}

fn in_language(language: ScriptLanguage, source: String) -> Script {
    match language {
        ScriptLanguage::Python => Script::python(source),
        ScriptLanguage::TypeScript => Script::typescript(source),
        ScriptLanguage::JavaScript => Script::javascript(source),
    }
}

/// The language of a file. What has another name, or none, is Python.
fn language_of(path: &Path) -> ScriptLanguage {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ts" | "mts" | "cts") => ScriptLanguage::TypeScript,
        Some("js" | "mjs" | "cjs") => ScriptLanguage::JavaScript,
        _ => ScriptLanguage::Python,
    }
}

fn with_wishes(mut script: Script, args: &RunArgs) -> Result<Script, Failure> {
    if let Some(input) = &args.input {
        let input = serde_json::from_str(input).map_err(|error| {
            Failure::usage(format!(
                "--input is not JSON: {error} (a text needs quotes: '\"text\"')"
            ))
        })?;
        script = script.input(input);
    }
    if let Some(seed) = args.seed {
        script = script.seed(seed);
    }
    if args.check && script.language() == Language::Python {
        return Err(Failure::usage(StartError::CannotCheck.to_string()));
    }
    script = script.check(args.check);
    for directory in &args.directories {
        script = script.directory(parse_directory(directory)?);
    }
    Ok(script)
}

fn read_file(path: &PathBuf) -> Result<String, Failure> {
    let shown = path.display();
    let failed = |error: std::io::Error| Failure::usage(format!("cannot read {shown}: {error}"));
    let file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(Failure::usage(format!("cannot read {shown}: it is a directory")));
    }
    text(&shown.to_string(), read_capped(file)?)
}

/// Reads no more than what a script may have, plus one byte by which the host sees that it is more.
fn read_capped(from: impl Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(Script::MAX_SOURCE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    if bytes.len() > Script::MAX_SOURCE_BYTES {
        return Err(Failure::usage(format!(
            "{name} is longer than a script may be ({} bytes); hand data in with --input or --dir \
             instead of writing it into the script",
            Script::MAX_SOURCE_BYTES
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::usage(format!("{name} is not UTF-8 text: the byte at {at} is no character's"))
    })
}

/// `HOST::GUEST[:ro]`
fn parse_directory(text: &str) -> Result<GuestDirectory, Failure> {
    let (text, read_only) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text.strip_suffix(":rw").unwrap_or(text), false),
    };
    match text.split_once("::") {
        Some((host, guest)) if !host.is_empty() && guest.starts_with('/') => {
            Ok(GuestDirectory { host: host.into(), guest: guest.to_owned(), read_only })
        }
        _ => Err(Failure::usage(format!(
            "--dir {text:?} is not HOST::GUEST[:ro], e.g. ./data::/data:ro (the guest's path is \
             absolute)"
        ))),
    }
}

fn limits(args: &LimitArgs) -> Vec<(String, String)> {
    let given = [
        ("fuel", &args.fuel),
        ("compute_time", &args.compute_time),
        ("deadline", &args.deadline),
        ("memory", &args.memory),
        ("tool_calls", &args.tool_calls),
        ("call_timeout", &args.call_timeout),
        ("output", &args.output),
    ];
    let set = given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    set.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}

/// Writes a run to a terminal or a pipe as it goes on.
struct Printer {
    live: bool,
    /// The stream on which a line was begun and not ended.
    in_line: Option<Stream>,
    /// How far the run is.
    status: StatusLine,
}

impl Printer {
    fn event(&mut self, event: &RunEvent) {
        if let RunEvent::Log { level, data, .. } = event {
            tracing::info!(level, data = data.get(), "a log entry of the run");
        }
        // In the middle of a line that the run prints, a status has no place.
        if self.in_line.is_none() {
            self.status.show(event);
        }
        let RunEvent::Printed { to, bytes } = event else { return };
        if !self.live {
            return;
        }
        self.status.clear();
        self.in_line = (bytes.last() != Some(&b'\n')).then_some(*to);
        // Whoever closed the pipe does not want the rest; the run goes on for its effects.
        let _ = match to {
            Stream::Stdout => write_flushed(&mut std::io::stdout().lock(), bytes),
            Stream::Stderr => write_flushed(&mut std::io::stderr().lock(), bytes),
        };
    }

    fn report(&mut self, report: &RunReport, quiet: bool) {
        self.status.clear();
        // The value has a line of its own; and a terminal shows both streams in one place.
        let splits_stdout = self.in_line == Some(Stream::Stdout) && report.value.is_some();
        if splits_stdout || (self.in_line.is_some() && std::io::stdout().is_terminal()) {
            let _ = writeln!(std::io::stdout());
        }
        if let Some(value) = &report.value {
            let _ = writeln!(std::io::stdout(), "{}", value_as_text(value));
        }
        if let Some(error) = &report.error {
            match &error.traceback {
                Some(traceback) => eprintln!("{}", traceback.trim_end()),
                None => eprintln!("toolcell: {}", error.message),
            }
            if let (true, ErrorKind::Limit(_)) = (error.traceback.is_some(), &error.kind) {
                eprintln!("toolcell: {}", error.message);
            }
            if let Some(hint) = &error.hint {
                eprintln!("hint: {hint}");
            }
        }
        if !quiet {
            eprint!("{}", summary(report));
        }
        // Also if nobody wants a summary: a partial answer must not look whole.
        if let Some(degraded) = &report.degraded {
            eprintln!("degraded: {degraded}");
        }
    }
}

fn write_flushed(to: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

/// A text as it is, anything else as JSON for people.
fn value_as_text(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_else(|_| pretty(value.get()))
}

/// What the run did, in a line and one more for each failed call.
fn summary(report: &RunReport) -> String {
    let usage = &report.usage;
    let failed = report.calls.iter().filter(|call| !call.ok);
    let mut text = format!(
        "-- {} tool calls ({} failed), {:.2} s ({:.2} s computing), {} fuel, {:.0} MiB --\n",
        usage.tool_calls,
        failed.clone().count(),
        usage.wall.as_secs_f64(),
        usage.compute.as_secs_f64(),
        toolcell::config::units::format_count(usage.fuel),
        usage.memory_bytes as f64 / f64::from(1 << 20),
    );
    for call in failed {
        if let Some(error) = &call.error {
            text.push_str(&format!("   {}: {}: {}\n", call.tool, error.kind, error.message));
        }
    }
    text
}

fn print_json(report: &RunReport) {
    match serde_json::to_string(report) {
        Ok(json) => {
            let _ = writeln!(std::io::stdout(), "{json}");
        }
        Err(error) => eprintln!("toolcell: cannot write the report: {error}"),
    }
}

/// A run that never started, in the shape of one that did.
fn print_failure_as_json(failure: &Failure) {
    let kind = match failure {
        Failure::Usage(_) => "usage",
        Failure::Upstream(_) => "preflight",
        Failure::Cancelled => "cancelled",
    };
    let report = serde_json::json!({
        "ok": false,
        "value": null,
        "stdout": "",
        "stderr": "",
        "error": { "kind": kind, "message": failure.text(), "traceback": null, "hint": null },
        "usage": {
            "fuel": 0, "compute_ms": 0, "wall_ms": 0, "memory_bytes": 0, "tool_calls": 0,
            "output_bytes": 0,
        },
        "calls": [],
        "degraded": null,
    });
    let _ = writeln!(std::io::stdout(), "{report}");
}
