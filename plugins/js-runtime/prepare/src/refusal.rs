//! A source that is no program, and what its author is shown.

use oxc_span::Span;

/// Characters of a line that are shown, around the place that is meant.
const SHOWN_CHARACTERS: usize = 160;

/// Why a source is no program of ours. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, and what to write instead.
    pub message: String,
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// The line's text with a caret under the place; empty where there is no place.
    pub excerpt: String,
}

impl Refusal {
    /// At a place of the source, given in bytes.
    pub(crate) fn at(source: &str, span: Span, message: impl Into<String>) -> Self {
        let start = floor(source, span.start as usize);
        let end = floor(source, span.end as usize).max(start);
        let (line, column) = place(source, start);
        let text = line_at(source, start);
        let excerpt = excerpt(text, line, column, source[start..end].chars().count());
        Self { message: message.into(), line, column, excerpt }
    }

    /// At a byte of the source.
    pub fn at_byte(source: &str, at: u32, message: impl Into<String>) -> Self {
        Self::at(source, Span::empty(at), message)
    }

    /// As a failure shows it. `name` is the program's.
    pub fn shown(&self, name: &str) -> String {
        self.shown_as("SyntaxError", name)
    }

    /// As a failure of another class shows it.
    pub fn shown_as(&self, class: &str, name: &str) -> String {
        let Self { message, line, column, excerpt } = self;
        format!("{class}: {message}\n    at {name}:{line}:{column}\n{excerpt}")
    }
}

/// The line's text with carets under `width` characters.
pub(crate) fn excerpt(text: &str, line: usize, column: usize, width: usize) -> String {
    let skipped = (column - 1).saturating_sub(SHOWN_CHARACTERS / 2);
    let mut shown: String = text.chars().skip(skipped).take(SHOWN_CHARACTERS).collect();
    let before: String = shown.chars().take(column - 1 - skipped).collect();
    let room = shown.chars().count().saturating_sub(before.chars().count()).max(1);
    // A tab under a tab keeps the caret in its place.
    let pad: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    if skipped > 0 {
        shown.insert(0, '…');
    }
    let pad = if skipped > 0 { format!(" {pad}") } else { pad };
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    format!("    {number} | {shown}\n    {gutter} | {pad}{}\n", "^".repeat(width.clamp(1, room)))
}

/// Line and column of a byte.
pub(crate) fn place(source: &str, at: usize) -> (usize, usize) {
    let before = &source[..at];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

fn line_at(source: &str, at: usize) -> &str {
    let start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    source[start..].lines().next().unwrap_or_default()
}

fn floor(source: &str, at: usize) -> usize {
    source.floor_char_boundary(at.min(source.len()))
}

/// A line of a source with a caret under a column; empty if there is no such line.
pub fn excerpt_at(source: &str, line: usize, column: usize) -> String {
    let text = source.split('\n').nth(line.saturating_sub(1));
    let text = text.map(|text| text.trim_end_matches('\r'));
    text.map_or_else(String::new, |text| {
        excerpt(text, line, column.clamp(1, text.chars().count() + 1), 1)
    })
}
