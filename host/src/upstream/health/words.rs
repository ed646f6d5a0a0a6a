//! Causes as they may stand in a log line, an alert or a report: on one line, and not too long.
//! Part of them is what a server said, which may be anything.

use std::sync::Arc;

/// The most characters of a cause that are kept.
const MAX_CAUSE_CHARACTERS: usize = 500;

/// The text on one line: runs of blanks and control characters are one blank, invisible characters
/// that change how the rest is shown are gone, and what is too long ends with `…`.
pub(crate) fn one_line(text: &str) -> Arc<str> {
    let mut line = String::new();
    let mut blank = false;
    let mut left = MAX_CAUSE_CHARACTERS;
    for character in text.chars() {
        if character.is_whitespace() || character.is_control() {
            blank = !line.is_empty();
            continue;
        }
        if is_invisible(character) {
            continue;
        }
        if left <= usize::from(blank) {
            line.push('…');
            break;
        }
        if std::mem::take(&mut blank) {
            line.push(' ');
            left -= 1;
        }
        line.push(character);
        left -= 1;
    }
    line.into()
}

/// Zero-width characters and those that turn the direction of writing.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_server_says_is_one_line() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(&*one_line(text), expected);
        }
        check("no route", "no route");
        check("  a\n\n\tb\r\n ", "a b");
        check(
            "\n2026-01-01T00:00:00Z INFO server github is up",
            "2026-01-01T00:00:00Z INFO server github is up",
        );
        check("red \u{1b}[31malert\u{7}\0", "red [31malert");
        check("a\u{2028}b\u{85}c", "a b c");
        check("evil\u{202e}txt.exe\u{200b}", "eviltxt.exe");
        check("", "");
    }

    #[test]
    fn no_cause_is_longer_than_its_cap() {
        for text in ["x".repeat(1 << 20), "ü ".repeat(1 << 20), format!("{}x", "y ".repeat(250))] {
            let line = one_line(&text);
            assert!(line.chars().count() <= MAX_CAUSE_CHARACTERS + 1, "{}", line.chars().count());
            assert!(line.ends_with('…'));
        }
        assert_eq!(
            one_line(&"x".repeat(MAX_CAUSE_CHARACTERS)).chars().count(),
            MAX_CAUSE_CHARACTERS
        );
    }
}
