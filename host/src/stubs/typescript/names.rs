//! Which identifiers reach which names, by the rule of the JavaScript runtime: the exact name always; a
//! derived name that two names would share reaches neither.

use std::collections::{HashMap, HashSet};

use super::text::{camel_case, identifier};
use crate::stubs::module::Collision;

/// The identifiers that stand for some names, besides the names themselves.
pub(super) struct Aliases {
    /// The aliases of each name, by its place.
    pub(super) of: Vec<Vec<String>>,
    pub(super) collisions: Vec<Collision>,
}

impl Aliases {
    /// `reserved` are no aliases: something else is called so.
    pub(super) fn new(names: &[&str], reserved: &[&str]) -> Self {
        let mut taken: HashSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        taken.extend(reserved.iter().map(|name| (*name).to_owned()));
        let mut of = vec![Vec::new(); names.len()];
        let mut collisions = Vec::new();
        let mut contested = HashSet::new();
        for derive in [identifier as fn(&str) -> String, camel_case] {
            let mut wanting: HashMap<String, Vec<usize>> = HashMap::new();
            let mut order = Vec::new();
            for (place, name) in names.iter().enumerate() {
                let made = derive(name);
                let places = wanting.entry(made.clone()).or_default();
                if places.is_empty() {
                    order.push(made);
                }
                places.push(place);
            }
            for made in order {
                let places = &wanting[&made];
                if taken.contains(&made) || contested.contains(&made) {
                    continue;
                }
                match places[..] {
                    [place] => {
                        taken.insert(made.clone());
                        of[place].push(made);
                    }
                    [first, second, ..] => {
                        let collision = Collision::new(None, &made, names[first], names[second]);
                        collisions.push(collision);
                        contested.insert(made);
                    }
                    [] => {}
                }
            }
        }
        Self { of, collisions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_identifiers_and_camel_case_besides() {
        #[track_caller]
        fn check(names: &[&str], expected: &[&[&str]], collisions: &[&str]) {
            let aliases = Aliases::new(names, &["call"]);
            assert_eq!(aliases.of, expected, "{names:?}");
            let said = aliases.collisions.iter().map(|it| it.identifier.as_str());
            assert_eq!(said.collect::<Vec<_>>(), collisions);
        }
        check(&["search_papers"], &[&["searchPapers"]], &[]);
        check(&["get-sum"], &[&["get_sum", "getSum"]], &[]);
        check(&["delete"], &[&["delete_"]], &[]);
        check(&["call"], &[&[]], &[]);
        check(&["a-b", "a.b"], &[&[], &[]], &["a_b", "aB"]);
        check(&["a_b", "aB", "a-b"], &[&[], &[], &[]], &[]);
    }
}
