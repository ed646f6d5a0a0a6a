//! Upstreams without runs: one server `s` through the door of the library.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_json::value::to_raw_value;
use toolcell::ids::{ToolName, UpstreamName};
use toolcell::upstream::settings::{Retry, TransportSettings, UpstreamSettings};
use toolcell::upstream::{
    Access, CallContext, Caller, Catalog, ClientHandler, UpstreamError, Upstreams,
};
use toolcell_tests::processes::PATIENCE;

pub(crate) fn server() -> UpstreamName {
    UpstreamName::try_new("s").expect("a name")
}

/// The defaults, but for shorter pauses.
pub(crate) fn settings(transport: TransportSettings) -> UpstreamSettings {
    let retry = Retry { base: Duration::from_millis(10), ..Retry::default() };
    UpstreamSettings { retry, ..UpstreamSettings::new(server(), transport) }
}

pub(crate) fn upstreams(settings: UpstreamSettings) -> Upstreams {
    Upstreams::new(vec![settings], None).expect("one server")
}

pub(crate) fn upstreams_with(
    settings: UpstreamSettings,
    handler: Arc<dyn ClientHandler>,
) -> Upstreams {
    Upstreams::new(vec![settings], Some(handler)).expect("one server")
}

pub(crate) fn anybody(upstreams: &Upstreams) -> Access {
    upstreams.access(Caller::anonymous())
}

pub(crate) async fn list(access: &Access) -> Result<Arc<Catalog>, UpstreamError> {
    access.catalog(&server()).await
}

/// The text of a call's answer.
pub(crate) async fn call(
    access: &Access,
    tool: &str,
    arguments: Value,
) -> Result<String, UpstreamError> {
    call_within(access, tool, arguments, PATIENCE).await
}

pub(crate) async fn call_within(
    access: &Access,
    tool: &str,
    arguments: Value,
    timeout: Duration,
) -> Result<String, UpstreamError> {
    let tool = ToolName::new(server(), tool);
    let arguments = to_raw_value(&arguments).expect("JSON is JSON");
    let answer = access.call(&tool, &arguments, timeout, CallContext::default()).await?;
    Ok(answer.first_text().to_owned())
}

/// Waits for a condition without blocking the runtime.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < PATIENCE, "{caller}: waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
