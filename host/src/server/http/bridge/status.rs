//! `GET /api/mcp/ws/status/{session}`: whether a session is open, and whether its server is there.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use serde_json::json;

use super::{Http, frames, not_allowed, refusal};

/// The answer is always 200. Of a session that is another's nothing is told, nor to those who show no
/// token.
pub(super) async fn status(
    State(http): State<Arc<Http>>,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    if method != Method::GET {
        return not_allowed("GET");
    }
    let found = async {
        let bridge = http.bridge.as_ref()?;
        let visit = bridge.admit(&http, &headers).await.ok()?;
        bridge.table.find(&id, &visit.caller)
    };
    let Some(entry) = found.await else {
        let shown: String = id.chars().take(100).collect();
        let body = json!({ "status": false, "message": "Session not found", "session_id": shown });
        return refusal::json(StatusCode::OK, body.to_string());
    };
    entry.touch();
    let body = json!({
        "status": true,
        "message": "Session active",
        "session_id": id,
        "connected": entry.is_connected(),
        "capabilities": entry.capabilities,
        "created_at": frames::iso(entry.created_at),
        "last_activity": frames::iso(entry.last_activity()),
    });
    refusal::json(StatusCode::OK, body.to_string())
}
