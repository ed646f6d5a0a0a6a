//! Typed descriptions of tools, for models and editors.
