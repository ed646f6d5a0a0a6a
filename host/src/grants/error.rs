//! What can be wrong with a policy as somebody wrote it.

/// Why a text is not a [`Pattern`](super::Pattern).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// Nothing is written, or nothing but `!`.
    #[error("the pattern is empty: write `server.tool`, `server.*` or `*`")]
    Empty,
    /// More than [`ToolGlob::MAX_LENGTH`](super::ToolGlob::MAX_LENGTH) bytes.
    #[error("the pattern has {length} bytes, more than {max}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest that is accepted.
        max: usize,
    },
    /// Nothing stands before the first dot.
    #[error("no server stands before the first dot: write `*.TOOL` to mean every server")]
    NoServer,
    /// Nothing stands after the first dot.
    #[error("no tool stands after the first dot: write `SERVER.*` to mean all of its tools")]
    NoTool,
    /// What stands before the first dot can be no server's name.
    #[error("{character:?} cannot stand in a server's name: use A-Z a-z 0-9 _ - and *")]
    ServerCharacter {
        /// The first character that does not fit.
        character: char,
    },
    /// A character that other pattern languages give a meaning, or that no name shows.
    #[error("{character:?} has no meaning in a pattern: only * (any characters) has one")]
    ToolCharacter {
        /// The first character that does not fit.
        character: char,
    },
    /// No server or no URI is written.
    #[error("write `server:URI`, with * for any characters; `server:*` means all its resources")]
    EmptyResource,
    /// A character that no URI has.
    #[error("{character:?} cannot stand in a URI: write it percent-encoded")]
    UriCharacter {
        /// The first of them.
        character: char,
    },
    /// `!` where only an inclusion has a meaning.
    #[error("`!` has no meaning here: write the tools that are meant")]
    Exclusion,
}

/// Why a constraint on arguments has no meaning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConstraint {
    /// The argument's name is empty or has an empty part.
    #[error("the argument's name has an empty part: write NAME, NAME.INNER or /NAME/INNER")]
    EmptyName,
    /// The argument's name begins with `*`.
    #[error("`*` cannot stand for the argument itself: name the argument before it")]
    NoArgument,
    /// More nested than [`ArgumentPath::MAX_DEPTH`](super::ArgumentPath::MAX_DEPTH).
    #[error("the argument's name has more than {max} parts")]
    NameTooDeep {
        /// The most that is accepted.
        max: usize,
    },
    /// A JSON Pointer with a `~` that is neither `~0` nor `~1`.
    #[error("`~` in a JSON Pointer must be `~0` (for ~) or `~1` (for /)")]
    PointerEscape,
    /// Nothing is asked of the argument.
    #[error(
        "the constraint asks for nothing: give pattern, one_of, equals, min, max, max_length or starts_with"
    )]
    NoCondition,
    /// A regular expression that does not compile.
    #[error("`pattern` is not a regular expression: {reason}")]
    Regex {
        /// What the regular expression's parser says, on one line.
        reason: String,
    },
    /// `one_of = []` would hold for nothing.
    #[error("`one_of` is empty, so no call could fulfil it")]
    EmptyOneOf,
    /// `min` above `max` would hold for nothing.
    #[error("`min` is greater than `max`, so no call could fulfil it")]
    EmptyRange,
}
