//! JSON Schemas of the types of plain functions. Names are WIT's, with `_` for `-`.
//!
//! | WIT | JSON |
//! |---|---|
//! | `bool`, `string`, `f32`, `f64` | as JSON has them; a result that is no number (NaN, infinite) is `null` |
//! | `u8` … `s64` | integers, with their bounds |
//! | `char` | a text of one character |
//! | `list<u8>` | a text in base64 |
//! | `list<T>`, `tuple<…>` | an array |
//! | `record` | an object; a field that is an `option` may be absent |
//! | `variant` | `{"tag": CASE}`, with `"value"` if the case has one |
//! | `enum` | one of the cases' names |
//! | `flags` | an array of the names that are set |
//! | `option<T>` | `null` or the value; as `{"some": …}` if the value may be `null` itself |
//! | `result<T, E>` | `{"ok": …}` or `{"err": …}`; as a function's result: the value, or a failure |

use serde_json::{Map, Value, json};

use super::shape::{Case, Field, Integer, Name, Shape};

/// Whose values a schema describes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// What a caller gives.
    In,
    /// What the function gives.
    Out,
}

/// The schema of the values of this type.
pub(super) fn of(shape: &Shape, direction: Direction) -> Value {
    let part = |shape: &Shape| of(shape, direction);
    match shape {
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Integer(integer) => integer_schema(*integer),
        Shape::Float32 | Shape::Float64 => match direction {
            Direction::In => json!({ "type": "number" }),
            Direction::Out => json!({ "type": ["number", "null"] }),
        },
        Shape::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
        Shape::Text => json!({ "type": "string" }),
        Shape::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Shape::List(element) => json!({ "type": "array", "items": part(element) }),
        Shape::Tuple(parts) => json!({
            "type": "array",
            "prefixItems": parts.iter().map(part).collect::<Vec<_>>(),
            "items": false,
            "minItems": parts.len(),
        }),
        Shape::Record(fields) => object(fields, direction),
        Shape::Variant(cases) => {
            json!({ "oneOf": cases.iter().map(|case| case_schema(case, direction)).collect::<Vec<_>>() })
        }
        Shape::Enum(cases) => json!({ "type": "string", "enum": names(cases) }),
        Shape::Option(some) if may_be_null(some) => {
            json!({ "anyOf": [single("some", Some(part(some))), { "type": "null" }] })
        }
        Shape::Option(some) => json!({ "anyOf": [part(some), { "type": "null" }] }),
        Shape::Result(ok, err) => json!({ "oneOf": [
            single("ok", ok.as_deref().map(part)),
            single("err", err.as_deref().map(part)),
        ] }),
        Shape::Flags(flags) => json!({
            "type": "array",
            "items": { "type": "string", "enum": names(flags) },
            "uniqueItems": true,
        }),
    }
}

/// The schema of an object with these members.
pub(super) fn object(fields: &[Field], direction: Direction) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.json.clone(), of(&field.shape, direction))).collect();
    // What is given is given whole; what is taken may leave out what it has nothing for.
    let needed =
        |field: &&Field| direction == Direction::Out || !matches!(field.shape, Shape::Option(_));
    let required: Vec<&str> =
        fields.iter().filter(needed).map(|field| field.name.json.as_str()).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// Whether a value of this type is `null` in JSON where it is there.
pub(super) fn may_be_null(shape: &Shape) -> bool {
    matches!(shape, Shape::Option(_))
}

fn integer_schema(integer: Integer) -> Value {
    let (minimum, maximum) = integer.bounds();
    // The bounds of all integers are those of 64 bits at the most.
    let number = |bound: i128| match u64::try_from(bound) {
        Ok(bound) => json!(bound),
        Err(_) => json!(i64::try_from(bound).unwrap_or(i64::MIN)),
    };
    json!({ "type": "integer", "minimum": number(minimum), "maximum": number(maximum) })
}

fn case_schema(case: &Case, direction: Direction) -> Value {
    let mut properties = json!({ "tag": { "const": case.name.json } });
    let mut required = vec!["tag"];
    if let Some(shape) = &case.shape {
        properties["value"] = of(shape, direction);
        required.push("value");
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// An object of one member, which is `null` where there is nothing to tell.
fn single(name: &str, schema: Option<Value>) -> Value {
    let schema = schema.unwrap_or_else(|| json!({ "type": "null" }));
    json!({
        "type": "object",
        "properties": { name: schema },
        "required": [name],
        "additionalProperties": false,
    })
}

fn names(names: &[Name]) -> Vec<&str> {
    names.iter().map(|name| name.json.as_str()).collect()
}
