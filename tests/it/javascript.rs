//! JavaScript and TypeScript as agents write them, run by the real runtime.

use serde_json::{Value, json};
use toolcell::limits::Limits;
use toolcell::{RunReport, Script};
use toolcell_tests::{Marker, fixtures};

use crate::hosts::{Configured, failure, run, value};

fn typescript(source: &str) -> RunReport {
    run(Script::typescript(source))
}

fn with_server() -> Configured {
    Configured::new(|folder| {
        let log = folder.join("log");
        let server = fixtures::misbehaving("ok").marked(&Marker::new());
        server.env("MISBEHAVING_LOG", log.to_str().expect("UTF-8")).toml("fake")
    })
}

#[test]
fn an_expression_has_a_value() {
    assert_eq!(value(&run(Script::javascript("[1 + 1, `a${1}`]"))), json!([2, "a1"]));
}

#[test]
fn the_value_is_the_last_expression_the_default_export_or_result() {
    for (source, wanted) in [
        ("const a: number = 20;\na * 2 + (inputs as any)", json!(42)),
        ("const b = await Promise.resolve([1, null]);\nb", json!([1, null])),
        ("export default { c: new Map([['d', new Set([1])]]) }", json!({ "c": { "d": [1] } })),
        ("const result: string = 'e'; if (result) { }", json!("e")),
        ("async function main() { return 'f' }\nmain()", json!("f")),
        ("let g = 1", Value::Null),
        (
            "const seen = []; setTimeout(() => { seen.push(1) }, 5); result = seen; for (;;) break",
            json!([1]),
        ),
    ] {
        let script = Script::typescript(source).input(json!(2));
        assert_eq!(value(&run(script)), wanted, "{source}");
    }
}

#[test]
fn calls_run_side_by_side_and_their_errors_have_the_authors_line() {
    let host = with_server();
    let report = host.run(Script::typescript(
        "import { fake } from 'tools'\n\
         const [a, b] = await Promise.all([fake.add({ a: 1, b: 2 }), tools['fake']['add']({ a: 3, b: 4 })])\n\
         console.log('sum', a);\n\
         [a, b, 'add' in fake, typeof fake.add]",
    ));
    assert!(report.ok, "{:#?}", report.error);
    assert_eq!(report.stdout.lines().count(), 1);

    let report = host.run(Script::typescript(
        "interface A { b: string }\nconst f = (x: A): Promise<unknown> =>\n  tools.fake.nothing(x)\nawait f({ b: 'c' })",
    ));
    let (kind, message, traceback) = failure(&report);
    assert_eq!(kind, "tool.unknown-tool");
    assert!(message.contains("nothing"), "{message}");
    assert!(traceback.contains("script.ts:3:"), "{traceback}");
}

#[test]
fn failures_show_the_authors_lines_and_none_of_ours() {
    let source = "type T = { a: string }\nfunction f(x: T | null) {\n  return x!.a\n}\nf(null)";
    let report = typescript(source);
    let (kind, _, traceback) = failure(&report);
    assert_eq!(kind, "exception");
    assert!(traceback.contains("at f (script.ts:3:"), "{traceback}");
    assert!(traceback.contains("3 |   return x!.a"), "{traceback}");
    assert!(!traceback.contains("toolcell:"), "{traceback}");

    for (source, words) in [
        ("let a = ;", "script.ts:1:9"),
        ("enum Color { Red }", "as const"),
        ("import fs from 'node:fs'", "no files"),
    ] {
        let report = typescript(source);
        let (kind, message, traceback) = failure(&report);
        assert_eq!(kind, "syntax", "{source}");
        assert!(format!("{message}{traceback}").contains(words), "{message}\n{traceback}");
    }
    for (source, words) in [
        ("fetch('https://example.com')", "call a tool"),
        ("await new Promise(() => {})", "deadlock"),
        ("Promise.reject(new Error('left'));\n1", "left"),
        (
            "throw new Error('outer', { cause: new TypeError('inner') })",
            "Caused by: TypeError: inner",
        ),
    ] {
        let report = typescript(source);
        let (_, message, traceback) = failure(&report);
        assert!(format!("{message}{traceback}").contains(words), "{message}\n{traceback}");
    }
}

#[test]
fn a_value_that_is_no_json_is_refused_in_words() {
    for (source, words) in
        [("1n", "BigInt"), ("const a: any = {}; a.a = a; a", "circular"), ("() => 1", "function")]
    {
        let report = typescript(source);
        let (kind, message, _) = failure(&report);
        assert_eq!(kind, "value", "{source}: {message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn attacks_end_at_their_limits() {
    let limits = Limits { fuel: 2_000_000_000, memory_bytes: 64 << 20, ..Limits::default() };
    let nested = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    for (source, wanted) in [
        ("console.log('before'); for (;;) {}", "limit.fuel"),
        ("for (;;) { await null }", "limit.fuel"),
        ("const a = []; for (;;) a.push(new Uint8Array(1 << 20))", "limit.memory"),
        ("const f = () => f(); f()", "limit.stack"),
        ("/(a+)+b/.test('a'.repeat(40))", "limit.fuel"),
        (nested.as_str(), "limit.stack"),
        (
            "Error.prepareStackTrace = () => { throw 1 }; Array.prototype.push = null; Map.prototype.get = null; \
          Object.prototype.then = 5; null.x",
            "exception",
        ),
        ("for (;;) console.log('x'.repeat(10000))", "limit.output"),
    ] {
        let report = run(Script::typescript(source).limits(limits.clone()));
        let (kind, ..) = failure(&report);
        assert_eq!(kind, wanted, "{}: {:#?}", &source[..source.len().min(80)], report.error);
    }
}

#[test]
fn time_and_chance_are_the_runs() {
    let source = "[Math.random(), crypto.randomUUID(), Date.now(), new Date().getFullYear()]";
    let (one, other) = (value(&typescript(source)), value(&typescript(source)));
    assert_ne!(one[0], other[0], "chance is not that of the snapshot");
    assert_ne!(one[1], other[1]);
    assert!(one[3].as_u64() > Some(2024), "{one}");
    let seeded = || value(&run(Script::typescript(source).seed(7)));
    assert_eq!(seeded(), seeded());
}

#[test]
fn a_session_keeps_what_was_declared() {
    let host = Configured::new(|_| String::new());
    let cell = |source: &str| host.run(Script::typescript(source).session("a"));
    value(&cell("const x: number = 1; let y = 2; class C { z = 3 }\nfunction f() { return x }"));
    assert_eq!(value(&cell("[x, y, new C().z, f()]")), json!([1, 2, 3, 1]));
    assert_eq!(value(&cell("const x = 5; f()")), json!(5));
    assert_eq!(value(&cell("setInterval(() => { y = 0 }, 1); y")), json!(2));
    let report = cell("null.x");
    assert!(failure(&report).2.contains("cell 5:1:"), "{:#?}", report.error);
    assert_eq!(value(&cell("x")), json!(5));
}

/// FNV-1a, as `cargo xtask js-runtime` computes it.
fn hash(root: &std::path::Path, path: &std::path::Path, hash: &mut u64) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("a folder");
        let mut inside: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        inside.sort();
        return inside.iter().for_each(|path| self::hash(root, path, hash));
    }
    let name = path.strip_prefix(root).expect("in the tree").to_str().expect("UTF-8");
    let bytes = std::fs::read(path).expect("a file");
    for byte in name.as_bytes().iter().chain(&bytes) {
        *hash = (*hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

#[test]
fn the_built_guest_is_not_older_than_its_sources() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root");
    let mut made = 0xcbf2_9ce4_8422_2325;
    for source in [
        "guest-sdk/wit",
        "plugins/js-runtime/Cargo.lock",
        "plugins/js-runtime/Cargo.toml",
        "plugins/js-runtime/build.rs",
        "plugins/js-runtime/prepare",
        "plugins/js-runtime/src",
        "plugins/js-runtime/wit",
    ] {
        hash(root, &root.join(source), &mut made);
    }
    let built = std::fs::read_to_string(root.join("plugins/js-runtime/js-runtime.sources"));
    let built = built.expect("the guest is built");
    assert_eq!(
        built.trim(),
        format!("{made:016x}"),
        "run `cargo xtask js-runtime` and commit what it built"
    );
}
