//! Ends in every way but the right one.

/// Panics with these words.
#[toolcell::tool]
fn panic(words: String) {
    panic!("{words}");
}

/// Executes an instruction that traps.
#[toolcell::tool]
fn unreachable() {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
}

/// Ends the process that it believes to be.
#[toolcell::tool]
fn exit(code: i32) {
    std::process::exit(code);
}

/// Calls itself until the stack ends.
#[toolcell::tool]
fn recurse() -> u64 {
    deeper(std::hint::black_box(1))
}

#[expect(unconditional_recursion, reason = "the stack's end is what is looked for")]
fn deeper(depth: u64) -> u64 {
    let below = deeper(std::hint::black_box(depth + 1));
    std::hint::black_box(below) + 1
}

/// Fails as a tool does.
#[toolcell::tool]
fn fail(words: String) -> Result<String, String> {
    Err(words)
}

/// Does nothing wrong.
#[toolcell::tool]
fn fine() -> String {
    "fine".to_owned()
}

toolcell::plugin!(panic, unreachable, exit, recurse, fail, fine);
