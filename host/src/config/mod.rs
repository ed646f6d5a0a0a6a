//! `toolcell.toml` and its kin: as written, checked as a whole, and as used.
//!
//! The one file that is read is, in this order: the file of `--config`; the one that
//! [`env::TOOLCELL_CONFIG`] names; `toolcell.toml` in the working directory; none at all. Further
//! files of `mcpServers` JSON are read where that file says so, and such a file may itself stand
//! in its place. A `.mcp.json` that merely lies in the working directory is never read: it is
//! part of other people's repositories, and it names programs to start.
//!
//! [`load()`] answers either a [`Config`] or everything that is wrong, each thing with its place and
//! a way out. Relative paths in a file are relative to its folder. The process's environment is
//! never read here; the caller passes a [`env::Lookup`]. [`Watch`] does the same again whenever a file
//! changes.
//!
//! - `written` is the file as people write it, `json` reads the files of other programs into it.
//! - `servers`, `tuning`, `profiles`, `plugins`, `limits`, `monitor` and `serving` make `resolved` settings of that,
//!   and tell `findings`; `surroundings`, `template` and `providers` give values to `${…}`.
//! - `adopt` writes the servers of other programs' files as tables of ours, once.
//! - `show`, `schema` and `reference` tell people what is in force and what can be written.

mod adopt;
mod document;
pub mod env;
mod error;
mod findings;
mod json;
mod limits;
mod load;
mod monitor;
mod node;
mod overrides;
mod plugins;
mod profiles;
mod providers;
mod reference;
mod resolved;
mod schema;
mod servers;
mod serving;
mod show;
mod surroundings;
mod template;
mod tuning;
pub mod units;
mod watch;
pub mod written;

pub use adopt::{AdoptedServer, Adoption, MAX_FOREIGN_BYTES};
pub use error::{ConfigError, KeyPath, Notice, Place, Position, Problem, Problems};
pub use limits::{InvalidLimit, LIMIT_NAMES, MIN_PYTHON_MEMORY_BYTES, set_limit};
pub use load::{MAX_FILE_BYTES, load};
pub use monitor::MonitorSettings;
pub use overrides::{InvalidOverride, Overrides};
pub use reference::{bare, inline, reference};
pub use resolved::{
    Config, Endpoint, InvalidProfileName, NoProfile, Profile, ProfileName, ServerSource,
};
pub use schema::schema;
pub use show::{UnknownServer, show};
pub use watch::{SharedLookup, Watch};

#[cfg(test)]
mod tests;
