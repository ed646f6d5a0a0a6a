//! Takes credentials out of texts that are shown: a server may print its own environment, or quote
//! a header that it did not like.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::upstream::settings::{Secret, TransportSettings};

/// Shorter values are no credentials, and taking them out would tear holes into every text.
const SHORTEST_SECRET: usize = 4;

/// The same for one word or line of a longer value.
const SHORTEST_PART: usize = 8;

/// The most secrets that are learned of one upstream; the oldest give way. Tokens end after hours.
const MAX_LEARNED: usize = 64;

/// The secrets of one upstream.
#[derive(Default)]
pub(super) struct Redactor {
    secrets: Vec<String>,
    learned: Option<Arc<Learned>>,
}

/// Secrets that came while we ran: tokens.
#[derive(Default)]
pub(super) struct Learned(RwLock<Vec<String>>);

impl Learned {
    /// Takes note of secrets, before anything is said about them.
    pub(super) fn learn(&self, secrets: Vec<String>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for secret in secrets {
            if secret.len() >= SHORTEST_SECRET && !known.contains(&secret) {
                known.push(secret);
            }
        }
        let surplus = known.len().saturating_sub(MAX_LEARNED);
        known.drain(..surplus);
    }
}

impl Redactor {
    /// Collects whatever the settings mark as secret.
    pub(super) fn new(settings: &TransportSettings) -> Self {
        let mut secrets = Vec::new();
        match settings {
            TransportSettings::Stdio { env, .. } => collect(env.values(), &mut secrets),
            TransportSettings::Http(http) => {
                collect(http.headers.values(), &mut secrets);
                collect(http.proxy.iter(), &mut secrets);
                let auth = http.auth.iter().filter_map(|auth| auth.client_secret.as_ref());
                collect(auth, &mut secrets);
                collect_from_url(&http.url, &mut secrets);
            }
            TransportSettings::Files { .. } | TransportSettings::Recorded(_) => {}
        }
        // The longest first, so that a secret which is part of another leaves no remainder.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { secrets, learned: None }
    }

    /// With secrets that come while we run.
    pub(super) fn with_learned(self, learned: Arc<Learned>) -> Self {
        Self { learned: Some(learned), ..self }
    }

    /// The text without secrets.
    pub(super) fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut cleaned = Cow::Borrowed(text);
        for secret in &self.secrets {
            if cleaned.contains(secret.as_str()) {
                cleaned = Cow::Owned(cleaned.replace(secret.as_str(), "[redacted]"));
            }
        }
        let Some(learned) = &self.learned else { return cleaned };
        for secret in learned.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if cleaned.contains(secret.as_str()) {
                cleaned = Cow::Owned(cleaned.replace(secret.as_str(), "[redacted]"));
            }
        }
        cleaned
    }

    /// The length of the longest secret.
    pub(super) fn longest(&self) -> usize {
        self.secrets.first().map_or(0, String::len)
    }
}

fn collect<'a>(values: impl Iterator<Item = &'a Secret>, into: &mut Vec<String>) {
    for value in values {
        // "Bearer TOKEN" is quoted without its first word, a key in PEM form line by line.
        let value = value.expose();
        let whole = value.trim();
        let parts = whole.lines().chain(whole.split_whitespace()).map(str::trim);
        let parts = parts.filter(|part| part.len() >= SHORTEST_PART);
        into.extend(parts.map(ToOwned::to_owned));
        if whole.len() >= SHORTEST_SECRET {
            into.push(whole.to_owned());
        }
    }
}

/// A URL carries credentials before its `@` and in its query.
fn collect_from_url(url: &str, into: &mut Vec<String>) {
    let Ok(url) = reqwest::Url::parse(url) else { return };
    let (user, password) = (url.username(), url.password().unwrap_or_default());
    // They go out decoded, as `Authorization: Basic …`, and either may come back.
    let (plain_user, plain_password) = (percent_decode(user), percent_decode(password));
    let basic = (!plain_password.is_empty())
        .then(|| BASE64_STANDARD.encode(format!("{plain_user}:{plain_password}")));
    let userinfo = [user.to_owned(), plain_user, password.to_owned(), plain_password];
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    let query = url.query().map(ToOwned::to_owned);
    into.extend(
        userinfo
            .into_iter()
            .chain(basic)
            .chain(query)
            .chain(values)
            .filter(|part| part.len() >= SHORTEST_SECRET),
    );
}

/// `%41` is `A`.
fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::upstream::settings::HttpSettings;

    #[test]
    fn secrets_leave_no_trace() {
        let headers = BTreeMap::from([
            ("Authorization".to_owned(), Secret::new("Bearer sk-live-1234")),
            ("X-Small".to_owned(), Secret::new("1")),
        ]);
        let url = "https://user:hunter22@example.com/mcp?key=querysecret".to_owned();
        let redactor = Redactor::new(&TransportSettings::Http(HttpSettings {
            headers,
            ..HttpSettings::new(url)
        }));
        let text = "bad token sk-live-1234 (Bearer sk-live-1234), hunter22, querysecret, 1";
        assert_eq!(
            redactor.clean(text),
            "bad token [redacted] ([redacted]), [redacted], [redacted], 1"
        );
    }

    #[test]
    fn tokens_that_came_meanwhile_leave_no_trace_either() {
        let learned = Arc::new(Learned::default());
        let redactor = Redactor::default().with_learned(Arc::clone(&learned));
        assert_eq!(redactor.clean("token-1"), "token-1");
        learned.learn(vec!["token-1".into(), "x".into()]);
        assert_eq!(redactor.clean("bad token-1, x"), "bad [redacted], x");
        learned.learn((0..MAX_LEARNED).map(|n| format!("later-{n}")).collect());
        assert_eq!(redactor.clean("token-1 later-3"), "token-1 [redacted]");
    }

    #[test]
    fn credentials_of_a_url_are_known_in_every_form_in_which_they_travel() {
        let url = "https://anna:p%40ss%2Fword@example.com/mcp".to_owned();
        let settings = TransportSettings::Http(HttpSettings::new(url));
        let redactor = Redactor::new(&settings);
        let basic = BASE64_STANDARD.encode("anna:p@ss/word");
        for secret in ["p%40ss%2Fword", "p@ss/word", "anna", &basic] {
            assert_eq!(redactor.clean(secret), "[redacted]");
        }
    }
}
