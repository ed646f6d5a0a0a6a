//! JavaScript values as JSON: the run's value, and the arguments of calls.
//!
//! As `JSON.stringify` does it, and beyond that: maps are objects, sets are arrays, bytes are text or
//! base64, errors have their name and message. What would silently be lost is refused in words.

use rquickjs::{Ctx, Function, Object, Value, object::Filter, qjs};

use crate::engine::{Part, engine};
use crate::text;

/// Deeper values are refused: each level takes some of the guest's stack.
const MAX_DEPTH: usize = 500;

/// Why a value has no JSON form, in words.
#[derive(Debug)]
pub(crate) struct NotJson(pub(crate) String);

/// The JSON text of a value; none for `undefined`. `strict` refuses numbers that JSON has not.
pub(crate) fn encode<'js>(value: &Value<'js>, strict: bool) -> Result<Option<String>, NotJson> {
    let mut encoder = Encoder { text: String::new(), path: Vec::new(), strict };
    if encoder.value(value.clone(), "")? {
        return Ok(Some(encoder.text));
    }
    match value.is_undefined() || value.is_object() && !value.is_function() {
        true => Ok(None),
        false => Err(NotJson(format!("a {} has no JSON form", value.type_name()))),
    }
}

struct Encoder {
    text: String,
    path: Vec<u64>,
    strict: bool,
}

impl Encoder {
    /// Appends a value; false if it is one that JSON leaves out.
    fn value(&mut self, value: Value<'_>, key: &str) -> Result<bool, NotJson> {
        if value.is_string() {
            self.string(&value);
        } else if let Some(number) = value.as_int() {
            self.text.push_str(&number.to_string());
        } else if let Some(number) = value.as_float() {
            self.number(number)?;
        } else if let Some(truth) = value.as_bool() {
            self.text.push_str(if truth { "true" } else { "false" });
        } else if value.is_null() {
            self.text.push_str("null");
        } else if value.is_big_int() {
            return Err(NotJson(
                "a BigInt has no JSON form: make it a Number, or a string with String(…)"
                    .to_owned(),
            ));
        } else if value.is_undefined() || value.is_function() || value.is_symbol() {
            return Ok(false);
        } else if value.is_object() {
            return self.object(value, key);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn number(&mut self, number: f64) -> Result<(), NotJson> {
        if !number.is_finite() {
            if self.strict {
                return Err(NotJson(format!("JSON has no number `{}`", shown(number))));
            }
            self.text.push_str("null");
        } else if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
            self.text.push_str(&(number as i64).to_string());
        } else {
            self.text.push_str(&format!("{number:?}"));
        }
        Ok(())
    }

    fn string(&mut self, value: &Value<'_>) {
        let mut plain = String::new();
        text::append(value, &mut plain);
        self.quoted(&plain);
    }

    fn quoted(&mut self, plain: &str) {
        self.text.reserve(plain.len() + 2);
        self.text.push('"');
        let mut from = 0;
        for (at, byte) in plain.bytes().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.text.push_str(&plain[from..at]);
            from = at + 1;
            match byte {
                b'"' => self.text.push_str("\\\""),
                b'\\' => self.text.push_str("\\\\"),
                b'\n' => self.text.push_str("\\n"),
                b'\r' => self.text.push_str("\\r"),
                b'\t' => self.text.push_str("\\t"),
                other => self.text.push_str(&format!("\\u{other:04x}")),
            }
        }
        self.text.push_str(&plain[from..]);
        self.text.push('"');
    }

    fn object(&mut self, value: Value<'_>, key: &str) -> Result<bool, NotJson> {
        let ctx = value.ctx().clone();
        let failed = |error| NotJson(thrown(&ctx, error));
        let object = value.into_object().expect("it is one");
        // The bits of an object's value are its address.
        let identity = address(object.as_value());
        if self.path.contains(&identity) {
            return Err(NotJson("the value is circular: an object contains itself".to_owned()));
        }
        if self.path.len() >= MAX_DEPTH {
            return Err(NotJson(format!("the value is nested more than {MAX_DEPTH} levels deep")));
        }
        self.path.push(identity);
        let given: Value<'_> = object.get("toJSON").map_err(failed)?;
        let done = if let Some(function) = given.as_function() {
            let plain: Value<'_> = call_method(function, &object, key).map_err(failed)?;
            // What `toJSON` gives may be the object itself, and is not asked again.
            self.path.pop();
            let done = match plain.as_object() {
                Some(made) if address(made.as_value()) == identity => {
                    self.path.push(identity);
                    let done = self.members(&object)?;
                    self.path.pop();
                    done
                }
                _ => self.value(plain, key)?,
            };
            return Ok(done);
        } else if is_exotic(&object) {
            let plain = engine().prelude(&ctx, Part::Plain);
            let plain: Value<'_> = plain.and_then(|f| f.call((object.clone(),))).map_err(failed)?;
            self.value(plain, key)?
        } else if object.is_array() {
            self.items(&object)?
        } else {
            self.members(&object)?
        };
        self.path.pop();
        Ok(done)
    }

    fn items(&mut self, object: &Object<'_>) -> Result<bool, NotJson> {
        let ctx = object.ctx();
        let array = object.as_array().expect("it is one");
        self.text.push('[');
        for nth in 0..array.len() {
            if nth > 0 {
                self.text.push(',');
            }
            let item: Value<'_> = array.get(nth).map_err(|error| NotJson(thrown(ctx, error)))?;
            if !self.value(item, "")? {
                self.text.push_str("null");
            }
        }
        self.text.push(']');
        Ok(true)
    }

    fn members(&mut self, object: &Object<'_>) -> Result<bool, NotJson> {
        let ctx = object.ctx();
        self.text.push('{');
        let mut first = true;
        for key in object.own_keys::<Value<'_>>(Filter::new().string().enum_only()) {
            let key = key.map_err(|error| NotJson(thrown(ctx, error)))?;
            let item: Value<'_> =
                object.get(key.clone()).map_err(|error| NotJson(thrown(ctx, error)))?;
            let before = self.text.len();
            if !first {
                self.text.push(',');
            }
            let name = name_of(&key);
            self.quoted(&name);
            self.text.push(':');
            if self.value(item, &name)? {
                first = false;
            } else {
                self.text.truncate(before);
            }
        }
        self.text.push('}');
        Ok(true)
    }
}

fn name_of(key: &Value<'_>) -> String {
    text::of(key).or_else(|| key.as_number().map(|index| index.to_string())).unwrap_or_default()
}

fn shown(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn call_method<'js>(
    function: &Function<'js>,
    object: &Object<'js>,
    key: &str,
) -> rquickjs::Result<Value<'js>> {
    function.call((rquickjs::function::This(object.clone()), key))
}

fn address(value: &Value<'_>) -> u64 {
    // SAFETY: it is an object's value, which holds a pointer.
    unsafe { qjs::JS_VALUE_GET_PTR(value.as_raw()) as usize as u64 }
}

/// Whether an object holds what its own properties do not show.
fn is_exotic(object: &Object<'_>) -> bool {
    let value = object.as_raw();
    // SAFETY: the value belongs to this context.
    unsafe {
        object.is_error()
            || qjs::JS_IsMap(value)
            || qjs::JS_IsSet(value)
            || qjs::JS_IsRegExp(value)
            || qjs::JS_IsArrayBuffer(value)
            || qjs::JS_GetTypedArrayType(value) >= 0
    }
}

/// What was thrown while a value was read.
fn thrown(ctx: &Ctx<'_>, error: rquickjs::Error) -> String {
    if !error.is_exception() {
        return format!("the value cannot be read: {error}");
    }
    let thrown = ctx.catch();
    let message = thrown.as_object().and_then(|error| error.get::<_, Value<'_>>("message").ok());
    let message = message.as_ref().and_then(text::of).or_else(|| text::of(&thrown));
    format!("the value cannot be read: {}", message.unwrap_or_default())
}
