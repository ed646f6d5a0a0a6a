//! Takes all it gets.

use serde_json::json;

/// Allocates memory without end.
#[toolcell::tool]
fn allocate() -> usize {
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1; 1 << 20]));
    }
}

/// Allocates so many mebibytes, and lets go of them.
#[toolcell::tool]
fn borrow(mebibytes: usize) -> String {
    let held = std::hint::black_box(vec![1_u8; mebibytes << 20]);
    format!("{} bytes", held.len())
}

/// Prints without end.
#[toolcell::tool]
fn print() {
    let line = "x".repeat(1000);
    loop {
        println!("{line}");
    }
}

/// Answers with a text of so many bytes.
#[toolcell::tool]
fn answer(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Starts so many calls of a tool, and awaits them all.
#[toolcell::tool]
async fn call(tool: String, times: usize) -> String {
    let calls = (0..times).map(|_| toolcell::tools::call(tool.as_str(), &json!({})));
    let answers = toolcell::join_all(calls).await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    format!("{} answers, {failed} failures", answers.len() - failed)
}

toolcell::plugin!(allocate, borrow, print, answer, call);
