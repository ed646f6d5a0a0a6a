//! The set of all upstreams and their connections.
//!
//! A connection is opened by the first who needs it; others who come meanwhile wait for the same
//! one. It is kept until it is lost, or idle for too long, and then opened anew at the next use. If
//! all who wait for an opening go away, so does the opening, with whatever it started.
//!
//! - [`Upstreams`] are the servers of a host, [`Access`] is what one user of them holds: a run, say.
//! - `server` is one server: its connections by credentials, retries, what is held against it;
//!   `questions` what it is asked besides calls, and `updates` who listens to its resources.
//! - `link` is the place of one connection, `scope` what belongs to one user.
//! - `breaker` and `backoff` decide, and do nothing.

mod backoff;
mod breaker;
mod held;
mod link;
mod questions;
mod scope;
mod server;
mod updates;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::ids::{ToolName, UpstreamName};
use crate::offers::{Offers, Prompt, Resource, ResourceTemplate};
use crate::tool::{Json, ToolOutput};
use crate::upstream::auth::{Authorization, AuthorizationPrompt, Provider};
use crate::upstream::caller::Caller;
use crate::upstream::catalog::Catalog;
use crate::upstream::check::{self, CheckReport};
use crate::upstream::client::{CallContext, ClientHandler, ServerNotice};
use crate::upstream::connection::{self, Client, Question};
use crate::upstream::contents::{PromptOutput, ResourceOutput};
use crate::upstream::error::{Cause, UpstreamError};
use crate::upstream::health::Health;
use crate::upstream::settings::{TransportSettings, UpstreamSettings};
pub use held::Held;
use scope::Scope;
use server::{Call, Server};
pub use updates::ResourceUpdates;

/// The upstreams of a host. Cheap to clone; all clones share the connections. Dropping the last one
/// ends the connections and all server processes; [`Upstreams::close`] does so in an orderly way.
#[derive(Clone)]
pub struct Upstreams {
    inner: Arc<Inner>,
}

struct Inner {
    servers: RwLock<Arc<Servers>>,
    client: Client,
    health: Health,
}

type Servers = IndexMap<UpstreamName, Arc<Server>>;

/// See [`Upstreams::listen`].
pub struct Listening {
    _listener: Arc<connection::Listener>,
}

/// The configured names are not unique.
#[derive(Debug, thiserror::Error)]
#[error("two servers have the name {name}; give each its own")]
pub struct DuplicateUpstream {
    /// The name that comes twice.
    pub name: UpstreamName,
}

impl Upstreams {
    /// Takes the settings of all upstreams. Connects nothing and starts nothing. What servers ask of
    /// their client is answered by `handler`, or politely refused without one.
    ///
    /// # Errors
    /// Two upstreams have the same name.
    pub fn new(
        settings: Vec<UpstreamSettings>,
        handler: Option<Arc<dyn ClientHandler>>,
    ) -> Result<Self, DuplicateUpstream> {
        Self::with_authorization(settings, handler, Authorization::default())
    }

    /// As [`Upstreams::new`], with what servers need that want OAuth. Without it tokens are kept in
    /// memory and nobody is asked.
    ///
    /// # Errors
    /// Two upstreams have the same name.
    pub fn with_authorization(
        settings: Vec<UpstreamSettings>,
        handler: Option<Arc<dyn ClientHandler>>,
        authorization: Authorization,
    ) -> Result<Self, DuplicateUpstream> {
        let client = Client { handler, authorization, ..Client::default() };
        let health = Health::default();
        let servers = RwLock::default();
        let upstreams = Self { inner: Arc::new(Inner { servers, client, health }) };
        upstreams.apply(settings)?;
        Ok(upstreams)
    }

    /// Takes new settings. A server whose settings stay the same keeps its connections. One that
    /// changed or is gone keeps them for those who have [`Access`] already, and ends them after.
    ///
    /// # Errors
    /// Two upstreams have the same name. Nothing is changed then.
    pub fn apply(&self, settings: Vec<UpstreamSettings>) -> Result<(), DuplicateUpstream> {
        let Inner { servers, client, health } = &*self.inner;
        let before = self.servers();
        let mut after = Servers::with_capacity(settings.len());
        for settings in settings {
            let name = settings.name.clone();
            let known = before.get(&name).filter(|server| *server.settings() == settings);
            let server = known.cloned();
            let server =
                server.unwrap_or_else(|| Server::new(settings, client.clone(), health.clone()));
            if after.insert(name.clone(), server).is_some() {
                return Err(DuplicateUpstream { name });
            }
        }
        let unprobed = |server: &Arc<Server>| server.settings().unprobed();
        health.keep(after.iter().map(|(name, server)| (name, unprobed(server))));
        *servers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
        client.news.tell();
        Ok(())
    }

    /// Counts the moments after which what the servers list may be another than before. That it
    /// counted does not mean that anything changed.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.inner.client.news.subscribe()
    }

    /// Has somebody hear what servers say that belongs to no call, that a list or a resource changed
    /// mostly, until the handle is dropped. It is told in its order, and must not wait.
    pub fn listen(&self, hear: impl Fn(&ServerNotice) + Send + Sync + 'static) -> Listening {
        let listener: Arc<connection::Listener> = Arc::new(hear);
        self.inner.client.notices.listen(&listener);
        Listening { _listener: listener }
    }

    /// What is offered beside the servers changed: whoever waits for [`Upstreams::news`] looks again.
    pub(crate) fn announce(&self) {
        self.inner.client.news.tell();
    }

    /// Who answers what is asked where a call brings nobody of its own.
    pub(crate) fn handler(&self) -> Option<&Arc<dyn ClientHandler>> {
        self.inner.client.handler.as_ref()
    }

    /// The servers as they are now, for one user of them. What is opened for this user alone is
    /// closed when the last clone of the access is dropped.
    pub fn access(&self, caller: Caller) -> Access {
        Access { servers: self.servers(), scope: Arc::new(Scope::new(caller)) }
    }

    /// The names, in the operator's order.
    pub fn names(&self) -> Vec<UpstreamName> {
        self.servers().keys().cloned().collect()
    }

    /// Tries a server out on a connection of its own, which is closed again.
    pub async fn check(&self, name: &UpstreamName) -> CheckReport {
        self.check_for(name, &Caller::anonymous(), None).await
    }

    /// As [`Upstreams::check`], for a caller and within a time of its own.
    pub async fn check_for(
        &self,
        name: &UpstreamName,
        caller: &Caller,
        within: Option<Duration>,
    ) -> CheckReport {
        match self.servers().get(name) {
            Some(server) => check::check(server.settings(), server.client(), caller, within).await,
            None => CheckReport::failed(name.clone(), unknown(name)),
        }
    }

    /// Has a person agree that we use a server (OAuth), and keeps what is granted. Gives the scopes.
    ///
    /// # Errors
    /// The server is none that uses OAuth, nobody agreed, or what was granted cannot be used.
    pub async fn login(
        &self,
        name: &UpstreamName,
        prompt: &dyn AuthorizationPrompt,
    ) -> Result<Vec<String>, UpstreamError> {
        let provider = self.provider(name)?;
        let granted = provider.login(prompt).await;
        granted.map_err(|cause| UpstreamError::Unauthorized { server: name.clone(), cause })
    }

    /// Forgets what was granted for a server. Gives whether there was anything.
    ///
    /// # Errors
    /// The server is none that uses OAuth, or the token store cannot be used.
    pub async fn logout(&self, name: &UpstreamName) -> Result<bool, UpstreamError> {
        let forgotten = self.provider(name)?.logout().await;
        forgotten.map_err(|cause| UpstreamError::Unauthorized { server: name.clone(), cause })
    }

    fn provider(&self, name: &UpstreamName) -> Result<Arc<Provider>, UpstreamError> {
        let servers = self.servers();
        let settings = servers.get(name).ok_or_else(|| unknown(name))?.settings();
        let unfit = |text: &'static str| {
            let (server, cause) = (name.clone(), Cause::new(text));
            UpstreamError::Unauthorized { server, cause }
        };
        let TransportSettings::Http(http) = &settings.transport else {
            return Err(unfit("only servers on the net use OAuth"));
        };
        let provider = self.inner.client.authorization.provider(name, http);
        provider
            .ok_or_else(|| unfit("its settings have an Authorization header, which comes first"))
    }

    /// Asks a server whether it is there, and takes note of what it says. Gives nothing where that
    /// would take a caller's own credentials. Cancel-safe.
    pub async fn probe(
        &self,
        name: &UpstreamName,
        within: Duration,
    ) -> Option<Result<(), UpstreamError>> {
        let servers = self.servers();
        let Some(server) = servers.get(name) else { return Some(Err(unknown(name))) };
        server.probe(within).await
    }

    /// How often each server wants to be probed.
    pub fn probe_intervals(&self) -> Vec<(UpstreamName, Duration)> {
        let servers = self.servers();
        let servers = servers.iter();
        let interval = |(name, server): (&UpstreamName, &Arc<Server>)| {
            let settings = server.settings();
            let interval = settings.probe_interval.filter(|_| settings.unprobed().is_none());
            interval.map(|interval| (name.clone(), interval))
        };
        servers.filter_map(interval).collect()
    }

    /// How the servers are.
    pub fn health(&self) -> &Health {
        &self.inner.health
    }

    /// How many connections are open, by server.
    pub fn open_connections(&self) -> Vec<(UpstreamName, usize)> {
        let servers = self.servers();
        servers.iter().map(|(name, server)| (name.clone(), server.open_connections())).collect()
    }

    /// Closes all connections and ends all server processes, in an orderly way where they take part
    /// in it, within about six seconds. Calls under way end as [`UpstreamError::Closed`], and so do
    /// later ones.
    pub async fn close(&self) {
        let servers = self.servers();
        futures::future::join_all(servers.values().map(|server| server.close())).await;
    }

    fn servers(&self) -> Arc<Servers> {
        Arc::clone(&self.inner.servers.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The upstreams as one user has them: for one caller, with the servers that there were when it
/// began. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    servers: Arc<Servers>,
    scope: Arc<Scope>,
}

impl Access {
    /// The names, in the operator's order.
    pub fn names(&self) -> impl Iterator<Item = &UpstreamName> {
        self.servers.keys()
    }

    /// For whom.
    pub fn caller(&self) -> &Caller {
        &self.scope.caller
    }

    /// A server's settings.
    pub fn settings(&self, name: &UpstreamName) -> Option<&UpstreamSettings> {
        self.servers.get(name).map(|server| server.settings())
    }

    /// What a server offers. Opens the connection if there is none. The list is kept until the
    /// server says that it changed or is too old, or the connection is a new one. Connecting,
    /// handshake and listing each have their own time.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// The server cannot be reached, or its list cannot be used.
    pub async fn catalog(&self, name: &UpstreamName) -> Result<Arc<Catalog>, UpstreamError> {
        let server = self.server(name)?;
        server.unless_closing(server.catalog(&self.scope)).await
    }

    /// What a server offered when it was last asked, by whomever, if that is the same for all
    /// callers. Connects nothing.
    pub fn known_catalog(&self, name: &UpstreamName) -> Option<Arc<Catalog>> {
        self.servers.get(name)?.known_catalog()
    }

    /// Connects to a server and keeps the connection open as long as the handle lives.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub async fn hold(&self, name: &UpstreamName) -> Result<Held, UpstreamError> {
        let server = self.server(name)?;
        server.unless_closing(server.hold(&self.scope)).await
    }

    /// Calls a tool with a JSON object as its arguments. `timeout`, or the server's own
    /// `call_timeout` if that is shorter, covers everything, the opening of a connection included.
    /// Time in which somebody is asked something for the server does not count.
    ///
    /// Cancel-safe: dropping the future tells the server that the call is cancelled; the connection
    /// stays. A call that may have taken effect is never made twice, unless the tool says, or the
    /// operator, that this does no harm.
    ///
    /// # Errors
    /// There is no answer; [`UpstreamError`] says why. A tool that answers "I failed" has answered.
    pub async fn call(
        &self,
        tool: &ToolName,
        arguments: &RawValue,
        timeout: Duration,
        context: CallContext,
    ) -> Result<ToolOutput, UpstreamError> {
        let server = self.server(&tool.upstream)?;
        let settings = server.settings();
        let own = settings.tools.get(&*tool.tool).and_then(|own| own.call_timeout);
        let own = own.or(settings.timeouts.call);
        let timeout = own.map_or(timeout, |own| own.min(timeout));
        let deadline = connection::deadline_after(timeout);
        let call = Call { tool, arguments, context: &context, deadline, timeout };
        server.unless_closing(server.call(&self.scope, &call)).await
    }

    /// The resources of a server; none where it has none. Kept as its tools are.
    ///
    /// # Errors
    /// As [`Access::catalog`].
    pub async fn resources(
        &self,
        name: &UpstreamName,
    ) -> Result<Arc<Offers<Resource>>, UpstreamError> {
        let server = self.server(name)?;
        server.unless_closing(server.offers(&self.scope)).await
    }

    /// The templates of a server's resources.
    ///
    /// # Errors
    /// As [`Access::catalog`].
    pub async fn resource_templates(
        &self,
        name: &UpstreamName,
    ) -> Result<Arc<Offers<ResourceTemplate>>, UpstreamError> {
        let server = self.server(name)?;
        server.unless_closing(server.offers(&self.scope)).await
    }

    /// The prompts of a server.
    ///
    /// # Errors
    /// As [`Access::catalog`].
    pub async fn prompts(&self, name: &UpstreamName) -> Result<Arc<Offers<Prompt>>, UpstreamError> {
        let server = self.server(name)?;
        server.unless_closing(server.offers(&self.scope)).await
    }

    /// Reads a resource. Time counts as in [`Access::call`]. Reading changes nothing, so it is tried
    /// again where that may help.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// There is no answer; [`UpstreamError`] says why.
    pub async fn read_resource(
        &self,
        name: &UpstreamName,
        uri: &str,
        timeout: Duration,
        context: CallContext,
    ) -> Result<ResourceOutput, UpstreamError> {
        let result = self.put(name, &Question::Read { uri }, timeout, &context).await?;
        ResourceOutput::read(result).map_err(|problem| bad_answer(name, problem))
    }

    /// Fills in a prompt, with a JSON object of texts. As [`Access::read_resource`].
    ///
    /// # Errors
    /// There is no answer; [`UpstreamError`] says why.
    pub async fn get_prompt(
        &self,
        name: &UpstreamName,
        prompt: &str,
        arguments: &RawValue,
        timeout: Duration,
        context: CallContext,
    ) -> Result<PromptOutput, UpstreamError> {
        let question = Question::Prompt { name: prompt, arguments };
        let result = self.put(name, &question, timeout, &context).await?;
        PromptOutput::read(result).map_err(|problem| bad_answer(name, problem))
    }

    /// Asks what could be filled in (`completion/complete`): `reference` and `argument` are MCP's
    /// JSON objects, and so is `filled_in`, its `context`. The result is as it came. As
    /// [`Access::read_resource`].
    ///
    /// # Errors
    /// There is no answer; [`UpstreamError`] says why.
    pub async fn complete(
        &self,
        name: &UpstreamName,
        (reference, argument, filled_in): (&RawValue, &RawValue, Option<&RawValue>),
        timeout: Duration,
        context: CallContext,
    ) -> Result<Json, UpstreamError> {
        let question = Question::Complete { reference, argument, context: filled_in };
        self.put(name, &question, timeout, &context).await
    }

    /// Listens to the changes of a resource.
    ///
    /// # Errors
    /// The server cannot be asked, or refuses.
    pub async fn resource_updates(
        &self,
        name: &UpstreamName,
        uri: &str,
        timeout: Duration,
    ) -> Result<ResourceUpdates, UpstreamError> {
        let server = self.server(name)?;
        server.unless_closing(server.updates(&self.scope, uri, timeout)).await
    }

    async fn put(
        &self,
        name: &UpstreamName,
        question: &Question<'_>,
        timeout: Duration,
        context: &CallContext,
    ) -> Result<Json, UpstreamError> {
        let server = self.server(name)?;
        let own = server.settings().timeouts.call;
        let timeout = own.map_or(timeout, |own| own.min(timeout));
        server.unless_closing(server.put(&self.scope, question, context, timeout)).await
    }

    fn server(&self, name: &UpstreamName) -> Result<&Arc<Server>, UpstreamError> {
        self.servers.get(name).ok_or_else(|| unknown(name))
    }
}

fn bad_answer(server: &UpstreamName, problem: String) -> UpstreamError {
    UpstreamError::BadAnswer { server: server.clone(), problem }
}

fn unknown(name: &UpstreamName) -> UpstreamError {
    UpstreamError::UnknownServer { name: name.to_string() }
}
