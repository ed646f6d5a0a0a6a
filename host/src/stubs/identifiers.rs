//! Names of servers, tools and arguments become Python identifiers.
//!
//! The Python guest makes its modules and functions by the same rule, so a stub shows the names
//! that a script really sees.

/// The reserved words of Python 3.14.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

/// The Python identifier of a name: every character outside `[A-Za-z0-9_]` becomes `_`, a digit in
/// front gets a `_` before it, and a reserved word a `_` after it.
///
/// ```
/// use toolcell::stubs::identifiers::identifier;
///
/// assert_eq!(identifier("get-sum"), "get_sum");
/// ```
pub fn identifier(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut made: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if made.is_empty() || made.starts_with(|c: char| c.is_ascii_digit()) {
        made.insert(0, '_');
    }
    if KEYWORDS.contains(&made.as_str()) {
        made.push('_');
    }
    made
}

/// Whether a name is its own identifier.
pub fn is_identifier(name: &str) -> bool {
    identifier(name) == name
}

/// An identifier as the beginning of a class's name: `get_sum` becomes `GetSum`.
pub(super) fn class_name(name: &str) -> String {
    let identifier = identifier(name);
    let words = identifier.split('_').filter(|word| !word.is_empty());
    let made: String = words
        .flat_map(|word| {
            let (first, rest) = word.split_at(1);
            [first.to_ascii_uppercase(), rest.to_owned()]
        })
        .collect();
    if made.starts_with(|c: char| c.is_ascii_alphabetic()) { made } else { format!("T{made}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        #[track_caller]
        fn check(name: &str, expected: &str) {
            assert_eq!(identifier(name), expected, "{name:?}");
        }
        check("get-sum", "get_sum");
        check("odd.name here", "odd_name_here");
        check("2fa", "_2fa");
        check("import", "import_");
        check("match", "match");
        check("größe", "gr__e");
        check("", "_");
        check("_", "_");
    }

    #[test]
    fn classes_are_named_in_camel_case() {
        assert_eq!(class_name("get-sum"), "GetSum");
        assert_eq!(class_name("searchPapers"), "SearchPapers");
        assert_eq!(class_name("2fa"), "T2fa");
        assert_eq!(class_name("__"), "T");
    }
}
