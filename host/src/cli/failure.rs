//! A command that could not do its work, and how that is told.

use std::error::Error;
use std::fmt::Write as _;

use super::exit::Exit;

/// What stopped a command before, or beside, its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line, the configuration or the machine: the operator's to mend.
    Usage(Box<dyn Error + Send + Sync>),
    /// Servers cannot be used, so that there is no point in beginning.
    Upstream(String),
    /// Somebody pressed Ctrl-C or sent SIGTERM.
    Cancelled,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into().into())
    }

    /// The whole chain of causes in one text, outermost first.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Cancelled => "cancelled".to_owned(),
            Self::Upstream(report) => report.clone(),
            Self::Usage(error) => chain(error.as_ref()),
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Upstream(_) => Exit::Upstream,
            Self::Cancelled => Exit::Cancelled,
        }
    }

    /// Tells it on stderr.
    pub(crate) fn print(&self) -> Exit {
        eprintln!("toolcell: {}", self.text());
        self.exit()
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Usage(Box::new(error))
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.contains(&inner) {
            let _ = write!(text, ": {inner}");
        }
        cause = error.source();
    }
    text
}
