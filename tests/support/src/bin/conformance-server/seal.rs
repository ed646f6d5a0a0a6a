//! What a client hands back of a request's state has gone through a stranger's hands, so it is sealed
//! with a key of this process.

use std::hash::{BuildHasher, RandomState};

use rmcp::model::ErrorData;

/// Seals text, and opens it again.
pub(crate) struct Seal(RandomState);

impl Seal {
    pub(crate) fn new() -> Self {
        Self(RandomState::new())
    }

    /// What `purpose` wants to find again.
    pub(crate) fn close(&self, purpose: &str, text: &str) -> String {
        format!("{:016x}.{text}", self.proof(purpose, text))
    }

    /// # Errors
    /// It was not sealed here, not for this purpose, or somebody changed it.
    pub(crate) fn open<'a>(&self, purpose: &str, sealed: &'a str) -> Result<&'a str, ErrorData> {
        let refused = || ErrorData::invalid_params("the request's state is not one of ours", None);
        let (proof, text) = sealed.split_once('.').ok_or_else(refused)?;
        let genuine = u64::from_str_radix(proof, 16) == Ok(self.proof(purpose, text));
        genuine.then_some(text).ok_or_else(refused)
    }

    fn proof(&self, purpose: &str, text: &str) -> u64 {
        self.0.hash_one((purpose, text))
    }
}
