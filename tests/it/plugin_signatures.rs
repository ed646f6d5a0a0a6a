//! Who signed a plugin: our signatures by the real cosign, and cosign's by us.

use toolcell::plugins::registry::{About, Package, PullOptions, Registry, RegistryError};
use toolcell::plugins::signature::{PublicKey, SigningKey, sign_blob, verify_blob, verify_kept};
use toolcell_tests::registry::{Cosign, RealRegistry};

use crate::hosts::block_on;
use crate::plugin_registry::{COMPONENT, named, package, pushed};

/// A new pair of keys, and the PEM of the private one.
fn keys() -> (SigningKey, PublicKey, String) {
    let (key, pem) = SigningKey::generate().expect("there is randomness");
    let public = key.public();
    (key, public, pem)
}

fn sign(name: &str, digest: &str, key: &SigningKey) {
    block_on(Registry::default().sign(&named(name), digest, key)).expect("the registry takes it");
}

fn pull(name: &str, key: &PublicKey) -> Result<(), RegistryError> {
    let options = PullOptions { signed_by: Some(key), ..PullOptions::default() };
    let pulled = block_on(async { Registry::default().pull(&named(name), &options).await })?;
    // What is kept of it says the same again, of this component and this key alone.
    let kept = pulled.signature.expect("the signature that was asked for");
    verify_kept(key, &pulled.wasm, &kept).expect("it was verified");
    verify_kept(key, b"\0asm\x01\0\0\0", &kept).expect_err("another component");
    verify_kept(&keys().1, &pulled.wasm, &kept).expect_err("another key");
    Ok(())
}

#[track_caller]
fn refused(name: &str, key: &PublicKey, expected: &str) {
    let error = pull(name, key).expect_err(expected).to_string();
    assert!(error.contains(expected), "{expected}: {error}");
}

#[test]
fn a_signed_plugin_is_taken_with_its_key_only() {
    let Some(registry) = RealRegistry::open() else { return };
    let name = format!("oci://{}/ada/research:1", registry.host());
    let ((key, public, _), (_, other, _)) = (keys(), keys());
    let digest = pushed(&name);
    refused(&name, &public, "it is not signed");
    sign(&name, &digest, &key);
    pull(&name, &public).expect("it is signed");
    refused(&name, &other, "none of its 2 signatures is by the key");

    // A second author signs beside the first.
    let (second, second_public, _) = keys();
    sign(&name, &digest, &second);
    pull(&name, &public).expect("it is signed");
    pull(&name, &second_public).expect("it is signed");
    refused(&name, &other, "none of its 4 signatures is by the key");
}

#[test]
fn a_signature_of_something_else_is_worth_nothing() {
    let Some(registry) = RealRegistry::open() else { return };
    let (key, public, _) = keys();
    let name = |tag: &str| format!("oci://{}/ada/research:{tag}", registry.host());
    let first = pushed(&name("1"));
    sign(&name("1"), &first, &key);
    let about = About { version: Some("2.0.0".into()), ..About::default() };
    let package = Package { about, ..package() };
    let second = block_on(Registry::default().push(&named(&name("2")), &package));
    let second = second.expect("the registry takes it").digest;
    // The registry hangs the signature of one version beside another.
    let tags = "docker/registry/v2/repositories/ada/research/_manifests/tags";
    let tags = registry.storage().join(tags);
    for end in [".sig", ""] {
        let tag = |digest: &str| tags.join(format!("{}{end}", digest.replace(':', "-")));
        std::fs::rename(tag(&first), tag(&second)).expect("the registry's storage is ours");
        refused(&name("2"), &public, "signed something else");
    }
    refused(&name("1"), &public, "it is not signed");
}

/// Signs as both versions of cosign do without the public services, and gives the public key.
fn signed_by_cosign(cosign: &Cosign, version: u8, name: &str) -> PublicKey {
    cosign.must(&["generate-key-pair"]);
    let plain = ["sign", "--tlog-upload=false", "--key", "cosign.key", name];
    let alone = ["sign", "--signing-config", "none.json", "--key", "cosign.key", name];
    if version == 3 {
        cosign.must(&["signing-config", "create", "--out", "none.json"]);
    }
    cosign.must(if version == 2 { &plain } else { &alone });
    let pem = std::fs::read_to_string(cosign.folder().join("cosign.pub")).expect("it is there");
    PublicKey::from_pem(&pem).expect("a key as cosign writes it")
}

#[test]
fn what_cosign_signs_is_verified() {
    for version in [2, 3] {
        let (Some(registry), Some(cosign)) = (RealRegistry::open(), Cosign::version(version))
        else {
            return;
        };
        let name = format!("{}/ada/research", registry.host());
        let tagged = format!("oci://{name}:1");
        let digest = pushed(&tagged);
        let key = signed_by_cosign(&cosign, version, &format!("{name}@{digest}"));
        pull(&tagged, &key).unwrap_or_else(|error| panic!("cosign {version}: {error}"));
        refused(&tagged, &keys().1, "none of its 1 signatures is by the key");
    }
}

#[test]
fn cosign_verifies_what_is_signed_here() {
    let Some(registry) = RealRegistry::open() else { return };
    let (key, public, _) = keys();
    let name = format!("{}/ada/research:1", registry.host());
    let tagged = format!("oci://{name}");
    sign(&tagged, &pushed(&tagged), &key);
    for version in [2, 3] {
        let Some(cosign) = Cosign::version(version) else { return };
        let file = cosign.folder().join("mine.pub");
        std::fs::write(file, public.to_pem()).expect("a file can be written");
        cosign.must(&["verify", "--insecure-ignore-tlog", "--key", "mine.pub", &name]);
        // And with a key of its own it is not taken.
        cosign.must(&["generate-key-pair"]);
        let (taken, _) =
            cosign.run(&["verify", "--insecure-ignore-tlog", "--key", "cosign.pub", &name]);
        assert!(!taken);
    }
}

#[test]
fn a_file_is_signed_and_verified_like_with_cosign() {
    let Some(cosign) = Cosign::version(3) else { return };
    let (key, public, pem) = keys();
    let check = |signature: &str| {
        assert_eq!(verify_blob(&public, COMPONENT, signature), Ok(()), "{signature}");
        assert!(verify_blob(&keys().1, COMPONENT, signature).is_err(), "{signature}");
        assert!(verify_blob(&public, b"something else", signature).is_err(), "{signature}");
    };
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(cosign.folder().join(name), bytes).expect("a file can be written");
    };
    write("mine.pub", public.to_pem().as_bytes());
    write("a.wasm", COMPONENT);
    write("a.sig", sign_blob(&key, COMPONENT).expect("there is randomness").as_bytes());
    check(&std::fs::read_to_string(cosign.folder().join("a.sig")).expect("it is there"));

    // The key is one that cosign takes over, too.
    write("mine.key", pem.as_bytes());
    cosign.must(&["import-key-pair", "--key", "mine.key", "--output-key-prefix", "taken"]);
    cosign.must(&["signing-config", "create", "--out", "none.json"]);
    let arguments = ["sign-blob", "--signing-config", "none.json", "--key", "taken.key"];
    cosign.must(&[&arguments[..], &["--bundle", "b.json", "a.wasm"]].concat());
    let bundle = std::fs::read_to_string(cosign.folder().join("b.json")).expect("it is there");
    check(&bundle);

    // Its older versions write the signature alone.
    let Some(cosign) = Cosign::version(2) else { return };
    cosign.must(&["generate-key-pair"]);
    std::fs::write(cosign.folder().join("a.wasm"), COMPONENT).expect("a file can be written");
    let arguments = ["sign-blob", "--tlog-upload=false", "--key", "cosign.key"];
    cosign.must(&[&arguments[..], &["--output-signature", "b.sig", "a.wasm"]].concat());
    let read = |name: &str| std::fs::read_to_string(cosign.folder().join(name)).expect("a text");
    let public = PublicKey::from_pem(&read("cosign.pub")).expect("a key as cosign writes it");
    assert_eq!(verify_blob(&public, COMPONENT, &read("b.sig")), Ok(()));

    // And verify ours.
    let (key, public, _) = keys();
    let signature = sign_blob(&key, COMPONENT).expect("there is randomness");
    std::fs::write(cosign.folder().join("a.sig"), signature).expect("a file can be written");
    let file = cosign.folder().join("mine.pub");
    std::fs::write(file, public.to_pem()).expect("a file can be written");
    let arguments = ["verify-blob", "--insecure-ignore-tlog", "--key", "mine.pub"];
    cosign.must(&[&arguments[..], &["--signature", "a.sig", "a.wasm"]].concat());
}
