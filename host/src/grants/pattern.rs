//! Names of tools with wildcards, as profiles and `--grant` write them.

use std::fmt;
use std::str::FromStr;

use super::error::InvalidPattern;
use crate::ids::ToolName;

/// Which tools are meant: `server.tool`, where `*` stands for any characters, none included.
///
/// The text is split at its first dot. What stands before it is compared with the server's name
/// and what follows with the tool's; since a server's name has no dot, a `*` of the first part
/// never reaches into the second. In the second part `*` matches dots as well. A text without a dot
/// means every tool of the servers it names, so `search` is `search.*` and `*` is everything.
/// Upper and lower case differ.
///
/// ```
/// use toolcell::grants::ToolGlob;
/// use toolcell::ids::ToolName;
///
/// let glob: ToolGlob = "files.read_*".parse().unwrap();
/// assert!(glob.matches(&ToolName::parse("files.read_text").unwrap()));
/// assert!(!glob.matches(&ToolName::parse("files.write_text").unwrap()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolGlob {
    /// As written.
    text: Box<str>,
    /// Bytes of `text` before its first dot, or all of it.
    server_length: usize,
}

impl ToolGlob {
    /// The longest text that is accepted, in bytes.
    pub const MAX_LENGTH: usize = 256;

    /// Every tool of every server.
    pub fn everything() -> Self {
        Self { text: "*".into(), server_length: 1 }
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part that is compared with servers' names.
    pub fn server(&self) -> &str {
        &self.text[..self.server_length]
    }

    /// The part that is compared with tools' names.
    pub fn tool(&self) -> &str {
        self.text.get(self.server_length + 1..).unwrap_or("*")
    }

    /// Whether a tool is meant.
    pub fn matches(&self, name: &ToolName) -> bool {
        self.matches_server(name.upstream.as_str()) && wildcard(self.tool(), &name.tool)
    }

    /// Whether any tool of a server may be meant.
    pub fn matches_server(&self, server: &str) -> bool {
        wildcard(self.server(), server)
    }

    /// Whether everything that another one means is meant by this one too. A star is covered by a
    /// star only, so that `true` is always right.
    pub fn covers(&self, other: &Self) -> bool {
        wildcard(self.server(), other.server()) && wildcard(self.tool(), other.tool())
    }
}

impl FromStr for ToolGlob {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(InvalidPattern::TooLong { length: text.len(), max: Self::MAX_LENGTH });
        }
        if text.starts_with('!') {
            return Err(InvalidPattern::Exclusion);
        }
        let (server, tool) = text.split_once('.').unwrap_or((text, "*"));
        if server.is_empty() {
            return Err(InvalidPattern::NoServer);
        }
        if tool.is_empty() {
            return Err(InvalidPattern::NoTool);
        }
        check_server(server)?;
        // A tool's name may hold a space inside; at its edges it is a slip of the pen.
        let edge = tool.chars().next().into_iter().chain(tool.chars().next_back());
        let slip = edge.filter(|c| c.is_whitespace());
        let foreign = |c: &char| matches!(c, '?' | '[' | ']' | '{' | '}' | '\\') || c.is_control();
        if let Some(character) = slip.chain(tool.chars().filter(foreign)).next() {
            return Err(InvalidPattern::ToolCharacter { character });
        }
        Ok(Self { text: text.into(), server_length: server.len() })
    }
}

impl fmt::Display for ToolGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One line of a profile's `tools`: tools to grant, or with `!` in front, tools to take away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `server.tool`: grants what it matches.
    Include(ToolGlob),
    /// `!server.tool`: takes back what an earlier pattern granted.
    Exclude(ToolGlob),
}

impl Pattern {
    /// Which tools are meant, granted or taken away.
    pub fn glob(&self) -> &ToolGlob {
        match self {
            Self::Include(glob) | Self::Exclude(glob) => glob,
        }
    }

    /// Whether what it matches is granted.
    pub fn includes(&self) -> bool {
        matches!(self, Self::Include(_))
    }
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        match text.strip_prefix('!') {
            Some(rest) => Ok(Self::Exclude(rest.parse()?)),
            None => Ok(Self::Include(text.parse()?)),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.includes() { "" } else { "!" };
        write!(f, "{mark}{}", self.glob())
    }
}

/// Whether a text can stand for servers' names.
pub(super) fn check_server(text: &str) -> Result<(), InvalidPattern> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*');
    match text.chars().find(|c| !fits(*c)) {
        Some(character) => Err(InvalidPattern::ServerCharacter { character }),
        None => Ok(()),
    }
}

/// Compares a text with a pattern in which `*` stands for any bytes. Takes at most
/// `pattern.len() * text.len()` steps: only the last star is ever tried again.
pub(super) fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // After the last star: where the pattern goes on, and the text position tried for it.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((after_star, from)) = retry {
            p = after_star;
            t = from + 1;
            retry = Some((after_star, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_server_and_tool() {
        #[track_caller]
        fn check(glob: &str, name: &str, expected: bool) {
            let glob: ToolGlob = glob.parse().expect("a pattern");
            let name = ToolName::parse(name).expect("a tool's name");
            assert_eq!(glob.matches(&name), expected, "{glob} on {name}");
        }
        check("*", "time.get_current_time", true);
        check("time", "time.get_current_time", true);
        check("time", "timer.start", false);
        check("tim*", "timer.start", true);
        check("time.*", "time.a.b.c", true);
        check("search.read_*", "search.read_", true);
        check("search.read_*", "search.bread_", false);
        check("search.*_all", "search.delete_all", true);
        check("search.*_all", "search.delete_all_now", false);
        check("search.a*b*c", "search.a.b.xbc", true);
        check("*.ping", "search.ping", true);
        // The star of the server's part does not reach into a tool's name.
        check("*.ping", "search.sub.ping", false);
        check("*.*.ping", "search.sub.ping", true);
        check("search.Ping", "search.ping", false);
        check("maps.Get Route", "maps.Get Route", true);
        check("maps.größe*", "maps.größe_lesen", true);
    }

    #[test]
    fn patterns_cover_what_they_mean_and_more() {
        #[track_caller]
        fn check(wide: &str, narrow: &str, expected: bool) {
            let glob = |text: &str| text.parse::<ToolGlob>().expect("a pattern");
            assert_eq!(glob(wide).covers(&glob(narrow)), expected, "{wide} over {narrow}");
        }
        check("search", "search.*", true);
        check("search*.*", "searx.a", false);
        check("sear*.*", "searx.a_*", true);
        check("search.read", "search.*", false);
        check("search.read_*", "search.read_a*b", true);
        check("*.search", "wiki.search", true);
        check("wiki.search", "*.search", false);
    }

    #[test]
    fn patterns_without_meaning_are_refused() {
        #[track_caller]
        fn check(text: &str, expected: InvalidPattern) {
            assert_eq!(text.parse::<Pattern>(), Err(expected), "{text:?}");
        }
        check("", InvalidPattern::Empty);
        check("!", InvalidPattern::Empty);
        check("!!search", InvalidPattern::Exclusion);
        check(".read", InvalidPattern::NoServer);
        check("search.", InvalidPattern::NoTool);
        check("se arch.x", InvalidPattern::ServerCharacter { character: ' ' });
        check("search.read_?", InvalidPattern::ToolCharacter { character: '?' });
        check("search.{a,b}", InvalidPattern::ToolCharacter { character: '{' });
        check("search.read ", InvalidPattern::ToolCharacter { character: ' ' });
        check("search.a\nb", InvalidPattern::ToolCharacter { character: '\n' });
        check(&"a".repeat(300), InvalidPattern::TooLong { length: 300, max: 256 });
    }

    #[test]
    fn patterns_print_as_written() {
        for text in ["search.*", "!search.delete_*", "search", "*"] {
            assert_eq!(text.parse::<Pattern>().expect("a pattern").to_string(), text);
        }
    }

    /// The obvious definition, which takes exponential time.
    fn slow_wildcard(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => {
                slow_wildcard(&pattern[1..], text)
                    || (!text.is_empty() && slow_wildcard(pattern, &text[1..]))
            }
            (Some(p), Some(t)) => p == t && slow_wildcard(&pattern[1..], &text[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn wildcards_agree_with_their_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
            let expected = slow_wildcard(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(wildcard(&pattern, &text), expected);
        }

        #[test]
        fn no_text_makes_a_pattern_panic(text in any::<String>(), tool in "\\PC{1,12}") {
            if let Ok(pattern) = text.parse::<Pattern>() {
                let name = ToolName::parse(&format!("server.{tool}"));
                prop_assume!(name.is_some());
                pattern.glob().matches(&name.expect("was assumed"));
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let (pattern, text) = ("a*".repeat(120) + "b", "a".repeat(20_000));
        assert!(!wildcard(&pattern, &text));
    }
}
