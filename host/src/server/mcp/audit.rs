//! One line in the log about each call of a tool: who called, what, and what it came to. It holds no
//! argument and no answer. `TOOLCELL_LOG=warn,toolcell::audit=info` shows these lines alone.

use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;

use super::request::Outcome;
use crate::upstream::Caller;

/// What the lines go by.
const TARGET: &str = "toolcell::audit";

/// Characters of a name that somebody else chose.
const MAX_NAME_CHARS: usize = 100;

/// The line about one call. One that is dropped without an end says that the call was given up.
pub(in crate::server) struct AuditLine {
    /// Absent if nobody reads it.
    words: Option<Words>,
}

struct Words {
    caller: Option<Arc<str>>,
    client: String,
    profile: String,
    tool: String,
    since: Instant,
}

impl AuditLine {
    pub(in crate::server) fn begin(
        caller: &Caller,
        client: &str,
        profile: Option<&str>,
        tool: &str,
    ) -> Self {
        if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            return Self { words: None };
        }
        Self {
            words: Some(Words {
                caller: caller.id.clone(),
                client: shown(client),
                profile: profile.unwrap_or("(default)").to_owned(),
                tool: shown(tool),
                since: Instant::now(),
            }),
        }
    }

    pub(in crate::server) fn end(mut self, outcome: &Outcome) {
        if let Some(words) = self.words.take() {
            words.tell(match outcome {
                Err(_) => "refused",
                Ok(result) if is_error(result.get()) => "failed",
                Ok(_) => "ok",
            });
        }
    }
}

impl Drop for AuditLine {
    fn drop(&mut self) {
        if let Some(words) = self.words.take() {
            words.tell("given up");
        }
    }
}

impl Words {
    fn tell(self, outcome: &'static str) {
        let Self { caller, client, profile, tool, since } = self;
        let ms = since.elapsed().as_secs_f64() * 1000.0;
        let caller = caller.as_deref().unwrap_or("anonymous");
        tracing::info!(target: TARGET, caller, client, profile, tool, outcome, ms, "called");
    }
}

/// A name as it can stand in a log: on one line, and not longer than a name.
fn shown(name: &str) -> String {
    name.chars().take(MAX_NAME_CHARS).flat_map(char::escape_debug).collect()
}

fn is_error(result: &str) -> bool {
    #[derive(Deserialize)]
    struct Flag {
        #[serde(default, rename = "isError")]
        is_error: bool,
    }

    serde_json::from_str::<Flag>(result).is_ok_and(|flag| flag.is_error)
}
