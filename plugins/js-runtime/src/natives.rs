//! The functions that the prelude is given: `host`. Each converts, calls, and converts back.

use std::cell::{Cell, UnsafeCell};

use rquickjs::{
    Array, Ctx, Exception, FromJs, Function, Object, Persistent, Result, TypedArray, Value,
};
use toolcell_js_prepare as prepare;

use crate::bindings::toolcell::guest::{asks, console, events, prompts, resources, state, tools};
use crate::{answers, host, json, program, text, urls};

/// A string argument; anything else is refused.
struct Text(String);

impl<'js> FromJs<'js> for Text {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        text::of(&value).map(Self).ok_or_else(|| {
            let kind = value.type_name();
            Exception::throw_type(ctx, &format!("a string is wanted here, not {kind}"))
        })
    }
}

const LEVELS: [events::Level; 8] = [
    events::Level::Debug,
    events::Level::Info,
    events::Level::Notice,
    events::Level::Warning,
    events::Level::Error,
    events::Level::Critical,
    events::Level::Alert,
    events::Level::Emergency,
];

/// The object with all of them.
pub(crate) fn object<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let host = Object::new(ctx.clone())?;
    macro_rules! function {
        ($name:literal, $function:expr) => {
            host.set($name, Function::new(ctx.clone(), $function)?)?
        };
    }
    function!("write", |to: i32, text: Text| {
        let to = if to == 0 { console::Stream::Stdout } else { console::Stream::Stderr };
        host::write(to, text.0.as_bytes());
    });
    function!("isOpen", host::is_open);
    function!("monotonic", host::monotonic_ms);
    function!("random", random);
    function!("randomBytes", |ctx: Ctx<'js>, count: usize| TypedArray::new(
        ctx,
        host::random_bytes(count)
    ));
    function!("servers", host::servers);
    function!("names", |ctx: Ctx<'js>, server: Text| {
        awake(&ctx)?;
        match tools::names(&server.0) {
            Ok(names) => list(&ctx, names),
            Err(error) => answers::call_error(&ctx, error).map(Object::into_value),
        }
    });
    function!("describe", |ctx: Ctx<'js>, name: Text| {
        awake(&ctx)?;
        match tools::describe(&name.0) {
            Ok(tool) => answers::tool(&ctx, tool),
            Err(error) => answers::call_error(&ctx, error),
        }
    });
    function!("start", |ctx: Ctx<'js>, name: Text, arguments: Value<'js>| {
        Ok::<_, rquickjs::Error>(tools::start(&name.0, &encoded(&ctx, &name.0, &arguments)?) as f64)
    });
    function!("startRead", |server: Text, uri: Text| resources::start(&server.0, &uri.0) as f64);
    function!("startPrompt", |ctx: Ctx<'js>, name: Text, arguments: Value<'js>| {
        let arguments = encoded(&ctx, &name.0, &arguments)?;
        Ok::<_, rquickjs::Error>(prompts::start(&name.0, &arguments) as f64)
    });
    function!("stateGet", |ctx: Ctx<'js>, key: Text| awake(&ctx).map(|()| state::get(&key.0)));
    function!("stateSet", |ctx: Ctx<'js>, key: Text, value: Value<'js>| {
        let value = encoded(&ctx, "state", &value)?;
        match state::set(&key.0, &value) {
            Ok(()) => Ok(Value::new_undefined(ctx)),
            Err(full) => {
                let full = tools::CallError::Exhausted(full);
                answers::call_error(&ctx, full).map(Object::into_value)
            }
        }
    });
    function!("stateDelete", |ctx: Ctx<'js>, key: Text| awake(&ctx)
        .map(|()| state::delete(&key.0)));
    function!("stateKeys", |ctx: Ctx<'js>| awake(&ctx).map(|()| state::keys()));
    function!("abilities", |ctx: Ctx<'js>| {
        awake(&ctx)?;
        let able = asks::abilities();
        let object = Object::new(ctx)?;
        object.set("elicitation", able.contains(asks::Ability::ELICITATION))?;
        object.set("sampling", able.contains(asks::Ability::SAMPLING))?;
        Ok::<_, rquickjs::Error>(object)
    });
    function!("elicit", |ctx: Ctx<'js>, message: Text, schema: Value<'js>| {
        let schema = encoded(&ctx, "elicitation", &schema)?;
        let object = Object::new(ctx.clone())?;
        let action = match asks::elicit(&message.0, &schema) {
            Ok(asks::Elicited::Accepted(content)) => {
                object.set("content", ctx.json_parse(content)?)?;
                "accept"
            }
            Ok(asks::Elicited::Declined) => "decline",
            Ok(asks::Elicited::Cancelled) => "cancel",
            Err(error) => return answers::call_error(&ctx, error),
        };
        object.set("action", action)?;
        Ok(object)
    });
    function!("sample", |ctx: Ctx<'js>, params: Value<'js>| {
        let params = encoded(&ctx, "sampling", &params)?;
        match asks::sample(&params) {
            Ok(result) => {
                let object = Object::new(ctx.clone())?;
                object.set("result", ctx.json_parse(result)?)?;
                Ok(object)
            }
            Err(error) => answers::call_error(&ctx, error),
        }
    });
    function!("wait", |ctx: Ctx<'js>, milliseconds: f64| {
        // Rounded up: waking a little early would only make the loop turn once more.
        let timeout = (milliseconds >= 0.0).then(|| (milliseconds * 1e6).ceil() as u64);
        answers::completions(&ctx, host::wait(timeout))
    });
    function!("cancel", |id: f64| tools::cancel(id as u64));
    function!("resourceServers", resources::servers);
    function!("resources", |ctx: Ctx<'js>, server: Text| resource_list(&ctx, &server.0));
    function!("templates", |ctx: Ctx<'js>, server: Text| template_list(&ctx, &server.0));
    function!("promptServers", prompts::servers);
    function!("prompts", |ctx: Ctx<'js>, server: Text| prompt_list(&ctx, &server.0));
    function!("progress", |done: f64, total: Option<f64>, message: Option<Text>| {
        events::progress(done, total, message.as_ref().map(|message| message.0.as_str()));
    });
    function!("log", |level: usize, message: Text| {
        events::log(LEVELS[level.min(LEVELS.len() - 1)], &message.0);
    });
    function!("nearest", |wanted: Text, names: Vec<Text>| {
        let names: Vec<&str> = names.iter().map(|name| name.0.as_str()).collect();
        let near = prepare::nearest(&wanted.0, &names);
        near.into_iter().map(str::to_owned).collect::<Vec<_>>()
    });
    function!("cannotImport", |name: Text| prepare::cannot_import(&name.0));
    function!("ownFrames", |stack: Text, max: usize| program::own_frames(&stack.0, max));
    function!("isProxy", |value: Value<'js>| value.is_proxy());
    function!("encodeUtf8", |ctx: Ctx<'js>, text: Text| TypedArray::new(ctx, text.0.into_bytes()));
    function!("decodeText", |bytes: TypedArray<'js, u8>, encoding: Text, fatal: bool| {
        decode(held(&bytes), &encoding.0, fatal)
    });
    function!("completeUntil", |bytes: TypedArray<'js, u8>, encoding: Text| {
        complete_until(held(&bytes), &encoding.0)
    });
    function!("base64", |bytes: TypedArray<'js, u8>| to_base64(held(&bytes)));
    function!("fromBase64", |ctx: Ctx<'js>, text: Text| match from_base64(&text.0) {
        Some(bytes) => TypedArray::new(ctx, bytes),
        None => Err(Exception::throw_type(&ctx, "the text is no base64")),
    });
    function!("percentDecode", |text: Text| urls::percent_decode(&text.0));
    function!("parseUrl", |text: Text, base: Option<Text>| {
        urls::parse(&text.0, base.as_ref().map(|base| base.0.as_str()))
    });
    function!("urlPart", |url: Text, part: Text| urls::part(&url.0, &part.0));
    function!("setUrl", |url: Text, part: Text, value: Text| urls::set(&url.0, &part.0, &value.0));
    Ok(host)
}

/// The bytes of an array, to be read before anything else runs.
fn held<'a>(array: &'a TypedArray<'_, u8>) -> &'a [u8] {
    // SAFETY: no JavaScript runs while they are read, so nobody changes or frees them.
    array.as_raw().map_or(&[], |bytes| unsafe { bytes.as_ref() })
}

fn list<'js>(ctx: &Ctx<'js>, names: Vec<String>) -> Result<Value<'js>> {
    let array = Array::new(ctx.clone())?;
    for (nth, name) in names.into_iter().enumerate() {
        array.set(nth, name)?;
    }
    Ok(array.into_value())
}

/// Whether there is a run that could call anything.
///
/// # Errors
/// A plugin is just being built.
fn awake(ctx: &Ctx<'_>) -> Result<()> {
    match host::is_open() {
        true => Ok(()),
        false => Err(Exception::throw_type(
            ctx,
            "nothing can be called while a plugin is built: call it in the tool's function",
        )),
    }
}

/// The JSON of a call's arguments.
fn encoded<'js>(ctx: &Ctx<'js>, name: &str, arguments: &Value<'js>) -> Result<String> {
    awake(ctx)?;
    match json::encode(arguments, true) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Ok("{}".to_owned()),
        Err(why) => {
            let argument = arguments.as_object().and_then(|all| blame(all));
            let whose = argument.map_or(String::new(), |name| format!("argument `{name}` of "));
            Err(Exception::throw_type(ctx, &format!("{whose}`{name}`: {}", why.0)))
        }
    }
}

/// The argument that has no JSON form. Only on failure, so encoding each once more does not matter.
fn blame(arguments: &Object<'_>) -> Option<String> {
    arguments
        .props::<String, Value<'_>>()
        .flatten()
        .find_map(|(name, value)| json::encode(&value, true).is_err().then_some(name))
}

struct RandomState(Cell<Option<[u64; 2]>>);

// SAFETY: a wasm guest has one thread.
unsafe impl Sync for RandomState {}

/// None until the run's first number: nothing of the snapshot decides what it is.
static RANDOM: RandomState = RandomState(Cell::new(None));

/// `Math.random`: xorshift128+, seeded by the host in each run.
fn random() -> f64 {
    let [mut one, other] =
        RANDOM.0.get().unwrap_or_else(|| [host::random_u64() | 1, host::random_u64()]);
    one ^= one << 23;
    one ^= (one >> 17) ^ other ^ (other >> 26);
    if host::is_open() {
        RANDOM.0.set(Some([other, one]));
    }
    (one.wrapping_add(other) >> 11) as f64 / (1u64 << 53) as f64
}

/// The prelude's function that keeps count of rejections.
struct Rejected(UnsafeCell<Option<Persistent<Function<'static>>>>);

// SAFETY: a wasm guest has one thread.
unsafe impl Sync for Rejected {}

static REJECTED: Rejected = Rejected(UnsafeCell::new(None));

pub(crate) fn keep_rejected(function: Persistent<Function<'static>>) {
    // SAFETY: called once, at the start.
    unsafe { *REJECTED.0.get() = Some(function) }
}

/// Tells the prelude that a promise was rejected without a handler, or got one after all.
pub(crate) fn rejected<'js>(promise: Value<'js>, reason: Value<'js>, handled: bool) {
    let ctx = promise.ctx().clone();
    // SAFETY: set once, at the start.
    let kept = unsafe { (*REJECTED.0.get()).clone() };
    if let Some(Ok(function)) = kept.map(|kept| kept.restore(&ctx)) {
        // It may fail for lack of memory or stack; then something else fails, too.
        let _: Result<()> = function.call((promise, reason, handled));
    }
}

fn optional<'js>(object: &Object<'js>, name: &str, value: Option<String>) -> Result<()> {
    value.map_or(Ok(()), |value| object.set(name, value))
}

fn resource_list<'js>(ctx: &Ctx<'js>, server: &str) -> Result<Value<'js>> {
    let listed = match resources::listed(server) {
        Ok(listed) => listed,
        Err(error) => return answers::call_error(ctx, error).map(Object::into_value),
    };
    let array = Array::new(ctx.clone())?;
    for (nth, it) in listed.into_iter().enumerate() {
        let object = Object::new(ctx.clone())?;
        object.set("uri", it.uri)?;
        object.set("name", it.name)?;
        optional(&object, "title", it.title)?;
        optional(&object, "description", it.description)?;
        optional(&object, "mimeType", it.mime_type)?;
        if let Some(size) = it.size {
            object.set("size", size as f64)?;
        }
        array.set(nth, object)?;
    }
    Ok(array.into_value())
}

fn template_list<'js>(ctx: &Ctx<'js>, server: &str) -> Result<Value<'js>> {
    let listed = match resources::templates(server) {
        Ok(listed) => listed,
        Err(error) => return answers::call_error(ctx, error).map(Object::into_value),
    };
    let array = Array::new(ctx.clone())?;
    for (nth, it) in listed.into_iter().enumerate() {
        let object = Object::new(ctx.clone())?;
        object.set("uriTemplate", it.uri_template)?;
        object.set("name", it.name)?;
        optional(&object, "title", it.title)?;
        optional(&object, "description", it.description)?;
        optional(&object, "mimeType", it.mime_type)?;
        array.set(nth, object)?;
    }
    Ok(array.into_value())
}

fn prompt_list<'js>(ctx: &Ctx<'js>, server: &str) -> Result<Value<'js>> {
    let listed = match prompts::listed(server) {
        Ok(listed) => listed,
        Err(error) => return answers::call_error(ctx, error).map(Object::into_value),
    };
    let array = Array::new(ctx.clone())?;
    for (nth, it) in listed.into_iter().enumerate() {
        let object = Object::new(ctx.clone())?;
        object.set("name", it.name)?;
        optional(&object, "title", it.title)?;
        optional(&object, "description", it.description)?;
        let arguments = Array::new(ctx.clone())?;
        for (nth, argument) in it.arguments.into_iter().enumerate() {
            let object = Object::new(ctx.clone())?;
            object.set("name", argument.name)?;
            optional(&object, "description", argument.description)?;
            object.set("required", argument.required)?;
            arguments.set(nth, object)?;
        }
        object.set("arguments", arguments)?;
        array.set(nth, object)?;
    }
    Ok(array.into_value())
}

fn decode(bytes: &[u8], encoding: &str, fatal: bool) -> Option<String> {
    match encoding {
        "utf-16le" => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
            let characters = char::decode_utf16(units);
            Some(characters.map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        "windows-1252" => Some(bytes.iter().map(|&byte| char::from(byte)).collect()),
        _ if fatal => std::str::from_utf8(bytes).ok().map(str::to_owned),
        _ => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// Where the last whole character of a piece of a stream ends.
fn complete_until(bytes: &[u8], encoding: &str) -> usize {
    match encoding {
        "utf-16le" => bytes.len() & !1,
        "windows-1252" => bytes.len(),
        _ => match std::str::from_utf8(bytes) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            // What is wrong in the middle is not waited for; at most three bytes of the end are.
            Err(_) => {
                let from = bytes.len().saturating_sub(3);
                let start = bytes[from..].iter().rposition(|byte| byte & 0xc0 == 0xc0);
                match start.map(|start| from + start) {
                    Some(start) if std::str::from_utf8(&bytes[start..]).is_err() => start,
                    _ => bytes.len(),
                }
            }
            Ok(_) => bytes.len(),
        },
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |nth: usize| u32::from(three.get(nth).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for nth in 0..4 {
            let letter = BASE64[(bits >> (18 - 6 * nth) & 63) as usize];
            text.push(if nth <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => break,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}
