//! Questions to whoever called: the person (elicitation) and the model (sampling) behind the caller.
//!
//! Both need the operator's word (`questions = true`) and a caller that has them; all else is
//! [`CallError::Unavailable`], and a good tool goes on without. While a person thinks, the run's
//! deadline stands still.
//!
//! ```
//! # use toolcell_guest as toolcell;
//! # use serde_json::json;
//! # let host = toolcell::testing::Host::new()
//! #     .person(json!({"city": "Rome"})).model("It is warm in Rome.");
//! # host.run(async {
//! use toolcell::asks::{self, Elicited};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Place {
//!     /// Where to look.
//!     city: String,
//! }
//!
//! let Elicited::Accepted(place) = asks::elicit::<Place>("Which city?").await? else {
//!     return Ok("no city, no weather".to_owned());
//! };
//! assert_eq!(asks::model(&format!("How is {}?", place.city)).await?, "It is warm in Rome.");
//! # Ok::<_, toolcell::CallError>(String::new())
//! # }).unwrap();
//! ```

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{CallError, imports};

/// Which questions somebody would answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// A person answers forms.
    pub elicitation: bool,
    /// A model answers.
    pub sampling: bool,
}

/// What a person answered to a form.
#[derive(Clone, Debug, PartialEq)]
pub enum Elicited<T> {
    /// The form, filled in.
    Accepted(T),
    /// The person said no.
    Declined,
    /// The person closed the form.
    Cancelled,
}

/// Which questions somebody would answer.
#[must_use]
pub fn abilities() -> Abilities {
    imports::abilities()
}

/// Asks the person with a form. Its fields are those of a struct of yours: texts, numbers, yes or no,
/// and enums of names, each with its doc comment as a label; MCP has no deeper forms.
///
/// # Errors
/// Nobody answers ([`CallError::Unavailable`]), or the answer does not fit the struct.
pub async fn elicit<T: JsonSchema + DeserializeOwned>(
    message: &str,
) -> Result<Elicited<T>, CallError> {
    let answer = imports::elicit(message, &form::<T>().to_string())?;
    Ok(match answer {
        Elicited::Accepted(json) => {
            let value = serde_json::from_str(&json).map_err(|error| {
                CallError::Unexpected(format!("the filled-in form does not fit: {error}"))
            })?;
            Elicited::Accepted(value)
        }
        Elicited::Declined => Elicited::Declined,
        Elicited::Cancelled => Elicited::Cancelled,
    })
}

/// Asks the model for a text.
///
/// # Errors
/// No model answers, or not with a text.
pub async fn model(prompt: &str) -> Result<String, CallError> {
    let message = json!({"role": "user", "content": {"type": "text", "text": prompt}});
    let answer = sample(&json!({"messages": [message], "maxTokens": 1000})).await?;
    let block = match &answer["content"] {
        Value::Array(blocks) => blocks.iter().find(|block| block["text"].is_string()),
        block => Some(block),
    };
    let text = block.and_then(|block| block["text"].as_str());
    text.map(str::to_owned)
        .ok_or_else(|| CallError::Unexpected("the model answered with no text".to_owned()))
}

/// Asks the model with the params of MCP's `sampling/createMessage`, and gives its result.
///
/// # Errors
/// No model answers.
pub async fn sample(params: &Value) -> Result<Value, CallError> {
    let answer = imports::sample(&params.to_string())?;
    serde_json::from_str(&answer)
        .map_err(|error| CallError::Unexpected(format!("the model's answer is no JSON: {error}")))
}

/// The schema of a form in the flat kind that `elicitation/create` takes.
fn form<T: JsonSchema>() -> Value {
    const FORMATS: [&str; 4] = ["email", "uri", "date", "date-time"];
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
        object.remove("additionalProperties");
    }
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    for field in fields.into_iter().flat_map(|fields| fields.values_mut()) {
        let Some(field) = field.as_object_mut() else { continue };
        // What may be left out is not in `required`; a form has no `null`.
        if let Some(Value::Array(kinds)) = field.get("type") {
            let kind = kinds.iter().find(|kind| **kind != "null").cloned();
            field.insert("type".to_owned(), kind.unwrap_or_default());
        }
        if field.get("format").is_some_and(|format| !FORMATS.iter().any(|known| format == known)) {
            field.remove("format");
        }
        if let Some(Value::Array(values)) = field.get_mut("enum") {
            values.retain(|value| !value.is_null());
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    struct Trip {
        /// Where to.
        city: String,
        days: Option<u8>,
        class: Class,
    }

    #[derive(JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Class {
        First,
        Second,
    }

    #[test]
    fn a_form_is_flat() {
        let expected = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Where to."},
                "days": {"type": "integer", "minimum": 0, "maximum": 255},
                "class": {"type": "string", "enum": ["first", "second"]},
            },
            "required": ["city", "class"],
        });
        assert_eq!(form::<Trip>(), expected);
    }
}
