//! `sessions`: which interpreters are kept for a caller, and the end of one.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Answer, Facade, argument};
use crate::runs::{SessionInfo, SessionName};
use crate::server::mcp::request::Request;

impl Facade {
    pub(super) fn sessions(&self, arguments: &Map<String, Value>, request: &Request) -> Answer {
        let caller = &request.caller;
        let profile = self.profile()?;
        let sessions = self.host().sessions();
        let reset: Option<String> = argument(arguments, "reset")?;
        let mut text = String::new();
        if let Some(name) = &reset {
            let name = SessionName::try_new(name).map_err(|error| error.to_string())?;
            if !sessions.reset(caller, profile.name.as_str(), &name) {
                let left = sessions.list(caller, Some(profile.name.as_str()));
                return Err(format!("there is no session `{name}`; {}", named(&left)));
            }
            let _ = writeln!(text, "The session `{name}` is ended, with all that it held.");
        }
        let left = sessions.list(caller, Some(profile.name.as_str()));
        describe(&mut text, &left);
        let structured = json!({ "reset": reset, "sessions": left });
        Ok(self.tell(text, Some(structured), request))
    }
}

fn named(sessions: &[SessionInfo]) -> String {
    let names: Vec<String> = sessions.iter().map(|it| format!("`{}`", it.name)).collect();
    match names.is_empty() {
        true => "there is none".to_owned(),
        false => format!("there are {}", names.join(", ")),
    }
}

fn describe(text: &mut String, sessions: &[SessionInfo]) {
    if sessions.is_empty() {
        text.push_str("No session is kept. A script with `session` begins one.\n");
    }
    for session in sessions {
        let SessionInfo { name, language, runs, idle, .. } = session;
        let state = match session.busy {
            true => "at work".to_owned(),
            false => format!("idle for {} s", idle.as_secs()),
        };
        let runs_word = if *runs == 1 { "run" } else { "runs" };
        let expires = humantime::format_rfc3339_seconds(session.idle_expires);
        let _ = writeln!(
            text,
            "{name} ({language}): {runs} {runs_word}, {state}, ends {expires} if unused"
        );
    }
}
