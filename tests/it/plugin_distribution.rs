//! A plugin's way through a registry, as typed: pushed, added, moved, signed, and refused. The libraries
//! below have tests of their own, `plugin_registry` and `plugin_signatures`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use toolcell::plugins::signature::{SigningKey, sign_blob};
use toolcell_tests::guests::guest;
use toolcell_tests::processes::PATIENCE;
use toolcell_tests::registry::{Body, Lie, LyingRegistry, RealRegistry};
use toolcell_tests::{Signal, wait_until};

use crate::plugin_cli::{Home, text};
use crate::plugin_registry::{COMPONENT, SIZE, with_layer};

const SIGNED_BY_AUTHOR: &str = "[plugins.mine]\nsigned_by = \"author.pub\"\n";

fn manifest(name: &str) -> String {
    format!("name = \"{name}\"\nversion = \"0.1.0\"\n")
}

/// Pushes a guest, and says what the command says.
#[track_caller]
fn push(home: &Home, name: &str, of: &str, reference: &str, args: &[&str]) -> Value {
    let file = home.with_manifest(name, of, &manifest(name));
    home.plugin(&[&["push", &file, reference, "--json"], args].concat()).success().json()
}

/// Makes `NAME.key` and `NAME.pub`.
#[track_caller]
fn keygen(home: &Home, name: &str) {
    home.plugin(&["keygen", &text(&home.path(name))]).success();
}

/// All that an installation writes, as it is.
fn installed(home: &Home) -> Vec<(String, Vec<u8>)> {
    let plugins = fs::read_dir(home.path("plugins")).into_iter().flatten().flatten();
    let lock = home.path("toolcell.lock");
    let mut files: Vec<_> = plugins.map(|entry| entry.path()).chain([lock]).collect();
    files.sort();
    let files = files.into_iter().filter_map(|file| Some((text(&file), fs::read(&file).ok()?)));
    files.collect()
}

#[track_caller]
fn refused(home: &Home, args: &[&str], words: &[&str]) {
    let before = installed(home);
    let ended = home.plugin(args);
    assert_ne!(ended.code(), Some(0), "{ended}");
    for words in words {
        assert!(ended.stderr.contains(words), "{words}: {ended}");
    }
    assert_eq!(installed(home), before, "nothing was changed: {ended}");
}

/// `mine` is not loaded, and the list and whoever calls it say why.
#[track_caller]
fn not_loaded(home: &Home, words: &[&str]) {
    let list = home.plugin(&["list"]).expect_code(1);
    let called = home.run(&["call", "mine.echo", "--args", "{}"]);
    assert_ne!(called.code(), Some(0), "{called}");
    for words in words {
        assert!(list.stdout.contains(words), "{words}: {list}");
        assert!(called.stderr.contains(words), "{words}: {called}");
    }
}

#[track_caller]
fn echoes(home: &Home) {
    let called = home.run(&["call", "mine.echo", "--args", r#"{"a":17}"#]).success();
    assert!(called.stdout.contains("17"), "{called}");
}

#[test]
fn what_was_added_from_a_registry_stays_what_it_is_until_the_operator_says_otherwise() {
    let Some(registry) = RealRegistry::open() else { return };
    let home = Home::new("");
    let name = format!("oci://{}/ada/mine", registry.host());
    let tag = format!("{name}:1");
    let first = push(&home, "mine", "echoes", &tag, &[]);
    let added = home.plugin(&["add", &tag, "--json"]).success().json();
    assert_eq!(added["source"], first["reference"], "{added}");
    let lock = home.read("toolcell.lock");
    assert!(lock.contains(first["digest"].as_str().expect("a digest")), "{lock}");
    echoes(&home);

    let before = installed(&home);
    home.plugin(&["add", &tag]).success();
    assert_eq!(installed(&home), before, "the same again is the same");

    // Somebody moves the tag.
    let second = push(&home, "mine", "typed", &tag, &[]);
    let (old, new) = (&first["digest"], &second["digest"]);
    let digests = [old, new].map(|digest| digest.as_str().expect("a digest"));
    refused(&home, &["add", &tag], &[digests[0], digests[1], "was replaced", "--accept"]);
    echoes(&home);
    home.plugin(&["add", &tag, "--accept"]).success();
    home.run(&["call", "mine.greet", "--args", r#"{"name":"you"}"#]).success();

    // A name with a digest means these bytes; what they have beyond the accepted ones is told.
    let pinned = first["reference"].as_str().expect("a reference");
    refused(&home, &["add", pinned], &["+ tool echo", "--accept"]);
    let absent = format!("{name}@sha256:{}", "0".repeat(64));
    refused(&home, &["add", &absent, "--accept"], &["is not there"]);
    refused(&home, &["add", &format!("{name}@sha256:12"), "--accept"], &["sha256"]);
    home.plugin(&["add", pinned, "--accept"]).success();
    echoes(&home);
}

#[test]
fn a_key_pair_is_made_once_and_signs_what_its_owner_pushes() {
    let Some(registry) = RealRegistry::open() else { return };
    let home = Home::new("");
    keygen(&home, "author");
    let mode = fs::metadata(home.path("author.key")).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = home.read("author.key");
    let again = home.plugin(&["keygen", &text(&home.path("author"))]).expect_code(2);
    assert!(again.stderr.contains("cannot be written"), "{again}");
    assert_eq!(home.read("author.key"), key);

    home.write("toolcell.toml", SIGNED_BY_AUTHOR);
    let tag = format!("oci://{}/ada/mine:1", registry.host());
    push(&home, "mine", "echoes", &tag, &[]);
    refused(&home, &["add", &tag], &["it is not signed", "toolcell plugin push --key"]);
    assert!(installed(&home).is_empty(), "not even the folder's first file");
    let private = text(&home.path("author.key"));
    let pushed = push(&home, "mine", "echoes", &tag, &["--key", &private]);
    let added = home.plugin(&["add", &tag, "--json"]).success().json();
    assert_eq!(added["signed_by"], pushed["signed_by"]);
    let signed_by = pushed["signed_by"].as_str().expect("a digest");
    assert!(home.read("toolcell.lock").contains(signed_by));
    echoes(&home);
    // The public half signs nothing, and the private one is no key to check with.
    let public = text(&home.path("author.pub"));
    let file = text(&home.path("mine.wasm"));
    home.plugin(&["push", &file, &tag, "--key", &public]).expect_code(2);
    home.write("toolcell.toml", "[plugins.mine]\nsigned_by = \"author.key\"\n");
    not_loaded(&home, &["this is a private key"]);
}

#[test]
fn a_signature_counts_each_time_a_plugin_is_loaded() {
    let Some(registry) = RealRegistry::open() else { return };
    let home = Home::new(SIGNED_BY_AUTHOR);
    keygen(&home, "author");
    keygen(&home, "other");
    let private = text(&home.path("author.key"));
    for (name, of) in [("mine", "echoes"), ("neighbour", "typed")] {
        let tag = format!("oci://{}/ada/{name}:1", registry.host());
        push(&home, name, of, &tag, &["--key", &private]);
    }
    let tag = format!("oci://{}/ada/mine:1", registry.host());
    home.plugin(&["add", &tag]).success();
    echoes(&home);

    // Another key in the configuration.
    home.write("toolcell.toml", "[plugins.mine]\nsigned_by = \"other.pub\"\n");
    not_loaded(&home, &["plugin `mine` is not signed with", "other.pub", "plugins.mine.signed_by"]);
    refused(&home, &["add", &tag], &["none of its 2 signatures is by the key"]);
    home.write("toolcell.toml", SIGNED_BY_AUTHOR);
    echoes(&home);

    // No signature any more.
    let kept = home.path("plugins/mine.wasm.sig");
    let signature = fs::read(&kept).expect("it is kept");
    fs::remove_file(&kept).expect("can be removed");
    not_loaded(&home, &["has to be signed with", "mine.wasm.sig cannot be read", "add it again"]);
    home.plugin(&["add", &tag]).success();
    assert_eq!(fs::read(&kept).expect("it is there again"), signature);
    echoes(&home);

    // The signature of something else, by the same key.
    let both = format!("{SIGNED_BY_AUTHOR}[plugins.neighbour]\nsigned_by = \"author.pub\"\n");
    home.write("toolcell.toml", &both);
    home.plugin(&["add", &format!("oci://{}/ada/neighbour:1", registry.host())]).success();
    home.run(&["call", "neighbour.greet", "--args", r#"{"name":"you"}"#]).success();
    fs::copy(home.path("plugins/neighbour.wasm.sig"), &kept).expect("can be copied");
    not_loaded(&home, &["signed something else", "where sha256:"]);
    fs::write(&kept, "AAAA").expect("can be written");
    not_loaded(&home, &["none of its 1 signatures is by the key"]);
    fs::write(&kept, &signature).expect("can be written");
    echoes(&home);

    // Whoever can write to the folder changes the component, and the lock to fit it.
    let lock = home.read("toolcell.lock");
    let digest = |name: &str| {
        let seen = home.plugin(&["inspect", name, "--json"]).success().json();
        seen["sha256"].as_str().expect("a digest").to_owned()
    };
    home.write("toolcell.lock", &lock.replace(&digest("mine"), &digest("neighbour")));
    fs::copy(guest("typed"), home.path("plugins/mine.wasm")).expect("can be copied");
    not_loaded(&home, &["signed something else"]);
    home.plugin(&["remove", "mine"]).success();
    assert!(!kept.exists());
}

#[test]
fn a_files_signature_is_kept_with_it() {
    let home = Home::new(SIGNED_BY_AUTHOR);
    keygen(&home, "author");
    let key = SigningKey::from_pem(&home.read("author.key")).expect("what keygen wrote");
    let file = home.with_manifest("mine", "echoes", &manifest("mine"));
    refused(&home, &["add", &file], &["mine.wasm.sig", "cosign sign-blob"]);
    let sign = |of: &str| {
        let bytes = fs::read(guest(of)).expect("a guest can be read");
        sign_blob(&key, &bytes).expect("there is randomness")
    };
    home.write("mine.wasm.sig", &sign("typed"));
    refused(&home, &["add", &file], &["mine.wasm.sig", "is by the key"]);
    home.write("mine.wasm.sig", &sign("echoes"));
    home.plugin(&["add", &file]).success();
    fs::remove_file(home.path("mine.wasm.sig")).expect("can be removed");
    echoes(&home);
    home.plugin(&["list"]).success();
    home.plugin(&["add", "mine"]).success();
    echoes(&home);

    // One that was merely put there needs a signature as well.
    home.plugin(&["remove", "mine"]).success();
    fs::copy(guest("echoes"), home.path("plugins/mine.wasm")).expect("can be copied");
    not_loaded(&home, &["has to be signed with"]);
    home.write("plugins/mine.wasm.sig", &sign("echoes"));
    echoes(&home);
}

#[test]
fn of_a_download_that_does_not_end_well_nothing_stays() {
    let home = Home::new("");
    let add = |registry: &LyingRegistry| format!("oci://{}/x/p:1", registry.host());
    let bytes = |bytes: &[u8]| Body::Bytes(bytes.to_vec());
    let lie = |length: Option<u64>, body: Body| Lie { length, body, ..Lie::status(200) };
    for (layer, words) in [
        (lie(Some(SIZE), bytes(b"\0asm")), "cut off after 4 of 8"),
        (Lie::honest(*b"\0asm\x01\0\0\0"), "is not what its digest says"),
        (lie(None, Body::Endless), "more bytes come than were announced"),
        (Lie::status(500), "HTTP status 500"),
        // It comes as it should, and has no tools.
        (Lie::honest(COMPONENT), "p"),
    ] {
        let registry = with_layer(SIZE, layer);
        refused(&home, &["add", &add(&registry)], &[words]);
        assert!(installed(&home).is_empty());
    }
    // In the middle of it, and after Ctrl-C.
    let silent = with_layer(SIZE, lie(Some(SIZE), Body::Silence(vec![0])));
    let running = home.cli(&["plugin", "add", &add(&silent)]).spawn();
    wait_until(PATIENCE, "the component is asked for", || {
        silent.requests().iter().any(|head| head.contains("/blobs/"))
    });
    assert!(installed(&home).is_empty() && !home.path("plugins").exists());
    running.signal(Signal::Interrupt);
    running.finish(PATIENCE).expect_code(130);
    assert!(installed(&home).is_empty() && !home.path("plugins").exists());
    assert_eq!(home.read("toolcell.toml"), "");
    assert_eq!(json!(home.plugin(&["list", "--json"]).success().json()["plugins"]), json!([]));
}
