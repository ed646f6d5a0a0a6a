//! `toolcell serve`

use std::io::Write as _;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use toolcell::Host;
use toolcell::config::Watch;
use toolcell::server::http;
use toolcell::server::mcp::Facade;

use super::args::{Cli, ServeArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::setup::{self, Interrupts};

/// Serves until Ctrl-C or SIGTERM, and has ended a few seconds later at the latest. Upstreams are
/// connected when they are first needed; the runtime is loaded meanwhile.
pub(super) async fn serve(cli: &Cli, args: &ServeArgs) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::new();
    let (config, watch) = setup::watched_config(cli)?;
    let mut settings = config.server.clone();
    if let Some(listen) = args.listen {
        settings.listen = listen;
    }
    let no_credentials = !settings.access.asks_for_credentials();
    let bridge = settings.bridge.as_mut().filter(|_| no_credentials);
    let token = bridge.map(toolcell::server::settings::BridgeSettings::make_token);
    let host = setup::server_host(cli, config, settings.sessions.total)?;
    let address = settings.listen;
    let facade = Facade::new(host.clone(), settings, args.profile.as_deref())?;
    let facade = if args.gateway { facade.as_gateway() } else { facade };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::usage(format!("cannot listen on {address}: {error}; choose another with --listen"))
    })?;
    let bound = listener.local_addr()?;
    let stop = async { interrupts.next().await };
    let serving = http::serve(facade.clone(), listener, stop);
    let prepared = host.clone();
    let preparing = async move {
        // Whether it can be used is told by the server, and by /readyz.
        for language in prepared.config().languages() {
            let _ = prepared.prepare(language, setup::progress).await;
        }
        std::future::pending::<()>().await;
    };
    greet(bound, args.json);
    if let Some(token) = token {
        eprintln!("toolcell: the bridge's token is {token}");
    }
    let served = tokio::select! {
        served = serving => served,
        () = preparing => Ok(()),
        () = take_over_changes(&host, &facade, watch) => Ok(()),
    };
    host.close().await;
    served?;
    Ok(Exit::Done)
}

/// Tells where we are: a client's configuration needs it, and with port 0 nobody else knows.
fn greet(bound: SocketAddr, json: bool) {
    let url = format!("http://{bound}/mcp");
    eprintln!("listening on {url}");
    if json {
        let mut out = std::io::stdout().lock();
        let line = serde_json::json!({ "listening": url, "pid": std::process::id() });
        // Whoever closed the pipe does not want to know.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Puts each new configuration in force; of one that is wrong only the problems are told.
async fn take_over_changes(host: &Host, facade: &Facade, mut watch: Watch) {
    loop {
        let config = setup::changed_config(&mut watch).await;
        let access = config.server.access.clone();
        match host.reload(config) {
            Ok(reloaded) => eprintln!("toolcell: the configuration changed: {reloaded}"),
            Err(error) => {
                tracing::error!(%error, "the configuration changed and is wrong; the old one stays");
                continue;
            }
        }
        if !facade.replace_access(access) {
            tracing::error!(
                "the configuration has no tokens any more; those of before stay until a restart"
            );
        }
    }
}
