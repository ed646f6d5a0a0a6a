use super::*;

const BYTES: &[u8] = b"\0asm\x01\0\0\0";

#[test]
fn what_is_signed_is_verified_by_the_right_key_only() {
    let (key, pem) = SigningKey::generate().expect("there is randomness");
    let (other, _) = SigningKey::generate().expect("there is randomness");
    let signature = sign_blob(&key, BYTES).expect("there is randomness");
    let public = PublicKey::from_pem(&key.public().to_pem()).expect("what we wrote");
    assert_eq!(public, key.public());
    assert_eq!(verify_blob(&public, BYTES, &signature), Ok(()));
    assert_eq!(verify_blob(&public, BYTES, &format!("{signature}\n")), Ok(()));
    let again = SigningKey::from_pem(&pem).expect("what we wrote");
    assert_eq!(again.public(), public);

    let error = verify_blob(&other.public(), BYTES, &signature).expect_err("another key");
    assert!(error.to_string().contains(other.public().fingerprint()), "{error}");
    assert!(verify_blob(&public, b"\0asm\x02\0\0\0", &signature).is_err());
    for garbage in ["", "%%", "{}", "{\"messageSignature\":{\"signature\":\"%\"}}", "AAAA"] {
        assert!(verify_blob(&public, BYTES, garbage).is_err(), "{garbage}");
    }
}

#[test]
fn keys_that_cannot_be_used_are_told_apart() {
    #[track_caller]
    fn check(error: Option<KeyError>, expected: &KeyError) {
        assert_eq!(error.as_ref(), Some(expected));
    }
    let (_, private) = SigningKey::generate().expect("there is randomness");
    check(PublicKey::from_pem(&private).err(), &KeyError::Private);
    let ed25519 = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    check(PublicKey::from_pem(ed25519).err(), &KeyError::OtherKind);
    let words = PublicKey::from_pem("ssh-ed25519 AAAA").expect_err("no PEM").to_string();
    assert!(words.contains("-----BEGIN PUBLIC KEY-----"), "{words}");

    let cosign = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n";
    check(SigningKey::from_pem(cosign).err(), &KeyError::Encrypted);
    let sec1 = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    check(SigningKey::from_pem(sec1).err(), &KeyError::Sec1);
    let junk = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    check(SigningKey::from_pem(junk).err(), &KeyError::OtherKind);
    let (key, _) = SigningKey::generate().expect("there is randomness");
    assert_eq!(format!("{key:?}"), "SigningKey([redacted])");
}

#[test]
fn a_claim_names_its_digest() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let claim = write_claim("ghcr.io/ada/research", &digest);
    assert_eq!(digest_claimed(&claim), Ok(digest));
    assert!(digest_claimed(b"{}").is_err());
    let text = String::from_utf8(claim).expect("JSON").replace("cosign container", "other");
    assert!(digest_claimed(text.as_bytes()).is_err());
}
