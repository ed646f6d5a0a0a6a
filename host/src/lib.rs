//! toolcell
