//! Hands out the token for each request to one server, and gets a better one when it is refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, StatusCode, header};
use reqwest::Response;
use rmcp::transport::auth::WWWAuthenticateParams;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::flow::{Conversation, RefreshFault};
use super::record::Record;
use super::store::{Lock, TokenStore, TokenStoreError};
use super::{AuthorizationPrompt, login_hint};
use crate::ids::UpstreamName;
use crate::upstream::error::Cause;
use crate::upstream::redact::Learned;
use crate::upstream::settings::{AuthGrant, HttpSettings};

/// For everything of a renewal that needs no person, the wait for other processes not counted.
const QUIET_TIME: Duration = Duration::from_secs(30);

/// After a renewal that failed, others are not tried for so long: calls come by the dozen.
const FAILURE_HOLDS: Duration = Duration::from_secs(5);

/// The most scopes that are read from a challenge.
const MAX_SCOPES: usize = 64;

/// Where one server's tokens come from. Shared by all its connections. When the last of them is gone
/// nobody is asked any more; a renewal under way is brought to its end, because a refresh token that
/// was spent and whose successor is lost would lock the user out.
pub(in crate::upstream) struct Provider {
    core: Arc<Core>,
    _end: DropGuard,
}

struct Core {
    server: UpstreamName,
    http: HttpSettings,
    key: String,
    store: TokenStore,
    prompt: Option<Arc<dyn AuthorizationPrompt>>,
    secrets: Arc<Learned>,
    state: Mutex<State>,
    /// Held by whoever gets a better token; others wait for it and share the outcome.
    turn: Arc<tokio::sync::Mutex<()>>,
    end: CancellationToken,
}

#[derive(Default)]
struct State {
    looked: bool,
    token: Option<Token>,
    generation: u64,
    failure: Option<(Instant, Cause)>,
}

#[derive(Clone)]
struct Token {
    bearer: Bearer,
    access: Arc<str>,
    renew_at: Option<SystemTime>,
}

/// A token as it stands in a request.
#[derive(Clone)]
pub(in crate::upstream) struct Bearer {
    /// The value of `Authorization`.
    pub(in crate::upstream) header: HeaderValue,
    generation: u64,
}

/// A refusal that better credentials may cure.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Challenge {
    pub(in crate::upstream) status: StatusCode,
    /// `WWW-Authenticate`.
    header: Option<String>,
    /// What the token lacks.
    scopes: Vec<String>,
}

impl Challenge {
    /// The challenge in a response, if it is one: 401, or 403 for a token whose scope is too small.
    pub(in crate::upstream) fn of(response: &Response) -> Option<Self> {
        let status = response.status();
        if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return None;
        }
        let values = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
        let mut values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        // A server may offer other ways besides.
        values.sort_by_key(|value| !value.trim_start().to_ascii_lowercase().starts_with("bearer"));
        let header = values.first().map(|value| (*value).to_owned());
        let params =
            header.as_deref().map(|header| WWWAuthenticateParams::parse(header, response.url()));
        let lacks = params.as_ref().is_some_and(WWWAuthenticateParams::is_insufficient_scope);
        if status == StatusCode::FORBIDDEN && !lacks {
            return None;
        }
        let scopes = params.filter(|_| lacks).and_then(|params| params.scope).unwrap_or_default();
        let scopes = scopes.split_whitespace().take(MAX_SCOPES).map(ToOwned::to_owned).collect();
        Some(Self { status, header, scopes })
    }

    /// Nothing was refused yet.
    fn none() -> Self {
        Self { status: StatusCode::UNAUTHORIZED, header: None, scopes: Vec::new() }
    }
}

impl Provider {
    pub(super) fn new(
        server: UpstreamName,
        http: HttpSettings,
        store: TokenStore,
        prompt: Option<Arc<dyn AuthorizationPrompt>>,
    ) -> Arc<Self> {
        let end = CancellationToken::new();
        let core = Arc::new(Core {
            server,
            key: Record::key(&http),
            http,
            store,
            prompt,
            secrets: Arc::default(),
            state: Mutex::default(),
            turn: Arc::default(),
            end: end.clone(),
        });
        Arc::new(Self { core, _end: end.drop_guard() })
    }

    /// The tokens that were seen so far, for whoever shows texts of the server.
    pub(in crate::upstream) fn secrets(&self) -> Arc<Learned> {
        Arc::clone(&self.core.secrets)
    }

    /// The token for a request, renewed before if it is about to end. `None` if there is none, or
    /// nothing says that the server wants one.
    pub(in crate::upstream) async fn bearer(&self) -> Option<Bearer> {
        let core = &self.core;
        let (looked, token) = {
            let state = core.state();
            (state.looked, state.token.clone())
        };
        if !looked && core.http.auth.is_some() {
            // What cannot be read is told when the server refuses.
            let _ = core.renew(None, Challenge::none(), Effort::Look).await;
            return core.state().token.clone().map(|token| token.bearer);
        }
        let token = token?;
        if token.renew_at.is_none_or(|at| SystemTime::now() < at) {
            return Some(token.bearer);
        }
        // If that fails the old one may still do; the server has the last word.
        let _ = core.renew(Some(token.bearer.generation), Challenge::none(), Effort::Quiet).await;
        core.state().token.clone().map(|token| token.bearer)
    }

    /// Gets a better token than the one that a server refused. When it returns without an error the
    /// request can be made again: a server that refuses did nothing.
    ///
    /// # Errors
    /// There is no better token, and the way out.
    pub(in crate::upstream) async fn renew(
        &self,
        used: Option<&Bearer>,
        challenge: Challenge,
    ) -> Result<(), Cause> {
        let used = used.map(|bearer| bearer.generation);
        self.core.renew(used, challenge, Effort::Whole).await
    }

    /// Has a person agree, whatever is known already. Gives the scopes that were granted.
    pub(in crate::upstream) async fn login(
        &self,
        prompt: &dyn AuthorizationPrompt,
    ) -> Result<Vec<String>, Cause> {
        let core = &self.core;
        let _turn = core.turn.lock().await;
        let known = core.load().await?;
        let conversation = Conversation::begin(&core.http, None).await?;
        let grant = core.grant();
        let record = match grant {
            AuthGrant::ClientCredentials => conversation.client_credentials(&[]).await?,
            AuthGrant::AuthorizationCode => {
                conversation.authorize(&core.server, prompt, known.as_ref(), &[]).await?
            }
        };
        let scopes = record.credentials.granted_scopes.clone();
        let lock = core.lock().await?;
        core.keep(&lock, record).await?;
        Ok(scopes)
    }

    /// Forgets what was granted. Gives whether there was anything.
    pub(in crate::upstream) async fn logout(&self) -> Result<bool, Cause> {
        let core = &self.core;
        let _turn = core.turn.lock().await;
        let lock = core.lock().await?;
        let known = core.load().await?.is_some();
        core.store.save(&lock, &core.key, None).await.map_err(|error| told(&error))?;
        *core.state() = State::default();
        Ok(known)
    }
}

/// How far a renewal goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// It only looks into the store.
    Look,
    /// It asks no person.
    Quiet,
    /// Everything.
    Whole,
}

impl Core {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grant(&self) -> AuthGrant {
        self.http.auth.as_ref().map(|auth| auth.grant).unwrap_or_default()
    }

    /// In a worker, which brings it to its end whatever becomes of those who wait.
    async fn renew(
        self: &Arc<Self>,
        used: Option<u64>,
        challenge: Challenge,
        effort: Effort,
    ) -> Result<(), Cause> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        {
            let state = self.state();
            let now = state.token.as_ref().map(|token| token.bearer.generation);
            if now.is_some() && now != used {
                // Somebody was faster.
                return Ok(());
            }
            if let Some((at, cause)) = &state.failure
                && at.elapsed() < FAILURE_HOLDS
                && effort != Effort::Look
            {
                return Err(cause.clone());
            }
        }
        let core = Arc::clone(self);
        let worker = tokio::spawn(async move {
            let _turn = turn;
            let outcome = core.get_better(&challenge, effort).await;
            let mut state = core.state();
            state.looked = true;
            let failed = outcome.as_ref().err().filter(|_| effort != Effort::Look);
            state.failure = failed.map(|cause| (Instant::now(), cause.clone()));
            drop(state);
            outcome
        });
        worker.await.unwrap_or_else(|_| Err(Cause::new("the host is shutting down")))
    }

    async fn get_better(&self, challenge: &Challenge, effort: Effort) -> Result<(), Cause> {
        let mut known = self.load().await?;
        // With nothing to renew there is nothing to change: a server that has never heard of OAuth
        // leaves no file behind.
        if known.is_some() || self.grant() == AuthGrant::ClientCredentials {
            let lock = self.lock().await?;
            known = self.load().await?;
            if let Some(record) = &known
                && self.is_better(record, challenge)
            {
                self.adopt(record);
                return Ok(());
            }
            if effort == Effort::Look {
                return Ok(());
            }
            let quiet = self.get_quietly(&lock, known.as_ref(), challenge);
            let in_time = tokio::time::timeout(QUIET_TIME, quiet).await;
            if in_time.unwrap_or_else(|_| Err(super::too_slow(QUIET_TIME)))? {
                return Ok(());
            }
            known = self.load().await?;
        }
        match effort {
            Effort::Look => Ok(()),
            Effort::Quiet => {
                let hint = login_hint(&self.server);
                Err(Cause::new(format!("its token is too old; {hint}")))
            }
            // Nobody else has to wait for a person: the lock is free meanwhile.
            Effort::Whole => self.ask_person(known, challenge).await,
        }
    }

    /// Whether what is kept is worth trying: another process may have been faster.
    fn is_better(&self, record: &Record, challenge: &Challenge) -> bool {
        let Some(access) = record.access_token() else { return false };
        let used = self.state().token.as_ref().map(|token| Arc::clone(&token.access));
        let scopes = &record.credentials.granted_scopes;
        let covers = challenge.scopes.iter().all(|scope| scopes.contains(scope));
        used.as_deref() != Some(access.as_str()) && covers && !record.is_old()
    }

    /// Tries what needs no person. Gives whether that was enough.
    async fn get_quietly(
        &self,
        lock: &Lock,
        known: Option<&Record>,
        challenge: &Challenge,
    ) -> Result<bool, Cause> {
        let refuse_repetition = |record: &Record| {
            let scopes = &challenge.scopes;
            (!scopes.is_empty() && record.covers(scopes)).then(|| {
                let scopes = scopes.join(" ");
                Cause::new(format!("it wants the scopes {scopes:?}, which were asked for in vain"))
            })
        };
        if let Some(cause) = known.and_then(refuse_repetition) {
            return Err(cause);
        }
        if self.grant() == AuthGrant::ClientCredentials {
            let conversation = self.begin(challenge).await?;
            let mut scopes = known.map(|record| record.requested.clone()).unwrap_or_default();
            scopes.extend(challenge.scopes.iter().cloned());
            self.keep(lock, conversation.client_credentials(&scopes).await?).await?;
            return Ok(true);
        }
        let Some(record) = known else { return Ok(false) };
        if !challenge.scopes.is_empty() {
            if self.prompt.is_none() {
                let mut record = record.clone();
                record.wanted.clone_from(&challenge.scopes);
                let kept = self.store.save(lock, &self.key, Some(record)).await;
                kept.map_err(|error| told(&error))?;
            }
            return Ok(false);
        }
        if !record.has_refresh_token() {
            return Ok(false);
        }
        let conversation = self.begin(challenge).await?;
        if !conversation.knows(record) {
            tracing::info!(server = %self.server, "another authorization server than before");
            return Ok(false);
        }
        match conversation.refresh(record).await {
            Ok(renewed) => self.keep(lock, renewed).await.map(|()| true),
            Err(RefreshFault::Failed(cause)) => Err(cause),
            Err(RefreshFault::Rejected) => {
                let mut record = record.clone();
                record.credentials.token_response = None;
                let kept = self.store.save(lock, &self.key, Some(record)).await;
                kept.map_err(|error| told(&error))?;
                self.state().token = None;
                Ok(false)
            }
        }
    }

    async fn ask_person(&self, known: Option<Record>, challenge: &Challenge) -> Result<(), Cause> {
        let Some(prompt) = &self.prompt else { return Err(self.no_person(known, challenge)) };
        let conversation = self.begin(challenge).await?;
        if !conversation.is_published && self.http.auth.is_none() {
            return Err(Cause::new("check the credentials in its headers"));
        }
        let asking =
            conversation.authorize(&self.server, &**prompt, known.as_ref(), &challenge.scopes);
        let record = tokio::select! {
            record = asking => record?,
            () = self.end.cancelled() => return Err(Cause::new("the host is shutting down")),
        };
        let lock = self.lock().await?;
        self.keep(&lock, record).await
    }

    fn no_person(&self, known: Option<Record>, challenge: &Challenge) -> Cause {
        let hint = login_hint(&self.server);
        let header = challenge.header.as_deref().unwrap_or_default().to_ascii_lowercase();
        let text = if !challenge.scopes.is_empty() {
            format!("its token lacks the scopes {:?}; {hint}", challenge.scopes.join(" "))
        } else if known.is_some() {
            format!("what was granted has ended or was revoked; {hint}")
        } else if self.http.auth.is_some() || header.contains("resource_metadata") {
            hint
        } else {
            format!("check the credentials in its headers, or, if it uses OAuth, {hint}")
        };
        Cause::new(text)
    }

    async fn begin(&self, challenge: &Challenge) -> Result<Conversation, Cause> {
        // A challenge from plain HTTP may have been put there by anybody; rmcp judges its URLs.
        Conversation::begin(&self.http, challenge.header.as_deref()).await
    }

    async fn load(&self) -> Result<Option<Record>, Cause> {
        self.store.load(&self.key).await.map_err(|error| told(&error))
    }

    async fn lock(&self) -> Result<Lock, Cause> {
        self.store.lock().await.map_err(|error| told(&error))
    }

    async fn keep(&self, lock: &Lock, record: Record) -> Result<(), Cause> {
        // First of all: whatever is said about it from now on.
        self.secrets.learn(record.secrets());
        let kept = self.store.save(lock, &self.key, Some(record.clone())).await;
        self.adopt(&record);
        // It works until the process ends.
        if let Err(error) = kept {
            tracing::warn!(server = %self.server, %error, "a token could not be kept");
        }
        Ok(())
    }

    fn adopt(&self, record: &Record) {
        self.secrets.learn(record.secrets());
        let Some(access) = record.access_token() else { return };
        let Ok(mut header) = HeaderValue::from_str(&format!("Bearer {access}")) else { return };
        header.set_sensitive(true);
        let mut state = self.state();
        state.generation += 1;
        let bearer = Bearer { header, generation: state.generation };
        state.token = Some(Token { bearer, access: access.into(), renew_at: record.renew_at() });
        state.looked = true;
        state.failure = None;
    }
}

fn told(error: &TokenStoreError) -> Cause {
    super::cause("its token cannot be read or kept", error)
}
