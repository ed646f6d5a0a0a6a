//! Lists of hits, merged: what is the same becomes one hit, and those that several servers put far ahead
//! come first (reciprocal rank fusion: every server adds `1 / (60 + rank)`, whatever its own scores mean).

use std::collections::{BTreeSet, HashMap};

use crate::reading::Found;

/// What a rank of one server weighs; the customary constant.
const SMOOTHING: f64 = 60.0;

/// Titles are the same if this share of their words is.
const SAME_SHARE: f64 = 0.8;

/// Shorter titles have to be equal: "Introduction" and "Notes" say nothing of what they are over.
const MIN_WORDS: usize = 3;

/// A hit, and who found it.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    pub found: Found,
    pub score: f64,
    /// Each server with the rank at which it had the hit, counted from 1.
    pub ranks: Vec<(String, usize)>,
}

/// Merges the lists of several servers, the best hit first.
pub fn merge(lists: &[(String, Vec<Found>)]) -> Vec<Merged> {
    let mut merged: Vec<Merged> = Vec::new();
    let mut words: Vec<BTreeSet<String>> = Vec::new();
    let mut by_url: HashMap<String, usize> = HashMap::new();
    // Rank by rank, so that of two hits with one score the one that came first stays first.
    let longest = lists.iter().map(|(_, hits)| hits.len()).max().unwrap_or(0);
    for rank in 1..=longest {
        for (server, hits) in lists {
            let Some(found) = hits.get(rank - 1) else { continue };
            let (url, title) = (found.url.as_deref().map(place), title_words(&found.title));
            let same = url.as_ref().and_then(|url| by_url.get(url).copied());
            let same = same.or_else(|| {
                let is_same = |(nth, other): (usize, &BTreeSet<String>)| {
                    // Two places of one server are two things, whatever their titles are.
                    let is_rival = found.url.is_some()
                        && merged[nth].found.url.is_some()
                        && merged[nth].ranks.iter().any(|(name, _)| name == server);
                    (!is_rival && is_same_title(&title, other)).then_some(nth)
                };
                words.iter().enumerate().find_map(is_same)
            });
            let nth = same.unwrap_or(merged.len());
            if same.is_none() {
                merged.push(Merged { found: found.clone(), score: 0.0, ranks: Vec::new() });
                words.push(title);
            }
            if let Some(url) = url {
                by_url.entry(url).or_insert(nth);
            }
            let hit = &mut merged[nth];
            hit.found.url = hit.found.url.take().or_else(|| found.url.clone());
            hit.found.snippet = hit.found.snippet.take().or_else(|| found.snippet.clone());
            // A server that lists a hit twice has one voice.
            if !hit.ranks.iter().any(|(name, _)| name == server) {
                hit.score += 1.0 / (SMOOTHING + rank as f64);
                hit.ranks.push((server.clone(), rank));
            }
        }
    }
    merged.sort_by(|a, b| b.score.total_cmp(&a.score));
    merged
}

/// A URL without what makes no difference: scheme, `www.`, fragment, trailing slash, and the parameters by
/// which visitors are followed.
fn place(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let without_scheme =
        ["https://", "http://"].iter().find_map(|scheme| address.strip_prefix(scheme));
    let address = match without_scheme {
        Some(rest) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.to_lowercase();
            format!("//{}/{path}", host.strip_prefix("www.").unwrap_or(&host))
        }
        None => address.to_owned(),
    };
    let mut query: Vec<&str> =
        query.split('&').filter(|part| !part.is_empty() && !follows(part)).collect();
    query.sort_unstable();
    let address = address.trim_end_matches('/');
    if query.is_empty() { address.to_owned() } else { format!("{address}?{}", query.join("&")) }
}

fn follows(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default();
    name.starts_with("utm_") || ["fbclid", "gclid", "ref", "ref_src", "source"].contains(&name)
}

fn title_words(title: &str) -> BTreeSet<String> {
    let words =
        title.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn is_same_title(one: &BTreeSet<String>, other: &BTreeSet<String>) -> bool {
    if one.is_empty() || other.is_empty() {
        return false;
    }
    if one.len().min(other.len()) < MIN_WORDS {
        return one == other;
    }
    let common = one.intersection(other).count() as f64;
    let all = one.union(other).count() as f64;
    common / all >= SAME_SHARE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(server: &str, hits: &[(&str, &str)]) -> (String, Vec<Found>) {
        let found = hits.iter().map(|(title, url)| Found {
            title: (*title).to_owned(),
            url: (!url.is_empty()).then(|| (*url).to_owned()),
            snippet: None,
        });
        (server.to_owned(), found.collect())
    }

    fn titles(merged: &[Merged]) -> Vec<&str> {
        merged.iter().map(|hit| hit.found.title.as_str()).collect()
    }

    #[test]
    fn what_several_servers_found_comes_first() {
        let merged = merge(&[
            hits(
                "one",
                &[("Only here", "https://a.example/1"), ("Both of us", "https://a.example/2")],
            ),
            hits(
                "two",
                &[("Elsewhere", "https://b.example/1"), ("Both of us", "https://a.example/2")],
            ),
        ]);
        assert_eq!(titles(&merged), ["Both of us", "Only here", "Elsewhere"]);
        assert_eq!(merged[0].ranks, [("one".to_owned(), 2), ("two".to_owned(), 2)]);
        assert!((merged[0].score - 2.0 / 62.0).abs() < 1e-12);
        assert_eq!(merge(&[]), []);
    }

    #[test]
    fn one_place_has_many_spellings() {
        #[track_caller]
        fn same(one: &str, other: &str) {
            assert_eq!(place(one), place(other));
        }
        same("https://www.example.org/Page/", "http://EXAMPLE.org/Page");
        same("https://example.org/p?utm_source=x&b=2&a=1#part", "https://example.org/p?a=1&b=2");
        same("https://example.org", "https://example.org/");
        assert_ne!(place("https://example.org/Page"), place("https://example.org/page"));
        assert_ne!(place("https://example.org/?id=1"), place("https://example.org/?id=2"));
        assert_ne!(place("/docs/a.md"), place("/docs/b.md"));
    }

    #[test]
    fn titles_that_are_nearly_the_same_are_the_same() {
        let merged = merge(&[
            hits("one", &[("The Component Model: an introduction for hosts", "")]),
            hits(
                "two",
                &[("An introduction for hosts — The Component Model", "https://b.example/1")],
            ),
            hits("three", &[("The component model, an introduction for guests and others", "")]),
        ]);
        assert_eq!(merged.len(), 2, "{merged:#?}");
        assert_eq!(merged[0].ranks.len(), 2);
        // What one did not know, the other says.
        assert_eq!(merged[0].found.url.as_deref(), Some("https://b.example/1"));
    }

    #[test]
    fn short_titles_and_one_servers_own_places_stay_apart() {
        let merged = merge(&[
            hits(
                "one",
                &[("Release notes", "https://a.example/1"), ("Release", "https://a.example/2")],
            ),
            hits("two", &[("release notes", "https://b.example/1")]),
        ]);
        assert_eq!(titles(&merged), ["Release notes", "Release"]);
        let own = hits(
            "one",
            &[("Notes of the release", "https://a/1"), ("Notes of the release", "https://a/2")],
        );
        assert_eq!(merge(&[own]).len(), 2);
        let twice = hits("one", &[("Same", "https://a/1"), ("Same", "https://a/1")]);
        let merged = merge(&[twice]);
        assert_eq!((merged.len(), merged[0].ranks.len()), (1, 1));
    }
}
