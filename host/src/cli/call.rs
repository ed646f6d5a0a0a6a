//! `toolcell call`

use serde_json::json;
use toolcell::tool::{CallAnswer, CallError, ContentBlock, ToolOutput};

use super::args::{CallArgs, Cli};
use super::exit::Exit;
use super::failure::Failure;
use super::pretty::pretty;
use super::setup;

pub(super) async fn call(cli: &Cli, args: &CallArgs) -> Result<Exit, Failure> {
    let config = setup::config(cli)?;
    let profile = setup::profile(&config, &args.grants, Vec::new())?;
    let host = setup::host(cli, config)?;
    let calling = async { Ok(host.call_tool(&profile, &args.tool, &args.args).await) };
    let answer = setup::until_cancelled(calling).await?;
    if args.json {
        println!("{}", as_json(&args.tool, &answer));
    } else {
        print(&answer);
    }
    host.close().await;
    Ok(exit_of(&answer))
}

/// How a command ends whose answer this is.
pub(super) fn exit_of(answer: &CallAnswer) -> Exit {
    match answer {
        Ok(output) if output.is_error => Exit::Failed,
        Ok(_) => Exit::Done,
        Err(CallError::Unavailable(_) | CallError::TimedOut { .. }) => Exit::Upstream,
        Err(CallError::Exhausted { .. }) => Exit::Limit,
        Err(CallError::UnknownTool(_) | CallError::InvalidArguments { .. }) => Exit::Usage,
        Err(_) => Exit::Failed,
    }
}

fn print(answer: &CallAnswer) {
    match answer {
        Err(error) => eprintln!("toolcell: {}", error.message()),
        Ok(output) if output.is_error => eprintln!("{}", as_text(output)),
        Ok(output) => println!("{}", as_text(output)),
    }
}

/// Structured content if there is some, else the blocks one after another.
fn as_text(output: &ToolOutput) -> String {
    if let Some(structured) = &output.structured {
        return pretty(structured.get());
    }
    let blocks = output.content.iter().map(|block| match block {
        ContentBlock::Text(text) => text.clone(),
        ContentBlock::Image { data, mime_type } => {
            format!("[image {mime_type}, {} bytes]", data.len())
        }
        ContentBlock::Audio { data, mime_type } => {
            format!("[audio {mime_type}, {} bytes]", data.len())
        }
        ContentBlock::Resource(json) | ContentBlock::Other(json) => json.get().to_owned(),
    });
    blocks.collect::<Vec<_>>().join("\n")
}

fn as_json(tool: &str, answer: &CallAnswer) -> serde_json::Value {
    match answer {
        Err(error) => json!({
            "tool": tool,
            "ok": false,
            "error": { "kind": error.kind(), "message": error.message() },
        }),
        Ok(output) => json!({
            "tool": tool,
            "ok": !output.is_error,
            "content": output.content.iter().map(block).collect::<Vec<_>>(),
            "structured": output.structured,
        }),
    }
}

fn block(block: &ContentBlock) -> serde_json::Value {
    use base64::Engine as _;
    let encode = |data: &[u8]| base64::engine::general_purpose::STANDARD.encode(data);
    match block {
        ContentBlock::Text(text) => json!({ "type": "text", "text": text }),
        ContentBlock::Image { data, mime_type } => {
            json!({ "type": "image", "data": encode(data), "mimeType": mime_type })
        }
        ContentBlock::Audio { data, mime_type } => {
            json!({ "type": "audio", "data": encode(data), "mimeType": mime_type })
        }
        ContentBlock::Resource(json) | ContentBlock::Other(json) => json!(json),
    }
}
