//! What a tool tells whoever watches: entries for a log, and how far it has come.
//!
//! ```
//! # use toolcell_guest as toolcell;
//! # toolcell::testing::Host::new().run(async {
//! toolcell::log::info("asking three servers");
//! toolcell::progress(1.0, Some(3.0), Some("search has answered"));
//! # });
//! ```

use crate::imports;

/// How grave an entry is (RFC 5424).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// It goes as it should.
    Info,
    /// It goes as it should, and is worth a look.
    Notice,
    /// Something is wrong; the tool goes on.
    Warning,
    /// Something failed.
    Error,
    /// A part does not work at all.
    Critical,
    /// Somebody must act now.
    Alert,
    /// Nothing works.
    Emergency,
}

/// Writes an entry.
pub fn entry(level: Level, message: impl AsRef<str>) {
    imports::log(level, message.as_ref());
}

/// Writes an entry for whoever looks for a fault.
pub fn debug(message: impl AsRef<str>) {
    entry(Level::Debug, message);
}

/// Writes what goes as it should.
pub fn info(message: impl AsRef<str>) {
    entry(Level::Info, message);
}

/// Writes what is worth a look.
pub fn notice(message: impl AsRef<str>) {
    entry(Level::Notice, message);
}

/// Writes what is wrong while the tool goes on.
pub fn warning(message: impl AsRef<str>) {
    entry(Level::Warning, message);
}

/// Writes what failed.
pub fn error(message: impl AsRef<str>) {
    entry(Level::Error, message);
}

/// Tells how far the tool has come: `done` grows, up to `total` if that is known.
pub fn progress(done: f64, total: Option<f64>, message: Option<&str>) {
    imports::progress(done, total, message);
}
