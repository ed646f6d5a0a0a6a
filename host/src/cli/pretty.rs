//! JSON for people: on several lines, and otherwise exactly as it is. Read into values and written
//! again, a number could lose digits.

/// Spreads valid JSON over lines, two spaces per level.
pub(super) fn pretty(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut rest = json.chars().filter(not_space_between()).peekable();
    let mut in_string = InString::default();
    while let Some(character) = rest.next() {
        if in_string.contains(character) {
            text.push(character);
            continue;
        }
        match character {
            '{' | '[' => {
                text.push(character);
                if let Some(close) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(close);
                } else {
                    depth += 1;
                    new_line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut text, depth);
                text.push(character);
            }
            ',' => {
                text.push(',');
                new_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            _ => text.push(character),
        }
    }
    text
}

fn new_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

/// Lets pass what stands in strings and what is no white space.
fn not_space_between() -> impl FnMut(&char) -> bool {
    let mut in_string = InString::default();
    move |character| in_string.contains(*character) || !character.is_ascii_whitespace()
}

/// Whether the characters that come one after another belong to strings, their quotes included.
#[derive(Default)]
struct InString {
    open: bool,
    escaped: bool,
}

impl InString {
    fn contains(&mut self, character: char) -> bool {
        let was_open = self.open;
        if self.escaped {
            self.escaped = false;
        } else if character == '"' {
            self.open = !self.open;
        } else if self.open && character == '\\' {
            self.escaped = true;
        }
        was_open || self.open
    }
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn json_is_spread_over_lines_and_keeps_every_digit() {
        let json =
            r#"{"a" :[1e400,{ },[ ]], "b{\"":"x, y: [\\", "c":123456789012345678901234567890}"#;
        let expected = r#"{
  "a": [
    1e400,
    {},
    []
  ],
  "b{\"": "x, y: [\\",
  "c": 123456789012345678901234567890
}"#;
        assert_eq!(pretty(json), expected);
        for plain in ["1", "null", r#""a: b""#, "[]"] {
            assert_eq!(pretty(plain), plain);
        }
    }
}
