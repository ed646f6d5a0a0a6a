//! The attribute macros of `toolcell-guest`.
