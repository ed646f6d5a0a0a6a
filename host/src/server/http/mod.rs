//! toolcell over HTTP: streamable HTTP in both eras on `/mcp`, the older HTTP+SSE on `/sse`, and
//! health for operators.
//!
//! Everybody who can open a connection is a stranger. So before a message is read it is settled by
//! which name we were called (`origins`), who calls (`access`), and how much it may send (`body`);
//! connections, sessions, requests and what waits for a client are each capped.
//!
//! - `connections` takes connections; `endpoint` and `old_sse` are the two transports.
//! - `work` works on requests and writes into an `events` log, from which `reply` reads: so a
//!   client that vanishes is noticed, and one that comes back finds what it missed.
//! - `sessions` are those of the older revisions.
//! - `bridge` is for web clients, which have a session over a WebSocket.

#![expect(
    clippy::result_large_err,
    reason = "whoever is refused gets a whole response, and that is made once in a request"
)]

mod body;
pub(in crate::server) mod bridge;
mod connections;
mod endpoint;
mod events;
mod health;
mod media;
mod old_sse;
mod origins;
mod refusal;
mod reply;
mod sessions;
mod stalled;
mod standard_headers;
mod work;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::{Asked, METADATA_PATH};
use super::mcp::Facade;
use crate::upstream::Caller;
use bridge::Bridge;
use connections::LocalAddress;
use health::Runtime;
use origins::Origins;
use sessions::{Owner, Sessions};

/// How long what is under way may take to end when we stop.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why serving could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener is of no use.
    #[error("the address to listen on cannot be told")]
    NoAddress(#[source] std::io::Error),
    /// Whoever can reach the address could run code and use every tool.
    #[error(
        "{0} can be reached from other machines, and no token is asked for: set tokens in [server], \
         or listen on 127.0.0.1"
    )]
    OpenToEverybody(SocketAddr),
}

/// What all requests share.
struct Http {
    facade: Facade,
    origins: Origins,
    sessions: Sessions,
    runtime: watch::Receiver<Runtime>,
    workers: TaskTracker,
    stop: CancellationToken,
    /// The one for web clients.
    bridge: Option<Arc<Bridge>>,
}

/// Somebody who was let in, and what it came to.
struct Visit {
    facade: Facade,
    caller: Caller,
    owner: Owner,
}

/// Serves a façade over HTTP until `stop` comes: its profile on `/mcp` and the others on
/// `/mcp/PROFILE`. Then runs are cancelled, and within a few seconds nothing is under way any more.
/// The host is the caller's to close. If this is dropped, all that is under way ends by itself.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use toolcell::Host;
/// use toolcell::server::mcp::Facade;
/// use toolcell::server::settings::ServerSettings;
///
/// let host = Host::builder().config_file("toolcell.toml").build_lazily()?;
/// let facade = Facade::new(host.clone(), ServerSettings::default(), None)?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:7420").await?;
/// let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
/// toolcell::server::http::serve(facade, listener, stop).await?;
/// host.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Other machines can reach the listener and no token is asked for.
pub async fn serve(
    facade: Facade,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::NoAddress)?;
    if !address.ip().to_canonical().is_loopback() && !facade.doorkeeper().asks_for_credentials() {
        return Err(ServeError::OpenToEverybody(address));
    }
    let settings = facade.settings().clone();
    let stopped = CancellationToken::new();
    let _stops = stopped.clone().drop_guard();
    let (runtime, seen) = watch::channel(Runtime::Loading);
    let workers = TaskTracker::new();
    let preparing = tokio::spawn(health::prepare(facade.host().clone(), runtime));
    let http = Arc::new(Http {
        facade,
        origins: Origins::new(&settings.allowed_hosts, &settings.allowed_origins),
        sessions: Sessions::new(settings.max_mcp_sessions, settings.mcp_session_idle),
        runtime: seen,
        workers: workers.clone(),
        stop: stopped.clone(),
        bridge: settings.bridge.clone().map(|bridge| Arc::new(Bridge::new(bridge))),
    });
    let router = router(Arc::clone(&http));
    let (most, time) = (settings.max_connections, settings.request_timeout);
    tokio::select! {
        () = connections::accept(&listener, &router, most, time, &workers, &stopped) => {}
        () = sweep(&http.sessions) => {}
        () = stop => stopped.cancel(),
    }
    drop(listener);
    preparing.abort();
    http.sessions.end();
    workers.close();
    if tokio::time::timeout(LAST_WORDS, workers.wait()).await.is_err() {
        tracing::warn!("some requests did not end in time and are dropped");
    }
    Ok(())
}

fn router(http: Arc<Http>) -> Router {
    let mut router = Router::new();
    for (path, transport) in [
        ("/mcp", any(endpoint::mcp)),
        ("/sse", any(old_sse::stream)),
        ("/messages", any(old_sse::messages)),
    ] {
        for form in [path.to_owned(), format!("{path}/"), format!("{path}/{{profile}}")] {
            router = router.route(&form, transport.clone());
        }
        router = router.route(&format!("{path}/{{profile}}/"), transport);
    }
    if http.bridge.is_some() {
        router = bridge::routes(router);
    }
    router
        .route(METADATA_PATH, get(metadata))
        .route(&format!("{METADATA_PATH}/{{*endpoint}}"), get(metadata))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(nowhere)
        .layer(middleware::from_fn_with_state(Arc::clone(&http), guard))
        .with_state(http)
}

/// Where a client gets a token, for `/mcp` or for the endpoint after the well-known path (RFC 9728).
async fn metadata(State(http): State<Arc<Http>>, request: Request) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let endpoint = request.uri().path().strip_prefix(METADATA_PATH).unwrap_or_default();
    let endpoint = if endpoint.is_empty() { "/mcp" } else { endpoint };
    let url = format!("http://{}{endpoint}", host.unwrap_or("localhost"));
    match http.facade.doorkeeper().protected_resource(&url) {
        Some(document) => refusal::json(StatusCode::OK, document.to_string()),
        None => nowhere().await,
    }
}

async fn nowhere() -> Response {
    refusal::words(StatusCode::NOT_FOUND, "there is nothing here; MCP is on /mcp")
}

/// Stands before everything else.
async fn guard(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    let local = request.extensions().get::<LocalAddress>();
    let local = local.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |local| local.0);
    let (parts, body) = request.into_parts();
    let page = match http.origins.check(&parts, local) {
        Ok(page) => page,
        Err(words) if bridge::is_its(parts.uri.path()) => {
            return bridge::said(StatusCode::FORBIDDEN, &words);
        }
        Err(words) => return refusal::words(StatusCode::FORBIDDEN, words),
    };
    let asks_first = parts.method == Method::OPTIONS && page.is_some();
    let mut response = if asks_first {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(Request::from_parts(parts, body)).await
    };
    if let Some(page) = page {
        share_with(page, response.headers_mut());
    }
    response
}

/// Lets a page that may call see the answer, which browsers otherwise keep from it.
fn share_with(page: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Authorization, Content-Type, Last-Event-ID, MCP-Protocol-Version, Mcp-Method, \
             Mcp-Name, Mcp-Session-Id, X-Toolcell-Upstream-Token",
        ),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Mcp-Session-Id, WWW-Authenticate"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

async fn sweep(sessions: &Sessions) {
    loop {
        tokio::time::sleep(sessions.sweep_period()).await;
        sessions.sweep(Instant::now());
    }
}

impl Http {
    /// Lets somebody in, to the profile that the address names.
    ///
    /// # Errors
    /// The answer for whoever may not come in, or asks for what is not there.
    async fn admit(&self, headers: &HeaderMap, profile: Option<&str>) -> Result<Visit, Response> {
        let default = self.facade.profile().ok();
        let comes_to = profile.or(default.as_ref().map(|profile| profile.name.as_str()));
        let asked = Asked { named: profile, profile: comes_to };
        let visitor = self.facade.doorkeeper().admit(headers, asked).await;
        let visitor = visitor.map_err(refusal::not_admitted)?;
        let facade = match profile {
            None => self.facade.clone(),
            Some(name) => self.facade.with_profile(Some(name)).map_err(|error| {
                // Which profiles there are is for those who may use all of them.
                let words = match visitor.profiles {
                    None => error.to_string(),
                    Some(_) => "there is no such profile".to_owned(),
                };
                refusal::words(StatusCode::NOT_FOUND, words)
            })?,
        };
        let owner = Owner::new(&visitor.caller, profile);
        Ok(Visit { facade, caller: visitor.caller, owner })
    }
}
