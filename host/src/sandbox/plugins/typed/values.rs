//! Values of WIT's types from JSON and to JSON. What each looks like is told in [`super::schema`].

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Number, Value, json};
use wasmtime::component::Val;

use super::schema::may_be_null;
use super::shape::{Case, Field, Integer, Name, Shape};

/// Where a JSON value does not fit, as a JSON Pointer, and why.
pub(super) type Misfit = (String, String);

/// A place in a JSON value, from the inside out.
struct Place<'a> {
    outer: Option<&'a Place<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Root,
    Member(&'a str),
    Item(usize),
}

impl Place<'_> {
    fn root() -> Self {
        Self { outer: None, step: Step::Root }
    }

    fn member<'a>(&'a self, name: &'a str) -> Place<'a> {
        Place { outer: Some(self), step: Step::Member(name) }
    }

    fn item(&self, index: usize) -> Place<'_> {
        Place { outer: Some(self), step: Step::Item(index) }
    }

    fn pointer(&self) -> String {
        let mut pointer = self.outer.map(Place::pointer).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Member(name) => {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
            }
            Step::Item(index) => {
                let _ = write!(pointer, "/{index}");
            }
        }
        pointer
    }

    fn misfit<T>(&self, message: impl Into<String>) -> Result<T, Misfit> {
        Err((self.pointer(), message.into()))
    }

    fn wanted<T>(&self, wanted: &str, found: &Value) -> Result<T, Misfit> {
        self.misfit(format!("{wanted} is needed, not {}", in_words(found)))
    }
}

/// A function's arguments from a JSON object.
///
/// # Errors
/// Something in it does not fit.
pub(super) fn arguments(parameters: &[Field], given: &Value) -> Result<Vec<Val>, Misfit> {
    let fields = members(parameters, given, &Place::root())?;
    Ok(fields.into_iter().map(|(_, value)| value).collect())
}

fn from_json(shape: &Shape, json: &Value, place: &Place<'_>) -> Result<Val, Misfit> {
    Ok(match shape {
        Shape::Bool => match json {
            Value::Bool(value) => Val::Bool(*value),
            other => return place.wanted("true or false", other),
        },
        Shape::Integer(integer) => self::integer(*integer, json, place)?,
        Shape::Float32 => match json.as_f64() {
            // The nearest is taken, as every compiler does; what is too large would become infinite.
            Some(value) if (value as f32).is_finite() => Val::Float32(value as f32),
            Some(_) => return place.misfit("the number is too large for 32 bits"),
            None => return place.wanted("a number", json),
        },
        Shape::Float64 => match json.as_f64() {
            Some(value) => Val::Float64(value),
            None => return place.wanted("a number", json),
        },
        Shape::Char => {
            let mut characters = text(json, "a text of one character", place)?.chars();
            match (characters.next(), characters.next()) {
                (Some(character), None) => Val::Char(character),
                _ => return place.wanted("a text of one character", json),
            }
        }
        Shape::Text => Val::String(text(json, "a text", place)?.to_owned()),
        Shape::Bytes => {
            let text = text(json, "a text in base64", place)?;
            match BASE64.decode(text) {
                Ok(bytes) => Val::List(bytes.into_iter().map(Val::U8).collect()),
                Err(error) => return place.misfit(format!("the text is not base64: {error}")),
            }
        }
        Shape::List(element) => Val::List(
            array(json, place)?
                .iter()
                .enumerate()
                .map(|(index, json)| from_json(element, json, &place.item(index)))
                .collect::<Result<_, _>>()?,
        ),
        Shape::Tuple(parts) => {
            let items = array(json, place)?;
            if items.len() != parts.len() {
                let (needed, found) = (parts.len(), items.len());
                return place.misfit(format!("{needed} items are needed, not {found}"));
            }
            let item = |(index, (part, json)): (usize, (&Shape, &Value))| {
                from_json(part, json, &place.item(index))
            };
            Val::Tuple(parts.iter().zip(items).enumerate().map(item).collect::<Result<_, _>>()?)
        }
        Shape::Record(fields) => Val::Record(members(fields, json, place)?),
        Shape::Variant(cases) => variant(cases, json, place)?,
        Shape::Enum(cases) => {
            let name = text(json, "the name of a case", place)?;
            Val::Enum(known(cases, |case| case, name, place)?.wit.clone())
        }
        Shape::Option(_) if json.is_null() => Val::Option(None),
        Shape::Option(some) if may_be_null(some) => {
            let (_, json) = single(&["some"], json, place)?;
            let some = from_json(some, json, &place.member("some"))?;
            Val::Option(Some(Box::new(some)))
        }
        Shape::Option(some) => Val::Option(Some(Box::new(from_json(some, json, place)?))),
        Shape::Result(ok, err) => {
            let (side, json) = single(&["ok", "err"], json, place)?;
            let place = place.member(side);
            let payload = |shape: &Option<Box<Shape>>| match shape {
                Some(shape) => Ok(Some(Box::new(from_json(shape, json, &place)?))),
                None if json.is_null() => Ok(None),
                None => place.wanted("null", json),
            };
            Val::Result(match side {
                "ok" => Ok(payload(ok)?),
                _ => Err(payload(err)?),
            })
        }
        Shape::Flags(flags) => {
            let mut set = Vec::new();
            for (index, json) in array(json, place)?.iter().enumerate() {
                let place = place.item(index);
                let name = text(json, "the name of a flag", &place)?;
                let name = &known(flags, |flag| flag, name, &place)?.wit;
                if set.contains(name) {
                    return place.misfit("the flag is there twice");
                }
                set.push(name.clone());
            }
            Val::Flags(set)
        }
    })
}

fn integer(integer: Integer, json: &Value, place: &Place<'_>) -> Result<Val, Misfit> {
    let whole = |number: f64| number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    let value = match json {
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => i128::from(value),
            (_, Some(value), _) => i128::from(value),
            // `3.0` is a whole number too, in JSON and in JSON Schema.
            (_, _, Some(value)) if whole(value) => value as i128,
            _ => return place.misfit("a whole number is needed"),
        },
        other => return place.wanted("a whole number", other),
    };
    let (minimum, maximum) = integer.bounds();
    let fits = match integer {
        Integer::U8 => u8::try_from(value).map(Val::U8).ok(),
        Integer::U16 => u16::try_from(value).map(Val::U16).ok(),
        Integer::U32 => u32::try_from(value).map(Val::U32).ok(),
        Integer::U64 => u64::try_from(value).map(Val::U64).ok(),
        Integer::S8 => i8::try_from(value).map(Val::S8).ok(),
        Integer::S16 => i16::try_from(value).map(Val::S16).ok(),
        Integer::S32 => i32::try_from(value).map(Val::S32).ok(),
        Integer::S64 => i64::try_from(value).map(Val::S64).ok(),
    };
    match fits {
        Some(value) => Ok(value),
        None => place.misfit(format!("{value} is not between {minimum} and {maximum}")),
    }
}

/// The members of a record, in its own order.
fn members(
    fields: &[Field],
    json: &Value,
    place: &Place<'_>,
) -> Result<Vec<(String, Val)>, Misfit> {
    let Value::Object(given) = json else { return place.wanted("an object", json) };
    if let Some(unknown) = given.keys().find(|key| !fields.iter().any(|f| f.name.json == **key)) {
        known(fields, |field| &field.name, unknown, &place.member(unknown))?;
    }
    let member = |field: &Field| {
        let name = &field.name;
        let value = match (given.get(&name.json), &field.shape) {
            (Some(json), shape) => from_json(shape, json, &place.member(&name.json))?,
            (None, Shape::Option(_)) => Val::Option(None),
            (None, _) => return place.misfit(format!("`{}` is missing", name.json)),
        };
        Ok((name.wit.clone(), value))
    };
    fields.iter().map(member).collect()
}

fn variant(cases: &[Case], json: &Value, place: &Place<'_>) -> Result<Val, Misfit> {
    let Value::Object(given) = json else {
        return place.wanted("an object with `tag`", json);
    };
    let Some(tag) = given.get("tag") else { return place.misfit("`tag` is missing") };
    let tag = text(tag, "the name of a case", &place.member("tag"))?;
    let case = known(cases, |case| &case.name, tag, &place.member("tag"))?;
    if let Some(other) = given.keys().find(|key| !matches!(key.as_str(), "tag" | "value")) {
        return place.member(other).misfit("there are `tag` and `value`, and nothing else");
    }
    let value = match (&case.shape, given.get("value")) {
        (Some(shape), Some(json)) => {
            Some(Box::new(from_json(shape, json, &place.member("value"))?))
        }
        (Some(_), None) => return place.misfit(format!("the `value` of `{tag}` is missing")),
        (None, None | Some(Value::Null)) => None,
        (None, Some(_)) => {
            return place.member("value").misfit(format!("`{tag}` has no value"));
        }
    };
    Ok(Val::Variant(case.name.wit.clone(), value))
}

/// Finds a name, or says which there are.
fn known<'a, T>(
    all: &'a [T],
    name_of: impl Fn(&'a T) -> &'a Name,
    name: &str,
    place: &Place<'_>,
) -> Result<&'a T, Misfit> {
    if let Some(found) = all.iter().find(|item| name_of(item).json == name) {
        return Ok(found);
    }
    let shown: String = name.chars().take(80).collect();
    let names = || all.iter().map(|item| name_of(item).json.as_str());
    let nearest = names()
        .filter(|known| known.len() <= 128)
        .map(|known| (strsim::damerau_levenshtein(known, &shown), known))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, known)| format!("; did you mean `{known}`?"));
    let nearest = nearest.unwrap_or_else(|| {
        let names: Vec<_> = names().take(20).collect();
        match names.is_empty() {
            true => "; there are none".to_owned(),
            false => format!("; there are {}", names.join(", ")),
        }
    });
    place.misfit(format!("there is no `{shown}`{nearest}"))
}

/// The one member of an object, which has one of these names.
fn single<'a, 'n>(
    names: &[&'n str],
    json: &'a Value,
    place: &Place<'_>,
) -> Result<(&'n str, &'a Value), Misfit> {
    let found = json
        .as_object()
        .filter(|given| given.len() == 1)
        .and_then(|given| names.iter().find_map(|name| given.get(*name).map(|json| (*name, json))));
    match found {
        Some(found) => Ok(found),
        None => {
            let names: Vec<String> =
                names.iter().map(|name| format!("{{\"{name}\": …}}")).collect();
            place.wanted(&names.join(" or "), json)
        }
    }
}

fn text<'a>(json: &'a Value, wanted: &str, place: &Place<'_>) -> Result<&'a str, Misfit> {
    json.as_str().map_or_else(|| place.wanted(wanted, json), Ok)
}

fn array<'a>(json: &'a Value, place: &Place<'_>) -> Result<&'a [Value], Misfit> {
    json.as_array().map_or_else(|| place.wanted("an array", json), |items| Ok(items.as_slice()))
}

fn in_words(json: &Value) -> &'static str {
    match json {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The JSON of a value that a component handed over. Its type is what the component was compiled
/// with, so anything else is an error of ours: absent then.
pub(super) fn to_json(shape: &Shape, value: &Val) -> Option<Value> {
    Some(match (shape, value) {
        (Shape::Bool, Val::Bool(value)) => json!(value),
        (Shape::Integer(_), value) => match value {
            Val::U8(value) => json!(value),
            Val::U16(value) => json!(value),
            Val::U32(value) => json!(value),
            Val::U64(value) => json!(value),
            Val::S8(value) => json!(value),
            Val::S16(value) => json!(value),
            Val::S32(value) => json!(value),
            Val::S64(value) => json!(value),
            _ => return None,
        },
        (Shape::Float32, Val::Float32(value)) => number(f64::from(*value)),
        (Shape::Float64, Val::Float64(value)) => number(*value),
        (Shape::Char, Val::Char(value)) => json!(value),
        (Shape::Text, Val::String(value)) => json!(value),
        (Shape::Bytes, Val::List(bytes)) => {
            let byte = |byte: &Val| match byte {
                Val::U8(byte) => Some(*byte),
                _ => None,
            };
            json!(BASE64.encode(bytes.iter().map(byte).collect::<Option<Vec<u8>>>()?))
        }
        (Shape::List(element), Val::List(values)) => {
            Value::Array(values.iter().map(|value| to_json(element, value)).collect::<Option<_>>()?)
        }
        (Shape::Tuple(parts), Val::Tuple(values)) => Value::Array(
            parts
                .iter()
                .zip(values)
                .map(|(part, value)| to_json(part, value))
                .collect::<Option<_>>()?,
        ),
        (Shape::Record(fields), Val::Record(values)) => {
            let member = |(field, (_, value)): (&Field, &(String, Val))| {
                Some((field.name.json.clone(), to_json(&field.shape, value)?))
            };
            Value::Object(fields.iter().zip(values).map(member).collect::<Option<Map<_, _>>>()?)
        }
        (Shape::Variant(cases), Val::Variant(name, value)) => {
            let case = cases.iter().find(|case| case.name.wit == *name)?;
            match (&case.shape, value) {
                (Some(shape), Some(value)) => {
                    json!({ "tag": case.name.json, "value": to_json(shape, value)? })
                }
                _ => json!({ "tag": case.name.json }),
            }
        }
        (Shape::Enum(cases), Val::Enum(name)) => json!(json_name(cases, name)?),
        (Shape::Option(_), Val::Option(None)) => Value::Null,
        (Shape::Option(some), Val::Option(Some(value))) => match may_be_null(some) {
            true => json!({ "some": to_json(some, value)? }),
            false => to_json(some, value)?,
        },
        (Shape::Result(ok, err), Val::Result(result)) => {
            let payload =
                |shape: &Option<Box<Shape>>, value: &Option<Box<Val>>| match (shape, value) {
                    (Some(shape), Some(value)) => to_json(shape, value),
                    _ => Some(Value::Null),
                };
            match result {
                Ok(value) => json!({ "ok": payload(ok, value)? }),
                Err(value) => json!({ "err": payload(err, value)? }),
            }
        }
        (Shape::Flags(flags), Val::Flags(set)) => {
            let names = set.iter().map(|name| json_name(flags, name));
            json!(names.collect::<Option<Vec<_>>>()?)
        }
        _ => return None,
    })
}

fn json_name<'a>(names: &'a [Name], wit: &str) -> Option<&'a str> {
    names.iter().find(|name| name.wit == wit).map(|name| name.json.as_str())
}

/// JSON has no word for what is no number.
fn number(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
pub(super) fn read(shape: &Shape, json: &Value) -> Result<Val, Misfit> {
    from_json(shape, json, &Place::root())
}
