//! Strangers' texts as parts of TypeScript source.

use crate::stubs::text::quoted;

/// The words that cannot be names in a module of ECMAScript 2026, and those that TypeScript adds.
const RESERVED: [&str; 48] = [
    "arguments",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

/// The identifier of a name: every character outside `[A-Za-z0-9_]` becomes `_`, a digit in front
/// gets a `_` before it, and a reserved word a `_` after it: as in Python, but for the words.
pub(super) fn identifier(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut made: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if made.is_empty() || made.starts_with(|c: char| c.is_ascii_digit()) {
        made.insert(0, '_');
    }
    if RESERVED.contains(&made.as_str()) {
        made.push('_');
    }
    made
}

/// The same in camel case: `search_papers` becomes `searchPapers`; a leading `_` stays.
pub(super) fn camel_case(name: &str) -> String {
    let identifier = identifier(name);
    let mut made = String::with_capacity(identifier.len());
    let mut rest = identifier.chars().peekable();
    while let Some(c) = rest.next() {
        let joins = c == '_' && made.ends_with(|before: char| before.is_ascii_alphanumeric());
        if !joins {
            made.push(c);
            continue;
        }
        let mut blanks = 1;
        while rest.next_if_eq(&'_').is_some() {
            blanks += 1;
        }
        match rest.next() {
            Some(letter) => made.push(letter.to_ascii_uppercase()),
            None => made.extend(std::iter::repeat_n('_', blanks)),
        }
    }
    made
}

/// A property's name: as it is if it can be, else as a string.
pub(super) fn key(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    let starts = name.starts_with(|c: char| plain(c) && !c.is_ascii_digit());
    if starts && name.chars().all(plain) { name.to_owned() } else { string(name) }
}

/// A string.
pub(super) fn string(text: &str) -> String {
    quoted(text, |c| format!("\\u{{{:x}}}", u32::from(c)))
}

/// A documentation comment of cleaned text, with its line end; nothing for nothing.
pub(super) fn comment(text: &str) -> String {
    let text = text.replace("*/", "*\\/");
    if !text.contains('\n') {
        return if text.is_empty() { text } else { format!("/** {text} */\n") };
    }
    let lines = text.lines().map(|line| format!("{}\n", format!(" * {line}").trim_end()));
    format!("/**\n{} */\n", lines.collect::<String>())
}
