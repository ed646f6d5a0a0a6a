//! `toolcell read` and `toolcell prompt`: one resource, one prompt, as a script would have them.

use std::io::{IsTerminal, Write};

use base64::Engine as _;
use serde_json::{Value, json};
use toolcell::tool::CallAnswer;

use super::args::{Cli, PromptArgs, ReadArgs};
use super::call;
use super::exit::Exit;
use super::failure::Failure;
use super::setup;

pub(super) async fn read(cli: &Cli, args: &ReadArgs) -> Result<Exit, Failure> {
    let config = setup::config(cli)?;
    let profile = config.profile(args.profile.as_deref())?.clone();
    let host = setup::host(cli, config)?;
    let reading = async { Ok(host.read_resource(&profile, &args.server, &args.uri).await) };
    let answer = setup::until_cancelled(reading).await?;
    show(&answer, args.json, print_contents)?;
    host.close().await;
    Ok(call::exit_of(&answer))
}

pub(super) async fn prompt(cli: &Cli, args: &PromptArgs) -> Result<Exit, Failure> {
    let config = setup::config(cli)?;
    let profile = config.profile(args.profile.as_deref())?.clone();
    let host = setup::host(cli, config)?;
    let asking = async { Ok(host.get_prompt(&profile, &args.prompt, &args.args).await) };
    let answer = setup::until_cancelled(asking).await?;
    show(&answer, args.json, print_messages)?;
    host.close().await;
    Ok(call::exit_of(&answer))
}

/// Prints the result for people, or as the server sent it.
fn show(
    answer: &CallAnswer,
    as_json: bool,
    print: impl Fn(&Value) -> std::io::Result<()>,
) -> Result<(), Failure> {
    match answer {
        Err(error) if as_json => {
            let error = json!({ "kind": error.kind(), "message": error.message() });
            println!("{}", json!({ "ok": false, "error": error }));
        }
        Err(error) => eprintln!("toolcell: {}", error.message()),
        Ok(output) => {
            let result = output.structured.as_ref().map_or("{}", |json| json.get());
            if as_json {
                println!("{result}");
            } else {
                // Whoever closed the pipe does not want the rest.
                let _ = print(&serde_json::from_str(result).unwrap_or_default());
            }
        }
    }
    Ok(())
}

/// Text as it is, everything else as its bytes.
fn print_contents(result: &Value) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    for part in result["contents"].as_array().into_iter().flatten() {
        if let Some(text) = part["text"].as_str() {
            stdout.write_all(text.as_bytes())?;
            if stdout.is_terminal() && !text.ends_with('\n') {
                stdout.write_all(b"\n")?;
            }
            continue;
        }
        let blob = part["blob"].as_str().unwrap_or_default();
        let bytes = base64::prelude::BASE64_STANDARD.decode(blob.trim_ascii()).unwrap_or_default();
        if stdout.is_terminal() {
            writeln!(stdout, "[{} bytes; send stdout to a file to have them]", bytes.len())?;
        } else {
            stdout.write_all(&bytes)?;
        }
    }
    stdout.flush()
}

fn print_messages(result: &Value) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    for message in result["messages"].as_array().into_iter().flatten() {
        let role = message["role"].as_str().unwrap_or_default();
        let content = &message["content"];
        match content["text"].as_str() {
            Some(text) => writeln!(stdout, "{role}: {text}")?,
            None => writeln!(stdout, "{role}: {content}")?,
        }
    }
    Ok(())
}
