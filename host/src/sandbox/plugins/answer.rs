//! What a plugin hands over, checked as any stranger's words are.

use serde_json::value::RawValue;

use super::PluginOutcome;
use crate::limits::{LimitKind, LimitReached, Limits};
use crate::sandbox::bindings::guest::exports::toolcell::guest::plugin as wit;
use crate::sandbox::bindings::toolcell::guest::tools::ContentBlock as WitBlock;
use crate::tool::{ContentBlock, Json, ToolOutput};

/// Blocks in one answer.
const MAX_BLOCKS: usize = 10_000;

/// As much of a refusal's words as is kept.
const MAX_WORDS: usize = 4_000;

/// What became of a call.
pub(super) fn of_plugin(
    answer: Result<wit::Output, wit::Refusal>,
    tool: &str,
    limits: &Limits,
) -> PluginOutcome {
    match answer {
        Ok(output) => match output_of(output, limits) {
            Ok(Ok(output)) => PluginOutcome::Answered(output),
            Ok(Err(reached)) => PluginOutcome::LimitReached(reached),
            Err(problem) => PluginOutcome::Trapped(format!("the answer of `{tool}` {problem}")),
        },
        Err(wit::Refusal::UnknownTool(words)) => PluginOutcome::UnknownTool(short(&words)),
        Err(wit::Refusal::InvalidArguments(invalid)) => PluginOutcome::InvalidArguments {
            path: short(&invalid.path),
            message: short(&invalid.message),
        },
    }
}

fn short(words: &str) -> String {
    words.chars().take(MAX_WORDS).collect()
}

type Checked<T> = Result<T, String>;

fn output_of(output: wit::Output, limits: &Limits) -> Checked<Result<ToolOutput, LimitReached>> {
    if output.content.len() > MAX_BLOCKS {
        let count = output.content.len();
        return Err(format!("has {count} blocks; an answer may have {MAX_BLOCKS}"));
    }
    let content = output.content.into_iter().map(block).collect::<Checked<Vec<_>>>()?;
    let structured = output.structured.map(|text| json(text, "structured content", false));
    let structured = structured.transpose()?;
    let output = ToolOutput { content, structured, is_error: output.is_error, raw: None };
    Ok(within(output, limits))
}

/// The answer, unless it is larger than answers may be.
pub(super) fn within(output: ToolOutput, limits: &Limits) -> Result<ToolOutput, LimitReached> {
    let used = output.size_bytes() as u64;
    match used > limits.answer_bytes {
        true => Err(LimitReached { kind: LimitKind::Answer, limit: limits.answer_bytes, used }),
        false => Ok(output),
    }
}

fn block(block: WitBlock) -> Checked<ContentBlock> {
    Ok(match block {
        WitBlock::Text(text) => ContentBlock::Text(text),
        WitBlock::Image(media) => {
            ContentBlock::Image { data: media.data.into(), mime_type: media_type(media.mime_type)? }
        }
        WitBlock::Audio(media) => {
            ContentBlock::Audio { data: media.data.into(), mime_type: media_type(media.mime_type)? }
        }
        WitBlock::Resource(text) => ContentBlock::Resource(json(text, "resource", true)?),
        WitBlock::Other(text) => ContentBlock::Other(json(text, "block of another type", true)?),
    })
}

/// A media type goes into headers and records: it is short and plain.
fn media_type(text: String) -> Checked<String> {
    let plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    match (1..=256).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text),
        false => Err("has a media type that is none".to_owned()),
    }
}

fn json(text: String, what: &str, object: bool) -> Checked<Json> {
    let json = RawValue::from_string(text)
        .map_err(|error| format!("has {what} that is not JSON: {error}"))?;
    match object && !json.get().starts_with('{') {
        true => Err(format!("has a {what} that is not a JSON object")),
        false => Ok(json),
    }
}
