//! The process's exit codes: a fixed list that scripts can rely on.

use std::process::ExitCode;

use toolcell::runs::{ErrorKind, RunReport};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Done,
    /// 1: the script failed, a tool answered with its own error, or a check found something.
    Failed,
    /// 2: the command line or the configuration is wrong, or the machine lacks something.
    Usage,
    /// 3: a limit was reached.
    Limit,
    /// 4: an upstream could not be used.
    Upstream,
    /// 130: cancelled, by Ctrl-C or SIGTERM.
    Cancelled,
}

impl Exit {
    /// The list, for `--help`.
    pub(crate) const HELP: &str = "Exit codes:\n  \
        0    done\n  \
        1    the script failed, a tool answered with an error, or a check found something\n  \
        2    the command line or the configuration is wrong, or this machine lacks something\n  \
        3    a limit was reached\n  \
        4    an upstream server could not be used\n  \
        130  cancelled (Ctrl-C, SIGTERM)";

    /// The code of a run that was started.
    pub(crate) fn of_report(report: &RunReport) -> Self {
        match report.error.as_ref().map(|error| &error.kind) {
            None => Self::Done,
            Some(ErrorKind::Limit(_)) => Self::Limit,
            Some(ErrorKind::Cancelled) => Self::Cancelled,
            Some(kind) if kind.is_upstream() => Self::Upstream,
            Some(_) => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Limit => 3,
            Exit::Upstream => 4,
            Exit::Cancelled => 130,
        })
    }
}
