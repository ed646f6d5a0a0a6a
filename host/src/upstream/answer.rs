//! Reads the result of `tools/call`, and what other results have in common with it. Lenient where a server is odd, so that nothing it sent is
//! lost; strict where a wrong guess would mislead the caller.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::tool::{ContentBlock, Json, ToolOutput};
use crate::upstream::message::{MAX_DEPTH, too_deep};

/// The most blocks of one answer. Each costs us some dozen bytes, even where it cost the server two.
const MAX_BLOCKS: usize = 10_000;

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow, rename = "resultType")]
    result_type: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow, rename = "structuredContent")]
    structured: Option<&'a RawValue>,
    #[serde(borrow, rename = "isError")]
    is_error: Option<&'a RawValue>,
}

/// Reads a result.
///
/// # Errors
/// It is no finished answer to a call; the text says what it is instead.
pub(super) fn read(result: Json) -> Result<ToolOutput, String> {
    let written: Written<'_> = parse(&result)?;
    check_type(written.result_type)?;
    let output = ToolOutput {
        content: written.content.map_or_else(|| Ok(Vec::new()), read_content)?,
        structured: written.structured.map(ToOwned::to_owned),
        is_error: written.is_error.is_some_and(|flag| flag.get() == "true"),
        raw: None,
    };
    Ok(ToolOutput { raw: Some(Arc::new(result)), ..output })
}

/// Reads the first level of a result.
pub(super) fn parse<'a, T: Deserialize<'a>>(result: &'a RawValue) -> Result<T, String> {
    if too_deep(result.get()) {
        return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
    }
    serde_json::from_str(result.get())
        .map_err(|error| format!("the result is not an object of the right form: {error}"))
}

/// Whether a result is the answer, by its `resultType` (revision 2026-07-28).
pub(super) fn check_type(result_type: Option<&RawValue>) -> Result<(), String> {
    match result_type.map(RawValue::get) {
        None | Some("\"complete\"") => Ok(()),
        Some("\"input_required\"") => Err("it asks for more input and says not how".to_owned()),
        Some("\"task\"") => {
            Err("it started a background task, which this host does not follow".to_owned())
        }
        Some(other) => {
            let other: String = other.chars().take(60).collect();
            Err(format!("its result type {other} is unknown"))
        }
    }
}

fn read_content(content: &RawValue) -> Result<Vec<ContentBlock>, String> {
    if !content.get().starts_with('[') {
        return Ok(vec![ContentBlock::Other(content.to_owned())]);
    }
    let Blocks(blocks) =
        serde_json::from_str(content.get()).map_err(|error| format!("its content: {error}"))?;
    Ok(blocks.into_iter().map(read_block).collect())
}

/// A bounded list.
pub(super) struct Blocks<'a>(pub(super) Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Blocks<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BlocksVisitor)
    }
}

struct BlocksVisitor;

impl<'de> Visitor<'de> for BlocksVisitor {
    type Value = Blocks<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of content blocks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut blocks = Vec::new();
        while let Some(block) = list.next_element()? {
            if blocks.len() == MAX_BLOCKS {
                return Err(A::Error::custom(format!("there are more than {MAX_BLOCKS} blocks")));
            }
            blocks.push(block);
        }
        Ok(Blocks(blocks))
    }
}

#[derive(Deserialize)]
struct WrittenBlock<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "mimeType")]
    mime_type: Option<Cow<'a, str>>,
}

/// A block that does not fit its own type is passed on as it came.
pub(super) fn read_block(raw: &RawValue) -> ContentBlock {
    serde_json::from_str(raw.get())
        .ok()
        .and_then(|block| known_block(block, raw))
        .unwrap_or_else(|| ContentBlock::Other(raw.to_owned()))
}

fn known_block(block: WrittenBlock<'_>, raw: &RawValue) -> Option<ContentBlock> {
    match &*block.kind {
        "text" => Some(ContentBlock::Text(block.text?.into_owned())),
        "image" => {
            let mime_type = block.mime_type?.into_owned();
            Some(ContentBlock::Image { data: decode(&block.data?)?, mime_type })
        }
        "audio" => {
            let mime_type = block.mime_type?.into_owned();
            Some(ContentBlock::Audio { data: decode(&block.data?)?, mime_type })
        }
        "resource" | "resource_link" => Some(ContentBlock::Resource(Json::from(raw.to_owned()))),
        _ => None,
    }
}

fn decode(data: &str) -> Option<bytes::Bytes> {
    BASE64_STANDARD.decode(data.trim_ascii()).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(json: &str) -> Result<ToolOutput, String> {
        read(RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn blocks_are_read_by_type_and_the_odd_ones_pass_as_they_came() {
        #[track_caller]
        fn check(block: &str, expected: &str) {
            let output = result(&format!(r#"{{"content":[{block}]}}"#)).unwrap();
            assert_eq!(format!("{:?}", output.content[0]), expected);
        }
        check(r#"{"type":"text","text":"a\nb"}"#, r#"Text("a\nb")"#);
        check(
            r#"{"type":"text","text":"x","annotations":{"audience":["robot"]},"new":1}"#,
            r#"Text("x")"#,
        );
        check(
            r#"{"type":"image","data":"aGk=","mimeType":"image/png"}"#,
            r#"Image { data: b"hi", mime_type: "image/png" }"#,
        );
        check(
            r#"{"type":"audio","data":"aGk=","mimeType":"audio/wav"}"#,
            r#"Audio { data: b"hi", mime_type: "audio/wav" }"#,
        );
        for (kind, block) in [
            ("Other", r#"{"type":"image","data":"%%%","mimeType":"image/png"}"#),
            ("Other", r#"{"type":"hologram","data":[1,2]}"#),
            ("Other", r#"{"type":"text","text":5}"#),
            ("Other", r#"{"no":"type"}"#),
            ("Other", "17"),
            ("Resource", r#"{"type":"resource_link","uri":"a://b","extra":12345678901234567890}"#),
            ("Resource", r#"{"type":"resource","resource":{"uri":"a://b","text":""}}"#),
        ] {
            check(block, &format!("{kind}(RawValue({block}))"));
        }
    }

    #[test]
    fn structured_content_keeps_every_digit() {
        let output = result(r#"{"structuredContent":{"n":123456789012345678901234567890.10}}"#);
        let structured = output.unwrap().structured.unwrap();
        assert_eq!(structured.get(), r#"{"n":123456789012345678901234567890.10}"#);
    }

    #[test]
    fn a_failure_of_the_tool_is_an_answer() {
        let output = result(r#"{"content":[{"type":"text","text":"no"}],"isError":true}"#).unwrap();
        assert!(output.is_error);
        assert_eq!(output.first_text(), "no");
        let output = result("{}").unwrap();
        assert!(!output.is_error && output.content.is_empty() && output.structured.is_none());
    }

    #[test]
    fn what_is_no_finished_answer_is_refused_in_words() {
        #[track_caller]
        fn check(json: &str, part: &str) {
            let error = result(json).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        check(r#"{"resultType":"task","taskId":"1"}"#, "background task");
        check(r#"{"resultType":"other"}"#, "unknown");
        check("[]", "not an object");
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        check(&format!(r#"{{"structuredContent":{deep}}}"#), "deeper than 127");
        let many = vec!["1"; MAX_BLOCKS + 1].join(",");
        check(&format!(r#"{{"content":[{many}]}}"#), "more than 10000 blocks");
    }
}
