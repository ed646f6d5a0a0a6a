//! From an author's project to a component.

mod error;
pub mod python;
mod sources;

pub use error::BuildError;
