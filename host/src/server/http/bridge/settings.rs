//! What the operator decided about the bridge.

use std::fmt;
use std::time::Duration;

use reqwest::Url;

use crate::server::access::TokenDigest;
use crate::server::random;

/// The bridge for web clients (`[server.bridge]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSettings {
    /// The profile that says what sessions may reach; the listener's if absent.
    pub profile: Option<String>,
    /// Servers that sessions may name themselves.
    pub allow: Vec<AllowedServer>,
    /// Sessions at once, and tickets for further ones.
    pub max_sessions: usize,
    /// Bytes of one frame of a client.
    pub max_frame: usize,
    /// Operations of one session that are worked on at once.
    pub max_in_flight: usize,
    /// Frames that wait for a client which does not read.
    pub queue: usize,
    /// How long a client may send nothing and wait for nothing.
    pub idle: Duration,
    /// How often a client is asked whether it is there.
    pub heartbeat: Duration,
    /// How long a ticket is good for.
    pub ticket_lifetime: Duration,
    /// Sessions that one client may begin within a minute.
    pub connects_per_minute: usize,
    /// How long a server waits for what it asked the user.
    pub elicitation_timeout: Duration,
    /// What a client has to show where the listener asks for no credentials. Nobody comes in without
    /// either.
    pub own_token: Option<TokenDigest>,
}

impl BridgeSettings {
    /// Makes a token and has clients show it. Gives the token, which is not kept.
    pub fn make_token(&mut self) -> String {
        let token = random::hex::<32>();
        self.own_token = Some(TokenDigest::of(&token));
        token
    }
}

impl Default for BridgeSettings {
    fn default() -> Self {
        Self {
            profile: None,
            allow: Vec::new(),
            max_sessions: 1_000,
            max_frame: 16 << 20,
            max_in_flight: 64,
            queue: 512,
            idle: Duration::from_secs(3_600),
            heartbeat: Duration::from_secs(30),
            ticket_lifetime: Duration::from_secs(60),
            connects_per_minute: 300,
            elicitation_timeout: Duration::from_secs(60),
            own_token: None,
        }
    }
}

/// A server that sessions may name themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedServer {
    /// A program.
    Command(AllowedCommand),
    /// An address.
    Url(AllowedUrl),
}

/// A program that sessions may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedCommand {
    /// As clients write it.
    pub command: Glob,
    /// One for each argument; `**` as the last one is for all further ones.
    pub args: Vec<Glob>,
    /// The names of variables that may be set.
    pub env: Vec<Glob>,
    /// The working directories that may be named.
    pub cwd: Option<Glob>,
}

impl AllowedCommand {
    /// Whether this program may be started with these arguments.
    pub(super) fn admits(&self, command: &str, args: &[String]) -> bool {
        let (fixed, rest) = match self.args.split_last() {
            Some((last, fixed)) if last.as_str() == "**" => (fixed, true),
            _ => (&*self.args, false),
        };
        let long_enough = args.len() == fixed.len() || (rest && args.len() > fixed.len());
        self.command.matches(command)
            && long_enough
            && fixed.iter().zip(args).all(|(glob, arg)| glob.matches(arg))
    }

    /// Whether a session may set this variable. Names are one part, with no path in it.
    pub(super) fn admits_variable(&self, name: &str) -> bool {
        self.env.iter().any(|glob| glob.matches(name))
    }
}

/// An address that sessions may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedUrl {
    scheme: String,
    host: Glob,
    port: Option<u16>,
    path: Glob,
}

impl AllowedUrl {
    /// Reads a URL in whose host and path patterns may stand. A port is a number.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (authority, None),
        };
        let fits = matches!(&*scheme, "http" | "https")
            && !host.is_empty()
            && !host.contains(['@', '?', '#'])
            && !path.contains(['?', '#']);
        let port = port.or(if scheme == "https" { Some(443) } else { Some(80) });
        let host = Glob::new(host.to_ascii_lowercase());
        fits.then(|| Self { scheme, host, port, path: Glob::new(path) })
    }

    /// Whether a session may connect to this. What a URL has beside its place is not for it to choose:
    /// a name and a password, a query.
    pub(super) fn admits(&self, url: &Url) -> bool {
        // As `URL` reads it, so that nobody reads it otherwise later.
        url.scheme() == self.scheme
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.port_or_known_default() == self.port
            && url.host_str().is_some_and(|host| self.host.matches(host))
            && self.path.matches(url.path())
    }
}

impl fmt::Display for AllowedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, path } = self;
        let default = if scheme == "https" { 443 } else { 80 };
        write!(f, "{scheme}://{}", host.as_str())?;
        if let Some(port) = port.filter(|port| *port != default) {
            write!(f, ":{port}")?;
        }
        f.write_str(path.as_str())
    }
}

/// A pattern: `*` stands for anything without a slash, `**` for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Any text is one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a text fits, all of it.
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        // Which beginnings of the pattern fit the text so far: what a stranger sends costs no more than
        // the product of both lengths.
        let mut states = vec![false; pattern.len() + 1];
        states[0] = true;
        skip_stars(pattern, &mut states);
        for byte in text {
            let mut next = vec![false; pattern.len() + 1];
            for at in (0..pattern.len()).filter(|at| states[*at]) {
                match pattern[at] {
                    b'*' if is_double(pattern, at) || *byte != b'/' => next[at] = true,
                    b'*' => {}
                    wanted if wanted == *byte => next[at + 1] = true,
                    _ => {}
                }
            }
            skip_stars(pattern, &mut next);
            states = next;
        }
        states[pattern.len()]
    }
}

/// A star stands for nothing too.
fn skip_stars(pattern: &[u8], states: &mut [bool]) {
    for at in 0..pattern.len() {
        if states[at] && pattern[at] == b'*' {
            states[at + 1] = true;
        }
    }
}

fn is_double(pattern: &[u8], at: usize) -> bool {
    pattern.get(at + 1) == Some(&b'*') || (at > 0 && pattern[at - 1] == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_part() {
        #[track_caller]
        fn check(pattern: &str, fits: &[&str], others: &[&str]) {
            for text in fits {
                assert!(Glob::new(pattern).matches(text), "{pattern} {text}");
            }
            for text in others {
                assert!(!Glob::new(pattern).matches(text), "{pattern} {text}");
            }
        }
        check("uvx", &["uvx"], &["/tmp/uvx", "uvx ", "", "UVX", "uv"]);
        check(
            "mcp-server-*",
            &["mcp-server-", "mcp-server-time"],
            &["mcp-server-../evil", "xmcp-server-"],
        );
        check("@scope/*", &["@scope/a"], &["@scope/a/b", "@other/a"]);
        check("/srv/**", &["/srv/", "/srv/a/b"], &["/srv", "/tmp/srv/a"]);
        check("a*c*e", &["ace", "abcde", "abbccde"], &["acd", "a/c/e"]);
        check("**", &["", "a/b"], &[]);
        check(&"*a".repeat(200), &[], &[&"a".repeat(199)]);
    }

    #[test]
    fn arguments_are_admitted_one_by_one() {
        let allowed = |args: &[&str]| AllowedCommand {
            command: Glob::new("uvx"),
            args: args.iter().map(|arg| Glob::new(*arg)).collect(),
            env: vec![Glob::new("API_*")],
            cwd: None,
        };
        let admits = |allowed: &AllowedCommand, args: &[&str]| {
            let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
            allowed.admits("uvx", &args)
        };
        let one = allowed(&["mcp-server-*"]);
        assert!(admits(&one, &["mcp-server-time"]));
        for args in [&[][..], &["mcp-server-time", "--index-url=x"], &["--from", "evil"]] {
            assert!(!admits(&one, args), "{args:?}");
        }
        assert!(!one.admits("/tmp/uvx", &["mcp-server-time".to_owned()]));
        let more = allowed(&["mcp-server-*", "**"]);
        assert!(
            admits(&more, &["mcp-server-time"]) && admits(&more, &["mcp-server-time", "/a", "b"])
        );
        assert!(!admits(&more, &[]));
        assert!(one.admits_variable("API_KEY") && !one.admits_variable("LD_PRELOAD"));
    }

    #[test]
    fn an_address_is_compared_part_by_part() {
        let allowed = AllowedUrl::parse("https://*.example.com/mcp").expect("it is one");
        let admits = |text: &str| allowed.admits(&Url::parse(text).expect("a URL"));
        assert!(admits("https://a.example.com/mcp") && admits("https://A.B.EXAMPLE.com:443/mcp"));
        for other in [
            "http://a.example.com/mcp",
            "https://example.com/mcp",
            "https://a.example.com:8443/mcp",
            "https://a.example.com/mcp/x",
            "https://a.example.com/mcp?x=1",
            "https://a.example.com/mcp#x",
            "https://me@a.example.com/mcp",
            "https://evil.test/.example.com/mcp",
            "https://evil.test#.example.com/mcp",
            "https://evil.test\\.example.com/mcp",
            "https://a.example.com.evil.test/mcp",
        ] {
            assert!(!admits(other), "{other}");
        }
        for wrong in ["", "example.com", "ftp://x/", "https:///mcp", "https://u@x/", "https://x:y/"]
        {
            assert!(AllowedUrl::parse(wrong).is_none(), "{wrong}");
        }
        let local = AllowedUrl::parse("http://127.0.0.1:8000/**").expect("it is one");
        assert_eq!(local.to_string(), "http://127.0.0.1:8000/**");
        assert!(local.admits(&Url::parse("http://127.0.0.1:8000/a/b").expect("a URL")));
    }
}
