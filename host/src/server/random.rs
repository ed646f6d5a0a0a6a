//! What nobody can guess: ids and tokens that are all that a client needs to have something of its own.

/// Random bytes of the operating system.
///
/// # Panics
/// It gives none. A secret that can be guessed gives everything away, so there is no way on.
pub(super) fn bytes<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// So many random bytes, two hexadecimal digits each.
pub(super) fn hex<const BYTES: usize>() -> String {
    digits(&bytes::<BYTES>())
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A random UUID (version 4, RFC 9562 section 5.4).
pub(super) fn uuid() -> String {
    let mut bytes = bytes::<16>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = digits(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_are_as_long_as_they_should_be() {
        let (one, other) = (hex::<16>(), hex::<16>());
        assert!(one != other && one.len() == 32, "{one} {other}");
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    }

    #[test]
    fn uuids_say_that_they_are_random() {
        let (one, other) = (uuid(), uuid());
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{one}");
        assert_eq!(one.as_bytes()[14], b'4', "{one}");
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
        assert_ne!(one, other);
    }
}
