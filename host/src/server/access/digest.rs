//! What is kept of a token: enough to know it again, and nothing that could be used in its place.

use std::fmt;
use std::hint::black_box;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

/// The SHA-256 of a token. A token is random and long, so a plain hash hides it: nobody can try all
/// that there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest([u8; SHA256_OUTPUT_LEN]);

impl TokenDigest {
    /// Of a token.
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    /// Reads one as `sha256sum` writes it: 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().as_bytes();
        if text.len() != 2 * SHA256_OUTPUT_LEN {
            return None;
        }
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
        }
        Some(Self(bytes))
    }

    /// Whether they are the same, in a time that does not tell how much of them is.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        let difference =
            pairs.fold(0, |difference, (one, two)| black_box(difference | (one ^ two)));
        black_box(difference) == 0
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<digest>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_sha256sum() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let read = TokenDigest::parse(hex).unwrap();
        assert!(read.is_same(&TokenDigest::of("abc")));
        assert!(!read.is_same(&TokenDigest::of("abd")));
        assert!(TokenDigest::parse(&hex.to_uppercase()).unwrap().is_same(&read));
        for wrong in ["", "ba78", &hex[1..], &format!("{hex}0"), &hex.replace('b', "é")] {
            assert!(TokenDigest::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(format!("{read:?}"), "<digest>");
    }
}
