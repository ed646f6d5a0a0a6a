//! `toolcell stubs`

use toolcell::stubs::{Detail, server_stub};

use super::args::{Cli, StubLanguage, StubsArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::{setup, tools};

pub(super) async fn stubs(cli: &Cli, args: &StubsArgs) -> Result<Exit, Failure> {
    let config = setup::config(cli)?;
    let profile = setup::profile(&config, &args.grants, Vec::new())?;
    let host = setup::host(cli, config)?;
    let servers = tools::chosen(host.upstreams(), &args.servers)?;
    let listing = async { Ok(tools::list(host.upstreams(), &servers).await) };
    let listed = setup::until_cancelled(listing).await?;
    let mut exit = Exit::Done;
    for (server, catalog) in listed {
        match catalog {
            Err(error) => {
                eprintln!("toolcell: {error}");
                exit = Exit::Upstream;
            }
            Ok(catalog) => {
                let granted = catalog.tools.iter().filter(|tool| profile.policy.grants(&tool.name));
                let granted: Vec<_> = granted.collect();
                if granted.is_empty() {
                    continue;
                }
                let StubLanguage::Python = args.lang;
                let stub = server_stub(&server, &granted, Detail::Full);
                println!("{}", stub.text);
            }
        }
    }
    host.close().await;
    Ok(exit)
}
