//! Changes to a source that leave every line where it is, and know where every column came from.

use std::collections::HashMap;

/// One change.
#[derive(Clone, Debug)]
struct Edit {
    start: usize,
    end: usize,
    /// None: each character becomes a space, and line ends stay.
    text: Option<String>,
}

/// Changes that were decided on, in any order. Of those that overlap, the outermost counts.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    edits: Vec<Edit>,
}

impl Edits {
    /// Makes a range blank.
    pub(crate) fn blank(&mut self, start: u32, end: u32) {
        if start < end {
            self.edits.push(Edit { start: start as usize, end: end as usize, text: None });
        }
    }

    /// Puts a text in place of a range without line ends.
    pub(crate) fn replace(&mut self, start: u32, end: u32, text: impl Into<String>) {
        let text = Some(text.into());
        self.edits.push(Edit { start: start as usize, end: end as usize, text });
    }

    /// Puts a text before a byte.
    pub(crate) fn insert(&mut self, at: u32, text: impl Into<String>) {
        self.replace(at, at, text);
    }

    /// Where blank ranges start, by the bytes at which they end, for a `;` that must not get lost.
    pub(crate) fn blanks_by_end(&self) -> HashMap<u32, u32> {
        let mut starts = HashMap::new();
        for edit in self.edits.iter().filter(|edit| edit.text.is_none()) {
            let start = edit.start as u32;
            let first = starts.entry(edit.end as u32).or_insert(start);
            *first = start.min(*first);
        }
        starts
    }

    /// The changed source, and the way back.
    pub(crate) fn apply(mut self, source: &str) -> (String, Map) {
        if self.edits.is_empty() {
            return (source.to_owned(), Map::default());
        }
        // Insertions at a place come before what is done to the text that begins there.
        self.edits.sort_by_key(|edit| (edit.start, edit.start != edit.end, usize::MAX - edit.end));
        let mut made = Made { text: String::with_capacity(source.len() + 64), ..Made::default() };
        let mut done = 0;
        // A `;` or a bracket in a blank range is its first or last character.
        let mut edits = self.edits.into_iter().peekable();
        while let Some(edit) = edits.next() {
            if edit.start < done {
                continue;
            }
            made.copy(&source[done..edit.start]);
            done = edit.end;
            match edit.text {
                Some(text) => made.changed(&source[edit.start..edit.end], &text),
                None => {
                    let mut from = edit.start;
                    // What is put into a blank range stays in it.
                    while let Some(inner) = edits.peek() {
                        if inner.start >= edit.end {
                            break;
                        }
                        let inner = edits.next().expect("peeked");
                        if let Some(text) = inner.text.filter(|_| inner.start >= from) {
                            made.blank(&source[from..inner.start]);
                            made.changed(&source[inner.start..inner.end], &text);
                            from = inner.end;
                        } else if inner.end > done {
                            done = inner.end;
                        }
                    }
                    made.blank(&source[from..done]);
                }
            }
        }
        made.copy(&source[done..]);
        (made.text, made.map)
    }
}

#[derive(Default)]
struct Made {
    text: String,
    line: usize,
    column: usize,
    map: Map,
}

impl Made {
    fn copy(&mut self, text: &str) {
        self.text.push_str(text);
        self.pass(text);
    }

    fn blank(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '\n' | '\r' | '\u{2028}' | '\u{2029}' => self.text.push(c),
                _ => self.text.push(' '),
            }
        }
        self.pass(text);
    }

    fn changed(&mut self, was: &str, is: &str) {
        let (was, now) = (was.chars().count(), is.chars().count());
        if was != now {
            let shift = Shift { line: self.line, column: self.column, was, is: now };
            self.map.shifts.push(shift);
        }
        self.text.push_str(is);
        self.column += now;
    }

    fn pass(&mut self, text: &str) {
        self.line += text.matches('\n').count();
        match text.rfind('\n') {
            Some(newline) => self.column = text[newline + 1..].chars().count(),
            None => self.column += text.chars().count(),
        }
    }
}

/// From columns of the changed source to those of the author's.
#[derive(Clone, Debug, Default)]
pub struct Map {
    shifts: Vec<Shift>,
}

/// At this place, counted from 0, `was` characters became `is`.
#[derive(Clone, Debug)]
struct Shift {
    line: usize,
    column: usize,
    was: usize,
    is: usize,
}

impl Map {
    /// The author's column. Lines and columns count from 1.
    pub fn column(&self, line: usize, column: usize) -> usize {
        let at = column.saturating_sub(1);
        let mut moved = at;
        for shift in self.shifts.iter().filter(|shift| shift.line + 1 == line) {
            if at >= shift.column + shift.is {
                moved = (moved + shift.was).saturating_sub(shift.is);
            } else if at > shift.column {
                moved -= at - shift.column;
            }
        }
        moved + 1
    }
}
