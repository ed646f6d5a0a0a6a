//! `toolcell login` and `toolcell logout`

use std::process::Stdio;

use serde_json::json;
use toolcell::Host;
use toolcell::ids::UpstreamName;
use toolcell::upstream::auth::Loopback;
use toolcell::upstream::settings::TransportSettings;
use toolcell::upstream::{Caller, UpstreamError};

use super::args::{Cli, LoginArgs, LogoutArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::{setup, tools};

/// Has the person at the terminal agree in a browser that we use a server, keeps what is granted, and
/// sees whether it is enough to list the tools.
pub(super) async fn login(cli: &Cli, args: &LoginArgs) -> Result<Exit, Failure> {
    let (host, name) = host(cli, &args.server)?;
    let outcome = setup::until_cancelled(async {
        let opens = !args.no_browser;
        let show = move |server: &UpstreamName, url: &str| show(server, url, opens);
        let prompt = Loopback::bind(redirect_port(&host, &name), show).await.map_err(|error| {
            Failure::usage(format!("the port for the browser's way back cannot be had: {error}"))
        })?;
        let granted = host.upstreams().login(&name, &prompt).await;
        drop(prompt);
        Ok(match granted {
            Ok(scopes) => verify(&host, &name).await.map(|tools| (scopes, tools)),
            Err(error) => Err(error),
        })
    })
    .await;
    host.close().await;
    Ok(match outcome? {
        Ok((scopes, tools)) => {
            if args.json {
                let server = name.as_str();
                println!(
                    "{}",
                    json!({ "server": server, "ok": true, "scopes": scopes, "tools": tools })
                );
            } else {
                let scopes = match scopes.as_slice() {
                    [] => String::new(),
                    scopes => format!(" (scopes: {})", scopes.join(" ")),
                };
                println!("logged in to {name}{scopes}; it offers {tools} tools");
            }
            Exit::Done
        }
        Err(error) => fail(&name, &error, args.json),
    })
}

/// Forgets what was granted for a server.
pub(super) async fn logout(cli: &Cli, args: &LogoutArgs) -> Result<Exit, Failure> {
    let (host, name) = host(cli, &args.server)?;
    let outcome = setup::until_cancelled(async { Ok(host.upstreams().logout(&name).await) }).await;
    host.close().await;
    Ok(match outcome? {
        Ok(known) => {
            if args.json {
                let server = name.as_str();
                println!("{}", json!({ "server": server, "ok": true, "was_logged_in": known }));
            } else if known {
                println!("the tokens for {name} are forgotten");
            } else {
                println!("there were no tokens for {name}");
            }
            Exit::Done
        }
        Err(error) => fail(&name, &error, args.json),
    })
}

fn host(cli: &Cli, server: &str) -> Result<(Host, UpstreamName), Failure> {
    let config = setup::config(cli)?;
    let host = setup::host(cli, config)?;
    let mut chosen = tools::chosen(host.upstreams(), &[server.to_owned()])?;
    let name = chosen.pop().ok_or_else(|| Failure::usage("which server?"))?;
    Ok((host, name))
}

fn redirect_port(host: &Host, name: &UpstreamName) -> Option<u16> {
    let config = host.config();
    let settings = config.servers.iter().find(|settings| settings.name == *name)?;
    match &settings.transport {
        TransportSettings::Http(http) => http.auth.as_ref()?.redirect_port,
        _ => None,
    }
}

async fn verify(host: &Host, name: &UpstreamName) -> Result<usize, UpstreamError> {
    let catalog = host.upstreams().access(Caller::anonymous()).catalog(name).await?;
    Ok(catalog.tools.len())
}

fn fail(name: &UpstreamName, error: &UpstreamError, as_json: bool) -> Exit {
    if as_json {
        let error = error.to_string();
        println!("{}", json!({ "server": name.as_str(), "ok": false, "error": error }));
    } else {
        eprintln!("toolcell: {error}");
    }
    Exit::Upstream
}

/// Prints the URL, always: the browser that opens may be on another screen, or be none.
fn show(server: &UpstreamName, url: &str, opens: bool) {
    eprintln!("toolcell: visit this address to let toolcell use {server}:\n\n  {url}\n");
    if opens {
        open_browser(url);
    }
}

/// Opens the desktop's browser, if there is one. Whether that worked cannot be told.
fn open_browser(url: &str) {
    let (program, first) = if cfg!(target_os = "macos") {
        ("open", None)
    } else if cfg!(windows) {
        ("rundll32", Some("url.dll,FileProtocolHandler"))
    } else {
        ("xdg-open", None)
    };
    let mut command = tokio::process::Command::new(program);
    command.args(first).arg(url);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        tracing::debug!(%error, "no browser could be opened");
    }
}
