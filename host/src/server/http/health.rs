//! `/healthz` and `/readyz`, for operators and what they let look after processes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Http, refusal};
use crate::Host;

/// How far the language runtimes are.
#[derive(Clone, Debug)]
pub(super) enum Runtime {
    Loading,
    Ready,
    /// It cannot be used, and why.
    Failed(String),
}

/// Loads the runtimes of the languages that some profile allows, so that no first run waits for one.
pub(super) async fn prepare(host: Host, runtime: watch::Sender<Runtime>) {
    let mut now = Runtime::Ready;
    for language in host.config().languages() {
        if let Err(error) = host.prepare(language, |step| tracing::info!("{step}")).await {
            tracing::error!(%error, %language, "a language runtime cannot be used");
            now = Runtime::Failed(error.to_string());
        }
    }
    runtime.send_replace(now);
    host.load_plugins().await;
}

/// `/healthz`: the process serves.
pub(super) async fn healthz(State(http): State<Arc<Http>>) -> Response {
    let body = json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "mcp_sessions": http.sessions.count(),
    });
    json(StatusCode::OK, &body)
}

/// `/readyz`: it can run code. How the upstreams are is told to whoever may come in, and is no reason
/// to send agents elsewhere: each of them fails on its own.
pub(super) async fn readyz(State(http): State<Arc<Http>>, headers: HeaderMap) -> Response {
    let is_stranger = http.facade.doorkeeper().asks_for_credentials()
        && (!headers.contains_key(AUTHORIZATION) || http.admit(&headers, None).await.is_err());
    let runtime = http.runtime.borrow().clone();
    let (status, words, reason) = match &runtime {
        Runtime::Ready => (StatusCode::OK, "ready", None),
        Runtime::Loading => {
            let reason = "a language runtime is still being loaded";
            (StatusCode::SERVICE_UNAVAILABLE, "not ready", Some(reason))
        }
        Runtime::Failed(reason) => {
            let reason = if is_stranger { "a language runtime cannot be used" } else { reason };
            (StatusCode::SERVICE_UNAVAILABLE, "not ready", Some(reason))
        }
    };
    let reasons: Vec<&str> = reason.into_iter().collect();
    let mut body = json!({ "status": words, "reasons": reasons });
    if !is_stranger {
        body["upstreams"] = upstreams(http.facade.host());
        body["plugins"] = plugins(http.facade.host());
    }
    json(status, &body)
}

/// The state of each server by its name.
fn upstreams(host: &Host) -> Value {
    let health = host.upstreams().health().snapshot();
    health
        .iter()
        .map(|server| (server.server.to_string(), Value::from(server.state.name())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The state of each plugin by its name, and what is wrong with it.
fn plugins(host: &Host) -> Value {
    let infos = host.plugins().list().into_iter().map(|info| {
        let state = json!({ "state": info.state.name(), "problem": info.problem });
        (info.name.to_string(), state)
    });
    infos.collect::<serde_json::Map<_, _>>().into()
}

fn json(status: StatusCode, body: &Value) -> Response {
    refusal::json(status, body.to_string())
}
