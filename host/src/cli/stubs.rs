//! `toolcell stubs`

use toolcell::config::Profile;
use toolcell::ids::{ToolName, UpstreamName};
use toolcell::stubs::{Detail, declarations_file, offers_note, server_stub};
use toolcell::upstream::{Access, Caller};

use super::args::{Cli, StubLanguage, StubsArgs};
use super::exit::Exit;
use super::failure::Failure;
use super::{setup, tools};

pub(super) async fn stubs(cli: &Cli, args: &StubsArgs) -> Result<Exit, Failure> {
    let config = setup::config(cli)?;
    let profile = setup::profile(&config, &args.grants, Vec::new())?;
    let host = setup::host(cli, config)?;
    // Servers and plugins: a script calls their tools alike.
    let catalogs = host.catalogs(Caller::anonymous());
    let all: Vec<UpstreamName> = catalogs.names().cloned().collect();
    let servers = tools::chosen_of(&all, &args.servers)?;
    let listing = async { Ok(tools::list(&catalogs, &servers).await) };
    let listed = setup::until_cancelled(listing).await?;
    let access = catalogs.servers();
    let mut exit = Exit::Done;
    let mut all = Vec::new();
    for (server, catalog) in listed {
        match catalog {
            Err(error) => {
                eprintln!("toolcell: {error}");
                exit = Exit::Upstream;
            }
            Ok(catalog) => {
                let granted = catalog.tools.iter().filter(|tool| profile.policy.grants(&tool.name));
                let granted: Vec<_> = granted.collect();
                if let StubLanguage::TypeScript = args.lang {
                    if !granted.is_empty() {
                        all.push((server, granted.into_iter().cloned().collect::<Vec<_>>()));
                    }
                    continue;
                }
                if !catalogs.is_plugin(server.as_str()) {
                    let offers = async { Ok(offers(access, &server, &profile).await) };
                    let (resources, prompts) = setup::until_cancelled(offers).await?;
                    print!("{}", offers_note(&server, resources, prompts));
                }
                if !granted.is_empty() {
                    println!("{}", server_stub(&server, &granted, Detail::Full).text);
                }
            }
        }
    }
    if let StubLanguage::TypeScript = args.lang {
        print!("{}", declarations_file(&all).text);
    }
    host.close().await;
    Ok(exit)
}

/// How many resources (and templates) and prompts of a server are granted. One whose lists cannot
/// be had has none to tell of: its tools are what was asked for.
async fn offers(access: &Access, server: &UpstreamName, profile: &Profile) -> (usize, usize) {
    let (resources, templates, prompts) = futures::join!(
        access.resources(server),
        access.resource_templates(server),
        access.prompts(server)
    );
    let policy = &profile.policy;
    let resources = resources.map_or(0, |listed| {
        let all = listed.items.iter();
        all.filter(|it| policy.grants_resource(server.as_str(), &it.uri)).count()
    });
    let templates = templates.map_or(0, |listed| {
        let all = listed.items.iter();
        all.filter(|it| policy.may_grant_template(server.as_str(), &it.uri_template)).count()
    });
    let prompts = prompts.map_or(0, |listed| {
        let all = listed.items.iter();
        let name =
            |name: &std::sync::Arc<str>| ToolName::new(server.clone(), std::sync::Arc::clone(name));
        all.filter(|it| policy.grants_prompt(&name(&it.name))).count()
    });
    (resources + templates, prompts)
}
