//! `run_python` and `run_typescript`: one script instead of many turns.

use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Answer, Facade, report};
use crate::Script;
use crate::events::{RunEvent, Stream};
use crate::language::Language;
use crate::server::mcp::request::{Exchange, Request};

/// Notifications of one run. A script with ten thousand calls is no reason to flood its client.
const MAX_NOTIFICATIONS: u32 = 200;

impl Facade {
    pub(super) async fn run(
        &self,
        language: Language,
        arguments: &Map<String, Value>,
        request: &Request,
    ) -> Answer {
        // Not read as JSON: a script may well be a valid JSON text.
        let code = match arguments.get("code") {
            Some(Value::String(code)) => code.clone(),
            None | Some(Value::Null) => {
                return Err("`code` is missing: the script to run, as text".to_owned());
            }
            Some(_) => return Err("`code` has to be the script to run, as text".to_owned()),
        };
        let meta = request.params.meta.for_upstreams();
        let script = match language {
            Language::Python => Script::python(code),
            // JavaScript is TypeScript too.
            Language::JavaScript => Script::typescript(code),
        };
        let mut script = script
            .caller(request.caller.clone())
            .client_handler(Arc::clone(&request.handler))
            .meta(meta);
        if let Some(client) = &request.client.name {
            script = script.client(client.as_str());
        }
        if let Some(connection) = request.exchange.peer.connection() {
            script = script.connection(connection);
        }
        match arguments.get("session") {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) => script = self.in_session(script, name, request),
            Some(_) => return Err("`session` has to be a name, as text".to_owned()),
        }
        match arguments.get("check") {
            None | Some(Value::Null) => {}
            Some(Value::Bool(check)) => script = script.check(*check),
            Some(_) => return Err("`check` has to be true or false".to_owned()),
        }
        if let Some(input) = arguments.get("input").filter(|input| !input.is_null()) {
            script = script.input(input.clone());
        }
        let profile = self.profile()?;
        let caller = request.caller.id.as_ref();
        let _place =
            self.quotas().begin_run(caller, Instant::now()).map_err(|over| over.to_string())?;
        let started = self.host().start_with(&profile, script);
        let mut run = started.map_err(|error| error.to_string())?;
        let mut progress = Progress::new(request);
        let cancel = run.cancellation();
        loop {
            tokio::select! {
                biased;
                // The client does not want it any more: the run ends, and its calls with it.
                () = request.cancel.cancelled(), if !cancel.is_cancelled() => cancel.cancel(),
                event = run.next_event() => match event {
                    Some(event) => progress.tell(&event).await,
                    None => break,
                },
            }
        }
        let report = run.await.map_err(|error| error.to_string())?;
        self.quotas().charge(caller, report.usage.fuel, Instant::now());
        let keep = |parts| self.keep(parts, &request.caller);
        let (bytes, links) = (self.settings().result_bytes, request.client.is_modern());
        Ok(report::of_run(&report, bytes, links, keep))
    }

    fn in_session(&self, script: Script, name: &str, request: &Request) -> Script {
        let script = script.session(name);
        let own = self.quotas().limits(request.caller.id.as_deref()).sessions;
        match own.and_then(|own| usize::try_from(own).ok()) {
            Some(own) => script.session_share(own),
            None => script,
        }
    }
}

/// Tells the client what the run does, if it wants to know.
struct Progress<'a> {
    exchange: &'a Exchange,
    token: Option<&'a RawValue>,
    told: u32,
    printed: Printed,
}

impl<'a> Progress<'a> {
    fn new(request: &'a Request) -> Self {
        let token = request.params.meta.progress_token();
        Self { exchange: &request.exchange, token, told: 0, printed: Printed::default() }
    }

    async fn tell(&mut self, event: &RunEvent) {
        if let RunEvent::Printed { to, bytes } = event {
            if self.exchange.streams_output
                && let Some(text) = self.printed.take(*to, bytes)
            {
                let logger = if *to == Stream::Stdout { "stdout" } else { "stderr" };
                let params = json!({ "level": "info", "logger": logger, "data": text });
                self.exchange.notify("notifications/message", &params).await;
            }
            return;
        }
        let words = match event {
            RunEvent::CallStarted { tool, .. } => format!("calling {tool}"),
            RunEvent::Progress { message: Some(words), .. } => words.clone(),
            RunEvent::Progress { progress, total: Some(total), .. } => {
                format!("{progress} of {total}")
            }
            _ => return,
        };
        // What a script or a server counts may start anew; the protocol wants a number that grows.
        self.told += 1;
        let Some(token) = self.token.filter(|_| self.told <= MAX_NOTIFICATIONS) else { return };
        let params = json!({ "progressToken": token, "progress": self.told, "message": words });
        self.exchange.notify("notifications/progress", &params).await;
    }
}

/// What a script prints comes in pieces that may end within a character.
#[derive(Default)]
struct Printed {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Printed {
    /// As much as is whole characters.
    fn take(&mut self, to: Stream, bytes: &[u8]) -> Option<String> {
        let kept = match to {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        kept.extend_from_slice(bytes);
        // A character has four bytes at most, so no more than three can wait for the rest.
        let whole = match std::str::from_utf8(kept) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => kept.len(),
        };
        let rest = kept.split_off(whole);
        let text = String::from_utf8_lossy(&std::mem::replace(kept, rest)).into_owned();
        (!text.is_empty()).then_some(text)
    }
}
