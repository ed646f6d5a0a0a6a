//! Strangers' texts as parts of Python source.

use serde_json::Value;

/// A text without anything that a reader cannot see, and not longer than `max_chars`. Lines are
/// ended by `\n`, and blanks at line ends are gone.
pub(super) fn clean(text: &str, max_chars: usize) -> String {
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{85}', '\u{2028}', '\u{2029}'], "\n");
    let visible = |c: &char| *c == '\n' || *c == '\t' || !(c.is_control() || is_invisible(*c));
    let mut chars = text.chars().filter(visible);
    let mut cleaned: String = chars.by_ref().take(max_chars).collect();
    if chars.next().is_some() {
        cleaned.push('…');
    }
    let lines: Vec<&str> = cleaned.trim().lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// The same on a single line, for comments.
pub(super) fn clean_line(text: &str, max_chars: usize) -> String {
    clean(text, max_chars).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Characters that show nothing, or that make what follows show elsewhere: zero-width and
/// direction marks, and the tags that can hide whole sentences.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// A docstring of cleaned text, indented by so many spaces, with its line end.
pub(super) fn docstring(text: &str, indent: usize) -> String {
    let text = text.replace('\\', "\\\\").replace("\"\"\"", "\\\"\\\"\\\"");
    let blanks = " ".repeat(indent);
    let mut lines = text.lines();
    let mut made = format!("{blanks}\"\"\"{}", lines.next().unwrap_or_default());
    let mut is_single = true;
    for line in lines {
        is_single = false;
        made.push('\n');
        if !line.is_empty() {
            made.push_str(&blanks);
            made.push_str(line);
        }
    }
    // A quote at the end would join the closing ones.
    if !is_single || made.ends_with('"') {
        made.push('\n');
        made.push_str(&blanks);
    }
    made.push_str("\"\"\"\n");
    made
}

/// A Python string.
pub(super) fn string(text: &str) -> String {
    quoted(text, |c| match c {
        '\t' => "\\t".to_owned(),
        _ => format!("\\U{:08x}", u32::from(c)),
    })
}

/// A text in double quotes, as Python and TypeScript both write it, but for how they `escape` what
/// cannot be seen.
pub(super) fn quoted(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut made = String::with_capacity(text.len() + 2);
    made.push('"');
    for c in text.chars() {
        match c {
            '"' => made.push_str("\\\""),
            '\\' => made.push_str("\\\\"),
            '\n' => made.push_str("\\n"),
            _ if c.is_control() || is_invisible(c) || matches!(c, '\u{2028}' | '\u{2029}') => {
                made.push_str(&escape(c));
            }
            _ => made.push(c),
        }
    }
    made.push('"');
    made
}

/// A short Python literal of a JSON value, or nothing if it is long.
pub(super) fn literal(value: &Value) -> Option<String> {
    const MAX_LENGTH: usize = 80;
    const MAX_ELEMENTS: usize = 8;
    let made = match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.len() <= MAX_LENGTH => string(text),
        Value::Array(elements) if elements.len() <= MAX_ELEMENTS => {
            let elements: Option<Vec<String>> = elements.iter().map(literal).collect();
            format!("[{}]", elements?.join(", "))
        }
        Value::Object(members) if members.len() <= MAX_ELEMENTS => {
            let member = |(key, value)| -> Option<String> {
                Some(format!(
                    "{}: {}",
                    literal(&Value::String(String::clone(key)))?,
                    literal(value)?
                ))
            };
            let members: Option<Vec<String>> = members.iter().map(member).collect();
            format!("{{{}}}", members?.join(", "))
        }
        _ => return None,
    };
    Some(made).filter(|made| made.len() <= MAX_LENGTH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hidden_characters_are_taken_out() {
        assert_eq!(clean(" a\r\nb\0\u{202e}c \u{e0041}\td ", 100), "a\nbc \td");
        assert_eq!(clean("abcdef", 3), "abc…");
        assert_eq!(clean_line("a\n  b\u{2028}c", 100), "a b c");
    }

    #[test]
    fn docstrings_cannot_be_left() {
        assert_eq!(docstring("plain", 4), "    \"\"\"plain\"\"\"\n");
        assert_eq!(docstring("a\n\nb", 2), "  \"\"\"a\n\n  b\n  \"\"\"\n");
        assert_eq!(docstring("ends \"", 0), "\"\"\"ends \"\n\"\"\"\n");
        assert_eq!(docstring("x\"\"\"\nimport os", 0), "\"\"\"x\\\"\\\"\\\"\nimport os\n\"\"\"\n");
        assert_eq!(docstring("x\\", 0), "\"\"\"x\\\\\"\"\"\n");
    }

    #[test]
    fn literals_are_python() {
        let literal = |value: Value| literal(&value);
        assert_eq!(
            literal(json!([1, -2.5, null, true, "a\"b"])).as_deref(),
            Some(r#"[1, -2.5, None, True, "a\"b"]"#)
        );
        assert_eq!(literal(json!({"a": {"b": []}})).as_deref(), Some(r#"{"a": {"b": []}}"#));
        assert_eq!(literal(json!("x".repeat(90))), None);
        assert_eq!(string("\u{7f}"), "\"\\U0000007f\"");
    }
}
