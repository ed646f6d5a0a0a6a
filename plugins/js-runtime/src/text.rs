//! Texts between QuickJS and Rust. A JavaScript string may hold half of a surrogate pair, which no
//! UTF-8 has: it becomes U+FFFD on its way out.

use rquickjs::{Ctx, Value, qjs};

/// The text of a string; of anything else, nothing.
pub(crate) fn of<'js>(value: &Value<'js>) -> Option<String> {
    value.is_string().then(|| {
        let mut text = std::string::String::new();
        append(value, &mut text);
        text
    })
}

/// Appends the text of a string.
pub(crate) fn append(value: &Value<'_>, to: &mut String) {
    with_bytes(value.ctx(), value, |bytes| match std::str::from_utf8(bytes) {
        Ok(text) => to.push_str(text),
        Err(_) => to.push_str(&well_formed(bytes)),
    });
}

fn with_bytes(ctx: &Ctx<'_>, value: &Value<'_>, take: impl FnOnce(&[u8])) {
    let mut length = 0;
    // SAFETY: the value belongs to this context; the pointer, if there is one, is good for `length` bytes
    // until it is freed, which is after the last use.
    unsafe {
        let start =
            qjs::JS_ToCStringLen2(ctx.as_raw().as_ptr(), &mut length, value.as_raw(), false);
        if start.is_null() {
            return;
        }
        take(std::slice::from_raw_parts(start.cast(), length as usize));
        qjs::JS_FreeCString(ctx.as_raw().as_ptr(), start);
    }
}

/// QuickJS writes half of a pair as three bytes, as if it were a character.
fn well_formed(mut bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    loop {
        match std::str::from_utf8(bytes) {
            Ok(rest) => {
                text.push_str(rest);
                return text;
            }
            Err(error) => {
                let (good, bad) = bytes.split_at(error.valid_up_to());
                text.push_str(std::str::from_utf8(good).unwrap_or_default());
                text.push(char::REPLACEMENT_CHARACTER);
                let surrogate = bad.len() >= 3 && bad[0] == 0xed && bad[1] >= 0xa0;
                bytes = &bad[if surrogate { 3 } else { 1 }..];
            }
        }
    }
}
