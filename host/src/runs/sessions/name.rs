//! Names of sessions.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::SessionError;

/// Names a session among those of its caller: 1 to 64 of `A-Z a-z 0-9 _ . -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SessionName(Arc<str>);

impl SessionName {
    /// Checks a name as written.
    ///
    /// # Errors
    /// It is empty, too long, or has another character in it.
    pub fn try_new(name: &str) -> Result<Self, SessionError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
            Ok(Self(name.into()))
        } else {
            Err(SessionError::InvalidName { name: name.chars().take(80).collect() })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for good in ["a", "Data-2.clean_up", &"x".repeat(64), "."] {
            assert_eq!(SessionName::try_new(good).expect(good).as_str(), good);
        }
        for bad in ["", "a b", "ä", "a/b", "a\0", &"x".repeat(65), "a\n"] {
            let error = SessionName::try_new(bad).expect_err(bad).to_string();
            assert!(error.contains("1 to 64"), "{error}");
        }
    }
}
