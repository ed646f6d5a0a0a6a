//! The plugins that tests load, each an example of this package and a file of `src/`.
//!
//! | guest | what it is |
//! |---|---|
//! | `echoes` | gives its arguments back; built as a core module too |
//! | `typed` | plain typed functions and no import of ours |
//! | `newer` | built for a version of our WIT that does not exist yet |
//! | `alien` | imports an interface that nobody offers |
