//! How the texts of a server on pipes are written. MCP says UTF-8; programs that are older than it, or
//! run under another locale, write something else.

use std::borrow::Cow;

/// How the messages of a server on pipes are written, and what becomes of those that are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TextEncoding {
    /// In which characters.
    pub charset: Charset,
    /// What becomes of bytes that are none.
    pub undecodable: Undecodable,
}

/// The encodings that are known. What we send is the same in all of them: other characters than ASCII's
/// are escaped where they have to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Charset {
    /// As the protocol says.
    #[default]
    Utf8,
    /// Seven bits.
    Ascii,
    /// ISO 8859-1: each byte is the character of its number.
    Latin1,
}

impl Charset {
    /// By one of its names, as Python knows them.
    pub fn by_name(name: &str) -> Option<Self> {
        let plain = |c: &char| !matches!(c, '-' | '_' | ' ');
        let name: String = name.to_ascii_lowercase().chars().filter(plain).collect();
        match name.as_str() {
            "utf8" | "u8" | "cp65001" => Some(Self::Utf8),
            "ascii" | "usascii" | "646" => Some(Self::Ascii),
            "latin1" | "latin" | "l1" | "iso88591" | "88591" | "cp819" => Some(Self::Latin1),
            _ => None,
        }
    }
}

/// What becomes of bytes that are no characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Undecodable {
    /// U+FFFD stands in their place.
    #[default]
    Replaced,
    /// They are left out.
    Ignored,
    /// The message cannot be used.
    Refused,
}

/// A message has bytes that are no characters.
#[derive(Debug)]
pub(super) struct NoText;

impl TextEncoding {
    /// A line as UTF-8.
    pub(super) fn decode(self, line: &[u8]) -> Result<Cow<'_, [u8]>, NoText> {
        if line.is_ascii() || (self.charset == Charset::Utf8 && std::str::from_utf8(line).is_ok()) {
            return Ok(Cow::Borrowed(line));
        }
        let text: String = match (self.charset, self.undecodable) {
            (Charset::Latin1, _) => line.iter().map(|byte| char::from(*byte)).collect(),
            (_, Undecodable::Refused) => return Err(NoText),
            // Whoever reads it replaces them.
            (Charset::Utf8, Undecodable::Replaced) => return Ok(Cow::Borrowed(line)),
            (Charset::Utf8, Undecodable::Ignored) => {
                line.utf8_chunks().map(|chunk| chunk.valid()).collect()
            }
            (Charset::Ascii, how) => line
                .iter()
                .filter_map(|byte| match how {
                    _ if byte.is_ascii() => Some(char::from(*byte)),
                    Undecodable::Ignored => None,
                    _ => Some(char::REPLACEMENT_CHARACTER),
                })
                .collect(),
        };
        Ok(Cow::Owned(text.into_bytes()))
    }

    /// A JSON text of ours as the server reads it.
    pub(super) fn encode(self, message: Vec<u8>) -> Vec<u8> {
        if self.charset == Charset::Utf8 || message.is_ascii() {
            return message;
        }
        let text = String::from_utf8_lossy(&message);
        let mut written = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            if c.is_ascii() {
                written.push(c);
                continue;
            }
            // In JSON they can only stand in texts, where this means the same.
            for unit in c.encode_utf16(&mut [0; 2]) {
                written.push_str(&format!("\\u{unit:04x}"));
            }
        }
        written.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_their_server_writes_them() {
        let read = |name: &str, undecodable, line: &[u8]| {
            let charset = Charset::by_name(name).unwrap();
            let read = TextEncoding { charset, undecodable }.decode(line);
            read.ok().map(|text| String::from_utf8_lossy(&text).into_owned())
        };
        for how in [Undecodable::Replaced, Undecodable::Ignored, Undecodable::Refused] {
            assert_eq!(read("ISO-8859-1", how, b"{\"\xe4\"}").as_deref(), Some("{\"ä\"}"));
            assert_eq!(read("utf-8", how, "{\"ä\"}".as_bytes()).as_deref(), Some("{\"ä\"}"));
        }
        for name in ["utf_8", "us-ascii"] {
            let line = b"{\"a\xffb\"}";
            assert_eq!(
                read(name, Undecodable::Replaced, line).as_deref(),
                Some("{\"a\u{fffd}b\"}")
            );
            assert_eq!(read(name, Undecodable::Ignored, line).as_deref(), Some("{\"ab\"}"));
            assert_eq!(read(name, Undecodable::Refused, line), None);
        }
        assert_eq!(Charset::by_name("ebcdic"), None);
    }

    #[test]
    fn what_we_write_can_be_read_in_seven_bits() {
        let ascii = TextEncoding { charset: Charset::Latin1, ..TextEncoding::default() };
        let written = ascii.encode("{\"ä😀\":\"a\"}".as_bytes().to_vec());
        assert_eq!(String::from_utf8(written).unwrap(), "{\"\\u00e4\\ud83d\\ude00\":\"a\"}");
    }
}
