//! Who may call what, and why not. Plain functions over values: no I/O, no clock, no tokio.
