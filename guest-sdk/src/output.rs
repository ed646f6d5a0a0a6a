//! What a tool answers.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::CallError;

/// A tool's answer: blocks of content, and the same as JSON if the tool has it.
///
/// A tool of yours may return one where a serialisable value or a `String` does not say enough.
///
/// ```
/// # use toolcell_guest as toolcell;
/// use toolcell::{Content, Output};
///
/// let chart = Output::text_block("temperatures, as a chart")
///     .with(Content::Image { data: vec![0x89, b'P'], mime_type: "image/png".to_owned() });
/// assert_eq!(chart.content.len(), 2);
/// assert_eq!(chart.text(), "temperatures, as a chart");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Output {
    /// The blocks, in the tool's order.
    pub content: Vec<Content>,
    /// The structured content, a JSON object.
    pub structured: Option<Value>,
    /// The tool's own word that it failed.
    pub is_error: bool,
}

/// One block of an answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// Text for the model.
    Text(String),
    /// A picture.
    Image {
        /// Its bytes, not encoded.
        data: Vec<u8>,
        /// For example `image/png`.
        mime_type: String,
    },
    /// Sound.
    Audio {
        /// Its bytes, not encoded.
        data: Vec<u8>,
        /// For example `audio/wav`.
        mime_type: String,
    },
    /// A link or an embedded resource, as MCP's JSON object.
    Resource(Value),
    /// A block of a type that this version does not know, as it came.
    Other(Value),
}

impl Output {
    /// An answer of one text.
    #[must_use]
    pub fn text_block(text: impl Into<String>) -> Self {
        Self { content: vec![Content::Text(text.into())], ..Self::default() }
    }

    /// A failure, with words that let the model do better.
    ///
    /// ```
    /// # use toolcell_guest as toolcell;
    /// let output = toolcell::Output::error("no city is called Pariss: try Paris");
    /// assert!(output.is_error);
    /// ```
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self { is_error: true, ..Self::text_block(message) }
    }

    /// A value as an answer: an object as structured content and as text, a string as text, and all
    /// else as its JSON in a text.
    ///
    /// # Errors
    /// The value cannot be JSON: a map's keys are no strings, or its own `Serialize` fails.
    pub fn of(value: &impl Serialize) -> Result<Self, CallError> {
        let value = serde_json::to_value(value)
            .map_err(|error| CallError::Unexpected(format!("the value cannot be JSON: {error}")))?;
        Ok(match value {
            Value::Null => Self::default(),
            Value::String(text) => Self::text_block(text),
            Value::Object(_) => {
                Self { structured: Some(value.clone()), ..Self::text_block(value.to_string()) }
            }
            other => Self::text_block(other.to_string()),
        })
    }

    /// The same with one more block.
    #[must_use]
    pub fn with(mut self, block: Content) -> Self {
        self.content.push(block);
        self
    }

    /// All text blocks, one below the other.
    #[must_use]
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|block| match block {
            Content::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The answer as a value of your type.
    ///
    /// What servers send differs, so the first of these that fits is taken: the structured content;
    /// its member `result`, in which many servers wrap what is not an object; the text as JSON; the
    /// text as a string.
    ///
    /// ```
    /// # use toolcell_guest as toolcell;
    /// # use toolcell::Output;
    /// assert_eq!(Output::text_block("[1, 2]").json::<Vec<u8>>(), Ok(vec![1, 2]));
    /// assert_eq!(Output::text_block("warm").json::<String>(), Ok("warm".to_owned()));
    /// ```
    ///
    /// # Errors
    /// [`CallError::Unexpected`] when nothing fits, with what is wrong with the first of them.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        let text = self.text();
        let structured = self.structured.clone().into_iter();
        let wrapped = self.structured.as_ref().and_then(|value| value.get("result")).cloned();
        let parsed = serde_json::from_str::<Value>(&text).ok();
        let mut first = None;
        for value in structured.chain(wrapped).chain(parsed).chain([Value::String(text)]) {
            match serde_json::from_value(value) {
                Ok(value) => return Ok(value),
                Err(error) => first = first.or(Some(error)),
            }
        }
        let expected = std::any::type_name::<T>();
        let why = first.map(|error| error.to_string()).unwrap_or_default();
        Err(CallError::Unexpected(format!("the answer is not a {expected}: {why}")))
    }
}
