//! `[monitor]`: how servers are watched, and who is told when one goes down or comes back.

use std::path::PathBuf;
use std::time::Duration;

use super::error::KeyPath;
use super::findings::Findings;
use super::limits::server_duration;
use super::servers::is_http_url;
use super::surroundings::Surroundings;
use super::written::{Template, WrittenMonitor};
use crate::upstream::settings::{Secret, UpstreamSettings};

/// The monitor's settings, after defaults and checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorSettings {
    /// How often each server is probed that has no `probe_interval` of its own.
    pub interval: Duration,
    /// How long one alert may take: the webhook's answer, or the command's end.
    pub timeout: Duration,
    /// After so many failed probes in a row a server is told to be down.
    pub down_after: u32,
    /// URLs to which each transition is posted. They may carry a token.
    pub webhooks: Vec<Secret>,
    /// A program and its arguments, started for each transition.
    pub command: Option<Vec<String>>,
    /// Where the state of the servers is kept for `toolcell status`.
    pub state_file: Option<PathBuf>,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self {
            interval: UpstreamSettings::PROBE_INTERVAL,
            timeout: Duration::from_secs(10),
            down_after: 2,
            webhooks: Vec::new(),
            command: None,
            state_file: None,
        }
    }
}

/// The most failures that `down_after` waits for; more would be a monitor that tells nobody.
const MAX_DOWN_AFTER: u32 = 100;

/// Checks `[monitor]`.
pub(super) fn resolve(
    written: &WrittenMonitor,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> MonitorSettings {
    let WrittenMonitor { interval, timeout, down_after, webhook, command, state_file } = written;
    let path = KeyPath::of(["monitor"]);
    let mut settings = MonitorSettings::default();
    let durations = [
        ("interval", interval, &mut settings.interval),
        ("timeout", timeout, &mut settings.timeout),
    ];
    for (key, written, setting) in durations {
        let Some(text) = written else { continue };
        if let Some(duration) = findings.check(&path.key(key), server_duration(&text.0)) {
            *setting = duration;
        }
    }
    match down_after {
        Some(count) if !(1..=MAX_DOWN_AFTER).contains(count) => {
            let cause = format!("write a number from 1 to {MAX_DOWN_AFTER}");
            findings.problem(&path.key("down_after"), cause);
        }
        Some(count) => settings.down_after = *count,
        None => {}
    }
    let webhook_path = path.key("webhook");
    for (nth, url) in webhook.iter().flat_map(|urls| &urls.0).enumerate() {
        let many = webhook.as_ref().is_some_and(|urls| urls.0.len() > 1);
        let path = if many { webhook_path.index(nth) } else { webhook_path.clone() };
        let Some(url) = surroundings.text(url, &path, findings) else { continue };
        if is_http_url(&url) {
            settings.webhooks.push(Secret::new(url));
        } else {
            // It may hold a token, so it is never quoted.
            let cause = "this is no URL that begins with http:// or https://";
            findings.problem_with(&path, cause, "write for example https://hooks.example.org/…");
        }
    }
    settings.command = command
        .as_ref()
        .and_then(|command| program(command, &path.key("command"), surroundings, findings));
    settings.state_file = state_file
        .as_ref()
        .and_then(|file| surroundings.path(file, &path.key("state_file"), findings));
    settings
}

fn program(
    command: &[Template],
    path: &KeyPath,
    surroundings: &Surroundings<'_>,
    findings: &mut Findings<'_>,
) -> Option<Vec<String>> {
    let words = command.iter().enumerate();
    let words: Vec<Option<String>> =
        words.map(|(nth, word)| surroundings.text(word, &path.index(nth), findings)).collect();
    let words: Vec<String> = words.into_iter().collect::<Option<_>>()?;
    if words.first().is_none_or(|program| program.trim().is_empty()) {
        let way_out = "write for example command = [\"notify-send\", \"toolcell\"]";
        findings.problem_with(path, "the command is empty", way_out);
        return None;
    }
    Some(words)
}
