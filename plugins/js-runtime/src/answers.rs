//! What the host answers, as JavaScript values for the prelude.

use rquickjs::{Array, Ctx, Object, Result, TypedArray, Value};

use crate::bindings::toolcell::guest::tools::{
    CallError, Completion, ContentBlock, Media, Output, Tool,
};
use crate::engine::{Part, engine};

/// `[id, answer, id, answer, …]`
pub(crate) fn completions<'js>(ctx: &Ctx<'js>, done: Vec<Completion>) -> Result<Array<'js>> {
    let array = Array::new(ctx.clone())?;
    for (nth, completion) in done.into_iter().enumerate() {
        array.set(2 * nth, completion.id as f64)?;
        let answer = match completion.answer {
            Ok(answer) => output(ctx, answer)?,
            Err(error) => call_error(ctx, error)?,
        };
        array.set(2 * nth + 1, answer)?;
    }
    Ok(array)
}

fn output<'js>(ctx: &Ctx<'js>, answer: Output) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("isError", answer.is_error)?;
    object.set("hasStructured", answer.structured.is_some())?;
    let wants_content = answer.is_error || answer.structured.is_none();
    if let Some(text) = answer.structured {
        object.set("structured", ctx.json_parse(text)?)?;
    }
    let content = Array::new(ctx.clone())?;
    if wants_content {
        for (nth, block) in answer.content.into_iter().enumerate() {
            content.set(nth, self::block(ctx, block)?)?;
        }
    }
    object.set("content", content)?;
    Ok(object)
}

fn block<'js>(ctx: &Ctx<'js>, block: ContentBlock) -> Result<Value<'js>> {
    match block {
        ContentBlock::Text(text) => rquickjs::String::from_str(ctx.clone(), &text).map(Into::into),
        ContentBlock::Image(media) => self::media(ctx, "image", media),
        ContentBlock::Audio(media) => self::media(ctx, "audio", media),
        ContentBlock::Resource(json) | ContentBlock::Other(json) => ctx.json_parse(json),
    }
}

fn media<'js>(ctx: &Ctx<'js>, kind: &str, media: Media) -> Result<Value<'js>> {
    let data = TypedArray::new(ctx.clone(), media.data)?;
    engine().prelude(ctx, Part::Media)?.call((kind, data, media.mime_type))
}

/// A granted tool; its schemas are texts.
pub(crate) fn tool<'js>(ctx: &Ctx<'js>, tool: Tool) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("name", tool.name)?;
    object.set("inputSchema", tool.input_schema)?;
    if let Some(title) = tool.title {
        object.set("title", title)?;
    }
    if let Some(description) = tool.description {
        object.set("description", description)?;
    }
    if let Some(schema) = tool.output_schema {
        object.set("outputSchema", schema)?;
    }
    Ok(object)
}

/// A call's error: `kind` and `message`, and what goes with the kind.
pub(crate) fn call_error<'js>(ctx: &Ctx<'js>, error: CallError) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    let (kind, message) = match error {
        CallError::Denied(message) => ("denied", message),
        CallError::UnknownTool(message) => ("unknown-tool", message),
        CallError::Unavailable(message) => ("unavailable", message),
        CallError::Interrupted(message) => ("interrupted", message),
        CallError::Cancelled => ("cancelled", "the call was cancelled".to_owned()),
        CallError::InvalidArguments(detail) => {
            object.set("path", detail.path)?;
            ("invalid-arguments", detail.message)
        }
        CallError::TimedOut(detail) => {
            object.set("afterMs", detail.after_ms as f64)?;
            object.set("phase", detail.phase)?;
            ("timed-out", detail.message)
        }
        CallError::Rejected(detail) => {
            object.set("code", detail.code as f64)?;
            if let Some(data) = detail.data {
                object.set("data", ctx.json_parse(data)?)?;
            }
            ("rejected", detail.message)
        }
        CallError::Exhausted(detail) => {
            object.set("limitName", detail.limit_name)?;
            object.set("limit", detail.limit as f64)?;
            object.set("used", detail.used as f64)?;
            ("exhausted", detail.message)
        }
    };
    object.set("kind", kind)?;
    object.set("message", message)?;
    Ok(object)
}
