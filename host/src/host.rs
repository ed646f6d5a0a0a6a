//! The host as a service embeds it: one value that owns the upstreams and runs scripts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::mpsc;

use crate::broker::{Broker, CallLog, Catalogs, RunContext, Session, SessionScope};
use crate::config::{self, Config, ConfigError, Profile};
use crate::events::RunEvent;
use crate::ids::{CallId, RunId, UpstreamName};
use crate::journal::{EntryKind, JournalStore, MemoryStore};
use crate::language::Language;
use crate::monitor::{Monitor, MonitorScope};
use crate::plugins::{EmbeddedPlugin, PluginSet};
use crate::runs::{self, Parts, Run, RunReport, Script, Sessions, StartError};
use crate::sandbox::{Cache, CallRequest, Sandbox, SandboxError};
use crate::tool::{CallAnswer, CallMethod, Json};
use crate::upstream::auth::{Authorization, AuthorizationPrompt, TokenStore};
use crate::upstream::settings::UpstreamSettings;
use crate::upstream::{Caller, ClientHandler, DuplicateUpstream, Upstreams};

/// Runs scripts against the tools of configured MCP servers. Cheap to clone; the last clone ends
/// what is left of connections and children, [`Host::close`] does it in good order.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use toolcell::{Host, Script};
///
/// let host = Host::builder().config_file("toolcell.toml").build().await?;
/// let report = host.run(Script::python("1 + 1")).await?;
/// assert_eq!(report.value.expect("has one").get(), "2");
/// host.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    /// Replaced as a whole by [`Host::reload`].
    config: RwLock<Arc<Config>>,
    parts: Parts,
    plugins: PluginSet,
}

/// What a [`Host::reload`] did to the servers, each in the order of its configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Servers that were not there before.
    pub added: Vec<UpstreamName>,
    /// Servers whose settings differ.
    pub changed: Vec<UpstreamName>,
    /// Servers that are gone.
    pub removed: Vec<UpstreamName>,
}

impl Reloaded {
    fn between(before: &[UpstreamSettings], after: &[UpstreamSettings]) -> Self {
        let find = |name: &UpstreamName, among: &[UpstreamSettings]| {
            among.iter().position(|server| server.name == *name)
        };
        let mut reloaded = Self::default();
        for server in after {
            match find(&server.name, before) {
                None => reloaded.added.push(server.name.clone()),
                Some(at) if before[at] != *server => reloaded.changed.push(server.name.clone()),
                Some(_) => {}
            }
        }
        let gone = before.iter().filter(|server| find(&server.name, after).is_none());
        reloaded.removed = gone.map(|server| server.name.clone()).collect();
        reloaded
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts =
            [("added", &self.added), ("changed", &self.changed), ("removed", &self.removed)];
        let mut parts = parts.into_iter().filter(|(_, names)| !names.is_empty()).peekable();
        if parts.peek().is_none() {
            return f.write_str("no server changed");
        }
        for (nth, (what, names)) in parts.enumerate() {
            let separator = if nth == 0 { "" } else { "; " };
            let names: Vec<&str> = names.iter().map(UpstreamName::as_str).collect();
            write!(f, "{separator}{what}: {}", names.join(", "))?;
        }
        Ok(())
    }
}

/// For whom a single call is made, and who hears of it. The default is nobody in particular.
#[derive(Clone, Default)]
pub struct CallOptions {
    /// For whom.
    pub caller: Caller,
    /// Who answers what the server asks meanwhile, instead of the host's own handler.
    pub handler: Option<Arc<dyn ClientHandler>>,
    /// Members for the `_meta` of the request, a JSON object: trace context and the like.
    pub meta: Option<Json>,
    /// Who is told what happens meanwhile. The call waits for a watcher that does not read.
    pub events: Option<mpsc::Sender<RunEvent>>,
    /// Over which of its caller's connections the call comes: what plugins keep, they keep for this,
    /// and without it for this one call. No two connections may have the same name.
    pub connection: Option<Arc<str>>,
}

/// Has a single call that nobody waits for any more end in its record too.
struct Ending(Option<CallLog>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let (Some(log), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            let cancelled = EntryKind::Cancelled { call: CallId(1) };
            runtime.spawn(async move { log.journal(cancelled).await });
        }
    }
}

/// A host could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The configuration has problems; all of them are named.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The sandbox could not be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The upstreams could not be set up.
    #[error(transparent)]
    Upstream(#[from] DuplicateUpstream),
    /// The working directory, against which a configuration's paths are read, is gone.
    #[error("the working directory cannot be told")]
    NoWorkingDirectory(#[source] std::io::Error),
    /// There is no place for the cache.
    #[error("there is no home folder for the cache; name a folder with TOOLCELL_CACHE_DIR")]
    NoCacheFolder,
}

/// Collects what a [`Host`] is made of.
pub struct HostBuilder {
    config: ConfigSource,
    cache_folder: Option<PathBuf>,
    ready_instances: usize,
    max_guests: u32,
    journal: Arc<dyn JournalStore>,
    handler: Option<Arc<dyn ClientHandler>>,
    token_store: Option<TokenStore>,
    prompt: Option<Arc<dyn AuthorizationPrompt>>,
    plugins: Vec<EmbeddedPlugin>,
    progress: Arc<dyn Fn(&str) + Send + Sync>,
}

enum ConfigSource {
    Given(Box<Config>),
    File(PathBuf),
}

impl HostBuilder {
    /// A configuration that is already read.
    pub fn config(mut self, config: Config) -> Self {
        self.config = ConfigSource::Given(Box::new(config));
        self
    }

    /// A `toolcell.toml`, or an `mcpServers` JSON as other programs have it. Variables in it are
    /// taken from this process's environment.
    pub fn config_file(mut self, path: impl AsRef<Path>) -> Self {
        self.config = ConfigSource::File(path.as_ref().to_owned());
        self
    }

    /// Where built runtimes and compiled code are kept; `toolcell` in the user's cache folder
    /// without it.
    pub fn cache_folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.cache_folder = Some(folder.as_ref().to_owned());
        self
    }

    /// How many instances to keep ready, each about 2 MB; 4 without it. With 0 each run makes its
    /// own, which takes about a millisecond.
    pub fn ready_instances(mut self, count: usize) -> Self {
        self.ready_instances = count;
        self
    }

    /// How many sandboxes may exist at once, running, waiting and ready together;
    /// [`Sandbox::DEFAULT_MAX_GUESTS`] without it. The fewer, the faster a host starts.
    pub fn max_guests(mut self, count: u32) -> Self {
        self.max_guests = count;
        self
    }

    /// Where records are kept; in memory without it.
    pub fn journal(mut self, store: Arc<dyn JournalStore>) -> Self {
        self.journal = store;
        self
    }

    /// Answers what servers ask of their client: the user's roots, a model, the user in person.
    /// Without one they are told that nobody is there.
    pub fn client_handler(mut self, handler: Arc<dyn ClientHandler>) -> Self {
        self.handler = Some(handler);
        self
    }

    /// Where tokens of servers that want OAuth are kept; [`TokenStore::of_user`] without it.
    pub fn token_store(mut self, store: TokenStore) -> Self {
        self.token_store = Some(store);
        self
    }

    /// Asked, in the middle of a call if need be, when a person has to agree that a server is used.
    /// Without one such a call fails, and its error names `toolcell login`.
    pub fn authorization_prompt(mut self, prompt: Arc<dyn AuthorizationPrompt>) -> Self {
        self.prompt = Some(prompt);
        self
    }

    /// A plugin that does not lie in the configuration's folder. It may do what its settings say, within
    /// what its caller may; the profiles have to grant its tools as those of a server.
    pub fn plugin(mut self, plugin: EmbeddedPlugin) -> Self {
        self.plugins.push(plugin);
        self
    }

    /// Told what is being done when building takes long, at the first start only.
    pub fn progress(mut self, progress: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.progress = Arc::new(progress);
        self
    }

    /// Makes the host, with its plugins ready and the languages that its profiles allow. No upstream is
    /// connected yet. A plugin that cannot be used is no error: [`Host::plugins`] tells.
    ///
    /// # Errors
    /// The configuration has problems, or a language runtime cannot be built or loaded.
    pub async fn build(self) -> Result<Host, HostError> {
        let progress = Arc::clone(&self.progress);
        let host = self.build_lazily()?;
        for language in host.config().languages() {
            host.inner.parts.sandbox.prepare(language, Arc::clone(&progress) as _).await?;
        }
        host.load_plugins().await;
        Ok(host)
    }

    /// Makes a host that loads its runtimes and plugins when they are first used.
    ///
    /// # Errors
    /// The configuration has problems, or the engine cannot start.
    pub fn build_lazily(self) -> Result<Host, HostError> {
        let config = match self.config {
            ConfigSource::Given(config) => *config,
            ConfigSource::File(path) => {
                let here = std::env::current_dir().map_err(HostError::NoWorkingDirectory)?;
                config::load(Some(&path), &here, &config::env::of_process)?
            }
        };
        let folder =
            self.cache_folder.or_else(default_cache_folder).ok_or(HostError::NoCacheFolder)?;
        let sandbox = Sandbox::new(Cache::open(&folder)?, self.ready_instances, self.max_guests)?;
        let store = self.token_store.or_else(TokenStore::of_user);
        let store = store.unwrap_or_else(TokenStore::in_memory);
        let authorization = Authorization::new(store, self.prompt);
        let servers = config.servers.clone();
        let upstreams = Upstreams::with_authorization(servers, self.handler, authorization)?;
        upstreams.health().set_down_after(config.monitor.down_after);
        let broker = Broker::new(upstreams, self.journal);
        // Each of them takes the place of a guest.
        let plugins = PluginSet::new(sandbox.clone(), (self.max_guests / 4) as usize, self.plugins);
        plugins.apply(&config.plugins, &broker.upstreams().names());
        broker.set_plugins(plugins.tools());
        // The other half is for runs without a session.
        let sessions = Sessions::new((self.max_guests / 2).max(1) as usize);
        Ok(Host {
            inner: Arc::new(Inner {
                config: RwLock::new(config.into()),
                parts: Parts { sandbox, broker, sessions },
                plugins,
            }),
        })
    }
}

/// `toolcell` in the user's cache folder, if there is one.
pub fn default_cache_folder() -> Option<PathBuf> {
    dirs::cache_dir().map(|folder| folder.join("toolcell"))
}

impl Host {
    /// A builder with the defaults: no servers, four ready instances, records in memory.
    pub fn builder() -> HostBuilder {
        HostBuilder {
            config: ConfigSource::Given(Box::default()),
            cache_folder: None,
            ready_instances: 4,
            max_guests: Sandbox::DEFAULT_MAX_GUESTS,
            journal: Arc::new(MemoryStore::default()),
            handler: None,
            token_store: None,
            prompt: None,
            plugins: Vec::new(),
            progress: Arc::new(|step| tracing::info!("{step}")),
        }
    }

    /// Runs a script to its end. That the script failed is a report, not an error.
    ///
    /// Cancel-safe: dropping the future cancels the run.
    ///
    /// # Errors
    /// The run could not be started: nothing of it ran.
    pub async fn run(&self, script: Script) -> Result<RunReport, StartError> {
        self.start(script)?.await
    }

    /// Starts a script, to watch it or to cancel it while it runs.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn start(&self, script: Script) -> Result<Run, StartError> {
        let config = self.config();
        let profile = config.profile(script.profile_name())?;
        self.start_with(profile, script)
    }

    /// Starts a script under a profile that was made for it, such as one changed by a command
    /// line's flags.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub fn start_with(&self, profile: &Profile, script: Script) -> Result<Run, StartError> {
        runs::start(self.inner.parts.clone(), profile, script)
    }

    /// Loads the runtime of a language now and not at its first use, and makes instances ready.
    /// `progress` is told what is being done if that takes long.
    ///
    /// # Errors
    /// The runtime cannot be built or loaded.
    pub async fn prepare(
        &self,
        language: Language,
        progress: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<(), SandboxError> {
        self.inner.parts.sandbox.prepare(language, Arc::new(progress)).await
    }

    /// Calls one tool as a script under this profile would: same grants, limits and record.
    pub async fn call_tool(&self, profile: &Profile, tool: &str, arguments: &str) -> CallAnswer {
        self.call(profile, CallMethod::Tool, (tool, arguments), CallOptions::default()).await
    }

    /// Reads one resource as a script under this profile would. The answer is MCP's result, as
    /// structured content.
    pub async fn read_resource(&self, profile: &Profile, server: &str, uri: &str) -> CallAnswer {
        self.call(profile, CallMethod::Resource, (server, uri), CallOptions::default()).await
    }

    /// Fills in one prompt, `server.prompt`, as a script under this profile would, with a JSON
    /// object of texts. The answer is MCP's result, as structured content.
    pub async fn get_prompt(&self, profile: &Profile, prompt: &str, arguments: &str) -> CallAnswer {
        self.call(profile, CallMethod::Prompt, (prompt, arguments), CallOptions::default()).await
    }

    /// Makes one call as a script under this profile would, for somebody: a tool by its full name
    /// and with its arguments, a resource by its server and URI, a prompt by its full name and with
    /// a JSON object of texts.
    ///
    /// Cancel-safe: dropping the future tells the server that the call is cancelled.
    pub async fn call(
        &self,
        profile: &Profile,
        method: CallMethod,
        (name, arguments): (&str, &str),
        options: CallOptions,
    ) -> CallAnswer {
        let CallOptions { caller, handler, meta, events, connection } = options;
        let id = RunId::random();
        let scope = match connection {
            Some(connection) => SessionScope::Connection(connection),
            None => SessionScope::Run(id.clone()),
        };
        let session =
            Session { caller: caller.identity(), profile: profile.name.as_str().into(), scope };
        let (mut calls, log) = self.inner.parts.broker.open_for_nobody(RunContext {
            id,
            policy: profile.policy.clone(),
            limits: profile.limits.clone(),
            events,
            caller,
            handler,
            meta,
            session,
            seed: runs::random_seed(),
            repeatable: false,
        });
        let mut ending = Ending(Some(log));
        let answer = calls
            .call(CallRequest {
                method,
                name: name.to_owned(),
                argument_bytes: arguments.len() as u64,
                arguments: arguments.to_owned(),
            })
            .await;
        ending.0 = None;
        answer
    }

    /// Starts to watch the servers as the configuration's `[monitor]` says, until the handle is
    /// dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn monitor(&self) -> Monitor {
        let config = self.config();
        let scope = MonitorScope { servers: None, config: config.sources.first().cloned() };
        Monitor::start(self.upstreams(), &config.monitor, scope)
    }

    /// The configuration in force. It stays what it is; after a [`Host::reload`] there is another.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.inner.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another configuration in force: its servers, profiles and limits. Runs that have begun
    /// keep the servers, plugins and rights that they have; those that start from now on have the new
    /// ones, a plugin whose file changed as soon as the new one is loaded. A server whose settings stay the same keeps its connections, the others' are closed when
    /// the last run that has them is over.
    ///
    /// # Errors
    /// Two servers have the same name. The old configuration stays in force.
    pub fn reload(&self, config: Config) -> Result<Reloaded, DuplicateUpstream> {
        // Held until both are replaced, so that two reloads do not mix.
        let mut current = self.inner.config.write().unwrap_or_else(PoisonError::into_inner);
        self.upstreams().apply(config.servers.clone())?;
        self.upstreams().health().set_down_after(config.monitor.down_after);
        let reloaded = Reloaded::between(&current.servers, &config.servers);
        self.plugins().apply(&config.plugins, &self.upstreams().names());
        self.inner.parts.broker.set_plugins(self.plugins().tools());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (broker, plugins) = (self.inner.parts.broker.clone(), self.plugins().clone());
            // It ends by itself: loading is bounded.
            runtime.spawn(async move {
                plugins.load_all().await;
                broker.set_plugins(plugins.tools());
            });
        }
        *current = Arc::new(config);
        Ok(reloaded)
    }

    /// The plugins, and how they are.
    pub fn plugins(&self) -> &PluginSet {
        &self.inner.plugins
    }

    /// Loads the plugins now and not at their first use. [`Host::plugins`] tells what came of it.
    pub async fn load_plugins(&self) {
        self.plugins().load_all().await;
        self.inner.parts.broker.set_plugins(self.plugins().tools());
    }

    /// Whatever offers tools now, servers and plugins, for one user of it.
    pub fn catalogs(&self, caller: Caller) -> Catalogs {
        self.inner.parts.broker.catalogs(caller)
    }

    /// The upstreams, for a check or a look at their tools.
    pub fn upstreams(&self) -> &Upstreams {
        self.inner.parts.broker.upstreams()
    }

    /// The sessions of Python that runs have left ([`Script::session`]).
    pub fn sessions(&self) -> &Sessions {
        &self.inner.parts.sessions
    }

    /// The same host with one other server in the place of those that are configured: for somebody's
    /// own, which nobody else sees. Guests, journal and limits are shared; the server's end is
    /// [`Upstreams::close`], or that the last clone is dropped.
    pub(crate) fn with_own_server(
        &self,
        settings: UpstreamSettings,
        handler: Arc<dyn ClientHandler>,
    ) -> Result<Self, DuplicateUpstream> {
        // Nobody's stored tokens are for a server that a stranger names.
        let authorization = Authorization::new(TokenStore::in_memory(), None);
        let upstreams =
            Upstreams::with_authorization(vec![settings], Some(handler), authorization)?;
        let parts = &self.inner.parts;
        let broker = Broker::new(upstreams, Arc::clone(parts.broker.journal()));
        let parts = Parts { broker, ..parts.clone() };
        let (config, plugins) = (RwLock::new(self.config()), self.inner.plugins.clone());
        Ok(Self { inner: Arc::new(Inner { config, parts, plugins }) })
    }

    /// Ends all sessions, and all connections and children in good order, within a bounded time.
    pub async fn close(&self) {
        self.sessions().end_all();
        self.upstreams().close().await;
    }
}
