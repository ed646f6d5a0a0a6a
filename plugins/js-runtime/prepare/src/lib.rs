//! Reads a program before it runs.
