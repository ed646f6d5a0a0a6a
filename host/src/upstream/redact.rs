//! Takes credentials out of texts that are shown: a server may print its own environment, or quote
//! a header that it did not like.

use std::borrow::Cow;

use crate::upstream::settings::{Secret, TransportSettings};

/// Shorter values are no credentials, and taking them out would tear holes into every text.
const SHORTEST_SECRET: usize = 4;

/// The same for one word or line of a longer value.
const SHORTEST_PART: usize = 8;

/// The secrets of one upstream.
#[derive(Default)]
pub(super) struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    /// Collects whatever the settings mark as secret.
    pub(super) fn new(settings: &TransportSettings) -> Self {
        let mut secrets = Vec::new();
        match settings {
            TransportSettings::Stdio { env, .. } => collect(env.values(), &mut secrets),
            TransportSettings::StreamableHttp { headers, url } => {
                collect(headers.values(), &mut secrets);
                collect_from_url(url, &mut secrets);
            }
            TransportSettings::Files { .. } => {}
        }
        // The longest first, so that a secret which is part of another leaves no remainder.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { secrets }
    }

    /// The text without secrets.
    pub(super) fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut cleaned = Cow::Borrowed(text);
        for secret in &self.secrets {
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
        let whole = value.expose().trim();
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
    let user = (url.username().len() >= SHORTEST_SECRET).then(|| url.username().to_owned());
    let password = url.password().map(ToOwned::to_owned);
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    let query = url.query().map(ToOwned::to_owned);
    into.extend(
        user.into_iter()
            .chain(password)
            .chain(query)
            .chain(values)
            .filter(|part| part.len() >= SHORTEST_SECRET),
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn secrets_leave_no_trace() {
        let headers = BTreeMap::from([
            ("Authorization".to_owned(), Secret::new("Bearer sk-live-1234")),
            ("X-Small".to_owned(), Secret::new("1")),
        ]);
        let url = "https://user:hunter22@example.com/mcp?key=querysecret".to_owned();
        let redactor = Redactor::new(&TransportSettings::StreamableHttp { url, headers });
        let text = "bad token sk-live-1234 (Bearer sk-live-1234), hunter22, querysecret, 1";
        assert_eq!(
            redactor.clean(text),
            "bad token [redacted] ([redacted]), [redacted], [redacted], 1"
        );
    }
}
