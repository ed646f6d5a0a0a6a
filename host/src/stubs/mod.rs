//! Typed descriptions of tools as Python stubs, for models, people and editors.

pub mod identifiers;
