//! What can be wrong with a configuration, and how it is told.
//!
//! No text in here quotes the value of a variable, of an `env` entry, of a header or of a URL.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no configuration to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The files have problems: all of them, in order.
    #[error(transparent)]
    Problems(#[from] Problems),
}

/// Everything that is wrong with a configuration. There is at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// `Ok` if there are none.
    pub(super) fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// The problems, in the order of the files.
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [problem] => write!(f, "the configuration cannot be used: {problem}"),
            problems => {
                write!(f, "the configuration cannot be used: it has {} problems:", problems.len())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for Problems {}

/// One thing that is wrong: where, what, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong: a lower-case fragment.
    pub cause: String,
    /// What to do about it.
    pub way_out: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.cause)?;
        self.way_out.iter().try_for_each(|way_out| write!(f, "; {way_out}"))
    }
}

/// Something that the operator should know, and that stops nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it is about.
    pub place: Place,
    /// What there is to know: a lower-case fragment.
    pub text: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// A place in a configuration: `toolcell.toml:12:3: servers.time.command`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Line and column, where they are known.
    pub position: Option<Position>,
    /// The keys that lead there; none for the file as a whole.
    pub path: KeyPath,
}

impl Place {
    /// A file as a whole.
    pub fn file(file: &Path) -> Self {
        Self { file: file.to_owned(), position: None, path: KeyPath::default() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.position.iter().try_for_each(|at| write!(f, ":{}:{}", at.line, at.column))?;
        if self.path.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.path) }
    }
}

/// Line and column of a text, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// The keys that lead to a value: `profiles.researcher.rules[0].args.sql`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(pub(super) Vec<Step>);

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl KeyPath {
    /// One table deeper.
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// One list deeper.
    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// From the top of a file.
    pub(super) fn of<const N: usize>(keys: [&str; N]) -> Self {
        Self(keys.into_iter().map(|key| Step::Key(key.to_owned())).collect())
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        for (nth, step) in self.0.iter().enumerate() {
            let dot = if nth == 0 { "" } else { "." };
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if !key.is_empty() && key.chars().all(bare) => {
                    write!(f, "{dot}{key}")?;
                }
                Step::Key(key) => {
                    let shown: String = key.chars().take(80).collect();
                    write!(f, "{dot}{shown:?}")?;
                }
            }
        }
        Ok(())
    }
}
