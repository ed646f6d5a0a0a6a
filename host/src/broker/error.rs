//! The one place where an upstream's error becomes the error that a guest sees, with what the
//! operator wants a model to know about it.

use std::fmt::Write as _;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::limits::{LimitKind, LimitReached};
use crate::tool::{CallError, ContentBlock, Json, Phase, ToolOutput};
use crate::upstream::UpstreamError;
use crate::upstream::settings::{Hints, UpstreamSettings};

/// What the operator says about the failures of one tool: its own hints, and its server's where it
/// has none.
#[derive(Clone, Copy, Default)]
pub(super) struct Advice<'a> {
    tool: Option<&'a Hints>,
    server: Option<&'a Hints>,
}

impl<'a> Advice<'a> {
    /// From the settings of the tool's server. What is no tool has its server's hints.
    pub(super) fn of(settings: Option<&'a UpstreamSettings>, tool: &str) -> Self {
        let own = settings.and_then(|settings| settings.tools.get(tool));
        Self { tool: own.map(|own| &own.hints), server: settings.map(|settings| &settings.hints) }
    }

    fn pick(&self, which: impl Fn(&'a Hints) -> Option<&'a String>) -> Option<&'a str> {
        let own = self.tool.and_then(&which);
        own.or_else(|| self.server.and_then(&which)).map(String::as_str)
    }

    /// What to do about an error, if the operator has a word on it.
    fn on(&self, error: &UpstreamError) -> String {
        let is_slow = matches!(error, UpstreamError::TimedOut { phase, .. } if is_working(*phase));
        let refused = matches!(
            error,
            UpstreamError::Rejected { .. }
                | UpstreamError::BadAnswer { .. }
                | UpstreamError::AnswerTooLarge { .. }
        );
        let hint = match (is_slow, refused) {
            (true, _) => self.pick(|hints| hints.on_timeout.as_ref()),
            (_, true) => self.pick(|hints| hints.on_tool_error.as_ref()),
            _ => self.pick(|hints| hints.on_unavailable.as_ref()),
        };
        let mut text = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        if !refused && let Some(fallback) = self.pick(|hints| hints.fallback.as_ref()) {
            let _ = write!(text, "; use `{fallback}` instead");
        }
        text
    }

    /// The error as a guest sees it.
    pub(super) fn explain(&self, error: UpstreamError) -> CallError {
        let hint = self.on(&error);
        let mut error = in_words(error);
        if let Some(message) = error.message_mut() {
            message.push_str(&hint);
        }
        error
    }

    /// A tool's own failure, with the operator's word as one more block.
    pub(super) fn annotate(&self, output: &mut ToolOutput) {
        if let (true, Some(hint)) =
            (output.is_error, self.pick(|hints| hints.on_tool_error.as_ref()))
        {
            output.content.push(ContentBlock::Text(hint.to_owned()));
            output.raw = output.raw.take().map(|raw| with_text(&raw, hint).unwrap_or(raw));
        }
    }
}

/// A result with one more block of text.
fn with_text(result: &RawValue, text: &str) -> Option<Arc<Json>> {
    let mut members: IndexMap<&str, Json> = serde_json::from_str(result.get()).ok()?;
    let mut content: Vec<Json> = serde_json::from_str(members.get("content")?.get()).ok()?;
    content.push(to_raw_value(&json!({ "type": "text", "text": text })).ok()?);
    members.insert("content", to_raw_value(&content).ok()?);
    Some(Arc::new(to_raw_value(&members).ok()?))
}

/// Whether the server had the call already.
fn is_working(phase: Phase) -> bool {
    matches!(phase, Phase::Call | Phase::Read)
}

/// The error without anybody's advice.
fn in_words(error: UpstreamError) -> CallError {
    let message = error.to_string();
    match error {
        UpstreamError::TimedOut { after, phase, .. } => {
            CallError::TimedOut { after, phase, message }
        }
        UpstreamError::Rejected { code, data, .. } => CallError::Rejected { code, message, data },
        UpstreamError::AnswerTooLarge { limit_bytes, .. } => {
            let limit = limit_bytes as u64;
            let reached =
                LimitReached { kind: LimitKind::Answer, limit, used: limit.saturating_add(1) };
            CallError::Exhausted { reached, message }
        }
        // What is left cannot be cured by other arguments: the server is the matter.
        _ => CallError::Unavailable(message),
    }
}

/// The text for a call that found no free place in time.
pub(super) fn queued_too_long(after: std::time::Duration, places: u64) -> CallError {
    CallError::TimedOut {
        after,
        phase: Phase::Queue,
        message: format!(
            "the call waited {} ms for one of the run's {places} concurrent calls to end; start \
             fewer at once, or cancel what is not needed any more",
            after.as_millis()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::UpstreamName;
    use crate::upstream::settings::{FilesRoot, ToolSettings, TransportSettings};

    #[test]
    fn the_operators_word_stands_behind_the_error_and_the_tools_own_goes_before_the_servers() {
        let server = UpstreamName::try_new("db").unwrap();
        let roots = Vec::<FilesRoot>::new();
        let mut settings =
            UpstreamSettings::new(server.clone(), TransportSettings::Files { roots });
        settings.hints.on_timeout = Some("ask for fewer rows".to_owned());
        settings.hints.fallback = Some("cache.query".to_owned());
        let hints = Hints { on_timeout: Some("add a LIMIT".to_owned()), ..Hints::default() };
        settings
            .tools
            .insert("run_query".to_owned(), ToolSettings { hints, ..ToolSettings::default() });
        let check = |tool: &str, phase, expected: &str| {
            let (after, hint) = (Duration::from_secs(2), None);
            let error = UpstreamError::TimedOut { server: server.clone(), phase, after, hint };
            let shown = Advice::of(Some(&settings), tool).explain(error);
            assert!(shown.message().ends_with(expected), "{}", shown.message());
        };
        check("run_query", Phase::Call, "; add a LIMIT; use `cache.query` instead");
        check("other", Phase::Read, "; ask for fewer rows; use `cache.query` instead");
        check("other", Phase::Connect, "(connecting); use `cache.query` instead");
    }

    #[test]
    fn a_tools_own_failure_keeps_its_words_and_gets_one_more_block() {
        let server = UpstreamName::try_new("db").unwrap();
        let roots = Vec::<FilesRoot>::new();
        let mut settings = UpstreamSettings::new(server, TransportSettings::Files { roots });
        settings.hints.on_tool_error = Some("look at list_tables()".to_owned());
        let advice = Advice::of(Some(&settings), "run_query");
        let raw =
            r#"{"x":1e400,"content":[{"type":"text","text":"no such table"}],"isError":true}"#;
        let raw = Some(Arc::new(RawValue::from_string(raw.to_owned()).unwrap()));
        let mut output = ToolOutput { raw, ..ToolOutput::error("no such table") };
        advice.annotate(&mut output);
        assert_eq!(output.first_text(), "no such table");
        assert_eq!(output.content.len(), 2);
        assert_eq!(
            output.raw.unwrap().get(),
            r#"{"x":1e400,"content":[{"type":"text","text":"no such table"},{"type":"text","text":"look at list_tables()"}],"isError":true}"#
        );
        let mut fine = ToolOutput::text("rows");
        advice.annotate(&mut fine);
        assert_eq!(fine.content.len(), 1);
    }
}
