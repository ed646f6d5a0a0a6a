//! Plugins in OCI registries: a real one, and one that lies.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use toolcell::plugins::registry::{
    About, Credentials, Deadlines, MANIFEST_ANNOTATION, Package, PluginReference, PullOptions,
    Pulled, Registry, RegistryError, digest_of,
};
use toolcell_tests::TlsEnd;
use toolcell_tests::registry::{Body, Cosign, Lie, LyingRegistry, RealRegistry};

use crate::hosts::block_on;

/// The smallest component.
pub(crate) const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

const MANIFEST: &str = "name = \"research\"\nversion = \"1.2.3\"\n\
    [asks]\ntools = [\"search.*\"]\n";

/// As its author publishes it.
pub(crate) fn package() -> Package<'static> {
    let about = About {
        title: Some("research".into()),
        version: Some("1.2.3".into()),
        description: Some("Looks things up".into()),
        source: None,
    };
    Package { wasm: COMPONENT, manifest: Some(MANIFEST), about }
}

pub(crate) fn named(text: &str) -> PluginReference {
    text.parse().expect("a reference")
}

/// Pushes it, and gives its digest.
#[track_caller]
pub(crate) fn pushed(name: &str) -> String {
    let pushed = block_on(Registry::default().push(&named(name), &package()));
    pushed.expect("the registry takes it").digest
}

fn pull_as(registry: &Registry, name: &str) -> Result<Pulled, RegistryError> {
    block_on(async { registry.pull(&named(name), &PullOptions::default()).await })
}

#[track_caller]
fn refused<T: Debug>(result: Result<T, RegistryError>, expected: &str) {
    let error = result.expect_err(expected).to_string();
    assert!(error.contains(expected), "{expected}: {error}");
    assert!(!error.contains("s3cret") && !error.contains("wr0ng"), "{error}");
}

#[test]
fn a_plugin_goes_to_a_registry_and_comes_back() {
    let Some(registry) = RealRegistry::open() else { return };
    let name = format!("oci://{}/ada/research", registry.host());
    let tagged = format!("{name}:1.2.3");
    let digest = pushed(&tagged);
    assert_eq!(pushed(&tagged), digest, "the same plugin has the same digest");

    let anybody = Registry::default();
    let pulled = pull_as(&anybody, &tagged).expect("it is there");
    assert_eq!((pulled.wasm.as_slice(), pulled.manifest.as_deref()), (COMPONENT, Some(MANIFEST)));
    assert_eq!((&pulled.digest, &pulled.about), (&digest, &package().about));
    let pinned = named(&tagged).pinned(&digest);
    assert_eq!(pull_as(&anybody, &pinned.to_string()).expect("it is there").digest, digest);
    assert_eq!(block_on(anybody.resolve(&named(&tagged))).expect("it is there"), digest);

    refused(pull_as(&anybody, &format!("{name}:2.0.0")), "is not there");
    let other = format!("{name}@sha256:{}", "0".repeat(64));
    refused(pull_as(&anybody, &other), "is not there");
    refused(block_on(anybody.push(&named(&other), &package())), "push to a tag");
    let text = Package { wasm: b"#!/bin/sh", ..package() };
    refused(block_on(anybody.push(&named(&tagged), &text)), "not WebAssembly");
}

#[test]
fn the_layout_is_that_of_other_clients() {
    let Some(registry) = RealRegistry::open() else { return };
    let digest = pushed(&format!("oci://{}/ada/research:1", registry.host()));
    let url = format!("http://{}/v2/ada/research/manifests/1", registry.host());
    let text = block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let accept = "application/vnd.oci.image.manifest.v1+json";
        let answer = client.get(url).header("accept", accept).send().await.expect("an answer");
        answer.text().await.expect("a text")
    });
    assert_eq!(digest_of(text.as_bytes()), digest);
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    // What oci-wasm, which is in wkg and Wassette, insists on.
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 1);
    assert_eq!(layers[0]["mediaType"], "application/wasm");
    assert_eq!(layers[0]["digest"], *digest_of(COMPONENT));
    let annotations = &manifest["annotations"];
    assert_eq!(annotations["org.opencontainers.image.version"], "1.2.3");
    assert_eq!(annotations[MANIFEST_ANNOTATION], MANIFEST);
}

#[test]
fn a_component_that_another_client_pushed_comes_without_a_manifest() {
    let (Some(registry), Some(cosign)) = (RealRegistry::open(), Cosign::version(2)) else {
        return;
    };
    std::fs::write(cosign.folder().join("a.wasm"), COMPONENT).expect("a file can be written");
    let name = format!("{}/ada/plain:1", registry.host());
    cosign.must(&["upload", "wasm", "-f", "a.wasm", &name]);
    let pulled = pull_as(&Registry::default(), &format!("oci://{name}")).expect("it is there");
    assert_eq!((pulled.wasm.as_slice(), pulled.manifest), (COMPONENT, None));
}

#[test]
fn a_login_is_used_and_never_shown() {
    let Some(registry) = RealRegistry::with_login() else { return };
    let name = format!("oci://{}/ada/research:1", registry.host());
    let (anybody, push) = (Registry::default(), package());
    refused(block_on(anybody.push(&named(&name), &push)), "wants a login");
    refused(pull_as(&anybody, &name), "docker login");

    // ada:s3cret and ada:wr0ng, in Base64.
    let login = |auth: &str| {
        let auths = json!({ "auths": { (registry.host()): { "auth": auth } } }).to_string();
        let lookup = |name: &str| (name == "DOCKER_AUTH_CONFIG").then(|| auths.clone());
        let credentials = block_on(Credentials::find(&registry.host(), &lookup));
        Registry { credentials: credentials.expect("it can be read"), ..Registry::default() }
    };
    let (ada, mistaken) = (login("YWRhOnMzY3JldA=="), login("YWRhOndyMG5n"));
    refused(pull_as(&mistaken, &name), "does not let these credentials");
    refused(block_on(mistaken.push(&named(&name), &push)), "does not let these credentials");
    assert!(!format!("{ada:?}").contains("s3cret"));
    block_on(ada.push(&named(&name), &push)).expect("ada may");
    pull_as(&ada, &name).expect("ada may");
}

#[test]
fn tls_is_spoken_where_the_registry_does() {
    let Some(registry) = RealRegistry::open() else { return };
    let tls = TlsEnd::before(registry.address());
    let name = format!("oci://localhost:{}/ada/research:1", tls.address().port());
    // An authority that nobody here trusts: it is not tried without TLS, then.
    refused(pull_as(&Registry::default(), &name), "invalid peer certificate");
}

/// An OCI manifest of a component with this size and digest.
fn manifest_of(size: u64, digest: &str) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.wasm.config.v0+json",
            "digest": digest_of(b"{}"),
            "size": 2,
        },
        "layers": [{ "mediaType": "application/wasm", "digest": digest, "size": size }],
    })
    .to_string()
}

/// A registry that has `x/p:1`, and says this for its layer.
pub(crate) fn with_layer(size: u64, layer: Lie) -> LyingRegistry {
    let digest = digest_of(COMPONENT);
    LyingRegistry::new([
        ("x/p/manifests/1".to_owned(), Lie::honest(manifest_of(size, &digest))),
        (format!("x/p/blobs/{digest}"), layer),
    ])
}

/// One that says this for its manifest.
fn with_manifest(manifest: Lie) -> LyingRegistry {
    LyingRegistry::new([("x/p/manifests/1".to_owned(), manifest)])
}

fn pull(registry: &LyingRegistry, options: &PullOptions<'_>) -> Result<Vec<u8>, RegistryError> {
    let reference = format!("oci://{}/x/p:1", registry.host()).parse().expect("a reference");
    let client = Registry::default();
    block_on(async { client.pull(&reference, options).await.map(|pulled| pulled.wasm) })
}

#[track_caller]
fn caught(registry: &LyingRegistry, expected: &str) {
    let error = pull(registry, &PullOptions::default()).expect_err("a lie").to_string();
    assert!(error.contains(expected), "{expected}: {error}");
}

pub(crate) const SIZE: u64 = COMPONENT.len() as u64;

#[test]
fn an_honest_answer_is_taken() {
    let registry = with_layer(SIZE, Lie::honest(COMPONENT));
    assert_eq!(pull(&registry, &PullOptions::default()).expect("no lie"), COMPONENT);
    let locked = format!("sha256:{}", "1".repeat(64));
    let options = PullOptions { locked: Some(&locked), ..PullOptions::default() };
    let error = pull(&registry, &options).expect_err("another digest").to_string();
    assert!(error.contains("was replaced") && error.contains(&locked), "{error}");
    let small = PullOptions { max_wasm_bytes: Some(4), ..PullOptions::default() };
    let error = pull(&registry, &small).expect_err("too large").to_string();
    assert!(error.contains("larger than 4 bytes"), "{error}");
}

#[test]
fn lies_about_a_component_are_told_apart() {
    let lie = |length: Option<u64>, body: Body| Lie { length, body, ..Lie::status(200) };
    let bytes = |bytes: &[u8]| Body::Bytes(bytes.to_vec());
    caught(&with_layer(SIZE, lie(Some(SIZE), bytes(&COMPONENT[..5]))), "cut off after 5 of 8");
    caught(&with_layer(SIZE, lie(None, bytes(&COMPONENT[..5]))), "cut off after 5 of 8");
    caught(&with_layer(SIZE, Lie::honest(*b"\0asm\x01\0\0\0")), "is not what its digest says");
    caught(&with_layer(SIZE, Lie::status(404)), "has the plugin's OCI manifest and not its layer");
    caught(&with_layer(SIZE, lie(None, Body::Endless)), "more bytes come than were announced");
    caught(&with_layer(1 << 40, Lie::honest(COMPONENT)), "larger than 67108864 bytes");
    caught(&with_layer(SIZE, Lie::status(500)), "HTTP status 500");
    caught(&with_layer(SIZE, Lie::status(401)), "wants a login");

    // Before anything of the layer is asked for.
    let huge = with_layer(1 << 40, Lie::honest(COMPONENT));
    caught(&huge, "larger");
    assert!(huge.requests().iter().all(|head| !head.contains("/blobs/")));
}

#[test]
fn what_is_no_plugin_is_named() {
    let image = manifest_of(SIZE, &digest_of(COMPONENT))
        .replace("application/wasm", "application/vnd.oci.image.layer.v1.tar+gzip");
    caught(&with_manifest(Lie::honest(image)), "it is a container image");
    let index = r#"{"schemaVersion": 2, "manifests": []}"#;
    caught(&with_manifest(Lie::honest(index)), "an index of images for several platforms");
    let first = r#"{"schemaVersion": 1, "layers": []}"#;
    caught(&with_manifest(Lie::honest(first)), "Docker's first format");
    let other = manifest_of(SIZE, &digest_of(COMPONENT)).replace("application/wasm", "text/plain");
    caught(&with_manifest(Lie::honest(other)), "its layers are of text/plain");
    let path = manifest_of(SIZE, "sha256:../../../etc/passwd");
    caught(&with_manifest(Lie::honest(path)), "not a sha256 of 64 hexadecimal digits");
    caught(&with_manifest(Lie::honest("<html>")), "no JSON object of that kind");
    let deep = format!("{{\"schemaVersion\": 2, \"layers\": {}", "[".repeat(100_000));
    caught(&with_manifest(Lie::honest(deep)), "no JSON object of that kind");
    let endless = Lie { length: None, body: Body::Endless, ..Lie::status(200) };
    caught(&with_manifest(endless), "the OCI manifest of");
    let wrong = Lie::honest(manifest_of(SIZE, &digest_of(COMPONENT)));
    let wrong = wrong.header("docker-content-digest", digest_of(b"something else"));
    caught(&with_manifest(wrong), "is not what its digest says");
}

#[test]
fn redirects_are_followed_with_open_eyes() {
    let digest = digest_of(COMPONENT);
    let to = |url: &str| with_layer(SIZE, Lie::status(307).header("location", url));
    caught(&to("file:///etc/passwd"), "only http and https are spoken");
    caught(&to("http://["), "redirects to something that is no URL");
    let circle = to(&format!("/v2/x/p/blobs/{digest}"));
    caught(&circle, "redirects more than 3 times");

    let storage = LyingRegistry::new([("/storage".to_owned(), Lie::honest(COMPONENT))]);
    let registry = to(&format!("http://{}/storage", storage.host()));
    assert_eq!(pull(&registry, &PullOptions::default()).expect("no lie"), COMPONENT);
}

#[test]
fn a_registry_that_falls_silent_is_left() {
    let silent = Lie { length: Some(SIZE), body: Body::Silence(vec![0]), ..Lie::status(200) };
    let registry = with_layer(SIZE, silent);
    let reference = format!("oci://{}/x/p:1", registry.host()).parse().expect("a reference");
    let silence = Duration::from_millis(300);
    let client = Registry {
        deadlines: Deadlines { silence, ..Deadlines::default() },
        ..Registry::default()
    };
    let pulled = block_on(async { client.pull(&reference, &PullOptions::default()).await });
    let error = pulled.expect_err("nothing came").to_string();
    assert!(error.contains("said nothing for 0.3 s"), "{error}");
}

#[test]
fn who_cancels_does_not_wait() {
    let silent = Lie { length: Some(SIZE), body: Body::Silence(vec![0]), ..Lie::status(200) };
    let registry = with_layer(SIZE, silent);
    let client = Registry::default();
    let cancel = client.cancel.clone();
    let options = PullOptions {
        // The first byte of the layer has come, and no other will.
        progress: Some(Arc::new(move |_| cancel.cancel())),
        ..PullOptions::default()
    };
    let reference = named(&format!("oci://{}/x/p:1", registry.host()));
    let pulled = block_on(async { client.pull(&reference, &options).await });
    assert!(matches!(pulled, Err(RegistryError::Cancelled)), "{pulled:?}");
}

#[test]
fn a_token_server_elsewhere_gets_no_password() {
    let challenge = "Bearer realm=\"file:///token\",service=\"x\"";
    let asks = Lie::status(401).header("www-authenticate", challenge);
    caught(&with_manifest(asks), "only http and https are spoken");
    let challenge = "Negotiate";
    let asks = Lie::status(401).header("www-authenticate", challenge);
    caught(&with_manifest(asks), "wants a login");
}
