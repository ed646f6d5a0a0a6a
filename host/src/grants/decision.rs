//! What a policy answers.

/// Whether a call may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny {
        /// The rule and what it asks for, in words that a model can act on: a lower-case fragment.
        reason: String,
    },
    /// A person must approve it first.
    Ask {
        /// The rule that wants it, in words that fit after "asked by".
        rule: String,
    },
}
