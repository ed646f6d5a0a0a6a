//! `toolcell mcp`

use tokio_util::sync::CancellationToken;
use toolcell::server::mcp::Facade;

use super::args::{Cli, McpArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::setup::{self, Interrupts};

/// Nothing is started or connected before the first call, because clients start servers just to
/// look at them. SIGTERM, Ctrl-C and the end of stdin end it at once.
pub(super) async fn mcp(cli: &Cli, args: &McpArgs) -> Result<Exit, Failure> {
    let config = setup::config(cli)?;
    let settings = config.server.clone();
    // One client is one caller.
    let sessions = settings.sessions.per_caller.min(settings.sessions.total);
    let host = setup::server_host(cli, config, sessions)?;
    let facade = Facade::new(host.clone(), settings, args.profile.as_deref())?;
    let facade = if args.gateway { facade.as_gateway() } else { facade };
    let stop = CancellationToken::new();
    let serving = facade.serve(tokio::io::stdin(), tokio::io::stdout(), stop.clone());
    let mut interrupts = Interrupts::new();
    let served = tokio::select! {
        served = serving => served,
        () = interrupts.next() => {
            stop.cancel();
            Ok(())
        }
    };
    host.close().await;
    served?;
    Ok(Exit::Done)
}
