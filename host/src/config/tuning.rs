//! How a server's connections behave, as written, becomes settings: times, numbers, retries, hints.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;

use super::error::KeyPath;
use super::findings::Findings;
use super::limits::server_duration;
use super::surroundings::Surroundings;
use super::written::{
    DurationOrNever, DurationText, WrittenBreaker, WrittenHints, WrittenLifecycle, WrittenRetry,
    WrittenServer, WrittenTool,
};
use crate::ids::ToolName;
use crate::upstream::settings::{
    Breaker, ConnectionCaps, Hints, Lifecycle, Retry, Timeouts, ToolSettings, UpstreamSettings,
};

/// The most connections that one server may be given.
const MAX_CONNECTIONS: u32 = 1_000;

/// The most attempts: more would hide a server that is down.
const MAX_ATTEMPTS: u32 = 20;

/// The most failures that a breaker waits for.
const MAX_FAILURES: u32 = 1_000;

/// The longest text that a model is shown from the configuration.
const MAX_TEXT_CHARS: usize = 4_000;

/// Fills in everything but the transport.
pub(super) fn apply(
    settings: &mut UpstreamSettings,
    written: &WrittenServer,
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) {
    settings.tools = tools(&written.tools, &path.key("tools"), findings);
    let of_tools = settings.tools.values().filter_map(|tool| tool.call_timeout).max();
    settings.timeouts = timeouts(written, of_tools, path, findings);
    settings.lifecycle = match written.lifecycle {
        None => Lifecycle::default(),
        Some(WrittenLifecycle::Pooled) => Lifecycle::Pooled,
        Some(WrittenLifecycle::OnDemand) => Lifecycle::OnDemand,
        Some(WrittenLifecycle::Fresh) => Lifecycle::Fresh,
    };
    settings.connections = connections(written, path, findings);
    settings.retry = retry(&written.retry, &path.key("retry"), findings);
    settings.breaker = breaker(&written.breaker, &path.key("breaker"), findings);
    settings.probe_interval = surroundings.probe_interval;
    let probe_interval = or_never(&written.probe_interval, &path.key("probe_interval"), findings);
    if let Some(interval) = probe_interval {
        settings.probe_interval = interval;
    }
    settings.hints = hints(&written.hints, &path.key("hints"), findings);
}

fn timeouts(
    written: &WrittenServer,
    of_tools: Option<Duration>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Timeouts {
    let defaults = Timeouts::default();
    let connect = duration(&written.connect_timeout, &path.key("connect_timeout"), findings);
    let handshake = duration(&written.handshake_timeout, &path.key("handshake_timeout"), findings);
    let read = duration(&written.read_timeout, &path.key("read_timeout"), findings);
    let call = duration(&written.call_timeout, &path.key("call_timeout"), findings);
    // A call that may take long must not end because nothing was heard for a while.
    let longest_call = call.max(of_tools).unwrap_or_default();
    let idle = or_never(&written.idle_timeout, &path.key("idle_timeout"), findings);
    Timeouts {
        pool: duration(&written.pool_timeout, &path.key("pool_timeout"), findings)
            .unwrap_or(defaults.pool),
        connect: connect.unwrap_or(defaults.connect),
        // Who only says how long connecting may take means all of it.
        handshake: handshake.or(connect).unwrap_or(defaults.handshake),
        write: duration(&written.write_timeout, &path.key("write_timeout"), findings)
            .unwrap_or(defaults.write),
        read: read.unwrap_or_else(|| defaults.read.max(longest_call)),
        call: call.or(defaults.call),
        idle: idle.unwrap_or(defaults.idle),
    }
}

fn duration(
    written: &Option<DurationText>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Option<Duration> {
    findings.check(path, server_duration(&written.as_ref()?.0))
}

/// `Some(None)` for `"never"`.
fn or_never(
    written: &Option<DurationOrNever>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Option<Option<Duration>> {
    match written.as_ref()?.0.as_str() {
        "never" => Some(None),
        text => match server_duration(text) {
            Ok(duration) => Some(Some(duration)),
            Err(error) => {
                findings.problem_with(path, error, "or write \"never\"");
                None
            }
        },
    }
}

/// A number within its bounds, or the default.
fn number(
    written: Option<u32>,
    bounds: (u32, u32),
    default: u32,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> u32 {
    let (least, most) = bounds;
    match written {
        None => default,
        Some(number) if (least..=most).contains(&number) => number,
        Some(_) => {
            findings.problem(path, format!("write a number from {least} to {most}"));
            default
        }
    }
}

fn connections(
    written: &WrittenServer,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> ConnectionCaps {
    let defaults = ConnectionCaps::default();
    let bounded = |count: usize| u32::try_from(count).unwrap_or(MAX_CONNECTIONS);
    let (max_path, idle_path) = (path.key("max_connections"), path.key("max_idle_connections"));
    let bounds = (1, MAX_CONNECTIONS);
    let max = number(written.max_connections, bounds, bounded(defaults.max), &max_path, findings);
    let bounds = (0, MAX_CONNECTIONS);
    let default = bounded(defaults.max_idle).min(max);
    let max_idle = number(written.max_idle_connections, bounds, default, &idle_path, findings);
    if max_idle > max {
        let cause = format!("it is more than `max_connections`, which is {max}");
        findings.problem_with(&idle_path, cause, "lower this or raise that");
    }
    ConnectionCaps { max: max as usize, max_idle: max_idle as usize }
}

fn retry(written: &Option<WrittenRetry>, path: &KeyPath, findings: &mut Findings<'_>) -> Retry {
    let defaults = Retry::default();
    let Some(WrittenRetry { attempts, base, cap }) = written else { return defaults };
    let attempts_path = path.key("attempts");
    // A number alone has no key of its own.
    let attempts_path = if base.is_none() && cap.is_none() { path } else { &attempts_path };
    let bounds = (1, MAX_ATTEMPTS);
    let retry = Retry {
        attempts: number(*attempts, bounds, defaults.attempts, attempts_path, findings),
        base: duration(base, &path.key("base"), findings).unwrap_or(defaults.base),
        cap: duration(cap, &path.key("cap"), findings)
            .unwrap_or_else(|| defaults.cap.max(base_of(base).unwrap_or_default())),
    };
    if retry.base > retry.cap {
        let way_out = "give a `cap` that is at least as long as `base`";
        findings.problem_with(&path.key("cap"), "it is shorter than `base`", way_out);
    }
    retry
}

fn base_of(written: &Option<DurationText>) -> Option<Duration> {
    server_duration(&written.as_ref()?.0).ok()
}

fn breaker(
    written: &Option<WrittenBreaker>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Breaker {
    let defaults = Breaker::default();
    let Some(WrittenBreaker { failures, cooldown, max_cooldown }) = written else {
        return defaults;
    };
    let bounds = (0, MAX_FAILURES);
    let breaker = Breaker {
        failures: number(*failures, bounds, defaults.failures, &path.key("failures"), findings),
        cooldown: duration(cooldown, &path.key("cooldown"), findings).unwrap_or(defaults.cooldown),
        max_cooldown: duration(max_cooldown, &path.key("max_cooldown"), findings)
            .unwrap_or_else(|| defaults.max_cooldown.max(base_of(cooldown).unwrap_or_default())),
    };
    if breaker.cooldown > breaker.max_cooldown {
        let way_out = "give a `max_cooldown` that is at least as long as `cooldown`";
        findings.problem_with(&path.key("max_cooldown"), "it is shorter than `cooldown`", way_out);
    }
    breaker
}

fn hints(written: &Option<WrittenHints>, path: &KeyPath, findings: &mut Findings<'_>) -> Hints {
    let Some(WrittenHints { on_timeout, on_unavailable, on_tool_error, fallback }) = written else {
        return Hints::default();
    };
    if let Some(name) = fallback
        && ToolName::parse(name).is_none()
    {
        let path = path.key("fallback");
        findings.problem_with(&path, "this is no tool's name", "write \"SERVER.TOOL\"");
    }
    let mut hint = |key: &str, text: &Option<String>| {
        let text = shown_text(text, &path.key(key), findings)?;
        // Frameworks look for the word in what their agents say, and stop there.
        if text.contains("TERMINATE") {
            let notice = "the hint has the word TERMINATE, at which some agents stop";
            findings.notice(&path.key(key), notice);
        }
        Some(text)
    };
    Hints {
        on_timeout: hint("on_timeout", on_timeout),
        on_unavailable: hint("on_unavailable", on_unavailable),
        on_tool_error: hint("on_tool_error", on_tool_error),
        fallback: fallback.clone(),
    }
}

/// A text that a model is shown.
fn shown_text(
    text: &Option<String>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> Option<String> {
    let text = text.as_ref()?;
    if text.trim().is_empty() {
        findings.problem_with(path, "the text is empty", "remove it");
        return None;
    }
    if text.chars().count() > MAX_TEXT_CHARS {
        findings.problem(path, format!("the text is longer than {MAX_TEXT_CHARS} characters"));
        return None;
    }
    Some(text.clone())
}

fn tools(
    written: &Option<IndexMap<String, WrittenTool>>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) -> BTreeMap<String, ToolSettings> {
    let tools = written.iter().flatten();
    tools.map(|(name, tool)| (name.clone(), one_tool(tool, &path.key(name), findings))).collect()
}

fn one_tool(written: &WrittenTool, path: &KeyPath, findings: &mut Findings<'_>) -> ToolSettings {
    let WrittenTool {
        hidden,
        title,
        description,
        parameters,
        read_only,
        idempotent,
        call_timeout,
        hints: written_hints,
    } = written;
    let parameters_path = path.key("parameters");
    let parameters = parameters.iter().flatten().filter_map(|(name, text)| {
        let text = shown_text(&Some(text.clone()), &parameters_path.key(name), findings)?;
        Some((name.clone(), text))
    });
    let parameters = parameters.collect();
    ToolSettings {
        hidden: hidden.unwrap_or_default(),
        title: shown_text(title, &path.key("title"), findings),
        description: shown_text(description, &path.key("description"), findings),
        parameters,
        read_only: *read_only,
        idempotent: *idempotent,
        call_timeout: duration(call_timeout, &path.key("call_timeout"), findings),
        hints: hints(written_hints, &path.key("hints"), findings),
    }
}
