//! How the parts of a result share the room that it has, and what becomes of what does not fit.

use serde::{Serialize, Serializer};

use crate::server::mcp::kept::{KeptPart, Link, page_after, page_count};

/// The least room for the parts of a result, whatever the operator says.
const MIN_ROOM: usize = 1 << 10;

/// Of a page, what is not the text itself.
const AROUND_PAGE: usize = 512;

/// What a mark takes at most.
const MARK_BYTES: usize = 256;

/// Bytes of one page, where a result may have so many.
pub(super) fn page_bytes(result_bytes: usize) -> usize {
    result_bytes.saturating_sub(AROUND_PAGE).max(MIN_ROOM)
}

/// One text of a result, which may be too long for it.
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// A part that was cut: where all of it is.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rest {
    /// Nothing if it is not kept.
    #[serde(serialize_with = "as_text")]
    pub(super) link: Option<Link>,
    pub(super) part: &'static str,
    /// All of it.
    pub(super) bytes: usize,
    pub(super) pages: usize,
}

/// Parts as they are shown: whole, or their beginnings with a mark.
pub(super) struct Shown {
    parts: Vec<(Part, Option<Cut>)>,
    pub(super) rest: Vec<Rest>,
}

struct Cut {
    /// As much of the text as is shown.
    shown: usize,
    mark: String,
}

impl Shown {
    /// Lets the parts share `room` bytes. What is cut is handed to `keep`, which gives the id under
    /// which it can be fetched.
    pub(super) fn new(
        parts: Vec<Part>,
        room: usize,
        page_bytes: usize,
        keep: impl FnOnce(Vec<KeptPart>) -> Option<String>,
    ) -> Self {
        let sizes: Vec<usize> = parts.iter().map(|part| part.text.len()).collect();
        let marks = parts.len() * MARK_BYTES;
        let shares = match sizes.iter().sum::<usize>() <= room {
            true => sizes.clone(),
            false => shares(&sizes, room.saturating_sub(marks).max(MIN_ROOM)),
        };
        let is_long = |(part, share): &(&Part, &usize)| part.text.len() > **share;
        let long: Vec<KeptPart> = parts
            .iter()
            .zip(&shares)
            .filter(is_long)
            .map(|(part, _)| KeptPart { name: part.name, text: part.text.as_str().into() })
            .collect();
        let id = if long.is_empty() { None } else { keep(long) };
        let mut rest = Vec::new();
        let parts = parts.into_iter().zip(shares).map(|(part, share)| {
            if part.text.len() <= share {
                return (part, None);
            }
            let shown = part.text.floor_char_boundary(share);
            let of = Rest {
                link: id.as_deref().map(|id| Link::new(id, part.name, None)),
                part: part.name,
                bytes: part.text.len(),
                pages: page_count(&part.text, page_bytes),
            };
            let mark = mark(&of, shown, page_bytes);
            rest.push(of);
            (part, Some(Cut { shown, mark }))
        });
        let parts = parts.collect();
        Self { parts, rest }
    }

    /// A part's text, with a mark where it is cut. Empty if there is no such part.
    pub(super) fn text(&self, name: &str) -> String {
        match self.find(name) {
            None => String::new(),
            Some((part, None)) => part.text.clone(),
            Some((part, Some(cut))) => format!("{}\n{}", &part.text[..cut.shown], cut.mark),
        }
    }

    /// Of a part that was cut, as much as is shown, and the mark.
    pub(super) fn cut(&self, name: &str) -> Option<(&str, &str)> {
        let (part, cut) = self.find(name)?;
        let cut = cut.as_ref()?;
        Some((&part.text[..cut.shown], &cut.mark))
    }

    fn find(&self, name: &str) -> Option<&(Part, Option<Cut>)> {
        self.parts.iter().find(|(part, _)| part.name == name)
    }
}

fn mark(rest: &Rest, shown: usize, page_bytes: usize) -> String {
    let Rest { link, part, bytes, .. } = rest;
    let begin = format!("[… these are the first {shown} of {bytes} bytes of {part};");
    match link {
        Some(link) => {
            let next = page_after(shown, page_bytes);
            let link = Link { page: Some(next), ..link.clone() };
            format!("{begin} read_more with link \"{link}\" goes on]")
        }
        None => format!("{begin} the rest is not kept: return or print less at once]"),
    }
}

/// Divides room among parts of these sizes: what is small is whole, and the others have the same
/// each. The sum is not more than the room.
fn shares(sizes: &[usize], room: usize) -> Vec<usize> {
    let mut by_size: Vec<usize> = (0..sizes.len()).collect();
    by_size.sort_by_key(|at| sizes[*at]);
    let mut shares = vec![0; sizes.len()];
    let mut left = room;
    for (nth, at) in by_size.into_iter().enumerate() {
        shares[at] = sizes[at].min(left / (sizes.len() - nth));
        left -= shares[at];
    }
    shares
}

fn as_text<S: Serializer>(link: &Option<Link>, serializer: S) -> Result<S::Ok, S::Error> {
    match link {
        Some(link) => serializer.collect_str(link),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_small_is_whole_and_the_others_share() {
        #[track_caller]
        fn check(sizes: &[usize], room: usize, expected: &[usize]) {
            assert_eq!(shares(sizes, room), expected);
        }
        check(&[10, 20, 30], 60, &[10, 20, 30]);
        check(&[10, 200, 300], 110, &[10, 50, 50]);
        check(&[500, 0, 30], 100, &[70, 0, 30]);
        check(&[500, 500], 0, &[0, 0]);
        check(&[], 10, &[]);
    }

    proptest! {
        #[test]
        fn shares_fit(sizes in prop::collection::vec(0usize..5000, 0..8), room in 0usize..9000) {
            let shares = shares(&sizes, room);
            prop_assert!(shares.iter().sum::<usize>() <= room);
            prop_assert!(shares.iter().zip(&sizes).all(|(share, size)| share <= size));
            let cut = shares.iter().zip(&sizes).any(|(share, size)| share < size);
            prop_assert!(!cut || sizes.iter().sum::<usize>() > room);
        }
    }

    fn parts(stdout: &str, stderr: &str) -> Vec<Part> {
        let part = |name, text: &str| Part { name, text: text.to_owned() };
        vec![part("stdout", stdout), part("stderr", stderr)]
    }

    #[test]
    fn what_fits_is_not_touched_and_nothing_is_kept() {
        let shown = Shown::new(parts("a", "b"), 2, 1024, |_| panic!("nothing to keep"));
        assert_eq!((shown.text("stdout"), shown.text("stderr")), ("a".into(), "b".into()));
        assert!(shown.rest.is_empty() && shown.cut("stdout").is_none());
    }

    #[test]
    fn what_is_cut_says_where_it_goes_on() {
        let long = "ä".repeat(3000);
        let keep = |kept: Vec<KeptPart>| {
            assert_eq!(kept.len(), 1);
            assert_eq!(kept[0].text.len(), 6000);
            Some("0f".to_owned())
        };
        let shown = Shown::new(parts(&long, "short"), 4000, 1024, keep);
        let text = shown.text("stdout");
        assert!(text.len() < 4000, "{}", text.len());
        assert!(text.contains("of 6000 bytes of stdout"), "{text}");
        assert!(text.contains("\"toolcell://results/0f/stdout?page=4\""), "{text}");
        assert_eq!(shown.text("stderr"), "short");
        let rest = serde_json::to_value(&shown.rest).unwrap();
        assert_eq!(rest[0]["link"], "toolcell://results/0f/stdout");
        assert_eq!(rest[0]["pages"], 6);
        let lost = Shown::new(parts(&long, ""), 4000, 1024, |_| None);
        assert!(lost.text("stdout").contains("not kept"));
    }
}
