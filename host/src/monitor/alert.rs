//! What people and programs are told, once per change.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::ids::UpstreamName;
use crate::upstream::{ServerState, Transition, iso_time};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertEvent {
    /// The server went down.
    Down,
    /// It is up; it was down, or nobody knew.
    Up,
    /// It goes down and comes back so often that its changes are not told one by one any more.
    Flapping,
    /// It flapped, and has stayed as it is for a while.
    Settled,
}

impl AlertEvent {
    /// The name in alerts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
            Self::Flapping => "flapping",
            Self::Settled => "settled",
        }
    }
}

/// A change of a server's state that people want to know.
#[derive(Clone, Debug, Serialize)]
pub struct Alert {
    /// What happened.
    pub event: AlertEvent,
    /// To which server.
    pub server: UpstreamName,
    /// How it was.
    pub from: ServerState,
    /// How it is.
    pub to: ServerState,
    /// When this was noticed.
    #[serde(serialize_with = "iso_time")]
    pub at: SystemTime,
    /// Since when it is so.
    #[serde(serialize_with = "iso_time")]
    pub since: SystemTime,
    /// How long it was as it was before.
    #[serde(rename = "lasted_ms", serialize_with = "crate::limits::as_milliseconds")]
    pub lasted: Duration,
    /// Why, if it is down. Part of it is what the server said, on one line.
    pub cause: Option<Arc<str>>,
    /// How many changes nobody was told, while it flapped.
    pub untold_changes: u64,
}

impl Alert {
    pub(super) fn of(transition: &Transition) -> Self {
        let event = match transition.to {
            ServerState::Down => AlertEvent::Down,
            ServerState::Up | ServerState::Unknown => AlertEvent::Up,
        };
        Self {
            event,
            server: transition.server.clone(),
            from: transition.from,
            to: transition.to,
            at: transition.at,
            since: transition.since,
            lasted: transition.lasted,
            cause: transition.cause.clone(),
            untold_changes: 0,
        }
    }

    /// Whether somebody is to be told: that a server is up which nobody missed is no news.
    pub fn is_news(&self) -> bool {
        !(self.event == AlertEvent::Up && self.from == ServerState::Unknown)
    }

    /// The JSON object that webhooks and commands get: the fields of this, and `text`, the same in
    /// words, which chat programs show as it is.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        if let Some(object) = json.as_object_mut() {
            object.insert("text".to_owned(), self.to_string().into());
        }
        json
    }

    /// The same as variables of an alert command.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let time = |time| humantime::format_rfc3339_millis(time).to_string();
        vec![
            ("TOOLCELL_ALERT_EVENT", self.event.name().to_owned()),
            ("TOOLCELL_ALERT_SERVER", self.server.to_string()),
            ("TOOLCELL_ALERT_FROM", self.from.name().to_owned()),
            ("TOOLCELL_ALERT_TO", self.to.name().to_owned()),
            ("TOOLCELL_ALERT_AT", time(self.at)),
            ("TOOLCELL_ALERT_SINCE", time(self.since)),
            ("TOOLCELL_ALERT_LASTED_MS", self.lasted.as_millis().to_string()),
            ("TOOLCELL_ALERT_CAUSE", self.cause.as_deref().unwrap_or_default().to_owned()),
            ("TOOLCELL_ALERT_TEXT", self.to_string()),
        ]
    }

    /// Writes it into the log, as one line.
    pub(super) fn log(&self) {
        let at = humantime::format_rfc3339_millis(self.at);
        let (server, from, to) = (&self.server, self.from.name(), self.to.name());
        let event = self.event.name();
        if self.to == ServerState::Down || self.event == AlertEvent::Flapping {
            tracing::warn!(%at, %server, event, from, to, "{self}");
        } else {
            tracing::info!(%at, %server, event, from, to, "{self}");
        }
    }
}

impl fmt::Display for Alert {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, from, to, .. } = self;
        let to = to.name();
        match self.event {
            AlertEvent::Up if *from == ServerState::Unknown => write!(f, "server {server} is up"),
            AlertEvent::Up => {
                write!(f, "server {server} is up again; it was down for {}", Rough(self.lasted))
            }
            AlertEvent::Down => {
                let since = humantime::format_rfc3339_seconds(self.since);
                write!(f, "server {server} is down since {since}")
            }
            AlertEvent::Flapping => write!(
                f,
                "server {server} is flapping, now {to}; further changes are not told until it has \
                 stayed as it is for a while"
            ),
            AlertEvent::Settled => write!(
                f,
                "server {server} has settled: it is {to} since {}, after {} changes that were not \
                 told",
                humantime::format_rfc3339_seconds(self.since),
                self.untold_changes
            ),
        }?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

/// A time as people say it: its two largest units, `1h 5m`, `4m 10s`, `350ms`.
pub struct Rough(pub Duration);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
        match (days, hours, minutes, seconds % 60) {
            (0, 0, 0, 0) => write!(f, "{}ms", self.0.as_millis()),
            (0, 0, 0, seconds) => write!(f, "{seconds}s"),
            (0, 0, minutes, seconds) => write!(f, "{minutes}m {seconds}s"),
            (0, hours, minutes, _) => write!(f, "{hours}h {minutes}m"),
            (days, hours, ..) => write!(f, "{days}d {hours}h"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_two_units() {
        #[track_caller]
        fn check(milliseconds: u64, expected: &str) {
            assert_eq!(Rough(Duration::from_millis(milliseconds)).to_string(), expected);
        }
        check(0, "0ms");
        check(999, "999ms");
        check(59_999, "59s");
        check(250_000, "4m 10s");
        check(3_900_000, "1h 5m");
        check(180_000_000, "2d 2h");
    }
}
