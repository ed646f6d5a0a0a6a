//! How a registry tells who may come in: `WWW-Authenticate`, and the token server that it names.

use serde::Deserialize;

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from its token server.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// What it calls the registry.
        service: Option<String>,
        /// What the token has to be good for, if the registry says so.
        scope: Option<String>,
    },
}

/// More challenges than this in one answer are not read.
const MAX_CHALLENGES: usize = 8;

impl Challenge {
    /// The challenge that we can meet, of the values of `WWW-Authenticate`: `Bearer` before `Basic`.
    pub(super) fn find<'a>(values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let found: Vec<_> = values.take(MAX_CHALLENGES).filter_map(Self::parse).collect();
        let bearer = found.iter().find(|challenge| **challenge != Self::Basic);
        bearer.or(found.first()).cloned()
    }

    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        for (name, value) in Parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
        }
        realm.map(|realm| Self::Bearer { realm, service, scope })
    }
}

/// The parameters of a challenge: `name="value"`, with commas in between.
struct Parameters<'a>(&'a str);

impl Iterator for Parameters<'_> {
    type Item = (String, String);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.trim_start_matches([' ', ',']).split_once('=')?;
        let name = name.trim().to_owned();
        let Some(quoted) = rest.strip_prefix('"') else {
            let end = rest.find(',').unwrap_or(rest.len());
            self.0 = &rest[end..];
            return Some((name, rest[..end].trim().to_owned()));
        };
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &quoted[at + 1..];
                    return Some((name, value));
                }
                '\\' => value.extend(chars.next().map(|(_, c)| c)),
                c => value.push(c),
            }
        }
        // A quote that is never closed.
        None
    }
}

/// What a token server answers. Its token is a credential.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl TokenAnswer {
    pub(super) fn token(self) -> Option<String> {
        self.token.or(self.access_token).filter(|token| !token.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (service, scope) = (owned(service), owned(scope));
        Some(Challenge::Bearer { realm: realm.to_owned(), service, scope })
    }

    #[test]
    fn challenges_are_read() {
        #[track_caller]
        fn check(values: &[&str], expected: Option<Challenge>) {
            assert_eq!(Challenge::find(values.iter().copied()), expected, "{values:?}");
        }
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let hubs = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:a/b:pull,push"),
        );
        check(&[hub], hubs.clone());
        check(&["Basic realm=\"x\"", hub], hubs);
        check(&["Basic realm=\"x\""], Some(Challenge::Basic));
        check(&["bearer realm=https://a/t, service=b"], bearer("https://a/t", Some("b"), None));
        check(&[r#"Bearer realm="a\"b""#], bearer("a\"b", None, None));
        check(&["Negotiate"], None);
        check(&["Bearer service=\"x\""], None);
        check(&["Bearer realm=\"never closed"], None);
        check(&[], None);
    }

    proptest! {
        #[test]
        fn no_challenge_makes_it_panic(text in "(Bearer )?[a-z=\",\\\\ é]{0,40}") {
            let _ = Challenge::find(std::iter::once(text.as_str()));
        }
    }
}
