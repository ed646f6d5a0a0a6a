//! What every command needs: logging, the configuration, a host, and Ctrl-C.

use std::future::Future;
use std::io::IsTerminal;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use toolcell::config::{Config, Overrides, Profile, Watch, env};
use toolcell::server::mcp::ForClients;
use toolcell::upstream::auth::{KeyPlace, TokenStore};
use toolcell::upstream::settings::Secret;
use toolcell::{Host, HostBuilder};

use super::args::{Cli, GrantArgs};
use super::failure::Failure;

/// Sends log lines to stderr. A filter that means nothing is told and replaced by the default.
pub(super) fn logging(filter: &str) {
    let parsed = tracing_subscriber::EnvFilter::try_new(filter);
    let filter = parsed.unwrap_or_else(|error| {
        eprintln!(
            "toolcell: the log filter {filter:?} is not understood ({error}); using \"warn\""
        );
        tracing_subscriber::EnvFilter::new("warn")
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Reads the configuration and tells what the operator should know about it.
pub(super) fn config(cli: &Cli) -> Result<Config, Failure> {
    let here = std::env::current_dir()?;
    let lookup = toolcell::config::env::of_process;
    let config = toolcell::config::load(cli.config.as_deref(), &here, &lookup)?;
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    Ok(config)
}

/// The configuration, and who notices that it changed.
pub(super) fn watched_config(cli: &Cli) -> Result<(Config, Watch), Failure> {
    let here = std::env::current_dir()?;
    let lookup = Arc::new(toolcell::config::env::of_process);
    let (config, watch) = Watch::start(cli.config.as_deref(), &here, lookup)?;
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    Ok((config, watch))
}

/// The next configuration that is one; of others only their problems are told. Cancel-safe.
pub(super) async fn changed_config(watch: &mut Watch) -> Config {
    loop {
        match watch.next().await {
            Ok(config) => return config,
            Err(error) => {
                tracing::error!(%error, "the configuration changed and is wrong; the old one stays");
            }
        }
    }
}

/// The profile by which a command runs.
pub(super) fn profile(
    config: &Config,
    grants: &GrantArgs,
    limits: Vec<(String, String)>,
) -> Result<Profile, Failure> {
    let overrides =
        Overrides { grants: grants.grants.clone(), denials: grants.denials.clone(), limits };
    let profile = config.profile_with(grants.profile.as_deref(), &overrides)?;
    if profile.all_granted_by_default && !config.servers.is_empty() {
        tracing::info!(
            "the configuration names no profile, so every tool of its servers is granted"
        );
    }
    Ok(profile)
}

/// A command has one run, and a pool of this size is made in no time.
pub(super) const MAX_GUESTS: u32 = 4;

/// The fewest and the most sandboxes of a process that serves. Each takes address space, and a little
/// time at the start.
const SERVER_GUESTS: RangeInclusive<u32> = 256..=10_000;

/// Instances that a process keeps ready which serves: an agent's next script comes seldom sooner than
/// the next one is made.
const READY_TO_SERVE: usize = 4;

/// A host that loads its runtimes when they are first used and keeps none ready: a command has one
/// run at most.
pub(super) fn host(cli: &Cli, config: Config) -> Result<Host, Failure> {
    Ok(builder_of(cli, config, 0, MAX_GUESTS)?.build_lazily()?)
}

/// A host for many runs, whose servers can ask its clients' users. Its runtimes, too, are loaded when
/// they are first used. There is room for so many sessions, and for as many runs beside them.
pub(super) fn server_host(cli: &Cli, config: Config, sessions: usize) -> Result<Host, Failure> {
    let (fewest, most) = SERVER_GUESTS.into_inner();
    let guests = u32::try_from(sessions.saturating_mul(2)).unwrap_or(most).clamp(fewest, most);
    let builder = builder_of(cli, config, READY_TO_SERVE, guests)?;
    Ok(builder.client_handler(Arc::new(ForClients)).build_lazily()?)
}

pub(super) fn builder_of(
    cli: &Cli,
    config: Config,
    ready: usize,
    guests: u32,
) -> Result<HostBuilder, Failure> {
    let mut builder = Host::builder().config(config).ready_instances(ready).max_guests(guests);
    builder = builder.token_store(token_store(&env::of_process)?);
    if let Some(folder) = &cli.cache_dir {
        builder = builder.cache_folder(folder);
    }
    Ok(builder.progress(progress))
}

/// Where tokens are kept, by the environment.
fn token_store(lookup: &env::Lookup<'_>) -> Result<TokenStore, Failure> {
    let (Some(file), Some(key_file)) = (TokenStore::user_file(), TokenStore::user_key_file())
    else {
        return Ok(TokenStore::in_memory());
    };
    let given = lookup(env::TOOLCELL_TOKEN_KEY).filter(|key| !key.is_empty());
    let place = match (given, lookup(env::TOOLCELL_TOKEN_STORE).unwrap_or_default().as_str()) {
        (Some(key), "" | "file") => KeyPlace::Given(Secret::new(key)),
        (None, "") => KeyPlace::KeyringOrFile(key_file),
        (None, "file") => KeyPlace::File(key_file),
        (_, "keyring") => KeyPlace::Keyring,
        (_, other) => {
            let name = env::TOOLCELL_TOKEN_STORE;
            return Err(Failure::usage(format!("{name} is {other:?}; it is `keyring` or `file`")));
        }
    };
    Ok(TokenStore::in_file(file, place))
}

/// Tells on stderr what takes long. Scripts that read stdout are not disturbed.
pub(super) fn progress(step: &str) {
    eprintln!("toolcell: {step}");
}

/// The cache folder, for commands that need no host.
pub(super) fn cache_folder(cli: &Cli) -> Result<PathBuf, Failure> {
    let folder = cli.cache_dir.clone().or_else(toolcell::default_cache_folder);
    folder.ok_or_else(|| Failure::usage("there is no home folder for the cache; use --cache-dir"))
}

/// Does `work`, and ends it when somebody presses Ctrl-C or sends SIGTERM. Dropping the work is
/// what cleans up.
pub(super) async fn until_cancelled<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    Interrupts::new().until_one(work).await
}

/// Ctrl-C and SIGTERM. From when this is made none is lost, whether or not somebody waits just then.
pub(super) struct Interrupts {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
}

impl Interrupts {
    pub(super) fn new() -> Self {
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    /// As [`until_cancelled`].
    pub(super) async fn until_one<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            result = work => result,
            () = self.next() => Err(Failure::Cancelled),
        }
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            Some(()) = async { self.interrupt.as_mut()?.recv().await } => {}
            Some(()) = async { self.terminate.as_mut()?.recv().await } => {}
            else => std::future::pending().await,
        }
    }
}
