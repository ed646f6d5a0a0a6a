//! What of results was too long for them: kept for a while, to be fetched by pages.
//!
//! A result that is cut names where the rest is, `toolcell://results/ID/PART`. An id cannot be
//! guessed, and only the caller whose run it was may read it. What is kept is bounded in bytes and in
//! number, for each caller and for all, and the oldest gives way: it is no archive.

mod link;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(in crate::server::mcp) use link::{Link, LinkError};

use crate::server::random;
use crate::upstream::Caller;

/// What may be kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptLimits {
    /// Bytes of all callers together.
    pub(super) bytes: usize,
    /// Bytes of one caller.
    pub(super) bytes_per_caller: usize,
    /// Results of one caller.
    pub(super) count_per_caller: usize,
    /// How long a result is kept that nobody reads.
    pub(super) idle: Duration,
}

impl Default for KeptLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            bytes_per_caller: 8 << 20,
            count_per_caller: 64,
            idle: Duration::from_secs(10 * 60),
        }
    }
}

/// The kept results of all callers.
pub(super) struct KeptResults {
    limits: KeptLimits,
    /// The oldest first.
    results: Mutex<VecDeque<Kept>>,
}

struct Kept {
    id: String,
    owner: Caller,
    parts: Vec<KeptPart>,
    bytes: usize,
    last_read: Instant,
}

/// One long text of a result.
#[derive(Clone, Debug)]
pub(in crate::server::mcp) struct KeptPart {
    /// `value`, `stdout`, `stderr` and so on.
    pub(in crate::server::mcp) name: &'static str,
    pub(in crate::server::mcp) text: Arc<str>,
}

/// A piece of a part that fits into one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server::mcp) struct Page {
    pub(in crate::server::mcp) text: String,
    /// Counted from 1.
    pub(in crate::server::mcp) number: usize,
    pub(in crate::server::mcp) pages: usize,
}

impl KeptResults {
    pub(super) fn new(limits: KeptLimits) -> Self {
        Self { limits, results: Mutex::default() }
    }

    /// Keeps the long parts of a result, and gives the id under which its caller finds them. `None`
    /// if they are more than one caller may keep: then they are gone.
    pub(super) fn keep(
        &self,
        caller: &Caller,
        parts: Vec<KeptPart>,
        now: Instant,
    ) -> Option<String> {
        let bytes = parts.iter().map(|part| part.text.len()).sum();
        if bytes > self.limits.bytes_per_caller {
            return None;
        }
        let (id, owner) = (random::hex::<16>(), caller.identity());
        let mut results = self.lock();
        self.sweep(&mut results, now);
        self.make_room(&mut results, &owner, bytes);
        results.push_back(Kept { id: id.clone(), owner, parts, bytes, last_read: now });
        Some(id)
    }

    /// One page of what a link names. Somebody else's result is answered like one that is not there.
    ///
    /// # Errors
    /// There is no such result or part any more, or no such page.
    pub(super) fn page(
        &self,
        link: &Link,
        caller: &Caller,
        page_bytes: usize,
        now: Instant,
    ) -> Result<Page, LinkError> {
        let owner = caller.identity();
        let part = {
            let mut results = self.lock();
            self.sweep(&mut results, now);
            let kept = results.iter_mut().find(|kept| kept.id == link.id && kept.owner == owner);
            let kept = kept.ok_or(LinkError::Gone)?;
            kept.last_read = now;
            let part = kept.parts.iter().find(|part| part.name == link.part);
            part.ok_or(LinkError::Gone)?.clone()
        };
        page(&part.text, link.page.unwrap_or(1), page_bytes)
    }

    fn sweep(&self, results: &mut VecDeque<Kept>, now: Instant) {
        let idle = self.limits.idle;
        results.retain(|kept| now.saturating_duration_since(kept.last_read) < idle);
    }

    fn make_room(&self, results: &mut VecDeque<Kept>, owner: &Caller, bytes: usize) {
        let limits = self.limits;
        loop {
            let theirs = || results.iter().filter(|kept| kept.owner == *owner);
            let too_many = theirs().count() >= limits.count_per_caller;
            let theirs: usize = theirs().map(|kept| kept.bytes).sum();
            if !too_many && theirs + bytes <= limits.bytes_per_caller {
                break;
            }
            let Some(oldest) = results.iter().position(|kept| kept.owner == *owner) else { break };
            results.remove(oldest);
        }
        while results.iter().map(|kept| kept.bytes).sum::<usize>() + bytes > limits.bytes {
            if results.pop_front().is_none() {
                break;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many pages a text has.
pub(in crate::server::mcp) fn page_count(text: &str, page_bytes: usize) -> usize {
    text.len().div_ceil(page_bytes).max(1)
}

/// The page on which a text goes on after so many bytes.
pub(in crate::server::mcp) fn page_after(bytes: usize, page_bytes: usize) -> usize {
    bytes / page_bytes + 1
}

fn page(text: &str, number: usize, page_bytes: usize) -> Result<Page, LinkError> {
    let pages = page_count(text, page_bytes);
    if !(1..=pages).contains(&number) {
        return Err(LinkError::NoPage { number, pages });
    }
    // A character that lies across the border belongs to the page on which it begins.
    let start = text.ceil_char_boundary((number - 1) * page_bytes);
    let end = text.ceil_char_boundary((number * page_bytes).min(text.len()));
    Ok(Page { text: text[start..end].to_owned(), number, pages })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn caller(id: &str) -> Caller {
        Caller { id: Some(id.into()), ..Caller::anonymous() }
    }

    fn part(bytes: usize) -> Vec<KeptPart> {
        vec![KeptPart { name: "stdout", text: "x".repeat(bytes).into() }]
    }

    fn kept() -> KeptResults {
        KeptResults::new(KeptLimits {
            bytes: 100,
            bytes_per_caller: 60,
            count_per_caller: 3,
            idle: Duration::from_secs(60),
        })
    }

    fn link(id: &str) -> Link {
        Link::read(&format!("toolcell://results/{id}/stdout")).unwrap()
    }

    fn has(kept: &KeptResults, id: &str, who: &str, now: Instant) -> bool {
        kept.page(&link(id), &caller(who), 1000, now).is_ok()
    }

    #[test]
    fn only_its_caller_reads_a_result() {
        let (kept, now) = (kept(), Instant::now());
        let id = kept.keep(&caller("ann"), part(5), now).unwrap();
        assert!(has(&kept, &id, "ann", now));
        let stranger = kept.page(&link(&id), &caller("bob"), 1000, now).unwrap_err();
        let unknown = kept.page(&link("0"), &caller("bob"), 1000, now).unwrap_err();
        assert_eq!(stranger, unknown, "not even that it is there");
    }

    #[test]
    fn the_oldest_gives_way_to_the_newest() {
        let (kept, now) = (kept(), Instant::now());
        let keep = |who: &str, bytes| kept.keep(&caller(who), part(bytes), now);
        let first = keep("ann", 30).unwrap();
        let second = keep("ann", 30).unwrap();
        let third = keep("ann", 10).unwrap();
        assert!(!has(&kept, &first, "ann", now), "more bytes than hers");
        assert!(has(&kept, &second, "ann", now) && has(&kept, &third, "ann", now));
        let others = keep("bob", 60).unwrap();
        assert!(has(&kept, &others, "bob", now) && has(&kept, &second, "ann", now));
        keep("eve", 20).unwrap();
        assert!(!has(&kept, &second, "ann", now), "more bytes than all may have");
        let few: Vec<_> = (0..4).map(|_| keep("eve", 1).unwrap()).collect();
        assert!(!has(&kept, &few[0], "eve", now) && has(&kept, &few[3], "eve", now));
        assert_eq!(keep("ann", 61), None, "what is too much is not kept at all");
    }

    #[test]
    fn what_nobody_reads_is_kept_for_a_while_only() {
        let (kept, start) = (kept(), Instant::now());
        let id = kept.keep(&caller("ann"), part(5), start).unwrap();
        let second = |n| start + Duration::from_secs(n);
        assert!(has(&kept, &id, "ann", second(59)));
        assert!(has(&kept, &id, "ann", second(100)), "reading keeps it");
        assert!(!has(&kept, &id, "ann", second(161)));
    }

    proptest! {
        #[test]
        fn the_pages_together_are_the_text(text in "[aä€😀]{0,60}", page_bytes in 4usize..20) {
            let pages = page_count(&text, page_bytes);
            let all: String =
                (1..=pages).map(|number| page(&text, number, page_bytes).unwrap().text).collect();
            prop_assert_eq!(&all, &text);
            prop_assert!(page(&text, pages + 1, page_bytes).is_err());
            prop_assert!(page(&text, 0, page_bytes).is_err());
        }
    }
}
