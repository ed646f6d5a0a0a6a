//! `toolcell.toml` and its kin: as written, checked as a whole, and as used.
