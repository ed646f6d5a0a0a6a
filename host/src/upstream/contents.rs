//! Reads the results of `resources/read` and `prompts/get`. They are looked at, not taken apart: who
//! passes one on passes the server's own text, and who wants its parts decodes them then.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{self, Blocks};
use crate::tool::{ContentBlock, Json};

/// What a resource had in it when it was read.
#[derive(Clone, Debug)]
pub struct ResourceOutput {
    raw: Json,
}

/// One part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceContent {
    /// What this is: the resource itself, or a part of it.
    pub uri: String,
    /// Its media type.
    pub mime_type: Option<String>,
    /// What is in it.
    pub body: ResourceBody,
}

/// Text, or anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceBody {
    /// Text.
    Text(String),
    /// Bytes, decoded.
    Blob(Bytes),
}

impl ResourceOutput {
    /// Takes a result.
    ///
    /// # Errors
    /// It has no contents that can be read; the text says why.
    pub(super) fn read(raw: Json) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Written<'a> {
            #[serde(borrow, rename = "resultType")]
            result_type: Option<&'a RawValue>,
            #[serde(borrow)]
            contents: Blocks<'a>,
        }
        let written: Written<'_> = answer::parse(&raw)?;
        answer::check_type(written.result_type)?;
        for (nth, part) in written.contents.0.iter().enumerate() {
            if content(part).is_none() {
                return Err(format!("number {} of its contents is neither text nor blob", nth + 1));
            }
        }
        Ok(Self { raw })
    }

    /// The parts, in the server's order.
    pub fn contents(&self) -> Vec<ResourceContent> {
        #[derive(Deserialize)]
        struct Written<'a> {
            #[serde(borrow)]
            contents: Vec<&'a RawValue>,
        }
        let written = serde_json::from_str::<Written<'_>>(self.raw.get());
        let parts = written.map(|written| written.contents).unwrap_or_default();
        parts.into_iter().filter_map(content).collect()
    }

    /// The whole result as the server sent it, `_meta` included.
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// The same, to keep.
    pub fn into_raw(self) -> Json {
        self.raw
    }
}

fn content(raw: &RawValue) -> Option<ResourceContent> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Written<'a> {
        #[serde(borrow)]
        uri: Option<Cow<'a, str>>,
        #[serde(borrow)]
        mime_type: Option<Cow<'a, str>>,
        #[serde(borrow)]
        text: Option<Cow<'a, str>>,
        #[serde(borrow)]
        blob: Option<Cow<'a, str>>,
    }
    let written: Written<'_> = serde_json::from_str(raw.get()).ok()?;
    let body = match (written.text, written.blob) {
        (Some(text), _) => ResourceBody::Text(text.into_owned()),
        (None, Some(blob)) => {
            ResourceBody::Blob(BASE64_STANDARD.decode(blob.trim_ascii()).ok()?.into())
        }
        (None, None) => return None,
    };
    Some(ResourceContent {
        uri: written.uri.unwrap_or_default().into_owned(),
        mime_type: written.mime_type.map(Cow::into_owned),
        body,
    })
}

/// A prompt, filled in.
#[derive(Clone, Debug)]
pub struct PromptOutput {
    raw: Json,
}

/// One message of it.
#[derive(Clone, Debug)]
pub struct PromptMessage {
    /// Who says it: `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: ContentBlock,
}

impl PromptOutput {
    /// Takes a result.
    ///
    /// # Errors
    /// It has no messages; the text says why.
    pub(super) fn read(raw: Json) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Written<'a> {
            #[serde(borrow, rename = "resultType")]
            result_type: Option<&'a RawValue>,
            #[serde(borrow)]
            messages: Blocks<'a>,
        }
        let written: Written<'_> = answer::parse(&raw)?;
        answer::check_type(written.result_type)?;
        for (nth, said) in written.messages.0.iter().enumerate() {
            if message(said).is_none() {
                return Err(format!("number {} of its messages has no role or content", nth + 1));
            }
        }
        Ok(Self { raw })
    }

    /// What the server says that it is.
    pub fn description(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Written {
            description: Option<String>,
        }
        serde_json::from_str::<Written>(self.raw.get()).ok()?.description
    }

    /// The messages, in the server's order.
    pub fn messages(&self) -> Vec<PromptMessage> {
        #[derive(Deserialize)]
        struct Written<'a> {
            #[serde(borrow)]
            messages: Vec<&'a RawValue>,
        }
        let written = serde_json::from_str::<Written<'_>>(self.raw.get());
        let said = written.map(|written| written.messages).unwrap_or_default();
        said.into_iter().filter_map(message).collect()
    }

    /// The whole result as the server sent it, `_meta` included.
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// The same, to keep.
    pub fn into_raw(self) -> Json {
        self.raw
    }
}

fn message(raw: &RawValue) -> Option<PromptMessage> {
    #[derive(Deserialize)]
    struct Written<'a> {
        role: String,
        #[serde(borrow)]
        content: &'a RawValue,
    }
    let written: Written<'_> = serde_json::from_str(raw.get()).ok()?;
    Some(PromptMessage { role: written.role, content: answer::read_block(written.content) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Json {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn contents_are_text_or_bytes_and_the_rest_is_kept_as_it_came() {
        let json = r#"{"contents":[{"uri":"a://1","mimeType":"text/plain","text":"a\nb"},
            {"uri":"a://2","blob":"aGk="}],"_meta":{"n":123456789012345678901234567890}}"#;
        let output = ResourceOutput::read(raw(json)).unwrap();
        let bodies: Vec<_> = output.contents().into_iter().map(|part| part.body).collect();
        let expected = [ResourceBody::Text("a\nb".into()), ResourceBody::Blob(Bytes::from("hi"))];
        assert_eq!(bodies, expected);
        assert_eq!(output.raw().get(), json);
    }

    #[test]
    fn what_is_no_answer_is_refused_in_words() {
        #[track_caller]
        fn check(json: &str, part: &str) {
            let error = ResourceOutput::read(raw(json)).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        check("{}", "contents");
        check(r#"{"contents":[{"uri":"a://1"}]}"#, "number 1");
        check(r#"{"contents":[{"uri":"a://1","blob":"%%"}]}"#, "number 1");
        check(r#"{"resultType":"task","contents":[]}"#, "background task");
        let many = vec!["1"; 10_001].join(",");
        check(&format!(r#"{{"contents":[{many}]}}"#), "more than 10000");
    }

    #[test]
    fn messages_have_a_role_and_content_of_any_kind() {
        let json = r#"{"description":"d","messages":[
            {"role":"user","content":{"type":"text","text":"hello"}},
            {"role":"assistant","content":{"type":"hologram"}}]}"#;
        let output = PromptOutput::read(raw(json)).unwrap();
        assert_eq!(output.description().as_deref(), Some("d"));
        let messages = output.messages();
        assert!(matches!(&messages[0].content, ContentBlock::Text(text) if text == "hello"));
        assert!(matches!(&messages[1].content, ContentBlock::Other(_)));
        assert!(PromptOutput::read(raw(r#"{"messages":[{"role":"user"}]}"#)).is_err());
    }
}
