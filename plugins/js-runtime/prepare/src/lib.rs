//! Reads a program before it runs: takes the types off TypeScript, makes a script of a module, and finds
//! out where its value comes from. Every line stays where it is, and of every column it is known what
//! it was.
//!
//! The parser recurses as deep as a source is nested. It runs inside the sandbox, where that is metered
//! and bounded like everything else: never call it on foreign text outside of one.

mod calls;
mod edits;
mod modules;
mod nearest;
#[cfg(test)]
mod oracle;
mod refusal;
mod schema;
mod strip;
#[cfg(test)]
mod tests;

pub use calls::calls;
pub use edits::Map;
pub use modules::{ValueFrom, cannot_import};
pub use nearest::nearest;
pub use refusal::{Refusal, excerpt_at as excerpt};
pub use schema::functions;

use oxc_allocator::Allocator;
use oxc_ast_visit::Visit;
use oxc_parser::Parser;
use oxc_span::{SourceType, Span};

use modules::Top;
use strip::Stripper;

/// A program that QuickJS can run.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The text.
    pub source: String,
    /// From its columns to the author's.
    pub map: Map,
    /// Whether there is an `await` outside of functions.
    pub awaits: bool,
    /// Where its value comes from.
    pub value: ValueFrom,
    /// Whether something is assigned to `result`.
    pub assigns_result: bool,
    /// Names that are exported, and the variables they are of.
    pub exports: Vec<(String, String)>,
}

/// Whether a program of this name is JavaScript; everything else is TypeScript.
pub fn is_javascript(name: &str) -> bool {
    [".js", ".mjs", ".cjs"].iter().any(|end| name.ends_with(end))
}

/// Reads a program. In a session (`kept`) what is declared at the top may be declared again.
///
/// # Errors
/// It is none, or it has what cannot be taken off.
pub fn prepare(name: &str, source: &str, kept: bool) -> Result<Prepared, Refusal> {
    if source.len() > u32::MAX as usize {
        return Err(Refusal::at("", Span::new(0, 0), "the source is too long"));
    }
    let allocator = Allocator::default();
    let kind = if is_javascript(name) { SourceType::mjs() } else { SourceType::ts() };
    let parsed = Parser::new(&allocator, source, kind.with_module(true)).parse();
    let mut stripper = Stripper::new(source);
    if parsed.panicked || !parsed.diagnostics.is_empty() {
        // What cannot be taken off is told as such, if the parser got that far.
        stripper.visit_program(&parsed.program);
        let ours = stripper.refusals.into_iter().next();
        return Err(ours.unwrap_or_else(|| {
            let first = parsed.diagnostics.iter().next();
            let label = first.and_then(|it| it.labels.iter().next());
            let span = label.map_or(Span::new(0, 0), |label| {
                Span::new(label.offset() as u32, (label.offset() + label.len()) as u32)
            });
            let message = first.map_or_else(|| "the source is no program".to_owned(), message);
            let hint = if name.ends_with(".tsx") || name.ends_with(".jsx") { JSX } else { "" };
            Refusal::at(source, span, format!("{message}{hint}"))
        }));
    }
    stripper.visit_program(&parsed.program);
    stripper.close();
    let Stripper { mut edits, mut refusals, awaits, assigns_result, .. } = stripper;
    let mut top = Top::new(source, kept);
    top.read(&parsed.program, &mut edits);
    refusals.append(&mut top.refusals);
    refusals.sort_by_key(|refusal| (refusal.line, refusal.column));
    if let Some(refusal) = refusals.into_iter().next() {
        return Err(refusal);
    }
    let (mut source, map) = edits.apply(source);
    source.push_str(&top.suffix);
    Ok(Prepared { source, map, awaits, value: top.value, assigns_result, exports: top.exports })
}

const JSX: &str = "; JSX is no JavaScript: write function calls, or text";

fn message(diagnostic: &oxc_diagnostics::OxcDiagnostic) -> String {
    let mut text = diagnostic.message.to_string();
    if let Some(help) = diagnostic.help.as_ref().filter(|help| help.len() < 200) {
        text.push_str(&format!(" ({help})"));
    }
    text
}
