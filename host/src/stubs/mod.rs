//! Typed descriptions of tools as Python stubs and TypeScript declarations, for models, people and
//! editors. Pure: text from
//! [`ToolDescription`](crate::tool::ToolDescription)s, nothing else.
//!
//! Descriptions and schemas are texts from strangers. They cannot break out of the comments,
//! docstrings and literals that they are put in, invisible characters are taken out of them, and
//! no schema makes a stub endless: what is too deep or too wide is `Any`.

mod function;
pub mod identifiers;
mod module;
mod schema;
mod text;
mod typescript;

pub use module::{Collision, Detail, ServerStub, offers_note, server_stub, tool_stub};
pub use typescript::{declarations_file, server_declarations, tool_declaration};
