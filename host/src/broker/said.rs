//! What a server says while it works on a call, for whoever watches the run.

use std::future::Future;
use std::pin::pin;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::context::Shared;
use crate::events::RunEvent;
use crate::ids::CallId;
use crate::tool::Json;
use crate::upstream::ServerEvent;

/// What may wait for a watcher. The rest is dropped where it comes in.
const QUEUE: usize = 64;

/// Does the work of a call, and tells what its server says meanwhile, in its order and before the
/// call's end. Nothing of it is read where nobody watches.
pub(super) async fn told<T, F: Future<Output = T>>(
    shared: &Shared,
    call: CallId,
    work: impl FnOnce(Option<mpsc::Sender<ServerEvent>>) -> F,
) -> T {
    if !shared.is_watched() {
        return work(None).await;
    }
    let (to, mut said) = mpsc::channel(QUEUE);
    let mut work = pin!(work(Some(to)));
    let done = loop {
        tokio::select! {
            biased;
            Some(event) = said.recv() => tell(shared, call, event).await,
            done = &mut work => break done,
        }
    };
    while let Ok(event) = said.try_recv() {
        tell(shared, call, event).await;
    }
    done
}

async fn tell(shared: &Shared, call: CallId, event: ServerEvent) {
    let event = match event {
        ServerEvent::Progress(params) => progress(call, params),
        ServerEvent::Log(params) => log(call, params),
    };
    if let Some(event) = event {
        shared.tell(event).await;
    }
}

fn progress(call: CallId, params: Json) -> Option<RunEvent> {
    #[derive(Deserialize)]
    struct Written {
        progress: f64,
        #[serde(default)]
        total: Option<f64>,
        #[serde(default)]
        message: Option<String>,
    }
    let Written { progress, total, message } = serde_json::from_str(params.get()).ok()?;
    Some(RunEvent::Progress { call: Some(call), progress, total, message, params: Some(params) })
}

fn log(call: CallId, params: Json) -> Option<RunEvent> {
    #[derive(Deserialize)]
    struct Written<'a> {
        level: String,
        #[serde(default)]
        logger: Option<String>,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let Written { level, logger, data } = serde_json::from_str(params.get()).ok()?;
    let data = data.to_owned();
    Some(RunEvent::Log { call: Some(call), level, logger, data, params: Some(params) })
}
