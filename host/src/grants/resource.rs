//! Which resources are granted: patterns of servers and URIs.

use std::fmt;
use std::str::FromStr;

use super::error::InvalidPattern;
use super::pattern::{check_server, wildcard};

/// How often a URI is decoded before it is compared. Nobody means more than one, and what still
/// changes after these is granted by no pattern.
const DECODINGS: usize = 4;

/// One line of a profile's `resources`: `server:URI`, with `*` for any characters in both parts, and
/// with `!` in front to take back what an earlier pattern granted. Without a colon it means all
/// resources of the servers it names.
///
/// A URI is compared as it is written and with its percent-encoding undone; one that climbs
/// (`…/../…`, in any encoding) is granted by no pattern, since where it leads is the server's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourcePattern {
    /// As written, without `!`.
    text: Box<str>,
    /// Bytes of `text` before its first colon, or all of it.
    server_length: usize,
    includes: bool,
}

impl ResourcePattern {
    /// The longest text that is accepted, in bytes.
    pub const MAX_LENGTH: usize = 1024;

    /// All resources of all servers.
    pub fn everything() -> Self {
        Self { text: "*".into(), server_length: 1, includes: true }
    }

    /// Whether what it matches is granted, or else taken back.
    pub fn includes(&self) -> bool {
        self.includes
    }

    /// The part that is compared with servers' names.
    pub fn server(&self) -> &str {
        &self.text[..self.server_length]
    }

    /// The part that is compared with URIs.
    pub fn uri(&self) -> &str {
        self.text.get(self.server_length + 1..).unwrap_or("*")
    }

    /// Whether everything that another one means is meant by this one too; `true` is always right.
    pub fn covers(&self, other: &Self) -> bool {
        wildcard(self.server(), other.server()) && wildcard(self.uri(), other.uri())
    }

    fn matches_server(&self, server: &str) -> bool {
        wildcard(self.server(), server)
    }
}

impl FromStr for ResourcePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let (includes, text) = match text.strip_prefix('!') {
            Some(rest) => (false, rest),
            None => (true, text),
        };
        if text.is_empty() {
            return Err(InvalidPattern::EmptyResource);
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(InvalidPattern::TooLong { length: text.len(), max: Self::MAX_LENGTH });
        }
        if text.starts_with('!') {
            return Err(InvalidPattern::Exclusion);
        }
        let (server, uri) = text.split_once(':').unwrap_or((text, "*"));
        if server.is_empty() || uri.is_empty() {
            return Err(InvalidPattern::EmptyResource);
        }
        check_server(server)?;
        if let Some(character) = uri.chars().find(|c| c.is_control() || c.is_whitespace()) {
            return Err(InvalidPattern::UriCharacter { character });
        }
        Ok(Self { text: text.into(), server_length: server.len(), includes })
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.includes { "" } else { "!" };
        write!(f, "{mark}{}", self.text)
    }
}

/// Whether the last of the patterns that matches a resource grants it.
pub(super) fn grants(patterns: &[ResourcePattern], server: &str, uri: &str) -> bool {
    let Some(plain) = plain(uri) else { return false };
    let same = plain == uri;
    let matching = |pattern: &&ResourcePattern| {
        let (written, decoded) =
            (wildcard(pattern.uri(), uri), same || wildcard(pattern.uri(), &plain));
        // What is granted must be so in both forms, what is taken back in either.
        let fits =
            if pattern.includes { written && decoded } else { written || (!same && decoded) };
        pattern.matches_server(server) && fits
    };
    patterns.iter().rev().find(matching).is_some_and(ResourcePattern::includes)
}

/// Whether any resource of a server can be granted.
pub(super) fn may_grant_server(patterns: &[ResourcePattern], server: &str) -> bool {
    may_grant_from(patterns, server, "")
}

/// Whether any resource of a server whose URI begins in this way can be granted.
pub(super) fn may_grant_from(patterns: &[ResourcePattern], server: &str, start: &str) -> bool {
    for pattern in patterns.iter().rev().filter(|pattern| pattern.matches_server(server)) {
        let fixed = pattern.uri().split('*').next().unwrap_or_default();
        if pattern.includes && (fixed.starts_with(start) || start.starts_with(fixed)) {
            return true;
        }
        let takes_all = pattern.uri().strip_suffix('*') == Some(fixed);
        if !pattern.includes && takes_all && start.starts_with(fixed) {
            return false;
        }
    }
    false
}

/// A URI without percent-encoding; nothing if it climbs, or is encoded over and over.
fn plain(uri: &str) -> Option<String> {
    let mut plain = uri.to_owned();
    for _ in 0..DECODINGS {
        let climbs = plain.split(['/', '\\', '?', '#', ':']).any(|part| matches!(part, "." | ".."));
        if climbs {
            return None;
        }
        let decoded = percent_decode(&plain);
        if decoded == plain {
            return Some(plain);
        }
        plain = decoded;
    }
    None
}

/// Undoes one round of percent-encoding. Bytes that are no UTF-8 become U+FFFD.
fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|_| byte == b'%');
        let value = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(value.unwrap_or(byte));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<ResourcePattern> {
        texts.iter().map(|text| text.parse().expect("a pattern")).collect()
    }

    #[test]
    fn the_last_matching_pattern_decides_and_no_way_leads_around_it() {
        #[track_caller]
        fn check(texts: &[&str], uri: &str, expected: bool) {
            assert_eq!(grants(&patterns(texts), "docs", uri), expected, "{texts:?} on {uri}");
        }
        check(&[], "file:///pub/a", false);
        check(&["*"], "file:///pub/a", true);
        check(&["docs"], "file:///pub/a", true);
        check(&["other:*"], "file:///pub/a", false);
        check(&["docs:file:///pub/*"], "file:///pub/a", true);
        check(&["docs:file:///pub/*"], "file:///pub/a/b?c=d", true);
        check(&["docs:file:///pub/*"], "file:///secret/a", false);
        check(&["docs:*", "!docs:*secret*"], "file:///secret/a", false);
        check(&["docs:*", "!docs:*secret*", "docs:*/a"], "file:///secret/a", true);
        for climbing in [
            "file:///pub/../secret/a",
            "file:///pub/%2e%2e/secret/a",
            "file:///pub/..%2fsecret/a",
            "file:///pub/%252e%252e/secret/a",
            "file:///pub/..\\secret",
            "file:///pub/..",
        ] {
            check(&["docs:file:///pub/*"], climbing, false);
            check(&["docs:*", "!docs:file:///secret/*"], climbing, false);
        }
        check(&["docs:*", "!docs:file:///secret/*"], "file:///%73ecret/a", false);
        check(&["docs:file:///pub/*"], "file:///pub/a%20b", true);
        check(&["docs:file:///pub/*"], "file:///pub/1.2..3", true);
    }

    #[test]
    fn templates_are_seen_if_some_resource_of_them_may_be() {
        #[track_caller]
        fn check(texts: &[&str], start: &str, expected: bool) {
            assert_eq!(may_grant_from(&patterns(texts), "docs", start), expected, "{texts:?}");
        }
        check(&["docs:note://pub/*"], "note://", true);
        check(&["docs:note://pub/*"], "note://pub/day/", true);
        check(&["docs:note://pub/*"], "note://own/", false);
        check(&["docs:*", "!docs:note://own/*"], "note://own/", false);
        check(&["docs:*", "!docs:note://own/*"], "note://", true);
        check(&["other:*"], "note://", false);
    }

    #[test]
    fn patterns_without_meaning_are_refused() {
        for text in ["", "!", "!!a", ":x", "docs:", "do cs:x", "docs:a b", "docs:a\nb"] {
            assert!(text.parse::<ResourcePattern>().is_err(), "{text:?}");
        }
        assert_eq!("!docs:a*".parse::<ResourcePattern>().expect("one").to_string(), "!docs:a*");
    }
}
