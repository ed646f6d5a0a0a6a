//! One line at the bottom of a terminal that says how far a run is. It is written over again and
//! again, not too often, and taken away before anything else is printed.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use toolcell::events::RunEvent;

/// Between two writes.
const PACE: Duration = Duration::from_millis(100);

/// Characters of a message.
const SHOWN_CHARACTERS: usize = 60;

/// The line, if stderr is a terminal and somebody wants it.
pub(super) struct StatusLine {
    on: bool,
    shown: bool,
    last: Option<Instant>,
}

impl StatusLine {
    pub(super) fn new(wanted: bool) -> Self {
        Self { on: wanted && std::io::stderr().is_terminal(), shown: false, last: None }
    }

    /// Shows how far something is, unless it was shown a moment ago.
    pub(super) fn show(&mut self, event: &RunEvent) {
        let Some(text) = text(event) else { return };
        if !self.on || self.last.is_some_and(|last| last.elapsed() < PACE) {
            return;
        }
        let _ = write!(std::io::stderr(), "\r\x1b[2K{text}");
        self.last = Some(Instant::now());
        self.shown = true;
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
            self.shown = false;
        }
    }
}

/// How far something is, in words. Control characters of strangers stay out of the terminal.
fn text(event: &RunEvent) -> Option<String> {
    let RunEvent::Progress { call, progress, total, message, .. } = event else { return None };
    let who = call.map_or_else(|| "script".to_owned(), |call| format!("call {call}"));
    let far = match total {
        Some(total) => format!("{progress} of {total}"),
        None => progress.to_string(),
    };
    let message = message.as_deref().unwrap_or_default();
    let message = message.chars().filter(|character| !character.is_control());
    let message: String = message.take(SHOWN_CHARACTERS).collect();
    Some(format!("{who}: {far} {message}").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use toolcell::ids::CallId;

    use super::*;

    #[test]
    fn a_line_says_who_is_how_far_without_a_strangers_control_characters() {
        #[track_caller]
        fn check(call: Option<u64>, total: Option<f64>, message: Option<&str>, expected: &str) {
            let (call, message) = (call.map(CallId), message.map(ToOwned::to_owned));
            let event = RunEvent::Progress { call, progress: 3.0, total, message, params: None };
            assert_eq!(text(&event).as_deref(), Some(expected));
        }
        check(Some(2), Some(10.0), Some("half\x1b[2J\nway"), "call #2: 3 of 10 half[2Jway");
        check(None, None, None, "script: 3");
    }
}
