//! A TOML file with the places of its keys, and its way into Rust types without stopping at the
//! first mistake.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{KeyPath, Place, Position, Problem, Step};
use super::node::{Misfit, Node};

/// A TOML file that was parsed.
pub(super) struct Document<'t> {
    text: &'t str,
    root: Spanned<DeValue<'t>>,
}

impl<'t> Document<'t> {
    /// Mistakes of one file that are told at most; what follows is likely to be their echo.
    const MAX_MISTAKES: usize = 50;

    /// Parses a text, or says every place at which it is no TOML. Errors quote no value.
    pub(super) fn parse(file: &Path, text: &'t str) -> Result<Self, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let span = table.span();
        let root = Spanned::new(span, DeValue::Table(table.into_inner()));
        let document = Self { text, root };
        if errors.is_empty() {
            return Ok(document);
        }
        let mut doubled: Vec<KeyPath> = Vec::new();
        let mut problems = Vec::new();
        for error in errors.iter().take(Self::MAX_MISTAKES) {
            let span = error.span();
            let position = span.as_ref().map(|span| position(text, span.start));
            let place = Place { position, ..Place::file(file) };
            match span.filter(|_| error.message() == "duplicate key") {
                Some(span) => {
                    let path = document.path_near(span.start);
                    // A table that stands twice has keys that stand twice.
                    if doubled.iter().any(|table| path.0.starts_with(&table.0)) {
                        continue;
                    }
                    let cause = document.duplicate(&path, &span);
                    let way_out = Some("keep one of the two".to_owned());
                    problems.push(Problem { place, cause, way_out });
                    doubled.push(path);
                }
                None => {
                    let cause = format!("not TOML: {}", error.message());
                    problems.push(Problem { place, cause, way_out: None });
                }
            }
        }
        Err(problems)
    }

    /// Where a path leads: to its key, or as near to it as the file goes.
    pub(super) fn position(&self, path: &KeyPath) -> Option<Position> {
        let span = self.locate(path)?;
        Some(position(self.text, span.start))
    }

    /// Reads the document into a type. What does not fit is told and left out, until the rest fits.
    pub(super) fn read<T: for<'de> Deserialize<'de> + Default>(
        &self,
    ) -> (T, Vec<(KeyPath, Misfit)>) {
        let mut root = self.root.clone();
        let mut misfits = Vec::new();
        while misfits.len() < Self::MAX_MISTAKES {
            match T::deserialize(Node::new(&root)) {
                Ok(value) => return (value, misfits),
                Err(misfit) => {
                    let path = misfit.path();
                    let removed = remove(&mut root, &path.0);
                    misfits.push((path, misfit));
                    if !removed {
                        break;
                    }
                }
            }
        }
        (T::default(), misfits)
    }

    fn locate(&self, path: &KeyPath) -> Option<Range<usize>> {
        let mut value = &self.root;
        let mut span = None;
        for step in &path.0 {
            let next = match (step, value.get_ref()) {
                (Step::Key(key), DeValue::Table(table)) => {
                    let entry = table.iter().find(|(name, _)| name.get_ref() == key);
                    entry.map(|(name, value)| (name.span(), value))
                }
                (Step::Index(index), DeValue::Array(elements)) => {
                    elements.get(*index).map(|element| (element.span(), element))
                }
                _ => None,
            };
            let Some((at, inner)) = next else { break };
            // The key of a dotted or repeated table can stand in several places; the first one counts.
            span = Some(at);
            value = inner;
        }
        span
    }

    /// Says of a key that stands twice where it stood first, as far as that can be told.
    fn duplicate(&self, path: &KeyPath, second: &Range<usize>) -> String {
        let key = self.text.get(second.clone()).unwrap_or_default();
        let name = if path.0.is_empty() { key.to_owned() } else { path.to_string() };
        let before = self.text.get(..second.start).unwrap_or_default();
        // The parser keeps the second of two tables, so the first one's header is looked for.
        let mut headers = before.lines().enumerate().map(|(nth, line)| (nth + 1, line.trim()));
        let header = headers.find(|(_, line)| line.starts_with('[') && keys_of(line) == path.0);
        let assigned = self.locate(path).filter(|first| first.start < second.start);
        let assigned = assigned.map(|first| position(self.text, first.start).line);
        let second_line = position(self.text, second.start).line;
        match header.map(|(line, _)| line).or(assigned).filter(|line| *line < second_line) {
            Some(line) => format!("`{name}` stands twice, first in line {line}"),
            None => format!("`{name}` stands twice"),
        }
    }

    /// The keys of the line at an offset, under the table header that is in force there.
    fn path_near(&self, offset: usize) -> KeyPath {
        let line_start = self.text[..offset].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[line_start..].lines().next().unwrap_or_default().trim();
        let mut lines = self.text[..line_start].lines().map(str::trim);
        let header = lines.rfind(|line| line.starts_with('[')).unwrap_or_default();
        let mut path = KeyPath::default();
        if !line.starts_with('[') {
            path.0.extend(keys_of(header));
        }
        path.0.extend(keys_of(line));
        path
    }
}

/// The keys of one line of TOML: a header or the beginning of an assignment.
fn keys_of(line: &str) -> Vec<Step> {
    let (table, _) = DeTable::parse_recoverable(line);
    let mut keys = Vec::new();
    let mut value = &DeValue::Table(table.into_inner());
    loop {
        value = match value {
            // The value of an assignment is none of its keys.
            DeValue::Table(table) if table.len() == 1 && !is_inline(line, &keys) => {
                let Some((key, inner)) = table.iter().next() else { return keys };
                keys.push(Step::Key(key.get_ref().to_string()));
                inner.get_ref()
            }
            DeValue::Array(elements) if line.starts_with("[[") && elements.len() == 1 => {
                keys.push(Step::Index(0));
                elements[0].get_ref()
            }
            _ => return keys,
        };
    }
}

/// Whether as many keys were taken as stand in front of the `=`.
fn is_inline(line: &str, keys: &[Step]) -> bool {
    !line.starts_with('[') && {
        let front = line.split('=').next().unwrap_or_default();
        !keys.is_empty() && keys.len() > front.matches('.').count()
    }
}

/// Takes a value out, or the list that it stands in. `false` if there is nothing to take.
fn remove(value: &mut Spanned<DeValue<'_>>, steps: &[Step]) -> bool {
    match (steps.split_first(), value.get_mut()) {
        (Some((Step::Key(key), rest)), DeValue::Table(table)) => {
            let Some(inner) = table.get_mut(key.as_str()) else { return false };
            // A list's elements keep their numbers, so the list goes as a whole if one of them does.
            let in_list = rest.iter().all(|step| matches!(step, Step::Index(_)));
            if in_list { table.remove(key.as_str()).is_some() } else { remove(inner, rest) }
        }
        (Some((Step::Index(index), rest)), DeValue::Array(elements)) => {
            elements.get_mut(*index).is_some_and(|element| remove(element, rest))
        }
        _ => false,
    }
}

/// Line and column of a byte.
pub(super) fn position(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_by_their_keys() {
        let text = "a = 1\n[b]\n  c = [1, 2]\n[[b.d]]\ne = 1\n[[b.d]]\n\"é\" = 1\n";
        let document = Document::parse(Path::new("x.toml"), text).map_err(drop).expect("TOML");
        let check = |path: KeyPath, line, column| {
            assert_eq!(document.position(&path), Some(Position { line, column }), "{path}");
        };
        check(KeyPath::of(["a"]), 1, 1);
        check(KeyPath::of(["b", "c"]), 3, 3);
        check(KeyPath::of(["b", "c"]).index(1), 3, 11);
        check(KeyPath::of(["b", "d"]).index(1).key("é"), 7, 1);
        check(KeyPath::of(["b", "missing"]), 2, 2);
        assert_eq!(document.position(&KeyPath::default()), None);
    }

    #[test]
    fn every_mistake_in_the_syntax_is_told_with_its_place_and_without_its_value() {
        let text = "[servers.time]\nkey = s3cret\n[servers.time]\nother = 's3cret\n";
        let problems = Document::parse(Path::new("x.toml"), text).err().expect("no TOML");
        let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
        assert!(texts.iter().any(|text| text.starts_with("x.toml:2:7: not TOML: ")), "{texts:?}");
        let twice = "`servers.time` stands twice, first in line 1; keep one of the two";
        assert!(texts.iter().any(|text| text.ends_with(twice)), "{texts:?}");
        assert!(!texts.iter().any(|text| text.contains("s3cret")), "{texts:?}");
    }

    #[test]
    fn keys_that_stand_twice_are_told_with_both_places() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let problems = Document::parse(Path::new("x"), text).err().expect("no TOML");
            let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
            assert_eq!(texts, [format!("{expected}; keep one of the two")]);
        }
        check("a = 1\nb = 2\na = 3\n", "x:3:1: `a` stands twice, first in line 1");
        check(
            "[s.x]\ncommand = 'a'\n[s.y]\ncommand = 'b'\ncommand = { z = 1 }\n",
            "x:5:1: `s.y.command` stands twice, first in line 4",
        );
        check(
            "[s.x]\nenv.a = 'a'\nenv.b = '='\nenv.a = 'c'\n",
            "x:4:5: `s.x.env.a` stands twice, first in line 2",
        );
    }
}
