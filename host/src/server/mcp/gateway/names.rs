//! Under which names clients see what servers offer. Model APIs take `[A-Za-z0-9_-]{1,64}` only, and
//! a name must mean the same thing however many servers answer just now, and in whatever order: so
//! with prefixes the names of one server's tools depend on that server's list and on the configured
//! names alone.

use std::collections::{HashMap, HashSet};

/// The longest name that every model API takes.
const MAX_BYTES: usize = 64;

/// Digits of the hash in a name that needs one.
const HASH_DIGITS: usize = 8;

/// As much of a server's name as always stands at the beginning.
const HEAD_BYTES: usize = MAX_BYTES - HASH_DIGITS - 2;

/// Something that a server offers, by the server's own name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Original<'a> {
    pub(super) server: &'a str,
    pub(super) name: &'a str,
}

/// Under which name it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Nothing if there is no free one.
    pub(super) name: Option<String>,
    /// Its first choice was another's.
    pub(super) clashes: bool,
}

impl Shown {
    fn as_wished(name: String) -> Self {
        Self { name: Some(name), clashes: false }
    }
}

/// What must not be used: the names of our own tools, and what belongs to other servers.
#[derive(Clone, Copy)]
pub(super) struct Taken<'a> {
    pub(super) reserved: &'a [&'a str],
    /// All configured servers.
    pub(super) servers: &'a [String],
}

/// `SERVER_NAME` for all that one server offers. Of several names that look the same in the end, the
/// one that needed no change keeps it.
pub(super) fn with_prefix(server: &str, names: &[&str], taken: Taken<'_>) -> Vec<Shown> {
    let originals: Vec<_> = names.iter().map(|name| Original { server, name }).collect();
    let wishes: Vec<_> = originals.iter().map(|original| Wish::prefixed(*original)).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for wish in &wishes {
        *counts.entry(&wish.name).or_default() += 1;
    }
    let is_granted = |wish: &Wish| {
        wish.fits
            && !taken.reserved.contains(&&*wish.name)
            && !belongs_to_another(&wish.name, server, taken.servers)
            && (wish.is_exact || counts.get(&*wish.name) == Some(&1))
    };
    let mut used: HashSet<String> =
        wishes.iter().filter(|wish| is_granted(wish)).map(|wish| wish.name.clone()).collect();
    let shown = originals.iter().zip(&wishes).map(|(original, wish)| {
        if is_granted(wish) {
            return Shown::as_wished(wish.name.clone());
        }
        let owned = belongs_to_another(&wish.name, server, taken.servers);
        let other = if owned { set_apart(*original) } else { with_hash(*original) };
        let name = used.insert(other.clone()).then_some(other);
        Shown { clashes: wish.fits || owned || name.is_none(), name }
    });
    shown.collect()
}

/// The bare names of all that the servers offer, in the operator's order. Of several that are the
/// same, the first server's keeps the name, and the others are prefixed.
pub(super) fn without_prefix(originals: &[Original<'_>], taken: Taken<'_>) -> Vec<Shown> {
    let wishes: Vec<_> = originals.iter().map(|original| Wish::bare(*original)).collect();
    let winners = winners(originals, &wishes, taken.reserved);
    let mut shown: Vec<Option<Shown>> = wishes
        .iter()
        .enumerate()
        .map(|(at, wish)| winners.contains(&at).then(|| Shown::as_wished(wish.name.clone())))
        .collect();
    let mut used: HashSet<String> = winners.iter().map(|at| wishes[*at].name.clone()).collect();
    for (server, places) in by_server(originals, &shown) {
        let names: Vec<_> = places.iter().map(|at| originals[*at].name).collect();
        for (at, mut second) in places.into_iter().zip(with_prefix(server, &names, taken)) {
            if second.name.as_ref().is_some_and(|name| used.contains(name)) {
                second.name = Some(set_apart(originals[at]));
            }
            second.name = second.name.filter(|name| used.insert(name.clone()));
            second.clashes = wishes[at].fits;
            shown[at] = Some(second);
        }
    }
    let nameless = Shown { name: None, clashes: true };
    shown.into_iter().map(|shown| shown.unwrap_or_else(|| nameless.clone())).collect()
}

/// Whether a name may be one of this server's, as far as its beginning tells.
pub(super) fn may_be_of(server: &str, shown: &str) -> bool {
    let head = &server[..server.len().min(HEAD_BYTES)];
    let rest = shown.strip_prefix(head);
    rest.is_some_and(|rest| head.len() < server.len() || rest.starts_with(['_', '-']))
}

/// The name that something would like to have.
struct Wish {
    name: String,
    /// It is short enough.
    fits: bool,
    /// Nothing was changed for it.
    is_exact: bool,
}

impl Wish {
    fn prefixed(original: Original<'_>) -> Self {
        Self::of(&format!("{}_{}", original.server, original.name))
    }

    fn bare(original: Original<'_>) -> Self {
        Self::of(original.name)
    }

    fn of(text: &str) -> Self {
        let name = clean(text);
        Self { fits: name.len() <= MAX_BYTES, is_exact: name == text, name }
    }
}

/// Who gets the name that it wishes for: what needed no change before what did, then the first
/// server's. Two that needed a change on the same server both need another one.
fn winners(originals: &[Original<'_>], wishes: &[Wish], reserved: &[&str]) -> HashSet<usize> {
    let mut best: HashMap<&str, (usize, bool)> = HashMap::new();
    let mut ties: HashSet<&str> = HashSet::new();
    for (at, wish) in wishes.iter().enumerate() {
        if !wish.fits || reserved.contains(&&*wish.name) {
            continue;
        }
        match best.get(&*wish.name) {
            Some((_, true)) => {}
            Some((other, false)) if !wish.is_exact => {
                if originals[*other].server == originals[at].server {
                    ties.insert(&wish.name);
                }
            }
            _ => {
                ties.remove(&*wish.name);
                best.insert(&wish.name, (at, wish.is_exact));
            }
        }
    }
    let best = best.into_iter().filter(|(name, _)| !ties.contains(name));
    best.map(|(_, (at, _))| at).collect()
}

/// The places that have no name yet, in order.
fn by_server<'a>(
    originals: &[Original<'a>],
    shown: &[Option<Shown>],
) -> indexmap::IndexMap<&'a str, Vec<usize>> {
    let mut places: indexmap::IndexMap<&str, Vec<usize>> = indexmap::IndexMap::new();
    for (at, original) in originals.iter().enumerate().filter(|(at, _)| shown[*at].is_none()) {
        places.entry(original.server).or_default().push(at);
    }
    places
}

/// With the servers `a` and `a_b`, all that begins with `a_b_` is the second one's: what the first
/// one calls `b_c` must not pass for the other's `c`, whichever of them is reachable just now.
fn belongs_to_another(name: &str, server: &str, servers: &[String]) -> bool {
    servers.iter().any(|other| {
        other.len() > server.len()
            && name.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with('_'))
    })
}

/// What model APIs do not take becomes `_`.
fn clean(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    text.chars().map(|c| if fits(c) { c } else { '_' }).collect()
}

/// The name with its hash at the end.
fn with_hash(original: Original<'_>) -> String {
    let mut name = Wish::prefixed(original).name;
    name.truncate(MAX_BYTES - HASH_DIGITS - 1);
    format!("{name}_{}", hash(original))
}

/// The name with its hash in the place where servers' names end, so that no server can list
/// something that looks like it.
fn set_apart(original: Original<'_>) -> String {
    let head = &original.server[..original.server.len().min(HEAD_BYTES)];
    let mut name = format!("{head}-{}_{}", hash(original), clean(original.name));
    name.truncate(MAX_BYTES);
    name
}

fn hash(original: Original<'_>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(original.server.as_bytes()).update(&[0]).update(original.name.as_bytes());
    let digits = hasher.finalize().to_hex();
    digits.as_str()[..HASH_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn servers(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn prefixed(server: &str, names: &[&str], all: &[&str]) -> Vec<String> {
        let taken = Taken { reserved: &["run_python"], servers: &servers(all) };
        let shown = with_prefix(server, names, taken);
        shown.into_iter().map(|shown| shown.name.unwrap_or_default()).collect()
    }

    fn bare(originals: &[(&str, &str)]) -> Vec<String> {
        let all: Vec<&str> = originals.iter().map(|(server, _)| *server).collect();
        let taken = Taken { reserved: &["run_python"], servers: &servers(&all) };
        let originals: Vec<_> =
            originals.iter().map(|(server, name)| Original { server, name }).collect();
        let shown = without_prefix(&originals, taken);
        shown.into_iter().map(|shown| shown.name.unwrap_or_default()).collect()
    }

    #[test]
    fn names_are_what_model_apis_take() {
        assert_eq!(
            prefixed("fs", &["read", "read.all", "größe"], &["fs"]),
            ["fs_read", "fs_read_all", "fs_gr__e"]
        );
        let long = "n".repeat(100);
        let shown = prefixed("fs", &[&long], &["fs"]);
        assert_eq!(shown[0].len(), 64);
        assert!(shown[0].starts_with("fs_nnnn"), "{shown:?}");
        assert_eq!(bare(&[("fs", "read"), ("db", "read.rows")]), ["read", "read_rows"]);
    }

    #[test]
    fn what_looks_the_same_is_told_apart_whatever_the_order() {
        let one = prefixed("s", &["a.b", "a_b", "a/b"], &["s"]);
        assert_eq!(one[1], "s_a_b");
        let mut other = prefixed("s", &["a/b", "a.b", "a_b"], &["s"]);
        other.rotate_left(1);
        assert_eq!(one, other);
        assert!(one[0].starts_with("s_a_b_") && one[0] != one[2], "{one:?}");
    }

    #[test]
    fn no_server_can_take_the_name_of_another_ones_tool() {
        let all = ["a", "a_b"];
        let (short, long) = (prefixed("a", &["b_c"], &all), prefixed("a_b", &["c"], &all));
        assert_eq!(long, ["a_b_c"]);
        assert!(short[0].starts_with("a-") && short[0].ends_with("_b_c"), "{short:?}");
        // Nor by listing what the other one's tool was renamed to.
        let forged = prefixed("a_b", &[short[0].strip_prefix("a-").unwrap()], &all);
        assert_ne!(forged, short);
        let own = prefixed("run", &["python"], &["run"]);
        assert!(own[0].starts_with("run_python_"), "{own:?}");
    }

    #[test]
    fn without_prefixes_the_first_server_keeps_the_name() {
        assert_eq!(bare(&[("a", "x"), ("b", "x"), ("c", "x")]), ["x", "b_x", "c_x"]);
        assert_eq!(bare(&[("a", "x.y"), ("b", "x_y")]), ["a_x_y", "x_y"]);
        assert_eq!(bare(&[("a", "run_python")]), ["a_run_python"]);
        let shown = bare(&[("a", "x"), ("a", "b_x"), ("b", "x")]);
        assert_eq!(shown[..2], ["x", "b_x"]);
        assert!(shown[2].starts_with("b-") && shown[2].ends_with("_x"), "{shown:?}");
    }

    proptest! {
        #[test]
        fn every_name_fits_and_is_there_once(
            names in proptest::collection::hash_set("[a-c._é/]{1,4}|x{60,80}", 1..30),
            server in "[a-c_-]{1,4}|s{50,64}",
        ) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let shown = prefixed(&server, &names, &[&server, "a", "a_b", "a_b_c"]);
            let mut seen = HashSet::new();
            for name in shown {
                prop_assert!((1..=64).contains(&name.len()), "{}", name);
                prop_assert_eq!(clean(&name), name.clone());
                prop_assert!(may_be_of(&server, &name), "{} of {}", name, server);
                prop_assert!(seen.insert(name));
            }
        }
    }
}
