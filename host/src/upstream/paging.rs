//! What bounds a list that a server sends page by page: it chooses how many pages there are, how
//! long each of them is, and whether they ever end.

use std::collections::HashSet;

/// The most things in one list.
pub(super) const MAX_ITEMS: usize = 20_000;

/// The most bytes of a list.
const MAX_BYTES: usize = 64 << 20;

/// The most pages of a list.
pub(super) const MAX_PAGES: usize = 1000;

/// The most problems that are told one by one.
const MAX_PROBLEMS: usize = 50;

/// How far a list has come, and what was wrong with it.
#[derive(Default)]
pub(super) struct Paging {
    cursors: HashSet<String>,
    pages: usize,
    bytes: usize,
    problems: Vec<String>,
    untold_problems: usize,
}

impl Paging {
    /// Begins a page.
    pub(super) fn begin(&mut self) {
        self.pages += 1;
    }

    /// Whether there is room for one more of so many bytes. `kept` is how many there are, `what` is
    /// their name.
    pub(super) fn has_room(&mut self, kept: usize, bytes: usize, what: &str) -> bool {
        self.bytes += bytes;
        if kept >= MAX_ITEMS {
            self.problem(format!("only the first {MAX_ITEMS} {what} are used"));
            return false;
        }
        if self.bytes > MAX_BYTES {
            self.problem(format!("the list is larger than {MAX_BYTES} bytes and was cut"));
            return false;
        }
        true
    }

    /// The cursor of the page to ask for next, if there is one and it may be asked for.
    pub(super) fn next(&mut self, cursor: Option<String>) -> Option<String> {
        let cursor = cursor.filter(|cursor| !cursor.is_empty())?;
        if self.pages >= MAX_PAGES {
            self.problem(format!("the list has more than {MAX_PAGES} pages and was cut"));
            return None;
        }
        self.bytes += cursor.len();
        if !self.cursors.insert(cursor.clone()) {
            self.problem("the list's pages go round in a circle; it was cut".to_owned());
            return None;
        }
        Some(cursor)
    }

    pub(super) fn problem(&mut self, problem: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        } else {
            self.untold_problems += 1;
        }
    }

    /// What was wrong.
    pub(super) fn into_problems(mut self) -> Vec<String> {
        if self.untold_problems > 0 {
            self.problems.push(format!("and {} problems more", self.untold_problems));
        }
        self.problems
    }

    #[cfg(test)]
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }
}
