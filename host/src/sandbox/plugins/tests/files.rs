//! What files people hand over, and what they are told.

use super::guests::{Guest, encode, typed, with_wit};
use super::*;
use crate::sandbox::plugins::PluginKind;

#[tokio::test]
async fn what_is_no_webassembly_is_named() {
    let host = Host::new();
    for (file, words) in [
        (&b""[..], "the file is empty"),
        (b"\x7fELF\x02\x01\x01", "a program for Linux"),
        (b"PK\x03\x04", "an archive"),
        (b"  (component)", "wasm-tools parse"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"{\"schemaVersion\": 2}", "a manifest"),
        (b"def f(x): ...", "a text"),
        (b"\0as", "a text"),
        (b"\xff\xfe\x00\x01", "other bytes"),
    ] {
        let refused = host.refused(file).await;
        assert!(
            refused.starts_with("it is not WebAssembly") && refused.contains(words),
            "{refused}"
        );
    }
    assert!(host.refused(b"\0asm\x09\0\0\0").await.contains("the version in its header"));
}

#[tokio::test]
async fn a_file_that_breaks_off_is_refused_wherever_it_breaks() {
    let host = Host::new();
    let whole = Guest::default().component();
    for length in [5, 9, 100, whole.len() / 2, whole.len() - 1] {
        let refused = host.refused(&whole[..length]).await;
        assert!(refused.contains("damaged") || refused.contains("tools"), "{length}: {refused}");
    }
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    // A changed byte may hit a text; but nothing panics.
    let _ = host.load(&flipped).await;
}

#[tokio::test]
async fn a_large_file_is_not_even_read() {
    let host = Host::new();
    let large = vec![0; (64 << 20) + 1];
    let refused = host.refused(&large).await;
    assert!(refused.starts_with("it has 67108865 bytes; a plugin may have 67108864"), "{refused}");
}

#[tokio::test]
async fn a_core_module_is_taken_only_with_our_wit() {
    let host = Host::new();
    let refused = host.refused(&Guest::default().core()).await;
    assert!(refused.contains("core module") && refused.contains("wasm32-wasip2"), "{refused}");

    let plugin = host.loaded(&Guest::default().module()).await;
    assert_eq!(plugin.inspection().kind, PluginKind::Toolcell);
    assert_eq!(plugin.inspection().wit.as_deref(), Some("0.1.0"));
    let output = answered(call(&plugin, "echo", r#"{"a":1}"#).await);
    assert_eq!(output.first_text(), r#"{"a":1}"#);
}

#[tokio::test]
async fn a_module_whose_wit_is_rubbish_is_refused() {
    let host = Host::new();
    let mut core = Guest::default().core();
    let mut section = b"\x0ecomponent-type".to_vec();
    section.extend([0xde; 40]);
    core.push(0);
    core.push(section.len() as u8);
    core.extend(section);
    let refused = host.refused(&core).await;
    assert!(refused.contains("cannot be made a component"), "{refused}");
}

#[tokio::test]
async fn patches_of_the_wit_go_together_and_newer_minor_versions_do_not() {
    let host = Host::new();
    let guest = |version: &str| {
        let text = Guest::default().core();
        let (from, to) = ("0.1.0".to_owned(), version.to_owned());
        // The names of the exports lie in the core module.
        let mut core = text;
        let name = b"toolcell:guest/plugin@0.1.0#";
        for at in 0..core.len() - name.len() {
            if core[at..].starts_with(name) {
                core[at + name.len() - 6..][..5].copy_from_slice(to.as_bytes());
            }
        }
        encode(&with_wit(core, move |wit| {
            wit.replace(&format!("guest@{from}"), &format!("guest@{to}"))
        }))
    };
    let plugin = host.loaded(&guest("0.1.9")).await;
    assert_eq!(plugin.inspection().wit.as_deref(), Some("0.1.9"));
    assert_eq!(answered(call(&plugin, "echo", "{}").await).first_text(), "{}");
    assert_eq!(
        host.refused(&guest("0.9.0")).await,
        "it was built for toolcell:guest 0.9.0, this toolcell offers 0.1.0; update toolcell"
    );
}

#[tokio::test]
async fn imports_that_nobody_offers_are_all_named_with_what_to_do() {
    let host = Host::new();
    let refused = host
        .refused(&typed(
            r#"(component
                (import "wasi:http/types@0.2.0" (instance))
                (import "acme:db/sql@1.0.0" (instance))
                (import "wasi:cli/environment@0.2.0" (instance))
                (core module $m (func (export "f") (result i32) (i32.const 1)))
                (core instance $i (instantiate $m))
                (func (export "f") (result u32) (canon lift (core func $i "f"))))"#,
        ))
        .await;
    assert!(refused.contains("`wasi:http/types@0.2.0`, but a plugin has no network"), "{refused}");
    assert!(refused.contains("`acme:db/sql@1.0.0`"), "{refused}");
    assert!(!refused.contains("wasi:cli"), "{refused}");

    let ours = r#"(component
        (import "toolcell:guest/tools@0.1.0" (instance))
        (core module $m (func (export "f") (result i32) (i32.const 1)))
        (core instance $i (instantiate $m))
        (func (export "f") (result u32) (canon lift (core func $i "f"))))"#;
    let refused = host.refused(&typed(ours)).await;
    assert!(refused.contains("export `toolcell:guest/plugin`"), "{refused}");
}

#[tokio::test]
async fn programs_of_another_kind_are_told_what_they_are() {
    let host = Host::new();
    let exporting = |name: &str, function: &str| {
        typed(&format!(
            r#"(component
                (core module $m (func (export "f") (result i32) (i32.const 0)))
                (core instance $i (instantiate $m))
                (func $f (result u32) (canon lift (core func $i "f")))
                (instance (export "{name}") (export "{function}" (func $f))))"#
        ))
    };
    let refused = host.refused(&exporting("wasi:cli/run@0.2.0", "run")).await;
    assert!(refused.contains("a command, not a plugin"), "{refused}");
    let refused = host.refused(&exporting("toolcell:guest/script@0.1.0", "run")).await;
    assert!(refused.contains("a language runtime, not a plugin"), "{refused}");
    assert!(host.refused(&typed("(component)")).await.contains("no tools"));
}

#[tokio::test]
async fn compiled_code_is_taken_from_the_cache_and_not_if_somebody_changed_it() {
    let host = Host::new();
    let wasm = Guest::default().component();
    host.loaded(&wasm).await;
    let folder = host.folder.path().join("cache");
    let compiled = || {
        let folders = std::fs::read_dir(&folder).expect("is there").flatten();
        let plugins = folders.map(|entry| entry.path()).filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("plugin-"))
        });
        let files = plugins.flat_map(|path| std::fs::read_dir(path).expect("is there").flatten());
        let mut files = files.map(|entry| entry.path()).collect::<Vec<_>>();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "cwasm"));
        files
    };
    let before = compiled();
    assert_eq!(before.len(), 1);
    let written = std::fs::metadata(&before[0]).and_then(|file| file.modified()).expect("a time");
    host.loaded(&wasm).await;
    let again = std::fs::metadata(&before[0]).and_then(|file| file.modified()).expect("a time");
    assert_eq!(written, again, "it is compiled once");
    let cached = || host.sandbox.cached_runtimes(true).remove(0);
    assert!(cached().id.starts_with("plugin-") && cached().current);
    assert_eq!(cached().sound, Some(true));

    std::fs::write(&before[0], b"somebody else's code").expect("can be written");
    assert_eq!(cached().sound, Some(false));
    let plugin = host.loaded(&wasm).await;
    assert_eq!(answered(call(&plugin, "echo", "{}").await).first_text(), "{}");
}
