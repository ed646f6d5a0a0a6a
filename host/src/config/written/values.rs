//! Texts that stand for something else: templates, durations, sizes, counts.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Error, SeqAccess, Visitor};

/// A text with `${NAME}` in it. It may hold a credential, so it cannot be printed.
#[derive(Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct Template(pub(in crate::config) String);

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<template>")
    }
}

/// A length of time: `"1m30s"`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct DurationText(pub(in crate::config) String);

/// A length of time, or `"never"`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(transparent)]
pub struct DurationOrNever(pub(in crate::config) String);

/// One text, or a list of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OneOrMany(pub(in crate::config) Vec<Template>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor;

        impl<'de> Visitor<'de> for OneOrManyVisitor {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![Template(text.to_owned())]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }

        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

/// A number, or a text of a number and its unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// As it is.
    Number(u64),
    /// With a unit.
    Text(String),
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct QuantityVisitor;

        impl Visitor<'_> for QuantityVisitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of at least 0, or a text with a unit")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity::Number(number))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(QuantityVisitor)
    }
}

/// In the schema, a [`Quantity`] of units.
pub(super) struct CountSchema;

/// In the schema, a [`Quantity`] of bytes.
pub(super) struct SizeSchema;

/// In the schema, a [`Quantity`] of time.
pub(super) struct DurationSchema;

/// Gives a type a schema of its own. `x-type` is its name for people, as the reference shows it.
macro_rules! schemas {
    ($($type:ty => $schema:tt)*) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

schemas! {
    Template => { "type": "string" }
    DurationText => { "type": "string", "pattern": "^[0-9]", "x-type": "duration" }
    DurationOrNever => {
        "type": "string", "pattern": "^([0-9]|never$)", "x-type": "duration or \"never\""
    }
    OneOrMany => {
        "type": ["string", "array"], "items": { "type": "string" }, "x-type": "text or list of texts"
    }
    CountSchema => { "type": ["integer", "string"], "minimum": 1, "x-type": "count" }
    SizeSchema => { "type": ["integer", "string"], "minimum": 1, "x-type": "size" }
    DurationSchema => { "type": "string", "pattern": "^[0-9]", "x-type": "duration" }
}
