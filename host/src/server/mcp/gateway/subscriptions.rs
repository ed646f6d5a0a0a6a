//! Clients that want to hear of changes: of single resources, in either era, and of lists by
//! `subscriptions/listen`.
//! <https://modelcontextprotocol.io/specification/2026-07-28/basic/utilities/subscriptions>

use std::sync::PoisonError;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::changes::{List, Shown};
use super::lists::Fingerprint;
use super::resources::{self, Place};
use super::{View, failure, unless_cancelled, uris};
use crate::server::mcp::Facade;
use crate::server::mcp::lifecycle::raw_of;
use crate::server::mcp::request::{Meta, Outcome, Params, Request};
use crate::server::mcp::wire::{self, RpcError};
use crate::upstream::{Access, ResourceUpdates, UpstreamError};

/// Resources that one client may watch at once.
const MAX_WATCHED: usize = 1_000;

/// The longest URI that is watched: it is kept as long as its client stays.
const MAX_URI_BYTES: usize = 16 << 10;

/// Updates that wait for a client that reads slowly.
const QUEUE: usize = 64;

/// Between two attempts to watch a resource.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Changes of lists come in bursts.
const SETTLE: Duration = Duration::from_millis(100);

/// What a client wants to hear of (`SubscriptionFilter`), and what it will.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Filter {
    #[serde(skip_serializing_if = "is_false")]
    tools_list_changed: bool,
    #[serde(skip_serializing_if = "is_false")]
    prompts_list_changed: bool,
    #[serde(skip_serializing_if = "is_false")]
    resources_list_changed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource_subscriptions: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Filter {
    fn lists(&self) -> Vec<List> {
        let resources = self.resources_list_changed;
        [
            (self.tools_list_changed, List::Tools),
            (resources, List::Resources),
            (resources, List::Templates),
            (self.prompts_list_changed, List::Prompts),
        ]
        .into_iter()
        .filter_map(|(wanted, list)| wanted.then_some(list))
        .collect()
    }
}

impl Facade {
    /// `resources/subscribe`
    pub(in crate::server::mcp) async fn subscribe(&self, request: &Request) -> Outcome {
        let uri = uri_to_watch(&request.params)?;
        let unknown = || failure::no_resource(&request.client, &uri);
        let view = self.gateway_view(&request.caller)?.ok_or_else(unknown)?;
        let begun = unless_cancelled(request, begin(&view, &uri)).await?;
        let (place, updates) = begun.map_err(|error| match error {
            Some(error) => failure::of_upstream(error),
            None => unknown(),
        })?;
        let peer = std::sync::Arc::clone(&request.exchange.peer);
        let watched = std::sync::Arc::clone(&peer);
        let (to, mut updated) = mpsc::channel(QUEUE);
        let time = view.profile.limits.call_timeout;
        let following = follow(view.access, place, uri.clone(), time, Some(updates), to);
        let telling = tokio::spawn(async move {
            let telling = async {
                while let Some(uri) = updated.recv().await {
                    let method = "notifications/resources/updated";
                    let message = wire::notification(method, &json!({ "uri": uri }));
                    if peer.outbox.send(message).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = peer.gone.cancelled() => {}
                () = telling => {}
                () = following => {}
            }
        });
        let mut all = watched.watched.updates.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, telling| !telling.is_finished());
        if all.len() >= MAX_WATCHED {
            return Err(too_many());
        }
        all.insert(uri, AbortOnDropHandle::new(telling));
        Ok(raw_of(&json!({})))
    }

    /// `resources/unsubscribe`
    pub(in crate::server::mcp) fn unsubscribe(&self, request: &Request) -> Outcome {
        let uri: String = request.params.need("uri")?;
        let watched = &request.exchange.peer.watched;
        watched.updates.lock().unwrap_or_else(PoisonError::into_inner).remove(&uri);
        Ok(raw_of(&json!({})))
    }

    /// `subscriptions/listen`: tells of changes until the client does not want to hear of them any
    /// more, or is gone.
    pub(in crate::server::mcp) async fn listen(&self, request: &Request) -> Outcome {
        let view = self.view(&request.caller)?;
        if !view.profile.endpoint.gateway && !self.tells_changes(&view) {
            return Err(RpcError::no_method(&request.method));
        }
        let wanted: Filter = request.params.need("notifications")?;
        if wanted.resource_subscriptions.len() > MAX_WATCHED {
            return Err(too_many());
        }
        let agreed = self.agree(&view, wanted);
        let id: &Value = &json!(&request.id);
        let meta = json!({ (Meta::SUBSCRIPTION): id });
        let tell = async |method: &str, mut params: Value| {
            params["_meta"] = meta.clone();
            request.exchange.notify(method, &params).await;
        };
        let listening = async {
            // Asked for before the client is told that it will hear of changes, so that none is missed.
            let mut news = self.host().upstreams().news();
            let mut shown = Shown::new();
            for list in agreed.lists() {
                shown.insert(list, Fingerprint::of(&self.items(&view, list).await));
            }
            let (_following, mut updated) = follow_all(&view, &agreed.resource_subscriptions).await;
            tell("notifications/subscriptions/acknowledged", json!({ "notifications": agreed }))
                .await;
            loop {
                tokio::select! {
                    Some(uri) = updated.recv() => {
                        tell("notifications/resources/updated", json!({ "uri": uri })).await;
                    }
                    Ok(()) = news.changed(), if !shown.is_empty() => {
                        tokio::time::sleep(SETTLE).await;
                        news.borrow_and_update();
                        let view = self.view(&request.caller)?;
                        let (now, told) = self.compare(&view, &shown).await;
                        shown = now;
                        for notification in told {
                            tell(notification, json!({})).await;
                        }
                    }
                }
            }
        };
        unless_cancelled(request, listening).await?
    }

    /// What of it there is to hear here.
    fn agree(&self, view: &View, wanted: Filter) -> Filter {
        let tells = self.tells_changes(view);
        let policy = &view.profile.policy;
        let gateway = view.profile.endpoint.gateway;
        let any = |may_grant: &dyn Fn(&str) -> bool| gateway && !view.servers(may_grant).is_empty();
        let resources = any(&|server| policy.may_grant_resources(server));
        let prompts = any(&|server| policy.may_grant_prompts(server));
        Filter {
            tools_list_changed: tells && wanted.tools_list_changed,
            prompts_list_changed: tells && prompts && wanted.prompts_list_changed,
            resources_list_changed: tells && resources && wanted.resources_list_changed,
            resource_subscriptions: match resources {
                true => wanted.resource_subscriptions,
                false => Vec::new(),
            },
        }
    }
}

/// Begins to watch a resource at the server that has it. Nothing instead of an error if none has.
async fn begin(view: &View, uri: &str) -> Result<(Place, ResourceUpdates), Option<UpstreamError>> {
    let time = view.profile.limits.call_timeout;
    let place = resources::find(view, uri).await.into_iter().next().ok_or(None)?;
    let updates = view.access.resource_updates(&place.server, &place.uri, time).await;
    Ok((place, updates.map_err(Some)?))
}

/// Watches resources, each in a worker of its own, as long as the workers live. Most are watched when
/// this returns; a slow server's are a while later.
async fn follow_all(
    view: &View,
    uris: &[String],
) -> (Vec<AbortOnDropHandle<()>>, mpsc::Receiver<String>) {
    let (to, updated) = mpsc::channel(QUEUE);
    let (mut workers, mut beginnings) = (Vec::new(), Vec::new());
    for uri in uris {
        let (view, uri, to) = (view.clone(), uri.clone(), to.clone());
        let (begun, beginning) = oneshot::channel();
        workers.push(AbortOnDropHandle::new(tokio::spawn(async move {
            let time = view.profile.limits.call_timeout;
            let found = resources::find(&view, &uri).await.into_iter().next();
            let Some(place) = found else { return };
            let updates = view.access.resource_updates(&place.server, &place.uri, time).await;
            // Whether anybody waits for it makes no difference.
            let _ = begun.send(());
            follow(view.access, place, uri, time, updates.ok(), to).await;
        })));
        beginnings.push(beginning);
    }
    let begun = futures::future::join_all(beginnings);
    let _ = tokio::time::timeout(super::lists::PATIENCE, begun).await;
    (workers, updated)
}

/// Tells of the updates of one resource under the client's own URI for it. When its server's
/// connection is lost, it is watched over the next one, and the client told that it may have changed
/// meanwhile.
pub(in crate::server) async fn follow(
    access: Access,
    place: Place,
    uri: String,
    time: Duration,
    mut begun: Option<ResourceUpdates>,
    to: mpsc::Sender<String>,
) {
    let mut pause = SHORTEST_PAUSE;
    let mut missed = false;
    let shown = |updated: String| match updated == place.uri {
        true => uri.clone(),
        // A part of it.
        false if uri != place.uri => uris::qualify(place.server.as_str(), &updated),
        false => updated,
    };
    loop {
        let updates = match begun.take() {
            Some(updates) => Ok(updates),
            None => access.resource_updates(&place.server, &place.uri, time).await,
        };
        let began = Instant::now();
        if let Ok(mut updates) = updates {
            if missed && to.send(uri.clone()).await.is_err() {
                return;
            }
            while let Some(updated) = updates.next().await {
                if to.send(shown(updated)).await.is_err() {
                    return;
                }
            }
        }
        // A server that ends every subscription at once does not tell of anything.
        missed = began.elapsed() > SHORTEST_PAUSE * 2;
        pause = if missed { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        tokio::time::sleep(pause).await;
    }
}

/// The URI that a request wants to hear of.
pub(in crate::server) fn uri_to_watch(params: &Params) -> Result<String, RpcError> {
    let uri: String = params.need("uri")?;
    if uri.len() > MAX_URI_BYTES {
        let words = format!("`uri` has {} bytes; {MAX_URI_BYTES} can be watched", uri.len());
        return Err(RpcError::invalid_params(words));
    }
    Ok(uri)
}

fn too_many() -> RpcError {
    RpcError::new(RpcError::BUSY, format!("{MAX_WATCHED} resources may be watched at once"))
}
