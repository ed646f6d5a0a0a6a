//! What several servers list, gathered at once, and handed out in pages.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::ids::UpstreamName;
use crate::server::mcp::lifecycle::raw_of;
use crate::server::mcp::request::Outcome;
use crate::server::mcp::wire::RpcError;
use crate::upstream::UpstreamError;

/// How long a list waits for one server. A slow one is in the next list.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);

/// The most entries of one page.
const PAGE: usize = 200;

/// Bytes after which a page ends.
const PAGE_BYTES: usize = 4 << 20;

/// The longest cursor that is read: a URI may be in it.
const MAX_CURSOR_BYTES: usize = 16 << 10;

/// One entry of a list, as clients see it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// What no two of a list share.
    pub(super) key: Arc<str>,
    pub(super) raw: Arc<RawValue>,
}

/// Why a server's list is missing.
#[derive(Clone, Debug)]
pub(in crate::server::mcp) enum Missing {
    Failed(UpstreamError),
    /// It has not answered yet, and goes on.
    Slow,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Slow => write!(f, "it has not answered within {} s", PATIENCE.as_secs()),
        }
    }
}

/// The lists of some servers, in the operator's order.
pub(in crate::server::mcp) type Gathered<T> = Vec<(UpstreamName, Result<T, Missing>)>;

/// Asks all servers at once, and waits for none of them for long. One that is slow goes on with it,
/// so that a later list has its answer.
pub(in crate::server::mcp) async fn gather<T, F>(
    servers: Vec<UpstreamName>,
    list: impl Fn(UpstreamName) -> F,
) -> Gathered<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, UpstreamError>> + Send + 'static,
{
    let listings = servers.into_iter().map(|server| {
        let listing = tokio::spawn(list(server.clone()));
        async move {
            let listed = match tokio::time::timeout(PATIENCE, listing).await {
                Ok(Ok(Ok(list))) => Ok(list),
                Ok(Ok(Err(error))) => Err(Missing::Failed(error)),
                // It ended without a word: the host is going down.
                Ok(Err(_)) => {
                    Err(Missing::Failed(UpstreamError::Closed { server: server.clone() }))
                }
                Err(_) => Err(Missing::Slow),
            };
            (server, listed)
        }
    });
    futures::future::join_all(listings).await
}

/// One page of a list, as a result: `{PLURAL: [...], "nextCursor": ...}`.
pub(super) fn page(plural: &'static str, items: &[Item], cursor: Option<&str>) -> Outcome {
    let begin = match cursor {
        None => 0,
        Some(cursor) => after(plural, items, cursor).ok_or_else(|| {
            RpcError::invalid_params("the cursor is none of this list, or the list has changed")
        })?,
    };
    let mut bytes = 0;
    let rest = &items[begin..];
    let fits = rest.iter().take(PAGE).take_while(|item| {
        let is_first = bytes == 0;
        bytes += item.raw.get().len();
        is_first || bytes <= PAGE_BYTES
    });
    let count = fits.count();
    let shown = &rest[..count];
    let next = shown.last().filter(|_| count < rest.len()).map(|last| write(plural, &last.key));
    Ok(raw_of(&Page { plural, items: shown, next }))
}

/// Where the page after a cursor begins.
fn after(plural: &str, items: &[Item], cursor: &str) -> Option<usize> {
    if cursor.len() > MAX_CURSOR_BYTES {
        return None;
    }
    let decoded = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let last = decoded.strip_prefix(plural)?.strip_prefix('\n')?;
    items.iter().position(|item| &*item.key == last).map(|at| at + 1)
}

fn write(plural: &str, last: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{plural}\n{last}"))
}

struct Page<'a> {
    plural: &'static str,
    items: &'a [Item],
    next: Option<String>,
}

impl Serialize for Page<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let items: Vec<&RawValue> = self.items.iter().map(|item| &*item.raw).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.plural, &items)?;
        if let Some(next) = &self.next {
            map.serialize_entry("nextCursor", next)?;
        }
        map.end()
    }
}

/// What tells whether two lists are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(blake3::Hash);

impl Fingerprint {
    pub(super) fn of(list: &[Item]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for item in list {
            hasher.update(&item.raw.get().len().to_le_bytes()).update(item.raw.get().as_bytes());
        }
        Self(hasher.finalize())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn items(count: usize, bytes: usize) -> Vec<Item> {
        let item = |n: usize| Item {
            key: format!("tool-{n}").into(),
            raw: RawValue::from_string(format!("\"{n}{}\"", "x".repeat(bytes))).unwrap().into(),
        };
        (0..count).map(item).collect()
    }

    /// Sizes of all pages.
    fn pages(items: &[Item]) -> Vec<usize> {
        let (mut sizes, mut cursor) = (Vec::new(), None);
        loop {
            let page = page("tools", items, cursor.as_deref()).unwrap();
            let page: Value = serde_json::from_str(page.get()).unwrap();
            sizes.push(page["tools"].as_array().unwrap().len());
            cursor = page["nextCursor"].as_str().map(ToOwned::to_owned);
            if cursor.is_none() {
                return sizes;
            }
        }
    }

    #[test]
    fn a_list_comes_in_pages_of_bounded_size() {
        assert_eq!(pages(&[]), [0]);
        assert_eq!(pages(&items(200, 1)), [200]);
        assert_eq!(pages(&items(401, 1)), [200, 200, 1]);
        assert_eq!(pages(&items(3, 3 << 20)), [1, 1, 1]);
    }

    #[test]
    fn a_cursor_of_another_list_or_of_nobody_is_refused() {
        let items = items(300, 1);
        let foreign = write("prompts", "tool-7");
        let gone = write("tools", "tool-999");
        for cursor in ["", "x", "%%%", "🦀", &foreign, &gone, &"A".repeat(1 << 20)] {
            let error = page("tools", &items, Some(cursor)).unwrap_err();
            assert_eq!(error.code, RpcError::INVALID_PARAMS, "{cursor:.20}");
        }
    }
}
