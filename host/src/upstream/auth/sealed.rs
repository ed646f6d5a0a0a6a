//! Bytes sealed with AES-256-GCM: what lies on the disk says nothing without its key, and does not
//! open when one bit of it was changed.
//!
//! ```text
//! "TCTOKEN1"  8 bytes of the key's BLAKE3  12 bytes of nonce  ciphertext  16 bytes of tag
//! ```
//! The first two are authenticated as well. Nonces are random: 2^32 writes with one key are safe.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

const MAGIC: &[u8; 8] = b"TCTOKEN1";
const KEY_ID_BYTES: usize = 8;
const HEADER_BYTES: usize = MAGIC.len() + KEY_ID_BYTES;
const KEY_BYTES: usize = 32;

/// A 256-bit key. It has no `Debug`.
#[derive(Clone)]
pub(super) struct Key([u8; KEY_BYTES]);

/// Sealed bytes that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// They were sealed with another key.
    OtherKey,
    /// They are no such file, or it was changed.
    Damaged,
}

impl Key {
    /// A new one; nothing without entropy.
    pub(super) fn random() -> Option<Self> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// From 64 hexadecimal digits, or 32 bytes in Base64.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let hex = || {
            let digits = text.as_bytes().chunks(2);
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            (text.len() == 2 * KEY_BYTES).then(|| digits.map(byte).collect::<Option<Vec<_>>>())?
        };
        let bytes = hex().or_else(|| BASE64_STANDARD.decode(text).ok())?;
        bytes.try_into().ok().map(Self)
    }

    /// As [`Key::parse`] reads it.
    pub(super) fn to_text(&self) -> String {
        BASE64_STANDARD.encode(self.0)
    }

    fn id(&self) -> [u8; KEY_ID_BYTES] {
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(&blake3::hash(&self.0).as_bytes()[..KEY_ID_BYTES]);
        id
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &self.0).ok().map(LessSafeKey::new)
    }

    /// Seals; nothing without entropy.
    pub(super) fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut sealed = [MAGIC.as_slice(), &self.id()].concat();
        let header = Aad::from(sealed.clone());
        let mut text = plain.to_vec();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        self.cipher()?.seal_in_place_append_tag(nonce_used, header, &mut text).ok()?;
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Some(sealed)
    }

    pub(super) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let (header, rest) = sealed.split_at_checked(HEADER_BYTES).ok_or(Unreadable::Damaged)?;
        let (magic, id) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(Unreadable::Damaged);
        }
        if id != self.id() {
            return Err(Unreadable::OtherKey);
        }
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(Unreadable::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unreadable::Damaged)?;
        let mut text = text.to_vec();
        let cipher = self.cipher().ok_or(Unreadable::Damaged)?;
        let plain = cipher.open_in_place(nonce, Aad::from(header), &mut text);
        plain.map(|plain| plain.to_vec()).map_err(|_| Unreadable::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_only() {
        let key = Key::random().unwrap();
        let sealed = key.seal(b"a token").unwrap();
        assert!(!sealed.windows(5).any(|part| part == b"token"));
        assert_eq!(key.open(&sealed).unwrap(), b"a token");
        assert_eq!(Key::random().unwrap().open(&sealed), Err(Unreadable::OtherKey));
        assert_ne!(key.seal(b"a token").unwrap(), sealed, "every nonce is another");
    }

    #[test]
    fn no_changed_or_shortened_file_opens() {
        let key = Key::random().unwrap();
        let sealed = key.seal(b"a token").unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(key.open(&changed).is_err(), "byte {place}");
            assert!(key.open(&sealed[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn keys_are_read_in_two_forms() {
        let key = Key([0xab; 32]);
        for text in [key.to_text(), "ab".repeat(32), format!(" {}\n", "AB".repeat(32))] {
            assert!(Key::parse(&text).is_some_and(|read| read.0 == key.0), "{text}");
        }
        for text in ["", "abc", &"ab".repeat(31), &"xy".repeat(32), "é"] {
            assert!(Key::parse(text).is_none(), "{text}");
        }
    }
}
