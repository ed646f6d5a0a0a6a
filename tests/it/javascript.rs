//! JavaScript and TypeScript as agents write them, run by the real runtime.

use serde_json::json;
use toolcell::Script;

use crate::hosts::{run, value};

#[test]
fn an_expression_has_a_value() {
    assert_eq!(value(&run(Script::javascript("[1 + 1, `a${1}`]"))), json!([2, "a1"]));
}
