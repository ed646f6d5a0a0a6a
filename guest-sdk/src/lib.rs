//! Write tools for toolcell in Rust.
