//! Reads a parsed TOML value into Rust types by serde, with errors that know their path and kind,
//! and that quote no value which may be a secret.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor, value::StrDeserializer,
};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeString, DeValue};

use super::error::{KeyPath, Step};

/// A value that does not fit the type it is read into.
#[derive(Debug)]
pub(super) struct Misfit {
    /// The steps that lead to it, the innermost first.
    steps: Vec<Step>,
    pub(super) kind: MisfitKind,
}

/// What does not fit.
#[derive(Debug)]
pub(super) enum MisfitKind {
    /// A key that its table does not know.
    UnknownKey {
        /// The keys that it knows.
        known: &'static [&'static str],
    },
    /// A text that is none of the words known there.
    UnknownWord {
        /// What is written.
        word: String,
        /// The words that are known.
        known: &'static [&'static str],
    },
    /// Anything else, in words.
    Other(String),
}

impl Misfit {
    fn new(kind: MisfitKind) -> Self {
        Self { steps: Vec::new(), kind }
    }

    fn at(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// The keys that lead to it.
    pub(super) fn path(&self) -> KeyPath {
        KeyPath(self.steps.iter().rev().cloned().collect())
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            MisfitKind::UnknownKey { .. } => f.write_str("unknown key"),
            MisfitKind::UnknownWord { word, .. } => write!(f, "unknown word {word:?}"),
            MisfitKind::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Misfit {}

impl Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(MisfitKind::Other(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match unexpected {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Signed(..0) => "a negative number",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
            Unexpected::Float(_) => "a number",
            Unexpected::Str(_) | Unexpected::Char(_) => "a text",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a table",
            _ => "something else",
        };
        // serde's own words for what it expects are those of Rust.
        let expected = match expected.to_string().as_str() {
            "a string" => "a text".to_owned(),
            "a boolean" => "true or false".to_owned(),
            "a sequence" => "a list".to_owned(),
            "a map" => "a table".to_owned(),
            "u64" | "u32" | "usize" => "a whole number of at least 0".to_owned(),
            text if text.starts_with("struct ") => "a table".to_owned(),
            text => text.to_owned(),
        };
        Self::new(MisfitKind::Other(format!("{expected} is expected, and this is {found}")))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        let word = word.chars().take(40).collect();
        Self::new(MisfitKind::UnknownWord { word, known })
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        // The key itself is the last step of the path.
        Self::new(MisfitKind::UnknownKey { known })
    }
}

/// A TOML value to read from.
#[derive(Clone, Copy)]
pub(super) struct Node<'a, 't>(&'a Spanned<DeValue<'t>>);

impl<'a, 't> Node<'a, 't> {
    pub(super) fn new(value: &'a Spanned<DeValue<'t>>) -> Self {
        Self(value)
    }
}

impl<'de> Deserializer<'de> for Node<'_, '_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0.get_ref() {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Integer(number) => match integer(number) {
                Some(number) if number >= 0 => visitor.visit_u64(number.unsigned_abs()),
                Some(number) => visitor.visit_i64(number),
                None => Err(Misfit::custom("the number does not fit into 64 bits")),
            },
            DeValue::Float(number) => match float(number) {
                Some(number) => visitor.visit_f64(number),
                None => Err(Misfit::custom("the number is too large")),
            },
            DeValue::Boolean(value) => visitor.visit_bool(*value),
            DeValue::Datetime(_) => {
                Err(Misfit::custom("a date has no meaning here; put it in quotes if it is a text"))
            }
            DeValue::Array(elements) => visitor.visit_seq(Elements { elements, next: 0 }),
            DeValue::Table(table) => {
                // The file's order; the parser keeps tables sorted by their keys.
                let mut entries: Vec<Entry<'_, '_>> = table.iter().collect();
                entries.sort_by_key(|(key, _)| key.span().start);
                visitor.visit_map(Entries { entries: entries.into_iter(), current: None })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0.get_ref() {
            DeValue::String(word) => {
                let word: StrDeserializer<'_, Misfit> = (**word).into_deserializer();
                visitor.visit_enum(word)
            }
            _ => Err(Misfit::custom(format!("one of {} is expected", known.join(", ")))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn float(number: &DeFloat<'_>) -> Option<f64> {
    number.as_str().parse().ok().filter(|number: &f64| number.is_finite())
}

type Entry<'a, 't> = (&'a Spanned<DeString<'t>>, &'a Spanned<DeValue<'t>>);

struct Entries<'a, 't> {
    entries: std::vec::IntoIter<Entry<'a, 't>>,
    current: Option<Entry<'a, 't>>,
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Misfit> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else { return Ok(None) };
        let name: StrDeserializer<'_, Misfit> = (**key.get_ref()).into_deserializer();
        seed.deserialize(name)
            .map(Some)
            .map_err(|misfit: Misfit| misfit.at(Step::Key(key.get_ref().to_string())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let (key, value) =
            self.current.take().ok_or_else(|| Misfit::custom("a value was read before its key"))?;
        seed.deserialize(Node(value))
            .map_err(|misfit| misfit.at(Step::Key(key.get_ref().to_string())))
    }
}

struct Elements<'a, 't> {
    elements: &'a [Spanned<DeValue<'t>>],
    next: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = Misfit;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Misfit> {
        let index = self.next;
        let Some(element) = self.elements.get(index) else { return Ok(None) };
        self.next += 1;
        let misplaced = |misfit: Misfit| misfit.at(Step::Index(index));
        seed.deserialize(Node(element)).map(Some).map_err(misplaced)
    }
}
