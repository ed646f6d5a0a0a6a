//! Whole packages in TypeScript, with the types taken off by us and by TypeScript's own compiler: what is
//! left must be the same program. `cargo xtask test` installs the compiler and the packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::*;

/// The folder of what is installed, from `cargo xtask test`.
const INSTALLED: &str = "TOOLCELL_INSTALLED";

/// What `oracle.mjs` prints.
fn node(task: &str, place: &Path) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle.mjs");
    let typescript = installed().join("clients/tsc/node_modules/typescript");
    let ran = Command::new("node").arg(program).arg(typescript).arg(task).arg(place).output();
    let ran = ran.expect("node can be started");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("it prints text")
}

fn installed() -> PathBuf {
    std::env::var_os(INSTALLED).expect("run by `cargo xtask test`").into()
}

/// The types off, and nothing else.
fn stripped(source: &str) -> Result<String, String> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, SourceType::ts().with_module(true)).parse();
    let mut stripper = Stripper::new(source);
    stripper.visit_program(&parsed.program);
    if let Some(refusal) = stripper.refusals.first() {
        return Err(refusal.message.clone());
    }
    if let Some(first) = parsed.diagnostics.iter().next() {
        return Err(first.message.to_string());
    }
    stripper.close();
    Ok(stripper.edits.apply(source).0)
}

#[test]
fn whole_packages_are_the_same_program_as_with_typescripts_own_compiler() {
    let sources = node("sources", &installed());
    let mut cases: Vec<Value> = serde_json::from_str(&sources).expect("it prints JSON");
    assert!(cases.len() > 500, "{} sources are installed", cases.len());
    for case in &mut cases {
        match stripped(case["source"].as_str().expect("a text")) {
            Ok(stripped) => case["stripped"] = stripped.into(),
            Err(refused) => case["refused"] = refused.into(),
        }
    }
    let input = std::env::temp_dir().join(format!("toolcell-oracle-{}.json", std::process::id()));
    let count = cases.len();
    fs::write(&input, Value::from(cases).to_string()).expect("the sources can be written");
    let differ = node("compare", &input);
    fs::remove_file(&input).expect("it was written");
    assert!(differ.is_empty(), "{} of {count} differ:\n{differ}", differ.lines().count());
}
