//! Collects what is wrong with one file, and what is worth knowing about it.

use std::path::{Path, PathBuf};

use super::error::{KeyPath, Notice, Place, Position, Problem};
use crate::grants::nearest;

/// Finds the place of a path in a file.
type Positions<'a> = Box<dyn Fn(&KeyPath) -> Option<Position> + 'a>;

/// The problems and notices of one file while it is read.
pub(super) struct Findings<'a> {
    file: PathBuf,
    positions: Positions<'a>,
    pub(super) problems: Vec<Problem>,
    pub(super) notices: Vec<Notice>,
}

impl<'a> Findings<'a> {
    /// For a file in which places can be found.
    pub(super) fn new(file: &Path, positions: impl Fn(&KeyPath) -> Option<Position> + 'a) -> Self {
        let positions = Box::new(positions);
        Self { file: file.to_owned(), positions, problems: Vec::new(), notices: Vec::new() }
    }

    /// Where a path leads.
    pub(super) fn place(&self, path: &KeyPath) -> Place {
        Place { file: self.file.clone(), position: (self.positions)(path), path: path.clone() }
    }

    /// Something is wrong, and its words say what to do.
    pub(super) fn problem(&mut self, path: &KeyPath, cause: impl ToString) {
        let place = self.place(path);
        self.problems.push(Problem { place, cause: cause.to_string(), way_out: None });
    }

    /// Something is wrong, and this is what to do.
    pub(super) fn problem_with(
        &mut self,
        path: &KeyPath,
        cause: impl ToString,
        way_out: impl ToString,
    ) {
        let place = self.place(path);
        let way_out = Some(way_out.to_string());
        self.problems.push(Problem { place, cause: cause.to_string(), way_out });
    }

    /// Something is worth knowing.
    pub(super) fn notice(&mut self, path: &KeyPath, text: impl Into<String>) {
        let place = self.place(path);
        self.notices.push(Notice { place, text: text.into() });
    }

    /// The value, or nothing and a problem.
    pub(super) fn check<T, E: ToString>(
        &mut self,
        path: &KeyPath,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.problem(path, error)).ok()
    }

    /// Whether something is wrong at this path or below it, so that a further complaint about
    /// what is missing there would only confuse.
    pub(super) fn is_faulty(&self, path: &KeyPath) -> bool {
        self.problems.iter().any(|problem| problem.place.path.0.starts_with(&path.0))
    }
}

/// "did you mean `x`?", or the names that there are.
pub(super) fn suggestion<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    if let Some(name) = nearest(written, known.clone(), 1).first() {
        return format!("did you mean `{name}`?");
    }
    match known.clone().into_iter().count() {
        0 => "there are none".to_owned(),
        1 => format!("there is only {}", listed(known)),
        _ => format!("there are {}", listed(known)),
    }
}

/// Names in backquotes, separated by commas.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
